//! The command line: one file per command.

pub mod audit;
pub mod chat;
mod common;
pub mod eval;
pub mod export_corpus;
pub mod export_data;
pub mod feedback;
pub mod inspect;
pub mod list;
pub mod pretrain;
pub mod publish;
mod recipe;
pub mod retrain;
pub mod rollback;
pub mod train;

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use common::INTERRUPTED;

/// Train, prove and publish Lotwise adapters
#[derive(Debug, Parser)]
#[command(name = "trainer", version, max_term_width = 100)]
#[command(after_help = "\
The monthly update, from records to the site:
  trainer retrain records.jsonl --questions heldout.jsonl --out runs/may
The same in single steps:
  trainer train records.jsonl --out runs/may
  trainer eval --adapter runs/may --questions heldout.jsonl --record
  trainer publish runs/may
Then copy adapters/ to the web server. trainer rollback goes back to the version before.

Exit codes: 0 done, 1 failed (the reason is on standard error), 2 wrong usage, 130 interrupted.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::Args),
    Retrain(retrain::Args),
    Eval(eval::Args),
    Publish(publish::Args),
    Rollback(rollback::Args),
    List(list::Args),
    Chat(chat::Args),
    Audit(audit::Args),
    ExportCorpus(export_corpus::Args),
    ExportData(export_data::Args),
    Feedback(feedback::Args),
    Inspect(inspect::Args),
    Pretrain(pretrain::Args),
}

/// Runs the command that the process's arguments name. Errors go to standard error, with their
/// causes; wrong usage ends the process with 2.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Train(args) => train::run(&args),
        Command::Retrain(args) => retrain::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Publish(args) => publish::run(&args),
        Command::Rollback(args) => rollback::run(&args),
        Command::List(args) => list::run(&args),
        Command::Chat(args) => chat::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::ExportCorpus(args) => export_corpus::run(&args),
        Command::ExportData(args) => export_data::run(&args),
        Command::Feedback(args) => feedback::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Pretrain(args) => pretrain::run(&args),
    };
    result.unwrap_or_else(|error| {
        // Whoever reads our output has enough of it: `trainer list | head -1`.
        let closed = error.downcast_ref::<io::Error>();
        if closed.is_none_or(|error| error.kind() != ErrorKind::BrokenPipe) {
            eprintln!("{}", describe(&error));
        }
        ExitCode::FAILURE
    })
}

/// An error and its causes, without causes that the line before says already.
fn describe(error: &anyhow::Error) -> String {
    let mut last = error.to_string();
    let mut text = format!("error: {last}");
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !last.contains(&cause) {
            text += &format!("\n  because: {cause}");
            last = cause;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let example = format!("trainer {}", command.get_name());
            assert!(help.contains(&example), "{} has no example", command.get_name());
        }
    }

    #[test]
    fn causes_are_told_once() {
        let inner = anyhow::anyhow!("no space left");
        let error = Err::<(), _>(inner)
            .context("cannot write a.json: no space left")
            .context("cannot publish")
            .unwrap_err();
        assert_eq!(
            describe(&error),
            "error: cannot publish\n  because: cannot write a.json: no space left"
        );
    }
}
