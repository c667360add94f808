//! From an adapter's directory to a published version: checks, trial, publication.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use shared::{
    ADAPTER_MODEL, Base, GUARD_FILE, Index, RECORD_FILE, REPORT_FILE, REPORT_JSON_FILE, Version,
    sha256_hex,
};

use super::name::next_version_name;
use super::step::{NewVersion, publish};
use super::store::Store;
use super::trial::{Trial, try_out};
use crate::adapter_dir::AdapterDir;
use crate::clock::utc_now;

/// The question that an adapter has to answer before it is published.
pub const TRIAL_QUESTION: &str = "What is the batch number?";

/// What the publisher decides.
#[derive(Debug, Clone)]
pub struct PublishOptions<'a> {
    /// Name of the version; by default the date, with a number once that is taken.
    pub version: Option<&'a str>,
    /// As [`NewVersion::keep`].
    pub keep: Option<usize>,
    /// What the adapter is asked first.
    pub question: &'a str,
}

/// What was published.
#[derive(Debug, Clone)]
pub struct Published {
    /// Name of the version.
    pub name: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// Its answer.
    pub trial: Trial,
    /// The index as it is now.
    pub index: Index,
    /// Versions that were removed.
    pub dropped: Vec<String>,
    /// What else the publisher should know.
    pub notes: Vec<String>,
}

/// Checks the adapter, has it answer, and publishes it.
///
/// # Errors
/// An adapter without a record, one that does not fit the base or does not answer, and those of
/// [`publish`]. What was published before stays as it was.
pub fn publish_adapter(
    store: &Store,
    base: &Base,
    adapter: AdapterDir,
    options: &PublishOptions<'_>,
) -> Result<Published> {
    let shown = adapter.path.display().to_string();
    if let Some(version) = &adapter.version {
        bail!("{shown} is published already, as {version}: name the directory of a new adapter");
    }
    let Some(record) = adapter.record.clone() else {
        bail!(
            "{shown} has no {RECORD_FILE}: without the training record nobody can tell what its \
             answers rest on. Name the pairs that it was trained on with --data FILE.jsonl; to try \
             it first, drop its two files on the page or use trainer chat --adapter DIR"
        );
    };
    if adapter.guard.is_none() {
        bail!(
            "{shown} has no {GUARD_FILE}, the list of known batches: train it on pairs that name \
             their batch"
        );
    }
    let files = adapter.files.clone();
    check_report(&files, &shown)?;
    let mut notes: Vec<String> = Vec::new();
    if record.undecided.is_none() {
        notes.push(
            "no threshold for undecided answers: the model's doubts will not be marked; trainer eval --data \
             FILE.jsonl --record chooses one"
                .into(),
        );
    }
    let trial = try_out(adapter, base, options.question)?;
    let mut metrics = record.metrics.unwrap_or_default();
    if metrics.is_empty() {
        notes.push("no results to publish with it; trainer eval --record writes them".into());
    }
    metrics.insert("logits_digest".into(), trial.logits_digest.clone().into());
    let lock = store.lock()?;
    let index = store.load_or_new()?;
    for name in store.recover(&index, &lock)? {
        notes.push(format!("removed {name}, left by an interrupted publication"));
    }
    let created = utc_now()?;
    let name = match options.version {
        Some(name) => name.to_owned(),
        None => next_version_name(&index, store.root(), &created),
    };
    let bytes = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let entry = Version {
        created,
        files: BTreeMap::new(),
        base_sha256: record.base.sha256,
        template_sha256: record.template_sha256,
        metrics,
        intended_use: record.intended_use,
    };
    let new = NewVersion { name: name.clone(), files, entry, keep: options.keep };
    let (index, dropped) = publish(store, &lock, new)?;
    Ok(Published { name, bytes, trial, index, dropped, notes })
}

/// A report speaks for the tensors that it measured.
fn check_report(files: &[(&'static str, Vec<u8>)], shown: &str) -> Result<()> {
    let bytes = |wanted| files.iter().find(|(name, _)| *name == wanted).map(|(_, bytes)| bytes);
    let both = (bytes(REPORT_FILE), bytes(REPORT_JSON_FILE));
    let (Some(_), Some(json)) = both else {
        if both != (None, None) {
            bail!(
                "{shown} has one of {REPORT_FILE} and {REPORT_JSON_FILE} only: write both with \
                 trainer eval --report {shown}, or remove it"
            );
        }
        return Ok(());
    };
    let report: serde_json::Value = serde_json::from_slice(json)
        .with_context(|| format!("{shown}/{REPORT_JSON_FILE} is not a validation report"))?;
    let tensors = bytes(ADAPTER_MODEL).map(|bytes| sha256_hex(bytes)).unwrap_or_default();
    let measured = report["files"].as_array().into_iter().flatten().find_map(|file| {
        (file["name"] == ADAPTER_MODEL).then(|| file["sha256"].as_str().unwrap_or_default())
    });
    if measured != Some(tensors.as_str()) {
        bail!(
            "{shown}/{REPORT_JSON_FILE} reports on other tensors: expected SHA-256 {tensors}, \
             found {}; measure again with trainer eval --report {shown}",
            measured.unwrap_or("none")
        );
    }
    Ok(())
}

/// The current version, if its tensors are those of `adapter`.
pub fn published_as(index: &Index, adapter: &AdapterDir) -> Option<String> {
    let (name, version) = index.current_version().ok()?;
    let (_, bytes) = adapter.files.iter().find(|(file, _)| *file == ADAPTER_MODEL)?;
    let same = version.files.get(ADAPTER_MODEL)?.sha256 == sha256_hex(bytes);
    same.then(|| name.to_owned())
}
