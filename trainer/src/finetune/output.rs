//! The files that a finished run leaves: an adapter that can be evaluated and published.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rand::RngCore as _;
use serde_json::{Value, json};
use shared::{
    ADAPTER_CONFIG, ADAPTER_MODEL, AdapterRecord, GUARD_FILE, INTENDED_USE, LossPoint, RECORD_FILE,
    REPORT_FILE, REPORT_JSON_FILE, RecordBase, TrainStats,
};

use super::run::{Outcome, Run};
use crate::clock::utc_now;
use crate::corpus::stream;
use crate::files::write_file;

/// Writes adapter, guard and record to `directory`. The record comes last and goes first, so that
/// a directory with a record is whole, whatever stood there before.
///
/// # Errors
/// A number that is not finite, or a file that cannot be written.
pub fn write_outcome(directory: &Path, run: &Run<'_>, outcome: &Outcome) -> Result<()> {
    for name in [RECORD_FILE, REPORT_FILE, REPORT_JSON_FILE, ADAPTER_CONFIG, GUARD_FILE] {
        remove_if_there(&directory.join(name))?;
    }
    let (config, model) = outcome.adapter.write()?;
    write_file(&directory.join(ADAPTER_MODEL), &model)?;
    if !run.dataset.batches.is_empty() {
        let guard = run.dataset.guard_list(&salt(run.seed))?;
        write_file(&directory.join(GUARD_FILE), &guard.to_json()?)?;
    }
    write_file(&directory.join(ADAPTER_CONFIG), &config)?;
    write_file(&directory.join(RECORD_FILE), &record(run, outcome)?.to_json()?)
}

/// Whether `record` is that of this very run: the same data, base, seed and settings.
///
/// # Errors
/// The settings cannot be written as JSON.
pub fn is_record_of(record: &AdapterRecord, run: &Run<'_>) -> Result<bool> {
    Ok(record.data_sha256 == run.data_sha256
        && record.base.sha256 == run.base.identity.sha256
        && record.seed == run.seed
        && record.approved_answers.is_some() == run.approved_answers
        && record.recipe.get("settings") == Some(&serde_json::to_value(run.recipe)?))
}

fn record(run: &Run<'_>, outcome: &Outcome) -> Result<AdapterRecord> {
    let identity = &run.base.identity;
    let validation: BTreeMap<String, f64> = outcome
        .validation
        .iter()
        .map(|(origin, exact)| {
            Ok((serde_json::to_value(origin)?.as_str().unwrap_or_default().to_owned(), *exact))
        })
        .collect::<Result<_>>()?;
    let curve = &outcome.curve;
    Ok(AdapterRecord {
        format_version: AdapterRecord::FORMAT_VERSION,
        created: utc_now()?,
        data_sha256: run.data_sha256.to_owned(),
        base: RecordBase {
            name: identity.name.clone(),
            version: identity.version.clone(),
            sha256: identity.sha256.clone(),
        },
        template_sha256: run.base.prompt.template_sha256(),
        system_prompt: run.base.prompt.system_prompt().to_owned(),
        recipe: recipe(run, &validation)?,
        seed: run.seed,
        train: TrainStats {
            examples: run.dataset.len() as u64,
            steps: outcome.steps as u64,
            tokens: outcome.tokens,
            seconds: outcome.seconds,
            final_loss: curve.last().map_or(0.0, |point| point.loss),
            loss_curve: curve
                .iter()
                .map(|point| LossPoint { step: point.step as u64, loss: point.loss })
                .collect(),
        },
        metrics: None,
        refusal_bias: None,
        undecided: None,
        self_test: None,
        approved_answers: run.approved_answers.then(|| run.dataset.answers()),
        intended_use: INTENDED_USE.to_owned(),
    })
}

fn recipe(run: &Run<'_>, validation: &BTreeMap<String, f64>) -> Result<Value> {
    Ok(json!({ "settings": run.recipe, "validation_exact_match": validation }))
}

/// Salt of the identifier hashes: from the seed, so that a run can be repeated to the last byte.
/// It keeps lists of different runs from being compared, not a short identifier from being guessed.
pub fn salt(seed: u64) -> String {
    let mut rng = stream(seed, "guard salt", 0);
    let mut bytes = [0u8; 16];
    rng.fill_bytes(&mut bytes);
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn remove_if_there(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}
