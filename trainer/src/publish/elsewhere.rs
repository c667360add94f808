//! Record and guard for an adapter that was trained elsewhere, with PEFT on a GPU say.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use shared::{
    ADAPTER_CONFIG, ADAPTER_MODEL, AdapterRecord, Base, GUARD_FILE, Guard, INTENDED_USE,
    RECORD_FILE, RecordBase, TrainStats, sha256_hex,
};

use crate::adapter_dir::AdapterDir;
use crate::clock::utc_now;
use crate::corpus::Grammar;
use crate::data::PairFile;
use crate::finetune::Dataset;

/// Gives `adapter` a record that names `data` and `base`, and a guard that knows the data's batches.
/// What only the training knew stays unknown, and the record says so.
///
/// # Errors
/// The adapter has a record already, its shapes are not the base's, or the data names no batch or
/// can't be put to the base.
pub fn describe(adapter: &mut AdapterDir, base: &Base, data: &PairFile) -> Result<()> {
    let shown = adapter.path.display();
    ensure!(
        adapter.record.is_none() && adapter.guard.is_none(),
        "{shown} has its own {RECORD_FILE} or {GUARD_FILE}, which say what it was trained on: \
         leave --data out, or remove both"
    );
    adapter.check(base)?;
    data.check(&base.prompt, base.config.context_length)?;
    let file = |wanted: &str| {
        let found = adapter.files.iter().find(|(name, _)| *name == wanted);
        found.map_or(&[][..], |(_, bytes)| bytes.as_slice())
    };
    let config: Value = serde_json::from_slice(file(ADAPTER_CONFIG))?;
    // Another salt for every adapter, as the trainer's own have one for every seed.
    let salt = sha256_hex(file(ADAPTER_MODEL))[..32].to_owned();
    let grammar = Grammar::load()?;
    let dataset = Dataset::new(&grammar, &data.pairs)?;
    ensure!(
        !dataset.batches.is_empty(),
        "no pair names its batch, so that there is no list of known batches to publish: add \
         \"batch\" to the pairs"
    );
    let record = AdapterRecord {
        format_version: AdapterRecord::FORMAT_VERSION,
        created: utc_now()?,
        data_sha256: data.sha256.clone(),
        base: RecordBase {
            name: base.identity.name.clone(),
            version: base.identity.version.clone(),
            sha256: base.identity.sha256.clone(),
        },
        template_sha256: base.prompt.template_sha256(),
        system_prompt: base.prompt.system_prompt().to_owned(),
        recipe: json!({
            "trained": "elsewhere; data and base as the publisher named them",
            "not_recorded": ["seed", "steps", "tokens", "seconds", "final_loss", "loss_curve"],
            "adapter_config": config,
        }),
        seed: 0,
        train: TrainStats {
            examples: dataset.len() as u64,
            steps: 0,
            tokens: 0,
            seconds: 0.0,
            final_loss: 0.0,
            loss_curve: Vec::new(),
        },
        metrics: None,
        refusal_bias: None,
        undecided: None,
        self_test: None,
        approved_answers: None,
        intended_use: INTENDED_USE.to_owned(),
    };
    adapter.files.push((RECORD_FILE, record.to_json()?));
    adapter.record = Some(record);
    let list = dataset.guard_list(&salt)?;
    adapter.files.push((GUARD_FILE, list.to_json()?));
    adapter.guard = Some(Guard::new(&list)?);
    Ok(())
}
