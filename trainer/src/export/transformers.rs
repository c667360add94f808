//! A base in the layout that transformers loads: `config.json`, `model.safetensors` and tokenizer.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use safetensors::Dtype;
use safetensors::tensor::{View, serialize_to_file};
use serde_json::{Value, json};
use shared::{Base, Linear};

use crate::files::{replace_file, write_file};

/// Writes the weights of `base`, as they are after quantization, in f32 (4 bytes a parameter), and
/// their `config.json`. One matrix at a time is in memory beside the base.
///
/// # Errors
/// Weights that are not finite, or a file that cannot be written.
pub fn write_base(base: &Base, directory: &Path) -> Result<()> {
    let config_file = directory.join("config.json");
    write_json(&config_file, &config(base))?;
    let failure = RefCell::new(None);
    let tensor = |(name, gguf_name): (String, String)| -> Result<(String, Weights<'_>)> {
        let shape = &base.gguf.tensor(&gguf_name)?.shape;
        Ok((name, Weights { base, gguf_name, shape, failure: &failure }))
    };
    let tensors = names(base).into_iter().map(tensor).collect::<Result<Vec<_>>>()?;
    replace_file(&directory.join("model.safetensors"), |temporary| {
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        serialize_to_file(tensors, Some(metadata), temporary)?;
        if let Some(error) = failure.take() {
            return Err(error.into());
        }
        // safetensors makes files that nobody else may read.
        Ok(fs::set_permissions(temporary, fs::metadata(&config_file)?.permissions())?)
    })
}

/// Writes the tokenizer of `base`, with its chat template, in the same layout.
///
/// # Errors
/// A file that cannot be written.
pub fn write_tokenizer(base: &Base, directory: &Path) -> Result<()> {
    let json = base.tokenizer.to_json()?;
    write_file(&directory.join("tokenizer.json"), json.as_bytes())?;
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": base.config.context_length,
        "bos_token": base.tokenizer.bos_token(),
        "eos_token": base.tokenizer.eos_token(),
        "chat_template": base.prompt.template(),
        "clean_up_tokenization_spaces": false,
    });
    write_json(&directory.join("tokenizer_config.json"), &config)
}

/// Tensors by their name in transformers, with the file's.
fn names(base: &Base) -> Vec<(String, String)> {
    let mut names = vec![
        ("model.embed_tokens.weight".to_owned(), "token_embd.weight".to_owned()),
        ("model.norm.weight".to_owned(), "output_norm.weight".to_owned()),
    ];
    if !base.config.tie_word_embeddings {
        names.push(("lm_head.weight".into(), "output.weight".into()));
    }
    for layer in 0..base.config.num_hidden_layers {
        let place = format!("model.layers.{layer}");
        for (norm, gguf_norm) in
            [("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm")]
        {
            names.push((
                format!("{place}.{norm}.weight"),
                format!("blk.{layer}.{gguf_norm}.weight"),
            ));
        }
        names.extend(Linear::ALL.map(|module| {
            (format!("{place}.{}.{module}.weight", module.parent()), module.gguf_name(layer))
        }));
    }
    names
}

fn config(base: &Base) -> Value {
    let config = &base.config;
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "attention_bias": false,
        "mlp_bias": false,
        "max_position_embeddings": config.context_length,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "tie_word_embeddings": config.tie_word_embeddings,
        "torch_dtype": "float32",
        "bos_token_id": base.tokenizer.bos_token().and_then(|t| base.tokenizer.token_to_id(t)),
        "eos_token_id": base.tokenizer.eos_id(),
    })
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    let mut json = serde_json::to_vec_pretty(value)?;
    json.push(b'\n');
    write_file(path, &json)
}

/// A tensor of the base, dequantized when it is written.
struct Weights<'a> {
    base: &'a Base,
    gguf_name: String,
    shape: &'a [usize],
    /// The first error: [`View::data`] cannot return one.
    failure: &'a RefCell<Option<shared::Error>>,
}

impl View for Weights<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = self.base.dequantize(&self.gguf_name).unwrap_or_else(|error| {
            self.failure.borrow_mut().get_or_insert(error);
            vec![0.0; self.shape.iter().product()]
        });
        Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * size_of::<f32>()
    }
}
