//! The specification of every kernel, in plain Rust.
//!
//! Loops over [`LANES`] or [`ROWS`] elements are independent sums that a compiler may run side by
//! side; everything else happens in the order written. Functions marked `inline(always)` are
//! compiled again inside the instruction sets that don't replace them.

use super::attention::{WeightedSums, attend};
use super::{ActBlock, Activations, Kernels, LANES, Past, exp, matmul_loop};
use crate::quant::packed::{Block4, Block8, Packed, PackedBlock, QUAD, ROWS};
use crate::quant::{BLOCK, SMALLEST, absmax, round_to_code};

/// Plain Rust.
pub(super) struct Scalar;

impl Kernels for Scalar {
    fn name(&self) -> &'static str {
        "scalar"
    }

    fn matmul8(&self, weights: &Packed<Block8>, x: &Activations, out: &mut [f32]) {
        matmul_loop!(weights, x, out, tile);
    }

    fn matmul4(&self, weights: &Packed<Block4>, x: &Activations, out: &mut [f32]) {
        matmul_loop!(weights, x, out, tile);
    }

    fn quantize(&self, values: &[f32], width: usize, out: &mut [ActBlock]) {
        quantize(values, width, out);
    }

    fn rms_norm(&self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        rms_norm(x, weight, eps, out);
    }

    fn swiglu(&self, gate: &mut [f32], up: &[f32]) {
        swiglu(gate, up);
    }

    fn attend(&self, queries: &[f32], past: Past, scale: f32, scores: &mut [f32], out: &mut [f32]) {
        for (query, out) in queries.chunks(past.head_dim).zip(out.chunks_mut(past.head_dim)) {
            attend(self, query, past, scale, scores, out);
        }
    }

    fn low_rank(
        &self,
        a: &[f32],
        width: usize,
        first: usize,
        b: &[f32],
        scale: f32,
    ) -> [f32; BLOCK] {
        low_rank(a, width, first, b, scale)
    }
}

impl WeightedSums for Scalar {
    fn add<const T: usize>(
        &self,
        factors: [&[f32]; T],
        rows: &[f32],
        stride: usize,
        first: usize,
        sums: &mut [[f32; LANES]; T],
    ) {
        for (sums, factors) in sums.iter_mut().zip(factors) {
            for (factor, row) in factors.iter().zip(rows.chunks_exact(stride)) {
                let row = &row[first..][..LANES];
                for lane in 0..LANES {
                    sums[lane] += factor * row[lane];
                }
            }
        }
    }
}

/// Eight rows times `T` tokens.
fn tile<B: PackedBlock, const T: usize>(blocks: &[B], x: &[[ActBlock; T]]) -> [[f32; ROWS]; T] {
    let mut sums = [[0.0; ROWS]; T];
    for (block, x) in blocks.iter().zip(x) {
        for row in 0..ROWS {
            let weights = block.get(row);
            for t in 0..T {
                let mut dot = 0_i32;
                for k in 0..BLOCK {
                    let code = x[t].codes[k / QUAD][k % QUAD];
                    dot += i32::from(weights.codes[k]) * i32::from(code);
                }
                sums[t][row] += (weights.scale * x[t].scale) * dot as f32;
            }
        }
    }
    sums
}

#[inline(always)]
pub(super) fn quantize(values: &[f32], width: usize, out: &mut [ActBlock]) {
    quantize_with(values, width, out, quantize_block);
}

/// Has `block` quantize every 32 values.
#[inline(always)]
pub(super) fn quantize_with(
    values: &[f32],
    width: usize,
    out: &mut [ActBlock],
    block: impl Fn(&[f32; BLOCK], &mut ActBlock),
) {
    assert!(width.is_multiple_of(BLOCK) && values.len().is_multiple_of(width), "width {width}");
    assert_eq!(values.len(), out.len() * BLOCK, "one block for every 32 values");
    let tokens = values.len() / width;
    for (t, values) in values.chunks_exact(width).enumerate() {
        for (index, values) in values.as_chunks::<BLOCK>().0.iter().enumerate() {
            block(values, &mut out[index * tokens + t]);
        }
    }
}

#[inline(always)]
fn quantize_block(values: &[f32; BLOCK], out: &mut ActBlock) {
    let (scale, inverse) = scales(absmax(values));
    let mut codes = [0_i8; BLOCK];
    for (code, value) in codes.iter_mut().zip(values) {
        *code = round_to_code(value * inverse);
    }
    *out = ActBlock::new(&codes, scale);
}

/// The scale for values up to `absmax`, and what they are multiplied with to become codes.
#[inline(always)]
pub(super) fn scales(absmax: f32) -> (f32, f32) {
    if absmax < SMALLEST { (0.0, 0.0) } else { (absmax / 127.0, 127.0 / absmax) }
}

#[inline(always)]
pub(super) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    assert!(x.len() == weight.len() && x.len() == out.len(), "norm of {} elements", x.len());
    let mut squares = [0.0; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            squares[lane] += chunk[lane] * chunk[lane];
        }
    }
    for (lane, value) in rest.iter().enumerate() {
        squares[lane] += value * value;
    }
    let inverse = 1.0 / (tree(squares) / x.len() as f32 + eps).sqrt();
    for k in 0..x.len() {
        out[k] = (x[k] * inverse) * weight[k];
    }
}

/// Adds the upper half of the lanes to the lower half until one is left.
#[inline(always)]
fn tree(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[inline(always)]
pub(super) fn swiglu(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "gate and up");
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + exp(-*gate)) * up;
    }
}

/// Replaces scores by `exp(score - max)` and returns their sum.
#[inline(always)]
pub(super) fn softmax_weights(scores: &mut [f32]) -> f32 {
    let mut max = f32::NEG_INFINITY;
    for score in scores.iter() {
        max = if *score > max { *score } else { max };
    }
    for score in scores.iter_mut() {
        *score = exp(*score - max);
    }
    let mut sums = [0.0; LANES];
    let (chunks, rest) = scores.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            sums[lane] += chunk[lane];
        }
    }
    for (lane, value) in rest.iter().enumerate() {
        sums[lane] += value;
    }
    tree(sums)
}

/// Sums over the rank in ascending order, then scales.
#[inline(always)]
pub(super) fn low_rank(
    a: &[f32],
    width: usize,
    first: usize,
    b: &[f32],
    scale: f32,
) -> [f32; BLOCK] {
    assert_eq!(a.len(), width * b.len(), "A and B of one rank");
    let mut sums = [0.0; BLOCK];
    for (a, b) in a.chunks_exact(width).zip(b) {
        let a = &a[first..][..BLOCK];
        for k in 0..BLOCK {
            sums[k] += b * a[k];
        }
    }
    sums.map(|sum| sum * scale)
}
