//! `trainer publish`: an adapter becomes the current version.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use shared::{GUARD_FILE, RECORD_FILE, Version, check_version_name};

use crate::adapter_dir::AdapterDir;
use crate::cli::common::{AdaptersOption, BaseOption, print, size};
use crate::clock::utc_now;
use crate::input::load_base;
use crate::publish::{NewVersion, Store, next_version_name, publish, try_out};

/// Publish an adapter: it becomes the current version, the one before stays for rollback
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The adapter is checked first: made for this base (hash, template, shapes), mergeable, and able to
answer a question. Then its files are copied to ADAPTERS/<version>/, and ADAPTERS/index.json is
replaced last, so that an interruption at any moment leaves the old state or the new one.
Results that trainer eval --record has written are published with it.

Deploy by copying the directory of adapters to the web server; the site is not rebuilt.

Examples:
  trainer publish runs/may
  trainer publish runs/may --version may-2025 --keep 12
  trainer publish runs/may --adapters /srv/lotwise/adapters")]
pub struct Args {
    /// The adapter's directory, as trainer train writes it
    #[arg(value_name = "DIR")]
    adapter: PathBuf,
    #[command(flatten)]
    adapters: AdaptersOption,
    #[command(flatten)]
    base: BaseOption,
    /// Name of the version; by default today's date (UTC), with -2, -3, ... once it is taken
    #[arg(long, value_name = "NAME")]
    version: Option<String>,
    /// Remove the oldest versions beyond N; current, previous and two at least always stay
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// Question that the adapter has to answer before it is published
    #[arg(long, value_name = "TEXT", default_value = "What is the batch number?")]
    question: String,
}

/// Runs the command.
///
/// # Errors
/// An adapter that is incomplete or does not fit the base, a name that is taken, a directory that
/// cannot be written.
pub fn run(args: &Args) -> Result<ExitCode> {
    if let Some(name) = &args.version {
        check_version_name(name)?;
    }
    let base = load_base(&args.base.base)?;
    let adapter = AdapterDir::open(&args.adapter)?;
    if let Some(version) = &adapter.version {
        bail!(
            "{} is published already, as {version}: name the directory of a new adapter",
            args.adapter.display()
        );
    }
    let Some(record) = adapter.record.clone() else {
        bail!(
            "{} has no {RECORD_FILE}: without the training record nobody can tell what its \
             answers rest on. Train it with trainer train; an adapter of PEFT alone can be tried \
             by dropping its two files on the page, or with trainer chat --adapter DIR",
            args.adapter.display()
        );
    };
    if adapter.guard.is_none() {
        bail!(
            "{} has no {GUARD_FILE}, the list of known batches: train it on pairs that name \
             their batch",
            args.adapter.display()
        );
    }
    let files = adapter.files.clone();
    let trial = try_out(adapter, &base, &args.question)?;
    let mut metrics = record.metrics.unwrap_or_default();
    if metrics.is_empty() {
        eprintln!("note: no results to publish with it; trainer eval --record writes them");
    }
    metrics.insert("logits_digest".into(), trial.logits_digest.into());

    let store = Store::new(&args.adapters.adapters);
    let lock = store.lock()?;
    let index = store.load_or_new()?;
    for name in store.recover(&index, &lock)? {
        eprintln!("note: removed {name}, left by an interrupted publication");
    }
    let created = utc_now()?;
    let name = match &args.version {
        Some(name) => name.clone(),
        None => next_version_name(&index, store.root(), &created),
    };
    let bytes: u64 = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let entry = Version {
        created,
        files: BTreeMap::new(),
        base_sha256: record.base.sha256,
        template_sha256: record.template_sha256,
        metrics,
        intended_use: record.intended_use,
    };
    let new = NewVersion { name: name.clone(), files, entry, keep: args.keep };
    let (index, dropped) = publish(&store, &lock, new)?;
    let root = store.root().display();
    print(format_args!(
        "published {name} ({}) in {root}, merged in {:.2} s; asked {:?} it answers {:?}\n",
        size(bytes),
        trial.merge_seconds,
        args.question,
        trial.answer
    ))?;
    for old in dropped {
        print(format_args!("removed {old}\n"))?;
    }
    let back = match &index.previous {
        Some(previous) => format!("; trainer rollback returns to {previous}"),
        None => String::new(),
    };
    print(format_args!("next: copy {root} to the web server{back}\n"))?;
    Ok(ExitCode::SUCCESS)
}
