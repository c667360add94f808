//! Causal grouped-query attention over packed segments that share one prefix.
//!
//! The rows of a batch are the shared prefix (the rendered system prompt), then
//! independent segments. A row attends to the prefix and to its own segment's
//! earlier rows, so that nothing is padded and the prefix is computed once.
//! The backward pass recomputes the probabilities from the kept log-sum-exp
//! (Dao et al., FlashAttention, 2022).

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::elementwise::{dot, exp, sum};

/// Head counts and width of an attention layer.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key/value heads; divides the query heads.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
}

impl Heads {
    fn q_width(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    fn kv_width(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }
}

/// Which rows see which: the prefix is rows `0..prefix`, `segments` follow it.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// Rows of the shared prefix; causal within itself.
    pub prefix: usize,
    /// Row ranges of the segments, in order, the first starting at `prefix`.
    pub segments: Vec<Range<usize>>,
}

impl Layout {
    /// For the prefix and for every segment: the rows that its rows may see, in order, and its own.
    fn views(&self) -> impl Iterator<Item = (Vec<usize>, Range<usize>)> + '_ {
        let prefix = (self.prefix > 0).then(|| ((0..self.prefix).collect(), 0..self.prefix));
        let segments = self
            .segments
            .iter()
            .map(|own| ((0..self.prefix).chain(own.clone()).collect(), own.clone()));
        prefix.into_iter().chain(segments)
    }

    fn longest(&self) -> usize {
        self.prefix + self.segments.iter().map(ExactSizeIterator::len).max().unwrap_or(0)
    }
}

/// Forward pass. `q`: `[rows, heads * head_dim]`, `k`, `v`: `[rows, kv_heads * head_dim]`,
/// rotated already. Writes `out` like `q` and the log-sum-exp `lse`: `[rows, heads]`.
pub fn attention(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    heads: Heads,
    layout: &Layout,
    out: &mut [f32],
    lse: &mut [f32],
) {
    let (arch, width) = (Arch::new(), heads.head_dim);
    match width {
        32 => arch.dispatch(Forward::<32> { q, k, v, heads, layout, out, lse }),
        64 => arch.dispatch(Forward::<64> { q, k, v, heads, layout, out, lse }),
        _ => arch.dispatch(Forward::<0> { q, k, v, heads, layout, out, lse }),
    }
}

/// Backward pass of [`attention`]: overwrites `dq`, adds to `dk` and `dv`.
pub fn attention_backward(
    dout: &[f32],
    saved: Saved<'_>,
    heads: Heads,
    layout: &Layout,
    dq: &mut [f32],
    dk: &mut [f32],
    dv: &mut [f32],
) {
    let (arch, width) = (Arch::new(), heads.head_dim);
    match width {
        32 => arch.dispatch(Backward::<32> { dout, saved, heads, layout, dq, dk, dv }),
        64 => arch.dispatch(Backward::<64> { dout, saved, heads, layout, dq, dk, dv }),
        _ => arch.dispatch(Backward::<0> { dout, saved, heads, layout, dq, dk, dv }),
    }
}

/// What the forward pass leaves for the backward pass.
#[derive(Clone, Copy)]
pub struct Saved<'a> {
    /// Rotated queries.
    pub q: &'a [f32],
    /// Rotated keys.
    pub k: &'a [f32],
    /// Values.
    pub v: &'a [f32],
    /// Output of the forward pass.
    pub out: &'a [f32],
    /// Log-sum-exp of the scaled scores.
    pub lse: &'a [f32],
}

/// A head width known to the compiler (`HD` > 0) unrolls and vectorises.
#[inline(always)]
fn width<const HD: usize>(heads: Heads) -> usize {
    if HD > 0 { HD } else { heads.head_dim }
}

/// One key/value head of what a segment sees: the prefix's rows, then its own. A row attends
/// to the first so many of them, which makes every inner loop run over contiguous memory.
#[derive(Default)]
struct View {
    /// Keys (or values), `[rows, head_dim]`.
    rows: Vec<f32>,
    /// The same, transposed: scores of many keys are summed side by side.
    columns: Vec<f32>,
}

impl View {
    #[inline(always)]
    fn fill(&mut self, source: &[f32], stride: usize, offset: usize, hd: usize, seen: &[usize]) {
        self.rows.clear();
        for &row in seen {
            self.rows.extend_from_slice(&source[row * stride + offset..][..hd]);
        }
        self.columns.clear();
        self.columns.resize(seen.len() * hd, 0.0);
        for (i, row) in self.rows.chunks_exact(hd).enumerate() {
            for (j, &value) in row.iter().enumerate() {
                self.columns[j * seen.len() + i] = value;
            }
        }
    }

    /// `scores[i] = vector . row i`, for the first `scores.len()` rows.
    #[inline(always)]
    fn dots(&self, vector: &[f32], scores: &mut [f32]) {
        let (count, total) = (scores.len(), self.columns.len() / vector.len());
        let column = |i: usize| &self.columns[i * total..][..count];
        scores.fill(0.0);
        let (quads, rest) = vector.as_chunks::<4>();
        // Four columns at a time: the scores are loaded and stored a quarter as often.
        for (i, x) in quads.iter().enumerate() {
            let [c0, c1, c2, c3] = [0, 1, 2, 3].map(|k| column(4 * i + k));
            for j in 0..count {
                let sum = x[0].mul_add(c0[j], scores[j]);
                let sum = x[1].mul_add(c1[j], sum);
                let sum = x[2].mul_add(c2[j], sum);
                scores[j] = x[3].mul_add(c3[j], sum);
            }
        }
        for (i, &x) in rest.iter().enumerate() {
            let c = column(4 * quads.len() + i);
            for j in 0..count {
                scores[j] = x.mul_add(c[j], scores[j]);
            }
        }
    }

    /// `sum = sum of weights[i] * row i`.
    #[inline(always)]
    fn weighted_sum<const HD: usize>(&self, weights: &[f32], sum: &mut [f32]) {
        if HD > 0 {
            let rows = &self.rows.as_chunks::<HD>().0[..weights.len()];
            let (row_pairs, row_rest) = rows.as_chunks::<2>();
            let (weight_pairs, weight_rest) = weights.as_chunks::<2>();
            // Two chains of additions, since one would wait for itself.
            let (mut even, mut odd) = ([0f32; HD], [0f32; HD]);
            for (row, weight) in row_pairs.iter().zip(weight_pairs) {
                for i in 0..HD {
                    even[i] = weight[0].mul_add(row[0][i], even[i]);
                    odd[i] = weight[1].mul_add(row[1][i], odd[i]);
                }
            }
            for (row, &weight) in row_rest.iter().zip(weight_rest) {
                for i in 0..HD {
                    even[i] = weight.mul_add(row[i], even[i]);
                }
            }
            for i in 0..HD {
                sum[i] = even[i] + odd[i];
            }
        } else {
            sum.fill(0.0);
            for (row, &weight) in self.rows.chunks_exact(sum.len()).zip(weights) {
                sum.iter_mut().zip(row).for_each(|(s, r)| *s = weight.mul_add(*r, *s));
            }
        }
    }
}

/// `gradient row i += sum over heads of weights[head][i] * vectors[head]`.
///
/// `weights`: `[heads, stride]`, the first `count` of each row used; `vectors`: `[heads, head_dim]`.
#[inline(always)]
fn add_outer<const HD: usize>(
    gradient: &mut [f32],
    (weights, stride, count): (&[f32], usize, usize),
    vectors: &[f32],
    hd: usize,
) {
    if HD > 0 {
        let vectors = vectors.as_chunks::<HD>().0;
        for (j, row) in gradient.as_chunks_mut::<HD>().0[..count].iter_mut().enumerate() {
            let mut sum = *row;
            for (head, vector) in vectors.iter().enumerate() {
                let weight = weights[head * stride + j];
                for i in 0..HD {
                    sum[i] = weight.mul_add(vector[i], sum[i]);
                }
            }
            *row = sum;
        }
    } else {
        for (j, row) in gradient.chunks_exact_mut(hd).take(count).enumerate() {
            for (head, vector) in vectors.chunks_exact(hd).enumerate() {
                let weight = weights[head * stride + j];
                row.iter_mut().zip(vector).for_each(|(r, v)| *r = weight.mul_add(*v, *r));
            }
        }
    }
}

struct Forward<'a, const HD: usize> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    heads: Heads,
    layout: &'a Layout,
    out: &'a mut [f32],
    lse: &'a mut [f32],
}

impl<const HD: usize> WithSimd for Forward<'_, HD> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { q, k, v, heads, layout, out, lse } = self;
        let hd = width::<HD>(heads);
        let (qw, kw) = (heads.q_width(), heads.kv_width());
        let group = heads.num_attention_heads / heads.num_key_value_heads;
        let scale = heads.scale();
        let (mut keys, mut values) = (View::default(), View::default());
        let mut probs = vec![0f32; layout.longest()];
        for (seen, own) in layout.views() {
            for kv in 0..heads.num_key_value_heads {
                keys.fill(k, kw, kv * hd, hd, &seen);
                values.fill(v, kw, kv * hd, hd, &seen);
                for (index, row) in own.clone().enumerate() {
                    let probs = &mut probs[..seen.len() - own.len() + index + 1];
                    for head in kv * group..(kv + 1) * group {
                        keys.dots(&q[row * qw + head * hd..][..hd], probs);
                        let mut max = f32::NEG_INFINITY;
                        for p in probs.iter_mut() {
                            *p *= scale;
                            max = if *p > max { *p } else { max };
                        }
                        for p in probs.iter_mut() {
                            *p = exp(*p - max);
                        }
                        let total = sum(probs);
                        let inverse = 1.0 / total;
                        probs.iter_mut().for_each(|p| *p *= inverse);
                        values.weighted_sum::<HD>(probs, &mut out[row * qw + head * hd..][..hd]);
                        lse[row * heads.num_attention_heads + head] = max + total.ln();
                    }
                }
            }
        }
    }
}

struct Backward<'a, const HD: usize> {
    dout: &'a [f32],
    saved: Saved<'a>,
    heads: Heads,
    layout: &'a Layout,
    dq: &'a mut [f32],
    dk: &'a mut [f32],
    dv: &'a mut [f32],
}

impl<const HD: usize> WithSimd for Backward<'_, HD> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { dout, saved, heads, layout, dq, dk, dv } = self;
        let hd = width::<HD>(heads);
        let (qw, kw) = (heads.q_width(), heads.kv_width());
        let group = heads.num_attention_heads / heads.num_key_value_heads;
        let scale = heads.scale();
        let Saved { q, k, v, out, lse } = saved;
        let (mut keys, mut values) = (View::default(), View::default());
        let stride = layout.longest();
        let mut probs = vec![0f32; group * stride];
        let mut dprobs = vec![0f32; group * stride];
        let (mut dkeys, mut dvalues) = (Vec::new(), Vec::new());
        for (seen, own) in layout.views() {
            for kv in 0..heads.num_key_value_heads {
                keys.fill(k, kw, kv * hd, hd, &seen);
                values.fill(v, kw, kv * hd, hd, &seen);
                for gradient in [&mut dkeys, &mut dvalues] {
                    gradient.clear();
                    gradient.resize(seen.len() * hd, 0f32);
                }
                for (index, row) in own.clone().enumerate() {
                    let count = seen.len() - own.len() + index + 1;
                    let first = row * qw + kv * group * hd;
                    for head in 0..group {
                        let at = first + head * hd;
                        let probs = &mut probs[head * stride..][..count];
                        let dprobs = &mut dprobs[head * stride..][..count];
                        let grad = &dout[at..][..hd];
                        let delta = dot(grad, &out[at..][..hd]);
                        let lse = lse[row * heads.num_attention_heads + kv * group + head];
                        keys.dots(&q[at..][..hd], probs);
                        values.dots(grad, dprobs);
                        for (p, dp) in probs.iter_mut().zip(dprobs.iter_mut()) {
                            *p = exp(*p * scale - lse);
                            *dp = *p * (*dp - delta) * scale;
                        }
                        keys.weighted_sum::<HD>(dprobs, &mut dq[at..][..hd]);
                    }
                    let (queries, douts) =
                        (&q[first..][..group * hd], &dout[first..][..group * hd]);
                    add_outer::<HD>(&mut dkeys, (&dprobs, stride, count), queries, hd);
                    add_outer::<HD>(&mut dvalues, (&probs, stride, count), douts, hd);
                }
                for (target, gradient) in [(&mut *dk, &dkeys), (&mut *dv, &dvalues)] {
                    for (&row, gradient) in seen.iter().zip(gradient.chunks_exact(hd)) {
                        let target = &mut target[row * kw + kv * hd..][..hd];
                        target.iter_mut().zip(gradient).for_each(|(t, g)| *t += g);
                    }
                }
            }
        }
    }
}
