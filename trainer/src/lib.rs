//! Trains, proves and publishes Lotwise adapters.

pub mod adapter_dir;
pub mod cli;
pub mod clock;
pub mod corpus;
pub mod data;
pub mod eval;
pub mod files;
pub mod finetune;
pub mod input;
pub mod interrupt;
pub mod nn;
pub mod pretrain;
pub mod progress;
pub mod publish;
