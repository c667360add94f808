//! What a training run with Hugging Face's libraries needs, for a GPU or a cluster: the examples of
//! a run as token ids, its recipe, and the base in transformers' layout. The script that trains on
//! it is `trainer/scripts/train_peft.py`.

mod examples;
mod transformers;

pub use examples::{BASE_DIR, EXAMPLES_FILE, RECIPE_FILE, Summary, export_run};
pub use transformers::{write_base, write_tokenizer};
