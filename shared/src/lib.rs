//! Everything of Lotwise that must be the same in the trainer and in the browser: file formats,
//! the inference engine, prompt, sampler, guard. Pure functions of bytes: no files, no network,
//! no clock, so that what the trainer measured is what the browser does.
//!
//! # From a file to an answer
//!
//! ```no_run
//! use shared::{Adapter, Base, Error, Model, RankSlice, SamplerConfig, Session};
//!
//! fn answer(
//!     base: Vec<u8>,
//!     adapter: (&[u8], &[u8]),
//!     question: &str,
//! ) -> Result<String, Error> {
//!     let base = Base::from_bytes(base)?;
//!     let adapter = Adapter::parse(adapter.0, adapter.1)?;
//!     let model = Model::load_merged(&base, RankSlice::new(0, 1)?, &adapter)?;
//!     let mut session = Session::new(model, base.prompt)?;
//!     Ok(session.answer(question, SamplerConfig::exact())?.text)
//! }
//! ```
//!
//! 1. **Read.** A base model is one GGUF file. [`Gguf`] parses its header: metadata, and where
//!    each tensor stands. [`Base`] (or, from the first bytes of a download, [`BaseHeader`]) makes
//!    of it a [`ModelConfig`], a [`Tokenizer`] and a [`PromptFormat`], and refuses what the
//!    engine would run wrongly. GGUF interleaves the rows of query and key matrices;
//!    [`Base::dequantize`] and the packer undo that ([`gguf_row`]), so memory is always in
//!    Hugging Face's order.
//! 2. **Merge.** An [`Adapter`] is two files in PEFT's own layout. [`Model::load_merged`] adds
//!    `scale * B A` to the dequantized base matrix, rounds the sum to 8 bits and packs it for the
//!    kernels, row by row, without a copy of the model in floating point.
//! 3. **Forward.** [`Model::forward`] takes token ids and a [`KvCache`] to logits, bit for bit the
//!    same on every machine, with every set of kernels and any number of ranks. Ranks, each with
//!    a slice of every matrix, meet in an [`Exchange`]; all but the first just [`follow`].
//! 4. **Sample.** A [`Session`] renders the question, prefills what follows the shared prefix, and
//!    draws token by token with a [`Sampler`]; each [`Step`] brings text and its probability.
//!
//! # Around the answer
//!
//! A published adapter is a directory of four files, listed in an [`Index`] with sizes and hashes:
//! PEFT's two, `guard.json` and `lotwise.json`. The [`Guard`] knows which batches the records have:
//! it refuses questions about others without asking the model, marks answers with values that
//! no record states, and by the words of a question tells which field it asks for: what the model
//! refuses although it is on record, or answers with what is not, is asked once more. The
//! [`AdapterRecord`] says which data, base, recipe and seed made the adapter, and
//! [`AdapterRecord::check`] whether it fits the base at hand; its [`RefusalBias`] says how
//! readily the model refuses, and its [`UndecidedRule`] how unsure is too unsure. An
//! [`Assessment`] puts all that into one mark under the answer; an [`Inquiry`] is the whole
//! course from what was typed to that mark. An [`AuditRecord`] keeps question and answer, and a
//! [`FeedbackRecord`] what a reader says to it.
//!
//! # Trust in bytes
//!
//! Every parser here reads files that may come from anywhere: counts are held against the bytes
//! that could carry them before anything is allocated, arithmetic is checked, and whatever could
//! not be honoured in full is an [`Error`] that names tensor, key or field, never a silent default.

mod approved;
mod audit;
mod base;
mod config;
mod error;
mod exchange;
mod feedback;
mod gguf;
mod guard;
mod hash;
mod inquiry;
mod kernels;
mod linear;
mod lora;
mod manifest;
mod model;
mod prompt;
mod quant;
mod record;
mod refusal;
mod rng;
mod sampler;
mod session;
mod template;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tokenizer;
mod verdict;

pub use approved::AnswerTrie;
pub use audit::{
    AuditAdapter, AuditBreak, AuditChain, AuditEngine, AuditEvent, AuditHead, AuditRecord,
    Decoding, MAX_AUDIT_LINE, verify_audit,
};
pub use base::{Base, BaseHeader, BaseIdentity, gguf_row, permute, unpermute};
pub use config::ModelConfig;
pub use error::{Error, Result};
pub use exchange::{Exchange, Pass, SoloExchange, ThreadExchange, check_piece, follow, lost_rank};
pub use feedback::{FeedbackRecord, MAX_FEEDBACK_LINE};
pub use gguf::{GgmlType, Gguf, GgufBuilder, TensorInfo, Value, ValueArray};
pub use guard::{
    Asked, AskingWord, Correction, FieldClassifier, FieldIndex, FieldList, GUARD_FILE, Guard,
    GuardList, GuardVerdict, KnownField, OnRecord, Reading, TellingWords, identifier_words,
    singular,
};
pub use hash::{hex, sha256_hex};
pub use inquiry::{Inquiry, Outcome, Progress, Safeguards};
pub use kernels::kernel_names;
pub use linear::Linear;
pub use lora::{ADAPTER_CONFIG, ADAPTER_MODEL, Adapter, LoraConfig, LoraPair};
pub use manifest::{
    FileEntry, INDEX_FILE, Index, REPORT_FILE, REPORT_JSON_FILE, Version, check_version_name,
};
pub use model::{KvCache, Model, ModelBuilder, RankSlice, logits_digest, self_test_tokens};
pub use prompt::{CHAT_TEMPLATE, PromptFormat, PromptPair, REFUSAL, SYSTEM_PROMPT};
pub use quant::{dequantize, f16_to_f32, quantize_q8_0};
pub use record::{
    AdapterRecord, GoldenQuestion, INTENDED_USE, LossPoint, RECORD_FILE, RecordBase, SelfTest,
    TrainStats,
};
pub use refusal::RefusalBias;
pub use rng::Rng;
pub use sampler::{Choice, Sampler, SamplerConfig};
pub use session::{Answer, Scores, Session, Step, StopReason};
pub use tokenizer::{TokenStream, Tokenizer};
pub use verdict::{
    AnswerVerdict, Assessment, ConfidenceScore, FieldEvidence, UndecidedRule, WITHHELD,
};
