//! `adapter_config.json`, as PEFT reads and writes it.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{Error, Linear, Result};

/// File name of the adapter's configuration.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";

/// The largest rank that is accepted.
const MAX_RANK: usize = 1024;

/// Fields that describe how the adapter came to be, or that only matter to PEFT itself.
const PROVENANCE: [&str; 10] = [
    "auto_mapping",
    "inference_mode",
    "layers_pattern",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "exclude_modules",
    "eva_config",
];

/// Initialisations that leave the base's weights as they are. The others (PiSSA, OLoRA, CorDA,
/// LoftQ) subtract from them, and the adapter alone would be merged into the wrong base.
const PLAIN_INIT: [&str; 3] = ["gaussian", "eva", "orthogonal"];

/// What an adapter's numbers mean.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    /// Rank.
    pub r: usize,
    /// Numerator of the scale.
    pub lora_alpha: f32,
    /// Dropout on the adapter's input in training.
    pub lora_dropout: f32,
    /// The matrices it changes, each once.
    pub target_modules: Vec<Linear>,
    /// Whether the scale is `lora_alpha / sqrt(r)`.
    pub use_rslora: bool,
    /// Layers it changes; all if `None`.
    pub layers_to_transform: Option<Vec<usize>>,
    /// The base it was trained on.
    pub base_model_name_or_path: Option<String>,
}

/// The fields that are used, in PEFT's types.
#[derive(Deserialize)]
struct Fields {
    peft_type: String,
    r: usize,
    lora_alpha: f32,
    #[serde(default)]
    lora_dropout: f32,
    target_modules: Value,
    #[serde(default)]
    use_rslora: bool,
    layers_to_transform: Option<Layers>,
    base_model_name_or_path: Option<String>,
    task_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Layers {
    One(usize),
    Many(Vec<usize>),
}

const USED: [&str; 9] = [
    "peft_type",
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "use_rslora",
    "layers_to_transform",
    "base_model_name_or_path",
    "task_type",
];

impl LoraConfig {
    /// Reads `adapter_config.json`.
    ///
    /// # Errors
    /// A feature that changes what the adapter means and is not plain LoRA (DoRA, trained biases,
    /// `modules_to_save`, ranks or alphas per module, ...). A field that this version does not
    /// know is accepted only while it is off: null, false or empty.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let failed = |source| Error::Json { file: ADAPTER_CONFIG, source };
        let map: Map<String, Value> = serde_json::from_slice(json).map_err(failed)?;
        for (field, value) in &map {
            check_feature(field, value)?;
        }
        let fields: Fields = serde_json::from_value(Value::Object(map)).map_err(failed)?;
        if fields.peft_type != "LORA" {
            return Err(feature("peft_type", &json!(fields.peft_type), "LORA"));
        }
        if let Some(task) = fields.task_type.filter(|task| task != "CAUSAL_LM") {
            return Err(feature("task_type", &json!(task), "CAUSAL_LM"));
        }
        let (target_modules, layers) = targets(&fields.target_modules)?;
        let only = fields.layers_to_transform.map(|layers| match layers {
            Layers::One(layer) => vec![layer],
            Layers::Many(layers) => layers,
        });
        if let (Some(_), Some(only)) = (&layers, &only) {
            return Err(feature(
                "layers_to_transform",
                &json!(only),
                "module names without layers",
            ));
        }
        let config = Self {
            r: fields.r,
            lora_alpha: fields.lora_alpha,
            lora_dropout: fields.lora_dropout,
            target_modules,
            use_rslora: fields.use_rslora,
            layers_to_transform: only.or(layers),
            base_model_name_or_path: fields.base_model_name_or_path,
        };
        config.validate()?;
        Ok(config)
    }

    /// The file's bytes: the fields that PEFT writes, sorted by name, with a final newline.
    ///
    /// # Errors
    /// [`Self::validate`]'s.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        self.validate()?;
        let mut names: Vec<&str> = self.target_modules.iter().map(|m| m.peft_name()).collect();
        names.sort_unstable();
        // f32 to its shortest decimal, which json! would widen (0.05 to 0.05000000074505806).
        let decimal = |value: f32| -> Value {
            serde_json::from_str(&value.to_string()).unwrap_or(Value::Null)
        };
        let json = json!({
            "alpha_pattern": {},
            "auto_mapping": null,
            "base_model_name_or_path": self.base_model_name_or_path,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "layers_pattern": null,
            "layers_to_transform": self.layers_to_transform,
            "lora_alpha": decimal(self.lora_alpha),
            "lora_dropout": decimal(self.lora_dropout),
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": self.r,
            "rank_pattern": {},
            "revision": null,
            "target_modules": names,
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": self.use_rslora,
        });
        let mut bytes = serde_json::to_vec_pretty(&json)
            .map_err(|source| Error::Json { file: ADAPTER_CONFIG, source })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Checks ranges and that no module is named twice.
    ///
    /// # Errors
    /// [`Error::Value`], naming the field.
    pub fn validate(&self) -> Result<()> {
        let refuse = |name: &str, expected: &str, found: String| {
            Err(Error::Value {
                name: format!("{ADAPTER_CONFIG}: {name}"),
                expected: expected.into(),
                found,
            })
        };
        if !(1..=MAX_RANK).contains(&self.r) {
            return refuse("r", "1 to 1024", self.r.to_string());
        }
        if !(self.lora_alpha.is_finite() && self.lora_alpha > 0.0) {
            return refuse("lora_alpha", "a positive number", self.lora_alpha.to_string());
        }
        if !(0.0..1.0).contains(&self.lora_dropout) {
            return refuse("lora_dropout", "0 <= p < 1", self.lora_dropout.to_string());
        }
        if self.target_modules.is_empty() {
            return refuse("target_modules", "at least one module", "none".into());
        }
        let mut sorted = self.target_modules.clone();
        sorted.sort_unstable();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return refuse("target_modules", "each module once", format!("{} twice", twice[0]));
        }
        Ok(())
    }

    /// What `B A` is multiplied with.
    pub fn scale(&self) -> f32 {
        let r = self.r as f32;
        self.lora_alpha / if self.use_rslora { r.sqrt() } else { r }
    }
}

/// The modules that `target_modules` names, and the layers if it names them. PEFT takes a name as
/// the end of a module's path: `q_proj`, `self_attn.q_proj`, or, as `all-linear` is written out,
/// `model.layers.0.self_attn.q_proj` for every layer.
fn targets(value: &Value) -> Result<(Vec<Linear>, Option<Vec<usize>>)> {
    let refuse = |found: &Value| feature("target_modules", found, TARGETS);
    let names = value.as_array().ok_or_else(|| refuse(value))?;
    let mut anywhere = Vec::new();
    let mut placed = BTreeSet::new();
    for name in names {
        let parsed = || {
            let name = name.as_str()?;
            let module = Linear::from_peft_name(name.rsplit('.').next()?)?;
            let short = format!("{}.{module}", module.parent());
            if name == module.peft_name() || name == short {
                return Some((None, module));
            }
            let path = name.strip_suffix(&short)?.strip_suffix('.')?;
            let layer: usize = path.strip_prefix("model.layers.")?.parse().ok()?;
            Some((Some(layer), module))
        };
        match parsed().ok_or_else(|| refuse(name))? {
            (None, module) => anywhere.push(module),
            (Some(layer), module) => {
                placed.insert((layer, module));
            }
        }
    }
    if placed.is_empty() {
        anywhere.sort_unstable();
        return Ok((anywhere, None));
    }
    let layers: BTreeSet<usize> = placed.iter().map(|&(layer, _)| layer).collect();
    let modules: BTreeSet<Linear> = placed.iter().map(|&(_, module)| module).collect();
    if !anywhere.is_empty() || placed.len() != layers.len() * modules.len() {
        return Err(refuse(value));
    }
    Ok((modules.into_iter().collect(), Some(layers.into_iter().collect())))
}

const TARGETS: &str = "a list of a Llama block's matrices, the same ones in every layer";

fn feature(field: &'static str, found: &Value, expected: &'static str) -> Error {
    Error::AdapterFeature { field: field.into(), found: found.to_string(), expected }
}

fn check_feature(field: &str, value: &Value) -> Result<()> {
    let accepted = match field {
        _ if USED.contains(&field) || PROVENANCE.contains(&field) => true,
        "bias" => value == "none",
        "init_lora_weights" => match value {
            Value::Bool(_) | Value::Null => true,
            Value::String(name) => PLAIN_INIT.contains(&name.as_str()),
            _ => false,
        },
        _ => is_off(value),
    };
    if accepted {
        return Ok(());
    }
    Err(Error::AdapterFeature {
        field: field.into(),
        found: value.to_string(),
        expected: "plain LoRA (this field off)",
    })
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
