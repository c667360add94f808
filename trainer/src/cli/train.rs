//! `trainer train`: a LoRA adapter from question/answer pairs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args as ClapArgs;
use shared::Base;

use super::INTERRUPTED;
use super::common::{BaseOption, print, size};
use super::recipe::RunOptions;
use crate::corpus::Grammar;
use crate::data::{PairFile, read_pairs};
use crate::files::{to_jsonl, write_file};
use crate::finetune::{Dataset, Example, Outcome, Probe, Run, probe, write_outcome};
use crate::input::load_base;

/// What the run trains on, listed before it starts.
const EXAMPLES_FILE: &str = "examples.jsonl";
/// State of an interrupted run.
pub(super) const CHECKPOINT_FILE: &str = "checkpoint.safetensors";

/// Train an adapter on question/answer pairs
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
A line of DATA.jsonl is {\"question\": ..., \"answer\": ...}, optionally with \"batch\", \"source\" and
\"paraphrases\"; {\"messages\": [...]} and {\"prompt\": ..., \"completion\": ...} are read too.

Questions are asked in many phrasings, and refusals are made for batches and fields that the
data doesn't have; OUT/examples.jsonl lists all of them before training starts.
OUT/metrics.jsonl and OUT/metrics.csv hold loss, learning rate, gradient norm and tokens/s of every
step. Ctrl-C saves a checkpoint; --resume goes on from it and ends with the same adapter.

Examples:
  trainer train trainer/data/train.jsonl --out runs/may
  trainer train trainer/data/train.jsonl --out runs/may --dry-run
  trainer train records.jsonl --out runs/may --resume
  trainer train records.jsonl --out runs/trial --preset production --num-train-epochs 3")]
pub struct Args {
    /// Question/answer pairs
    #[arg(value_name = "DATA.jsonl")]
    data: PathBuf,
    #[command(flatten)]
    base: BaseOption,
    /// Directory for the adapter
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    run: RunOptions,
    /// Go on from the checkpoint in the output directory
    #[arg(long)]
    resume: bool,
    /// Say what the run will take, measured on a few of its steps, and write nothing
    #[arg(long, conflicts_with = "resume")]
    dry_run: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    let recipe = args.run.recipe.recipe()?;
    let (data, base) = read_data(&args.data, &args.base)?;
    let grammar = Grammar::load()?;
    let dataset = Dataset::new(&grammar, &data.pairs)?;
    let checkpoint = args.out.join(CHECKPOINT_FILE);
    ensure!(
        args.dry_run || args.resume == checkpoint.exists(),
        "{} {}",
        checkpoint.display(),
        if args.resume {
            "does not exist: start without --resume"
        } else {
            "is left from an interrupted run: add --resume to go on, or choose another --out"
        }
    );
    let run = args.run.run(&recipe, &base, &data, &dataset, &checkpoint, args.resume);
    if args.dry_run {
        print_probe(&probe(&run, &run.examples())?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !train(&run, &args.out)? {
        eprintln!("interrupted; the same command with --resume goes on");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    eprintln!("next: trainer eval --adapter {} --questions FILE.jsonl", args.out.display());
    Ok(ExitCode::SUCCESS)
}

fn print_probe(probe: &Probe) -> Result<()> {
    let Probe { examples, steps, tokens, seconds, timed, threads, peak_bytes } = probe;
    let memory = peak_bytes.map_or("not known on this system".into(), size);
    let lines = [
        format!("examples  {examples}"),
        format!("steps     {steps}"),
        format!("tokens    {tokens}"),
        format!("time      {:.1} minutes expected on {threads} threads", seconds / 60.0),
        format!("speed     {:.0} tokens/s, measured over {timed} steps", *tokens as f64 / seconds),
        format!("memory    {memory} at its peak, the largest step included"),
    ];
    Ok(print(lines.map(|line| line + "\n").concat())?)
}

/// The pairs to train on, told what is odd about them and checked against the base that they come
/// with.
pub(super) fn read_data(path: &Path, base: &BaseOption) -> Result<(PairFile, Base)> {
    let data = read_pairs(path)?;
    for note in &data.notes {
        eprintln!("note: {note}");
    }
    let base = load_base(&base.base)?;
    data.check(&base.prompt, base.config.context_length)?;
    Ok((data, base))
}

/// Lists the examples, trains, and writes the adapter to `out`. False if it was interrupted: the
/// checkpoint then holds what was done.
pub(super) fn train(run: &Run<'_>, out: &Path) -> Result<bool> {
    let examples = run.examples();
    write_examples(&out.join(EXAMPLES_FILE), &examples)?;
    eprintln!(
        "{} pairs ({} in known fields) over {} batches; {} examples in {} epochs, {} steps",
        run.dataset.len(),
        run.dataset.recognised(),
        run.dataset.batches.len(),
        examples.len(),
        run.recipe.num_train_epochs,
        run.steps(&examples)
    );
    let Some(outcome) = run.train(&examples)? else {
        return Ok(false);
    };
    write_outcome(out, run, &outcome)?;
    if run.dataset.batches.is_empty() {
        eprintln!(
            "note: no question names a batch, so the adapter gets no list of known identifiers"
        );
    }
    if run.checkpoint.exists() {
        fs::remove_file(run.checkpoint)
            .with_context(|| format!("cannot remove {}", run.checkpoint.display()))?;
    }
    report(out, &outcome);
    Ok(true)
}

fn report(out: &Path, outcome: &Outcome) {
    for (origin, exact) in &outcome.validation {
        let name = serde_json::to_string(origin).unwrap_or_default();
        eprintln!("validation, {}: {:.1} % exact", name.trim_matches('"'), exact * 100.0);
    }
    eprintln!(
        "trained {} steps in {:.0} s, {:.0} tokens/s; adapter in {}",
        outcome.steps,
        outcome.seconds,
        outcome.tokens as f64 / outcome.seconds.max(1e-9),
        out.display()
    );
}

fn write_examples(path: &Path, examples: &[Example]) -> Result<()> {
    write_file(path, to_jsonl(examples)?.as_bytes())
}
