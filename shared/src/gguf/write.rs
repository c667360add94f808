//! Writer of GGUF files, version 3.

use std::collections::BTreeSet;

use super::{DEFAULT_ALIGNMENT, GgmlType, MAGIC, MAX_KEY, MAX_TENSOR_NAME, Value, ValueArray};
use crate::{Error, ModelConfig, Result, quant};

/// Collects metadata and tensors and writes them in the order given. The same calls always give
/// the same bytes.
#[derive(Debug, Default)]
pub struct GgufBuilder {
    metadata: Vec<u8>,
    metadata_count: u64,
    keys: BTreeSet<String>,
    table: Vec<u8>,
    tensors: BTreeSet<String>,
    data: Vec<u8>,
}

impl GgufBuilder {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a metadata entry.
    ///
    /// # Errors
    /// The key is empty, too long or already there.
    pub fn metadata(&mut self, key: &str, value: impl Into<Value>) -> Result<()> {
        check_name("metadata key", key, MAX_KEY, &self.keys)?;
        self.keys.insert(key.to_owned());
        self.metadata_count += 1;
        put_string(&mut self.metadata, key);
        put_value(&mut self.metadata, &value.into());
        Ok(())
    }

    /// Adds `general.architecture` and the `llama.*` entries that [`ModelConfig::from_gguf`] reads.
    ///
    /// # Errors
    /// The config is impossible, or one of the keys is already there.
    pub fn config(&mut self, config: &ModelConfig) -> Result<()> {
        config.validate()?;
        self.metadata("general.architecture", "llama")?;
        let sizes = [
            ("llama.vocab_size", config.vocab_size),
            ("llama.context_length", config.context_length),
            ("llama.embedding_length", config.hidden_size),
            ("llama.block_count", config.num_hidden_layers),
            ("llama.feed_forward_length", config.intermediate_size),
            ("llama.attention.head_count", config.num_attention_heads),
            ("llama.attention.head_count_kv", config.num_key_value_heads),
            ("llama.attention.key_length", config.head_dim),
            ("llama.attention.value_length", config.head_dim),
            ("llama.rope.dimension_count", config.head_dim),
        ];
        for (key, size) in sizes {
            let size = u32::try_from(size).map_err(|_| Error::Value {
                name: key.into(),
                expected: "a 32-bit number".into(),
                found: size.to_string(),
            })?;
            self.metadata(key, size)?;
        }
        self.metadata("llama.attention.layer_norm_rms_epsilon", config.rms_norm_eps)?;
        self.metadata("llama.rope.freq_base", config.rope_theta)
    }

    /// Adds a tensor of `shape` (rows first), rounded to `ty`. The rows of query and key matrices
    /// must already be in file order ([`crate::permute`]).
    ///
    /// # Errors
    /// As [`Self::tensor_bytes`].
    pub fn tensor(
        &mut self,
        name: &str,
        shape: &[usize],
        ty: GgmlType,
        values: &[f32],
    ) -> Result<()> {
        if !values.len().is_multiple_of(ty.block_len()) {
            return Err(whole_blocks(name, ty, values.len()));
        }
        crate::lora::check_finite(name, values)?;
        let bytes = match ty {
            GgmlType::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            GgmlType::F16 => {
                values.iter().flat_map(|&value| quant::f32_to_f16(value).to_le_bytes()).collect()
            }
            GgmlType::BF16 => {
                values.iter().flat_map(|&value| f32_to_bf16(value).to_le_bytes()).collect()
            }
            GgmlType::Q8_0 => quant::quantize_q8_0(values),
            GgmlType::Q4_0 => quant::quantize_q4_0(values),
        };
        self.tensor_bytes(name, shape, ty, &bytes)
    }

    /// Adds a tensor whose bytes are already in the file's form.
    ///
    /// # Errors
    /// The name is empty, too long or already there; the shape has no dimension, more than four,
    /// or rows that are not whole blocks; the number of bytes is another.
    pub fn tensor_bytes(
        &mut self,
        name: &str,
        shape: &[usize],
        ty: GgmlType,
        bytes: &[u8],
    ) -> Result<()> {
        check_name("tensor name", name, MAX_TENSOR_NAME, &self.tensors)?;
        if shape.is_empty() || shape.len() > 4 || shape.contains(&0) {
            return Err(Error::Value {
                name: name.into(),
                expected: "1 to 4 dimensions, none of them 0".into(),
                found: format!("{shape:?}"),
            });
        }
        let row = shape[shape.len() - 1];
        if !row.is_multiple_of(ty.block_len()) {
            return Err(whole_blocks(name, ty, row));
        }
        let expected = shape.iter().product::<usize>() / ty.block_len() * ty.block_bytes();
        if bytes.len() != expected {
            let name = format!("the bytes of tensor {name}");
            return Err(Error::Length { name, expected, found: bytes.len() });
        }
        self.tensors.insert(name.to_owned());
        put_string(&mut self.table, name);
        self.table.extend((shape.len() as u32).to_le_bytes());
        for &size in shape.iter().rev() {
            self.table.extend((size as u64).to_le_bytes());
        }
        self.table.extend((ty as u32).to_le_bytes());
        self.table.extend((self.data.len() as u64).to_le_bytes());
        self.data.extend(bytes);
        pad(&mut self.data);
        Ok(())
    }

    /// The file.
    pub fn finish(self) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend(self.metadata_count.to_le_bytes());
        file.extend(self.metadata);
        file.extend(self.table);
        pad(&mut file);
        file.extend(self.data);
        file
    }
}

fn check_name(what: &str, name: &str, max: usize, taken: &BTreeSet<String>) -> Result<()> {
    let refuse =
        |expected: String| Err(Error::Value { name: what.into(), expected, found: name.into() });
    if name.is_empty() || name.len() > max {
        return refuse(format!("1 to {max} bytes"));
    }
    if taken.contains(name) {
        return refuse("a name that is not there yet".into());
    }
    Ok(())
}

fn whole_blocks(name: &str, ty: GgmlType, found: usize) -> Error {
    Error::Value {
        name: format!("the rows of tensor {name}"),
        expected: format!("a multiple of the {} elements of a {} block", ty.block_len(), ty.name()),
        found: found.to_string(),
    }
}

/// Nearest, ties to even; the caller has refused NaN.
fn f32_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let odd = (bits >> 16) & 1;
    ((bits + 0x7fff + odd) >> 16) as u16
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(DEFAULT_ALIGNMENT), 0);
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    out.extend(type_id(value).to_le_bytes());
    match value {
        Value::U8(v) => out.extend(v.to_le_bytes()),
        Value::I8(v) => out.extend(v.to_le_bytes()),
        Value::U16(v) => out.extend(v.to_le_bytes()),
        Value::I16(v) => out.extend(v.to_le_bytes()),
        Value::U32(v) => out.extend(v.to_le_bytes()),
        Value::I32(v) => out.extend(v.to_le_bytes()),
        Value::F32(v) => out.extend(v.to_le_bytes()),
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::String(v) => put_string(out, v),
        Value::Array(v) => put_array(out, v),
        Value::U64(v) => out.extend(v.to_le_bytes()),
        Value::I64(v) => out.extend(v.to_le_bytes()),
        Value::F64(v) => out.extend(v.to_le_bytes()),
    }
}

fn type_id(value: &Value) -> u32 {
    match value {
        Value::U8(_) => 0,
        Value::I8(_) => 1,
        Value::U16(_) => 2,
        Value::I16(_) => 3,
        Value::U32(_) => 4,
        Value::I32(_) => 5,
        Value::F32(_) => 6,
        Value::Bool(_) => 7,
        Value::String(_) => 8,
        Value::Array(_) => 9,
        Value::U64(_) => 10,
        Value::I64(_) => 11,
        Value::F64(_) => 12,
    }
}

fn put_array(out: &mut Vec<u8>, array: &ValueArray) {
    let id: u32 = match array {
        ValueArray::U8(_) => 0,
        ValueArray::I8(_) => 1,
        ValueArray::U16(_) => 2,
        ValueArray::I16(_) => 3,
        ValueArray::U32(_) => 4,
        ValueArray::I32(_) => 5,
        ValueArray::F32(_) => 6,
        ValueArray::Bool(_) => 7,
        ValueArray::String(_) => 8,
        ValueArray::U64(_) => 10,
        ValueArray::I64(_) => 11,
        ValueArray::F64(_) => 12,
    };
    out.extend(id.to_le_bytes());
    out.extend((array.len() as u64).to_le_bytes());
    match array {
        ValueArray::U8(items) => out.extend(items),
        ValueArray::I8(items) => out.extend(items.iter().flat_map(|v| v.to_le_bytes())),
        ValueArray::U16(items) => out.extend(items.iter().flat_map(|v| v.to_le_bytes())),
        ValueArray::I16(items) => out.extend(items.iter().flat_map(|v| v.to_le_bytes())),
        ValueArray::U32(items) => out.extend(items.iter().flat_map(|v| v.to_le_bytes())),
        ValueArray::I32(items) => out.extend(items.iter().flat_map(|v| v.to_le_bytes())),
        ValueArray::F32(items) => out.extend(items.iter().flat_map(|v| v.to_le_bytes())),
        ValueArray::Bool(items) => out.extend(items.iter().map(|v| u8::from(*v))),
        ValueArray::String(items) => items.iter().for_each(|item| put_string(out, item)),
        ValueArray::U64(items) => out.extend(items.iter().flat_map(|v| v.to_le_bytes())),
        ValueArray::I64(items) => out.extend(items.iter().flat_map(|v| v.to_le_bytes())),
        ValueArray::F64(items) => out.extend(items.iter().flat_map(|v| v.to_le_bytes())),
    }
}
