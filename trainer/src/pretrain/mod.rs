//! Pretraining of the embedded base model on the synthetic corpus.

mod checkpoint;
mod export;
mod init;
mod optimizer;
mod run;
mod shard;
mod vocabulary;

pub use export::{Naming, export_gguf};
pub use init::init_llama;
pub use run::{Cadence, Loaded, LogLine, Recipe, exact_count, load_run, pretrain};
pub use shard::Encoder;
pub use vocabulary::{CONTROL_TOKENS, train_tokenizer};
