//! Fills `models/` and `adapters/` of a built site with a random model of the real one's shape and
//! two random adapters, so that the page can be tried and tested without a trained model:
//! `cargo run --release -p web --example tiny_site -- web/dist`. With the path of a GGUF file behind
//! it, that is the base: `cargo xtask bench models` writes large ones.

use std::{collections::BTreeMap, env, error::Error, fs, path::Path};

use serde_json::{Map, json};
use shared::{
    ADAPTER_CONFIG, ADAPTER_MODEL, AdapterRecord, Base, FileEntry, GUARD_FILE, GuardList,
    INTENDED_USE, Index, Linear, ModelConfig, RECORD_FILE, Version, sha256_hex, testing::TinyBase,
};
use web::catalog::ModelsIndex;

const BASE: &str = "lotwise-base.gguf";

fn main() -> Result<(), Box<dyn Error>> {
    let site = env::args().nth(1).ok_or("name the folder of the built site")?;
    let site = Path::new(&site);
    let mut tiny = tiny();
    let gguf = match env::args().nth(2) {
        Some(file) => fs::read(file)?,
        None => tiny.gguf()?,
    };
    let models = ModelsIndex {
        format_version: 1,
        base: BASE.into(),
        files: BTreeMap::from([(BASE.into(), entry(&gguf))]),
    };
    write(&site.join("models").join(BASE), &gguf)?;
    write(&site.join("models/index.json"), &serde_json::to_vec_pretty(&models)?)?;

    let base = Base::from_bytes(gguf)?;
    tiny.config = base.config.clone();
    let mut index = Index::default();
    for (version, day, strength) in [("2025-03", 1, 0.01), ("2025-04", 2, 0.02)] {
        let published = publish(&site.join("adapters").join(version), &tiny, &base, day, strength)?;
        index = index.publish(version, published)?;
    }
    write(&site.join("adapters/index.json"), &index.to_json()?)?;
    Ok(())
}

fn tiny() -> TinyBase {
    TinyBase {
        config: ModelConfig {
            vocab_size: 2048,
            hidden_size: 192,
            intermediate_size: 512,
            num_hidden_layers: 6,
            context_length: 512,
            ..TinyBase::default().config
        },
        ..TinyBase::default()
    }
}

fn publish(
    folder: &Path,
    tiny: &TinyBase,
    base: &Base,
    day: u32,
    strength: f32,
) -> Result<Version, Box<dyn Error>> {
    let (config, weights) = tiny.adapter(&Linear::ALL, strength).write()?;
    let created = format!("2025-04-{day:02}T08:30:00Z");
    let template_sha256 = base.prompt.template_sha256();
    let record: AdapterRecord = serde_json::from_value(json!({
        "format_version": 1,
        "created": created,
        "data_sha256": sha256_hex(b"no data"),
        "base": { "name": base.identity.name, "version": base.identity.version, "sha256": base.identity.sha256 },
        "template_sha256": template_sha256,
        "system_prompt": base.prompt.system_prompt(),
        "recipe": { "preset": "random" },
        "seed": 1,
        "train": { "examples": 0, "steps": 0, "tokens": 0, "seconds": 0.0, "final_loss": 0.0, "loss_curve": [] },
        "intended_use": INTENDED_USE,
    }))?;
    let guard = GuardList::build(["VOY756", "VOY757"], [], &"5a".repeat(16))?;
    let contents = [
        (ADAPTER_CONFIG, config),
        (ADAPTER_MODEL, weights),
        (RECORD_FILE, record.to_json()?),
        (GUARD_FILE, guard.to_json()?),
    ];
    let mut files = BTreeMap::new();
    for (name, bytes) in contents {
        write(&folder.join(name), &bytes)?;
        files.insert(name.to_owned(), entry(&bytes));
    }
    let metrics = json!({ "exact_match": 0.0, "held_out_exact_match": 0.0 });
    Ok(Version {
        created,
        files,
        base_sha256: base.identity.sha256.clone(),
        template_sha256,
        metrics: metrics.as_object().cloned().unwrap_or_else(Map::new),
        intended_use: INTENDED_USE.into(),
    })
}

fn entry(bytes: &[u8]) -> FileEntry {
    FileEntry { sha256: sha256_hex(bytes), size: bytes.len() as u64 }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, bytes)?;
    Ok(())
}
