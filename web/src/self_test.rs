//! The self-test: what an installation has to show, and whether it did.

use serde::{Deserialize, Serialize};
use shared::AuditEngine;

use crate::protocol::{AdapterInfo, BaseInfo};

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// What was found is what was expected.
    Passed,
    /// It is not.
    Failed,
    /// Nothing is recorded to compare with.
    NotCompared,
}

impl Outcome {
    /// In the reader's words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Passed => "Passed",
            Self::Failed => "Failed",
            Self::NotCompared => "Not compared",
        }
    }

    /// Stable identifier, as in the `data-outcome` attribute and in the download.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotCompared => "not-compared",
        }
    }

    /// Of several: one failure fails all, and what was not compared leaves all open.
    #[must_use]
    pub fn of(outcomes: impl IntoIterator<Item = Self>) -> Self {
        let mut all = None;
        for outcome in outcomes {
            all = match (all, outcome) {
                (Some(Self::Failed), _) | (_, Self::Failed) => Some(Self::Failed),
                (Some(Self::NotCompared), _) | (_, Self::NotCompared) => Some(Self::NotCompared),
                _ => Some(Self::Passed),
            };
        }
        // No check proves nothing.
        all.unwrap_or(Self::NotCompared)
    }
}

/// One thing that was computed here and held against what is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was checked: a file's path, or a question.
    pub what: String,
    /// What is recorded; `None` where nothing is.
    pub expected: Option<String>,
    /// What was found here.
    pub found: String,
    /// How that went.
    pub outcome: Outcome,
}

impl Check {
    /// Holds `found` against `expected`, to the letter.
    #[must_use]
    pub fn new(what: impl Into<String>, expected: Option<String>, found: String) -> Self {
        let outcome = match &expected {
            None => Outcome::NotCompared,
            Some(expected) if *expected == found => Outcome::Passed,
            Some(_) => Outcome::Failed,
        };
        Self { what: what.into(), expected, found, outcome }
    }
}

/// A self-test with everything that it was done on: the evidence that is kept or printed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SelfTestReport {
    /// Version of this format, 1.
    pub format_version: u32,
    /// Over all checks.
    pub outcome: Outcome,
    /// When it ended: `2025-04-14T08:30:00Z`.
    pub time: String,
    /// Address of the site's folder.
    pub site: String,
    /// The browser, as it names itself.
    pub browser: String,
    /// The program.
    pub engine: AuditEngine,
    /// Its build, as the "About" panel shows it.
    pub build: String,
    /// Name of the kernels that compute.
    pub kernels: String,
    /// The base model.
    pub base: BaseInfo,
    /// The adapter.
    pub adapter: AdapterInfo,
    /// SHA-256 of every file of base and adapter, read again, against the site's lists.
    pub files: Vec<Check>,
    /// Digest of the merged model's logits over a fixed prompt, against the trainer's.
    pub digest: Check,
    /// The adapter's golden questions, against the trainer's answers.
    pub golden: Vec<Check>,
}

impl SelfTestReport {
    /// The [`Self::format_version`] that this release writes.
    pub const FORMAT_VERSION: u32 = 1;

    /// Outcome of the groups that stand in a report: files, digest, golden questions.
    #[must_use]
    pub fn outcome(files: &[Check], digest: &Check, golden: &[Check]) -> Outcome {
        let of = |checks: &[Check]| Outcome::of(checks.iter().map(|check| check.outcome));
        Outcome::of([of(files), digest.outcome, of(golden)])
    }

    /// One line for the reader.
    #[must_use]
    pub fn words(&self) -> &'static str {
        match self.outcome {
            Outcome::Passed => {
                "Passed. This installation computes what the trainer computed, from the published files."
            }
            Outcome::Failed => {
                "Failed. This installation differs from what was published. Do not use its answers."
            }
            Outcome::NotCompared => {
                "Nothing failed, but not everything could be compared: this adapter's record lacks it."
            }
        }
    }

    /// The bytes of the download.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report holds no map with odd keys") + "\n"
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn report(files: Vec<Check>, digest: Check, golden: Vec<Check>) -> SelfTestReport {
        SelfTestReport {
            format_version: SelfTestReport::FORMAT_VERSION,
            outcome: SelfTestReport::outcome(&files, &digest, &golden),
            time: "2025-04-14T08:30:00Z".into(),
            site: "https://lotwise.plant/".into(),
            browser: "a browser".into(),
            engine: AuditEngine { version: "0.1.0".into(), sha256: "e".repeat(64), ranks: None },
            build: "b1".into(),
            kernels: "scalar".into(),
            base: BaseInfo::default(),
            adapter: AdapterInfo::default(),
            files,
            digest,
            golden,
        }
    }

    fn check(expected: &str, found: &str) -> Check {
        let expected = (!expected.is_empty()).then(|| expected.to_owned());
        Check::new("what", expected, found.into())
    }

    #[test]
    fn a_check_compares_to_the_letter() {
        assert_eq!(check("It is 1.", "It is 1.").outcome, Outcome::Passed);
        assert_eq!(check("It is 1.", "It is 1. ").outcome, Outcome::Failed);
        assert_eq!(check("", "x").outcome, Outcome::NotCompared);
    }

    #[test]
    fn one_failure_fails_all_and_nothing_compared_passes_nothing() {
        use Outcome::{Failed, NotCompared, Passed};
        assert_eq!(Outcome::of([Passed, Passed]), Passed);
        assert_eq!(Outcome::of([Passed, NotCompared, Failed, NotCompared]), Failed);
        assert_eq!(Outcome::of([NotCompared, Passed]), NotCompared);
        assert_eq!(Outcome::of([]), NotCompared);

        let (good, bad) = (check("a", "a"), check("a", "b"));
        let of = |files: &[&Check], digest: &Check, golden: &[&Check]| {
            let owned = |checks: &[&Check]| checks.iter().map(|&check| check.clone()).collect();
            report(owned(files), digest.clone(), owned(golden)).outcome
        };
        assert_eq!(of(&[&good], &good, &[&good]), Passed);
        assert_eq!(of(&[&good], &good, &[]), NotCompared);
        assert_eq!(of(&[&bad], &good, &[]), Failed);
        assert_eq!(of(&[&good], &good, &[&good, &bad]), Failed);
        assert_eq!(of(&[&good], &check("", "a"), &[&good]), NotCompared);
    }

    #[test]
    fn the_download_reads_back() {
        let report = report(vec![check("a", "a")], check("d", "d"), vec![check("q", "q")]);
        let json = report.to_json();
        assert_eq!(serde_json::from_str::<SelfTestReport>(&json).unwrap(), report);
        assert!(json.contains("\"outcome\": \"passed\"") && json.ends_with("}\n"));
    }
}
