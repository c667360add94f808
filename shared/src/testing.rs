//! Small models with random weights, for tests and benchmarks of this crate and others.

use std::collections::BTreeMap;

use serde_json::json;

use crate::model::{Model, ModelBuilder, RankSlice};
use crate::rng::Rng;
use crate::{
    Adapter, GgmlType, Gguf, GgufBuilder, Linear, LoraConfig, LoraPair, ModelConfig, Result,
    SYSTEM_PROMPT,
};

/// Control tokens of the tiny tokenizer; their ids follow the 256 bytes.
pub const CONTROL_TOKENS: [&str; 4] = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"];

/// The chat template of the tiny model (that of the project's own base).
pub const TEMPLATE: &str = "{% for message in messages %}<|{{ message.role }}|>\n\
    {{ message.content }}<|end|>\n{% endfor %}\
    {% if add_generation_prompt %}<|assistant|>\n{% endif %}";

/// A recipe for a base model with random weights.
#[derive(Debug, Clone)]
pub struct TinyBase {
    /// Its shape. For [`Self::gguf`], at least 260 tokens.
    pub config: ModelConfig,
    /// Type of the matrices.
    pub ty: GgmlType,
    /// Seed of the weights.
    pub seed: u64,
    /// A control token that the model says whatever it is asked.
    pub favour: Option<String>,
}

impl Default for TinyBase {
    /// 2 layers, width 64, 6 query heads on 2 key/value heads of 32, 264 tokens, Q8_0.
    fn default() -> Self {
        Self {
            config: ModelConfig {
                vocab_size: 264,
                hidden_size: 64,
                intermediate_size: 96,
                num_hidden_layers: 2,
                num_attention_heads: 6,
                num_key_value_heads: 2,
                head_dim: 32,
                rms_norm_eps: 1e-5,
                rope_theta: 1e4,
                context_length: 384,
                tie_word_embeddings: true,
            },
            ty: GgmlType::Q8_0,
            seed: 1,
            favour: None,
        }
    }
}

impl TinyBase {
    /// A whole GGUF file: weights, byte-level tokenizer, chat template.
    ///
    /// # Errors
    /// A shape that the format or the engine refuses.
    pub fn gguf(&self) -> Result<Vec<u8>> {
        let mut builder = GgufBuilder::new();
        builder.metadata("general.name", "tiny")?;
        builder.metadata("general.version", "1")?;
        builder.metadata("general.license", "mit")?;
        builder.config(&self.config)?;
        builder.metadata("tokenizer.huggingface.json", tokenizer_json())?;
        builder.metadata("tokenizer.ggml.model", "gpt2")?;
        let end: u32 = 256;
        builder.metadata("tokenizer.ggml.eos_token_id", end)?;
        builder.metadata("tokenizer.chat_template", TEMPLATE)?;
        builder.metadata("lotwise.system_prompt", SYSTEM_PROMPT)?;
        self.tensors(&mut builder)?;
        Ok(builder.finish())
    }

    /// One rank of the model, loaded from a file that has weights only.
    ///
    /// # Errors
    /// As [`ModelBuilder`].
    pub fn model(&self, slice: RankSlice, adapter: Option<&Adapter>) -> Result<Model> {
        let mut builder = GgufBuilder::new();
        builder.config(&self.config)?;
        self.tensors(&mut builder)?;
        let bytes = builder.finish();
        let gguf = Gguf::parse(&bytes)?;
        let mut model = ModelBuilder::new(&self.config, slice, adapter)?;
        for (name, info) in gguf.tensors() {
            model.tensor(name, info, gguf.tensor_bytes(&bytes, name)?)?;
        }
        model.finish()
    }

    /// A random adapter for this shape: `r` 4, `lora_alpha` 8, entries of about `size`.
    pub fn adapter(&self, modules: &[Linear], size: f32) -> Adapter {
        const R: usize = 4;
        let mut rng = Rng::new(self.seed ^ 0xada9_7e45);
        let mut pairs = BTreeMap::new();
        for layer in 0..self.config.num_hidden_layers {
            for &module in modules {
                let [out_features, in_features] = module.shape(&self.config);
                let a = noise(&mut rng, R * in_features, size);
                let b = noise(&mut rng, out_features * R, size);
                pairs.insert((layer, module), LoraPair { a, b, in_features, out_features });
            }
        }
        let config = LoraConfig {
            r: R,
            lora_alpha: 8.0,
            lora_dropout: 0.0,
            target_modules: modules.to_vec(),
            use_rslora: false,
            layers_to_transform: None,
            base_model_name_or_path: None,
        };
        Adapter { config, pairs }
    }

    fn tensors(&self, builder: &mut GgufBuilder) -> Result<()> {
        let config = &self.config;
        let hidden = config.hidden_size;
        let mut rng = Rng::new(self.seed);
        let mut embedding = noise(&mut rng, config.vocab_size * hidden, 0.5);
        let mut last_norm = norm(&mut rng, hidden);
        if let Some(favour) = &self.favour {
            // The residual stream gets a constant direction that only one output row has.
            let favoured = CONTROL_TOKENS.iter().position(|token| token == favour);
            for row in embedding.chunks_exact_mut(hidden) {
                row[0] = 8.0;
            }
            last_norm.fill(0.0);
            last_norm[0] = 1.0;
            if let Some(index) = favoured {
                embedding[(256 + index) * hidden] = 64.0;
            }
        }
        let shape = [config.vocab_size, hidden];
        builder.tensor("token_embd.weight", &shape, self.ty, &embedding)?;
        builder.tensor("output_norm.weight", &[hidden], GgmlType::F32, &last_norm)?;
        if !config.tie_word_embeddings {
            let head = noise(&mut rng, config.vocab_size * hidden, 0.5);
            builder.tensor("output.weight", &shape, self.ty, &head)?;
        }
        for layer in 0..config.num_hidden_layers {
            for name in ["attn_norm", "ffn_norm"] {
                let name = format!("blk.{layer}.{name}.weight");
                let values = norm(&mut rng, hidden);
                builder.tensor(&name, &[hidden], GgmlType::F32, &values)?;
            }
            for linear in Linear::ALL {
                let [rows, width] = linear.shape(config);
                let values = noise(&mut rng, rows * width, 1.7 / (width as f32).sqrt());
                builder.tensor(&linear.gguf_name(layer), &[rows, width], self.ty, &values)?;
            }
        }
        Ok(())
    }
}

/// Uniform in `-size..size`.
fn noise(rng: &mut Rng, len: usize, size: f32) -> Vec<f32> {
    (0..len).map(|_| (rng.uniform() as f32 * 2.0 - 1.0) * size).collect()
}

fn norm(rng: &mut Rng, len: usize) -> Vec<f32> {
    noise(rng, len, 0.3).into_iter().map(|value| value + 1.0).collect()
}

/// A byte-level BPE without merges: id = byte, then the control tokens.
fn tokenizer_json() -> String {
    let mut vocab = serde_json::Map::new();
    for (id, character) in byte_characters().into_iter().enumerate() {
        vocab.insert(character.to_string(), id.into());
    }
    let added: Vec<_> = CONTROL_TOKENS
        .iter()
        .enumerate()
        .map(|(index, token)| {
            json!({"id": 256 + index, "content": token, "single_word": false, "lstrip": false,
                   "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    for (index, token) in CONTROL_TOKENS.iter().enumerate() {
        vocab.insert((*token).to_owned(), (256 + index).into());
    }
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
                            "use_regex": false});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": null, "pre_tokenizer": byte_level, "post_processor": null,
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
                  "continuing_subword_prefix": null, "end_of_word_suffix": null,
                  "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": []}
    })
    .to_string()
}

/// GPT-2's printable stand-in for every byte.
fn byte_characters() -> Vec<char> {
    let mut next = 256;
    (0..=255_u32)
        .map(|byte| {
            let printable = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
            let code = if printable { byte } else { next };
            if !printable {
                next += 1;
            }
            char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
        })
        .collect()
}
