//! `cargo demo`: from a clean clone to a page that answers.
//!
//! Two things run side by side: the tools and then the site are built, while the trainer is built,
//! trains, proves and publishes. Both keep every core busy most of the time; together they fill the
//! moments in which the other runs on one core (linking, the two optimised WebAssembly files).
//! Neither gives way to the other: tools that do leave the site to be built alone at the end.
//! They meet where the published adapter is copied into the built site, which is all that a
//! retrain in production does too.

use std::{fs, path::Path, process::Command, thread};

use anyhow::{Context, Result, anyhow};

use crate::{
    clock::Clock,
    files::{copy_folder, remove_folder},
    process::{self, Cancel},
    site,
    tools::Tools,
    workspace::Workspace,
};

const DATA: &str = "trainer/data/train.jsonl";
/// The questions of the evaluation.
const QUESTIONS: [&str; 4] = [
    DATA,
    "trainer/data/heldout.jsonl",
    "trainer/data/unknown.jsonl",
    "trainer/data/missing.jsonl",
];
const BASE: &str = "web/models/lotwise-base.gguf";

/// Trains, publishes and builds; serves on `port` if there is one.
///
/// # Errors
/// The first part that failed; what runs beside it is stopped.
pub fn run(workspace: &Workspace, port: Option<u16>) -> Result<()> {
    let clock = Clock::start();
    let cancel = Cancel::default();
    let folder = workspace.target.join("demo");
    thread::scope(|scope| {
        let built = scope.spawn(|| {
            let tools = clock.part("tools", || Tools::ensure(workspace, &cancel))?;
            clock.part("site", || site::build(workspace, &tools, &cancel))
        });
        let trained = train(workspace, &folder, &clock);
        if trained.is_err() {
            cancel.cancel();
        }
        let built = built.join().unwrap_or_else(|_| Err(anyhow!("the build of the site panicked")));
        trained.and(built)
    })?;
    site::replace_adapters(workspace, &folder.join("adapters"))?;
    clock.report();
    match port {
        Some(port) => site::serve(workspace, port),
        None => Ok(()),
    }
}

/// Trains and publishes into a copy of `adapters/`, so that a demo leaves the repository as it was.
fn train(workspace: &Workspace, folder: &Path, clock: &Clock) -> Result<()> {
    let (adapter, adapters) = (folder.join("adapter"), folder.join("adapters"));
    remove_folder(folder)?;
    copy_folder(&workspace.root.join("adapters"), &adapters)?;
    let trainer = |arguments: &[&str]| {
        let mut command = Command::new(workspace.trainer());
        command.args(arguments).current_dir(&workspace.root);
        command
    };
    clock.part("trainer", || {
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--release", "--quiet", "--package", "trainer"]);
        process::run(cargo.current_dir(&workspace.root))
    })?;
    clock.part("training", || {
        process::run(trainer(&["train", DATA, "--base", BASE, "--out"]).arg(&adapter))
    })?;
    clock.part("evaluation", || {
        let mut eval = trainer(&["eval", "--base", BASE, "--record", "--questions"]);
        let report = process::read(eval.args(QUESTIONS).arg("--adapter").arg(&adapter))?;
        let file = folder.join("evaluation.txt");
        fs::write(&file, &report).with_context(|| format!("write {}", file.display()))?;
        print!("{}", counts(&report));
        println!("       every wrong answer is listed in {}", file.display());
        Ok(())
    })?;
    clock.part("publication", || {
        let mut publish = trainer(&["publish", "--base", BASE]);
        process::run(publish.arg(&adapter).arg("--adapters").arg(&adapters))
    })
}

/// A report without the listed answers, whose lines are the ones behind a `wrong` and its indented
/// facts.
fn counts(report: &str) -> String {
    let listed = |line: &&str| line.starts_with("  wrong,") || line.starts_with("    ");
    report.lines().filter(|line| !listed(line)).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_leave_the_listed_answers_out() {
        let report = "train.jsonl: 2 questions\n  exact match 1/2\n  wrong, line 7, sure 60 %\n    \
                      question  a\n    got       b\n\nall files: 2 questions\n";
        let expected = "train.jsonl: 2 questions\n  exact match 1/2\n\nall files: 2 questions\n";
        assert_eq!(counts(report), expected);
    }
}
