//! The trainer's explicit backward pass against candle's autograd on the same model written in
//! plain candle operations, and against finite differences where there is dropout.

#![cfg(not(target_arch = "wasm32"))]

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Result, Tensor, Var};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use shared::testing::TinyBase;
use shared::{Linear, ModelConfig, Rng};
use tests::compare::relative_distance;
use tests::golden::{GoldenTensor, Tensors};
use tests::llama::{attach, llama, lora_params, no_dropout, tensor, values};
use trainer::nn::{Batch, Dropout, Grads, Llama, Param, Segment};

/// Of each tensor's gradient, relative to its own length; measured: 2e-6.
const GRADIENT: f64 = 2e-5;

/// Shapes that take different paths: width of the heads, their grouping, a head of its own.
fn shapes() -> Vec<ModelConfig> {
    let tiny = TinyBase::default().config;
    vec![
        // 6 query heads of 32 on 2 key/value heads, wider together than the residual stream.
        tiny.clone(),
        ModelConfig { tie_word_embeddings: false, num_key_value_heads: 6, ..tiny.clone() },
        ModelConfig {
            head_dim: 16,
            num_attention_heads: 4,
            num_key_value_heads: 1,
            ..tiny.clone()
        },
        ModelConfig { head_dim: 64, num_attention_heads: 2, num_key_value_heads: 2, ..tiny },
    ]
}

fn random_weights(config: &ModelConfig) -> Tensors {
    let mut rng = Rng::new(7);
    let mut weights = Tensors::new();
    let mut add = |name: String, shape: &[usize], offset: f32, size: f32| {
        let count = shape.iter().product();
        let values =
            (0..count).map(|_| offset + size * (rng.uniform() as f32 * 2.0 - 1.0)).collect();
        weights.insert(name, GoldenTensor { shape: shape.to_vec(), values });
    };
    let (vocab, hidden) = (config.vocab_size, config.hidden_size);
    add("model.embed_tokens.weight".into(), &[vocab, hidden], 0.0, 0.3);
    add("model.norm.weight".into(), &[hidden], 1.0, 0.3);
    if !config.tie_word_embeddings {
        add("lm_head.weight".into(), &[vocab, hidden], 0.0, 0.3);
    }
    for layer in 0..config.num_hidden_layers {
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            add(format!("model.layers.{layer}.{norm}.weight"), &[hidden], 1.0, 0.3);
        }
        for module in Linear::ALL {
            let [rows, width] = module.shape(config);
            let name = format!("model.layers.{layer}.{}.{module}.weight", module.parent());
            add(name, &[rows, width], 0.0, 1.7 / (width as f32).sqrt());
        }
    }
    weights
}

/// A prefix and segments of different lengths, some tokens more important than others.
fn prefix_and_segments(config: &ModelConfig) -> (Vec<u32>, Vec<Segment>) {
    let mut rng = Rng::new(11);
    let mut tokens = |count: usize| -> Vec<u32> {
        (0..count).map(|_| (rng.uniform() * config.vocab_size as f64) as u32).collect()
    };
    let prefix = tokens(5);
    let segments = [(4, 3, 1.0), (1, 1, 2.0), (7, 9, 0.25)].map(|(question, answer, weight)| {
        let mut segment = Segment::default();
        segment.push(&tokens(question), 0.0);
        segment.push(&tokens(answer), weight);
        segment
    });
    (prefix, segments.to_vec())
}

/// Llama in plain candle operations, one sequence at a time, every parameter a [`Var`].
struct Reference {
    config: ModelConfig,
    vars: BTreeMap<String, Var>,
    lora_scale: f64,
}

impl Reference {
    fn linear(&self, layer: usize, module: Linear, x: &Tensor) -> Result<Tensor> {
        let name = format!("model.layers.{layer}.{}.{module}", module.parent());
        let y = x.matmul(&self.vars[&format!("{name}.weight")].t()?)?;
        let half = |side: &str| self.vars.get(&format!("base_model.model.{name}.{side}.weight"));
        match (half("lora_A"), half("lora_B")) {
            (Some(a), Some(b)) => y + (x.matmul(&a.t()?)?.matmul(&b.t()?)? * self.lora_scale)?,
            _ => Ok(y),
        }
    }

    fn norm(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
        let root = (mean + f64::from(self.config.rms_norm_eps))?.sqrt()?;
        x.broadcast_div(&root)?.broadcast_mul(&self.vars[name])
    }

    /// `[rows, heads * width]` to rotated `[heads, rows, width]`.
    fn heads(&self, x: &Tensor, rotate: bool) -> Result<Tensor> {
        let (rows, width) = (x.dim(0)?, self.config.head_dim);
        let x = x.reshape((rows, (), width))?.transpose(0, 1)?.contiguous()?;
        if !rotate {
            return Ok(x);
        }
        let theta = f64::from(self.config.rope_theta);
        let angles: Vec<f32> = (0..rows)
            .flat_map(|row| {
                let angle = move |i| row as f64 * theta.powf(-2.0 * i as f64 / width as f64);
                (0..width / 2).map(move |i| angle(i) as f32)
            })
            .collect();
        let angles = tensor(&angles, &[rows, width / 2]);
        let (cos, sin) = (angles.cos()?, angles.sin()?);
        let (low, high) = (x.narrow(2, 0, width / 2)?, x.narrow(2, width / 2, width / 2)?);
        let turned_low = (low.broadcast_mul(&cos)? - high.broadcast_mul(&sin)?)?;
        let turned_high = (high.broadcast_mul(&cos)? + low.broadcast_mul(&sin)?)?;
        Tensor::cat(&[turned_low, turned_high], 2)
    }

    fn attention(&self, layer: usize, x: &Tensor) -> Result<Tensor> {
        let rows = x.dim(0)?;
        let q = self.heads(&self.linear(layer, Linear::Query, x)?, true)?;
        let k = self.heads(&self.linear(layer, Linear::Key, x)?, true)?;
        let v = self.heads(&self.linear(layer, Linear::Value, x)?, false)?;
        let group = self.config.num_attention_heads / self.config.num_key_value_heads;
        let owner: Vec<u32> = (0..q.dim(0)?).map(|head| (head / group) as u32).collect();
        let owner = Tensor::new(owner, &Device::Cpu)?;
        let (k, v) = (k.index_select(&owner, 0)?, v.index_select(&owner, 0)?);
        let scores = (q.matmul(&k.t()?)? / (self.config.head_dim as f64).sqrt())?;
        let mask: Vec<f32> = (0..rows * rows)
            .map(|at| if at % rows > at / rows { f32::NEG_INFINITY } else { 0.0 })
            .collect();
        let weights = softmax(&scores.broadcast_add(&tensor(&mask, &[rows, rows]))?)?;
        let attended = weights.matmul(&v)?.transpose(0, 1)?.reshape((rows, ()))?;
        self.linear(layer, Linear::Output, &attended)
    }

    /// Logits `[tokens, vocab]`.
    fn forward(&self, tokens: &[u32]) -> Result<Tensor> {
        let embedding = &self.vars["model.embed_tokens.weight"];
        let mut x = embedding.index_select(&Tensor::new(tokens, &Device::Cpu)?, 0)?;
        for layer in 0..self.config.num_hidden_layers {
            let norm = |name: &str, x: &Tensor| {
                self.norm(&format!("model.layers.{layer}.{name}.weight"), x)
            };
            x = (&x + self.attention(layer, &norm("input_layernorm", &x)?)?)?;
            let normed = norm("post_attention_layernorm", &x)?;
            let gate = self.linear(layer, Linear::Gate, &normed)?.silu()?;
            let inner = (gate * self.linear(layer, Linear::Up, &normed)?)?;
            x = (&x + self.linear(layer, Linear::Down, &inner)?)?;
        }
        let head = self.vars.get("lm_head.weight").unwrap_or(embedding);
        self.norm("model.norm.weight", &x)?.matmul(&head.t()?)
    }

    /// Sum of weighted cross-entropies over the segments, each behind the prefix.
    fn loss(&self, prefix: &[u32], segments: &[Segment]) -> Result<Tensor> {
        let mut total = Tensor::zeros((), DType::F32, &Device::Cpu)?;
        for segment in segments {
            let tokens = [prefix, &segment.tokens].concat();
            let logits = self.forward(&tokens)?;
            for (index, &weight) in segment.weights.iter().enumerate().skip(1) {
                let row = logits.get(prefix.len() + index - 1)?;
                let probability = softmax(&row)?.get(segment.tokens[index] as usize)?;
                total = (total - (probability.log()? * f64::from(weight))?)?;
            }
        }
        Ok(total)
    }
}

fn softmax(x: &Tensor) -> Result<Tensor> {
    let max = x.max_keepdim(D::Minus1)?.detach();
    let exp = x.broadcast_sub(&max)?.exp()?;
    exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)
}

/// Compares loss and every trained parameter's gradient.
fn assert_equal_gradients(mut model: Llama, what: &str, lora_scale: f64) {
    let config = model.config.clone();
    let (prefix, segments) = prefix_and_segments(&config);
    let batch = Batch::pack(&prefix, &segments);
    let mut grads = Grads::new(model.slots);
    let losses = model.losses_and_grads(&batch, 1.0, &mut no_dropout(), &mut grads).unwrap();
    let found: f32 = losses.iter().zip(&batch.targets).map(|(l, t)| l.loss * t.weight).sum();

    let vars = model
        .params_mut()
        .into_iter()
        .map(|param| (param.name.clone(), Var::from_tensor(&param.value).unwrap()))
        .collect();
    let reference = Reference { config, vars, lora_scale };
    let loss = reference.loss(&prefix, &segments).unwrap();
    let expected = loss.to_scalar::<f32>().unwrap();
    assert!((found / expected - 1.0).abs() < 1e-5, "{what}: loss {found}, expected {expected}");

    let store = loss.backward().unwrap();
    let mut compared = 0;
    for param in model.params_mut().into_iter().filter(|param| param.is_trained()) {
        let found = grads.get(param.slot.unwrap()).unwrap_or_else(|| panic!("{}", param.name));
        let expected = store.get(&reference.vars[&param.name]).unwrap();
        assert_eq!(found.dims(), expected.dims(), "{}", param.name);
        let error = relative_distance(&values(found), &values(expected));
        assert!(error <= GRADIENT, "{what}, {}: {error}", param.name);
        compared += 1;
    }
    assert_eq!(compared, model.slots, "{what}");
}

#[test]
fn gradients_of_every_weight_equal_autograd() {
    for config in shapes() {
        let mut model = llama(&config, &random_weights(&config));
        let mut slots = 0;
        for param in model.params_mut() {
            param.slot = Some(slots);
            slots += 1;
        }
        model.slots = slots;
        assert_equal_gradients(model, &format!("{config:?}"), 0.0);
    }
}

#[test]
fn gradients_of_an_adapter_equal_autograd() {
    for config in shapes() {
        let adapter =
            TinyBase { config: config.clone(), ..TinyBase::default() }.adapter(&Linear::ALL, 0.2);
        let mut model = llama(&config, &random_weights(&config));
        attach(&mut model, &adapter);
        assert_eq!(model.slots, 2 * Linear::ALL.len() * config.num_hidden_layers);
        assert_equal_gradients(model, &format!("{config:?}"), f64::from(adapter.scale()));
    }
}

/// The masks come from a seeded stream, so the loss with dropout is a function like any other and
/// its slope along a direction can be measured.
#[test]
fn gradients_under_dropout_equal_finite_differences() {
    const STEP: f32 = 2e-3;
    let config = TinyBase::default().config;
    let adapter = TinyBase::default().adapter(&Linear::ALL, 0.2);
    let mut model = llama(&config, &random_weights(&config));
    attach(&mut model, &adapter);
    let (prefix, segments) = prefix_and_segments(&config);
    let batch = Batch::pack(&prefix, &segments);
    let dropout = || Dropout { p: 0.25, rng: ChaCha8Rng::seed_from_u64(3) };
    let loss = |model: &Llama| -> f64 {
        let losses = model.losses(&batch, &mut dropout()).unwrap();
        losses.iter().zip(&batch.targets).map(|(l, t)| f64::from(l.loss * t.weight)).sum()
    };
    let plain = model.losses(&batch, &mut no_dropout()).unwrap();
    let plain: f64 =
        plain.iter().zip(&batch.targets).map(|(l, t)| f64::from(l.loss * t.weight)).sum();
    assert!((loss(&model) - plain).abs() > 1e-3 * plain, "dropout changes the loss");

    let mut grads = Grads::new(model.slots);
    model.losses_and_grads(&batch, 1.0, &mut dropout(), &mut grads).unwrap();
    let norm = f64::from(grads.norm().unwrap());
    let moved = |model: &Llama, sign: f32| -> f64 {
        let mut model = model.clone();
        for param in lora_params(&mut model) {
            let grad = values(grads.get(param.slot.unwrap()).unwrap());
            step_along(param, &grad, sign * STEP / norm as f32);
        }
        loss(&model)
    };
    // Along the gradient, the slope is the gradient's length.
    let slope = (moved(&model, 1.0) - moved(&model, -1.0)) / f64::from(2.0 * STEP);
    assert!((slope / norm - 1.0).abs() < 2e-3, "slope {slope}, gradient {norm}");
}

fn step_along(param: &mut Param, direction: &[f32], step: f32) {
    let moved: Vec<f32> =
        values(&param.value).iter().zip(direction).map(|(value, d)| value + step * d).collect();
    param.value = tensor(&moved, param.value.dims());
}
