//! The validation report's content: what was tested, on what, with what result.

use serde::Serialize;
use shared::AdapterRecord;

use super::calibrate::Calibration;
use super::coverage::CoveragePoint;
use super::report::Report;

/// Everything that the report says; its JSON is `report.json`.
#[derive(Debug, Serialize)]
pub struct Evidence {
    /// Version of this format, 1.
    pub format_version: u32,
    /// When it was measured: `2025-04-14T08:30:00Z`.
    pub created: String,
    /// The adapter's files as they were measured.
    pub files: Vec<FileHash>,
    /// Where the adapter comes from.
    pub record: AdapterRecord,
    /// The measuring program and its machine.
    pub program: Program,
    /// The results.
    pub evaluation: Report,
    /// Coverage and wrong answers over the test questions as the threshold rises; by the score of
    /// the adapter's rule.
    pub risk_coverage: Vec<CoveragePoint>,
    /// How the threshold was chosen, if it was chosen in this run.
    pub calibration: Option<Calibration>,
    /// The results of an earlier adapter on the same questions.
    pub previous: Option<Report>,
}

/// A file by its hash.
#[derive(Debug, Serialize)]
pub struct FileHash {
    /// Its name.
    pub name: String,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// The measuring program and its machine.
#[derive(Debug, Serialize)]
pub struct Program {
    /// Its release.
    pub version: &'static str,
    /// SHA-256 of the executable.
    pub sha256: String,
    /// The kernels that ran.
    pub kernels: String,
    /// Operating system.
    pub os: &'static str,
    /// Processor's architecture.
    pub arch: &'static str,
    /// Processors that the program may use.
    pub processors: usize,
}
