//! The tiny model as the trainer's [`Llama`], put together from Hugging Face's own tensors.

use candle_core::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use shared::{Adapter, Linear as Module, LoraPair, ModelConfig};
use trainer::nn::{Block, Dropout, Linear, Llama, Lora, Param};

use crate::golden::{GoldenTensor, Tensors};

/// A model with nothing trained, without an adapter.
///
/// # Panics
/// If a tensor is missing.
pub fn llama(config: &ModelConfig, weights: &Tensors) -> Llama {
    let param = |name: String| {
        let GoldenTensor { shape, values } = &weights[&name];
        Param::frozen(name, tensor(values, shape))
    };
    let block = |layer: usize| {
        let norm = |name: &str| param(format!("model.layers.{layer}.{name}.weight"));
        let linear = |module: Module| Linear {
            weight: norm(&format!("{}.{}", module.parent(), module.peft_name())).into(),
            lora: None,
        };
        Block {
            input_layernorm: norm("input_layernorm"),
            q_proj: linear(Module::Query),
            k_proj: linear(Module::Key),
            v_proj: linear(Module::Value),
            o_proj: linear(Module::Output),
            post_attention_layernorm: norm("post_attention_layernorm"),
            gate_proj: linear(Module::Gate),
            up_proj: linear(Module::Up),
            down_proj: linear(Module::Down),
        }
    };
    Llama {
        config: config.clone(),
        embed_tokens: param("model.embed_tokens.weight".into()).into(),
        blocks: (0..config.num_hidden_layers).map(block).collect(),
        norm: param("model.norm.weight".into()),
        lm_head: (!config.tie_word_embeddings).then(|| param("lm_head.weight".into()).into()),
        slots: 0,
        rope: Llama::rope_for(config),
    }
}

/// Puts `adapter` beside the frozen matrices, every half trained.
///
/// # Panics
/// If the adapter lacks a matrix.
pub fn attach(model: &mut Llama, adapter: &Adapter) {
    let mut slots = model.slots;
    for (layer, block) in model.blocks.iter_mut().enumerate() {
        for (module, linear) in Module::ALL.into_iter().zip(block.linears_mut()) {
            let LoraPair { a, b, in_features, out_features } = &adapter.pairs[&(layer, module)];
            let mut param = |side: &str, values: &[f32], shape: [usize; 2]| {
                let name = format!(
                    "base_model.model.model.layers.{layer}.{}.{}.{side}.weight",
                    module.parent(),
                    module.peft_name()
                );
                slots += 1;
                Param { name, value: tensor(values, &shape), slot: Some(slots - 1) }
            };
            let r = adapter.config.r;
            linear.lora = Some(Lora {
                a: param("lora_A", a, [r, *in_features]),
                b: param("lora_B", b, [*out_features, r]),
                scale: adapter.scale(),
            });
        }
    }
    model.slots = slots;
}

/// The halves of all LoRA pairs.
pub fn lora_params(model: &mut Llama) -> Vec<&mut Param> {
    model.params_mut().into_iter().filter(|param| param.name.contains(".lora_")).collect()
}

/// Drops nothing.
pub fn no_dropout() -> Dropout {
    Dropout { p: 0.0, rng: ChaCha8Rng::seed_from_u64(0) }
}

/// A CPU tensor.
///
/// # Panics
/// If `values` are not as many as `shape` says.
pub fn tensor(values: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).expect("as many values as the shape says")
}

/// Row-major elements.
///
/// # Panics
/// If the tensor isn't f32.
pub fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|flat| flat.to_vec1()).expect("an f32 tensor")
}
