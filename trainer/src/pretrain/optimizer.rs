//! Muon for the blocks' matrices, AdamW for embedding and norms.

use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::{Context, Result};
use candle_core::Tensor;

use crate::nn::{AdamW, AdamWConfig, Grads, Llama, Muon, MuonConfig, Workers};

/// Peak learning rates.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// For matrices.
    pub muon: f64,
    /// Weight decay of the matrices, as a share of their rate.
    pub muon_weight_decay: f64,
    /// For embedding and norms.
    pub adamw: f64,
}

/// State of both optimizers.
pub struct Optimizer {
    rates: Rates,
    adamw: AdamW,
    muon: BTreeMap<String, Mutex<Muon>>,
}

impl Optimizer {
    /// No update done yet.
    pub fn new(model: &mut Llama, rates: Rates) -> Self {
        let adamw =
            AdamW::new(AdamWConfig { beta1: 0.9, beta2: 0.98, eps: 1e-8, weight_decay: 0.0 });
        let config = MuonConfig { weight_decay: rates.muon_weight_decay, ..MuonConfig::default() };
        let muon = model
            .params_mut()
            .iter()
            .filter(|p| is_block_matrix(&p.name, &p.value))
            .map(|p| (p.name.clone(), Mutex::new(Muon::new(config))))
            .collect();
        Self { rates, adamw, muon }
    }

    /// One update with `grads * grad_scale` at `factor` of the peak rates.
    pub fn step(
        &mut self,
        model: &mut Llama,
        grads: &Grads,
        grad_scale: f32,
        factor: f64,
        workers: &Workers,
    ) -> Result<()> {
        self.adamw.begin_step();
        let (muon, rates) = (&self.muon, self.rates);
        let (mut matrices, others): (Vec<_>, Vec<_>) = model
            .params_mut()
            .into_iter()
            .filter(|p| p.is_trained())
            .partition(|p| muon.contains_key(&p.name));
        let grad_of = |slot: Option<usize>, name: &str| {
            slot.and_then(|s| grads.get(s)).with_context(|| format!("{name} has no gradient"))
        };
        let updated = {
            let matrices = &matrices;
            workers.map(matrices.len(), |index| {
                let param = &matrices[index];
                let grad = grad_of(param.slot, &param.name)?;
                let mut state =
                    muon[&param.name].lock().ok().context("an optimizer thread stopped")?;
                // Muon's direction doesn't depend on the gradient's scale.
                state.update(param, grad, rates.muon * factor)
            })?
        };
        for (param, value) in matrices.iter_mut().zip(updated) {
            param.value = value;
        }
        for param in others {
            let grad = grad_of(param.slot, &param.name)?.clone();
            self.adamw.update(param, &grad, grad_scale, rates.adamw * factor)?;
        }
        Ok(())
    }

    /// The state as named tensors.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = self.adamw.state()?;
        for (name, muon) in &self.muon {
            let muon = muon.lock().ok().context("an optimizer thread stopped")?;
            if let Some(momentum) = muon.state() {
                state.insert(format!("muon.{name}"), momentum.clone());
            }
        }
        Ok(state)
    }

    /// Restores [`Self::state`] after `step` updates.
    pub fn restore(&mut self, state: &BTreeMap<String, Tensor>, step: usize) -> Result<()> {
        self.adamw.restore(state, step as u64)?;
        for (name, muon) in &self.muon {
            let momentum = state.get(&format!("muon.{name}")).cloned();
            muon.lock().ok().context("an optimizer thread stopped")?.restore(momentum);
        }
        Ok(())
    }
}

fn is_block_matrix(name: &str, value: &Tensor) -> bool {
    value.rank() == 2 && !name.contains("embed_tokens") && !name.contains("lm_head")
}
