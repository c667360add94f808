//! The base as a frozen model with a LoRA adapter beside every linear layer, and back to
//! PEFT's layout.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use rand::Rng as _;
use shared::{Adapter, Base, Linear as Module, LoraConfig, LoraPair};

use crate::corpus::stream;
use crate::nn::{Block, Linear, Llama, Lora, Matrix, Packed, Param, slice};

/// Rank and scale of the adapter to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoraShape {
    /// Rank.
    pub r: usize,
    /// Numerator of the scale `lora_alpha / r`.
    pub lora_alpha: f32,
}

/// Parameters up to which the base is held in f32: 64 MB. Beyond, memory counts for more than the
/// time to turn a matrix into f32 for each product.
const F32_PARAMETERS: usize = 16 << 20;

/// How the frozen matrices are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In f32.
    F32,
    /// In the file's own types, turned into f32 for each product.
    File,
}

impl Storage {
    /// What pays for `base`: memory or time.
    pub fn for_base(base: &Base) -> Self {
        let tensors = base.gguf.tensors().values();
        let parameters: usize = tensors.map(|t| t.shape.iter().product::<usize>()).sum();
        if parameters > F32_PARAMETERS { Self::File } else { Self::F32 }
    }
}

/// The base's weights as the browser will use them, frozen.
pub fn llama_from_base(base: &Base, storage: Storage) -> Result<Llama> {
    let config = base.config.clone();
    let matrix = |name: String, gguf_name: &str, shape: [usize; 2], head_dim| {
        if storage == Storage::File {
            return packed(base, gguf_name, shape, head_dim);
        }
        let values = Tensor::from_vec(base.dequantize(gguf_name)?, &shape, &Device::Cpu)?;
        Ok(Param::frozen(name, values).into())
    };
    let param = |name: String, gguf_name: &str, shape: &[usize]| -> Result<Param> {
        let values = base.dequantize(gguf_name)?;
        Ok(Param::frozen(name, Tensor::from_vec(values, shape, &Device::Cpu)?))
    };
    let hidden = config.hidden_size;
    let mut blocks = Vec::with_capacity(config.num_hidden_layers);
    for layer in 0..config.num_hidden_layers {
        let linear = |module: Module| -> Result<Linear> {
            let [out, input] = module.shape(&config);
            let is_rotary = [Module::Query, Module::Key].contains(&module);
            let head_dim = is_rotary.then_some(config.head_dim);
            let name =
                format!("model.layers.{layer}.{}.{}.weight", module.parent(), module.peft_name());
            let weight = matrix(name, &module.gguf_name(layer), [out, input], head_dim)?;
            Ok(Linear { weight, lora: None })
        };
        let norm = |hf: &str, gguf: &str| {
            param(
                format!("model.layers.{layer}.{hf}.weight"),
                &format!("blk.{layer}.{gguf}.weight"),
                &[hidden],
            )
        };
        blocks.push(Block {
            input_layernorm: norm("input_layernorm", "attn_norm")?,
            q_proj: linear(Module::Query)?,
            k_proj: linear(Module::Key)?,
            v_proj: linear(Module::Value)?,
            o_proj: linear(Module::Output)?,
            post_attention_layernorm: norm("post_attention_layernorm", "ffn_norm")?,
            gate_proj: linear(Module::Gate)?,
            up_proj: linear(Module::Up)?,
            down_proj: linear(Module::Down)?,
        });
    }
    let vocab = [config.vocab_size, hidden];
    let lm_head = (!config.tie_word_embeddings)
        .then(|| matrix("lm_head.weight".into(), "output.weight", vocab, None))
        .transpose()?;
    Ok(Llama {
        embed_tokens: matrix("model.embed_tokens.weight".into(), "token_embd.weight", vocab, None)?,
        blocks,
        norm: param("model.norm.weight".into(), "output_norm.weight", &[hidden])?,
        lm_head,
        slots: 0,
        rope: Llama::rope_for(&config),
        config,
    })
}

/// A matrix as it stands in the file, read in Hugging Face's order.
fn packed(base: &Base, name: &str, shape: [usize; 2], head_dim: Option<usize>) -> Result<Matrix> {
    // Refuses what is not finite.
    base.dequantize(name)?;
    let info = base.gguf.tensor(name)?;
    let file = Arc::clone(base.bytes());
    Ok(Matrix::Packed(Packed::new(info.ty, file, info.range.clone(), shape, head_dim)?))
}

/// Puts a fresh adapter beside every linear layer, initialised as PEFT does: `A` uniform in
/// `+-1 / sqrt(in)` (Kaiming with a = sqrt(5)), `B` zero, so that training starts at the base.
pub fn attach_lora(model: &mut Llama, shape: LoraShape, seed: u64) -> Result<()> {
    let LoraShape { r, lora_alpha } = shape;
    let mut slots = 0;
    for (layer, block) in model.blocks.iter_mut().enumerate() {
        for (module, linear) in Module::ALL.into_iter().zip(block.linears_mut()) {
            let (out, input) = linear.weight.dims()?;
            let mut rng =
                stream(seed, "lora_A", (layer * Module::ALL.len() + module as usize) as u64);
            let bound = 1.0 / (input as f32).sqrt();
            let a: Vec<f32> = (0..r * input).map(|_| rng.random_range(-bound..bound)).collect();
            let mut param = |side: &str, value: Tensor| {
                slots += 1;
                let name = format!(
                    "base_model.model.model.layers.{layer}.{}.{}.{side}.weight",
                    module.parent(),
                    module.peft_name()
                );
                Param { name, value, slot: Some(slots - 1) }
            };
            linear.lora = Some(Lora {
                a: param("lora_A", Tensor::from_vec(a, (r, input), &Device::Cpu)?),
                b: param("lora_B", Tensor::zeros((out, r), candle_core::DType::F32, &Device::Cpu)?),
                scale: lora_alpha / r as f32,
            });
        }
    }
    model.slots = slots;
    Ok(())
}

/// The trained adapter in PEFT's layout.
pub fn adapter_of(
    model: &mut Llama,
    shape: LoraShape,
    lora_dropout: f32,
    base_name: &str,
) -> Result<Adapter> {
    let mut pairs = BTreeMap::new();
    for (layer, block) in model.blocks.iter_mut().enumerate() {
        for (module, linear) in Module::ALL.into_iter().zip(block.linears_mut()) {
            let (out_features, in_features) = linear.weight.dims()?;
            let lora = linear.lora.as_ref().context("the model has no adapter")?;
            let pair = LoraPair {
                a: slice(&lora.a.value)?.to_vec(),
                b: slice(&lora.b.value)?.to_vec(),
                in_features,
                out_features,
            };
            pairs.insert((layer, module), pair);
        }
    }
    let config = LoraConfig {
        r: shape.r,
        lora_alpha: shape.lora_alpha,
        lora_dropout,
        target_modules: Module::ALL.to_vec(),
        use_rslora: false,
        layers_to_transform: None,
        base_model_name_or_path: Some(base_name.to_owned()),
    };
    Ok(Adapter { config, pairs })
}
