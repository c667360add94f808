//! The adapter recipe, from top to bottom.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rand::SeedableRng as _;
use serde::{Deserialize, Serialize};
use shared::{Adapter, Base};

use super::augment::{Dataset, Example, Origin};
use super::checkpoint::{self, Position};
use super::lora::{LoraShape, adapter_of, attach_lora, llama_from_base};
use super::recipe::{Recipe, SchedulerType};
use crate::corpus::stream;
use crate::interrupt;
use crate::nn::{
    AdamW, AdamWConfig, Batch, Dropout, Grads, Llama, Schedule, Segment, TargetLoss, Workers,
};

/// Shards of an optimizer step: the same on every machine, see [`Workers`].
const SHARDS: usize = 4;

/// Everything a run is made of.
pub struct Run<'a> {
    /// The base, as it ships.
    pub base: &'a Base,
    /// The user's data.
    pub dataset: &'a Dataset<'a>,
    /// SHA-256 of the data file.
    pub data_sha256: &'a str,
    /// Settings.
    pub recipe: &'a Recipe,
    /// Seed of everything random.
    pub seed: u64,
    /// Threads; 0 for one per core. Doesn't change the result.
    pub threads: usize,
    /// Where interrupted runs leave their state.
    pub checkpoint: &'a Path,
    /// Whether to go on from there.
    pub resume: bool,
    /// Time between checkpoints; 0 for one after every step. Doesn't change the result.
    pub save_seconds: u64,
    /// Whether the record keeps the answers, for approved-answers mode.
    pub approved_answers: bool,
}

/// One point of the training curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Finished optimizer steps.
    pub step: usize,
    /// Mean loss per answer token since the point before, nats.
    pub loss: f64,
}

/// What a run ends with.
pub struct Outcome {
    /// The trained adapter.
    pub adapter: Adapter,
    /// Optimizer steps.
    pub steps: usize,
    /// Tokens that went forward.
    pub tokens: u64,
    /// Wall-clock seconds, over all resumptions.
    pub seconds: f64,
    /// The loss.
    pub curve: Vec<CurvePoint>,
    /// Exact answers to validation questions, by kind; in f32, before quantization.
    pub validation: Vec<(Origin, f64)>,
}

impl Run<'_> {
    /// The examples of all epochs, in the order of training.
    pub fn examples(&self) -> Vec<Example> {
        let epochs = 0..self.recipe.num_train_epochs;
        epochs
            .flat_map(|epoch| self.dataset.epoch(self.recipe.augmentation, self.seed, epoch))
            .collect()
    }

    /// Optimizer steps over `examples`; the last one may be smaller, but it is done.
    pub fn steps(&self, examples: &[Example]) -> usize {
        examples.len().div_ceil(self.recipe.effective_batch())
    }

    /// Hash of all that decides the result.
    fn identity(&self) -> Result<String> {
        let recipe = serde_json::to_string(self.recipe)?;
        let base = &self.base.identity.sha256;
        Ok(shared::sha256_hex(
            format!("{} {base} {} {recipe}", self.data_sha256, self.seed).as_bytes(),
        ))
    }

    /// Trains. `None` if it was interrupted: the checkpoint then holds what was done.
    pub fn train(&self, examples: &[Example]) -> Result<Option<Outcome>> {
        let recipe = self.recipe;
        let shape = LoraShape { r: recipe.lora_r, lora_alpha: recipe.lora_alpha };
        let mut model = llama_from_base(self.base)?;
        attach_lora(&mut model, shape, self.seed)?;
        let mut adamw = AdamW::new(AdamWConfig::default());
        let mut at = Position { identity: self.identity()?, ..Position::default() };
        if self.resume {
            at = checkpoint::load(self.checkpoint, &mut model, &mut adamw, &at.identity)?;
        }
        let segments = self.segments(examples)?;
        let batches: Vec<&[Segment]> = segments.chunks(recipe.effective_batch()).collect();
        let schedule = self.schedule(batches.len());
        let workers = Workers::new(self.threads)?;
        let stop = interrupt::flag()?;
        let bar = crate::progress::bar(batches.len(), at.step, "step");
        let (clock, before) = (Instant::now(), (at.seconds, at.tokens));
        let mut saved = Instant::now();
        let report = (batches.len() / 50).max(1);
        for (step, batch) in batches.iter().enumerate().skip(at.step) {
            let factor = schedule.factor(step);
            let (losses, tokens) =
                self.step(&mut model, &mut adamw, &workers, batch, step, factor)?;
            at.step = step + 1;
            at.tokens += tokens;
            at.seconds = before.0 + clock.elapsed().as_secs_f64();
            at.window.0 += losses.iter().map(|l| f64::from(l.loss)).sum::<f64>();
            at.window.1 += losses.len() as u64;
            let mean = at.window.0 / at.window.1.max(1) as f64;
            ensure!(
                mean.is_finite(),
                "the loss is not a number at step {step}: lower --learning-rate"
            );
            let rate = (at.tokens - before.1) as f64 / (at.seconds - before.0).max(1e-9);
            bar.set_position(at.step as u64);
            bar.set_message(format!("loss {mean:.4}, {rate:.0} tokens/s"));
            let finished = at.step == batches.len();
            if at.step.is_multiple_of(report) || finished {
                at.curve.push(CurvePoint { step: at.step, loss: mean });
                at.window = (0.0, 0);
                if at.curve.len().is_multiple_of(5) || finished {
                    crate::progress::log_line(&bar);
                }
            }
            let interrupted = stop.load(Ordering::Relaxed) && !finished;
            if interrupted || saved.elapsed().as_secs() >= self.save_seconds {
                checkpoint::save(self.checkpoint, &mut model, &adamw, &at)?;
                saved = Instant::now();
            }
            if interrupted {
                bar.abandon();
                return Ok(None);
            }
        }
        bar.finish();
        let validation = self.validate(&model, &workers)?;
        let base_name = format!("{}-{}", self.base.identity.name, self.base.identity.version);
        let adapter = adapter_of(&mut model, shape, recipe.lora_dropout, &base_name)?;
        let Position { tokens, seconds, curve, .. } = at;
        Ok(Some(Outcome { adapter, steps: batches.len(), tokens, seconds, curve, validation }))
    }

    fn schedule(&self, total: usize) -> Schedule {
        let warmup = (total as f64 * self.recipe.warmup_ratio).ceil() as usize;
        match self.recipe.lr_scheduler_type {
            SchedulerType::Cosine => Schedule::Cosine { warmup, total },
            SchedulerType::Linear => Schedule::Linear { warmup, total },
        }
    }

    /// One optimizer step: forward and backward in shards, mean over all answer tokens, clipping,
    /// AdamW.
    fn step(
        &self,
        model: &mut Llama,
        adamw: &mut AdamW,
        workers: &Workers,
        batch: &[Segment],
        step: usize,
        factor: f64,
    ) -> Result<(Vec<TargetLoss>, u64)> {
        let prefix = self.base.prompt.prefix_ids();
        let parts: Vec<&[Segment]> = batch.chunks(batch.len().div_ceil(SHARDS)).collect();
        let shards = {
            let model = &*model;
            workers.map(parts.len(), |index| {
                let packed = Batch::pack(prefix, parts[index]);
                let rng = stream(self.seed, "dropout", (step * SHARDS + index) as u64);
                let mut dropout = Dropout { p: f64::from(self.recipe.lora_dropout), rng };
                let mut grads = Grads::new(model.slots);
                let losses = model.losses_and_grads(&packed, 1.0, &mut dropout, &mut grads)?;
                Ok((losses, grads, packed.weight(), packed.tokens.len() as u64))
            })?
        };
        let mut grads = Grads::new(model.slots);
        let (mut losses, mut weight, mut tokens) = (Vec::new(), 0.0, 0);
        for (shard_losses, shard_grads, shard_weight, shard_tokens) in shards {
            losses.extend(shard_losses);
            grads.merge(shard_grads)?;
            weight += shard_weight;
            tokens += shard_tokens;
        }
        let norm = grads.norm()? / weight;
        // As torch.nn.utils.clip_grad_norm_ does.
        let clip = (self.recipe.max_grad_norm / (norm + 1e-6)).min(1.0);
        adamw.begin_step();
        for param in model.params_mut() {
            if let Some(slot) = param.slot {
                let grad = grads
                    .get(slot)
                    .with_context(|| format!("{} has no gradient", param.name))?
                    .clone();
                adamw.update(param, &grad, clip / weight, self.recipe.learning_rate * factor)?;
            }
        }
        Ok((losses, tokens))
    }

    /// Token ids behind the shared prefix; only the answer and its end are learned.
    fn segments(&self, examples: &[Example]) -> Result<Vec<Segment>> {
        let limit = self.base.config.context_length - self.base.prompt.prefix_ids().len();
        examples
            .iter()
            .map(|example| {
                let ids = self.base.prompt.encode_pair(&example.question, &example.answer)?;
                let mut segment = Segment::default();
                segment.push(&ids.question, 0.0);
                segment.push(&ids.answer, 1.0);
                ensure!(
                    segment.tokens.len() <= limit,
                    "the pair {:?} takes {} tokens, the model has room for {limit}",
                    example.question,
                    segment.tokens.len()
                );
                Ok(segment)
            })
            .collect()
    }

    fn validate(&self, model: &Llama, workers: &Workers) -> Result<Vec<(Origin, f64)>> {
        let examples = self.dataset.validation(self.seed);
        let prefix = self.base.prompt.prefix_ids();
        let mut scores = Vec::new();
        for origin in [Origin::Paraphrase, Origin::UnknownBatch, Origin::MissingField] {
            let chosen: Vec<Example> =
                examples.iter().filter(|e| e.origin == origin).cloned().collect();
            if chosen.is_empty() {
                continue;
            }
            let segments = self.segments(&chosen)?;
            let parts: Vec<&[Segment]> = segments.chunks(32).collect();
            let exact = workers.map(parts.len(), |index| {
                let batch = Batch::pack(prefix, parts[index]);
                let mut dropout =
                    Dropout { p: 0.0, rng: rand_chacha::ChaCha8Rng::seed_from_u64(0) };
                let losses = model.losses(&batch, &mut dropout)?;
                Ok(crate::pretrain::exact_share(&batch, &losses) * parts[index].len() as f64)
            })?;
            scores.push((origin, exact.iter().sum::<f64>() / chosen.len() as f64));
        }
        Ok(scores)
    }
}
