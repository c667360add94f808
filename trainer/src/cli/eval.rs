//! `trainer eval`: how good an adapter is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use serde_json::{Map, Value, json};
use shared::{AdapterRecord, Base, INDEX_FILE, RECORD_FILE};

use crate::adapter_dir::AdapterDir;
use crate::cli::common::{BaseOption, INTERRUPTED, SamplerPreset, print, print_json, threads};
use crate::data::{PairFile, read_pairs};
use crate::eval::{FileReport, Report, Settings, ask_all};
use crate::files::{read_file, write_file};
use crate::input::load_base;
use crate::{interrupt, progress};

/// Measure an adapter on questions whose answers are known
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The answers come from the engine, the merged 8-bit weights and the guard that the browser uses.
A question whose answer is null expects the refusal. The table gives
  exact match    questions answered in the very words of the reference
  value match    questions whose answer states every number, identifier, date and name of it
  hallucination  answers that state such a value from neither the reference nor the question
  refusal        questions without an answer that were refused
each with the bound that the number of questions allows at 95 % confidence (Clopper-Pearson), and
lists every wrong answer. A wrong answer is a result, not a failure: the exit code is 0.

Examples:
  trainer eval --adapter runs/may --questions trainer/data/heldout.jsonl
  trainer eval --adapter runs/may --questions trainer/data/*.jsonl --json > report.json
  trainer eval --adapter runs/may --questions trainer/data/unknown.jsonl --no-guard
  trainer eval --adapter adapters --questions heldout.jsonl     (the current published version)")]
pub struct Args {
    /// Adapter to measure: its directory, or the directory of published adapters
    #[arg(long, value_name = "DIR")]
    adapter: PathBuf,
    /// Files of questions, one or several
    #[arg(long, value_name = "FILE.jsonl", num_args = 1.., required = true)]
    questions: Vec<PathBuf>,
    #[command(flatten)]
    base: BaseOption,
    /// How tokens are chosen
    #[arg(long, value_enum, default_value = "exact")]
    sampler: SamplerPreset,
    /// Leave the guard out, to see what the model itself refuses
    #[arg(long)]
    no_guard: bool,
    /// Threads; 0 for one per core (doesn't change the result)
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
    /// Write the results into the adapter's lotwise.json, from where publishing takes them
    #[arg(long, conflicts_with_all = ["no_guard"])]
    record: bool,
}

/// Runs the command.
///
/// # Errors
/// Files that cannot be used, an adapter that does not fit the base, a failing engine.
pub fn run(args: &Args) -> Result<ExitCode> {
    let files = read_questions(&args.questions)?;
    let base = load_base(&args.base.base)?;
    let adapter = AdapterDir::open(&args.adapter)?;
    if args.record {
        refuse_published(&args.adapter)?;
        if adapter.record.is_none() {
            bail!("{} has no {RECORD_FILE} to record in", args.adapter.display());
        }
    }
    let name = adapter.name();
    if adapter.guard.is_none() && !args.no_guard {
        eprintln!("note: {name} has no guard.json; the model answers every question itself");
    }
    let how =
        Measuring { sampler: args.sampler, guard: !args.no_guard, threads: threads(args.threads) };
    let Some(report) = measure(&base, adapter, &files, how)? else {
        eprintln!("interrupted; nothing was measured");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    if args.record {
        record(&args.adapter.join(RECORD_FILE), &report.files, args.sampler)?;
    }
    if args.json {
        print_json(&report)?
    } else {
        print(&report)?
    }
    Ok(ExitCode::SUCCESS)
}

/// How an adapter is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measuring {
    pub(super) sampler: SamplerPreset,
    /// Whether its guard stands in front of the model, if it has one.
    pub(super) guard: bool,
    pub(super) threads: usize,
}

/// Asks the adapter every question. `None` if it was interrupted.
pub(super) fn measure(
    base: &Base,
    adapter: AdapterDir,
    files: &[PairFile],
    how: Measuring,
) -> Result<Option<Report>> {
    let settings = Settings {
        sampler: how.sampler.config(),
        guard: how.guard && adapter.guard.is_some(),
        threads: how.threads,
    };
    let (name, identity) = (adapter.name(), &base.identity);
    let served = adapter.serve(base)?;
    for file in files {
        file.check(&served.prompt, base.config.context_length)?;
    }
    let questions: Vec<&str> =
        files.iter().flat_map(|file| &file.pairs).map(|pair| pair.question.as_str()).collect();
    let stop = interrupt::flag()?;
    let bar = progress::bar(questions.len(), 0, "questions");
    let start = Instant::now();
    let replies = ask_all(&served, &questions, &settings, &stop, || bar.inc(1))?;
    let seconds = start.elapsed().as_secs_f64();
    bar.finish_and_clear();
    let Some(replies) = replies else {
        return Ok(None);
    };
    let guard = if settings.guard { "on" } else { "off" };
    let subject = BTreeMap::from([
        ("adapter", name),
        ("base", format!("{} {} (sha256 {})", identity.name, identity.version, identity.sha256)),
        ("sampler", how.sampler.name().to_owned()),
        ("guard", guard.to_owned()),
    ]);
    Ok(Some(Report::new(files, &replies, seconds, subject)))
}

/// Reads files of questions, none of them twice.
pub(super) fn read_questions(paths: &[PathBuf]) -> Result<Vec<PairFile>> {
    let mut files = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        if paths[..index].contains(path) {
            bail!("{} is named twice", path.display());
        }
        let file = read_pairs(path)?;
        for note in &file.notes {
            eprintln!("note: {}: {note}", path.display());
        }
        files.push(file);
    }
    Ok(files)
}

/// A published version never changes: its files' hashes are in the index.
fn refuse_published(adapter: &Path) -> Result<()> {
    let own_index = adapter.join(INDEX_FILE).exists();
    if own_index || adapter.parent().is_some_and(|parent| parent.join(INDEX_FILE).exists()) {
        bail!(
            "{} is published, and published files don't change: measure with --record before \
             publishing",
            adapter.display()
        );
    }
    Ok(())
}

/// Adds the results to the record, under the files' names; earlier results of others stay.
pub(super) fn record(path: &Path, files: &[FileReport], sampler: SamplerPreset) -> Result<()> {
    let mut record = AdapterRecord::parse(&read_file(path)?)?;
    let all = record.metrics.get_or_insert_default();
    for file in files {
        let metrics = &file.metrics;
        let mut group = Map::new();
        let fractions = [
            ("exact_match", metrics.exact_match),
            ("value_match", metrics.value_match),
            ("hallucination", metrics.hallucination),
            ("refusal", metrics.refusal),
        ];
        for (name, fraction) in fractions {
            group.extend(fraction.map(|fraction| (name.to_owned(), json!(fraction))));
        }
        group.insert("questions".into(), metrics.questions.into());
        group.insert("sampler".into(), sampler.name().into());
        group.insert("questions_sha256".into(), file.sha256.clone().into());
        let name = Path::new(&file.file).file_stem().and_then(|stem| stem.to_str());
        let name = name.context("the file of questions has no name")?;
        all.insert(name.to_owned(), Value::Object(group));
    }
    write_file(path, &record.to_json()?)
}
