//! WebAssembly's 128-bit SIMD.
//!
//! `i32x4.dot_i16x8` multiplies 16-bit lanes and adds neighbours, so a load of eight codes (four
//! inputs of two rows) is widened and multiplied with four activations, repeated. That leaves
//! each row in two neighbouring lanes, which are added once a block ends. Codes of 4 bits are
//! multiplied as they are packed, see [`nibbles`](super::nibbles). The f32 kernels are the scalar
//! code, which the compiler vectorizes.

#![allow(unsafe_code)]

use std::arch::wasm32::*;

use super::scalar::{self, scales};
use super::{ActBlock, Activations, Kernels, Past, matmul_loop};
use crate::quant::BLOCK;
use crate::quant::packed::{Block4, Block8, Packed, QUADS, ROWS};

/// 128-bit SIMD; this file is compiled only where the whole module may use it.
pub(super) struct Simd128;

impl Kernels for Simd128 {
    fn name(&self) -> &'static str {
        "simd128"
    }

    fn matmul8(&self, weights: &Packed<Block8>, x: &Activations, out: &mut [f32]) {
        matmul_loop!(weights, x, out, tile8);
    }

    fn matmul4(&self, weights: &Packed<Block4>, x: &Activations, out: &mut [f32]) {
        matmul_loop!(weights, x, out, tile4);
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

    fn attend(&self, query: &[f32], past: Past, scale: f32, scores: &mut [f32], out: &mut [f32]) {
        scalar::attend(query, past, scale, scores, out);
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

/// Codes `8 * part ..` of a line: four inputs of rows `2 * part` and `2 * part + 1`, as 16 bits.
#[inline(always)]
fn widen(codes: &[i8; 32], part: usize) -> v128 {
    assert!(part < 4);
    // SAFETY: reads 8 bytes of the array, at most up to 8 * 3 + 8 = 32; loads need no alignment.
    unsafe { i16x8_load_extend_i8x8(codes.as_ptr().add(8 * part)) }
}

#[inline(always)]
fn load(codes: &[u8; 32], half: usize) -> v128 {
    assert!(half < 2);
    // SAFETY: reads 16 bytes of the array, at most up to 16 + 16 = 32; loads need no alignment.
    unsafe { v128_load(codes.as_ptr().add(16 * half).cast()) }
}

/// Four activations, repeated for two rows.
#[inline(always)]
fn repeat(quad: &[i16; 4]) -> v128 {
    // SAFETY: reads the 8 bytes of the array; loads need no alignment.
    unsafe { v128_load64_splat(quad.as_ptr().cast()) }
}

#[inline(always)]
fn load_scales(scales: &[f32; ROWS], half: usize) -> v128 {
    assert!(half < 2);
    // SAFETY: reads 4 of the 8 elements, at most up to 4 + 4 = 8; loads need no alignment.
    unsafe { v128_load(scales.as_ptr().add(4 * half).cast()) }
}

/// Adds neighbouring lanes: rows 0 and 1 from `low`, rows 2 and 3 from `high`.
#[inline(always)]
fn add_pairs(low: v128, high: v128) -> v128 {
    i32x4_add(i32x4_shuffle::<0, 2, 4, 6>(low, high), i32x4_shuffle::<1, 3, 5, 7>(low, high))
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

/// [`ActBlock::new`] of the rounded values, with the sums and products of whole registers.
#[inline(always)]
fn quantize_block(values: &[f32; BLOCK], out: &mut ActBlock) {
    // What the scalar kernel adds to round, and its bits.
    let (shift, shift_bits) = (f32x4_splat(12_582_912.0), i32x4_splat(0x4b40_0000));
    let (scale, inverse) = scales(absmax(values));
    let inverse = f32x4_splat(inverse);
    let rounded = |part: usize| {
        let value = f32x4_mul(load_values(values, part), inverse);
        i32x4_sub(f32x4_add(value, shift), shift_bits)
    };
    let a: [v128; 4] =
        std::array::from_fn(|part| i16x8_narrow_i32x4(rounded(2 * part), rounded(2 * part + 1)));
    let less = |codes: v128, lower: v128, bits: u32| i16x8_sub(codes, i16x8_shl(lower, bits));
    let sum = |codes: v128| {
        let sums = i32x4_dot_i16x8(codes, i16x8_splat(1));
        let sums = i32x4_add(sums, i32x4_shuffle::<2, 3, 0, 1>(sums, sums));
        i32x4_extract_lane::<0>(sums) + i32x4_extract_lane::<1>(sums)
    };
    let three = i16x8_add(i16x8_add(a[0], a[1]), a[2]);
    out.scale = scale;
    out.sum = sum(i16x8_add(three, a[3]));
    out.nibbles.start = -8 * sum(three);
    for part in 0..4 {
        store(out.codes.as_flattened_mut(), part, a[part]);
        let factors = if part == 0 { a[0] } else { less(a[part], a[part - 1], 4) };
        store(&mut out.nibbles.lanes[part], 0, factors);
    }
}

/// The largest magnitude, as [`crate::quant::absmax`] has it.
#[inline(always)]
fn absmax(values: &[f32; BLOCK]) -> f32 {
    let mut max = i32x4_splat(0);
    for part in 0..BLOCK / 4 {
        let bits = v128_and(load_values(values, part), i32x4_splat(i32::MAX));
        max = i32x4_max(max, bits);
    }
    let max = i32x4_max(max, i32x4_shuffle::<2, 3, 0, 1>(max, max));
    let max = i32x4_max(max, i32x4_shuffle::<1, 0, 3, 2>(max, max));
    f32::from_bits(i32x4_extract_lane::<0>(max) as u32)
}

#[inline(always)]
fn load_values(values: &[f32; BLOCK], part: usize) -> v128 {
    assert!(part < BLOCK / 4);
    // SAFETY: reads elements `4 * part ..` and three more, below 32; loads need no alignment.
    unsafe { v128_load(values.as_ptr().add(4 * part).cast()) }
}

/// Writes 16 bytes at `16 * part` bytes of `to`.
#[inline(always)]
fn store<C: Copy>(to: &mut [C], part: usize, value: v128) {
    const { assert!(size_of::<C>() <= 2) };
    assert!(16 * (part + 1) <= size_of_val(to));
    // SAFETY: the 16 bytes are within `to`, any bits are an integer of either size, and stores
    // need no alignment.
    unsafe { v128_store(to.as_mut_ptr().cast::<v128>().add(part), value) }
}

/// The number of steps of an inner loop over `N` quads. For several tokens it is hidden from the
/// compiler: unrolled, the loop would be reordered to finish one accumulator after the other, with
/// all widened weights of the block alive at once, more than there are registers (measured: 0.6
/// of the speed).
#[inline(always)]
fn steps<const T: usize, const N: usize>() -> usize {
    if T == 1 { N } else { std::hint::black_box(N) }
}

#[inline(always)]
fn tile8<const T: usize>(blocks: &[Block8], x: &[[ActBlock; T]]) -> [[f32; ROWS]; T] {
    let quads = steps::<T, QUADS>();
    let mut sums = [[f32x4_splat(0.0); 2]; T];
    for (block, x) in blocks.iter().zip(x) {
        let halves = [half8(block, x, 0, quads), half8(block, x, 1, quads)];
        for (half, dots) in halves.into_iter().enumerate() {
            let scales = load_scales(&block.scales, half);
            for t in 0..T {
                sums[t][half] = accumulate(sums[t][half], scales, x[t].scale, dots[t]);
            }
        }
    }
    sums.map(|[low, high]| to_array(low, high))
}

/// Rows `4 * half ..` of a block times `T` tokens.
#[inline(always)]
fn half8<const T: usize>(
    block: &Block8,
    x: &[ActBlock; T],
    half: usize,
    quads: usize,
) -> [v128; T] {
    let mut dots = [[i32x4_splat(0); 2]; T];
    for quad in 0..quads.min(QUADS) {
        let low = widen(&block.codes[quad], 2 * half);
        let high = widen(&block.codes[quad], 2 * half + 1);
        for t in 0..T {
            let activations = repeat(&x[t].codes[quad]);
            dots[t][0] = i32x4_add(dots[t][0], i32x4_dot_i16x8(low, activations));
            dots[t][1] = i32x4_add(dots[t][1], i32x4_dot_i16x8(high, activations));
        }
    }
    dots.map(|[low, high]| add_pairs(low, high))
}

/// A line has a 32-bit lane for each of eight rows, multiplied with two factors, repeated, in each
/// of four places.
#[inline(always)]
fn tile4<const T: usize>(blocks: &[Block4], x: &[[ActBlock; T]]) -> [[f32; ROWS]; T] {
    let lines = steps::<T, LINES4>();
    let mut sums = [[f32x4_splat(0.0); 2]; T];
    for (block, x) in blocks.iter().zip(x) {
        let mut dots: [_; T] = std::array::from_fn(|t| [i32x4_splat(x[t].nibbles.start); 2]);
        for line in 0..lines.min(LINES4) {
            let mut weights = [0, 1].map(|half| load(&block.codes[line], half));
            for place in 0..4 {
                for t in 0..T {
                    let factors = repeat_pair(&x[t].nibbles.lanes[place], line);
                    for half in 0..2 {
                        let product = i32x4_dot_i16x8(weights[half], factors);
                        dots[t][half] = i32x4_add(dots[t][half], product);
                    }
                }
                weights = weights.map(|weights| i16x8_shr(weights, 4));
            }
        }
        for half in 0..2 {
            let scales = load_scales(&block.scales, half);
            for t in 0..T {
                sums[t][half] = accumulate(sums[t][half], scales, x[t].scale, dots[t][half]);
            }
        }
    }
    sums.map(|[low, high]| to_array(low, high))
}

/// Lines of a [`Block4`].
const LINES4: usize = QUADS / 2;

/// Factors `2 * line` and the next, repeated for four rows.
#[inline(always)]
fn repeat_pair(factors: &[i16; BLOCK / 4], line: usize) -> v128 {
    assert!(line < LINES4);
    // SAFETY: reads elements `2 * line` and `2 * line + 1`, below 8; loads need no alignment.
    unsafe { v128_load32_splat(factors.as_ptr().add(2 * line).cast()) }
}
