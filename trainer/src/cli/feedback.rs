//! `trainer feedback`: readers' corrections become training data.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;

use crate::cli::common::print;
use crate::data::{Change, apply_feedback, pairs_to_jsonl, read_feedback, read_pairs};
use crate::files::write_file;

/// Work readers' corrections into the training data
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The page exports what readers marked as wrong. A correction changes the pair that asks the same
question, becomes another wording of a pair with the right answer, or is added as a new pair; its
source then names the reviewer and the time. Every change is listed: look at them before training.
Reviewers who contradict each other are named, and nothing is written.

Examples:
  trainer feedback records.jsonl feedback.jsonl --out records-may.jsonl")]
pub struct Args {
    /// Question/answer pairs as they are
    #[arg(value_name = "DATA.jsonl")]
    data: PathBuf,
    /// Feedback as the page exports it
    #[arg(value_name = "FEEDBACK.jsonl")]
    feedback: PathBuf,
    /// File for the pairs as they will be; must not exist
    #[arg(long, value_name = "FILE.jsonl")]
    out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// Files that cannot be used, reviewers who contradict each other, an output that exists.
pub fn run(args: &Args) -> Result<ExitCode> {
    if args.out.exists() {
        bail!("{} exists: name another file with --out", args.out.display());
    }
    let mut pairs = read_pairs(&args.data)?.pairs;
    let feedback = read_feedback(&args.feedback)?;
    let data = args.data.display();
    for applied in apply_feedback(&mut pairs, &feedback) {
        let record = &applied.feedback;
        let right = record.right_answer.as_deref().unwrap_or_default();
        let change = match &applied.change {
            Change::Corrects { line, before } => format!(
                "corrects {data}:{line}, from {:?} to {right:?}",
                before.as_deref().unwrap_or("no answer")
            ),
            Change::Rewords { line } => format!("is another wording of {data}:{line}"),
            Change::Adds => format!("is new: {right:?}"),
            Change::Repeats { line } => {
                format!("is answered so in {data}:{line} already; nothing changes")
            }
            Change::Refuses => {
                "should have been refused; the trainer makes its own refusals, nothing changes"
                    .to_owned()
            }
        };
        print(format_args!("{}: {:?} {change}\n", record.reviewer, record.question))?;
    }
    write_file(&args.out, pairs_to_jsonl(&pairs)?.as_bytes())?;
    print(format_args!("{} pairs in {}\n", pairs.len(), args.out.display()))?;
    Ok(ExitCode::SUCCESS)
}
