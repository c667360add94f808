//! The site's two lists: `models/index.json` (the base) and `adapters/index.json` (the versions).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::{FileEntry, Index, REPORT_FILE};

use crate::{
    error::SiteError,
    format,
    protocol::{Catalog, MetricGroup, VersionInfo},
};

/// Path of the list that names the base.
pub const MODELS_INDEX: &str = "models/index.json";
/// Path of the list of adapters.
pub const ADAPTERS_INDEX: &str = "adapters/index.json";
/// Longest list that is read, in bytes.
pub const MAX_LIST_BYTES: u64 = 4 << 20;

/// Name of the digest among the metrics.
pub const LOGITS_DIGEST: &str = "logits_digest";
/// Name of the number of questions among the metrics of a group.
const QUESTIONS: &str = "questions";
const FORMAT_VERSION: u32 = 1;

/// `models/index.json`: which file is the base, so that the page can verify it and show true
/// progress before the first byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelsIndex {
    /// Version of this format, 1.
    pub format_version: u32,
    /// File name in `models/`.
    pub base: String,
    /// Size and hash by file name.
    pub files: BTreeMap<String, FileEntry>,
}

impl ModelsIndex {
    /// Reads and validates the list.
    ///
    /// # Errors
    /// `BadIndex`: not JSON of this form, or the base is not among the files.
    pub fn parse(json: &[u8]) -> Result<Self, SiteError> {
        let bad = |reason: String| SiteError::BadIndex { file: MODELS_INDEX.into(), reason };
        let index: Self = serde_json::from_slice(json).map_err(|error| bad(error.to_string()))?;
        if index.format_version != FORMAT_VERSION {
            return Err(bad(format!(
                "expected format_version {FORMAT_VERSION}, found {}",
                index.format_version
            )));
        }
        if index.base.contains(['/', '\\']) || !index.files.contains_key(&index.base) {
            return Err(bad(format!("the base {:?} is not one of its files", index.base)));
        }
        Ok(index)
    }

    /// Path below the site's folder, size and hash of the base.
    #[must_use]
    pub fn base(&self) -> (String, &FileEntry) {
        (format!("models/{}", self.base), &self.files[&self.base])
    }
}

/// Reads `adapters/index.json`.
///
/// # Errors
/// `BadIndex`.
pub fn parse_adapters(json: &[u8]) -> Result<Index, SiteError> {
    Index::parse(json).map_err(|error| SiteError::BadIndex {
        file: ADAPTERS_INDEX.into(),
        reason: error.to_string(),
    })
}

/// What the page shows of `index`, newest version first. `offline`: the list is a kept copy.
#[must_use]
pub fn summarize(index: &Index, offline: bool) -> Catalog {
    let mut versions: Vec<_> = index
        .versions
        .iter()
        .map(|(name, version)| VersionInfo {
            version: name.clone(),
            created: version.created.clone(),
            metrics: metric_groups(&version.metrics),
            report: version
                .files
                .contains_key(REPORT_FILE)
                .then(|| format!("adapters/{name}/{REPORT_FILE}")),
        })
        .collect();
    versions.sort_by(|a, b| (&b.created, &b.version).cmp(&(&a.created, &a.version)));
    Catalog { versions, current: index.current.clone(), previous: index.previous.clone(), offline }
}

/// Metrics as groups of words, in the order of their names. Only numbers are taken: whatever else
/// is recorded (hashes, curves, settings) belongs to the report.
fn metric_groups(metrics: &Map<String, Value>) -> Vec<MetricGroup> {
    let mut groups = vec![metric_group(String::new(), metrics)];
    groups.extend(
        metrics
            .iter()
            .filter_map(|(name, value)| Some(metric_group(words(name), value.as_object()?))),
    );
    groups.retain(|group| !group.values.is_empty());
    groups
}

fn metric_group(name: String, metrics: &Map<String, Value>) -> MetricGroup {
    let numbers = metrics.iter().filter(|(name, _)| *name != QUESTIONS);
    let values = numbers.filter_map(|(name, value)| Some((words(name), number(value)?))).collect();
    MetricGroup { name, questions: metrics.get(QUESTIONS).and_then(Value::as_u64), values }
}

/// A number in words; one with a fraction between 0 and 1 is a share.
fn number(value: &Value) -> Option<String> {
    let Value::Number(number) = value else { return None };
    let share = number.as_f64().filter(|n| number.is_f64() && (0.0..=1.0).contains(n));
    Some(share.map_or(number.to_string(), format::measured_share))
}

fn words(name: &str) -> String {
    let spaced = name.replace('_', " ");
    let mut letters = spaced.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => spaced,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde_json::json;

    use super::*;

    fn models(base: &str, version: u32) -> Vec<u8> {
        json!({
            "format_version": version,
            "base": base,
            "files": { "base.gguf": { "sha256": "ab".repeat(32), "size": 2_900_000 } },
        })
        .to_string()
        .into_bytes()
    }

    fn index() -> Index {
        let version = |created: &str, metrics: Value| {
            json!({
                "created": created,
                "files": {
                    "adapter_config.json": { "sha256": "11".repeat(32), "size": 10 },
                    "adapter_model.safetensors": { "sha256": "22".repeat(32), "size": 10 },
                    "lotwise.json": { "sha256": "33".repeat(32), "size": 10 },
                    "guard.json": { "sha256": "44".repeat(32), "size": 10 },
                },
                "base_sha256": "55".repeat(32),
                "template_sha256": "66".repeat(32),
                "metrics": metrics,
                "intended_use": "test",
            })
        };
        let json = json!({
            "format_version": 1,
            "current": "b",
            "previous": "a",
            "versions": {
                "a": version("2025-03-01T00:00:00Z", json!({})),
                "b": version("2025-02-01T00:00:00Z", json!({
                    "exact_match": 0.9867,
                    "held_out": { "hallucination": 0.004, "questions": 150, "tokens": 12, "sampler": "exact" },
                    "loss_curve": [1.0, 0.5],
                    "logits_digest": "abc",
                })),
                "c": version("2025-04-01T00:00:00Z", json!({ "passed": true })),
            },
        });
        parse_adapters(json.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_base_is_found_with_its_hash() {
        let index = ModelsIndex::parse(&models("base.gguf", 1)).unwrap();
        let (path, entry) = index.base();
        assert_eq!((path.as_str(), entry.size), ("models/base.gguf", 2_900_000));
        assert_eq!(entry.sha256, "ab".repeat(32));
    }

    /// The file and its list are committed together.
    #[test]
    fn the_listed_base_is_the_file_beside_the_list() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let index = ModelsIndex::parse(&fs::read(folder.join("index.json")).unwrap()).unwrap();
        for (name, entry) in &index.files {
            let bytes = fs::read(folder.join(name)).unwrap();
            assert_eq!(bytes.len() as u64, entry.size, "{name}");
            assert_eq!(shared::sha256_hex(&bytes), entry.sha256, "{name}");
        }
    }

    #[test]
    fn rejects_lists_that_do_not_hold_together() {
        for json in [
            models("other.gguf", 1),
            models("../base.gguf", 1),
            models("base.gguf", 2),
            b"{}".to_vec(),
            b"<!doctype html>".to_vec(),
        ] {
            let error = ModelsIndex::parse(&json).unwrap_err();
            assert_eq!(error.code(), "bad-index", "{error}");
        }
        assert_eq!(parse_adapters(b"[]").unwrap_err().code(), "bad-index");
    }

    #[test]
    fn versions_come_newest_first() {
        let catalog = summarize(&index(), false);
        let names: Vec<_> = catalog.versions.iter().map(|v| v.version.as_str()).collect();
        assert_eq!(names, ["c", "a", "b"]);
        assert_eq!(catalog.current.as_deref(), Some("b"));
        assert_eq!(catalog.previous.as_deref(), Some("a"));
    }

    #[test]
    fn metrics_become_words() {
        let catalog = summarize(&index(), true);
        let b = catalog.versions.iter().find(|v| v.version == "b").unwrap();
        let values = |group: &MetricGroup| -> Vec<String> {
            group.values.iter().map(|(what, value)| format!("{what} {value}")).collect()
        };
        assert_eq!(b.metrics.len(), 2);
        assert_eq!((b.metrics[0].name.as_str(), b.metrics[0].questions), ("", None));
        assert_eq!(values(&b.metrics[0]), ["Exact match 98.7 %"]);
        assert_eq!((b.metrics[1].name.as_str(), b.metrics[1].questions), ("Held out", Some(150)));
        assert_eq!(values(&b.metrics[1]), ["Hallucination 0.4 %", "Tokens 12"]);
        let c = catalog.versions.iter().find(|v| v.version == "c").unwrap();
        assert!(c.metrics.is_empty());
        assert!(catalog.offline);
        assert_eq!(b.report, None);
    }

    #[test]
    fn a_published_report_has_an_address() {
        let mut index = index();
        let files = &mut index.versions.get_mut("b").unwrap().files;
        files.insert(REPORT_FILE.into(), FileEntry { sha256: "77".repeat(32), size: 10 });
        let catalog = summarize(&index, false);
        let b = catalog.versions.iter().find(|v| v.version == "b").unwrap();
        assert_eq!(b.report.as_deref(), Some("adapters/b/report.html"));
    }
}
