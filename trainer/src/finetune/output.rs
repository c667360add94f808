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

use super::recipe::Recipe;
use super::run::{Outcome, Run};
use super::validation::ValidationPoint;
use crate::clock::utc_now;
use crate::corpus::stream;
use crate::files::write_file;

/// Where a record's `recipe` keeps the evaluations of a run: `[{step, exact_match, loss}]`.
pub const VALIDATION_CURVE: &str = "validation_curve";

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
        && settings(&record.recipe).as_ref() == Some(run.recipe))
}

/// What a release that knew fewer settings wrote has the defaults for the others.
fn settings(recipe: &Value) -> Option<Recipe> {
    serde_json::from_value(recipe.get("settings")?.clone()).ok()
}

fn record(run: &Run<'_>, outcome: &Outcome) -> Result<AdapterRecord> {
    let identity = &run.base.identity;
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
        recipe: recipe(run, outcome)?,
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

fn recipe(run: &Run<'_>, outcome: &Outcome) -> Result<Value> {
    let mut exact_match = BTreeMap::new();
    for kind in outcome.kept.iter().flat_map(|point| &point.kinds) {
        exact_match.insert(kind.origin.name(), kind.exact_match());
    }
    let mut recipe = json!({ "settings": run.recipe, "validation_exact_match": exact_match });
    if run.recipe.eval_steps > 0 {
        let point = |p: &ValidationPoint| json!({ "step": p.step, "exact_match": p.exact_match(), "loss": p.loss });
        let curve: Vec<Value> = outcome.evaluations.iter().map(point).collect();
        recipe[VALIDATION_CURVE] = curve.into();
        recipe["adapter_of_step"] = json!(outcome.kept.as_ref().map(|point| point.step));
    }
    Ok(recipe)
}

/// Salt of the identifier hashes: from the seed, so that a run can be repeated to the last byte.
/// It keeps lists of different runs from being compared, not a short identifier from being guessed.
pub fn salt(seed: u64) -> String {
    let mut rng = stream(seed, "guard salt", 0);
    let mut bytes = [0u8; 16];
    rng.fill_bytes(&mut bytes);
    shared::hex(&bytes)
}

fn remove_if_there(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finetune::Preset;

    #[test]
    fn settings_from_before_evaluations_are_those_of_today() {
        let recipe = Preset::Embedded.recipe();
        let mut old = serde_json::to_value(&recipe).unwrap();
        for name in ["eval_steps", "early_stopping_patience", "load_best_model_at_end"] {
            assert!(old.as_object_mut().unwrap().remove(name).is_some());
        }
        let read = |recipe: Value| settings(&json!({ "settings": recipe }));
        assert_eq!(read(old), Some(recipe.clone()));
        let other = Recipe { eval_steps: 10, ..recipe.clone() };
        assert_ne!(read(serde_json::to_value(other).unwrap()), Some(recipe));
    }
}
