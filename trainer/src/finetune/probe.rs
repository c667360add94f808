//! What a run will take, measured on a few of its own steps.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::lora::{LoraShape, Storage, attach_lora, llama_from_base};
use super::recipe::Recipe;
use super::run::Run;
use super::step::SHARDS;
use super::validation::Validator;
use crate::finetune::Example;
use crate::memory::peak_bytes;
use crate::nn::{AdamW, AdamWConfig, Segment, Workers};

/// Timed steps at most, and the time after which no further one is begun.
const STEPS: usize = 5;
const SECONDS: f64 = 10.0;

/// What [`probe`] found.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Examples of all epochs.
    pub examples: usize,
    /// Optimizer steps.
    pub steps: usize,
    /// Tokens that go forward.
    pub tokens: u64,
    /// Expected duration, from the timed steps' tokens per second, and of the evaluations.
    pub seconds: f64,
    /// Tokens per second of the timed steps.
    pub tokens_per_second: f64,
    /// Evaluations on the validation questions, if the recipe asks for some before the end, and
    /// the seconds that each takes.
    pub evaluations: Option<(usize, f64)>,
    /// Steps that were timed.
    pub timed: usize,
    /// Threads that they ran on.
    pub threads: usize,
    /// Memory at its peak, bytes; `None` where the system does not tell.
    pub peak_bytes: Option<u64>,
}

/// Makes the run's largest step untimed, then a few spread over the run, on a model that is thrown
/// away.
///
/// # Errors
/// An example that does not fit the model's context.
pub fn probe(run: &Run<'_>, examples: &[Example]) -> Result<Probe> {
    let recipe: &Recipe = run.recipe;
    let segments = run.segments(examples)?;
    let batches: Vec<&[Segment]> = segments.chunks(recipe.effective_batch()).collect();
    ensure!(!batches.is_empty(), "there is nothing to train on");
    let stepper = run.stepper();
    let mut model = llama_from_base(run.base, Storage::for_base(run.base))?;
    attach_lora(
        &mut model,
        LoraShape { r: recipe.lora_r, lora_alpha: recipe.lora_alpha },
        run.seed,
    )?;
    let mut adamw = AdamW::new(AdamWConfig::default());
    let workers = Workers::new(run.threads, SHARDS)?;
    let mut step = |batch: &[Segment]| -> Result<u64> {
        let done =
            stepper.step(&mut model, &mut adamw, &workers, batch, 0, recipe.learning_rate)?;
        Ok(done.tokens)
    };
    let largest = batches.iter().max_by_key(|batch| stepper.tokens(batch));
    if let Some(largest) = largest {
        step(largest)?;
    }
    let start = Instant::now();
    let (mut timed, mut tokens) = (0, 0);
    for batch in batches.iter().step_by(batches.len().div_ceil(STEPS)) {
        tokens += step(batch)?;
        timed += 1;
        if start.elapsed().as_secs_f64() > SECONDS {
            break;
        }
    }
    let rate = tokens as f64 / start.elapsed().as_secs_f64();
    let evaluations = match recipe.eval_steps {
        0 => None,
        eval_steps => {
            let validator = Validator::new(run)?;
            let start = Instant::now();
            validator.evaluate(&model, &workers, 0)?;
            Some((batches.len().div_ceil(eval_steps), start.elapsed().as_secs_f64()))
        }
    };
    let evaluating = evaluations.map_or(0.0, |(number, seconds)| number as f64 * seconds);
    let all: u64 = batches.iter().map(|batch| stepper.tokens(batch)).sum();
    Ok(Probe {
        examples: examples.len(),
        steps: batches.len(),
        tokens: all,
        seconds: all as f64 / rate + evaluating,
        tokens_per_second: rate,
        evaluations,
        timed,
        threads: workers.threads(),
        peak_bytes: peak_bytes(),
    })
}
