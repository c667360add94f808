//! Loading: from a file's tensors to one rank's packed weights.

use std::collections::BTreeMap;
use std::ops::Range;

use super::merge::Update;
use super::split::{Split, key_value_heads};
use super::{Layer, Model, RankSlice, rope};
use crate::kernels::{Kernels, best};
use crate::quant::BLOCK;
use crate::quant::ggml::{dequantize, row_block};
use crate::quant::packed::{Matrix, Packed, PackedBlock};
use crate::{Adapter, Base, Error, GgmlType, Linear, ModelConfig, Result, TensorInfo, gguf_row};

const BASE: &str = "the base model";

/// What a tensor of the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Embedding,
    Head,
    OutputNorm,
    AttentionNorm(usize),
    MlpNorm(usize),
    Linear(usize, Linear),
}

/// Takes a file's tensors one by one, in any order, and keeps this rank's rows of each, packed
/// and, with an adapter, merged.
///
/// Only the tensor at hand has to be in memory, so a caller that streams a file never holds it
/// and the packed weights at once.
pub struct ModelBuilder<'a> {
    config: ModelConfig,
    slice: RankSlice,
    adapter: Option<&'a Adapter>,
    kernels: &'static dyn Kernels,
    expected: BTreeMap<String, Part>,
    matrices: BTreeMap<Part, Matrix>,
    norms: BTreeMap<Part, Vec<f32>>,
}

impl<'a> ModelBuilder<'a> {
    /// A builder that waits for its tensors.
    ///
    /// # Errors
    /// Dimensions that cannot be computed with (rows must be whole blocks of 32), or an adapter
    /// for another shape.
    pub fn new(
        config: &ModelConfig,
        slice: RankSlice,
        adapter: Option<&'a Adapter>,
    ) -> Result<Self> {
        config.validate()?;
        for (name, width) in [
            ("hidden_size", config.hidden_size),
            ("intermediate_size", config.intermediate_size),
            ("num_attention_heads * head_dim", config.query_width()),
        ] {
            if !width.is_multiple_of(BLOCK) {
                return Err(Error::Value {
                    name: name.into(),
                    expected: format!("a multiple of {BLOCK}"),
                    found: width.to_string(),
                });
            }
        }
        if let Some(adapter) = adapter {
            adapter.check(config)?;
        }
        let mut expected = BTreeMap::from([
            ("token_embd.weight".to_owned(), Part::Embedding),
            ("output_norm.weight".to_owned(), Part::OutputNorm),
        ]);
        if !config.tie_word_embeddings {
            expected.insert("output.weight".to_owned(), Part::Head);
        }
        for layer in 0..config.num_hidden_layers {
            expected.insert(format!("blk.{layer}.attn_norm.weight"), Part::AttentionNorm(layer));
            expected.insert(format!("blk.{layer}.ffn_norm.weight"), Part::MlpNorm(layer));
            for linear in Linear::ALL {
                expected.insert(linear.gguf_name(layer), Part::Linear(layer, linear));
            }
        }
        Ok(Self {
            config: config.clone(),
            slice,
            adapter,
            kernels: best(),
            expected,
            matrices: BTreeMap::new(),
            norms: BTreeMap::new(),
        })
    }

    /// Takes a tensor: its name, where the header describes it, and all its bytes.
    ///
    /// # Errors
    /// A tensor that the model doesn't have (or has already been given), another shape than the
    /// configuration's, bytes of another length than shape and type require, a weight that is not
    /// finite.
    pub fn tensor(&mut self, name: &str, info: &TensorInfo, bytes: &[u8]) -> Result<()> {
        let Some(part) = self.expected.remove(name) else {
            return Err(Error::UnusedTensor {
                tensor: name.into(),
                place: BASE,
                problem: "a model of this architecture has no such tensor, or was given it before"
                    .into(),
            });
        };
        let shape = self.shape(part);
        if info.shape != shape {
            return Err(Error::Shape {
                tensor: name.into(),
                expected: shape,
                found: info.shape.clone(),
            });
        }
        let size = info.elements() / info.ty.block_len() * info.ty.block_bytes();
        if bytes.len() != size {
            return Err(Error::Length {
                name: format!("the bytes of tensor {name}"),
                expected: size,
                found: bytes.len(),
            });
        }
        match part {
            Part::OutputNorm | Part::AttentionNorm(_) | Part::MlpNorm(_) => {
                let mut values = vec![0.0; shape[0]];
                dequantize(info.ty, bytes, &mut values)?;
                if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                    return Err(not_finite(name, index, values[index]));
                }
                self.norms.insert(part, values);
            }
            Part::Embedding | Part::Head | Part::Linear(..) => {
                let source = Source { name, ty: info.ty, bytes, width: shape[1] };
                let matrix = self.pack(part, &source)?;
                self.matrices.insert(part, matrix);
            }
        }
        Ok(())
    }

    /// The model, once every tensor has been given.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], naming the first one that has not.
    pub fn finish(mut self) -> Result<Model> {
        if let Some(name) = self.expected.keys().next() {
            return Err(Error::MissingTensor { tensor: name.clone(), place: BASE });
        }
        let layers = (0..self.config.num_hidden_layers)
            .map(|layer| {
                Ok(Layer {
                    attention_norm: self.norm(Part::AttentionNorm(layer))?,
                    query: self.matrix(Part::Linear(layer, Linear::Query))?,
                    key: self.matrix(Part::Linear(layer, Linear::Key))?,
                    value: self.matrix(Part::Linear(layer, Linear::Value))?,
                    output: self.matrix(Part::Linear(layer, Linear::Output))?,
                    mlp_norm: self.norm(Part::MlpNorm(layer))?,
                    gate: self.matrix(Part::Linear(layer, Linear::Gate))?,
                    up: self.matrix(Part::Linear(layer, Linear::Up))?,
                    down: self.matrix(Part::Linear(layer, Linear::Down))?,
                })
            })
            .collect::<Result<_>>()?;
        let config = &self.config;
        let query_split = Split::by_heads(config, self.slice);
        let query_heads = query_heads(&query_split, config.head_dim);
        Ok(Model {
            slice: self.slice,
            kernels: self.kernels,
            frequencies: rope::frequencies(config.rope_theta, config.head_dim),
            hidden_split: Split::by_rows(config.hidden_size, self.slice),
            inner_split: Split::by_rows(config.intermediate_size, self.slice),
            vocab_split: Split::by_rows(config.vocab_size, self.slice),
            key_value_heads: key_value_heads(config, &query_heads),
            query_split,
            query_heads,
            output_norm: self.norm(Part::OutputNorm)?,
            head: if self.config.tie_word_embeddings {
                None
            } else {
                Some(self.matrix(Part::Head)?)
            },
            embedding: self.matrix(Part::Embedding)?,
            layers,
            config: self.config,
        })
    }

    fn norm(&mut self, part: Part) -> Result<Vec<f32>> {
        self.norms.remove(&part).ok_or_else(|| missing(part))
    }

    fn matrix(&mut self, part: Part) -> Result<Matrix> {
        self.matrices.remove(&part).ok_or_else(|| missing(part))
    }

    fn shape(&self, part: Part) -> Vec<usize> {
        let config = &self.config;
        match part {
            Part::Embedding | Part::Head => vec![config.vocab_size, config.hidden_size],
            Part::OutputNorm | Part::AttentionNorm(_) | Part::MlpNorm(_) => {
                vec![config.hidden_size]
            }
            Part::Linear(_, linear) => linear.shape(config).to_vec(),
        }
    }

    /// The rows that this rank holds, in Hugging Face order.
    fn rows(&self, part: Part) -> Range<usize> {
        let config = &self.config;
        match part {
            Part::Linear(_, Linear::Query) => Split::by_heads(config, self.slice).own(),
            Part::Linear(_, Linear::Key | Linear::Value) => {
                let split = Split::by_heads(config, self.slice);
                let heads = key_value_heads(config, &query_heads(&split, config.head_dim));
                heads.start * config.head_dim..heads.end * config.head_dim
            }
            _ => Split::by_rows(self.shape(part)[0], self.slice).own(),
        }
    }

    fn pack(&self, part: Part, source: &Source) -> Result<Matrix> {
        let rows = self.rows(part);
        let head_dim = self.config.head_dim;
        let file_row = |row: usize| match part {
            Part::Linear(_, Linear::Query | Linear::Key) => gguf_row(row, head_dim),
            _ => row,
        };
        let update = match (part, self.adapter) {
            (Part::Linear(layer, linear), Some(adapter)) => adapter
                .pairs
                .get(&(layer, linear))
                .map(|pair| Update { pair, scale: adapter.scale() }),
            _ => None,
        };
        match (update, source.ty) {
            (Some(update), ty) => {
                let block = |row, index| {
                    let bytes = source.row(file_row(row));
                    update.block(self.kernels, ty, bytes, row, index)
                };
                source.pack(rows, block).map(Matrix::Eight)
            }
            (None, GgmlType::Q4_0) => {
                let block = |row, index| source.block(file_row(row), index);
                source.pack(rows, block).map(Matrix::Four)
            }
            (None, _) => {
                let block = |row, index| source.block(file_row(row), index);
                source.pack(rows, block).map(Matrix::Eight)
            }
        }
    }
}

/// A matrix as it stands in the file.
struct Source<'a> {
    name: &'a str,
    ty: GgmlType,
    bytes: &'a [u8],
    width: usize,
}

impl Source<'_> {
    fn row(&self, row: usize) -> &[u8] {
        let size = self.width / self.ty.block_len() * self.ty.block_bytes();
        &self.bytes[row * size..(row + 1) * size]
    }

    fn block(&self, row: usize, index: usize) -> crate::quant::RowBlock {
        row_block(self.ty, self.row(row), index)
    }

    /// Packs rows, refusing a scale that is not finite: the mark that a weight was not.
    fn pack<B: PackedBlock>(
        &self,
        rows: Range<usize>,
        block: impl Fn(usize, usize) -> crate::quant::RowBlock,
    ) -> Result<Packed<B>> {
        Packed::try_new(rows.len(), self.width / BLOCK, |row, index| {
            let block = block(rows.start + row, index);
            if block.scale.is_finite() {
                return Ok(block);
            }
            let first = (rows.start + row) * self.width + index * BLOCK;
            Err(not_finite(&format!("{}, a block of 32 weights", self.name), first, block.scale))
        })
    }
}

fn query_heads(split: &Split, head_dim: usize) -> Range<usize> {
    split.own().start / head_dim..split.own().end / head_dim
}

fn not_finite(name: &str, index: usize, value: f32) -> Error {
    Error::NotFinite { name: format!("tensor {name}"), index, value }
}

fn missing(part: Part) -> Error {
    Error::MissingTensor { tensor: format!("{part:?}"), place: BASE }
}

impl Model {
    /// One rank of a base model as it is.
    ///
    /// # Errors
    /// See [`ModelBuilder`].
    pub fn load(base: &Base, slice: RankSlice) -> Result<Self> {
        load(base, slice, None)
    }

    /// One rank of a base model with an adapter merged into it: every matrix that the adapter
    /// changes becomes `Q8(dequantize(W) + scale * B A)`.
    ///
    /// # Errors
    /// See [`ModelBuilder`]; also an adapter that doesn't fit this base.
    pub fn load_merged(base: &Base, slice: RankSlice, adapter: &Adapter) -> Result<Self> {
        load(base, slice, Some(adapter))
    }
}

fn load(base: &Base, slice: RankSlice, adapter: Option<&Adapter>) -> Result<Model> {
    let mut builder = ModelBuilder::new(&base.config, slice, adapter)?;
    for (name, info) in base.gguf.tensors() {
        builder.tensor(name, info, base.gguf.tensor_bytes(base.bytes(), name)?)?;
    }
    builder.finish()
}
