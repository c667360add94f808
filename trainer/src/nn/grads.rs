//! Trainable parameters and their gradients.

use anyhow::Result;
use candle_core::Tensor;

use super::slices::{add, slice};

/// A named tensor of the model, frozen or trained.
#[derive(Clone, Debug)]
pub struct Param {
    /// Hugging Face name for a base tensor, PEFT name for an adapter's.
    pub name: String,
    /// The value.
    pub value: Tensor,
    /// Index into [`Grads`] when it is trained.
    pub slot: Option<usize>,
}

impl Param {
    /// A parameter that isn't trained (yet).
    pub fn frozen(name: impl Into<String>, value: Tensor) -> Self {
        Self { name: name.into(), value, slot: None }
    }

    /// Whether it has a gradient.
    pub fn is_trained(&self) -> bool {
        self.slot.is_some()
    }
}

/// Gradients by slot; a parameter that wasn't touched has none.
#[derive(Clone, Debug, Default)]
pub struct Grads(Vec<Option<Tensor>>);

impl Grads {
    /// No gradient yet for `slots` parameters.
    pub fn new(slots: usize) -> Self {
        Self(vec![None; slots])
    }

    /// Adds `grad` to the gradient of `param`, if it is trained.
    pub fn add(&mut self, param: &Param, grad: Tensor) -> Result<()> {
        if let Some(slot) = param.slot {
            self.add_slot(slot, grad)?;
        }
        Ok(())
    }

    fn add_slot(&mut self, slot: usize, grad: Tensor) -> Result<()> {
        let sum = match self.0[slot].take() {
            Some(sum) => add(&sum, &grad)?,
            None => grad,
        };
        self.0[slot] = Some(sum);
        Ok(())
    }

    /// Adds all gradients of `other`. The order of calls fixes the bits of the sum.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        for (slot, grad) in other.0.into_iter().enumerate() {
            if let Some(grad) = grad {
                self.add_slot(slot, grad)?;
            }
        }
        Ok(())
    }

    /// The gradient in `slot`.
    pub fn get(&self, slot: usize) -> Option<&Tensor> {
        self.0.get(slot).and_then(Option::as_ref)
    }

    /// Euclidean norm over all gradients.
    pub fn norm(&self) -> Result<f32> {
        let mut sum = 0f64;
        for grad in self.0.iter().flatten() {
            sum += slice(&grad.contiguous()?)?
                .iter()
                .map(|g| f64::from(*g) * f64::from(*g))
                .sum::<f64>();
        }
        Ok(sum.sqrt() as f32)
    }
}
