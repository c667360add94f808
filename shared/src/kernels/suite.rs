//! The tests that every implementation has to pass: against a naive oracle, and bit for bit
//! against the specification.

use std::convert::Infallible;

use super::scalar::Scalar;
use super::{ActBlock, Activations, Kernels, LANES, PAGE, Past, TILE};
use crate::quant::packed::{Block4, Block8, Packed, PackedBlock, QUAD};
use crate::quant::{BLOCK, RowBlock};
use crate::rng::Rng;

/// One test module for an implementation. Where the machine cannot run it, that is said.
macro_rules! expand {
    ($name:ident, $detect:expr) => {
        mod $name {
            use crate::kernels::{Kernels, suite};
            #[cfg(target_arch = "wasm32")]
            use wasm_bindgen_test::wasm_bindgen_test as test;

            fn kernels() -> Option<&'static dyn Kernels> {
                #[allow(unused_imports)]
                use crate::kernels::*;
                let found: Option<&'static dyn Kernels> = $detect;
                if found.is_none() {
                    eprintln!("{}: not tested, this machine cannot run it", stringify!($name));
                }
                found
            }

            #[test]
            fn is_registered_under_its_name() {
                if let Some(kernels) = kernels() {
                    assert_eq!(kernels.name(), stringify!($name));
                }
            }

            #[test]
            fn matmul8_equals_naive() {
                kernels().map(suite::matmul8_equals_naive);
            }

            #[test]
            fn matmul4_equals_naive() {
                kernels().map(suite::matmul4_equals_naive);
            }

            #[test]
            fn matmul_takes_extreme_codes() {
                kernels().map(suite::matmul_takes_extreme_codes);
            }

            #[test]
            fn quantize_equals_specification() {
                kernels().map(suite::quantize_equals_specification);
            }

            #[test]
            fn rms_norm_equals_specification() {
                kernels().map(suite::rms_norm_equals_specification);
            }

            #[test]
            fn swiglu_equals_specification() {
                kernels().map(suite::swiglu_equals_specification);
            }

            #[test]
            fn attend_equals_specification() {
                kernels().map(suite::attend_equals_specification);
            }

            #[test]
            fn low_rank_equals_specification() {
                kernels().map(suite::low_rank_equals_specification);
            }
        }
    };
}
pub(super) use expand;

/// An independent triple loop over logical blocks, in the order that the contract prescribes.
fn naive_matmul(weights: &[Vec<RowBlock>], x: &[Vec<ActBlock>]) -> Vec<f32> {
    let mut out = Vec::new();
    for x in x {
        for row in weights {
            let mut sum = 0.0_f32;
            for (w, x) in row.iter().zip(x) {
                let dot: i64 = (0..BLOCK)
                    .map(|k| i64::from(w.codes[k]) * i64::from(x.codes[k / QUAD][k % QUAD]))
                    .sum();
                sum += (w.scale * x.scale) * dot as f32;
            }
            out.push(sum);
        }
    }
    out
}

fn pack<B: PackedBlock>(weights: &[Vec<RowBlock>], blocks: usize) -> Packed<B> {
    Packed::try_new(weights.len(), blocks, |row, index| Ok::<_, Infallible>(weights[row][index]))
        .unwrap()
}

fn activations(x: &[Vec<ActBlock>], per_token: usize) -> Activations {
    let tile = |tokens: &[Vec<ActBlock>]| -> Vec<ActBlock> {
        (0..per_token).flat_map(|index| tokens.iter().map(move |token| token[index])).collect()
    };
    Activations::from_blocks(x.chunks(TILE).flat_map(tile).collect(), per_token)
}

fn act_block(scale: f32, code: impl Fn(usize) -> i8) -> ActBlock {
    ActBlock::new(&std::array::from_fn(code), scale)
}

/// Uniform in `-1..1`.
fn noise(rng: &mut Rng) -> f32 {
    (rng.uniform() * 2.0 - 1.0) as f32
}

fn code(rng: &mut Rng, min: i32, max: i32) -> i8 {
    (min + (rng.next_u64() % (max - min + 1) as u64) as i32) as i8
}

fn random_weights(
    rng: &mut Rng,
    rows: usize,
    blocks: usize,
    min: i32,
    max: i32,
) -> Vec<Vec<RowBlock>> {
    let block = |rng: &mut Rng| RowBlock {
        scale: noise(rng) * 0.01,
        codes: std::array::from_fn(|_| code(rng, min, max)),
    };
    (0..rows).map(|_| (0..blocks).map(|_| block(rng)).collect()).collect()
}

fn random_activations(rng: &mut Rng, tokens: usize, blocks: usize) -> Vec<Vec<ActBlock>> {
    let block = |rng: &mut Rng| {
        let codes: [i8; BLOCK] = std::array::from_fn(|_| code(rng, -127, 127));
        act_block(noise(rng).abs(), |k| codes[k])
    };
    (0..tokens).map(|_| (0..blocks).map(|_| block(rng)).collect()).collect()
}

fn assert_same_bits(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.to_bits(), expected.to_bits(), "{what}, {index}: {found} {expected}");
    }
}

fn assert_close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    for (found, expected) in found.iter().zip(expected) {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= tolerance * scale, "{what}: {found}, exactly {expected}");
    }
}

fn matmul<B: PackedBlock>(
    run: impl Fn(&Packed<B>, &Activations, &mut [f32]),
    weights: &[Vec<RowBlock>],
    x: &[Vec<ActBlock>],
    blocks: usize,
) {
    let mut out = vec![f32::NAN; weights.len() * x.len()];
    run(&pack(weights, blocks), &activations(x, blocks), &mut out);
    let what = format!("{} rows, {blocks} blocks, {} tokens", weights.len(), x.len());
    assert_same_bits(&out, &naive_matmul(weights, x), &what);
}

/// Whole groups and tails of rows, every tile of tokens and more, none of either.
fn shapes() -> impl Iterator<Item = (usize, usize, usize)> {
    [0, 1, 7, 8, 9, 31].into_iter().flat_map(|rows| {
        [1, 2, 5]
            .into_iter()
            .flat_map(move |blocks| (0..=2 * TILE + 1).map(move |tokens| (rows, blocks, tokens)))
    })
}

pub fn matmul8_equals_naive(kernels: &dyn Kernels) {
    let mut rng = Rng::new(1);
    for (rows, blocks, tokens) in shapes() {
        let weights = random_weights(&mut rng, rows, blocks, -128, 127);
        let x = random_activations(&mut rng, tokens, blocks);
        matmul::<Block8>(|w, x, out| kernels.matmul8(w, x, out), &weights, &x, blocks);
    }
}

pub fn matmul4_equals_naive(kernels: &dyn Kernels) {
    let mut rng = Rng::new(2);
    for (rows, blocks, tokens) in shapes() {
        let weights = random_weights(&mut rng, rows, blocks, -8, 7);
        let x = random_activations(&mut rng, tokens, blocks);
        matmul::<Block4>(|w, x, out| kernels.matmul4(w, x, out), &weights, &x, blocks);
    }
}

/// Codes at both ends, alone and mixed, where a saturating or narrow sum would show, under
/// scales from subnormal to overflowing.
pub fn matmul_takes_extreme_codes(kernels: &dyn Kernels) {
    fn sign(k: usize, pattern: u32) -> bool {
        pattern >> (k % 8) & 1 == 1
    }
    for pattern in [0x00, 0xff, 0x55, 0x0f, 0x1c] {
        for other in [0x00, 0xff, 0x33, 0xaa] {
            for scale in [1.0, 1e-40, 3e38, 0.0] {
                let weights = |min: i8, max: i8| {
                    let codes = std::array::from_fn(|k| if sign(k, pattern) { min } else { max });
                    vec![vec![RowBlock { scale, codes }; 3]; 9]
                };
                let x = act_block(1.0, |k| if sign(k, other) { -127 } else { 127 });
                let x = vec![vec![x; 3]; TILE + 1];
                matmul::<Block8>(
                    |w, x, out| kernels.matmul8(w, x, out),
                    &weights(-128, 127),
                    &x,
                    3,
                );
                matmul::<Block4>(|w, x, out| kernels.matmul4(w, x, out), &weights(-8, 7), &x, 3);
            }
        }
    }
}

pub fn quantize_equals_specification(kernels: &dyn Kernels) {
    let mut rng = Rng::new(3);
    for (tokens, blocks) in [(0, 1), (1, 1), (1, 7), (2, 3), (TILE, 2)] {
        for magnitude in [0.0, 1e-38, 1e-31, 1e-3, 1.0, 1e38] {
            let width = blocks * BLOCK;
            let mut values: Vec<f32> =
                (0..tokens * width).map(|_| noise(&mut rng) * magnitude).collect();
            if let Some(first) = values.first_mut() {
                *first = -0.0;
            }
            let mut out = vec![act_block(f32::NAN, |_| 99); tokens * blocks];
            #[cfg(target_arch = "wasm32")]
            out.iter_mut().for_each(|block| block.start = 7);
            kernels.quantize(&values, width, &mut out);
            for (at, values) in values.as_chunks::<BLOCK>().0.iter().enumerate() {
                let out = &out[at % blocks * tokens + at / blocks];
                let expected = RowBlock::quantize(values);
                assert_eq!(out.scale.to_bits(), expected.scale.to_bits());
                let codes: Vec<i64> = out.codes.concat().into_iter().map(i64::from).collect();
                assert_eq!(codes, expected.codes.map(i64::from));
                #[cfg(not(target_arch = "wasm32"))]
                assert_eq!(i64::from(out.sum), codes.iter().sum::<i64>());
                #[cfg(target_arch = "wasm32")]
                assert_eq!(out.start, 0);
            }
        }
    }
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for place in [0, 5, BLOCK - 1] {
            let mut values = [0.5; BLOCK];
            values[place] = bad;
            let mut out = [act_block(0.0, |_| 0)];
            kernels.quantize(&values, BLOCK, &mut out);
            assert!(!out[0].scale.is_finite(), "{bad} at {place} went unnoticed");
        }
    }
}

pub fn rms_norm_equals_specification(kernels: &dyn Kernels) {
    let mut rng = Rng::new(4);
    for width in [1, 3, LANES, LANES + 1, 192, 577] {
        let x: Vec<f32> = (0..width).map(|_| noise(&mut rng) * 3.0).collect();
        let weight: Vec<f32> = (0..width).map(|_| noise(&mut rng)).collect();
        let mean = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / width as f64;
        let exact: Vec<f64> = x
            .iter()
            .zip(&weight)
            .map(|(x, w)| f64::from(*x) / (mean + f64::from(1e-5_f32)).sqrt() * f64::from(*w))
            .collect();
        let mut out = vec![f32::NAN; width];
        kernels.rms_norm(&x, &weight, 1e-5, &mut out);
        assert_close(&out, &exact, 1e-6, "rms_norm");
        let mut specified = vec![f32::NAN; width];
        Scalar.rms_norm(&x, &weight, 1e-5, &mut specified);
        assert_same_bits(&out, &specified, "rms_norm");
    }
}

pub fn swiglu_equals_specification(kernels: &dyn Kernels) {
    let mut rng = Rng::new(5);
    for width in [0, 1, 7, 64, 513] {
        let gate: Vec<f32> = (0..width).map(|_| noise(&mut rng) * 12.0).collect();
        let up: Vec<f32> = (0..width).map(|_| noise(&mut rng)).collect();
        let exact: Vec<f64> = gate
            .iter()
            .zip(&up)
            .map(|(gate, up)| {
                let gate = f64::from(*gate);
                gate / (1.0 + libm::exp(-gate)) * f64::from(*up)
            })
            .collect();
        let (mut out, mut specified) = (gate.clone(), gate);
        kernels.swiglu(&mut out, &up);
        assert_close(&out, &exact, 1e-6, "swiglu");
        Scalar.swiglu(&mut specified, &up);
        assert_same_bits(&out, &specified, "swiglu");
    }
    let mut extremes = [-1e30, -100.0, 100.0, 1e30, -0.0];
    kernels.swiglu(&mut extremes, &[1.0; 5]);
    assert_eq!(extremes, [0.0, 0.0, 100.0, 1e30, 0.0]);
}

pub fn attend_equals_specification(kernels: &dyn Kernels) {
    let mut rng = Rng::new(6);
    let lengths = [1, 2, LANES, LANES + 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 2];
    let shapes = [2, LANES, 20, 32, 64].into_iter().flat_map(|d| lengths.map(|n| (d, n)));
    for (index, (head_dim, len)) in shapes.enumerate() {
        // Another head stands before this one, and positions beyond `len` hold NaN.
        let offset = 2 * head_dim * PAGE;
        let count = len.div_ceil(PAGE);
        let mut pages = vec![vec![f32::NAN; 2 * offset].into_boxed_slice(); count];
        let mut keys = vec![vec![0.0_f32; head_dim]; len];
        let mut values = keys.clone();
        for position in 0..len {
            let (page, slot) = (&mut pages[position / PAGE], position % PAGE);
            for d in 0..head_dim {
                keys[position][d] = noise(&mut rng);
                values[position][d] = noise(&mut rng);
                page[offset + d * PAGE + slot] = keys[position][d];
                page[offset + head_dim * PAGE + slot * head_dim + d] = values[position][d];
            }
        }
        let past = Past { pages: &pages, offset, head_dim, len };
        let heads = 1 + (index + index / lengths.len()) % (2 * TILE);
        let queries: Vec<f32> = (0..heads * head_dim).map(|_| noise(&mut rng) * 2.0).collect();
        let scale = 0.4;
        let run = |kernels: &dyn Kernels| {
            let mut scores = vec![f32::NAN; heads.min(TILE) * count * PAGE];
            let mut out = vec![f32::NAN; queries.len()];
            kernels.attend(&queries, past, scale, &mut scores, &mut out);
            out
        };
        let out = run(kernels);
        let exact: Vec<f64> = queries
            .chunks(head_dim)
            .flat_map(|query| attention(query, &keys, &values, f64::from(scale)))
            .collect();
        assert_close(&out, &exact, 3e-6, &format!("{heads} heads, {len} positions of {head_dim}"));
        assert_same_bits(&out, &run(&Scalar), "attend");
    }
}

/// One query's attention from the formula, in f64.
fn attention(query: &[f32], keys: &[Vec<f32>], values: &[Vec<f32>], scale: f64) -> Vec<f64> {
    let weight = |key: &Vec<f32>| {
        let products = key.iter().zip(query).map(|(k, q)| f64::from(*k) * f64::from(*q));
        libm::exp(products.sum::<f64>() * scale)
    };
    let weights: Vec<f64> = keys.iter().map(weight).collect();
    let total: f64 = weights.iter().sum();
    let sum = |d: usize| -> f64 {
        weights.iter().zip(values).map(|(weight, value)| weight * f64::from(value[d])).sum()
    };
    (0..query.len()).map(|d| sum(d) / total).collect()
}

pub fn low_rank_equals_specification(kernels: &dyn Kernels) {
    let mut rng = Rng::new(7);
    for rank in [1, 2, 8, 33] {
        for (width, first) in [(BLOCK, 0), (3 * BLOCK, BLOCK), (3 * BLOCK, 2 * BLOCK)] {
            let a: Vec<f32> = (0..rank * width).map(|_| noise(&mut rng)).collect();
            let b: Vec<f32> = (0..rank).map(|_| noise(&mut rng)).collect();
            let exact: Vec<f64> = (first..first + BLOCK)
                .map(|k| {
                    let sum = (0..rank).map(|r| f64::from(b[r]) * f64::from(a[r * width + k]));
                    sum.sum::<f64>() * 2.0
                })
                .collect();
            let out = kernels.low_rank(&a, width, first, &b, 2.0);
            assert_close(&out, &exact, 2e-6, "low_rank");
            let specified = Scalar.low_rank(&a, width, first, &b, 2.0);
            assert_same_bits(&out, &specified, "low_rank");
        }
    }
}
