//! Trains, proves and publishes Lotwise adapters; the binary `trainer` is [`cli`].
//!
//! # From records to a published adapter
//!
//! 1. **Read.** [`data`] takes question/answer pairs from JSONL, or reports every line it can't use.
//! 2. **Multiply.** [`finetune::Dataset`] finds out what each question asks for, asks it in the many
//!    wordings of [`corpus`], and makes refusals for batches and fields that the data doesn't have.
//! 3. **Train.** [`finetune::Run`] puts a LoRA adapter beside every linear layer of the base as it
//!    ships and trains it with the mathematics of [`nn`]: an explicit backward pass on candle
//!    tensors. The same seed gives the same bits, whatever the number of threads and interruptions.
//! 4. **Prove.** [`eval`] asks the merged, quantized model through `shared`'s engine: there is no
//!    second inference path, so what it measures is what a browser does.
//! 5. **Publish.** [`publish`] adds a version to `adapters/` in one step that an interruption leaves
//!    either undone or done.
//!
//! The base itself comes from [`pretrain`], which reads nothing but [`corpus`].

pub mod adapter_dir;
pub mod cli;
pub mod clock;
pub mod corpus;
pub mod data;
pub mod eval;
pub mod export;
pub mod files;
pub mod finetune;
pub mod input;
pub mod interrupt;
pub mod memory;
pub mod nn;
pub mod pretrain;
pub mod progress;
pub mod publish;
pub mod retrain;
