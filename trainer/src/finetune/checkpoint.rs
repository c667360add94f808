//! What a training run needs to go on after an interruption, in one file.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::run::CurvePoint;
use super::validation::ValidationPoint;
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
    /// The evaluations so far: what has been best, and since when, follows from them.
    pub validation: Vec<ValidationPoint>,
}

/// Writes adapter, optimizer and position to `path`.
pub fn save(path: &Path, model: &mut Llama, adamw: &AdamW, position: &Position) -> Result<()> {
    write(path, adamw.state()?, model, position)
}

/// Writes the adapter alone to `path`, as the best one up to `position`.
pub fn save_best(path: &Path, model: &mut Llama, position: &Position) -> Result<()> {
    write(path, BTreeMap::new(), model, position)
}

/// Restores [`save`], if `identity` is still the same.
pub fn load(path: &Path, model: &mut Llama, adamw: &mut AdamW, identity: &str) -> Result<Position> {
    read(path, identity)
        .and_then(|(tensors, position)| {
            restore(&tensors, model)?;
            adamw.restore(&tensors, position.step as u64)?;
            Ok(position)
        })
        .with_context(|| {
            format!(
                "cannot resume from {}: use the settings it was made with, or start again without \
                 --resume",
                path.display()
            )
        })
}

/// Whether [`load_best`] of the adapter after `step` steps will do, now or once the run has made
/// the steps again that the file is ahead of its checkpoint.
///
/// # Errors
/// The file is not there, is damaged, belongs to another run, or is from before `step`.
pub fn check_best(path: &Path, identity: &str, step: usize) -> Result<()> {
    let (_, position) = read(path, identity).with_context(|| no_best(path))?;
    let found = position.step;
    ensure!(found >= step, "{}: expected step {step}, found {found}", no_best(path));
    Ok(())
}

/// Puts the adapter of [`save_best`] into `model`; it has to be the one after `step` steps.
///
/// # Errors
/// As [`check_best`], and a file of a later step.
pub fn load_best(path: &Path, model: &mut Llama, identity: &str, step: usize) -> Result<()> {
    let (tensors, position) = read(path, identity).with_context(|| no_best(path))?;
    let found = position.step;
    ensure!(found == step, "{}: expected step {step}, found {found}", no_best(path));
    restore(&tensors, model).with_context(|| no_best(path))
}

fn no_best(path: &Path) -> String {
    format!(
        "{} does not hold the best adapter that the checkpoint speaks of: start again in another \
         directory",
        path.display()
    )
}

fn write(
    path: &Path,
    optimizer: BTreeMap<String, Tensor>,
    model: &mut Llama,
    position: &Position,
) -> Result<()> {
    let mut tensors: HashMap<String, Tensor> = optimizer.into_iter().collect();
    for param in model.params_mut().into_iter().filter(|p| p.is_trained()) {
        tensors.insert(format!("param.{}", param.name), param.value.clone());
    }
    let position = serde_json::to_vec(position)?;
    tensors.insert(POSITION.into(), Tensor::new(position.as_slice(), &Device::Cpu)?);
    replace_file(path, |temporary| Ok(candle_core::safetensors::save(&tensors, temporary)?))
}

fn read(path: &Path, identity: &str) -> Result<(BTreeMap<String, Tensor>, Position)> {
    let tensors: BTreeMap<String, Tensor> =
        candle_core::safetensors::load(path, &Device::Cpu)?.into_iter().collect();
    let position: Position = serde_json::from_slice(&tensor(&tensors, POSITION)?.to_vec1::<u8>()?)?;
    ensure!(
        position.identity == identity,
        "it belongs to a run with other data, base, seed or settings"
    );
    Ok((tensors, position))
}

fn restore(tensors: &BTreeMap<String, Tensor>, model: &mut Llama) -> Result<()> {
    for param in model.params_mut().into_iter().filter(|p| p.is_trained()) {
        param.value = tensor(tensors, &format!("param.{}", param.name))?.clone();
    }
    Ok(())
}

fn tensor<'a>(tensors: &'a BTreeMap<String, Tensor>, name: &str) -> Result<&'a Tensor> {
    tensors.get(name).with_context(|| format!("it lacks `{name}`"))
}
