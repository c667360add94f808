//! Fused row-wise operations of the Llama block, forward and backward, on slices.
//!
//! Each public function runs its body through [`pulp`]'s run-time dispatch, so that
//! the compiler vectorises it for the widest registers of the machine at hand.

use pulp::{Arch, Simd, WithSimd};

/// Partial sums kept in a reduction, so that it vectorises.
const LANES: usize = 16;

/// Defines a function whose body is compiled for several instruction sets, the best of which is
/// chosen at run time. Written as [`WithSimd`] and not as a closure: a closure's body may end up
/// outside the function that has the instruction set enabled, and run many times slower.
macro_rules! vectorised {
    ($(#[$meta:meta])* pub fn $name:ident<$life:lifetime>($($arg:ident: $ty:ty),+ $(,)?) -> $output:ty $body:block) => {
        $(#[$meta])*
        pub fn $name<$life>($($arg: $ty),+) -> $output {
            struct Operation<$life>(($($ty,)+));
            impl<$life> WithSimd for Operation<$life> {
                type Output = $output;

                #[inline(always)]
                fn with_simd<S: Simd>(self, _: S) -> Self::Output {
                    let ($($arg,)+) = self.0;
                    $body
                }
            }
            Arch::new().dispatch(Operation(($($arg,)+)))
        }
    };
}

/// `sum(a * b)`, in [`LANES`] strided partial sums.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut acc = [0f32; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            acc[lane] = x[lane].mul_add(y[lane], acc[lane]);
        }
    }
    let tail: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    fold(acc) + tail
}

/// `sum(values)`, in [`LANES`] strided partial sums.
#[inline(always)]
pub(super) fn sum(values: &[f32]) -> f32 {
    let mut acc = [0f32; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            acc[lane] += chunk[lane];
        }
    }
    fold(acc) + rest.iter().sum::<f32>()
}

/// Sum of the lanes, halving their number each time.
#[inline(always)]
fn fold(mut acc: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            acc[lane] += acc[lane + half];
        }
        half /= 2;
    }
    acc[0]
}

/// `e^x` by a degree-6 polynomial on the reduced argument, relative error below 2e-7;
/// vectorises, unlike the platform's.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    const LN_2_HI: f32 = 0.693_359_4;
    const LN_2_LO: f32 = -2.121_944_4e-4;
    // Adding and taking away 1.5 * 2^23 rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let n = (x * LOG2_E + ROUND) - ROUND;
    let r = n.mul_add(-LN_2_LO, n.mul_add(-LN_2_HI, x));
    let mut p = 1.987_569_1e-4f32;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1] {
        p = p.mul_add(r, c);
    }
    let p = (p * r).mul_add(r, r) + 1.0;
    f32::from_bits(((n as i32 + 127) << 23) as u32) * p
}

vectorised! {
    /// RMSNorm (Zhang and Sennrich, 2019): `y = x / rms(x) * gain`, row by row.
    /// `x`, `y`: `[rows, gain.len()]`; `inv_rms`: `[rows]`, kept for the backward pass.
    pub fn rms_norm<'a>(x: &'a [f32], gain: &'a [f32], eps: f32, y: &'a mut [f32], inv_rms: &'a mut [f32]) -> () {
        let width = gain.len();
        for ((x, y), inv) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(inv_rms) {
            *inv = 1.0 / (dot(x, x) / width as f32 + eps).sqrt();
            for i in 0..width {
                y[i] = x[i] * *inv * gain[i];
            }
        }
    }
}

vectorised! {
    /// Gradients of [`rms_norm`]: overwrites `dx`, adds to `dgain` when there is one.
    pub fn rms_norm_backward<'a>(
        dy: &'a [f32],
        x: &'a [f32],
        gain: &'a [f32],
        inv_rms: &'a [f32],
        dx: &'a mut [f32],
        dgain: Option<&'a mut [f32]>,
    ) -> () {
        let mut dgain = dgain;
        let width = gain.len();
        let rows = dy
            .chunks_exact(width)
            .zip(x.chunks_exact(width))
            .zip(dx.chunks_exact_mut(width))
            .zip(inv_rms);
        for (((dy, x), dx), &inv) in rows {
            let mut acc = [0f32; LANES];
            for ((dy, x), gain) in dy.chunks(LANES).zip(x.chunks(LANES)).zip(gain.chunks(LANES))
            {
                for i in 0..dy.len() {
                    acc[i] += dy[i] * x[i] * gain[i];
                }
            }
            let mean = fold(acc) * inv * inv / width as f32;
            for i in 0..width {
                dx[i] = inv * (dy[i] * gain[i] - x[i] * mean);
            }
            if let Some(dgain) = dgain.as_deref_mut() {
                for i in 0..width {
                    dgain[i] += dy[i] * x[i] * inv;
                }
            }
        }
    }
}

vectorised! {
    /// SwiGLU (Shazeer, 2020): `y = silu(gate) * up`, element by element.
    pub fn swiglu<'a>(gate: &'a [f32], up: &'a [f32], y: &'a mut [f32]) -> () {
        for ((g, u), y) in gate.iter().zip(up).zip(y) {
            *y = g / (1.0 + exp(-g)) * u;
        }
    }
}

vectorised! {
    /// Gradients of [`swiglu`].
    pub fn swiglu_backward<'a>(dy: &'a [f32], gate: &'a [f32], up: &'a [f32], dgate: &'a mut [f32], dup: &'a mut [f32]) -> () {
        for ((((dy, g), u), dgate), dup) in dy.iter().zip(gate).zip(up).zip(dgate).zip(dup) {
            let sigmoid = 1.0 / (1.0 + exp(-g));
            *dgate = dy * u * sigmoid * (1.0 + g * (1.0 - sigmoid));
            *dup = dy * g * sigmoid;
        }
    }
}

vectorised! {
    /// Cross-entropy of `logits` `[targets.len(), vocab]`, weighted row by row.
    ///
    /// Overwrites `logits` with the gradient of `sum(weight * loss)` and returns, per row,
    /// the unweighted loss and whether the target was the most likely token.
    pub fn cross_entropy<'a>(logits: &'a mut [f32], targets: &'a [u32], weights: &'a [f32]) -> Vec<(f32, bool)> {
        let vocab = logits.len() / targets.len().max(1);
        let mut losses = Vec::with_capacity(targets.len());
        for ((row, &target), &weight) in
            logits.chunks_exact_mut(vocab).zip(targets).zip(weights)
        {
            let target_logit = row[target as usize];
            let mut max = [f32::NEG_INFINITY; LANES];
            for chunk in row.chunks(LANES) {
                for i in 0..chunk.len() {
                    max[i] = if chunk[i] > max[i] { chunk[i] } else { max[i] };
                }
            }
            let max = max.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut sum = [0f32; LANES];
            for chunk in row.chunks_mut(LANES) {
                for i in 0..chunk.len() {
                    chunk[i] = exp(chunk[i] - max);
                    sum[i] += chunk[i];
                }
            }
            let sum = fold(sum);
            let scale = weight / sum;
            for value in row.iter_mut() {
                *value *= scale;
            }
            row[target as usize] -= weight;
            losses.push((sum.ln() + max - target_logit, target_logit >= max));
        }
        losses
    }
}

/// Rotary position embedding (Su et al., 2021) in the rotate-half layout, in place.
///
/// `x`: `[positions.len(), heads * head_dim]`; `table`: see [`rope_table`]. With
/// `inverse` the rotation is undone, which is also its gradient.
pub fn rope(
    x: &mut [f32],
    positions: &[u32],
    table: &[(f32, f32)],
    head_dim: usize,
    inverse: bool,
) {
    let half = head_dim / 2;
    let width = x.len() / positions.len().max(1);
    let sign = if inverse { -1.0 } else { 1.0 };
    for (row, &position) in x.chunks_exact_mut(width).zip(positions) {
        let angles = &table[position as usize * half..][..half];
        for head in row.chunks_exact_mut(head_dim) {
            let (first, second) = head.split_at_mut(half);
            for i in 0..half {
                let (cos, sin) = (angles[i].0, angles[i].1 * sign);
                let (a, b) = (first[i], second[i]);
                first[i] = a * cos - b * sin;
                second[i] = b * cos + a * sin;
            }
        }
    }
}

/// `(cos, sin)` of every position and frequency: `[positions, head_dim / 2]`.
pub fn rope_table(positions: usize, head_dim: usize, theta: f32) -> Vec<(f32, f32)> {
    let half = head_dim / 2;
    let mut table = Vec::with_capacity(positions * half);
    for position in 0..positions {
        for i in 0..half {
            let frequency = f64::from(theta).powf(-2.0 * i as f64 / head_dim as f64);
            let angle = position as f64 * frequency;
            table.push((angle.cos() as f32, angle.sin() as f32));
        }
    }
    table
}
