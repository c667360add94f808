//! The forward pass of one rank.
//!
//! ```text
//! tokens -> embedding rows (dequantized)                                  gather
//!   each layer: rms_norm -> q, k, v -> rotate -> cache -> attend          gather
//!               -> output -> (+)                                          gather
//!               rms_norm -> silu(gate) * up                               gather
//!               -> down -> (+)                                            gather
//! -> rms_norm -> head -> logits                                           gather
//! ```
//! Every matrix product quantizes its activations to 8 bits first. Every rank holds the whole
//! residual stream and a slice of everything else.

mod buffers;
mod build;
mod cache;
mod digest;
mod forward;
mod merge;
mod rope;
mod split;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use build::ModelBuilder;
pub use cache::KvCache;
pub use digest::{logits_digest, self_test_tokens};
pub use split::RankSlice;

use split::Split;

use crate::exchange::Exchange;
use crate::kernels::{Kernels, by_name, kernel_names};
use crate::quant::packed::Matrix;
use crate::{Error, ModelConfig, Result};

/// Most tokens that go through the layers together. Bounds the scratch memory of a long prompt
/// and the buffer between ranks; the result does not depend on it.
const CHUNK: usize = 64;

/// Hears of the logits after a token, `[vocab_size]`.
type OnLogits<'a> = &'a mut dyn FnMut(&[f32]);

struct Layer {
    attention_norm: Vec<f32>,
    query: Matrix,
    key: Matrix,
    value: Matrix,
    output: Matrix,
    mlp_norm: Vec<f32>,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
}

/// One rank's weights of a Llama-family model, ready to run.
///
/// Immutable: conversations that run side by side share it and bring a [`KvCache`] each.
pub struct Model {
    config: ModelConfig,
    slice: RankSlice,
    kernels: &'static dyn Kernels,
    frequencies: Vec<f32>,
    query_split: Split,
    hidden_split: Split,
    inner_split: Split,
    vocab_split: Split,
    query_heads: Range<usize>,
    key_value_heads: Range<usize>,
    embedding: Matrix,
    layers: Vec<Layer>,
    output_norm: Vec<f32>,
    head: Option<Matrix>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("config", &self.config)
            .field("slice", &self.slice)
            .field("kernels", &self.kernels.name())
            .finish_non_exhaustive()
    }
}

impl Model {
    /// The hyper-parameters.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Which rank this is.
    pub fn slice(&self) -> RankSlice {
        self.slice
    }

    /// The kernels that run, one of [`kernel_names`].
    pub fn kernels(&self) -> &'static str {
        self.kernels.name()
    }

    /// Runs on other kernels than the fastest, to compare them.
    ///
    /// # Errors
    /// [`Error::Value`] if this machine has no kernels of that name.
    pub fn use_kernels(&mut self, name: &str) -> Result<()> {
        self.kernels = by_name(name).ok_or_else(|| Error::Value {
            name: "kernels".into(),
            expected: format!("one of {}", kernel_names().join(", ")),
            found: name.into(),
        })?;
        Ok(())
    }

    /// Bytes of this rank's packed matrices.
    pub fn bytes(&self) -> usize {
        let layers = self.layers.iter().flat_map(|layer| {
            let Layer { query, key, value, output, gate, up, down, .. } = layer;
            [query, key, value, output, gate, up, down]
        });
        layers.chain([&self.embedding]).chain(&self.head).map(Matrix::bytes).sum()
    }

    /// Elements of the largest gather: what a buffer between ranks has to hold.
    pub fn max_gather_len(&self) -> usize {
        let config = &self.config;
        let widest = config.hidden_size.max(config.intermediate_size).max(config.query_width());
        config.vocab_size.max(CHUNK * widest)
    }

    /// An empty cache for this rank's heads.
    pub fn new_cache(&self) -> KvCache {
        KvCache::new(self.layers.len(), self.key_value_heads.len(), self.config.head_dim)
    }

    /// Appends `tokens` to the sequence in `cache` and returns the logits after the last one,
    /// `[vocab_size]`, on every rank.
    ///
    /// The bits don't depend on how a sequence is cut into calls, on the number of ranks, or on
    /// the kernels. After an error the cache is as before.
    ///
    /// # Errors
    /// [`Error::Context`] if the sequence would exceed the context, [`Error::Token`] for an id
    /// outside the vocabulary, [`Error::NotFinite`] for logits that are not finite,
    /// [`Error::Exchange`] when another rank is lost, [`Error::Length`] for no tokens,
    /// [`Error::Value`] for a cache or an exchange of another model.
    pub fn forward(
        &self,
        cache: &mut KvCache,
        tokens: &[u32],
        exchange: &mut dyn Exchange,
    ) -> Result<Vec<f32>> {
        self.run(cache, tokens, exchange, None)
    }

    /// As [`Self::forward`], with the logits after every token, `[tokens, vocab_size]`.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_all(
        &self,
        cache: &mut KvCache,
        tokens: &[u32],
        exchange: &mut dyn Exchange,
    ) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        self.forward_each(cache, tokens, exchange, &mut |logits| all.extend_from_slice(logits))?;
        Ok(all)
    }

    /// As [`Self::forward`], handing the logits after every token, `[vocab_size]`, to `on_logits`
    /// one after the other, so that they are never in memory together.
    ///
    /// # Errors
    /// As [`Self::forward`]; `on_logits` may have had some before.
    pub fn forward_each(
        &self,
        cache: &mut KvCache,
        tokens: &[u32],
        exchange: &mut dyn Exchange,
        on_logits: &mut dyn FnMut(&[f32]),
    ) -> Result<()> {
        self.run(cache, tokens, exchange, Some(on_logits)).map(drop)
    }

    /// Checks everything about a call that can be checked before ranks start to depend on each
    /// other.
    pub(crate) fn check(
        &self,
        cache: &KvCache,
        tokens: &[u32],
        exchange: &dyn Exchange,
    ) -> Result<()> {
        let found = (exchange.rank(), exchange.ranks());
        if found != (self.slice.rank(), self.slice.ranks()) {
            return Err(Error::Value {
                name: "exchange".into(),
                expected: format!("rank {} of {}", self.slice.rank(), self.slice.ranks()),
                found: format!("rank {} of {}", found.0, found.1),
            });
        }
        if !cache.fits(self.layers.len(), self.key_value_heads.len(), self.config.head_dim) {
            return Err(Error::Value {
                name: "cache".into(),
                expected: "a cache that this model made".into(),
                found: "one of another shape".into(),
            });
        }
        if tokens.is_empty() {
            return Err(Error::Length { name: "tokens".into(), expected: 1, found: 0 });
        }
        let (needed, limit) = (cache.len() + tokens.len(), self.config.context_length);
        if needed > limit {
            return Err(Error::Context { needed, limit });
        }
        let vocab_size = self.config.vocab_size;
        match tokens.iter().find(|token| **token as usize >= vocab_size) {
            None => Ok(()),
            Some(&token) => Err(Error::Token { token, vocab_size }),
        }
    }

    fn run(
        &self,
        cache: &mut KvCache,
        tokens: &[u32],
        exchange: &mut dyn Exchange,
        on_logits: Option<OnLogits>,
    ) -> Result<Vec<f32>> {
        self.check(cache, tokens, exchange)?;
        let start = cache.len();
        let result = self.run_chunks(cache, tokens, exchange, on_logits);
        if result.is_err() {
            cache.truncate(start);
        }
        result
    }
}
