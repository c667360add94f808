//! Runs, in WebAssembly under node, the digest test of this crate and all of `shared`'s unit tests
//! (kernels against the scalar specification, forward pass, session, parsers), so that the native
//! test command proves the browser's arithmetic too.

#![cfg(not(target_arch = "wasm32"))]

use std::path::{Path, PathBuf};
use std::process::Command;

const RUNNER: &str = "wasm-bindgen-test-runner";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The version that the workspace is locked to; the runner's has to be the same.
fn locked_wasm_bindgen() -> String {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let entry = lock.split("[[package]]").find(|entry| entry.contains("name = \"wasm-bindgen\"\n"));
    let version = entry.unwrap().lines().find_map(|line| line.strip_prefix("version = "));
    version.unwrap().trim_matches('"').to_owned()
}

fn require_tools() {
    let version = locked_wasm_bindgen();
    let hint = format!(
        "the WebAssembly tests need {RUNNER} {version}: run `cargo xtask setup`, or \
         `cargo install wasm-bindgen-cli --version {version} --locked`"
    );
    let output = Command::new(RUNNER).arg("--version").output();
    let output = output.unwrap_or_else(|error| panic!("{hint} ({error})"));
    let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(found.ends_with(&format!(" {version}")), "{hint} (found {found:?})");
    if let Err(error) = Command::new("node").arg("--version").output() {
        panic!("the WebAssembly tests run in node, 20 or later: install it (nodejs.org) ({error})");
    }
}

/// Runs tests in WebAssembly; every test in `expected` has to be among those that passed.
fn passes_in_wasm(arguments: &[&str], expected: &[&str]) {
    require_tools();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root())
        .args(["test", "--release", "--target", "wasm32-unknown-unknown"])
        .args(arguments)
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", RUNNER);
    let output = cargo.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{cargo:?}\n{text}\n{errors}");
    for name in expected {
        let passed = text.lines().any(|line| line.contains(name) && line.ends_with("ok"));
        assert!(passed, "{name} did not run\n{text}\n{errors}");
    }
}

#[test]
fn the_digest_is_the_same_in_webassembly() {
    passes_in_wasm(
        &["--package", "tests", "--test", "digest"],
        &[
            "base_logits_have_the_pinned_digest",
            "merged_logits_have_the_pinned_digest",
            "the_simd_kernels_ran",
        ],
    );
}

#[test]
fn shared_passes_its_own_tests_in_webassembly() {
    passes_in_wasm(&["--package", "shared", "--lib"], &["digests_are_the_same_everywhere"]);
}
