//! Softmax attention, of several queries over one key/value head.

use super::{LANES, PAGE, Past, TILE, scalar::softmax_weights};

/// Weighted sums of rows: what attention does with keys and with values.
pub(super) trait WeightedSums {
    /// `sums[q] += factors[q][i] * rows[i][first..first + LANES]`, for every `q` in ascending order
    /// of `i`. `factors` are as many as there are `rows`, which are `stride` long.
    fn add<const T: usize>(
        &self,
        factors: [&[f32]; T],
        rows: &[f32],
        stride: usize,
        first: usize,
        sums: &mut [[f32; LANES]; T],
    );
}

/// [`super::Kernels::attend`]. Lanes are positions in the scores, which sum over the head's
/// dimensions in ascending order, and dimensions in the output, which sums over positions in
/// ascending order.
#[inline(always)]
pub(super) fn attend(
    sums: &impl WeightedSums,
    queries: &[f32],
    past: Past,
    scale: f32,
    scores: &mut [f32],
    out: &mut [f32],
) {
    let width = past.head_dim;
    assert!(past.len > 0 && past.len.div_ceil(PAGE) <= past.pages.len(), "{} positions", past.len);
    assert!(queries.len() == out.len() && queries.len().is_multiple_of(width), "head width");
    for (queries, out) in queries.chunks(TILE * width).zip(out.chunks_mut(TILE * width)) {
        match queries.len() / width {
            1 => tile::<1>(sums, queries, past, scale, scores, out),
            2 => tile::<2>(sums, queries, past, scale, scores, out),
            3 => tile::<3>(sums, queries, past, scale, scores, out),
            _ => tile::<TILE>(sums, queries, past, scale, scores, out),
        }
    }
}

#[inline(always)]
fn tile<const T: usize>(
    kernel: &impl WeightedSums,
    queries: &[f32],
    past: Past,
    scale: f32,
    scores: &mut [f32],
    out: &mut [f32],
) {
    let width = past.head_dim;
    let pages = past.len.div_ceil(PAGE);
    let used = |page: usize| page * PAGE..past.len.min((page + 1) * PAGE);
    let stride = pages * PAGE;
    let scores = &mut scores[..T * stride];
    let queries: [&[f32]; T] = std::array::from_fn(|q| &queries[q * width..][..width]);
    for page in 0..pages {
        for first in used(page).step_by(LANES) {
            let mut sums = [[0.0; LANES]; T];
            kernel.add(queries, past.keys(page), PAGE, first % PAGE, &mut sums);
            for (q, sums) in sums.iter().enumerate() {
                for (score, sum) in scores[q * stride + first..][..LANES].iter_mut().zip(sums) {
                    *score = sum * scale;
                }
            }
        }
    }
    let mut totals = [0.0; T];
    for (total, scores) in totals.iter_mut().zip(scores.chunks_exact_mut(stride)) {
        *total = softmax_weights(&mut scores[..past.len]);
    }

    let weights = |q: usize, page: usize| &scores[q * stride..][used(page)];
    let whole = width - width % LANES;
    for first in (0..whole).step_by(LANES) {
        let mut sums = [[0.0; LANES]; T];
        for page in 0..pages {
            let weights: [&[f32]; T] = std::array::from_fn(|q| weights(q, page));
            let values = &past.values(page)[..weights[0].len() * width];
            kernel.add(weights, values, width, first, &mut sums);
        }
        for (q, sums) in sums.iter().enumerate() {
            for (out, sum) in out[q * width + first..][..LANES].iter_mut().zip(sums) {
                *out = sum / totals[q];
            }
        }
    }
    for (q, total) in totals.iter().enumerate() {
        for d in whole..width {
            let mut sum = 0.0;
            for page in 0..pages {
                let values = past.values(page).chunks_exact(width);
                for (weight, values) in weights(q, page).iter().zip(values) {
                    sum += weight * values[d];
                }
            }
            out[q * width + d] = sum / total;
        }
    }
}
