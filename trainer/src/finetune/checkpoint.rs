//! What a training run needs to go on after an interruption, in one file.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};

use crate::files::replace_file;
use crate::nn::{AdamW, Llama};

/// A saved position in a run.
pub struct Position {
    /// Finished optimizer steps.
    pub step: usize,
    /// Seconds of training so far, over all resumptions.
    pub seconds: f64,
}

/// Writes adapter, optimizer and position to `path`. `identity` is the hash of everything that
/// decides the run's result.
pub fn save(path: &Path, model: &mut Llama, adamw: &AdamW, position: &Position, identity: &str) -> Result<()> {
    let mut tensors: HashMap<String, Tensor> = adamw.state()?.into_iter().collect();
    for param in model.params_mut().into_iter().filter(|p| p.is_trained()) {
        tensors.insert(format!("param.{}", param.name), param.value.clone());
    }
    tensors.insert("step".into(), Tensor::new(&[position.step as i64], &Device::Cpu)?);
    tensors.insert("seconds".into(), Tensor::new(&[position.seconds], &Device::Cpu)?);
    tensors.insert("identity".into(), Tensor::new(identity.as_bytes(), &Device::Cpu)?);
    replace_file(path, |temporary| Ok(candle_core::safetensors::save(&tensors, temporary)?))
}

/// Restores [`save`], if `identity` is still the same.
pub fn load(path: &Path, model: &mut Llama, adamw: &mut AdamW, identity: &str) -> Result<Position> {
    let mut restore = || -> Result<Position> {
        let tensors: BTreeMap<String, Tensor> =
            candle_core::safetensors::load(path, &Device::Cpu)?.into_iter().collect();
        let tensor = |name: &str| tensors.get(name).with_context(|| format!("it lacks `{name}`"));
        ensure!(
            tensor("identity")?.to_vec1::<u8>()? == identity.as_bytes(),
            "it belongs to a run with other data, base, seed or settings"
        );
        for param in model.params_mut().into_iter().filter(|p| p.is_trained()) {
            param.value = tensor(&format!("param.{}", param.name))?.clone();
        }
        let step = tensor("step")?.to_vec1::<i64>()?;
        let step = usize::try_from(*step.first().context("`step` is empty")?)?;
        let seconds = *tensor("seconds")?.to_vec1::<f64>()?.first().context("`seconds` is empty")?;
        adamw.restore(&tensors, step as u64)?;
        Ok(Position { step, seconds })
    };
    restore().with_context(|| {
        format!(
            "cannot resume from {}: use the settings it was made with, or start again without --resume",
            path.display()
        )
    })
}
