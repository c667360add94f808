//! A fresh model.

use anyhow::Result;
use candle_core::{Device, Tensor};
use rand::distr::Distribution as _;
use shared::ModelConfig;

use crate::corpus::stream;
use crate::nn::{Block, Linear, Llama, Param};

/// Standard deviation of the embedding.
const EMBEDDING_STD: f64 = 0.02;

/// Random weights: matrices that write into the residual stream start at zero, so that the
/// model starts as its embedding; the others at half of `1 / sqrt(fan_in)`.
pub fn init_llama(config: &ModelConfig, seed: u64) -> Result<Llama> {
    let mut rng = stream(seed, "init", 0);
    let mut normal = |rows: usize, cols: usize, std: f64| -> Result<Tensor> {
        let uniform = rand::distr::Uniform::new(-1.0f64, 1.0)?;
        // Uniform with the wanted variance; the shape of the distribution is forgotten within a few updates.
        let data = (0..rows * cols)
            .map(|_| (uniform.sample(&mut rng) * 3f64.sqrt() * std) as f32)
            .collect();
        Ok(Tensor::from_vec::<_, f32>(data, (rows, cols), &Device::Cpu)?)
    };
    let (hidden, inter) = (config.hidden_size, config.intermediate_size);
    let q = config.num_attention_heads * config.head_dim;
    let kv = config.num_key_value_heads * config.head_dim;
    let ones = || Tensor::ones(hidden, candle_core::DType::F32, &Device::Cpu);
    let mut slots = 0;
    let mut param = |name: String, value: Tensor| {
        slots += 1;
        Param { name, value, slot: Some(slots - 1) }
    };
    let embed_tokens = param(
        "model.embed_tokens.weight".into(),
        normal(config.vocab_size, hidden, EMBEDDING_STD)?,
    );
    let mut blocks = Vec::with_capacity(config.num_hidden_layers);
    for layer in 0..config.num_hidden_layers {
        let name = |module: &str| format!("model.layers.{layer}.{module}.weight");
        let mut linear = |module: &str, out: usize, input: usize, writes: bool| -> Result<Linear> {
            let std = if writes { 0.0 } else { 0.5 / (input as f64).sqrt() };
            Ok(Linear { weight: param(name(module), normal(out, input, std)?).into(), lora: None })
        };
        let q_proj = linear("self_attn.q_proj", q, hidden, false)?;
        let k_proj = linear("self_attn.k_proj", kv, hidden, false)?;
        let v_proj = linear("self_attn.v_proj", kv, hidden, false)?;
        let o_proj = linear("self_attn.o_proj", hidden, q, true)?;
        let gate_proj = linear("mlp.gate_proj", inter, hidden, false)?;
        let up_proj = linear("mlp.up_proj", inter, hidden, false)?;
        let down_proj = linear("mlp.down_proj", hidden, inter, true)?;
        blocks.push(Block {
            input_layernorm: param(name("input_layernorm"), ones()?),
            q_proj,
            k_proj,
            v_proj,
            o_proj,
            post_attention_layernorm: param(name("post_attention_layernorm"), ones()?),
            gate_proj,
            up_proj,
            down_proj,
        });
    }
    let norm = param("model.norm.weight".into(), ones()?);
    Ok(Llama {
        config: config.clone(),
        embed_tokens: embed_tokens.into(),
        blocks,
        norm,
        lm_head: None,
        slots,
        rope: Llama::rope_for(config),
    })
}
