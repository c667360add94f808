//! The adapter recipe, from top to bottom.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Result, ensure};
use rand::SeedableRng as _;
use serde::{Deserialize, Serialize};
use shared::{Adapter, Base};

use super::augment::{Dataset, Example, Origin};
use super::checkpoint::{self, Position};
use super::lora::{LoraShape, Storage, adapter_of, attach_lora, llama_from_base};
use super::metrics::{Metrics, Row};
use super::recipe::{Recipe, SchedulerType};
use super::step::{Stepped, Stepper};
use crate::interrupt;
use crate::nn::{AdamW, AdamWConfig, Batch, Dropout, Llama, Schedule, Segment, Workers};

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
        let mut model = llama_from_base(self.base, Storage::for_base(self.base))?;
        attach_lora(&mut model, shape, self.seed)?;
        let mut adamw = AdamW::new(AdamWConfig::default());
        let mut at = Position { identity: self.identity()?, ..Position::default() };
        if self.resume {
            at = checkpoint::load(self.checkpoint, &mut model, &mut adamw, &at.identity)?;
        }
        let segments = self.segments(examples)?;
        let batches: Vec<&[Segment]> = segments.chunks(recipe.effective_batch()).collect();
        let schedule = self.schedule(batches.len());
        let stepper = self.stepper();
        let workers = Workers::new(self.threads, stepper.shards)?;
        let mut metrics = Metrics::open(self.checkpoint, at.step)?;
        let epochs_per_step = recipe.num_train_epochs as f64 / batches.len().max(1) as f64;
        let stop = interrupt::flag()?;
        let bar = crate::progress::bar(batches.len(), at.step, "step");
        let (clock, before) = (Instant::now(), (at.seconds, at.tokens));
        let mut saved = Instant::now();
        let report = (batches.len() / 50).max(1);
        for (step, batch) in batches.iter().enumerate().skip(at.step) {
            let learning_rate = recipe.learning_rate * schedule.factor(step);
            let started = Instant::now();
            let Stepped { losses, tokens, grad_norm } =
                stepper.step(&mut model, &mut adamw, &workers, batch, step, learning_rate)?;
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
            let own: f64 = losses.iter().map(|l| f64::from(l.loss)).sum();
            metrics.push(Row {
                step: at.step,
                epoch: at.step as f64 * epochs_per_step,
                loss: own / losses.len().max(1) as f64,
                learning_rate,
                grad_norm: f64::from(grad_norm),
                tokens,
                tokens_per_second: tokens as f64 / started.elapsed().as_secs_f64().max(1e-9),
            });
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
            // The metrics first: they may be ahead of the checkpoint, and are cut back to it.
            if interrupted || finished || saved.elapsed().as_secs() >= self.save_seconds {
                metrics.save()?;
            }
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

    /// What the steps of this run have in common.
    pub fn stepper(&self) -> Stepper<'_> {
        Stepper {
            prefix: self.base.prompt.prefix_ids(),
            recipe: self.recipe,
            seed: self.seed,
            shards: Storage::for_base(self.base).shards(),
        }
    }

    /// Token ids behind the shared prefix; only the answer and its end are learned.
    ///
    /// # Errors
    /// An example that does not fit the model's context.
    pub fn segments(&self, examples: &[Example]) -> Result<Vec<Segment>> {
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
