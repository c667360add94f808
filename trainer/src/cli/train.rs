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
use crate::data::{PairFile, read_training_pairs};
use crate::files::{to_jsonl, write_file};
use crate::finetune::{Dataset, Example, Outcome, Probe, Run, probe, write_outcome};
use crate::input::load_base;

/// What the run trains on, listed before it starts.
const EXAMPLES_FILE: &str = "examples.jsonl";
/// State of an interrupted run.
pub(super) const CHECKPOINT_FILE: &str = "checkpoint.safetensors";

/// Wordings that are named.
const LISTED_WORDINGS: usize = 20;

/// Train an adapter on question/answer pairs
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
A line of DATA.jsonl is {\"question\": ..., \"answer\": ...}, optionally with \"batch\", \"source\" and
\"paraphrases\"; {\"messages\": [...]} and {\"prompt\": ..., \"completion\": ...} are read too. Pairs that ask in
the same words about different batches share their paraphrases: write them once.

Questions are asked in many phrasings, and refusals are made for batches and fields that the
data doesn't have; OUT/examples.jsonl lists all of them before training starts.
OUT/metrics.jsonl and OUT/metrics.csv hold loss, learning rate, gradient norm and tokens/s of every
step. Ctrl-C saves a checkpoint; --resume goes on from it and ends with the same adapter.

With --eval-steps N, questions in wordings that training never uses are asked every N steps: one
for each pair whose field is known, half as many about unknown batches, half as many about missing
fields. Every question counts once. An evaluation is the best if more answers are exact, or as many
at a lower loss. --load-best-model-at-end and --early-stopping-patience go by that.

Examples:
  trainer train trainer/data/train.jsonl --out runs/may
  trainer train trainer/data/train.jsonl --out runs/may --dry-run
  trainer train records.jsonl --out runs/may --resume
  trainer train records.jsonl --out runs/may --eval-steps 100 --load-best-model-at-end \\
      --early-stopping-patience 5
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
    let (data, base) = read_data(&args.data, &args.base)?;
    let recipe = args.run.recipe.recipe(&base)?;
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
    note_own_wordings(&dataset);
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
    let Probe { examples, steps, tokens, seconds, timed, threads, .. } = probe;
    let memory = probe.peak_bytes.map_or("not known on this system".into(), size);
    let mut lines = vec![
        format!("examples  {examples}"),
        format!("steps     {steps}"),
        format!("tokens    {tokens}"),
        format!("time      {:.1} minutes expected on {threads} threads", seconds / 60.0),
        format!("speed     {:.0} tokens/s, measured over {timed} steps", probe.tokens_per_second),
        format!("memory    {memory} at its peak, the largest step included"),
    ];
    if let Some((number, seconds)) = probe.evaluations {
        let stops = "fewer if it stops early";
        lines.push(format!("questions {number} evaluations of {seconds:.1} s, {stops}"));
    }
    Ok(print(lines.join("\n") + "\n")?)
}

/// The pairs to train on, told what is odd about them and checked against the base that they come
/// with.
pub(super) fn read_data(path: &Path, base: &BaseOption) -> Result<(PairFile, Base)> {
    let data = read_training_pairs(path)?;
    for note in &data.notes {
        eprintln!("note: {note}");
    }
    let base = load_base(&base.base)?;
    data.check(&base.prompt, base.config.context_length)?;
    Ok((data, base))
}

/// Names the wordings in which readers have to ask to be understood.
pub(super) fn note_own_wordings(dataset: &Dataset<'_>) {
    let own = dataset.own_wordings();
    if own.is_empty() {
        return;
    }
    let pairs: usize = own.iter().map(|(_, pairs)| pairs).sum();
    eprintln!(
        "note: wordings that the grammar cannot put in other words: {} in {pairs} pairs. Readers who \
         use other words will mostly be refused, and these refusals are left open. By pairs:",
        own.len()
    );
    for (question, pairs) in own.iter().take(LISTED_WORDINGS) {
        eprintln!("  {pairs:>4}  {question}");
    }
    if own.len() > LISTED_WORDINGS {
        eprintln!("  and {} more wordings", own.len() - LISTED_WORDINGS);
    }
    eprintln!(
        "  add \"paraphrases\" in your readers' words, naming the batch, to one pair of each wording: \
         the others of that wording share them"
    );
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
    remove_rest(run)?;
    report(out, run, &outcome);
    Ok(true)
}

/// Removes what only an interrupted run needs; the checkpoint first, since it speaks of the other.
pub(super) fn remove_rest(run: &Run<'_>) -> Result<()> {
    for path in [run.checkpoint, &run.best_file()] {
        if path.exists() {
            fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn report(out: &Path, run: &Run<'_>, outcome: &Outcome) {
    let (steps, evaluations) = (outcome.steps, outcome.evaluations.len());
    if let Some(kept) = &outcome.kept {
        if run.recipe.load_best_model_at_end {
            eprintln!("the adapter is that of step {}, the best of {evaluations}", kept.step);
        }
        for kind in &kept.kinds {
            let share = 100.0 * kind.exact_match();
            eprintln!("validation, {}: {share:.1} % exact", kind.origin.name());
        }
    }
    eprintln!(
        "trained {steps} steps in {:.0} s, {:.0} tokens/s; adapter in {}",
        outcome.seconds,
        outcome.tokens as f64 / outcome.seconds.max(1e-9),
        out.display()
    );
}

fn write_examples(path: &Path, examples: &[Example]) -> Result<()> {
    write_file(path, to_jsonl(examples)?.as_bytes())
}
