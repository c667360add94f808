//! Counts out of what `cargo test` prints.

/// Results of one test program.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Suite {
    /// Crate or test file.
    pub name: String,
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed.
    pub failed: usize,
    /// Tests marked as ignored.
    pub ignored: usize,
    /// How long it ran, in seconds.
    pub seconds: f64,
}

/// The suites of a `cargo test`, collected line by line.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    /// The suites, in the order they ran.
    pub suites: Vec<Suite>,
    current: Option<String>,
}

impl Summary {
    /// Takes a line of output.
    pub fn line(&mut self, line: &str) {
        let line = line.trim();
        if let Some(name) = suite_name(line) {
            self.current = Some(name);
        } else if let Some(mut suite) = result(line) {
            suite.name = self.current.take().unwrap_or_else(|| "unnamed".into());
            self.suites.push(suite);
        }
    }

    /// Tests that passed.
    pub fn passed(&self) -> usize {
        self.suites.iter().map(|suite| suite.passed).sum()
    }

    /// Tests that failed.
    pub fn failed(&self) -> usize {
        self.suites.iter().map(|suite| suite.failed).sum()
    }
}

/// The name in `Running unittests src/lib.rs (target/release/deps/shared-0f3a)` or
/// `Doc-tests shared`.
fn suite_name(line: &str) -> Option<String> {
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{name} (documentation)"));
    }
    let program = line.strip_prefix("Running ")?.strip_suffix(')')?.rsplit_once('(')?.1;
    let file = program.rsplit(['/', '\\']).next()?;
    let stem = file.split_once('.').map_or(file, |(stem, _)| stem);
    Some(stem.rsplit_once('-').map_or(stem, |(name, _hash)| name).to_owned())
}

/// `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s`
fn result(line: &str) -> Option<Suite> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut suite = Suite::default();
    for part in counts.split(';').map(str::trim) {
        if let Some(seconds) = part.strip_prefix("finished in ") {
            suite.seconds = seconds.trim_end_matches('s').parse().ok()?;
            continue;
        }
        let (count, what) = part.split_once(' ')?;
        let count = count.parse().ok()?;
        match what {
            "passed" => suite.passed = count,
            "failed" => suite.failed = count,
            "ignored" => suite.ignored = count,
            _ => {}
        }
    }
    Some(suite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_counted() {
        let mut summary = Summary::default();
        for line in [
            "   Compiling shared v0.1.0",
            "     Running unittests src/lib.rs (target/release/deps/shared-0f3ab12c)",
            "test result: ok. 120 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 1.25s",
            "     Running tests/browser/main.rs (target/release/deps/browser-aa)",
            "test result: FAILED. 9 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 61.00s",
            "   Doc-tests shared",
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.40s",
            "     Running unittests src/lib.rs (target/wasm32-unknown-unknown/release/deps/shared-0f.wasm)",
            "test result: ok. 44 passed; 0 failed; 0 ignored; 0 filtered out; finished in 0.9s",
        ] {
            summary.line(line);
        }
        let names: Vec<_> = summary.suites.iter().map(|suite| suite.name.as_str()).collect();
        assert_eq!(names, ["shared", "browser", "shared (documentation)", "shared"]);
        assert_eq!((summary.passed(), summary.failed()), (174, 1));
        assert_eq!(summary.suites[0].ignored, 2);
        assert_eq!(summary.suites[1].seconds, 61.0);
    }

    #[test]
    fn other_lines_count_nothing() {
        let mut summary = Summary::default();
        for line in ["test a_test ... ok", "test result", "Running `rustc`", ""] {
            summary.line(line);
        }
        assert_eq!(summary, Summary::default());
    }
}
