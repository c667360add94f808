//! What the golden tests share: the data that Hugging Face's libraries computed, the same tiny
//! model in our formats, and ways to say how far two results are apart.
//!
//! The data, and how it came to be, is under `golden/`.

pub mod compare;
pub mod golden;
#[cfg(not(target_arch = "wasm32"))]
pub mod llama;
