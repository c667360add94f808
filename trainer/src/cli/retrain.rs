//! `trainer retrain`: the monthly update in one command.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use clap::Args as ClapArgs;
use shared::{RECORD_FILE, REPORT_FILE, check_version_name};

use super::eval::{
    Measuring, measure_by, prepare, read_questions, record, refuse_overlaps, write_report,
};
use super::publish;
use super::recipe::RunOptions;
use super::train::{CHECKPOINT_FILE, note_own_wordings, read_data, remove_rest, train};
use crate::adapter_dir::AdapterDir;
use crate::cli::INTERRUPTED;
use crate::cli::common::{AdaptersOption, BaseOption, SamplerPreset, print, threads};
use crate::corpus::Grammar;
use crate::eval::field_names;
use crate::finetune::{Dataset, Run, is_record_of};
use crate::publish::{PublishOptions, Store, TRIAL_QUESTION, publish_adapter, published_as};
use crate::retrain::Gate;

/// Train, measure, compare with the current adapter, and publish if nothing got worse
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
One command for the monthly update:
  1. check the data and the questions; a question file must not contain trained questions, in the
     same or nearly the same words, except the data file itself
  2. train an adapter in OUT, or go on with the run that was interrupted there
  3. choose its threshold for undecided answers, make its self-test, and measure it, and the
     current adapter, on every file of questions, as trainer eval --data --record does; the
     validation report, report.html and report.json, is written to OUT and published with it
  4. publish it if every file reaches the three limits, and no share is worse than the current
     adapter's by more than the allowance
Otherwise it stops with the reasons and exit code 1; what is published stays as it was, and the
adapter stays in OUT to be looked at. The same command again goes on where it was stopped or
killed, and does nothing once its adapter is the current version.

The limits hold for each file of questions by itself. Their defaults are a floor against accidents
for the embedded base; set yours to what your validation requires.

Examples:
  trainer retrain records.jsonl --questions heldout.jsonl unknown.jsonl --out runs/may
  trainer retrain records.jsonl --questions heldout.jsonl --out runs/may \\
      --min-exact-match 0.95 --max-hallucination 0.01 --allowance 0")]
pub struct Args {
    /// Question/answer pairs
    #[arg(value_name = "DATA.jsonl")]
    data: PathBuf,
    /// Files of questions to measure with, one or several
    #[arg(long, value_name = "FILE.jsonl", num_args = 1.., required = true)]
    questions: Vec<PathBuf>,
    /// Directory for the new adapter
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    base: BaseOption,
    #[command(flatten)]
    adapters: AdaptersOption,
    /// Least share of questions answered in the very words of the reference
    #[arg(long, value_name = "SHARE", default_value_t = 0.75, value_parser = share)]
    min_exact_match: f64,
    /// Largest share of answers with a value from neither reference nor question
    #[arg(long, value_name = "SHARE", default_value_t = 0.15, value_parser = share)]
    max_hallucination: f64,
    /// Least share of refusals among the questions without an answer
    #[arg(long, value_name = "SHARE", default_value_t = 0.8, value_parser = share)]
    min_refusal: f64,
    /// By how much each share may be worse than the current adapter's
    #[arg(long, value_name = "SHARE", default_value_t = 0.02, value_parser = share)]
    allowance: f64,
    /// Don't compare with the current adapter (the first retrain on another base)
    #[arg(long)]
    no_compare: bool,
    /// Name of the version; by default today's date (UTC), with -2, -3, ... once it is taken
    #[arg(long, value_name = "NAME")]
    version: Option<String>,
    /// Remove the oldest versions beyond N; current, previous and two at least always stay
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    #[command(flatten)]
    run: RunOptions,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a share from 0 to 1, such as 0.95".into()),
    }
}

/// Runs the command.
///
/// # Errors
/// Data or questions that cannot be used, another adapter in the output directory, an adapter
/// that the gate does not let through, and those of training and publishing.
pub fn run(args: &Args) -> Result<ExitCode> {
    if let Some(name) = &args.version {
        check_version_name(name)?;
    }
    let (data, base) = read_data(&args.data, &args.base)?;
    let recipe = args.run.recipe.recipe(&base)?;
    let questions = read_questions(&args.questions)?;
    for file in &questions {
        file.check(&base.prompt, base.config.context_length)?;
    }
    refuse_overlaps(&data, &questions)?;
    let store = Store::new(&args.adapters.adapters);
    let index = store.load_or_new()?;
    let current = match index.current.is_some() && !args.no_compare {
        true => Some(AdapterDir::open(&args.adapters.adapters)?),
        false => None,
    };
    if let Some(current) = &current
        && let Err(error) = current.check(&base)
    {
        return Err(error.context(
            "the new adapter cannot be compared with the current one; if the base was replaced, \
             add --no-compare",
        ));
    }

    let grammar = Grammar::load()?;
    let dataset = Dataset::new(&grammar, &data.pairs)?;
    let checkpoint = args.out.join(CHECKPOINT_FILE);
    note_own_wordings(&dataset);
    let run = args.run.run(&recipe, &base, &data, &dataset, &checkpoint, checkpoint.exists());
    if !is_trained(args, &run)? && !train(&run, &args.out)? {
        return Ok(interrupted());
    }

    let adapter = AdapterDir::open(&args.out)?;
    if let Some(name) = published_as(&index, &adapter) {
        print(format_args!("nothing to do: this adapter is the current version, {name}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let how = Measuring {
        approved: false,
        sampler: SamplerPreset::Exact,
        guard: true,
        threads: threads(args.run.threads),
    };
    let Some(calibration) = prepare(&base, &args.out, &data, &dataset, how)? else {
        return Ok(interrupted());
    };
    let names = field_names(&dataset);
    // Read again: it has its threshold and its self-test now.
    let adapter = AdapterDir::open(&args.out)?;
    let Some(measured) = measure_by(&base, adapter, &questions, how, &names)? else {
        return Ok(interrupted());
    };
    record(&args.out.join(RECORD_FILE), &measured.report.files, how.sampler)?;
    let old = match current {
        None => None,
        Some(current) => match measure_by(&base, current, &questions, how, &names)? {
            Some(measured) => Some(measured.report),
            None => return Ok(interrupted()),
        },
    };
    let gate = Gate {
        min_exact_match: args.min_exact_match,
        max_hallucination: args.max_hallucination,
        min_refusal: args.min_refusal,
        allowance: args.allowance,
    };
    let before = old.as_ref().map_or(&[][..], |report| &report.files);
    let decision = gate.decide(&measured.report.files, before);
    print(&decision.table)?;
    // Last, since it names the hashes of the other files.
    write_report(&args.out, AdapterDir::open(&args.out)?, measured, Some(calibration), old)?;
    if !decision.reasons.is_empty() {
        bail!(
            "not published, what was published before is unchanged:\n  {}\nthe wrong answers are in {}",
            decision.reasons.join("\n  "),
            args.out.join(REPORT_FILE).display()
        );
    }
    let options = PublishOptions {
        version: args.version.as_deref(),
        keep: args.keep,
        question: TRIAL_QUESTION,
    };
    // Read again: it now has its results.
    let published = publish_adapter(&store, &base, AdapterDir::open(&args.out)?, &options)?;
    publish::report(&store, &published, TRIAL_QUESTION)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether the output directory holds this run's adapter already.
fn is_trained(args: &Args, run: &Run<'_>) -> Result<bool> {
    if !args.out.join(RECORD_FILE).exists() {
        return Ok(false);
    }
    let adapter = AdapterDir::open(&args.out)?;
    let same = adapter.record.as_ref().map(|record| is_record_of(record, run)).transpose()?;
    ensure!(
        same == Some(true),
        "{} holds an adapter of other data, base, seed or settings: choose another --out",
        args.out.display()
    );
    remove_rest(run)?;
    eprintln!("{} is trained already", args.out.display());
    Ok(true)
}

fn interrupted() -> ExitCode {
    eprintln!("interrupted, nothing was published; the same command goes on");
    ExitCode::from(INTERRUPTED)
}
