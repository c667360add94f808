//! Blocks as GGUF files hold them (`ggml-common.h` of ggml is the definition).

use super::{BLOCK, RowBlock, absmax, f16_to_f32, f32_to_f16};
use crate::{Error, GgmlType, Result};

const Q8_0_BYTES: usize = 2 + BLOCK;
const Q4_0_BYTES: usize = 2 + BLOCK / 2;

/// Turns the bytes of whole blocks of type `ty` into numbers.
///
/// Exact: every product of scale and code is representable. A NaN or an infinity in the file
/// comes out as one; who needs finite numbers checks.
///
/// # Errors
/// [`Error::Length`] if `bytes` is not exactly what `out.len()` elements take.
pub fn dequantize(ty: GgmlType, bytes: &[u8], out: &mut [f32]) -> Result<()> {
    let expected = out.len() / ty.block_len() * ty.block_bytes();
    if bytes.len() != expected || !out.len().is_multiple_of(ty.block_len()) {
        return Err(Error::Length {
            name: format!("the bytes of {} elements of type {}", out.len(), ty.name()),
            expected,
            found: bytes.len(),
        });
    }
    match ty {
        GgmlType::F32 => {
            for (value, raw) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*raw);
            }
        }
        GgmlType::F16 => {
            for (value, raw) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = f16_to_f32(u16::from_le_bytes(*raw));
            }
        }
        GgmlType::BF16 => {
            for (value, raw) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = f32::from_bits(u32::from(u16::from_le_bytes(*raw)) << 16);
            }
        }
        GgmlType::Q8_0 => {
            let blocks = bytes.as_chunks::<Q8_0_BYTES>().0;
            for (values, raw) in out.as_chunks_mut::<BLOCK>().0.iter_mut().zip(blocks) {
                *values = read_q8_0(raw).dequantize();
            }
        }
        GgmlType::Q4_0 => {
            let blocks = bytes.as_chunks::<Q4_0_BYTES>().0;
            for (values, raw) in out.as_chunks_mut::<BLOCK>().0.iter_mut().zip(blocks) {
                *values = read_q4_0(raw).dequantize();
            }
        }
    }
    Ok(())
}

/// Block `index` of a row's bytes; numbers that are not quantized in the file are rounded to
/// 8 bits. The caller has checked that the row has that many blocks.
pub(crate) fn row_block(ty: GgmlType, row: &[u8], index: usize) -> RowBlock {
    match ty {
        GgmlType::Q8_0 => read_q8_0(&row.as_chunks::<Q8_0_BYTES>().0[index]),
        GgmlType::Q4_0 => read_q4_0(&row.as_chunks::<Q4_0_BYTES>().0[index]),
        GgmlType::F32 | GgmlType::F16 | GgmlType::BF16 => {
            RowBlock::quantize(&row_values(ty, row, index))
        }
    }
}

/// The 32 numbers of block `index` of a row's bytes, not rounded.
pub(crate) fn row_values(ty: GgmlType, row: &[u8], index: usize) -> [f32; BLOCK] {
    let start = index * BLOCK;
    match ty {
        GgmlType::Q8_0 | GgmlType::Q4_0 => row_block(ty, row, index).dequantize(),
        GgmlType::F32 => {
            let raw = &row.as_chunks::<4>().0[start..start + BLOCK];
            std::array::from_fn(|k| f32::from_le_bytes(raw[k]))
        }
        GgmlType::F16 => {
            let raw = &row.as_chunks::<2>().0[start..start + BLOCK];
            std::array::from_fn(|k| f16_to_f32(u16::from_le_bytes(raw[k])))
        }
        GgmlType::BF16 => {
            let raw = &row.as_chunks::<2>().0[start..start + BLOCK];
            std::array::from_fn(|k| f32::from_bits(u32::from(u16::from_le_bytes(raw[k])) << 16))
        }
    }
}

fn read_q8_0(raw: &[u8; Q8_0_BYTES]) -> RowBlock {
    RowBlock { scale: read_scale(raw[0], raw[1]), codes: std::array::from_fn(|k| raw[2 + k] as i8) }
}

/// The first 16 codes are the low halves of the bytes, the other 16 the high halves.
fn read_q4_0(raw: &[u8; Q4_0_BYTES]) -> RowBlock {
    let mut codes = [0; BLOCK];
    let (first, second) = codes.split_at_mut(BLOCK / 2);
    for ((first, second), byte) in first.iter_mut().zip(second).zip(&raw[2..]) {
        *first = (byte & 15) as i8 - 8;
        *second = (byte >> 4) as i8 - 8;
    }
    RowBlock { scale: read_scale(raw[0], raw[1]), codes }
}

fn read_scale(low: u8, high: u8) -> f32 {
    f16_to_f32(u16::from_le_bytes([low, high]))
}

/// Rounds numbers to Q8_0 blocks: the f16 nearest to `max|x| / 127`, then the codes nearest for
/// that scale, ties to even.
///
/// (ggml picks the codes before it rounds the scale; picking them after makes the error of a
/// block's largest numbers smaller.) Numbers that already are a block with a code of 127 or -127
/// come back bit for bit. A block with a NaN or an infinity gets a NaN scale, which loading
/// refuses.
///
/// # Panics
/// If `values` is not a whole number of blocks.
pub fn quantize_q8_0(values: &[f32]) -> Vec<u8> {
    let (blocks, rest) = values.as_chunks::<BLOCK>();
    assert!(rest.is_empty(), "{} elements are not whole blocks of {BLOCK}", values.len());
    let mut bytes = Vec::with_capacity(blocks.len() * Q8_0_BYTES);
    for block in blocks {
        let (scale, stored) = half_scale(absmax(block) / 127.0);
        bytes.extend(stored.to_le_bytes());
        bytes.extend(block.map(|value| code(value, scale, 127) as u8));
    }
    bytes
}

/// Rounds numbers to Q4_0 blocks, whose codes are `-8..=7`: as ggml does, the scale is the
/// number of largest magnitude over -8, so that this number is met exactly.
///
/// # Panics
/// If `values` is not a whole number of blocks.
pub fn quantize_q4_0(values: &[f32]) -> Vec<u8> {
    let (blocks, rest) = values.as_chunks::<BLOCK>();
    assert!(rest.is_empty(), "{} elements are not whole blocks of {BLOCK}", values.len());
    let mut bytes = Vec::with_capacity(blocks.len() * Q4_0_BYTES);
    for block in blocks {
        let absmax = absmax(block);
        let extreme = block.iter().copied().find(|value| value.abs() == absmax).unwrap_or(absmax);
        let (scale, stored) = half_scale(extreme / -8.0);
        bytes.extend(stored.to_le_bytes());
        let nibble = |value: f32| (code(value, scale, 7) + 8) as u8;
        for k in 0..BLOCK / 2 {
            bytes.push(nibble(block[k]) | nibble(block[k + BLOCK / 2]) << 4);
        }
    }
    bytes
}

/// The scale as stored, and as it will be read. Finite scales stay finite.
fn half_scale(scale: f32) -> (f32, u16) {
    const LARGEST: f32 = 65504.0;
    let scale = if scale.is_finite() { scale.clamp(-LARGEST, LARGEST) } else { f32::NAN };
    let stored = f32_to_f16(scale);
    (f16_to_f32(stored), stored)
}

/// The nearest code to `value / scale` from `-max - 1` (4 bits) or `-max` (8 bits) to `max`.
fn code(value: f32, scale: f32, max: i8) -> i8 {
    if scale == 0.0 || scale.is_nan() {
        return 0;
    }
    let min = if max == 7 { -8 } else { -max };
    ((value / scale).round_ties_even() as i8).clamp(min, max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(step: f32) -> Vec<f32> {
        (0..3 * BLOCK).map(|k| ((k * 29 % 96) as f32 - 40.0) * step).collect()
    }

    fn read(ty: GgmlType, bytes: &[u8], elements: usize) -> Vec<f32> {
        let mut out = vec![f32::NAN; elements];
        dequantize(ty, bytes, &mut out).unwrap();
        out
    }

    #[test]
    fn plain_types_are_exact() {
        let values = [1.0, -2.5, 0.0, 1024.0];
        let f32_bytes: Vec<u8> = values.iter().flat_map(|v: &f32| v.to_le_bytes()).collect();
        let f16_bytes: Vec<u8> = values.iter().flat_map(|v| f32_to_f16(*v).to_le_bytes()).collect();
        let bf16_bytes: Vec<u8> =
            values.iter().flat_map(|v| ((v.to_bits() >> 16) as u16).to_le_bytes()).collect();
        assert_eq!(read(GgmlType::F32, &f32_bytes, 4), values);
        assert_eq!(read(GgmlType::F16, &f16_bytes, 4), values);
        assert_eq!(read(GgmlType::BF16, &bf16_bytes, 4), values);
    }

    #[test]
    fn q8_0_by_hand() {
        let mut raw = vec![0x00, 0x38];
        raw.extend((0..32).map(|k| (k as i8 - 16) as u8));
        let out = read(GgmlType::Q8_0, &raw, 32);
        assert_eq!(out, (0..32).map(|k| (k as f32 - 16.0) * 0.5).collect::<Vec<_>>());
    }

    #[test]
    fn q4_0_by_hand() {
        let mut raw = vec![0x00, 0x40];
        raw.extend((0..16).map(|k: u8| k | (15 - k) << 4));
        let out = read(GgmlType::Q4_0, &raw, 32);
        for k in 0..16 {
            assert_eq!(out[k], 2.0 * (k as f32 - 8.0));
            assert_eq!(out[16 + k], 2.0 * (7.0 - k as f32));
        }
    }

    #[test]
    fn q8_0_is_within_half_a_step_and_idempotent() {
        for step in [1e-3, 1.0, 37.0] {
            let values = ramp(step);
            let bytes = quantize_q8_0(&values);
            let back = read(GgmlType::Q8_0, &bytes, values.len());
            for (values, back) in values.chunks(BLOCK).zip(back.chunks(BLOCK)) {
                let largest = values.iter().copied().fold(0.0_f32, |m, v| m.max(v.abs()));
                for (value, back) in values.iter().zip(back) {
                    let error = (value - back).abs();
                    assert!(error <= 0.501 * largest / 127.0, "{value} became {back}");
                }
            }
            assert_eq!(quantize_q8_0(&back), bytes);
        }
    }

    #[test]
    fn q4_0_meets_the_extreme_and_stays_within_a_step() {
        let values = ramp(0.25);
        let back = read(GgmlType::Q4_0, &quantize_q4_0(&values), values.len());
        for (values, back) in values.chunks(BLOCK).zip(back.chunks(BLOCK)) {
            let largest = values.iter().copied().fold(0.0_f32, |m, v| m.max(v.abs()));
            for (value, back) in values.iter().zip(back) {
                assert!((value - back).abs() <= largest / 8.0 * 1.01, "{value} became {back}");
                if value.abs() == largest {
                    assert!((value - back).abs() < largest * 1e-3);
                }
            }
        }
    }

    #[test]
    fn row_blocks_agree_with_dequantize() {
        let values = ramp(0.1);
        for (ty, bytes) in
            [(GgmlType::Q8_0, quantize_q8_0(&values)), (GgmlType::Q4_0, quantize_q4_0(&values))]
        {
            let all = read(ty, &bytes, values.len());
            for index in 0..3 {
                let expected = &all[index * BLOCK..(index + 1) * BLOCK];
                assert_eq!(row_block(ty, &bytes, index).dequantize(), expected);
                assert_eq!(row_values(ty, &bytes, index), expected);
            }
        }
    }

    #[test]
    fn a_nan_is_not_rounded_away() {
        let mut values = [0.5; BLOCK];
        values[3] = f32::NAN;
        assert!(read(GgmlType::Q8_0, &quantize_q8_0(&values), BLOCK)[0].is_nan());
        assert!(read(GgmlType::Q4_0, &quantize_q4_0(&values), BLOCK)[0].is_nan());
    }

    #[test]
    fn rejects_lengths_that_do_not_fit() {
        let mut out = [0.0; BLOCK];
        assert!(matches!(
            dequantize(GgmlType::Q8_0, &[0; 33], &mut out),
            Err(Error::Length { expected: 34, found: 33, .. })
        ));
        assert!(dequantize(GgmlType::Q8_0, &[0; 34], &mut out[..31]).is_err());
        assert!(dequantize(GgmlType::F32, &[0; 8], &mut out[..1]).is_err());
    }
}
