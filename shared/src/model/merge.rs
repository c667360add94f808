//! Adding an adapter's update to a matrix.

use crate::kernels::Kernels;
use crate::quant::ggml::{row_block, row_values};
use crate::quant::{BLOCK, RowBlock};
use crate::{GgmlType, LoraPair};

/// The update `scale * B A` of one matrix.
pub(super) struct Update<'a> {
    pub pair: &'a LoraPair,
    /// `lora_alpha / r`, for rsLoRA `lora_alpha / sqrt(r)`.
    pub scale: f32,
}

impl Update<'_> {
    /// Block `index` of row `row` (Hugging Face order) of `Q8(dequantize(W) + scale * B A)`.
    ///
    /// `bytes` are the row's bytes in the file. A block that the update leaves as it is keeps its
    /// scale and codes (an 8-bit code holds a 4-bit one), so that a zero adapter changes no bit.
    /// Rounding never goes below 8 bits: at 4, a step is an order of magnitude larger than a
    /// typical update and would erase it.
    pub fn block(
        &self,
        kernels: &dyn Kernels,
        ty: GgmlType,
        bytes: &[u8],
        row: usize,
        index: usize,
    ) -> RowBlock {
        let width = self.pair.in_features;
        let rank = self.pair.a.len() / width;
        let b = &self.pair.b[row * rank..][..rank];
        let delta = kernels.low_rank(&self.pair.a, width, index * BLOCK, b, self.scale);
        if delta == [0.0; BLOCK] {
            return row_block(ty, bytes, index);
        }
        let mut values = row_values(ty, bytes, index);
        for (value, delta) in values.iter_mut().zip(delta) {
            *value += delta;
        }
        RowBlock::quantize(&values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::best;
    use crate::quant::{quantize_q4_0, quantize_q8_0};

    fn pair(a: Vec<f32>, b: Vec<f32>, rank: usize) -> LoraPair {
        let (in_features, out_features) = (a.len() / rank, b.len() / rank);
        LoraPair { a, b, in_features, out_features }
    }

    fn f32_bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// W = 0, A counts up in its first row and holds ones in its second, B picks rows.
    #[test]
    fn merges_integers_by_hand() {
        let a: Vec<f32> = (0..64).map(|k| if k < 32 { k as f32 } else { 1.0 }).collect();
        let pair = pair(a, vec![1.0, 0.0, 2.0, 65.0], 2);
        let update = Update { pair: &pair, scale: 0.5 };
        let zero = f32_bytes(&[0.0; 32]);
        let merged = |row| update.block(best(), GgmlType::F32, &zero, row, 0).dequantize();
        // Row 0: k / 2, up to 15.5; row 1: k + 32.5, up to 63.5, where every step is half a unit.
        for k in 0..32 {
            assert!((merged(0)[k] - k as f32 / 2.0).abs() <= 15.5 / 254.0 + 1e-6);
            assert_eq!(merged(1)[k], k as f32 + 32.5);
        }
    }

    #[test]
    fn a_zero_update_changes_no_bit() {
        let values: Vec<f32> = (0..64).map(|k| ((k * 13 % 64) as f32 - 31.0) * 0.01).collect();
        let pair = pair(vec![1.0; 2 * 64], vec![0.0; 2], 2);
        let update = Update { pair: &pair, scale: 2.0 };
        for (ty, mut bytes) in
            [(GgmlType::Q8_0, quantize_q8_0(&values)), (GgmlType::Q4_0, quantize_q4_0(&values))]
        {
            // A code that rounding again would not give: no block maximum of 127.
            bytes[2] = 0x81;
            bytes[5] = 0x80;
            for index in 0..2 {
                let merged = update.block(best(), ty, &bytes, 0, index);
                assert_eq!(merged, row_block(ty, &bytes, index));
            }
        }
    }

    #[test]
    fn four_bit_weights_merge_into_eight() {
        let values: Vec<f32> = (0..32).map(|k| (k as f32 - 15.0) * 0.01).collect();
        let bytes = quantize_q4_0(&values);
        let pair = pair((0..32).map(|k| (k % 3) as f32 * 1e-3).collect(), vec![1.0], 1);
        let update = Update { pair: &pair, scale: 1.0 };
        let merged = update.block(best(), GgmlType::Q4_0, &bytes, 0, 0);
        let base = row_block(GgmlType::Q4_0, &bytes, 0).dequantize();
        for (k, merged_value) in merged.dequantize().into_iter().enumerate() {
            let exact = base[k] + (k % 3) as f32 * 1e-3;
            assert!((merged_value - exact).abs() <= merged.scale * 0.501);
        }
        assert!(merged.scale < 2e-3, "a step of 8 bits");
    }

    #[test]
    fn what_is_not_finite_stays_visible() {
        let pair = pair(vec![f32::MAX; 32], vec![f32::MAX], 1);
        let update = Update { pair: &pair, scale: 1.0 };
        let merged = update.block(best(), GgmlType::F32, &f32_bytes(&[0.0; 32]), 0, 0);
        assert!(!merged.scale.is_finite());
    }
}
