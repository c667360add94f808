//! Pretraining of the embedded base model on the synthetic corpus.

mod checkpoint;
mod export;
mod init;
mod optimizer;
mod recipe;
mod rows;
mod run;
mod shard;
mod vocabulary;

pub use export::{Naming, export_gguf};
pub use init::init_llama;
pub use recipe::Recipe;
pub use rows::{row_tokens, write_rows};
pub use run::{
    Cadence, Loaded, LogLine, corpus, exact_count, load_run, prepare, pretrain, read_recipe,
};
pub use shard::Encoder;
pub use vocabulary::{CONTROL_TOKENS, train_tokenizer};
