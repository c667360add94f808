//! `trainer eval`: how good an adapter is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use serde_json::{Map, Value, json};
use shared::{
    AdapterRecord, Base, ConfidenceScore, INDEX_FILE, RECORD_FILE, REPORT_FILE, REPORT_JSON_FILE,
    sha256_hex,
};

use crate::adapter_dir::AdapterDir;
use crate::cli::common::{BaseOption, INTERRUPTED, SamplerPreset, print, print_json, threads};
use crate::clock::utc_now;
use crate::corpus::Grammar;
use crate::data::{Overlap, PairFile, overlaps, read_pairs, read_training_pairs};
use crate::eval::{
    CURVE_POINTS, Calibration, CoveragePoint, Evidence, FieldNames, FileHash, FileReport, Program,
    Reply, Report, Scored, Settings, ask_all, calibrate, curve, field_names, self_test, thin,
};
use crate::files::{read_file, write_file};
use crate::finetune::Dataset;
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
(an answer that is not on record is withheld, as on the page, and counts as refused)
each with the bound that the number of questions allows at 95 % confidence (Clopper-Pearson), and
lists every wrong answer. A wrong answer is a result, not a failure: the exit code is 0.

Examples:
  trainer eval --adapter runs/may --questions trainer/data/heldout.jsonl
  trainer eval --adapter runs/may --questions trainer/data/*.jsonl --json > report.json
  trainer eval --adapter runs/may --questions trainer/data/unknown.jsonl --no-guard
  trainer eval --adapter adapters --questions heldout.jsonl     (the current published version)
  trainer eval --adapter runs/may --data records.jsonl --questions heldout.jsonl unknown.jsonl \\
      --record --report runs/may --previous adapters      (everything that a validation needs)")]
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
    /// Measure approved-answers mode: the adapter's own training answers and the refusal are the
    /// only possible ones. Never part of the record or the report of free answers
    #[arg(long, conflicts_with_all = ["record", "report"])]
    approved: bool,
    /// Threads; 0 for one per core (doesn't change the result)
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
    /// Write the results into the adapter's lotwise.json, from where publishing takes them
    #[arg(long, conflicts_with_all = ["no_guard"])]
    record: bool,
    /// The pairs that the adapter was trained on: questions that they train are refused, results
    /// are given by field, and with --record the threshold for undecided answers is chosen and the
    /// self-test of installations is made
    #[arg(long, value_name = "FILE.jsonl")]
    data: Option<PathBuf>,
    /// Measure an earlier adapter on the same questions and show what changed
    #[arg(long, value_name = "DIR")]
    previous: Option<PathBuf>,
    /// Write the validation report, report.html and report.json, to a directory; in the adapter's
    /// own, publishing takes it from there
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
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
    }
    if (args.record || args.report.is_some() || args.data.is_some()) && adapter.record.is_none() {
        bail!(
            "{} has no {RECORD_FILE}: without the training record there is nothing to record in, \
             to report on or to compare the data with",
            args.adapter.display()
        );
    }
    let data =
        args.data.as_deref().map(|path| training_data(path, &adapter, &files)).transpose()?;
    let name = adapter.name();
    if adapter.guard.is_none() && !args.no_guard {
        eprintln!("note: {name} has no guard.json; the model answers every question itself");
    }
    let grammar = Grammar::load()?;
    let dataset = data.as_ref().map(|data| Dataset::new(&grammar, &data.pairs)).transpose()?;
    let how = Measuring {
        sampler: args.sampler,
        guard: !args.no_guard,
        approved: args.approved,
        threads: threads(args.threads),
    };
    let calibration = match (&data, &dataset) {
        (Some(data), Some(dataset)) if args.record => {
            match prepare(&base, &args.adapter, data, dataset, how)? {
                Some(calibration) => Some(calibration),
                None => return Ok(interrupted()),
            }
        }
        _ => None,
    };
    // Read again: it may have its threshold now.
    let adapter = if calibration.is_some() { AdapterDir::open(&args.adapter)? } else { adapter };
    let names = dataset.as_ref().map(field_names).unwrap_or_default();
    let Some(measured) = measure_by(&base, adapter, &files, how, &names)? else {
        return Ok(interrupted());
    };
    if args.record {
        record(&args.adapter.join(RECORD_FILE), &measured.report.files, args.sampler)?;
    }
    let previous = match &args.previous {
        None => None,
        Some(path) => match measure_by(&base, AdapterDir::open(path)?, &files, how, &names)? {
            Some(measured) => Some(measured.report),
            None => return Ok(interrupted()),
        },
    };
    let mut text = measured.report.to_string();
    if let Some(previous) = &previous {
        text += &changes(&measured.report, previous);
    }
    if args.json {
        print_json(&measured.report)?;
    } else {
        print(&text)?;
    }
    if let Some(directory) = &args.report {
        write_report(directory, AdapterDir::open(&args.adapter)?, measured, calibration, previous)?;
        eprintln!("report: {}", directory.join(REPORT_FILE).display());
    }
    Ok(ExitCode::SUCCESS)
}

fn interrupted() -> ExitCode {
    eprintln!("interrupted; nothing was measured");
    ExitCode::from(INTERRUPTED)
}

/// Reads the training data: that of this adapter, and none of the questions.
fn training_data(path: &Path, adapter: &AdapterDir, files: &[PairFile]) -> Result<PairFile> {
    let data = read_training_pairs(path)?;
    if let Some(record) = &adapter.record
        && record.data_sha256 != data.sha256
    {
        bail!(
            "{} is not what {} was trained on: expected SHA-256 {}, found {}",
            path.display(),
            adapter.name(),
            record.data_sha256,
            data.sha256
        );
    }
    refuse_overlaps(&data, files)?;
    Ok(data)
}

/// # Errors
/// Questions that the data trains in the same or nearly the same words.
pub(super) fn refuse_overlaps(data: &PairFile, files: &[PairFile]) -> Result<()> {
    // The data itself may be asked: it measures what was remembered, and is called that.
    for file in files.iter().filter(|file| file.sha256 != data.sha256) {
        let found = overlaps(data, file);
        if found.is_empty() {
            continue;
        }
        let mut text = format!(
            "{} asks {} questions that {} trains in the same or nearly the same words: they would \
             measure memory, not understanding. Take them out of one of the files:",
            file.path.display(),
            found.len(),
            data.path.display()
        );
        for Overlap { line, question, trained_line, trained, similarity } in &found {
            let _ = write!(
                text,
                "\n  line {line}: {question:?} is {:.0} % of line {trained_line}: {trained:?}",
                100.0 * similarity
            );
        }
        bail!(text);
    }
    Ok(())
}

/// Chooses the threshold for undecided answers, makes the self-test, and records both.
pub(super) fn prepare(
    base: &Base,
    path: &Path,
    data: &PairFile,
    dataset: &Dataset<'_>,
    how: Measuring,
) -> Result<Option<Calibration>> {
    let adapter = AdapterDir::open(path)?;
    let settings = settings(&adapter, how);
    let seed = adapter.record.as_ref().map_or(0, |record| record.seed);
    let mut served = adapter.serve(base)?;
    let stop = interrupt::flag()?;
    let Some(calibration) = calibrate(&served, dataset, seed, &settings, &stop)? else {
        return Ok(None);
    };
    let record_path = path.join(RECORD_FILE);
    let mut record = AdapterRecord::parse(&read_file(&record_path)?)?;
    record.refusal_bias = Some(calibration.bias.clone());
    record.undecided = Some(calibration.rule.clone());
    served.refusal_bias = record.refusal_bias.clone();
    record.self_test = Some(self_test(&served, &data.pairs)?);
    write_file(&record_path, &record.to_json()?)?;
    let (rule, bias) = (&calibration.rule, &calibration.bias);
    eprintln!("refusal bias {:+.1}, chosen on {} validation questions", bias.logit, bias.questions);
    eprintln!(
        "undecided below {:.4} ({:?}, odds of the question's words {}): on {} validation questions \
         {:.1} % stand, {:.2} % of them wrong",
        rule.below,
        rule.score,
        rule.evidence_odds,
        rule.questions,
        100.0 * rule.coverage,
        100.0 * rule.wrong
    );
    if rule.wrong > rule.wrong_at_most {
        eprintln!(
            "note: that is more than the {:.1} % aimed at, which this adapter reaches on less than \
             {:.0} % of the questions only",
            100.0 * rule.wrong_at_most,
            100.0 * calibration.least_coverage
        );
    }
    Ok(Some(calibration))
}

/// What changed against an earlier adapter, share by share.
fn changes(new: &Report, old: &Report) -> String {
    let mut text = String::from("\nagainst the previous adapter\n");
    for (new, old) in new.files.iter().zip(&old.files) {
        for ((name, now), (_, before)) in new.metrics.shares().into_iter().zip(old.metrics.shares())
        {
            if let (Some(now), Some(before)) = (now, before) {
                let (before, now) = (100.0 * before, 100.0 * now);
                let change = now - before;
                let _ = writeln!(
                    text,
                    "  {}: {name} {before:.1} % -> {now:.1} % ({change:+.1} points)",
                    new.file
                );
            }
        }
    }
    text
}

/// Writes the validation report to `directory`.
pub(super) fn write_report(
    directory: &Path,
    adapter: AdapterDir,
    measured: Measured,
    calibration: Option<Calibration>,
    previous: Option<Report>,
) -> Result<()> {
    let record = adapter.record.context("the adapter has no record to report on")?;
    let rule = record.undecided.as_ref();
    let (score, odds) = rule
        .map_or((ConfidenceScore::MinProbability, 1.0), |rule| (rule.score, rule.evidence_odds));
    let files = adapter
        .files
        .iter()
        .filter(|(name, _)| ![REPORT_FILE, REPORT_JSON_FILE].contains(name))
        .map(|(name, bytes)| FileHash {
            name: (*name).to_owned(),
            sha256: sha256_hex(bytes),
            size: bytes.len() as u64,
        })
        .collect();
    let executable = std::env::current_exe().context("cannot tell which program this is")?;
    let evidence = Evidence {
        format_version: 1,
        created: utc_now()?,
        files,
        record,
        program: Program {
            version: env!("CARGO_PKG_VERSION"),
            sha256: sha256_hex(&read_file(&executable)?),
            kernels: format!("{:?}", shared::kernel_names()),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            processors: threads(0),
        },
        risk_coverage: thin(measured.risk_coverage(score, odds), CURVE_POINTS),
        evaluation: measured.report,
        calibration,
        previous,
    };
    let mut json = serde_json::to_vec_pretty(&evidence)?;
    json.push(b'\n');
    write_file(&directory.join(REPORT_JSON_FILE), &json)?;
    write_file(&directory.join(REPORT_FILE), evidence.to_html().as_bytes())
}

/// How an adapter is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measuring {
    pub(super) sampler: SamplerPreset,
    /// Whether its guard stands in front of the model, if it has one.
    pub(super) guard: bool,
    /// Whether only approved answers are given.
    pub(super) approved: bool,
    pub(super) threads: usize,
}

fn settings(adapter: &AdapterDir, how: Measuring) -> Settings {
    Settings {
        sampler: how.sampler.config(),
        guard: how.guard && adapter.guard.is_some(),
        approved: how.approved,
        threads: how.threads,
    }
}

/// The report, and what it was counted from.
pub(super) struct Measured {
    pub(super) report: Report,
    replies: Vec<Reply>,
}

impl Measured {
    /// Over all questions, by one score, whatever threshold the adapter has.
    fn risk_coverage(&self, score: ConfidenceScore, odds: f32) -> Vec<CoveragePoint> {
        let judged = self.replies.iter().zip(&self.report.verdicts);
        let scored = judged.map(|(reply, verdict)| Scored::of(reply, verdict, score, odds));
        curve(&scored.collect::<Vec<_>>())
    }
}

/// Asks the adapter every question. `None` if it was interrupted.
pub(super) fn measure_by(
    base: &Base,
    adapter: AdapterDir,
    files: &[PairFile],
    how: Measuring,
    names: &FieldNames,
) -> Result<Option<Measured>> {
    let settings = settings(&adapter, how);
    let (name, identity) = (adapter.name(), &base.identity);
    let served = adapter.serve(base)?;
    if how.approved && served.approved.is_none() {
        bail!(
            "{name} keeps no approved answers: train it with trainer train --approved-answers to \
             measure that mode"
        );
    }
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
        ("answers", if how.approved { "approved only" } else { "free" }.to_owned()),
    ]);
    let report = Report::new(files, &replies, seconds, subject, names);
    Ok(Some(Measured { report, replies }))
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
        for (name, fraction) in metrics.shares() {
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
