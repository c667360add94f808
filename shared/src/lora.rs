//! LoRA adapters in PEFT's own layout: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! Method: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021); rank-stabilised
//! scale: Kalajdzievski, "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA" (2023).
//! Whatever merging would have to ignore is refused here, so that an adapter that loads is an
//! adapter that is served whole.

mod config;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

pub use config::{ADAPTER_CONFIG, LoraConfig};

use crate::{Error, GgmlType, Linear, ModelConfig, Result, quant};

/// File name of the adapter's tensors.
pub const ADAPTER_MODEL: &str = "adapter_model.safetensors";

const KEY_PREFIX: &str = "base_model.model.model.layers.";

/// The low-rank update of one matrix: `W += scale * B A`.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraPair {
    /// `A`, `[r, in_features]`, row major.
    pub a: Vec<f32>,
    /// `B`, `[out_features, r]`, row major.
    pub b: Vec<f32>,
    /// Columns of the matrix.
    pub in_features: usize,
    /// Rows of the matrix.
    pub out_features: usize,
}

/// A LoRA adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// Rank, scale and provenance.
    pub config: LoraConfig,
    /// The updates by layer and module.
    pub pairs: BTreeMap<(usize, Linear), LoraPair>,
}

impl Adapter {
    /// Reads an adapter from the bytes of its two files. Tensors may be F32, F16 or BF16.
    ///
    /// # Errors
    /// Anything that could not be merged as it was trained: a feature of PEFT that is not plain
    /// LoRA, a tensor of another name, half of a pair, shapes that contradict the rank, numbers
    /// that are not finite.
    pub fn parse(config_json: &[u8], safetensors: &[u8]) -> Result<Self> {
        let config = LoraConfig::parse(config_json)?;
        let file = SafeTensors::deserialize(safetensors)
            .map_err(|source| Error::Safetensors { file: ADAPTER_MODEL, source })?;
        let mut halves: BTreeMap<(usize, Linear), [Option<Half>; 2]> = BTreeMap::new();
        for (name, view) in file.iter() {
            let (layer, module, side) = parse_key(name)?;
            let half = read_half(name, &view)?;
            halves.entry((layer, module)).or_default()[side as usize] = Some(half);
        }
        let mut pairs = BTreeMap::new();
        for ((layer, module), [a, b]) in halves {
            let missing = |side| Error::MissingTensor {
                tensor: key(layer, module, side),
                place: ADAPTER_MODEL,
            };
            let a = a.ok_or_else(|| missing(Side::A))?;
            let b = b.ok_or_else(|| missing(Side::B))?;
            let [in_features, out_features] = [a.shape[1], b.shape[0]];
            check_shape(&key(layer, module, Side::A), [config.r, in_features], a.shape)?;
            check_shape(&key(layer, module, Side::B), [out_features, config.r], b.shape)?;
            let pair = LoraPair { a: a.values, b: b.values, in_features, out_features };
            pairs.insert((layer, module), pair);
        }
        let adapter = Self { config, pairs };
        adapter.check_modules()?;
        Ok(adapter)
    }

    /// The bytes of `adapter_config.json` and `adapter_model.safetensors` (F32), as PEFT loads
    /// them. The same adapter always gives the same bytes.
    ///
    /// # Errors
    /// The pairs contradict the config, or a number is not finite: what [`Self::parse`] would
    /// refuse is not written.
    pub fn write(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        self.config.validate()?;
        self.check_modules()?;
        let mut tensors: Vec<(String, [usize; 2], Vec<u8>)> = Vec::new();
        for (&(layer, module), pair) in &self.pairs {
            let sides = [
                (Side::A, [self.config.r, pair.in_features], &pair.a),
                (Side::B, [pair.out_features, self.config.r], &pair.b),
            ];
            for (side, shape, values) in sides {
                let name = key(layer, module, side);
                if values.len() != shape[0] * shape[1] {
                    return Err(Error::Length {
                        name,
                        expected: shape[0] * shape[1],
                        found: values.len(),
                    });
                }
                check_finite(&name, values)?;
                tensors.push((name, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()));
            }
        }
        let failed = |source| Error::Safetensors { file: ADAPTER_MODEL, source };
        let mut views = Vec::new();
        for (name, shape, bytes) in &tensors {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).map_err(failed)?;
            views.push((name, view));
        }
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let safetensors = safetensors::serialize(views, Some(metadata)).map_err(failed)?;
        Ok((self.config.to_json()?, safetensors))
    }

    /// What `B A` is multiplied with: `lora_alpha / r`, with rsLoRA `lora_alpha / sqrt(r)`.
    pub fn scale(&self) -> f32 {
        self.config.scale()
    }

    /// Checks that the adapter fits a base: every layer has every target module, in its shape.
    ///
    /// # Errors
    /// The first pair that is missing, too many or of another shape.
    pub fn check(&self, config: &ModelConfig) -> Result<()> {
        for (&(layer, module), pair) in &self.pairs {
            if layer >= config.num_hidden_layers {
                return Err(Error::UnusedTensor {
                    tensor: key(layer, module, Side::A),
                    place: ADAPTER_MODEL,
                    problem: format!("the base has {} layers", config.num_hidden_layers),
                });
            }
            let [out_features, in_features] = module.shape(config);
            let r = self.config.r;
            let found = [r, pair.in_features];
            check_shape(&key(layer, module, Side::A), [r, in_features], found)?;
            let found = [pair.out_features, r];
            check_shape(&key(layer, module, Side::B), [out_features, r], found)?;
        }
        let layers: Vec<usize> = match &self.config.layers_to_transform {
            Some(layers) => layers.clone(),
            None => (0..config.num_hidden_layers).collect(),
        };
        for layer in layers {
            for &module in &self.config.target_modules {
                if !self.pairs.contains_key(&(layer, module)) {
                    return Err(Error::MissingTensor {
                        tensor: key(layer, module, Side::A),
                        place: ADAPTER_MODEL,
                    });
                }
            }
        }
        Ok(())
    }

    /// The config's `target_modules` and the tensors must speak of the same modules and layers.
    fn check_modules(&self) -> Result<()> {
        for &(layer, module) in self.pairs.keys() {
            let in_layer = match &self.config.layers_to_transform {
                Some(layers) => layers.contains(&layer),
                None => true,
            };
            if !(in_layer && self.config.target_modules.contains(&module)) {
                return Err(Error::UnusedTensor {
                    tensor: key(layer, module, Side::A),
                    place: ADAPTER_MODEL,
                    problem: "adapter_config.json does not target it".into(),
                });
            }
        }
        for &module in &self.config.target_modules {
            if !self.pairs.keys().any(|&(_, found)| found == module) {
                return Err(Error::MissingTensor {
                    tensor: format!("{KEY_PREFIX}*.{}.{module}.lora_A.weight", module.parent()),
                    place: ADAPTER_MODEL,
                });
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
enum Side {
    A = 0,
    B = 1,
}

struct Half {
    shape: [usize; 2],
    values: Vec<f32>,
}

fn key(layer: usize, module: Linear, side: Side) -> String {
    let parent = module.parent();
    format!("{KEY_PREFIX}{layer}.{parent}.{module}.lora_{side:?}.weight")
}

/// The inverse of [`key`]; accepts nothing that [`key`] would not write.
fn parse_key(name: &str) -> Result<(usize, Linear, Side)> {
    let parsed = || {
        let mut parts = name.strip_prefix(KEY_PREFIX)?.split('.');
        let layer = parts.next()?.parse().ok()?;
        let module = Linear::from_peft_name(parts.nth(1)?)?;
        [Side::A, Side::B]
            .into_iter()
            .find(|&side| key(layer, module, side) == name)
            .map(|side| (layer, module, side))
    };
    parsed().ok_or_else(|| Error::UnusedTensor {
        tensor: name.into(),
        place: ADAPTER_MODEL,
        problem: format!("expected names like {}", key(0, Linear::Query, Side::A)),
    })
}

fn check_shape(name: &str, expected: [usize; 2], found: [usize; 2]) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Shape { tensor: name.into(), expected: expected.into(), found: found.into() })
}

pub(crate) fn check_finite(name: &str, values: &[f32]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Error::NotFinite { name: name.into(), index, value: values[index] }),
    }
}

fn read_half(name: &str, view: &TensorView<'_>) -> Result<Half> {
    let [rows, columns] = view.shape()[..] else {
        return Err(Error::Value {
            name: name.into(),
            expected: "2 dimensions".into(),
            found: view.shape().len().to_string(),
        });
    };
    let ty = match view.dtype() {
        Dtype::F32 => GgmlType::F32,
        Dtype::F16 => GgmlType::F16,
        Dtype::BF16 => GgmlType::BF16,
        other => {
            return Err(Error::UnsupportedType {
                tensor: name.into(),
                ty: format!("{other:?}"),
                supported: "F32, F16, BF16",
            });
        }
    };
    // The parser has checked that rows * columns elements lie in the file.
    let mut values = vec![0.0; rows * columns];
    quant::dequantize(ty, view.data(), &mut values)?;
    check_finite(name, &values)?;
    Ok(Half { shape: [rows, columns], values })
}
