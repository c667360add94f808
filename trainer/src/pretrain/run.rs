//! A pretraining run, from top to bottom.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rand::SeedableRng as _;
use serde::{Deserialize, Serialize};
use shared::Tokenizer;

use super::optimizer::Optimizer;
use super::recipe::Recipe;
use super::shard::{Data, Encoder, vocabulary_text};
use super::{checkpoint, init_llama, train_tokenizer};
use crate::corpus::{Grammar, Universe};
use crate::files::{read_file, to_jsonl, write_file};
use crate::interrupt;
use crate::nn::{Batch, Dropout, Grads, Llama, Schedule, TargetLoss, Workers};

/// Longest example, in tokens: with the system prompt it fits into the context.
const MAX_SEGMENT: usize = 440;

/// One line of the log.
#[derive(Debug, Serialize, Deserialize)]
pub struct LogLine {
    /// Finished steps.
    pub step: usize,
    /// Tokens seen.
    pub tokens: u64,
    /// Weighted mean loss since the line before, nats a token.
    pub loss: f64,
    /// Hours of computation, over all resumptions.
    pub hours: f64,
    /// Share of answers that are right to the last token, by kind of question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<std::collections::BTreeMap<String, f64>>,
}

/// Where a run keeps its files.
pub struct RunDirectory(pub PathBuf);

impl RunDirectory {
    fn tokenizer(&self) -> PathBuf {
        self.0.join("tokenizer.json")
    }
    fn checkpoint(&self) -> PathBuf {
        self.0.join("checkpoint.safetensors")
    }
    fn log(&self) -> PathBuf {
        self.0.join("log.jsonl")
    }
    fn recipe(&self) -> PathBuf {
        self.0.join("recipe.json")
    }
}

/// How a run reports and saves.
#[derive(Clone, Copy, Debug)]
pub struct Cadence {
    /// Steps between log lines.
    pub log: usize,
    /// Steps between measurements.
    pub probe: usize,
    /// Steps between checkpoints.
    pub save: usize,
}

/// The tokenizer of a run, made when it starts and kept from then on.
fn tokenizer(directory: &RunDirectory, grammar: &Grammar, recipe: &Recipe) -> Result<Tokenizer> {
    let path = directory.tokenizer();
    if !path.exists() {
        let json =
            train_tokenizer(&vocabulary_text(grammar, recipe.seed), recipe.model.vocab_size)?;
        write_file(&path, json.as_bytes())?;
    }
    let json = String::from_utf8(read_file(&path)?)?;
    let tokenizer = Tokenizer::from_json(&json, "<|end|>")?;
    ensure!(
        tokenizer.id_limit() == recipe.model.vocab_size,
        "{} has {} entries, the model {}",
        path.display(),
        tokenizer.id_limit(),
        recipe.model.vocab_size
    );
    Ok(tokenizer)
}

/// A finished or interrupted run's model, tokenizer and number of steps.
pub struct Loaded {
    /// The recipe as recorded.
    pub recipe: Recipe,
    /// The model.
    pub model: Llama,
    /// `tokenizer.json`.
    pub tokenizer_json: String,
    /// Finished steps.
    pub step: usize,
    /// The log so far.
    pub log: Vec<LogLine>,
}

/// Reads what [`pretrain`] left in `directory`.
pub fn load_run(directory: &Path) -> Result<Loaded> {
    let directory = RunDirectory(directory.to_owned());
    let recipe = read_recipe(&directory.0)?;
    let mut model = init_llama(&recipe.model, recipe.seed)?;
    let mut optimizer = Optimizer::new(&mut model, recipe.rates());
    let step = checkpoint::load(&directory.checkpoint(), &mut model, &mut optimizer)?;
    let log = read_log(&directory.log())?;
    let tokenizer_json = String::from_utf8(read_file(&directory.tokenizer())?)?;
    Ok(Loaded { recipe, model, tokenizer_json, step, log })
}

fn read_log(path: &Path) -> Result<Vec<LogLine>> {
    let text = String::from_utf8(read_file(path)?)?;
    text.lines()
        .map(|line| {
            serde_json::from_str(line)
                .with_context(|| format!("{} holds a broken line", path.display()))
        })
        .collect()
}

/// Makes `directory` ready: recipe, tokenizer and, unless there is a checkpoint, the weights of
/// the start.
pub fn prepare(directory: &Path, recipe: &Recipe, grammar: &Grammar) -> Result<()> {
    ensure!(recipe.shards > 0, "--shards must be 1 or more");
    ensure!(recipe.universes > 0, "--universes must be 1 or more");
    let directory = RunDirectory(directory.to_owned());
    tokenizer(&directory, grammar, recipe)?;
    write_file(&directory.recipe(), &serde_json::to_vec_pretty(recipe)?)?;
    if !directory.checkpoint().exists() {
        let mut model = init_llama(&recipe.model, recipe.seed)?;
        let optimizer = Optimizer::new(&mut model, recipe.rates());
        write_file(&directory.log(), b"")?;
        checkpoint::save(&directory.checkpoint(), &mut model, &optimizer, 0)?;
    }
    Ok(())
}

/// What the corpus of a run that is [prepared](prepare) is made with.
pub fn corpus<'g>(directory: &Path, recipe: &Recipe, grammar: &'g Grammar) -> Result<Data<'g>> {
    let tokenizer = tokenizer(&RunDirectory(directory.to_owned()), grammar, recipe)?;
    let encoder = Encoder::new(tokenizer)?;
    Ok(Data { grammar, encoder, seed: recipe.seed, max_segment: MAX_SEGMENT })
}

/// The recipe that [`prepare`] wrote.
pub fn read_recipe(directory: &Path) -> Result<Recipe> {
    let path = RunDirectory(directory.to_owned()).recipe();
    serde_json::from_slice(&read_file(&path)?)
        .with_context(|| format!("{} is not a recipe", path.display()))
}

/// Pretrains to `recipe.steps`, going on from the directory's checkpoint if there is one.
/// Returns the number of finished steps: fewer than asked for after an interruption.
pub fn pretrain(
    directory: &Path,
    recipe: &Recipe,
    cadence: Cadence,
    threads: usize,
) -> Result<usize> {
    let grammar = Grammar::load()?;
    prepare(directory, recipe, &grammar)?;
    let data = corpus(directory, recipe, &grammar)?;
    let directory = RunDirectory(directory.to_owned());
    let workers = Workers::new(threads, recipe.shards)?;
    let mut model = init_llama(&recipe.model, recipe.seed)?;
    let mut optimizer = Optimizer::new(&mut model, recipe.rates());
    let mut step = checkpoint::load(&directory.checkpoint(), &mut model, &mut optimizer)?;
    let mut log = read_log(&directory.log())?;
    log.retain(|line| line.step <= step);
    // Trained elsewhere, it hasn't been measured yet.
    if let Some(last) = log.last_mut()
        && last.step == recipe.steps
        && last.exact.is_none()
    {
        last.exact = Some(probe(&data, &recipe.universes(&grammar, step)[0], &model, &workers)?);
    }
    write_file(&directory.log(), to_jsonl(&log)?.as_bytes())?;
    let (mut hours, mut tokens) = log.last().map_or((0.0, 0), |last| (last.hours, last.tokens));
    let schedule = Schedule::WarmupStableDecay {
        warmup: recipe.warmup_steps,
        total: recipe.steps,
        decay: recipe.decay_steps,
    };
    let stop = interrupt::flag()?;
    let progress = crate::progress::bar(recipe.steps, step, "step");
    let mut window = Window::default();
    let mut clock = Instant::now();
    while step < recipe.steps && !stop.load(Ordering::Relaxed) {
        let universes = recipe.universes(&grammar, step);
        let shards = workers.map(recipe.shards, |index| {
            let universe = &universes[index % universes.len()];
            let batch = data.shard(universe, step, index, recipe.shard_tokens)?;
            let mut grads = Grads::new(model.slots);
            let losses = model.losses_and_grads(&batch, 1.0, &mut no_dropout(), &mut grads)?;
            Ok((batch, losses, grads))
        })?;
        let mut grads = Grads::new(model.slots);
        let mut weight = 0.0;
        for (batch, losses, shard_grads) in shards {
            grads.merge(shard_grads)?;
            weight += batch.weight();
            tokens += batch.tokens.len() as u64;
            window.add(&batch, &losses);
        }
        ensure!(
            window.loss().is_finite(),
            "the loss is not a number at step {step}: lower the learning rates"
        );
        optimizer.step(&mut model, &grads, 1.0 / weight, schedule.factor(step), &workers)?;
        step += 1;
        progress.set_position(step as u64);
        progress.set_message(format!("loss {:.3}", window.loss()));
        let last = step == recipe.steps || stop.load(Ordering::Relaxed);
        if step.is_multiple_of(cadence.log) || last {
            let exact = (step.is_multiple_of(cadence.probe) || last)
                .then(|| probe(&data, &recipe.universes(&grammar, step)[0], &model, &workers))
                .transpose()?;
            hours += clock.elapsed().as_secs_f64() / 3600.0;
            clock = Instant::now();
            let line = LogLine { step, tokens, loss: window.loss(), hours, exact };
            crate::progress::note(&progress, &serde_json::to_string(&line)?);
            append(&directory.log(), &line)?;
            window = Window::default();
        }
        if step.is_multiple_of(cadence.save) || last {
            checkpoint::save(&directory.checkpoint(), &mut model, &optimizer, step)?;
        }
    }
    progress.finish();
    Ok(step)
}

fn append(path: &Path, line: &LogLine) -> Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    writeln!(file, "{}", serde_json::to_string(line)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

fn no_dropout() -> Dropout {
    Dropout { p: 0.0, rng: rand_chacha::ChaCha8Rng::seed_from_u64(0) }
}

/// Exact answers by kind of question. Under teacher forcing an answer is exact if and only if
/// greedy decoding gives it.
fn probe(
    data: &Data<'_>,
    universe: &Universe<'_>,
    model: &Llama,
    workers: &Workers,
) -> Result<std::collections::BTreeMap<String, f64>> {
    let probes = data.probes(universe, 100)?;
    let scores = workers.map(probes.len(), |index| {
        let (name, batch) = &probes[index];
        let losses = model.losses(batch, &mut no_dropout())?;
        Ok(((*name).to_owned(), exact_share(batch, &losses)))
    })?;
    Ok(scores.into_iter().collect())
}

/// Share of segments whose targets were all hit.
fn exact_share(batch: &Batch, losses: &[TargetLoss]) -> f64 {
    exact_count(batch, losses) as f64 / batch.layout.segments.len().max(1) as f64
}

/// Segments whose targets were all hit.
pub fn exact_count(batch: &Batch, losses: &[TargetLoss]) -> usize {
    let mut exact = vec![true; batch.layout.segments.len()];
    for (target, loss) in batch.targets.iter().zip(losses) {
        exact[target.segment as usize] &= loss.hit;
    }
    exact.iter().filter(|e| **e).count()
}

/// Weighted mean loss over the steps since the last log line.
#[derive(Default)]
struct Window {
    loss: f64,
    weight: f64,
}

impl Window {
    fn add(&mut self, batch: &Batch, losses: &[TargetLoss]) {
        for (target, loss) in batch.targets.iter().zip(losses) {
            self.loss += f64::from(target.weight * loss.loss);
            self.weight += f64::from(target.weight);
        }
    }

    fn loss(&self) -> f64 {
        self.loss / self.weight.max(f64::MIN_POSITIVE)
    }
}
