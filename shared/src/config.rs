//! Hyper-parameters of a Llama-family model.

use serde::{Deserialize, Serialize};

use crate::{Error, Gguf, Result};

/// The largest context that is ever allocated for, in tokens.
const MAX_CONTEXT: usize = 1 << 20;
/// The largest width or vocabulary that is taken seriously; beyond it products of two could
/// overflow 32-bit address arithmetic long before memory ran out.
const MAX_DIMENSION: usize = 1 << 20;
/// The largest number of layers or heads.
const MAX_COUNT: usize = 1 << 10;

/// Hyper-parameters, under the names that Hugging Face gives them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the gated MLP.
    pub intermediate_size: usize,
    /// Transformer blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides the query heads.
    pub num_key_value_heads: usize,
    /// Width of one head; even.
    pub head_dim: usize,
    /// Added to the mean square before the root.
    pub rms_norm_eps: f32,
    /// Base of the rotary embedding's wavelengths.
    pub rope_theta: f32,
    /// Longest sequence the model was trained for, in tokens.
    pub context_length: usize,
    /// Whether the output head is the embedding itself.
    pub tie_word_embeddings: bool,
}

impl ModelConfig {
    /// Reads the `llama.*` metadata of a GGUF file.
    ///
    /// Keys and their defaults are those of the
    /// [GGUF specification](https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
    /// The head is tied when the file has no `output.weight`.
    ///
    /// # Errors
    /// Another architecture, a missing key, rope scaling, or dimensions that [`Self::validate`]
    /// refuses.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let architecture = gguf.str("general.architecture")?;
        if architecture != "llama" {
            return Err(Error::Architecture { found: architecture.to_owned(), supported: "llama" });
        }
        if let Some(scaling) = gguf.optional_str("llama.rope.scaling.type")?
            && scaling != "none"
        {
            return Err(Error::Value {
                name: "llama.rope.scaling.type".into(),
                expected: "none".into(),
                found: scaling.into(),
            });
        }
        if gguf.tensors().contains_key("rope_freqs.weight") {
            return Err(Error::UnusedTensor {
                tensor: "rope_freqs.weight".into(),
                place: "the base model",
                problem: "scaled rotary frequencies are not implemented".into(),
            });
        }
        let size = |key: &str| gguf.usize(key);
        let num_attention_heads = size("llama.attention.head_count")?;
        let hidden_size = size("llama.embedding_length")?;
        let head_dim = match gguf.optional_usize("llama.attention.key_length")? {
            Some(width) => width,
            None if num_attention_heads > 0 => hidden_size / num_attention_heads,
            None => 0,
        };
        for key in ["llama.attention.value_length", "llama.rope.dimension_count"] {
            if let Some(width) = gguf.optional_usize(key)?
                && width != head_dim
            {
                return Err(Error::Value {
                    name: key.into(),
                    expected: format!("the head width {head_dim}"),
                    found: width.to_string(),
                });
            }
        }
        let embedding = gguf.tensor("token_embd.weight")?;
        let [vocab_size, width] = embedding.shape[..] else {
            return Err(Error::Value {
                name: "token_embd.weight".into(),
                expected: "2 dimensions".into(),
                found: embedding.shape.len().to_string(),
            });
        };
        if width != hidden_size {
            return Err(Error::Shape {
                tensor: "token_embd.weight".into(),
                expected: vec![vocab_size, hidden_size],
                found: embedding.shape.clone(),
            });
        }
        let config = Self {
            vocab_size,
            hidden_size,
            intermediate_size: size("llama.feed_forward_length")?,
            num_hidden_layers: size("llama.block_count")?,
            num_attention_heads,
            num_key_value_heads: gguf
                .optional_usize("llama.attention.head_count_kv")?
                .unwrap_or(num_attention_heads),
            head_dim,
            rms_norm_eps: gguf.f32("llama.attention.layer_norm_rms_epsilon")?,
            rope_theta: gguf.optional_f32("llama.rope.freq_base")?.unwrap_or(10_000.0),
            context_length: size("llama.context_length")?,
            tie_word_embeddings: !gguf.tensors().contains_key("output.weight"),
        };
        config.validate()?;
        Ok(config)
    }

    /// Checks that the dimensions are possible and fit each other.
    ///
    /// # Errors
    /// [`Error::Value`], naming the first field that doesn't.
    pub fn validate(&self) -> Result<()> {
        let within = |name: &str, value: usize, max: usize| {
            if (1..=max).contains(&value) {
                return Ok(());
            }
            Err(Error::Value {
                name: name.into(),
                expected: format!("1 to {max}"),
                found: value.to_string(),
            })
        };
        within("vocab_size", self.vocab_size, MAX_DIMENSION)?;
        within("hidden_size", self.hidden_size, MAX_DIMENSION)?;
        within("intermediate_size", self.intermediate_size, MAX_DIMENSION)?;
        within("num_hidden_layers", self.num_hidden_layers, MAX_COUNT)?;
        within("num_attention_heads", self.num_attention_heads, MAX_COUNT)?;
        within("num_key_value_heads", self.num_key_value_heads, self.num_attention_heads)?;
        within("head_dim", self.head_dim, MAX_COUNT)?;
        within("context_length", self.context_length, MAX_CONTEXT)?;
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            return Err(Error::Value {
                name: "num_key_value_heads".into(),
                expected: format!("a divisor of the {} query heads", self.num_attention_heads),
                found: self.num_key_value_heads.to_string(),
            });
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(Error::Value {
                name: "head_dim".into(),
                expected: "an even number (rotary pairs)".into(),
                found: self.head_dim.to_string(),
            });
        }
        for (name, value) in [("rms_norm_eps", self.rms_norm_eps), ("rope_theta", self.rope_theta)]
        {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::Value {
                    name: name.into(),
                    expected: "a positive number".into(),
                    found: value.to_string(),
                });
            }
        }
        Ok(())
    }

    /// Width of all query heads together.
    pub fn query_width(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Width of all key (or value) heads together.
    pub fn key_value_width(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }
}
