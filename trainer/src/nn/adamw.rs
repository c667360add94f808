//! AdamW (Loshchilov and Hutter, 2019), with the arithmetic of `torch.optim.AdamW`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};

use super::grads::Param;
use super::slices::slice;

/// Hyper-parameters, except the learning rate.
#[derive(Clone, Copy, Debug)]
pub struct AdamWConfig {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    /// The defaults of transformers' `TrainingArguments`.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

/// Optimizer state: two moments per parameter and the number of updates.
#[derive(Clone, Debug)]
pub struct AdamW {
    config: AdamWConfig,
    step: u64,
    moments: BTreeMap<String, (Vec<f32>, Vec<f32>)>,
}

impl AdamW {
    /// No update done yet.
    pub fn new(config: AdamWConfig) -> Self {
        Self { config, step: 0, moments: BTreeMap::new() }
    }

    /// Opens the next update; call once before the parameters' [`Self::update`]s.
    pub fn begin_step(&mut self) {
        self.step += 1;
    }

    /// One update of `param` with `grad * grad_scale` at learning rate `lr`.
    pub fn update(
        &mut self,
        param: &mut Param,
        grad: &Tensor,
        grad_scale: f32,
        lr: f64,
    ) -> Result<()> {
        let grad = grad.contiguous()?;
        let (grad, old) = (slice(&grad)?, slice(&param.value)?);
        let mut values = old.to_vec();
        self.update_slice(&param.name, &mut values, &grad, grad_scale, lr);
        drop(old);
        param.value = Tensor::from_vec(values, param.value.shape(), &Device::Cpu)?;
        Ok(())
    }

    /// The same of the parameter `name` with these values, as many as it has gradients.
    pub fn update_slice(
        &mut self,
        name: &str,
        values: &mut [f32],
        grad: &[f32],
        grad_scale: f32,
        lr: f64,
    ) {
        let AdamWConfig { beta1, beta2, eps, weight_decay } = self.config;
        let count = values.len();
        let (m, v) = self
            .moments
            .entry(name.to_owned())
            .or_insert_with(|| (vec![0.0; count], vec![0.0; count]));
        let step_size = (lr / (1.0 - beta1.powf(self.step as f64))) as f32;
        let bias2_sqrt = (1.0 - beta2.powf(self.step as f64)).sqrt() as f32;
        let decay = (1.0 - lr * weight_decay) as f32;
        let (beta1, beta2, eps) = (beta1 as f32, beta2 as f32, eps as f32);
        let (m, v, grad) = (&mut m[..count], &mut v[..count], &grad[..count]);
        // Every length known, so that it vectorises.
        for i in 0..count {
            let g = grad[i] * grad_scale;
            m[i] += (g - m[i]) * (1.0 - beta1);
            v[i] = v[i] * beta2 + g * g * (1.0 - beta2);
            let denominator = v[i].sqrt() / bias2_sqrt + eps;
            values[i] = values[i] * decay - step_size * (m[i] / denominator);
        }
    }

    /// The state as tensors, for a checkpoint.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::new();
        for (name, (m, v)) in &self.moments {
            state.insert(format!("adamw.m.{name}"), Tensor::from_slice(m, m.len(), &Device::Cpu)?);
            state.insert(format!("adamw.v.{name}"), Tensor::from_slice(v, v.len(), &Device::Cpu)?);
        }
        Ok(state)
    }

    /// Restores [`Self::state`] after `step` updates.
    pub fn restore(&mut self, state: &BTreeMap<String, Tensor>, step: u64) -> Result<()> {
        self.step = step;
        self.moments.clear();
        for (key, m) in state {
            if let Some(name) = key.strip_prefix("adamw.m.") {
                let v = state
                    .get(&format!("adamw.v.{name}"))
                    .with_context(|| format!("the checkpoint lacks the second moment of {name}"))?;
                self.moments.insert(name.to_owned(), (m.to_vec1()?, v.to_vec1()?));
            }
        }
        Ok(())
    }
}
