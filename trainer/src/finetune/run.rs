//! The adapter recipe, from top to bottom.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Result, ensure};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use shared::{Adapter, Base};

use super::augment::{Dataset, Example};
use super::checkpoint::{self, Position};
use super::lora::{LoraShape, Storage, adapter_of, attach_lora, llama_from_base};
use super::metrics::{Metrics, Row};
use super::recipe::{Recipe, SchedulerType};
use super::step::{SHARDS, Stepped, Stepper};
use super::validation::{ValidationPoint, Validator, best, out_of_patience};
use crate::files::to_jsonl;
use crate::interrupt;
use crate::nn::{AdamW, AdamWConfig, Llama, Schedule, Segment, Workers};

/// The best adapter so far, beside the checkpoint.
const BEST_FILE: &str = "best.safetensors";

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
    /// Optimizer steps, fewer than planned if the run was stopped early.
    pub steps: usize,
    /// Tokens that went forward.
    pub tokens: u64,
    /// Wall-clock seconds, over all resumptions.
    pub seconds: f64,
    /// The loss.
    pub curve: Vec<CurvePoint>,
    /// The evaluations, the last of them after the last step.
    pub evaluations: Vec<ValidationPoint>,
    /// The one of the adapter, the best or the last; `None` if the data gives no validation
    /// question.
    pub kept: Option<ValidationPoint>,
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

    /// Hash of all that decides the result. The examples are among it, because another release may
    /// make others of the same data.
    fn identity(&self, examples: &[Example]) -> Result<String> {
        let recipe = serde_json::to_string(self.recipe)?;
        let base = &self.base.identity.sha256;
        let examples = shared::sha256_hex(to_jsonl(examples)?.as_bytes());
        Ok(shared::sha256_hex(
            format!("{} {base} {} {recipe} {examples}", self.data_sha256, self.seed).as_bytes(),
        ))
    }

    /// Trains. `None` if it was interrupted: the checkpoint then holds what was done.
    pub fn train(&self, examples: &[Example]) -> Result<Option<Outcome>> {
        let recipe = self.recipe;
        let shape = LoraShape { r: recipe.lora_r, lora_alpha: recipe.lora_alpha };
        let mut model = llama_from_base(self.base, Storage::for_base(self.base))?;
        attach_lora(&mut model, shape, self.seed)?;
        let mut adamw = AdamW::new(AdamWConfig::default());
        let mut at = Position { identity: self.identity(examples)?, ..Position::default() };
        if self.resume {
            at = checkpoint::load(self.checkpoint, &mut model, &mut adamw, &at.identity)?;
            if let Some(best) = self.best(&at) {
                checkpoint::check_best(&self.best_file(), &at.identity, best.step)?;
            }
        }
        let segments = self.segments(examples)?;
        let batches: Vec<&[Segment]> = segments.chunks(recipe.effective_batch()).collect();
        let schedule = self.schedule(batches.len());
        let stepper = self.stepper();
        let workers = Workers::new(self.threads, SHARDS)?;
        let validator = Validator::new(self)?;
        let mut metrics = Metrics::open(self.checkpoint, at.step)?;
        let epochs_per_step = recipe.num_train_epochs as f64 / batches.len().max(1) as f64;
        let stop = interrupt::flag()?;
        let bar = crate::progress::bar(batches.len(), at.step, "step");
        let (clock, before) = (Instant::now(), (at.seconds, at.tokens));
        let mut saved = Instant::now();
        let report = (batches.len() / 50).max(1);
        for (step, batch) in batches.iter().enumerate().skip(at.step) {
            if self.stops_early(&at) {
                break;
            }
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
            let tokens_per_second = tokens as f64 / started.elapsed().as_secs_f64().max(1e-9);
            let rate = (at.tokens - before.1) as f64 / (at.seconds - before.0).max(1e-9);
            bar.set_position(at.step as u64);
            bar.set_message(format!("loss {mean:.4}, {rate:.0} tokens/s"));
            let is_last = at.step == batches.len();
            let is_due = recipe.eval_steps > 0 && at.step.is_multiple_of(recipe.eval_steps);
            if (is_due || is_last) && !validator.is_empty() {
                at.validation.push(validator.evaluate(&model, &workers, at.step)?);
                self.keep_if_best(&mut model, &at)?;
                note_evaluation(&bar, &at);
            }
            let evaluation = at.validation.last().filter(|point| point.step == at.step);
            let finished = is_last || self.stops_early(&at);
            metrics.push(Row {
                step: at.step,
                epoch: at.step as f64 * epochs_per_step,
                loss: own / losses.len().max(1) as f64,
                learning_rate,
                grad_norm: f64::from(grad_norm),
                tokens,
                tokens_per_second,
                eval_exact_match: evaluation.map(ValidationPoint::exact_match),
                eval_loss: evaluation.map(|point| point.loss),
            });
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
        let mut kept = at.validation.last().cloned();
        if let Some(best) = self.best(&at) {
            checkpoint::load_best(&self.best_file(), &mut model, &at.identity, best.step)?;
            kept = Some(best.clone());
        }
        let base_name = format!("{}-{}", self.base.identity.name, self.base.identity.version);
        let adapter = adapter_of(&mut model, shape, recipe.lora_dropout, &base_name)?;
        let Position { step, seconds, tokens, curve, validation, .. } = at;
        Ok(Some(Outcome {
            adapter,
            steps: step,
            tokens,
            seconds,
            curve,
            evaluations: validation,
            kept,
        }))
    }

    /// The best adapter so far, if the run ends with the best.
    pub fn best_file(&self) -> PathBuf {
        self.checkpoint.with_file_name(BEST_FILE)
    }

    fn best<'p>(&self, at: &'p Position) -> Option<&'p ValidationPoint> {
        best(&at.validation).filter(|_| self.recipe.load_best_model_at_end)
    }

    /// Writes the adapter of an evaluation that is a new best, before a checkpoint speaks of it.
    fn keep_if_best(&self, model: &mut Llama, at: &Position) -> Result<()> {
        match self.best(at) {
            Some(best) if best.step == at.step => {
                checkpoint::save_best(&self.best_file(), model, at)
            }
            _ => Ok(()),
        }
    }

    fn stops_early(&self, at: &Position) -> bool {
        out_of_patience(&at.validation, self.recipe.early_stopping_patience)
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
        Stepper { prefix: self.base.prompt.prefix_ids(), recipe: self.recipe, seed: self.seed }
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
}

fn note_evaluation(bar: &ProgressBar, at: &Position) {
    if let (Some(point), Some(best)) = (at.validation.last(), best(&at.validation)) {
        let note = if best.step == point.step { ", best so far" } else { "" };
        let (exact, questions) = (point.exact(), point.questions());
        let line = format!(
            "step {}: {exact} of {questions} validation questions exact ({:.1} %), loss {:.4}{note}",
            point.step,
            100.0 * point.exact_match(),
            point.loss
        );
        crate::progress::note(bar, &line);
    }
}
