//! A linear layer: trained in full, or frozen with a LoRA adapter beside it.

use anyhow::Result;
use candle_core::Tensor;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::grads::{Grads, Param};
use super::slices::{add, matrix, scale, zip};

/// Low-rank update of a frozen matrix (Hu et al., 2021): `W + scale * B A`.
#[derive(Clone, Debug)]
pub struct Lora {
    /// `[r, in]`.
    pub a: Param,
    /// `[out, r]`.
    pub b: Param,
    /// `lora_alpha / r`.
    pub scale: f32,
}

/// `y = x W^T`, and with a LoRA pair `+ scale * dropout(x) A^T B^T`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param,
    /// The adapter, if one is trained.
    pub lora: Option<Lora>,
}

/// What [`Linear::backward`] needs of the forward pass.
pub struct LinearCache {
    x: Tensor,
    lora: Option<LoraCache>,
}

struct LoraCache {
    /// Input of `A`: `x`, or `x` after dropout.
    x: Tensor,
    xa: Tensor,
    /// 0 or `1 / (1 - p)` for each element of `x`.
    mask: Option<Tensor>,
}

/// Dropout on the adapter's input, with its own stream of random numbers.
pub struct Dropout {
    /// Probability that an element is dropped.
    pub p: f64,
    /// Stream for the masks.
    pub rng: ChaCha8Rng,
}

impl Dropout {
    fn mask(&mut self, x: &Tensor) -> Result<Option<Tensor>> {
        if self.p == 0.0 {
            return Ok(None);
        }
        let (rows, cols) = x.dims2()?;
        let keep = (1.0 / (1.0 - self.p)) as f32;
        let data = (0..rows * cols)
            .map(|_| if self.rng.random_bool(self.p) { 0.0 } else { keep })
            .collect();
        Ok(Some(matrix(data, rows, cols)?))
    }
}

impl Linear {
    /// `x`: `[rows, in]` to `[rows, out]`.
    pub fn forward(&self, x: &Tensor, dropout: &mut Dropout) -> Result<(Tensor, LinearCache)> {
        let y = x.matmul(&self.weight.value.t()?)?;
        let Some(lora) = &self.lora else {
            return Ok((y, LinearCache { x: x.clone(), lora: None }));
        };
        let mask = dropout.mask(x)?;
        let dropped = match &mask {
            Some(mask) => zip(x, mask, |x, m| x * m)?,
            None => x.clone(),
        };
        let xa = dropped.matmul(&lora.a.value.t()?)?;
        let update = xa.matmul(&lora.b.value.t()?)?;
        let y = zip(&y, &update, |y, u| y + lora.scale * u)?;
        Ok((y, LinearCache { x: x.clone(), lora: Some(LoraCache { x: dropped, xa, mask }) }))
    }

    /// Gradient of the input for `dy`: `[rows, out]`; adds those of the parameters to `grads`.
    pub fn backward(&self, dy: &Tensor, cache: &LinearCache, grads: &mut Grads) -> Result<Tensor> {
        let dx = dy.matmul(&self.weight.value)?;
        if self.weight.is_trained() {
            grads.add(&self.weight, dy.t()?.matmul(&cache.x)?)?;
        }
        let (Some(lora), Some(saved)) = (&self.lora, &cache.lora) else {
            return Ok(dx);
        };
        let dyb = scale(&dy.matmul(&lora.b.value)?, lora.scale)?;
        grads.add(&lora.b, scale(&dy.t()?.matmul(&saved.xa)?, lora.scale)?)?;
        grads.add(&lora.a, dyb.t()?.matmul(&saved.x)?)?;
        let mut through = dyb.matmul(&lora.a.value)?;
        if let Some(mask) = &saved.mask {
            through = zip(&through, mask, |t, m| t * m)?;
        }
        add(&dx, &through)
    }
}
