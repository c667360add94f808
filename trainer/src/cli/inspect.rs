//! `trainer inspect`: what a base model or an adapter holds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use serde_json::{Value, json};
use shared::{
    ADAPTER_CONFIG, ADAPTER_MODEL, BaseHeader, GUARD_FILE, Gguf, RECORD_FILE, sha256_hex,
};

use crate::adapter_dir::AdapterDir;
use crate::cli::common::{print, print_json, size};
use crate::input::read_input;

const MAX_FILE: u64 = 16 << 30;
/// Metadata texts are shown up to this many characters.
const SHOWN: usize = 160;

/// Show what a base model or an adapter holds
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Of a GGUF file: name, version, licence, hash, hyper-parameters, metadata, tensors by type, and
whether this engine can run it. Of an adapter's directory: rank, scale, modules, and the training
record: data, base, recipe, seed, loss, results.

Examples:
  trainer inspect web/models/lotwise-base.gguf
  trainer inspect runs/may
  trainer inspect adapters --json     (the current published version)")]
pub struct Args {
    /// A GGUF file, an adapter's directory, or the directory of published adapters
    #[arg(value_name = "FILE|DIR")]
    path: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Neither a GGUF file nor an adapter.
pub fn run(args: &Args) -> Result<ExitCode> {
    let path = &args.path;
    let facts = if path.is_dir() { adapter_facts(path)? } else { base_facts(path)? };
    if args.json {
        print_json(&facts)?;
    } else {
        let mut text = String::new();
        write_facts(&mut text, &facts, 0)?;
        print(text)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn base_facts(path: &Path) -> Result<Value> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if [ADAPTER_CONFIG, ADAPTER_MODEL, RECORD_FILE, GUARD_FILE].contains(&name) {
        bail!("{} is one file of an adapter: inspect its directory", path.display());
    }
    let bytes = read_input(path, "a GGUF file or an adapter's directory", MAX_FILE)?;
    let gguf = Gguf::parse(&bytes).with_context(|| {
        format!("{} ({} bytes) is not a readable GGUF file", path.display(), bytes.len())
    })?;
    let sha256 = sha256_hex(&bytes);
    let metadata: BTreeMap<&String, Value> =
        gguf.metadata().iter().map(|(key, value)| (key, short(value))).collect();
    let mut types: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    for info in gguf.tensors().values() {
        let [tensors, elements, stored] = types.entry(format!("{:?}", info.ty)).or_default();
        *tensors += 1;
        *elements += info.elements() as u64;
        *stored += info.range.len() as u64;
    }
    let types: BTreeMap<String, Value> = types
        .into_iter()
        .map(|(ty, [tensors, elements, stored])| {
            (ty, json!({ "tensors": tensors, "parameters": elements, "bytes": stored }))
        })
        .collect();
    let mut facts = json!({
        "kind": "base model",
        "file": path.display().to_string(),
        "bytes": bytes.len(),
        "sha256": sha256,
        "gguf_version": gguf.version(),
        "metadata": metadata,
        "tensors": types,
    });
    match BaseHeader::from_gguf(&gguf, sha256) {
        Ok(header) => {
            facts["name"] = header.identity.name.into();
            facts["version"] = header.identity.version.into();
            facts["license"] = header.identity.license.into();
            facts["config"] = json!(header.config);
            facts["config"]["rms_norm_eps"] = decimal(header.config.rms_norm_eps);
            facts["config"]["rope_theta"] = decimal(header.config.rope_theta);
            facts["prompt"] = json!({
                "template_sha256": header.prompt.template_sha256(),
                "system_prompt": header.prompt.system_prompt(),
                "prefix_tokens": header.prompt.prefix_ids().len(),
            });
            facts["runs"] = true.into();
        }
        Err(error) => {
            facts["runs"] = false.into();
            facts["problem"] = error.to_string().into();
        }
    }
    Ok(facts)
}

fn adapter_facts(path: &Path) -> Result<Value> {
    let AdapterDir { version, adapter, record, guard, files, .. } = AdapterDir::open(path)?;
    let config = &adapter.config;
    let parameters: usize = adapter.pairs.values().map(|pair| pair.a.len() + pair.b.len()).sum();
    let layers = adapter.pairs.keys().map(|(layer, _)| layer + 1).max().unwrap_or(0);
    let modules: Vec<&str> =
        config.target_modules.iter().map(|module| module.peft_name()).collect();
    let files: BTreeMap<&str, Value> = files
        .iter()
        .map(|(name, bytes)| (*name, json!({ "bytes": bytes.len(), "sha256": sha256_hex(bytes) })))
        .collect();
    let mut facts = json!({
        "kind": "adapter",
        "directory": path.display().to_string(),
        "r": config.r,
        "lora_alpha": decimal(config.lora_alpha),
        "lora_dropout": decimal(config.lora_dropout),
        "use_rslora": config.use_rslora,
        "scale": decimal(adapter.scale()),
        "target_modules": modules,
        "layers": layers,
        "parameters": parameters,
        "files": files,
        "has_guard": guard.is_some(),
    });
    if let Some(version) = version {
        facts["version"] = version.into();
    }
    facts["record"] = match record {
        Some(record) => serde_json::to_value(record)?,
        None => Value::Null,
    };
    Ok(facts)
}

/// A metadata value as JSON, long texts and lists cut.
fn short(value: &shared::Value) -> Value {
    use shared::Value as V;
    match value {
        V::String(text) if text.chars().count() > SHOWN => {
            let start: String = text.chars().take(SHOWN).collect();
            format!("{start}... ({} characters)", text.chars().count()).into()
        }
        V::String(text) => text.clone().into(),
        V::Bool(value) => (*value).into(),
        V::Array(array) => format!("{} values, {}", array.len(), value.type_name()).into(),
        V::F32(number) => decimal(*number),
        V::F64(number) => json!(number),
        V::U8(number) => json!(number),
        V::I8(number) => json!(number),
        V::U16(number) => json!(number),
        V::I16(number) => json!(number),
        V::U32(number) => json!(number),
        V::I32(number) => json!(number),
        V::U64(number) => json!(number),
        V::I64(number) => json!(number),
    }
}

/// The number in its shortest decimals: 1e-5, where widening would give 9.999999747378752e-6.
fn decimal(number: f32) -> Value {
    number.to_string().parse::<f64>().map_or(Value::Null, |number| json!(number))
}

/// Facts as indented lines, one a fact; groups of facts after single ones.
fn write_facts(out: &mut String, facts: &Value, depth: usize) -> std::fmt::Result {
    let Some(facts) = facts.as_object() else {
        return Ok(());
    };
    let (groups, single): (Vec<_>, Vec<_>) = facts.iter().partition(|(_, value)| value.is_object());
    for (key, value) in single.into_iter().chain(groups) {
        let indent = "  ".repeat(depth);
        match value {
            Value::Object(inner) => {
                writeln!(out, "{indent}{key}{}", if inner.is_empty() { ": none" } else { "" })?;
                write_facts(out, value, depth + 1)?;
            }
            Value::String(text) => {
                writeln!(out, "{indent}{key}: {}", text.replace('\n', "\\n"))?;
            }
            Value::Number(bytes) if key == "bytes" => {
                writeln!(out, "{indent}{key}: {bytes} ({})", size(bytes.as_u64().unwrap_or(0)))?;
            }
            Value::Array(list) if list.iter().all(Value::is_string) => {
                let names: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
                writeln!(out, "{indent}{key}: {}", names.join(", "))?;
            }
            Value::Array(list) if key == "loss_curve" => write_curve(out, &indent, list)?,
            Value::Array(list) => writeln!(out, "{indent}{key}: {} entries", list.len())?,
            other => writeln!(out, "{indent}{key}: {other}")?,
        }
    }
    Ok(())
}

/// Up to eight points of the loss curve, first and last among them.
fn write_curve(out: &mut String, indent: &str, points: &[Value]) -> std::fmt::Result {
    let last = points.len().saturating_sub(1);
    let mut shown: Vec<usize> = (0..8).map(|k| k * last / 7).collect();
    shown.dedup();
    let text: Vec<String> = shown
        .into_iter()
        .filter_map(|index| {
            let point = points.get(index)?;
            let loss = point["loss"].as_f64()?;
            Some(format!("{loss:.4} at step {}", point["step"]))
        })
        .collect();
    writeln!(out, "{indent}loss_curve ({} points): {}", points.len(), text.join(", "))
}
