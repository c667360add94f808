//! Reader of GGUF headers: metadata and the table of tensors.
//!
//! Layout, little endian throughout, after the
//! [specification](https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): magic, version,
//! tensor count, metadata count, metadata, tensor table, padding to the alignment, tensor data.
//! Files come from outside, so every count and length is held against the bytes that could carry
//! it before anything is allocated, and all arithmetic is checked.

mod getters;
mod reader;
mod table;
#[cfg(test)]
mod tests;
mod ty;
mod value;
mod write;

use std::collections::BTreeMap;
use std::ops::Range;

pub use ty::GgmlType;
pub use value::{Value, ValueArray};
pub use write::GgufBuilder;

use reader::Reader;

use crate::{Error, Result};

const MAGIC: [u8; 4] = *b"GGUF";
const DEFAULT_ALIGNMENT: usize = 32;
/// Longest tensor name, by the specification.
const MAX_TENSOR_NAME: usize = 64;
/// Longest metadata key, by the specification.
const MAX_KEY: usize = u16::MAX as usize;
const MAX_METADATA: u64 = 1 << 16;
const MAX_TENSORS: u64 = 1 << 16;
const MAX_ALIGNMENT: usize = 1 << 16;

/// Where a tensor stands in the file and how to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Dimensions, rows first: `[out, in]` for a matrix (the reverse of the file's order).
    pub shape: Vec<usize>,
    /// Element type.
    pub ty: GgmlType,
    /// Byte range in the file.
    pub range: Range<usize>,
}

impl TensorInfo {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A parsed GGUF header. It holds no tensor data.
#[derive(Debug, Clone, PartialEq)]
pub struct Gguf {
    version: u32,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, TensorInfo>,
}

impl Gguf {
    /// Parses the header of a whole file.
    ///
    /// # Errors
    /// Anything that the format does not promise, [`Error::UnsupportedType`] for a tensor that
    /// cannot be read, and tensors that overlap or leave the file.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Self::parse_prefix(bytes, bytes.len())
    }

    /// Parses the header from the first bytes of a file of `file_len` bytes, so that a download
    /// can be cut into slices before it is complete.
    ///
    /// # Errors
    /// As [`Self::parse`]; [`Error::GgufTruncated`] if the header is longer than `prefix`.
    pub fn parse_prefix(prefix: &[u8], file_len: usize) -> Result<Self> {
        let mut reader = Reader::new(prefix, file_len);
        let magic = reader.array::<4>()?;
        if magic != MAGIC {
            return Err(reader.error(format!("expected the magic \"GGUF\", found {magic:02x?}")));
        }
        let version = reader.u32()?;
        if !(2..=3).contains(&version) {
            return Err(reader.error(format!("expected version 2 or 3, found {version}")));
        }
        let tensor_count = reader.count("tensors", MAX_TENSORS)?;
        let metadata_count = reader.count("metadata entries", MAX_METADATA)?;
        let metadata = read_metadata(&mut reader, metadata_count)?;
        let alignment = alignment(&reader, &metadata)?;
        let table = table::read_table(&mut reader, tensor_count)?;
        let data_start = reader
            .at
            .checked_next_multiple_of(alignment)
            .ok_or_else(|| reader.error("the data section starts beyond any file".into()))?;
        let tensors = table::place(&reader, table, data_start, alignment)?;
        Ok(Self { version, metadata, tensors })
    }

    /// Format version of the file, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// All metadata.
    pub fn metadata(&self) -> &BTreeMap<String, Value> {
        &self.metadata
    }

    /// All tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    /// The entry of one tensor.
    ///
    /// # Errors
    /// [`Error::MissingTensor`].
    pub fn tensor(&self, name: &str) -> Result<&TensorInfo> {
        self.tensors
            .get(name)
            .ok_or_else(|| Error::MissingTensor { tensor: name.into(), place: "the base model" })
    }

    /// The stored bytes of one tensor; `bytes` is the whole file that [`Self::parse`] has read.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], or [`Error::Length`] if `bytes` is another, shorter file.
    pub fn tensor_bytes<'a>(&self, bytes: &'a [u8], name: &str) -> Result<&'a [u8]> {
        let range = self.tensor(name)?.range.clone();
        bytes.get(range.clone()).ok_or_else(|| Error::Length {
            name: format!("the file that holds tensor {name}"),
            expected: range.end,
            found: bytes.len(),
        })
    }
}

fn read_metadata(reader: &mut Reader, count: usize) -> Result<BTreeMap<String, Value>> {
    let mut metadata = BTreeMap::new();
    for _ in 0..count {
        let key = reader.string(MAX_KEY)?;
        let ty = reader.u32()?;
        let value = reader.value(ty)?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(reader.error(format!("metadata key {key} appears twice")));
        }
    }
    Ok(metadata)
}

fn alignment(reader: &Reader, metadata: &BTreeMap<String, Value>) -> Result<usize> {
    let Some(value) = metadata.get("general.alignment") else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    let allowed = |bytes: &usize| bytes.is_power_of_two() && (8..=MAX_ALIGNMENT).contains(bytes);
    value.as_u64().and_then(|bytes| usize::try_from(bytes).ok()).filter(allowed).ok_or_else(|| {
        reader.error(format!(
            "general.alignment should be a power of two from 8 to {MAX_ALIGNMENT}, but is {value}"
        ))
    })
}
