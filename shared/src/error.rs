//! What can go wrong, as one closed list.
//!
//! Every message names the tensor, key or file part it is about, what was expected and what was
//! found, and ends in the next step where the reader can take one.

use std::string::FromUtf8Error;

/// The result of everything fallible in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that `shared` can refuse.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are not a GGUF file that this reader accepts.
    #[error("gguf: {problem} (at byte {offset})")]
    Gguf {
        /// Byte offset in the file at which reading stopped.
        offset: usize,
        /// What the format promises and what was found.
        problem: String,
    },
    /// The header reaches past the bytes given. With a whole file that means it is cut off; a
    /// streaming caller fetches more and parses again.
    #[error(
        "gguf: the header needs at least {needed} bytes, only {available} are there: fetch the whole file"
    )]
    GgufTruncated {
        /// Lower bound of the bytes needed.
        needed: usize,
        /// Bytes given.
        available: usize,
    },
    /// Text in a GGUF file is not UTF-8.
    #[error("gguf: the string at byte {offset} is not UTF-8")]
    GgufText {
        /// Byte offset of the string.
        offset: usize,
        /// The decoder's complaint.
        source: FromUtf8Error,
    },
    /// A tensor has a GGML type that this engine cannot read.
    #[error("tensor {tensor}: type {ty} is not supported; convert the model to one of {supported}")]
    UnsupportedType {
        /// Tensor name.
        tensor: String,
        /// The type's name, or its number where it has no known name.
        ty: String,
        /// What can be read.
        supported: &'static str,
    },
    /// A metadata key is absent.
    #[error("gguf metadata: key {key} is missing")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A metadata key holds another type than it should.
    #[error("gguf metadata: key {key} should be {expected}, but is {found}")]
    KeyType {
        /// The key.
        key: String,
        /// Expected type.
        expected: &'static str,
        /// Type found.
        found: &'static str,
    },
    /// A value is outside what the model, the recipe or the format allows.
    #[error("{name}: expected {expected}, found {found}")]
    Value {
        /// Key or field name.
        name: String,
        /// The allowed values.
        expected: String,
        /// The value found.
        found: String,
    },
    /// A tensor that must exist does not.
    #[error("tensor {tensor} is missing from {place}")]
    MissingTensor {
        /// Tensor name.
        tensor: String,
        /// The file or part that should hold it.
        place: &'static str,
    },
    /// A tensor that nothing would use: the file belongs to another model or method.
    #[error("tensor {tensor} in {place} is not one this engine would use: {problem}")]
    UnusedTensor {
        /// Tensor name.
        tensor: String,
        /// The file that holds it.
        place: &'static str,
        /// Why it cannot be used.
        problem: String,
    },
    /// A tensor's shape does not fit.
    #[error("tensor {tensor}: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// Tensor name.
        tensor: String,
        /// Expected dimensions, rows first.
        expected: Vec<usize>,
        /// Dimensions found, rows first.
        found: Vec<usize>,
    },
    /// A slice has another length than its use requires.
    #[error("{name}: expected {expected} elements, found {found}")]
    Length {
        /// What the slice holds.
        name: String,
        /// Expected number of elements.
        expected: usize,
        /// Number of elements found.
        found: usize,
    },
    /// A NaN or an infinity where only finite numbers make sense.
    #[error("{name}: element {index} is {value}, not a finite number")]
    NotFinite {
        /// Tensor or quantity.
        name: String,
        /// Index of the first offender.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// The file does not hash to what was promised.
    #[error(
        "{name}: expected SHA-256 {expected}, found {found}: fetch it again, or publish it again"
    )]
    Hash {
        /// File or part.
        name: String,
        /// Expected hash, hexadecimal.
        expected: String,
        /// Hash found, hexadecimal.
        found: String,
    },
    /// An architecture that this engine does not implement.
    #[error("architecture {found:?} is not supported; this engine runs {supported}")]
    Architecture {
        /// `general.architecture`.
        found: String,
        /// What it runs.
        supported: &'static str,
    },
    /// The tokenizer cannot be built or cannot handle its input.
    #[error("tokenizer: {problem}")]
    Tokenizer {
        /// What failed.
        problem: String,
        /// The tokenizer library's error, if it raised one.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The chat template cannot be parsed or rendered.
    #[error("chat template: {source}")]
    Template {
        /// The template engine's error.
        #[from]
        source: minijinja::Error,
    },
    /// The chat template renders, but not in a way that this engine can serve.
    #[error("chat template: {problem}")]
    TemplateShape {
        /// What it does.
        problem: String,
    },
    /// A JSON file does not have its promised form.
    #[error("{file}: {source}")]
    Json {
        /// File name.
        file: &'static str,
        /// The parser's error, with line and column.
        source: serde_json::Error,
    },
    /// A safetensors file cannot be read or written.
    #[error("{file}: {source}")]
    Safetensors {
        /// File name.
        file: &'static str,
        /// The parser's error.
        source: safetensors::SafeTensorError,
    },
    /// An adapter asks for a feature of PEFT that merging here would silently leave out.
    #[error("adapter_config.json: {field} = {found} is not supported; train with {expected}")]
    AdapterFeature {
        /// Field of `adapter_config.json`.
        field: String,
        /// Its value.
        found: String,
        /// What is supported.
        expected: &'static str,
    },
    /// The adapter was trained on another base or with another prompt.
    #[error(
        "adapter: {what} is {found}, but this site runs {expected}: publish an adapter trained on this base"
    )]
    AdapterMismatch {
        /// What differs.
        what: &'static str,
        /// What the site runs.
        expected: String,
        /// What the adapter was made for.
        found: String,
    },
    /// The list of published versions does not allow this step.
    #[error("adapters/index.json: {problem}")]
    Manifest {
        /// Why.
        problem: String,
    },
    /// The conversation does not fit into the model's context.
    #[error("{needed} tokens do not fit into the context of {limit}: ask a shorter question")]
    Context {
        /// Tokens needed.
        needed: usize,
        /// Context length.
        limit: usize,
    },
    /// A token id that the model does not have.
    #[error("token {token} is not in the vocabulary of {vocab_size}")]
    Token {
        /// The id.
        token: u32,
        /// Vocabulary size.
        vocab_size: usize,
    },
    /// Ranks lost each other.
    #[error("exchange: {problem}")]
    Exchange {
        /// What happened.
        problem: String,
    },
}
