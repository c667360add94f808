//! WebAssembly's 128-bit SIMD.
//!
//! `i32x4.dot_i16x8` multiplies 16-bit lanes and adds neighbours, so a load of eight codes (four
//! inputs of two rows) is widened and multiplied with four activations, repeated. That leaves
//! each row in two neighbouring lanes, which are added once a block ends. The f32 kernels are the
//! scalar code, which the compiler vectorizes.

#![allow(unsafe_code)]

use std::arch::wasm32::*;

use super::{ActBlock, Activations, Kernels, Past, matmul_loop, scalar};
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
        scalar::quantize(values, width, out);
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

/// Codes are stored as `code + 8`, so eight times the sum of the activations is subtracted.
#[inline(always)]
fn tile4<const T: usize>(blocks: &[Block4], x: &[[ActBlock; T]]) -> [[f32; ROWS]; T] {
    let nibbles = steps::<T, NIBBLES>();
    let mut sums = [[f32x4_splat(0.0); 2]; T];
    for (block, x) in blocks.iter().zip(x) {
        let halves = [half4(block, x, 0, nibbles), half4(block, x, 1, nibbles)];
        for (half, dots) in halves.into_iter().enumerate() {
            let scales = load_scales(&block.scales, half);
            for t in 0..T {
                let dot = i32x4_sub(dots[t], i32x4_splat(8 * x[t].sum));
                sums[t][half] = accumulate(sums[t][half], scales, x[t].scale, dot);
            }
        }
    }
    sums.map(|[low, high]| to_array(low, high))
}

/// Codes in a 16-bit lane of [`Block4`].
const NIBBLES: usize = 4;

/// Rows `4 * half ..` of a block times `T` tokens.
#[inline(always)]
fn half4<const T: usize>(
    block: &Block4,
    x: &[ActBlock; T],
    half: usize,
    nibbles: usize,
) -> [v128; T] {
    let mask = u16x8_splat(15);
    let mut dots = [[i32x4_splat(0); 2]; T];
    for part in 0..QUADS / NIBBLES {
        let line = &block.codes[2 * part + half];
        let (mut low, mut high) = (load(line, 0), load(line, 1));
        for nibble in 0..nibbles.min(NIBBLES) {
            let quad = NIBBLES * part + nibble;
            let (low_codes, high_codes) = (v128_and(low, mask), v128_and(high, mask));
            for t in 0..T {
                let activations = repeat(&x[t].codes[quad]);
                dots[t][0] = i32x4_add(dots[t][0], i32x4_dot_i16x8(low_codes, activations));
                dots[t][1] = i32x4_add(dots[t][1], i32x4_dot_i16x8(high_codes, activations));
            }
            low = u16x8_shr(low, 4);
            high = u16x8_shr(high, 4);
        }
    }
    dots.map(|[low, high]| add_pairs(low, high))
}
