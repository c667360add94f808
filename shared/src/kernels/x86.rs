//! AVX2, and AVX-512 VNNI on 256-bit registers.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::attention::{self, WeightedSums};
use super::{ActBlock, Activations, Kernels, LANES, Past, matmul_loop, scalar};
use crate::quant::BLOCK;
use crate::quant::packed::{Block4, Block8, Packed, QUADS, ROWS};

/// Proof that AVX2 is there.
struct Avx2(());

/// Proof that AVX2 and AVX-512 VNNI with VL are there.
struct Avx512Vnni(Avx2);

/// The AVX2 kernels, on a machine that has AVX2.
pub(super) fn avx2() -> Option<&'static dyn Kernels> {
    static KERNELS: Avx2 = Avx2(());
    is_x86_feature_detected!("avx2").then_some(&KERNELS as _)
}

/// The VNNI kernels, on a machine that has AVX2 and AVX-512 VNNI and VL.
pub(super) fn avx512_vnni() -> Option<&'static dyn Kernels> {
    static KERNELS: Avx512Vnni = Avx512Vnni(Avx2(()));
    let detected = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("avx512vl");
    detected.then_some(&KERNELS as _)
}

impl Kernels for Avx2 {
    fn name(&self) -> &'static str {
        "avx2"
    }

    fn matmul8(&self, weights: &Packed<Block8>, x: &Activations, out: &mut [f32]) {
        // SAFETY: `avx2()` hands out an `Avx2` only where AVX2 was detected.
        unsafe { matmul8_avx2(weights, x, out) }
    }

    fn matmul4(&self, weights: &Packed<Block4>, x: &Activations, out: &mut [f32]) {
        // SAFETY: `avx2()` hands out an `Avx2` only where AVX2 was detected.
        unsafe { matmul4_avx2(weights, x, out) }
    }

    fn quantize(&self, values: &[f32], width: usize, out: &mut [ActBlock]) {
        // SAFETY: `avx2()` hands out an `Avx2` only where AVX2 was detected.
        unsafe { quantize(values, width, out) }
    }

    fn rms_norm(&self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        // SAFETY: `avx2()` hands out an `Avx2` only where AVX2 was detected.
        unsafe { rms_norm(x, weight, eps, out) }
    }

    fn swiglu(&self, gate: &mut [f32], up: &[f32]) {
        // SAFETY: `avx2()` hands out an `Avx2` only where AVX2 was detected.
        unsafe { swiglu(gate, up) }
    }

    fn attend(&self, queries: &[f32], past: Past, scale: f32, scores: &mut [f32], out: &mut [f32]) {
        // SAFETY: `avx2()` hands out an `Avx2` only where AVX2 was detected.
        unsafe { attend(self, queries, past, scale, scores, out) }
    }

    fn low_rank(
        &self,
        a: &[f32],
        width: usize,
        first: usize,
        b: &[f32],
        scale: f32,
    ) -> [f32; BLOCK] {
        // SAFETY: `avx2()` hands out an `Avx2` only where AVX2 was detected.
        unsafe { low_rank(a, width, first, b, scale) }
    }
}

impl WeightedSums for Avx2 {
    #[inline(always)]
    fn add<const T: usize>(
        &self,
        factors: [&[f32]; T],
        rows: &[f32],
        stride: usize,
        first: usize,
        sums: &mut [[f32; LANES]; T],
    ) {
        // SAFETY: `avx2()` hands out an `Avx2` only where AVX2 was detected.
        unsafe { weighted_sums(factors, rows, stride, first, sums) }
    }
}

impl Kernels for Avx512Vnni {
    fn name(&self) -> &'static str {
        "avx512_vnni"
    }

    fn matmul8(&self, weights: &Packed<Block8>, x: &Activations, out: &mut [f32]) {
        // SAFETY: `avx512_vnni()` hands out an `Avx512Vnni` only where all its features were
        // detected.
        unsafe { matmul8_vnni(weights, x, out) }
    }

    fn matmul4(&self, weights: &Packed<Block4>, x: &Activations, out: &mut [f32]) {
        // SAFETY: `avx512_vnni()` hands out an `Avx512Vnni` only where all its features were
        // detected.
        unsafe { matmul4_vnni(weights, x, out) }
    }

    fn quantize(&self, values: &[f32], width: usize, out: &mut [ActBlock]) {
        self.0.quantize(values, width, out);
    }

    fn rms_norm(&self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        self.0.rms_norm(x, weight, eps, out);
    }

    fn swiglu(&self, gate: &mut [f32], up: &[f32]) {
        self.0.swiglu(gate, up);
    }

    fn attend(&self, queries: &[f32], past: Past, scale: f32, scores: &mut [f32], out: &mut [f32]) {
        self.0.attend(queries, past, scale, scores, out);
    }

    fn low_rank(
        &self,
        a: &[f32],
        width: usize,
        first: usize,
        b: &[f32],
        scale: f32,
    ) -> [f32; BLOCK] {
        self.0.low_rank(a, width, first, b, scale)
    }
}

#[target_feature(enable = "avx2")]
fn quantize(values: &[f32], width: usize, out: &mut [ActBlock]) {
    scalar::quantize(values, width, out);
}

#[target_feature(enable = "avx2")]
fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    scalar::rms_norm(x, weight, eps, out);
}

#[target_feature(enable = "avx2")]
fn swiglu(gate: &mut [f32], up: &[f32]) {
    scalar::swiglu(gate, up);
}

#[target_feature(enable = "avx2")]
fn attend(
    sums: &Avx2,
    queries: &[f32],
    past: Past,
    scale: f32,
    scores: &mut [f32],
    out: &mut [f32],
) {
    attention::attend(sums, queries, past, scale, scores, out);
}

#[inline]
#[target_feature(enable = "avx2")]
fn weighted_sums<const T: usize>(
    factors: [&[f32]; T],
    rows: &[f32],
    stride: usize,
    first: usize,
    sums: &mut [[f32; LANES]; T],
) {
    let mut lanes = sums.map(|sums| load_lanes(&sums));
    let factors = factors.map(|factors| &factors[..rows.len() / stride]);
    for (i, row) in rows.chunks_exact(stride).enumerate() {
        let row = load_lanes(row[first..].first_chunk().expect("whole lanes of a row"));
        for t in 0..T {
            let factor = _mm256_set1_ps(factors[t][i]);
            for half in 0..2 {
                let product = _mm256_mul_ps(factor, row[half]);
                lanes[t][half] = _mm256_add_ps(lanes[t][half], product);
            }
        }
    }
    for (sums, lanes) in sums.iter_mut().zip(lanes) {
        sums.as_chunks_mut().0.copy_from_slice(&lanes.map(|half| to_array(half)));
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_lanes(lanes: &[f32; LANES]) -> [__m256; 2] {
    let halves = lanes.as_chunks::<ROWS>().0;
    [load_eight(&halves[0]), load_eight(&halves[1])]
}

#[target_feature(enable = "avx2")]
fn low_rank(a: &[f32], width: usize, first: usize, b: &[f32], scale: f32) -> [f32; BLOCK] {
    scalar::low_rank(a, width, first, b, scale)
}

#[target_feature(enable = "avx2")]
fn matmul8_avx2(weights: &Packed<Block8>, x: &Activations, out: &mut [f32]) {
    matmul_loop!(weights, x, out, tile8_avx2);
}

#[target_feature(enable = "avx2")]
fn matmul4_avx2(weights: &Packed<Block4>, x: &Activations, out: &mut [f32]) {
    matmul_loop!(weights, x, out, tile4_avx2);
}

#[target_feature(enable = "avx2,avx512vnni,avx512vl")]
fn matmul8_vnni(weights: &Packed<Block8>, x: &Activations, out: &mut [f32]) {
    matmul_loop!(weights, x, out, tile8_vnni);
}

#[target_feature(enable = "avx2,avx512vnni,avx512vl")]
fn matmul4_vnni(weights: &Packed<Block4>, x: &Activations, out: &mut [f32]) {
    matmul_loop!(weights, x, out, tile4_vnni);
}

#[inline]
#[target_feature(enable = "avx2")]
fn load8(codes: &[i8; 32]) -> __m256i {
    // SAFETY: reads the 32 bytes of the array; the load has no alignment requirement.
    unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load4(codes: &[u8; 32]) -> __m256i {
    // SAFETY: reads the 32 bytes of the array; the load has no alignment requirement.
    unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_eight(values: &[f32; ROWS]) -> __m256 {
    // SAFETY: reads the 8 elements of the array; the load has no alignment requirement.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn to_array(sums: __m256) -> [f32; ROWS] {
    let mut array = [0.0; ROWS];
    // SAFETY: writes the 8 elements of the array; the store has no alignment requirement.
    unsafe { _mm256_storeu_ps(array.as_mut_ptr(), sums) };
    array
}

/// Four activations, repeated for each of the eight rows.
#[inline]
#[target_feature(enable = "avx2")]
fn repeat(quad: [i8; 4]) -> __m256i {
    _mm256_set1_epi32(i32::from_le_bytes(quad.map(|code| code as u8)))
}

/// `sums + (scale_w * scale_x) * dot`.
#[inline]
#[target_feature(enable = "avx2")]
fn accumulate(sums: __m256, scales: __m256, scale: f32, dot: __m256i) -> __m256 {
    let scales = _mm256_mul_ps(scales, _mm256_set1_ps(scale));
    _mm256_add_ps(sums, _mm256_mul_ps(scales, _mm256_cvtepi32_ps(dot)))
}

/// `maddubs` multiplies unsigned with signed bytes, so the weight's sign moves to the activation.
/// No pair saturates: 2 * 128 * 127 = 32,512.
#[inline]
#[target_feature(enable = "avx2")]
fn tile8_avx2<const T: usize>(blocks: &[Block8], x: &[[ActBlock; T]]) -> [[f32; ROWS]; T] {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_ps(); T];
    for (block, x) in blocks.iter().zip(x) {
        let mut dots = [_mm256_setzero_si256(); T];
        for quad in 0..QUADS {
            let weights = load8(&block.codes[quad]);
            let magnitudes = _mm256_abs_epi8(weights);
            for t in 0..T {
                let signed = _mm256_sign_epi8(repeat(x[t].codes[quad]), weights);
                let pairs = _mm256_maddubs_epi16(magnitudes, signed);
                dots[t] = _mm256_add_epi32(dots[t], _mm256_madd_epi16(pairs, ones));
            }
        }
        let scales = load_eight(&block.scales);
        for t in 0..T {
            sums[t] = accumulate(sums[t], scales, x[t].scale, dots[t]);
        }
    }
    sums.map(|sums| to_array(sums))
}

/// Codes are stored as `code + 8`, so eight times the sum of the activations is subtracted. All
/// eight quads fit 16 bits: 8 * 2 * 15 * 127 = 30,480.
#[inline]
#[target_feature(enable = "avx2")]
fn tile4_avx2<const T: usize>(blocks: &[Block4], x: &[[ActBlock; T]]) -> [[f32; ROWS]; T] {
    let ones = _mm256_set1_epi16(1);
    let nibble = _mm256_set1_epi8(15);
    let mut sums = [_mm256_setzero_ps(); T];
    for (block, x) in blocks.iter().zip(x) {
        let mut pairs = [_mm256_setzero_si256(); T];
        for line in 0..QUADS / 2 {
            let both = load4(&block.codes[line]);
            let low = _mm256_and_si256(both, nibble);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), nibble);
            for t in 0..T {
                let codes = &x[t].codes;
                let first = _mm256_maddubs_epi16(low, repeat(codes[line]));
                let second = _mm256_maddubs_epi16(high, repeat(codes[line + QUADS / 2]));
                pairs[t] = _mm256_add_epi16(pairs[t], _mm256_add_epi16(first, second));
            }
        }
        let scales = load_eight(&block.scales);
        for t in 0..T {
            let offset = _mm256_set1_epi32(8 * x[t].sum);
            let dot = _mm256_sub_epi32(_mm256_madd_epi16(pairs[t], ones), offset);
            sums[t] = accumulate(sums[t], scales, x[t].scale, dot);
        }
    }
    sums.map(|sums| to_array(sums))
}

/// `vpdpbusd` multiplies unsigned with signed bytes, so the weights are taken as `code + 128` and
/// 128 times the sum of the activations is subtracted.
#[inline]
#[target_feature(enable = "avx2,avx512vnni,avx512vl")]
fn tile8_vnni<const T: usize>(blocks: &[Block8], x: &[[ActBlock; T]]) -> [[f32; ROWS]; T] {
    let top_bit = _mm256_set1_epi8(-128);
    let mut sums = [_mm256_setzero_ps(); T];
    for (block, x) in blocks.iter().zip(x) {
        let mut dots: [__m256i; T] = std::array::from_fn(|t| _mm256_set1_epi32(-128 * x[t].sum));
        for quad in 0..QUADS {
            let weights = _mm256_xor_si256(load8(&block.codes[quad]), top_bit);
            for t in 0..T {
                let codes = repeat(x[t].codes[quad]);
                dots[t] = _mm256_dpbusd_epi32(dots[t], weights, codes);
            }
        }
        let scales = load_eight(&block.scales);
        for t in 0..T {
            sums[t] = accumulate(sums[t], scales, x[t].scale, dots[t]);
        }
    }
    sums.map(|sums| to_array(sums))
}

/// As [`tile8_vnni`]; the codes already are `code + 8`.
#[inline]
#[target_feature(enable = "avx2,avx512vnni,avx512vl")]
fn tile4_vnni<const T: usize>(blocks: &[Block4], x: &[[ActBlock; T]]) -> [[f32; ROWS]; T] {
    let nibble = _mm256_set1_epi8(15);
    let mut sums = [_mm256_setzero_ps(); T];
    for (block, x) in blocks.iter().zip(x) {
        let mut dots: [__m256i; T] = std::array::from_fn(|t| _mm256_set1_epi32(-8 * x[t].sum));
        for line in 0..QUADS / 2 {
            let both = load4(&block.codes[line]);
            let low = _mm256_and_si256(both, nibble);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), nibble);
            for t in 0..T {
                let codes = &x[t].codes;
                dots[t] = _mm256_dpbusd_epi32(dots[t], low, repeat(codes[line]));
                dots[t] = _mm256_dpbusd_epi32(dots[t], high, repeat(codes[line + QUADS / 2]));
            }
        }
        let scales = load_eight(&block.scales);
        for t in 0..T {
            sums[t] = accumulate(sums[t], scales, x[t].scale, dots[t]);
        }
    }
    sums.map(|sums| to_array(sums))
}
