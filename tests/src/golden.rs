//! The files under `golden/data`, and the tiny model in our formats.

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use shared::testing::TinyBase;
use shared::{Adapter, Base, GgmlType, Gguf, GgufBuilder, Linear, ModelConfig, permute};

/// Part of the crate rather than read at run time, so that WebAssembly has them too.
macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!("../golden/data/", $name))
    };
}

/// A tensor of a safetensors file.
#[derive(Clone, Debug)]
pub struct GoldenTensor {
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

/// The tensors of a safetensors file by name.
pub type Tensors = BTreeMap<String, GoldenTensor>;

/// Which of the adapters that PEFT wrote.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// r 4, alpha 8, every linear layer, both halves random.
    Plain,
    /// The same as rsLoRA: another scale, other numbers.
    RankStabilised,
    /// [`Which::Plain`] after the training of [`Training`].
    Trained,
}

/// Hyper-parameters of the tiny model.
pub fn config() -> ModelConfig {
    parse_json(data!("config.json"))
}

/// The tiny model's weights, under Hugging Face's names.
pub fn weights() -> Tensors {
    parse_tensors(data!("base.safetensors"))
}

/// The sequence that the logits belong to.
pub fn tokens() -> Vec<u32> {
    parse_json(data!("tokens.json"))
}

/// Logits `[tokens, vocab]` by transformers, in f32: `base`, and with PEFT's adapters merged,
/// `adapter` and `adapter_rslora`.
pub fn logits() -> Tensors {
    parse_tensors(data!("logits.safetensors"))
}

/// `adapter_config.json` and `adapter_model.safetensors` as PEFT wrote them.
pub fn adapter_files(which: Which) -> (&'static [u8], &'static [u8]) {
    match which {
        Which::Plain => {
            (data!("adapter/adapter_config.json"), data!("adapter/adapter_model.safetensors"))
        }
        Which::RankStabilised => (
            data!("adapter_rslora/adapter_config.json"),
            data!("adapter_rslora/adapter_model.safetensors"),
        ),
        Which::Trained => {
            (data!("trained/adapter_config.json"), data!("trained/adapter_model.safetensors"))
        }
    }
}

/// One of PEFT's adapters, read by our reader.
pub fn adapter(which: Which) -> Adapter {
    let (config, tensors) = adapter_files(which);
    Adapter::parse(config, tensors).expect("PEFT's adapter is one that we read")
}

/// Gradients of [`Which::Plain`]'s tensors in the first update of [`Training`], before clipping.
pub fn gradients() -> Tensors {
    parse_tensors(data!("gradients.safetensors"))
}

/// A run of transformers' `Trainer` on [`Which::Plain`], and what it was told.
#[derive(Debug, Deserialize)]
pub struct Training {
    /// Settings under transformers' names.
    pub recipe: Recipe,
    /// The tokens that every example begins with.
    pub prefix: Vec<u32>,
    /// The data, in the order of every epoch.
    pub examples: Vec<Example>,
    /// Mean loss of each update's learned tokens.
    pub losses: Vec<f32>,
    /// Norm of each update's gradient, before clipping.
    pub grad_norms: Vec<f32>,
    /// Learning rate of each update.
    pub learning_rates: Vec<f64>,
}

/// Settings of [`Training`], under transformers' names.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are transformers'")]
pub struct Recipe {
    pub learning_rate: f64,
    pub num_train_epochs: usize,
    pub per_device_train_batch_size: usize,
    pub gradient_accumulation_steps: usize,
    pub warmup_steps: usize,
    pub max_grad_norm: f32,
    pub weight_decay: f64,
    pub lr_scheduler_type: String,
}

/// A token sequence; what follows the prompt is learned.
#[derive(Debug, Deserialize)]
pub struct Example {
    /// Prompt (with the common prefix) and answer.
    pub tokens: Vec<u32>,
    /// Tokens of the prompt.
    pub prompt_length: usize,
}

/// The golden training run.
pub fn training() -> Training {
    parse_json(data!("training.json"))
}

/// The tiny model as a GGUF file with matrices of type `ty`, written by our writer; tokenizer and
/// template are those of `shared`'s test model.
pub fn gguf(ty: GgmlType) -> Vec<u8> {
    write_gguf(ty).expect("the golden model is one that our writer accepts")
}

/// [`gguf`], read.
pub fn base(ty: GgmlType) -> Base {
    Base::from_bytes(gguf(ty)).expect("our reader accepts what our writer wrote")
}

fn write_gguf(ty: GgmlType) -> shared::Result<Vec<u8>> {
    let (config, weights) = (config(), weights());
    let other = TinyBase::default().gguf()?;
    let other = Gguf::parse(&other)?;
    let mut builder = GgufBuilder::new();
    builder.metadata("general.name", "tiny-golden")?;
    builder.config(&config)?;
    for (key, value) in other.metadata().iter().filter(|(key, _)| key.starts_with("tokenizer.")) {
        builder.metadata(key, value.clone())?;
    }
    let mut tensor = |name: &str, file_name: &str, ty: GgmlType| {
        let GoldenTensor { shape, values } = &weights[name];
        if name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight") {
            let values = permute(values, config.head_dim, shape[1]);
            return builder.tensor(file_name, shape, ty, &values);
        }
        builder.tensor(file_name, shape, ty, values)
    };
    tensor("model.embed_tokens.weight", "token_embd.weight", ty)?;
    tensor("model.norm.weight", "output_norm.weight", GgmlType::F32)?;
    for layer in 0..config.num_hidden_layers {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        for (norm, file_name) in
            [("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm")]
        {
            tensor(&name(norm), &format!("blk.{layer}.{file_name}.weight"), GgmlType::F32)?;
        }
        for linear in Linear::ALL {
            let part = format!("{}.{}", linear.parent(), linear.peft_name());
            tensor(&name(&part), &linear.gguf_name(layer), ty)?;
        }
    }
    Ok(builder.finish())
}

fn parse_json<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> T {
    serde_json::from_slice(bytes).expect("golden data is what golden/generate.py wrote")
}

/// Every tensor of a safetensors file of f32.
///
/// # Panics
/// If it isn't one.
pub fn parse_tensors(bytes: &[u8]) -> Tensors {
    let file = SafeTensors::deserialize(bytes).expect("golden data is a safetensors file");
    let tensors = file.iter().map(|(name, view)| {
        assert_eq!(view.dtype(), Dtype::F32, "{name}");
        let (chunks, rest) = view.data().as_chunks::<4>();
        assert!(rest.is_empty());
        let values = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        (name.to_owned(), GoldenTensor { shape: view.shape().to_vec(), values })
    });
    tensors.collect()
}
