//! One optimizer step.

use anyhow::{Context, Result};

use super::recipe::Recipe;
use crate::corpus::stream;
use crate::nn::{AdamW, Batch, Dropout, Grads, Llama, Segment, TargetLoss, Workers};

/// Shards of an optimizer step, the same on every machine: few, since each computes the prefix anew.
pub const SHARDS: usize = 2;

/// What all steps of a run have in common.
#[derive(Clone, Copy, Debug)]
pub struct Stepper<'a> {
    /// The rendered system prompt, which every example begins with.
    pub prefix: &'a [u32],
    /// Settings.
    pub recipe: &'a Recipe,
    /// Seed of the dropout.
    pub seed: u64,
}

/// What a step did.
#[derive(Clone, Debug)]
pub struct Stepped {
    /// Of every learned token, before the update.
    pub losses: Vec<TargetLoss>,
    /// Tokens that went forward.
    pub tokens: u64,
    /// Norm of the gradient of the mean loss, before clipping.
    pub grad_norm: f32,
}

impl Stepper<'_> {
    /// Forward and backward in shards, mean over all answer tokens, clipping, AdamW. `step` counts
    /// from 0 and picks the dropout's random numbers.
    ///
    /// # Errors
    /// An example that does not fit the model's context.
    pub fn step(
        &self,
        model: &mut Llama,
        adamw: &mut AdamW,
        workers: &Workers,
        batch: &[Segment],
        step: usize,
        learning_rate: f64,
    ) -> Result<Stepped> {
        let parts = shards(batch, SHARDS);
        let done = {
            let model = &*model;
            workers.map(parts.len(), |index| {
                let packed = Batch::pack(self.prefix, parts[index].iter().copied());
                let rng = stream(self.seed, "dropout", (step * SHARDS + index) as u64);
                let mut dropout = Dropout { p: f64::from(self.recipe.lora_dropout), rng };
                let mut grads = Grads::new(model.slots);
                let losses = model.losses_and_grads(&packed, 1.0, &mut dropout, &mut grads)?;
                Ok((losses, grads, packed.weight(), packed.tokens.len() as u64))
            })?
        };
        let mut grads = Grads::new(model.slots);
        let (mut losses, mut weight, mut tokens) = (Vec::new(), 0.0, 0);
        for (shard_losses, shard_grads, shard_weight, shard_tokens) in done {
            losses.extend(shard_losses);
            grads.merge(shard_grads)?;
            weight += shard_weight;
            tokens += shard_tokens;
        }
        let grad_norm = grads.norm()? / weight;
        // As torch.nn.utils.clip_grad_norm_ does.
        let clip = (self.recipe.max_grad_norm / (grad_norm + 1e-6)).min(1.0);
        adamw.begin_step();
        for param in model.params_mut() {
            if let Some(slot) = param.slot {
                let grad = grads
                    .get(slot)
                    .with_context(|| format!("{} has no gradient", param.name))?
                    .clone();
                adamw.update(param, &grad, clip / weight, learning_rate)?;
            }
        }
        Ok(Stepped { losses, tokens, grad_norm })
    }

    /// Tokens that [`Self::step`] sends forward for a batch: the prefix once a shard.
    pub fn tokens(&self, batch: &[Segment]) -> u64 {
        let own: usize = batch.iter().map(|segment| segment.tokens.len()).sum();
        (shards(batch, SHARDS).len() * self.prefix.len() + own) as u64
    }
}

/// About the same number of tokens in each: from the longest segment on, each goes to the shard that
/// has the fewest.
fn shards(batch: &[Segment], count: usize) -> Vec<Vec<&Segment>> {
    let mut segments: Vec<&Segment> = batch.iter().collect();
    segments.sort_by_key(|segment| std::cmp::Reverse(segment.tokens.len()));
    let mut parts = vec![(0, Vec::new()); count.min(batch.len())];
    for segment in segments {
        if let Some((tokens, part)) = parts.iter_mut().min_by_key(|(tokens, _)| *tokens) {
            *tokens += segment.tokens.len();
            part.push(segment);
        }
    }
    parts.into_iter().map(|(_, part)| part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_hold_every_segment_once_and_are_even() {
        let segment =
            |length: usize| Segment { tokens: vec![1; length], weights: vec![1.0; length] };
        let batch: Vec<Segment> = [9, 3, 8, 4, 1, 7].map(segment).into();
        let lengths: Vec<Vec<usize>> =
            shards(&batch, 2).iter().map(|s| s.iter().map(|s| s.tokens.len()).collect()).collect();
        assert_eq!(lengths, [[9, 4, 3], [8, 7, 1]]);
        assert_eq!(shards(&batch[..1], 2).len(), 1);
        assert!(shards(&[], 2).is_empty());
    }
}
