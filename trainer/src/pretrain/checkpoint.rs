//! Everything a pretraining run needs to go on, in one file that is replaced as a whole.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};

use super::optimizer::Optimizer;
use crate::files::replace_file;
use crate::nn::Llama;

const STEP: &str = "step";

/// Writes the model, the optimizer and the number of finished steps to `path`.
pub fn save(path: &Path, model: &mut Llama, optimizer: &Optimizer, step: usize) -> Result<()> {
    let mut tensors: HashMap<String, Tensor> = optimizer.state()?.into_iter().collect();
    for param in model.params_mut() {
        tensors.insert(format!("param.{}", param.name), param.value.clone());
    }
    tensors.insert(STEP.into(), Tensor::new(&[step as i64], &Device::Cpu)?);
    replace_file(path, |temporary| Ok(candle_core::safetensors::save(&tensors, temporary)?))
}

/// Restores [`save`]; returns the number of finished steps.
pub fn load(path: &Path, model: &mut Llama, optimizer: &mut Optimizer) -> Result<usize> {
    let mut read = || -> Result<usize> {
        let tensors: BTreeMap<String, Tensor> =
            candle_core::safetensors::load(path, &Device::Cpu)?.into_iter().collect();
        for param in model.params_mut() {
            let value = tensors
                .get(&format!("param.{}", param.name))
                .with_context(|| format!("it lacks the tensor {}", param.name))?;
            ensure!(
                value.dims() == param.value.dims(),
                "{} has shape {:?}, this model needs {:?}",
                param.name,
                value.dims(),
                param.value.dims()
            );
            param.value = value.clone();
        }
        let step = tensors.get(STEP).context("it lacks the number of steps")?.to_vec1::<i64>()?;
        let step = usize::try_from(*step.first().context("its number of steps is empty")?)?;
        optimizer.restore(&tensors, step)?;
        Ok(step)
    };
    read().with_context(|| {
        format!("cannot resume from {}: start again in an empty --out directory", path.display())
    })
}
