//! What a pretraining run does.

use serde::{Deserialize, Serialize};
use shared::ModelConfig;

use super::optimizer::Rates;
use crate::corpus::{Grammar, Universe};

/// What a run does; recorded beside its result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recipe {
    /// Seed of weights and corpus.
    pub seed: u64,
    /// Optimizer steps.
    pub steps: usize,
    /// Steps of the final linear decay.
    pub decay_steps: usize,
    /// Warm-up steps.
    pub warmup_steps: usize,
    /// Shards a step.
    pub shards: usize,
    /// Tokens a shard, without the shared prefix.
    pub shard_tokens: usize,
    /// Sets of batches that are known by heart at the same time; a shard asks about one.
    #[serde(default = "one")]
    pub universes: usize,
    /// Steps at the end in which no batch is exchanged for a new one.
    #[serde(default)]
    pub settle_steps: usize,
    /// Peak rate of Muon.
    pub muon_lr: f64,
    /// Weight decay of Muon, as a share of its rate.
    #[serde(default)]
    pub muon_weight_decay: f64,
    /// Peak rate of AdamW.
    pub adamw_lr: f64,
    /// Shape of the model.
    pub model: ModelConfig,
}

fn one() -> usize {
    1
}

impl Recipe {
    /// The peak rates.
    pub fn rates(&self) -> Rates {
        Rates {
            muon: self.muon_lr,
            muon_weight_decay: self.muon_weight_decay,
            adamw: self.adamw_lr,
        }
    }

    /// The batches known by heart at `step`. At the low rate of the end, what a new batch's record
    /// says can't be learned any more, and a model that is asked it all the same forgets to refuse.
    pub fn universes<'g>(&self, grammar: &'g Grammar, step: usize) -> Vec<Universe<'g>> {
        // The first is that of a run with one.
        let seed = |index: usize| self.seed.wrapping_add((index as u64) << 32);
        let step = step.min(self.steps.saturating_sub(self.settle_steps));
        (0..self.universes).map(|index| Universe::at(grammar, seed(index), step)).collect()
    }
}
