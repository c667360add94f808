//! Muon (Jordan et al., 2024, <https://kellerjordan.github.io/posts/muon/>): momentum whose
//! matrix is orthogonalised by a Newton-Schulz iteration before it is applied.

use anyhow::Result;
use candle_core::Tensor;

use super::grads::Param;
use super::slices::{scale, slice, zip};

/// Coefficients of the quintic iteration, as published.
const A: f32 = 3.4445;
const B: f32 = -4.7750;
const C: f32 = 2.0315;

/// Hyper-parameters, except the learning rate.
#[derive(Clone, Copy, Debug)]
pub struct MuonConfig {
    /// Decay of the momentum.
    pub momentum: f64,
    /// Newton-Schulz iterations.
    pub iterations: usize,
    /// Decoupled weight decay, as a share of the learning rate.
    pub weight_decay: f64,
}

impl Default for MuonConfig {
    fn default() -> Self {
        Self { momentum: 0.95, iterations: 5, weight_decay: 0.0 }
    }
}

/// The momentum of one matrix.
#[derive(Clone, Debug)]
pub struct Muon {
    config: MuonConfig,
    momentum: Option<Tensor>,
}

impl Muon {
    /// No update done yet.
    pub fn new(config: MuonConfig) -> Self {
        Self { config, momentum: None }
    }

    /// One update of `param` (a matrix) with `grad` at learning rate `lr`. Nesterov momentum;
    /// the update's scale is `sqrt(max(1, rows / cols))`.
    pub fn update(&mut self, param: &Param, grad: &Tensor, lr: f64) -> Result<Tensor> {
        let beta = self.config.momentum as f32;
        let momentum = match &self.momentum {
            Some(old) => zip(old, grad, |m, g| m * beta + g * (1.0 - beta))?,
            None => scale(grad, 1.0 - beta)?,
        };
        let ahead = zip(grad, &momentum, |g, m| g * (1.0 - beta) + m * beta)?;
        self.momentum = Some(momentum);
        let (rows, cols) = param.value.dims2()?;
        let direction = orthogonalise(&ahead, self.config.iterations)?;
        let step = lr * (rows as f64 / cols as f64).max(1.0).sqrt();
        let kept = (1.0 - lr * self.config.weight_decay) as f32;
        zip(&param.value, &direction, |p, d| p * kept - step as f32 * d)
    }

    /// The momentum, for a checkpoint.
    pub fn state(&self) -> Option<&Tensor> {
        self.momentum.as_ref()
    }

    /// Restores [`Self::state`].
    pub fn restore(&mut self, momentum: Option<Tensor>) {
        self.momentum = momentum;
    }
}

/// A matrix with nearly the singular vectors of `matrix` and singular values near 1.
fn orthogonalise(matrix: &Tensor, iterations: usize) -> Result<Tensor> {
    let (rows, cols) = matrix.dims2()?;
    let tall = rows > cols;
    let x = if tall { matrix.t()?.contiguous()? } else { matrix.contiguous()? };
    let norm = slice(&x)?.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt();
    let mut x = scale(&x, (1.0 / (norm + 1e-7)) as f32)?;
    for _ in 0..iterations {
        let gram = x.matmul(&x.t()?)?;
        let polynomial = zip(&gram, &gram.matmul(&gram)?, |g, g2| B * g + C * g2)?;
        x = zip(&x, &polynomial.matmul(&x)?, |x, p| A * x + p)?;
    }
    Ok(if tall { x.t()?.contiguous()? } else { x })
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn orthogonalised_rows_have_singular_values_near_one() {
        let data: Vec<f32> = (0..24).map(|i| ((i * 37 % 23) as f32 - 11.0) / 7.0).collect();
        for shape in [(4, 6), (6, 4)] {
            let x = Tensor::from_vec(data.clone(), shape, &Device::Cpu).unwrap();
            let y = orthogonalise(&x, 5).unwrap();
            assert_eq!(y.dims2().unwrap(), shape);
            let y = if shape.0 > shape.1 { y.t().unwrap().contiguous().unwrap() } else { y };
            let gram = y.matmul(&y.t().unwrap()).unwrap().to_vec2::<f32>().unwrap();
            let trace: f32 = (0..4).map(|i| gram[i][i]).sum();
            assert!(
                (0.5..1.5).contains(&(trace / 4.0)),
                "mean squared singular value {}",
                trace / 4.0
            );
        }
    }
}
