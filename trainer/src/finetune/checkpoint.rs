//! What a training run needs to go on after an interruption, in one file.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::run::CurvePoint;
use crate::files::replace_file;
use crate::nn::{AdamW, Llama};

/// Name of the tensor whose bytes are the position, as JSON.
const POSITION: &str = "position";

/// A saved position in a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Position {
    /// Hash of everything that decides the run's result.
    pub identity: String,
    /// Finished optimizer steps.
    pub step: usize,
    /// Seconds of training so far, over all resumptions.
    pub seconds: f64,
    /// Tokens that went forward.
    pub tokens: u64,
    /// The loss so far.
    pub curve: Vec<CurvePoint>,
    /// Sum of the losses and number of targets since the curve's last point.
    pub window: (f64, u64),
}

/// Writes adapter, optimizer and position to `path`.
pub fn save(path: &Path, model: &mut Llama, adamw: &AdamW, position: &Position) -> Result<()> {
    let mut tensors: HashMap<String, Tensor> = adamw.state()?.into_iter().collect();
    for param in model.params_mut().into_iter().filter(|p| p.is_trained()) {
        tensors.insert(format!("param.{}", param.name), param.value.clone());
    }
    let position = serde_json::to_vec(position)?;
    tensors.insert(POSITION.into(), Tensor::new(position.as_slice(), &Device::Cpu)?);
    replace_file(path, |temporary| Ok(candle_core::safetensors::save(&tensors, temporary)?))
}

/// Restores [`save`], if `identity` is still the same.
pub fn load(path: &Path, model: &mut Llama, adamw: &mut AdamW, identity: &str) -> Result<Position> {
    let mut restore = || -> Result<Position> {
        let tensors: BTreeMap<String, Tensor> =
            candle_core::safetensors::load(path, &Device::Cpu)?.into_iter().collect();
        let tensor = |name: &str| tensors.get(name).with_context(|| format!("it lacks `{name}`"));
        let position: Position = serde_json::from_slice(&tensor(POSITION)?.to_vec1::<u8>()?)?;
        ensure!(
            position.identity == identity,
            "it belongs to a run with other data, base, seed or settings"
        );
        for param in model.params_mut().into_iter().filter(|p| p.is_trained()) {
            param.value = tensor(&format!("param.{}", param.name))?.clone();
        }
        adamw.restore(&tensors, position.step as u64)?;
        Ok(position)
    };
    restore().with_context(|| {
        format!(
            "cannot resume from {}: use the settings it was made with, or start again without --resume",
            path.display()
        )
    })
}
