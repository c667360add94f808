//! Training mathematics on candle tensors: the Llama model with an explicit backward
//! pass, LoRA, optimizers and data-parallel workers.

mod adamw;
mod attention;
mod batch;
mod elementwise;
mod grads;
mod linear;
mod llama;
mod matrix;
mod muon;
mod product;
mod schedule;
mod slices;
mod workers;

pub use adamw::{AdamW, AdamWConfig};
pub use batch::{Batch, Segment, Target};
pub use grads::{Grads, Param};
pub use linear::{Dropout, Linear, Lora};
pub use llama::{Block, Llama, TargetLoss};
pub use matrix::{Matrix, Packed};
pub use muon::{Muon, MuonConfig};
pub use schedule::Schedule;
pub use slices::slice;
pub use workers::Workers;
