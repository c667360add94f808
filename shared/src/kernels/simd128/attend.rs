//! Attention with more sums side by side than the scalar code has.
//!
//! Every position's score, and every dimension of the result, is a sum of its own in the scalar
//! code's order, so how many of them a loop carries changes no bit. Eight registers of sums hide
//! the latency of an addition; four, as the compiler makes of the scalar code, do not.

use std::arch::wasm32::*;

use crate::kernels::{LANES, PAGE, Past};
use crate::kernels::{exp, scalar};

/// Lanes of a register.
const WIDTH: usize = 4;
/// Registers of sums.
const WIDE: usize = 8;

/// As [`scalar::attend`].
pub(super) fn attend(query: &[f32], past: Past, scale: f32, scores: &mut [f32], out: &mut [f32]) {
    let pages = past.len.div_ceil(PAGE);
    assert!(past.len > 0 && pages <= past.pages.len(), "{} positions", past.len);
    assert!(query.len() == past.head_dim && out.len() == past.head_dim, "head width");
    let scores = &mut scores[..pages * PAGE];
    for (page, scores) in scores.as_chunks_mut::<PAGE>().0.iter_mut().enumerate() {
        let used = PAGE.min(past.len - page * PAGE);
        score_page(query, past.keys(page).as_chunks().0, used, scale, scores);
    }
    let scores = &mut scores[..past.len];
    weigh(scores, max(scores));
    let total = scalar::sum(scores);

    let mut first = 0;
    while out.len() - first >= WIDE * WIDTH {
        strip::<WIDE>(past, scores, total, first, out);
        first += WIDE * WIDTH;
    }
    while out.len() - first >= LANES {
        strip::<{ LANES / WIDTH }>(past, scores, total, first, out);
        first += LANES;
    }
    scalar::attend_rest(past, scores, total, first, out);
}

/// Scores of the `used` first positions of a page, and of some behind them.
#[inline(always)]
fn score_page(
    query: &[f32],
    keys: &[[f32; PAGE]],
    used: usize,
    scale: f32,
    scores: &mut [f32; PAGE],
) {
    let scale = f32x4_splat(scale);
    for first in (0..used).step_by(WIDE * WIDTH) {
        let mut sums = [f32x4_splat(0.0); WIDE];
        for (query, keys) in query.iter().zip(keys) {
            let query = f32x4_splat(*query);
            for (k, sum) in sums.iter_mut().enumerate() {
                *sum = f32x4_add(*sum, f32x4_mul(query, load(keys, first + k * WIDTH)));
            }
        }
        for (k, sum) in sums.into_iter().enumerate() {
            store(scores, first + k * WIDTH, f32x4_mul(sum, scale));
        }
    }
}

/// Dimensions `first .. first + 4 * N` of the result.
#[inline(always)]
fn strip<const N: usize>(past: Past, weights: &[f32], total: f32, first: usize, out: &mut [f32]) {
    let mut sums = [f32x4_splat(0.0); N];
    for (page, weights) in weights.chunks(PAGE).enumerate() {
        let values = past.values(page).chunks_exact(past.head_dim);
        for (weight, values) in weights.iter().zip(values) {
            let weight = f32x4_splat(*weight);
            let values = &values[first..first + N * WIDTH];
            for (k, sum) in sums.iter_mut().enumerate() {
                *sum = f32x4_add(*sum, f32x4_mul(weight, load(values, k * WIDTH)));
            }
        }
    }
    let out = &mut out[first..first + N * WIDTH];
    for (k, sum) in sums.into_iter().enumerate() {
        store(out, k * WIDTH, f32x4_div(sum, f32x4_splat(total)));
    }
}

/// The largest score; a NaN is passed over, as in the scalar code.
#[inline(always)]
fn max(scores: &[f32]) -> f32 {
    let mut lanes = f32x4_splat(f32::NEG_INFINITY);
    let (whole, rest) = scores.as_chunks::<WIDTH>();
    for scores in whole {
        lanes = f32x4_pmax(lanes, load(scores, 0));
    }
    let mut last = [0.0; WIDTH];
    store(&mut last, 0, lanes);
    last.iter().chain(rest).fold(f32::NEG_INFINITY, |max, &x| if x > max { x } else { max })
}

/// Replaces scores by `exp(score - max)`.
#[inline(always)]
fn weigh(scores: &mut [f32], max: f32) {
    let (whole, rest) = scores.as_chunks_mut::<WIDTH>();
    for scores in whole {
        let x = f32x4_sub(load(scores, 0), f32x4_splat(max));
        store(scores, 0, exp4(x));
    }
    for score in rest {
        *score = exp(*score - max);
    }
}

/// [`exp`] of four lanes, operation for operation.
#[inline(always)]
fn exp4(x: v128) -> v128 {
    let (lowest, highest) = (f32x4_splat(-87.0), f32x4_splat(88.0));
    let shift = f32x4_splat(12_582_912.0);
    let clamped = f32x4_pmin(f32x4_pmax(x, lowest), highest);
    let shifted = f32x4_add(f32x4_mul(clamped, f32x4_splat(std::f32::consts::LOG2_E)), shift);
    let n = f32x4_sub(shifted, shift);
    let r = f32x4_sub(clamped, f32x4_mul(n, f32x4_splat(0.693_359_4)));
    let r = f32x4_sub(r, f32x4_mul(n, f32x4_splat(-2.121_944_4e-4)));
    let mut p = f32x4_splat(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_66, 0.5] {
        p = f32x4_add(f32x4_mul(p, r), f32x4_splat(c));
    }
    let p = f32x4_add(f32x4_add(f32x4_mul(p, f32x4_mul(r, r)), r), f32x4_splat(1.0));
    let power = i32x4_add(i32x4_shl(shifted, 23), i32x4_splat(0x3f80_0000));
    let within = v128_andnot(f32x4_mul(p, power), f32x4_lt(x, lowest));
    v128_bitselect(f32x4_splat(f32::INFINITY), within, f32x4_gt(x, highest))
}

#[inline(always)]
fn load(values: &[f32], first: usize) -> v128 {
    let values: &[f32; WIDTH] = values[first..].first_chunk().expect("four values");
    // SAFETY: reads the 16 bytes of the array; loads need no alignment.
    unsafe { v128_load(values.as_ptr().cast()) }
}

#[inline(always)]
fn store(values: &mut [f32], first: usize, value: v128) {
    let values: &mut [f32; WIDTH] = values[first..].first_chunk_mut().expect("four values");
    // SAFETY: writes the 16 bytes of the array; stores need no alignment.
    unsafe { v128_store(values.as_mut_ptr().cast(), value) };
}
