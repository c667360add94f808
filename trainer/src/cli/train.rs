//! `trainer train`: a LoRA adapter from question/answer pairs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args as ClapArgs;
use rand::RngCore as _;
use serde_json::json;
use shared::{
    ADAPTER_CONFIG, ADAPTER_MODEL, AdapterRecord, Base, GUARD_FILE, INTENDED_USE, LossPoint,
    RECORD_FILE, RecordBase, TrainStats,
};

use super::INTERRUPTED;
use crate::corpus::{Grammar, stream};
use crate::data::read_pairs;
use crate::files::write_file;
use crate::finetune::{Dataset, Example, Outcome, Preset, Recipe, Run, SchedulerType};
use crate::input::load_base;

/// What the run trains on, listed before it starts.
const EXAMPLES_FILE: &str = "examples.jsonl";
/// State of an interrupted run.
const CHECKPOINT_FILE: &str = "checkpoint.safetensors";

/// Train an adapter on question/answer pairs
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
A line of DATA.jsonl is {\"question\": ..., \"answer\": ...}, optionally with \"batch\", \"source\" and
\"paraphrases\"; {\"messages\": [...]} and {\"prompt\": ..., \"completion\": ...} are read too.

Questions are asked in many phrasings, and refusals are made for batches and fields that the
data doesn't have; OUT/examples.jsonl lists all of them before training starts.
Ctrl-C saves a checkpoint; --resume goes on from it and ends with the same adapter.

Examples:
  trainer train trainer/data/train.jsonl --out runs/may
  trainer train records.jsonl --out runs/may --resume
  trainer train records.jsonl --out runs/trial --preset production --num-train-epochs 3")]
pub struct Args {
    /// Question/answer pairs
    #[arg(value_name = "DATA.jsonl")]
    data: PathBuf,
    /// Base model that ships with the site
    #[arg(long, value_name = "FILE.gguf", default_value = "web/models/lotwise-base.gguf")]
    base: PathBuf,
    /// Directory for the adapter
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Recipe to start from; the options below change single values of it
    #[arg(long, value_enum, default_value = "embedded")]
    preset: Preset,
    /// Rank of the adapter
    #[arg(long)]
    lora_r: Option<usize>,
    /// Numerator of the adapter's scale, lora_alpha / r
    #[arg(long)]
    lora_alpha: Option<f32>,
    /// Dropout on the adapter's input
    #[arg(long)]
    lora_dropout: Option<f32>,
    /// Peak learning rate of AdamW
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Passes over the data
    #[arg(long)]
    num_train_epochs: Option<usize>,
    /// Examples of a micro-batch
    #[arg(long)]
    per_device_train_batch_size: Option<usize>,
    /// Micro-batches of an optimizer step
    #[arg(long)]
    gradient_accumulation_steps: Option<usize>,
    /// Share of the steps that warm up
    #[arg(long)]
    warmup_ratio: Option<f64>,
    /// Course of the learning rate after the warm-up
    #[arg(long, value_enum)]
    lr_scheduler_type: Option<SchedulerType>,
    /// Probability that a question is asked in another phrasing
    #[arg(long)]
    paraphrase: Option<f64>,
    /// Probability that such a question comes in lower case, as a telegram or with small talk
    #[arg(long)]
    noise: Option<f64>,
    /// Probability of a slip of the finger in such a question, on top
    #[arg(long)]
    typos: Option<f64>,
    /// Made-up questions about unknown batches, per pair
    #[arg(long)]
    unknown_batch: Option<f64>,
    /// Made-up questions about missing fields, per pair
    #[arg(long)]
    missing_field: Option<f64>,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads; 0 for one per core (doesn't change the result)
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Go on from the checkpoint in the output directory
    #[arg(long)]
    resume: bool,
}

impl Args {
    fn recipe(&self) -> Result<Recipe> {
        fn set<T: Copy>(value: &mut T, option: Option<T>) {
            if let Some(option) = option {
                *value = option;
            }
        }
        let mut recipe = self.preset.recipe();
        set(&mut recipe.lora_r, self.lora_r);
        set(&mut recipe.lora_alpha, self.lora_alpha);
        set(&mut recipe.lora_dropout, self.lora_dropout);
        set(&mut recipe.learning_rate, self.learning_rate);
        set(&mut recipe.num_train_epochs, self.num_train_epochs);
        set(&mut recipe.per_device_train_batch_size, self.per_device_train_batch_size);
        set(&mut recipe.gradient_accumulation_steps, self.gradient_accumulation_steps);
        set(&mut recipe.warmup_ratio, self.warmup_ratio);
        set(&mut recipe.lr_scheduler_type, self.lr_scheduler_type);
        set(&mut recipe.augmentation.paraphrase, self.paraphrase);
        set(&mut recipe.augmentation.noise, self.noise);
        set(&mut recipe.augmentation.typos, self.typos);
        set(&mut recipe.augmentation.unknown_batch, self.unknown_batch);
        set(&mut recipe.augmentation.missing_field, self.missing_field);
        recipe.validate()?;
        Ok(recipe)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    let recipe = args.recipe()?;
    let data = read_pairs(&args.data)?;
    for note in &data.notes {
        eprintln!("note: {note}");
    }
    let base = load_base(&args.base)?;
    data.check(&base.prompt, base.config.context_length)?;
    let grammar = Grammar::load()?;
    let dataset = Dataset::new(&grammar, &data.pairs)?;
    let checkpoint = args.out.join(CHECKPOINT_FILE);
    ensure!(
        args.resume == checkpoint.exists(),
        "{} {}",
        checkpoint.display(),
        if args.resume {
            "does not exist: start without --resume"
        } else {
            "is left from an interrupted run: add --resume to go on, or choose another --out"
        }
    );
    let run = Run {
        base: &base,
        dataset: &dataset,
        data_sha256: &data.sha256,
        recipe: &recipe,
        seed: args.seed,
        threads: args.threads,
        checkpoint: &checkpoint,
        resume: args.resume,
    };
    let examples = run.examples();
    write_examples(&args.out.join(EXAMPLES_FILE), &examples)?;
    eprintln!(
        "{} pairs ({} in known fields) over {} batches; {} examples in {} epochs, {} steps",
        dataset.len(),
        dataset.recognised(),
        dataset.batches.len(),
        examples.len(),
        recipe.num_train_epochs,
        run.steps(&examples)
    );
    let Some(outcome) = run.train(&examples)? else {
        eprintln!("interrupted; the same command with --resume goes on");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    write_adapter(args, &base, &dataset, &data.sha256, &recipe, &outcome)?;
    if checkpoint.exists() {
        std::fs::remove_file(&checkpoint)
            .with_context(|| format!("cannot remove {}", checkpoint.display()))?;
    }
    report(args, &outcome);
    Ok(ExitCode::SUCCESS)
}

fn report(args: &Args, outcome: &Outcome) {
    for (origin, exact) in &outcome.validation {
        let name = serde_json::to_string(origin).unwrap_or_default();
        eprintln!("validation, {}: {:.1} % exact", name.trim_matches('"'), exact * 100.0);
    }
    eprintln!(
        "trained {} steps in {:.0} s, {:.0} tokens/s; adapter in {}",
        outcome.steps,
        outcome.seconds,
        outcome.tokens as f64 / outcome.seconds.max(1e-9),
        args.out.display()
    );
    eprintln!("next: trainer eval --adapter {} --questions FILE.jsonl", args.out.display());
}

fn write_examples(path: &Path, examples: &[Example]) -> Result<()> {
    let mut text = String::new();
    for example in examples {
        text.push_str(&serde_json::to_string(example)?);
        text.push('\n');
    }
    write_file(path, text.as_bytes())
}

/// The adapter's four files; the record last, so that a directory with one is complete.
fn write_adapter(
    args: &Args,
    base: &Base,
    dataset: &Dataset<'_>,
    data_sha256: &str,
    recipe: &Recipe,
    outcome: &Outcome,
) -> Result<()> {
    let (config, model) = outcome.adapter.write()?;
    write_file(&args.out.join(ADAPTER_CONFIG), &config)?;
    write_file(&args.out.join(ADAPTER_MODEL), &model)?;
    let guard = args.out.join(GUARD_FILE);
    if dataset.batches.is_empty() {
        // An older list would speak for other data.
        if guard.exists() {
            std::fs::remove_file(&guard)
                .with_context(|| format!("cannot remove {}", guard.display()))?;
        }
        eprintln!(
            "note: no question names a batch, so the adapter gets no list of known identifiers"
        );
    } else {
        write_file(&guard, &dataset.guard_list(&salt(args.seed))?.to_json()?)?;
    }
    let loss_curve =
        outcome.curve.iter().map(|p| LossPoint { step: p.step as u64, loss: p.loss }).collect();
    let validation: BTreeMap<_, _> = outcome
        .validation
        .iter()
        .map(|(origin, exact)| {
            Ok((serde_json::to_value(origin)?.as_str().unwrap_or_default().to_owned(), exact))
        })
        .collect::<Result<_>>()?;
    let record = AdapterRecord {
        format_version: AdapterRecord::FORMAT_VERSION,
        created: crate::clock::utc_now()?,
        data_sha256: data_sha256.to_owned(),
        base: RecordBase {
            name: base.identity.name.clone(),
            version: base.identity.version.clone(),
            sha256: base.identity.sha256.clone(),
        },
        template_sha256: base.prompt.template_sha256(),
        system_prompt: base.prompt.system_prompt().to_owned(),
        recipe: json!({ "settings": recipe, "validation_exact_match": validation }),
        seed: args.seed,
        train: TrainStats {
            examples: dataset.len() as u64,
            steps: outcome.steps as u64,
            tokens: outcome.tokens,
            seconds: outcome.seconds,
            final_loss: outcome.curve.last().map_or(0.0, |p| p.loss),
            loss_curve,
        },
        metrics: None,
        undecided: None,
        self_test: None,
        intended_use: INTENDED_USE.to_owned(),
    };
    let bytes = record.to_json()?;
    write_file(&args.out.join(RECORD_FILE), &bytes)
}

/// Salt of the identifier hashes: from the seed, so that a run can be repeated to the last byte.
/// It keeps lists of different runs from being compared, not a short identifier from being guessed.
fn salt(seed: u64) -> String {
    let mut rng = stream(seed, "guard salt", 0);
    let mut bytes = [0u8; 16];
    rng.fill_bytes(&mut bytes);
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
