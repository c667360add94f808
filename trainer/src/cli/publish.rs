//! `trainer publish`: an adapter becomes the current version.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use shared::check_version_name;

use crate::adapter_dir::AdapterDir;
use crate::cli::common::{AdaptersOption, BaseOption, print, size};
use crate::data::read_training_pairs;
use crate::input::load_base;
use crate::publish::{PublishOptions, Published, Store, TRIAL_QUESTION, describe, publish_adapter};

/// Publish an adapter: it becomes the current version, the one before stays for rollback
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The adapter is checked first: made for this base (hash, template, shapes), mergeable, and able to
answer a question. Then its files are copied to ADAPTERS/<version>/, and ADAPTERS/index.json is
replaced last, so that an interruption at any moment leaves the old state or the new one.
Results that trainer eval --record has written are published with it.

An adapter of Hugging Face PEFT (LoRA or rsLoRA, any of a Llama block's matrices, one rank) needs
--data: its record and its list of known batches are made from the pairs.

Deploy by copying the directory of adapters to the web server; the site is not rebuilt.

Examples:
  trainer publish runs/may
  trainer publish from-peft --data records.jsonl      (two files of PEFT, nothing else)
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
    /// Pairs that the adapter was trained on, for one trained elsewhere (PEFT): its record and its
    /// list of known batches are made from them
    #[arg(long, value_name = "FILE.jsonl")]
    data: Option<PathBuf>,
    /// Name of the version; by default today's date (UTC), with -2, -3, ... once it is taken
    #[arg(long, value_name = "NAME")]
    version: Option<String>,
    /// Remove the oldest versions beyond N; current, previous and two at least always stay
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// Question that the adapter has to answer before it is published
    #[arg(long, value_name = "TEXT", default_value = TRIAL_QUESTION)]
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
    let mut adapter = AdapterDir::open(&args.adapter)?;
    if let Some(path) = &args.data {
        let data = read_training_pairs(path)?;
        for note in &data.notes {
            eprintln!("note: {note}");
        }
        describe(&mut adapter, &base, &data)?;
    }
    let store = Store::new(&args.adapters.adapters);
    let options = PublishOptions {
        version: args.version.as_deref(),
        keep: args.keep,
        question: &args.question,
    };
    let published = publish_adapter(&store, &base, adapter, &options)?;
    report(&store, &published, &args.question)?;
    Ok(ExitCode::SUCCESS)
}

/// Says what was published, and what to do next.
pub(super) fn report(store: &Store, published: &Published, question: &str) -> Result<()> {
    let Published { name, bytes, trial, index, dropped, notes } = published;
    for note in notes {
        eprintln!("note: {note}");
    }
    let root = store.root().display();
    print(format_args!(
        "published {name} ({}) in {root}, merged in {:.2} s; asked {:?} it answers {:?}\n",
        size(*bytes),
        trial.merge_seconds,
        question,
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
    Ok(())
}
