//! WebAssembly's 128-bit SIMD.
//!
//! `i32x4.dot_i16x8` multiplies 16-bit lanes and adds neighbours: two inputs of four rows at a
//! time, with the two activations repeated, so that every 32-bit lane sums one row. Codes of 8
//! bits are widened by the load, codes of 4 bits are multiplied as they are packed, see
//! [`nibbles`](super::nibbles). Of the f32 kernels attention's sums are written out; the others are the
//! scalar code, which the compiler vectorizes.

#![allow(unsafe_code)]

use std::arch::wasm32::*;

use super::attention::{self, WeightedSums};
use super::scalar::{self, scales};
use super::{ActBlock, Activations, Kernels, LANES, Past, matmul_loop};
use crate::quant::BLOCK;
use crate::quant::packed::{Block4, Block8, Packed, PackedBlock, QUAD, QUADS, ROWS};

/// 128-bit SIMD; this file is compiled only where the whole module may use it.
pub(super) struct Simd128;

impl Kernels for Simd128 {
    fn name(&self) -> &'static str {
        "simd128"
    }

    fn matmul8(&self, weights: &Packed<Block8>, x: &Activations, out: &mut [f32]) {
        matmul_loop!(weights, x, out, tile);
    }

    fn matmul4(&self, weights: &Packed<Block4>, x: &Activations, out: &mut [f32]) {
        matmul_loop!(weights, x.factors(), out, tile);
    }

    fn quantize(&self, values: &[f32], width: usize, out: &mut [ActBlock]) {
        scalar::quantize_with(values, width, out, quantize_block);
    }

    fn rms_norm(&self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        scalar::rms_norm(x, weight, eps, out);
    }

    fn swiglu(&self, gate: &mut [f32], up: &[f32]) {
        scalar::swiglu(gate, up);
    }

    fn attend(&self, queries: &[f32], past: Past, scale: f32, scores: &mut [f32], out: &mut [f32]) {
        attention::attend(self, queries, past, scale, scores, out);
    }

    fn low_rank(
        &self,
        a: &[f32],
        width: usize,
        first: usize,
        b: &[f32],
        scale: f32,
    ) -> [f32; BLOCK] {
        scalar::low_rank(a, width, first, b, scale)
    }
}

impl WeightedSums for Simd128 {
    #[inline(always)]
    fn add<const T: usize>(
        &self,
        factors: [&[f32]; T],
        rows: &[f32],
        stride: usize,
        first: usize,
        sums: &mut [[f32; LANES]; T],
    ) {
        // Half the lanes at a time: more sums than registers would go through memory.
        for half in 0..2 {
            half_sums(factors, rows, stride, first, half, sums);
        }
    }
}

#[inline(always)]
fn half_sums<const T: usize>(
    factors: [&[f32]; T],
    rows: &[f32],
    stride: usize,
    first: usize,
    half: usize,
    sums: &mut [[f32; LANES]; T],
) {
    let mut lanes = sums.map(|sums| load_eight(&sums, half));
    let factors = factors.map(|factors| &factors[..rows.len() / stride]);
    for (i, row) in rows.chunks_exact(stride).enumerate() {
        let row = load_eight(row[first..].first_chunk().expect("whole lanes of a row"), half);
        for t in 0..T {
            let factor = f32x4_splat(factors[t][i]);
            for part in 0..2 {
                let product = f32x4_mul(factor, row[part]);
                lanes[t][part] = f32x4_add(lanes[t][part], product);
            }
        }
    }
    for (sums, lanes) in sums.iter_mut().zip(lanes) {
        sums.as_chunks_mut().0[half] = to_array(lanes[0], lanes[1]);
    }
}

/// Half the lanes.
#[inline(always)]
fn load_eight(lanes: &[f32; LANES], half: usize) -> [v128; 2] {
    [load_four(lanes, 2 * half), load_four(lanes, 2 * half + 1)]
}

#[inline(always)]
fn load_four<const N: usize>(values: &[f32; N], part: usize) -> v128 {
    assert!(part < N / 4);
    // SAFETY: reads elements `4 * part ..` and three more, below `N`; loads need no alignment.
    unsafe { v128_load(values.as_ptr().add(4 * part).cast()) }
}

/// `sums + (scale_w * scale_x) * dot`.
#[inline(always)]
fn accumulate(sums: v128, scales: v128, scale: f32, dot: v128) -> v128 {
    let scales = f32x4_mul(scales, f32x4_splat(scale));
    f32x4_add(sums, f32x4_mul(scales, f32x4_convert_i32x4(dot)))
}

#[inline(always)]
fn to_array(low: v128, high: v128) -> [f32; ROWS] {
    [
        f32x4_extract_lane::<0>(low),
        f32x4_extract_lane::<1>(low),
        f32x4_extract_lane::<2>(low),
        f32x4_extract_lane::<3>(low),
        f32x4_extract_lane::<0>(high),
        f32x4_extract_lane::<1>(high),
        f32x4_extract_lane::<2>(high),
        f32x4_extract_lane::<3>(high),
    ]
}

/// [`ActBlock::new`] of the rounded values.
#[inline(always)]
fn quantize_block(values: &[f32; BLOCK], out: &mut ActBlock) {
    // What the scalar kernel adds to round, and its bits.
    let (shift, shift_bits) = (f32x4_splat(12_582_912.0), i32x4_splat(0x4b40_0000));
    let (scale, inverse) = scales(absmax(values));
    let inverse = f32x4_splat(inverse);
    let rounded = |part: usize| {
        let value = f32x4_mul(load_four(values, part), inverse);
        i32x4_sub(f32x4_add(value, shift), shift_bits)
    };
    let eight = |part: usize| i16x8_narrow_i32x4(rounded(2 * part), rounded(2 * part + 1));
    out.scale = scale;
    out.start = 0;
    for part in 0..4 {
        store(&mut out.codes, part, eight(part));
    }
}

/// The largest magnitude, as [`crate::quant::absmax`] has it.
#[inline(always)]
fn absmax(values: &[f32; BLOCK]) -> f32 {
    let mut max = i32x4_splat(0);
    for part in 0..BLOCK / 4 {
        let bits = v128_and(load_four(values, part), i32x4_splat(i32::MAX));
        max = i32x4_max(max, bits);
    }
    let max = i32x4_max(max, i32x4_shuffle::<2, 3, 0, 1>(max, max));
    let max = i32x4_max(max, i32x4_shuffle::<1, 0, 3, 2>(max, max));
    f32::from_bits(i32x4_extract_lane::<0>(max) as u32)
}

/// Writes codes `8 * part ..`.
#[inline(always)]
fn store(codes: &mut [[i16; QUAD]; QUADS], part: usize, value: v128) {
    assert!(part < BLOCK / 8);
    // SAFETY: writes codes `8 * part ..` and seven more, below 32; stores need no alignment.
    unsafe { v128_store(codes.as_mut_ptr().cast::<v128>().add(part), value) }
}

/// Codes `8 * part ..`.
#[inline(always)]
fn load_codes(codes: &[[i16; QUAD]; QUADS], part: usize) -> v128 {
    assert!(part < BLOCK / 8);
    // SAFETY: reads codes `8 * part ..` and seven more, below 32; loads need no alignment.
    unsafe { v128_load(codes.as_ptr().cast::<v128>().add(part)) }
}

/// Pairs of inputs in a block.
const PAIRS: usize = BLOCK / 2;

/// Weights that `i32x4.dot_i16x8` multiplies two inputs at a time.
trait Pairs: PackedBlock {
    fn scales(&self) -> &[f32; ROWS];

    /// What is multiplied with inputs `2 * pair ..`, for rows 0 to 3 and 4 to 7.
    fn pair(&self, pair: usize) -> [v128; 2];
}

impl Pairs for Block8 {
    fn scales(&self) -> &[f32; ROWS] {
        &self.scales
    }

    #[inline(always)]
    fn pair(&self, pair: usize) -> [v128; 2] {
        let (line, first) = (&self.codes[pair / 2], pair % 2 * 16);
        // SAFETY: reads 8 of the line's 32 bytes, at most up to 16 + 8 + 8; loads need no
        // alignment.
        [0, 8].map(|half| unsafe { i16x8_load_extend_i8x8(line.as_ptr().add(first + half)) })
    }
}

impl Pairs for Block4 {
    fn scales(&self) -> &[f32; ROWS] {
        &self.scales
    }

    #[inline(always)]
    fn pair(&self, pair: usize) -> [v128; 2] {
        let (line, place) = (&self.codes[pair % 4], pair / 4);
        // SAFETY: reads 16 of the line's 32 bytes, at most up to 16 + 16; loads need no
        // alignment.
        let lanes = [0, 16].map(|half| unsafe { v128_load(line.as_ptr().add(half).cast()) });
        lanes.map(|lanes| i16x8_shr(lanes, 4 * place as u32))
    }
}

/// Eight rows times `T` tokens.
///
/// A block's sixteen steps are written out. Between them stands a comparison with a number that is
/// hidden from the compiler: without it the steps would be one stretch of code, which LLVM orders
/// by sums, with more values alive than there are registers (measured: less than half the speed).
/// For one token there are registers enough for four steps.
#[inline(always)]
fn tile<B: Pairs, const T: usize>(blocks: &[B], x: &[[ActBlock; T]]) -> [[f32; ROWS]; T] {
    let pairs = std::hint::black_box(PAIRS);
    let mut sums = [[f32x4_splat(0.0); 2]; T];
    for (block, x) in blocks.iter().zip(x) {
        let mut dots: [_; T] = std::array::from_fn(|t| [i32x4_splat(x[t].start); 2]);
        let mut eight = [i32x4_splat(0); T];
        macro_rules! steps {
            ($($pair:literal)*) => {
                'steps: {
                    $(
                        if pairs == $pair && (T > 1 || $pair % 4 == 0) {
                            break 'steps;
                        }
                        if $pair % 4 == 0 {
                            eight = std::array::from_fn(|t| load_codes(&x[t].codes, $pair / 4));
                        }
                        let weights = block.pair($pair);
                        for t in 0..T {
                            let pair = repeat(eight[t], $pair % 4);
                            for half in 0..2 {
                                let product = i32x4_dot_i16x8(weights[half], pair);
                                dots[t][half] = i32x4_add(dots[t][half], product);
                            }
                        }
                    )*
                }
            };
        }
        steps!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        for half in 0..2 {
            let scales = load_four(block.scales(), half);
            for t in 0..T {
                sums[t][half] = accumulate(sums[t][half], scales, x[t].scale, dots[t][half]);
            }
        }
    }
    sums.map(|[low, high]| to_array(low, high))
}

/// Pair `index` of four pairs of 16-bit lanes, repeated.
#[inline(always)]
fn repeat(pairs: v128, index: usize) -> v128 {
    match index {
        0 => i32x4_shuffle::<0, 0, 0, 0>(pairs, pairs),
        1 => i32x4_shuffle::<1, 1, 1, 1>(pairs, pairs),
        2 => i32x4_shuffle::<2, 2, 2, 2>(pairs, pairs),
        _ => i32x4_shuffle::<3, 3, 3, 3>(pairs, pairs),
    }
}
