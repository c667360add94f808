//! A linear layer: trained in full, or frozen with a LoRA adapter beside it.

use anyhow::Result;
use candle_core::Tensor;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::grads::{Grads, Param};
use super::matrix::Matrix;
use super::product::{Mat, add_product};
use super::slices::{matrix, slice, zip};

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
    pub weight: Matrix,
    /// The adapter, if one is trained.
    pub lora: Option<Lora>,
}

/// What [`Linear::backward`] needs of the forward pass besides the input.
pub struct LinearCache(Option<LoraCache>);

struct LoraCache {
    /// `[rows, r]`.
    xa: Vec<f32>,
    /// 0 or `1 / (1 - p)` for each element of the input.
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
    /// `x`: `[rows, in]` to `[rows, out]`, row-major and the caller's to change.
    pub fn forward(&self, x: &Tensor, dropout: &mut Dropout) -> Result<(Vec<f32>, LinearCache)> {
        let mut y = self.weight.project(x)?;
        let Some(lora) = &self.lora else {
            return Ok((y, LinearCache(None)));
        };
        let mask = dropout.mask(x)?;
        let (rows, (out, _)) = (x.dim(0)?, self.weight.dims()?);
        let mut xa = vec![0f32; rows * lora.rank()?];
        let a = slice(&lora.a.value)?;
        let input = dropped(x, mask.as_ref())?;
        add_product(&mut xa, 1.0, Mat::new(&slice(&input)?, rows), Mat::new(&a, lora.rank()?).t());
        let b = slice(&lora.b.value)?;
        add_product(&mut y, lora.scale, Mat::new(&xa, rows), Mat::new(&b, out).t());
        Ok((y, LinearCache(Some(LoraCache { xa, mask }))))
    }

    /// Adds the gradient of the input `x` for `dy`: `[rows, out]` to `dx`, where it is wanted, and
    /// those of the parameters to `grads`.
    pub fn backward(
        &self,
        dy: &Tensor,
        x: &Tensor,
        cache: &LinearCache,
        grads: &mut Grads,
        mut dx: Option<&mut [f32]>,
    ) -> Result<()> {
        if let Some(dx) = &mut dx {
            self.weight.add_input_gradient(dy, dx)?;
        }
        let (rows, out) = dy.dims2()?;
        let input = x.dim(1)?;
        let (dy, input_values) = (slice(dy)?, slice(x)?);
        let dy = Mat::new(&dy, rows);
        if let Some(weight) = self.weight.trained() {
            let mut dw = vec![0f32; out * input];
            add_product(&mut dw, 1.0, dy.t(), Mat::new(&input_values, rows));
            grads.add(weight, matrix(dw, out, input)?)?;
        }
        let (Some(lora), LinearCache(Some(saved))) = (&self.lora, cache) else {
            return Ok(());
        };
        let r = lora.rank()?;
        let (a, b) = (slice(&lora.a.value)?, slice(&lora.b.value)?);
        let mut dxa = vec![0f32; rows * r];
        add_product(&mut dxa, lora.scale, dy, Mat::new(&b, out));
        let mut db = vec![0f32; out * r];
        add_product(&mut db, lora.scale, dy.t(), Mat::new(&saved.xa, rows));
        grads.add(&lora.b, matrix(db, out, r)?)?;
        let dxa = Mat::new(&dxa, rows);
        let mut da = vec![0f32; r * input];
        add_product(
            &mut da,
            1.0,
            dxa.t(),
            Mat::new(&slice(&dropped(x, saved.mask.as_ref())?)?, rows),
        );
        grads.add(&lora.a, matrix(da, r, input)?)?;
        let Some(dx) = dx else { return Ok(()) };
        match &saved.mask {
            None => add_product(dx, 1.0, dxa, Mat::new(&a, r)),
            Some(mask) => {
                let mut through = vec![0f32; dx.len()];
                add_product(&mut through, 1.0, dxa, Mat::new(&a, r));
                for ((dx, t), m) in dx.iter_mut().zip(&through).zip(slice(mask)?.iter()) {
                    *dx += t * m;
                }
            }
        }
        Ok(())
    }
}

impl Lora {
    fn rank(&self) -> Result<usize> {
        Ok(self.a.value.dim(0)?)
    }
}

fn dropped(x: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    match mask {
        Some(mask) => zip(x, mask, |x, m| x * m),
        None => Ok(x.clone()),
    }
}
