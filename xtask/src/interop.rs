//! `cargo xtask interop`: adapters between the trainer and PEFT, both ways, with the real packages.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{files::copy_folder, process, python, workspace::Workspace};

/// Browser tests that say whether a site answers from its adapters, as the native engine does.
const PAGE_TESTS: [&str; 3] = [
    "recorded_questions_are_answered_in_the_records_words",
    "every_answer_is_the_native_engines_to_the_last_bit",
    "the_previous_version_answers_when_chosen_and_back",
];

/// Runs `interop.py`, then the browser tests on a copy of the built site with what it published.
///
/// # Errors
/// There is no built site or no Python, or something does not hold: its message is above.
pub fn run(workspace: &Workspace) -> Result<()> {
    let dist = workspace.dist();
    ensure!(
        dist.join("index.html").is_file(),
        "{} holds no site, on which the adapters of PEFT are to answer: build it with \
         `cargo xtask dist`",
        dist.display()
    );
    let python = python::ensure(workspace)?;
    for what in [
        ["--package", "trainer", "--bin", "trainer"],
        ["--package", "tests", "--example", "reference_logits"],
    ] {
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--release", "--quiet"]).args(what);
        process::run(cargo.current_dir(&workspace.root))?;
    }
    let work = workspace.target.join("interop");
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| format!("remove {}", work.display()))?;
    }
    fs::create_dir_all(&work).with_context(|| format!("make {}", work.display()))?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/interop.py");
    let mut peft = Command::new(python);
    peft.arg(script).arg(workspace.target.join("release")).arg(&work);
    process::run(peft.current_dir(&workspace.root))?;

    let site = work.join("site");
    copy_folder(&dist, &site).with_context(|| format!("copy {}", dist.display()))?;
    let adapters = site.join("adapters");
    fs::remove_dir_all(&adapters).with_context(|| format!("remove {}", adapters.display()))?;
    copy_folder(&work.join("adapters"), &adapters)
        .with_context(|| format!("fill {}", adapters.display()))?;
    let mut tests = Command::new("cargo");
    tests.args(["test", "--release", "--quiet", "--package", "tests", "--test", "browser", "--"]);
    tests.args(["--exact"]).args(PAGE_TESTS).env("LOTWISE_DIST", &site);
    process::run(tests.current_dir(&workspace.root))?;
    println!("PEFT -> trainer -> page: the built site answers from adapters that PEFT trained");
    Ok(())
}
