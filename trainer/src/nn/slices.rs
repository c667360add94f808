//! Access to the contiguous `f32` data of CPU tensors, for operations that are
//! fused by hand. The products stay candle's.

use std::ops::{Deref, Range};

use anyhow::{Result, bail};
use candle_core::{CpuStorage, Device, Storage, StorageRef, Tensor};

/// The elements of a contiguous CPU tensor, row-major.
pub struct Slice<'a> {
    storage: StorageRef<'a>,
    range: Range<usize>,
}

impl Deref for Slice<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(data)) => &data[self.range.clone()],
            _ => unreachable!("checked when the slice was made"),
        }
    }
}

/// Borrows the elements of `tensor`.
///
/// # Errors
/// When the tensor isn't `f32`, on the CPU and contiguous.
pub fn slice(tensor: &Tensor) -> Result<Slice<'_>> {
    let (storage, layout) = tensor.storage_and_layout();
    if !matches!(&*storage, Storage::Cpu(CpuStorage::F32(_))) {
        bail!("expected an f32 tensor on the CPU, found {:?}", tensor.dtype());
    }
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("expected a contiguous tensor, found strides {:?}", tensor.stride());
    };
    Ok(Slice { storage, range: start..end })
}

/// A matrix of shape `[rows, cols]` that takes over `data`.
pub fn matrix(data: Vec<f32>, rows: usize, cols: usize) -> Result<Tensor> {
    Ok(Tensor::from_vec(data, (rows, cols), &Device::Cpu)?)
}

/// A vector that takes over `data`.
pub fn vector(data: Vec<f32>) -> Result<Tensor> {
    let len = data.len();
    Ok(Tensor::from_vec(data, len, &Device::Cpu)?)
}

/// `a + b`. Candle's own element-wise operations wake a pool of threads for every call.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    zip(a, b, |a, b| a + b)
}

/// `f(a, b)`, element by element, for two tensors of the same shape.
pub fn zip(a: &Tensor, b: &Tensor, f: impl Fn(f32, f32) -> f32) -> Result<Tensor> {
    if a.dims() != b.dims() {
        bail!("shapes differ: {:?} and {:?}", a.dims(), b.dims());
    }
    let data: Vec<f32> = slice(a)?.iter().zip(slice(b)?.iter()).map(|(a, b)| f(*a, *b)).collect();
    Ok(Tensor::from_vec(data, a.shape(), &Device::Cpu)?)
}

/// `a * factor`.
pub fn scale(a: &Tensor, factor: f32) -> Result<Tensor> {
    let data: Vec<f32> = slice(a)?.iter().map(|a| a * factor).collect();
    Ok(Tensor::from_vec(data, a.shape(), &Device::Cpu)?)
}
