//! `trainer rollback`: an earlier version becomes current again.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use crate::cli::common::{AdaptersOption, print};
use crate::publish::Store;

/// Make the previous version current again
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Only ADAPTERS/index.json changes; no file of a version does. A second rollback returns to where
the first one started. The files of the version are verified before it becomes current.

Examples:
  trainer rollback
  trainer rollback --to 2025-04-14
  trainer rollback --adapters /srv/lotwise/adapters")]
pub struct Args {
    #[command(flatten)]
    adapters: AdaptersOption,
    /// Version to make current, instead of the previous one (trainer list names them)
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// Nothing to go back to, or the files of the version are not as they were published.
pub fn run(args: &Args) -> Result<ExitCode> {
    let store = Store::new(&args.adapters.adapters);
    // A mistyped directory is refused here, before the lock would make it.
    store.load()?;
    let lock = store.lock()?;
    let index = store.load()?;
    let next = match &args.to {
        Some(name) => index.activate(name)?,
        None => index.rollback()?,
    };
    let (name, version) = next.current_version()?;
    store.verify(name, version)?;
    store.recover(&index, &lock)?;
    store.save(&next)?;
    let before = index.current.as_deref().unwrap_or("none");
    print(format_args!(
        "current is {name}, before it was {before}\nnext: copy {} to the web server\n",
        store.root().display()
    ))?;
    Ok(ExitCode::SUCCESS)
}
