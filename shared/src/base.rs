//! The base model: one GGUF file with weights, tokenizer, chat template and provenance.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::lora::check_finite;
use crate::{
    Error, Gguf, Linear, ModelConfig, PromptFormat, Result, SYSTEM_PROMPT, Tokenizer, quant,
    sha256_hex,
};

/// Which base a number or an adapter belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseIdentity {
    /// `general.name`.
    pub name: String,
    /// `general.version`; empty where the file names none.
    pub version: String,
    /// `general.license`; empty where the file names none.
    pub license: String,
    /// SHA-256 of the whole file, hexadecimal. This alone decides identity.
    pub sha256: String,
}

/// What a base file says about itself: everything but the weights. The browser reads it from the
/// first bytes of a download and then takes the tensors one by one.
#[derive(Debug, Clone)]
pub struct BaseHeader {
    /// Hyper-parameters.
    pub config: ModelConfig,
    /// Text to ids.
    pub tokenizer: Tokenizer,
    /// Question to ids.
    pub prompt: PromptFormat,
    /// Name, version, licence, hash.
    pub identity: BaseIdentity,
}

impl BaseHeader {
    /// Reads a parsed GGUF header; `sha256` is the hash of the whole file.
    ///
    /// # Errors
    /// Missing metadata, an architecture, tokenizer or template that cannot be served, and
    /// tensors that are missing, of another shape, or not part of a Llama model (biases, for
    /// instance, would be left out in silence).
    pub fn from_gguf(gguf: &Gguf, sha256: String) -> Result<Self> {
        let config = ModelConfig::from_gguf(gguf)?;
        check_tensors(gguf, &config)?;
        let tokenizer = Tokenizer::from_gguf(gguf)?;
        if tokenizer.id_limit() > config.vocab_size {
            return Err(Error::Value {
                name: "tokenizer".into(),
                expected: format!("at most the {} ids of the embedding", config.vocab_size),
                found: tokenizer.id_limit().to_string(),
            });
        }
        let system = gguf.optional_str("lotwise.system_prompt")?.unwrap_or(SYSTEM_PROMPT);
        let template = gguf.str("tokenizer.chat_template")?;
        let prompt = PromptFormat::new(template, system, tokenizer.clone())?;
        let text =
            |key| -> Result<String> { Ok(gguf.optional_str(key)?.unwrap_or_default().to_owned()) };
        let identity = BaseIdentity {
            name: gguf.str("general.name")?.to_owned(),
            version: text("general.version")?,
            license: text("general.license")?,
            sha256,
        };
        Ok(Self { config, tokenizer, prompt, identity })
    }
}

/// A base model in memory.
#[derive(Debug, Clone)]
pub struct Base {
    /// Hyper-parameters.
    pub config: ModelConfig,
    /// Text to ids.
    pub tokenizer: Tokenizer,
    /// Question to ids.
    pub prompt: PromptFormat,
    /// Name, version, licence, hash.
    pub identity: BaseIdentity,
    /// The parsed header: metadata and tensor table.
    pub gguf: Gguf,
    bytes: Arc<Vec<u8>>,
}

impl Base {
    /// Reads a whole GGUF file.
    ///
    /// # Errors
    /// Those of [`Gguf::parse`] and [`BaseHeader::from_gguf`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        let gguf = Gguf::parse(&bytes)?;
        let BaseHeader { config, tokenizer, prompt, identity } =
            BaseHeader::from_gguf(&gguf, sha256_hex(&bytes))?;
        Ok(Self { config, tokenizer, prompt, identity, gguf, bytes: Arc::new(bytes) })
    }

    /// The file, to keep parts of it in use without a copy.
    pub fn bytes(&self) -> &Arc<Vec<u8>> {
        &self.bytes
    }

    /// A whole tensor as `f32`, row major in [`crate::TensorInfo::shape`]; the rows of query and
    /// key matrices in Hugging Face's order (rotary pairs half a head apart).
    ///
    /// # Errors
    /// [`Error::MissingTensor`], or [`Error::NotFinite`].
    pub fn dequantize(&self, name: &str) -> Result<Vec<f32>> {
        let info = self.gguf.tensor(name)?;
        let mut values = vec![0.0; info.elements()];
        quant::dequantize(info.ty, self.gguf.tensor_bytes(&self.bytes, name)?, &mut values)?;
        check_finite(name, &values)?;
        if is_rotary(name) {
            values = unpermute(&values, self.config.head_dim, info.shape[1]);
        }
        Ok(values)
    }
}

/// Where row `row` of a query or key matrix (Hugging Face's order) stands in a GGUF file of
/// architecture `llama`.
///
/// llama.cpp's converter interleaves the two halves of every head, so that a rotary pair stands
/// side by side: row `half * head_dim/2 + j` of a head becomes row `2 j + half`.
pub fn gguf_row(row: usize, head_dim: usize) -> usize {
    let (head, within) = (row / head_dim, row % head_dim);
    let half = head_dim / 2;
    head * head_dim + 2 * (within % half) + within / half
}

/// Rows of a query or key matrix from Hugging Face's order to that of a GGUF file.
///
/// `values` is `[rows, columns]`, row major.
///
/// # Panics
/// If `values` is not whole heads of `head_dim` rows of `columns`.
pub fn permute(values: &[f32], head_dim: usize, columns: usize) -> Vec<f32> {
    reorder(values, head_dim, columns, |row| (gguf_row(row, head_dim), row))
}

/// The inverse of [`permute`].
///
/// # Panics
/// As [`permute`].
pub fn unpermute(values: &[f32], head_dim: usize, columns: usize) -> Vec<f32> {
    reorder(values, head_dim, columns, |row| (row, gguf_row(row, head_dim)))
}

/// Copies row `to_from(i).1` to `to_from(i).0` for every row `i`.
fn reorder(
    values: &[f32],
    head_dim: usize,
    columns: usize,
    to_from: impl Fn(usize) -> (usize, usize),
) -> Vec<f32> {
    assert!(
        values.len().is_multiple_of(head_dim * columns),
        "{} values are not whole heads of {head_dim} x {columns}",
        values.len()
    );
    let mut reordered = vec![0.0; values.len()];
    for row in 0..values.len() / columns {
        let (to, from) = to_from(row);
        reordered[to * columns..][..columns].copy_from_slice(&values[from * columns..][..columns]);
    }
    reordered
}

fn is_rotary(name: &str) -> bool {
    name.ends_with(".attn_q.weight") || name.ends_with(".attn_k.weight")
}

fn check_tensors(gguf: &Gguf, config: &ModelConfig) -> Result<()> {
    let hidden = config.hidden_size;
    let embedding = vec![config.vocab_size, hidden];
    let mut expected = vec![
        ("token_embd.weight".to_owned(), embedding.clone()),
        ("output_norm.weight".to_owned(), vec![hidden]),
    ];
    if !config.tie_word_embeddings {
        expected.push(("output.weight".to_owned(), embedding));
    }
    for layer in 0..config.num_hidden_layers {
        for norm in ["attn_norm", "ffn_norm"] {
            expected.push((format!("blk.{layer}.{norm}.weight"), vec![hidden]));
        }
        for module in Linear::ALL {
            expected.push((module.gguf_name(layer), module.shape(config).to_vec()));
        }
    }
    for (name, shape) in &expected {
        let found = &gguf.tensor(name)?.shape;
        if found != shape {
            return Err(Error::Shape {
                tensor: name.clone(),
                expected: shape.clone(),
                found: found.clone(),
            });
        }
    }
    let known: BTreeSet<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
    match gguf.tensors().keys().find(|name| !known.contains(name.as_str())) {
        None => Ok(()),
        Some(name) => Err(Error::UnusedTensor {
            tensor: name.clone(),
            place: "the base model",
            problem: format!("a Llama model of {} layers has none", config.num_hidden_layers),
        }),
    }
}

#[cfg(test)]
mod tests;
