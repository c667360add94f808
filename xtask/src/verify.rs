//! `cargo verify`: every check there is, counted.
//!
//! Tools and site are built in the background while format, lints and the compilation of the
//! tests go on. The tests start when the site is there, because the browser tests open it. A check
//! that fails does not keep the others from running.

use std::{process::Command, thread};

use anyhow::{Result, anyhow, ensure};

use crate::{
    clock::Clock,
    process::{self, Cancel},
    programs, site,
    summary::Summary,
    tools::Tools,
    workspace::Workspace,
};

const WASM: &str = "wasm32-unknown-unknown";

/// Runs all checks, tells which failed, and returns whether none did.
pub fn run(workspace: &Workspace) -> bool {
    let clock = Clock::start();
    let cancel = Cancel::default();
    let mut failures = Failures::default();
    let tools = thread::scope(|scope| {
        let built = scope.spawn(|| {
            clock.part("browser and Node.js", || programs::ensure(workspace, &cancel))?;
            let tools = clock.part("tools", || Tools::ensure(workspace, &cancel))?;
            clock.part("site", || site::build(workspace, &tools, &cancel))?;
            Ok(tools)
        });
        for (name, arguments) in CHECKS {
            failures
                .note(name, clock.part(name, || process::run(&mut cargo(workspace, arguments))));
        }
        let built = built.join().unwrap_or_else(|_| Err(anyhow!("the build of the site panicked")));
        failures.note("site", built)
    });

    let mut summary = Summary::default();
    // Without the site the browser tests would fail for a reason that has been told already.
    if let Some(tools) = tools {
        let tested = clock.part("tests", || {
            let mut cargo = tools.command("cargo");
            cargo.args(TESTS).arg("--no-fail-fast").current_dir(&workspace.root);
            ensure!(process::run_watched(&mut cargo, |line| summary.line(line))?, "tests failed");
            Ok(())
        });
        failures.note("tests", tested);
    }
    clock.report();
    report(&summary, &failures)
}

/// All tests. Those of `shared` and of the digests run in WebAssembly too: `tests/tests/wasm.rs`.
const TESTS: [&str; 3] = ["test", "--release", "--workspace"];

/// What runs while the site is built.
const CHECKS: [(&str, &[&str]); 5] = [
    ("format", &["fmt", "--all", "--check"]),
    (
        "lints",
        &["clippy", "--release", "--workspace", "--all-targets", "--quiet", "--", "-Dwarnings"],
    ),
    (
        "lints for WebAssembly",
        &[
            "clippy",
            "--release",
            "--package",
            "shared",
            "--package",
            "web",
            "--lib",
            "--bins",
            "--target",
            WASM,
            "--quiet",
            "--",
            "-Dwarnings",
        ],
    ),
    ("compile the tests", &["test", "--release", "--workspace", "--no-run", "--quiet"]),
    (
        "compile the tests for WebAssembly",
        &[
            "test",
            "--release",
            "--package",
            "shared",
            "--lib",
            "--target",
            WASM,
            "--no-run",
            "--quiet",
        ],
    ),
];

/// The checks that failed.
#[derive(Debug, Default)]
struct Failures(Vec<String>);

impl Failures {
    /// Notes and tells a failure.
    fn note<T>(&mut self, name: &str, result: Result<T>) -> Option<T> {
        result
            .inspect_err(|error| {
                println!("FAILED: {name}: {error:#}");
                self.0.push(name.to_owned());
            })
            .ok()
    }
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(&workspace.root);
    command
}

/// Prints the counts, last of all `N passed, N failed`.
fn report(summary: &Summary, failures: &Failures) -> bool {
    println!("\n passed  failed  ignored  seconds");
    for suite in &summary.suites {
        println!(
            "{:>7} {:>7} {:>8} {:>8.1}  {}",
            suite.passed, suite.failed, suite.ignored, suite.seconds, suite.name
        );
    }
    let failures = &failures.0;
    if !failures.is_empty() {
        println!("\nfailed: {}", failures.join(", "));
    }
    // A check without tests of its own counts as one.
    let failed = summary.failed().max(failures.len());
    println!("\n{} passed, {failed} failed", summary.passed());
    failed == 0
}
