//! Quantized weights: the block types of GGUF files, and the layout that the kernels read.
//!
//! Everything is built from *blocks* of [`BLOCK`] consecutive inputs of one output row: one scale
//! and 32 integer codes. [`ggml`](self::ggml) reads and writes them as they stand in a file,
//! [`packed`](self::packed) interleaves eight rows of them so that one vector register holds
//! several rows.

pub(crate) mod ggml;
mod half;
pub(crate) mod packed;

pub use ggml::{dequantize, quantize_q4_0, quantize_q8_0};
pub use half::{f16_to_f32, f32_to_f16};

/// Inputs that share one scale.
pub(crate) const BLOCK: usize = 32;

/// A block of one row: the weight of input `k` is `scale * codes[k]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RowBlock {
    pub scale: f32,
    pub codes: [i8; BLOCK],
}

impl RowBlock {
    /// Rounds 32 numbers to codes in `-127..=127`, ties to even, with the f32 scale `max|x| / 127`.
    ///
    /// A block whose numbers are all below 1e-30 becomes zero. A NaN or an infinity makes the
    /// scale NaN or infinite, so that it cannot pass unnoticed.
    pub fn quantize(values: &[f32; BLOCK]) -> Self {
        let absmax = absmax(values);
        if absmax < SMALLEST {
            return Self { scale: 0.0, codes: [0; BLOCK] };
        }
        let inverse = 127.0 / absmax;
        let mut block = Self { scale: absmax / 127.0, codes: [0; BLOCK] };
        for (code, value) in block.codes.iter_mut().zip(values) {
            *code = round_to_code(value * inverse);
        }
        block
    }

    /// The 32 weights.
    #[inline(always)]
    pub fn dequantize(&self) -> [f32; BLOCK] {
        let mut values = [0.0; BLOCK];
        for (value, code) in values.iter_mut().zip(self.codes) {
            *value = self.scale * f32::from(code);
        }
        values
    }
}

/// Below this, `127 / max|x|` would overflow; nothing in a model is that small but zero.
pub(crate) const SMALLEST: f32 = 1e-30;

/// The largest magnitude. Compared as integers, in which order a NaN is above infinity and
/// infinity above every number: one of them anywhere is the result.
#[inline(always)]
pub(crate) fn absmax(values: &[f32; BLOCK]) -> f32 {
    let mut max = 0_i32;
    for value in values {
        let bits = (value.to_bits() & 0x7fff_ffff) as i32;
        max = if bits > max { bits } else { max };
    }
    f32::from_bits(max as u32)
}

/// The nearest integer, ties to even, of a number within `-128.0..=127.0`.
///
/// Adding 1.5 * 2^23 leaves the integer in the low bits of the significand: the same rounding on
/// every machine, and it vectorizes on every machine.
#[inline(always)]
pub(crate) fn round_to_code(value: f32) -> i8 {
    const SHIFT: f32 = 12_582_912.0;
    (value + SHIFT).to_bits() as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_ties_to_even() {
        let cases = [
            (0.5, 0),
            (1.5, 2),
            (2.5, 2),
            (-0.5, 0),
            (-1.5, -2),
            (-2.5, -2),
            (0.49, 0),
            (126.6, 127),
            (-126.5, -126),
            (127.00001, 127),
            (-127.0, -127),
            (-0.0, 0),
        ];
        for (value, code) in cases {
            assert_eq!(round_to_code(value), code, "{value}");
        }
    }

    #[test]
    fn quantizes_to_within_half_a_step() {
        let values: [f32; BLOCK] = std::array::from_fn(|k| (k as f32 - 11.3) * 0.37);
        let block = RowBlock::quantize(&values);
        for (value, back) in values.iter().zip(block.dequantize()) {
            assert!((value - back).abs() <= block.scale * 0.5001, "{value} became {back}");
        }
        assert_eq!(block.codes[BLOCK - 1], 127);
    }

    #[test]
    fn quantizing_again_changes_nothing() {
        let values: [f32; BLOCK] = std::array::from_fn(|k| ((k * 37 % 64) as f32 - 30.0) * 1e-3);
        let once = RowBlock::quantize(&values);
        let twice = RowBlock::quantize(&once.dequantize());
        assert_eq!(once.codes, twice.codes);
    }

    #[test]
    fn tiny_and_zero_blocks_are_zero() {
        for value in [0.0, -0.0, 1e-31, -f32::MIN_POSITIVE, 1e-45] {
            let block = RowBlock::quantize(&[value; BLOCK]);
            assert_eq!(block, RowBlock { scale: 0.0, codes: [0; BLOCK] });
        }
    }

    #[test]
    fn what_is_not_finite_stays_visible() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in [0, 7, BLOCK - 1] {
                let mut values = [1.0; BLOCK];
                values[place] = bad;
                assert!(!RowBlock::quantize(&values).scale.is_finite(), "{bad} at {place}");
            }
        }
    }
}
