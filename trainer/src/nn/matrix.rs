//! The model's matrices: in f32, or frozen as the base's file holds them.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Result, ensure};
use candle_core::Tensor;
use shared::{GgmlType, dequantize, f16_to_f32, gguf_row};

use super::grads::Param;
use super::product::{Mat, Rows, add_product, add_product_with};
use super::slices::{matrix, slice};

/// Elements and bytes of a block of type Q8_0.
const Q8_0: (usize, usize) = (32, 34);

/// A matrix `[rows, columns]` of the model.
#[derive(Clone, Debug)]
pub enum Matrix {
    /// In f32, trained or not.
    Dense(Param),
    /// Frozen, in the file's type: a quarter of the memory for 8 bits. Turned into f32 block by
    /// block in each product.
    Packed(Packed),
}

/// Rows of blocks in a GGUF file that stays as it is.
#[derive(Clone, Debug)]
pub struct Packed {
    ty: GgmlType,
    file: Arc<Vec<u8>>,
    start: usize,
    rows: usize,
    columns: usize,
    /// Width of the heads whose rows the file interleaves.
    head_dim: Option<usize>,
}

impl Packed {
    /// `rows` rows of type `ty`, the bytes `range` of `file`. With `head_dim` they are those of a
    /// query or key matrix, which are read in Hugging Face's order.
    ///
    /// # Errors
    /// Rows that are not whole blocks, another number of bytes, or rows that are not whole heads.
    pub fn new(
        ty: GgmlType,
        file: Arc<Vec<u8>>,
        range: Range<usize>,
        [rows, columns]: [usize; 2],
        head_dim: Option<usize>,
    ) -> Result<Self> {
        let expected = rows * columns / ty.block_len() * ty.block_bytes();
        ensure!(
            columns.is_multiple_of(ty.block_len())
                && range.len() == expected
                && range.end <= file.len(),
            "{rows} x {columns} values of type {} take {expected} bytes, found {}",
            ty.name(),
            range.len().min(file.len().saturating_sub(range.start))
        );
        ensure!(
            head_dim.is_none_or(|head_dim| head_dim > 0 && rows.is_multiple_of(head_dim)),
            "{rows} rows are not whole heads of {head_dim:?}"
        );
        Ok(Self { ty, file, start: range.start, rows, columns, head_dim })
    }
}

impl Rows for Packed {
    fn dims(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    #[inline(always)]
    fn read<'s>(
        &'s self,
        row: usize,
        columns: Range<usize>,
        scratch: &'s mut Vec<f32>,
    ) -> &'s [f32] {
        let (values, bytes) = (self.ty.block_len(), self.ty.block_bytes());
        let row = self.head_dim.map_or(row, |head_dim| gguf_row(row, head_dim));
        let first = self.start + (row * self.columns + columns.start) / values * bytes;
        let blocks = &self.file[first..first + columns.len() / values * bytes];
        scratch.resize(columns.len(), 0.0);
        if self.ty == GgmlType::Q8_0 {
            // As `dequantize` does it, compiled for the registers of the product around it.
            let blocks = blocks.as_chunks::<{ Q8_0.1 }>().0;
            for (values, block) in scratch.as_chunks_mut::<{ Q8_0.0 }>().0.iter_mut().zip(blocks) {
                let scale = f16_to_f32(u16::from_le_bytes([block[0], block[1]]));
                // Into an array of its own first: stores between the loads would keep the compiler
                // from turning several codes at a time into floats.
                let mut floats = [0f32; Q8_0.0];
                for i in 0..Q8_0.0 {
                    floats[i] = scale * f32::from(block[i + 2] as i8);
                }
                *values = floats;
            }
        } else {
            dequantize(self.ty, blocks, scratch).expect("whole blocks, see Packed::new");
        }
        scratch
    }
}

impl From<Param> for Matrix {
    fn from(param: Param) -> Self {
        Self::Dense(param)
    }
}

impl Matrix {
    /// Rows and columns.
    ///
    /// # Errors
    /// A dense tensor that is no matrix.
    pub fn dims(&self) -> Result<(usize, usize)> {
        match self {
            Self::Dense(param) => Ok(param.value.dims2()?),
            Self::Packed(packed) => Ok((packed.rows, packed.columns)),
        }
    }

    /// The parameter, where it is in f32.
    pub fn param(&self) -> Option<&Param> {
        match self {
            Self::Dense(param) => Some(param),
            Self::Packed(_) => None,
        }
    }

    /// As [`Self::param`], to be changed.
    pub fn param_mut(&mut self) -> Option<&mut Param> {
        match self {
            Self::Dense(param) => Some(param),
            Self::Packed(_) => None,
        }
    }

    /// The parameter, if it is trained.
    pub fn trained(&self) -> Option<&Param> {
        self.param().filter(|param| param.is_trained())
    }

    /// `x W^T`: `[n, columns]` to `[n, rows]`, row-major.
    pub fn project(&self, x: &Tensor) -> Result<Vec<f32>> {
        let (count, (rows, _)) = (x.dim(0)?, self.dims()?);
        let mut y = vec![0f32; count * rows];
        let x = slice(x)?;
        let x = Mat::new(&x, count);
        match self {
            Self::Dense(param) => {
                add_product(&mut y, 1.0, x, Mat::new(&slice(&param.value)?, rows).t());
            }
            Self::Packed(packed) => add_product_with(&mut y, 1.0, x, packed, true),
        }
        Ok(y)
    }

    /// `dx += dy W`, the gradient of [`Self::project`]'s input: `[n, rows]` to `[n, columns]`.
    pub fn add_input_gradient(&self, dy: &Tensor, dx: &mut [f32]) -> Result<()> {
        let (rows, _) = self.dims()?;
        let count = dy.dim(0)?;
        let dy = slice(dy)?;
        let dy = Mat::new(&dy, count);
        match self {
            Self::Dense(param) => {
                add_product(dx, 1.0, dy, Mat::new(&slice(&param.value)?, rows));
            }
            Self::Packed(packed) => add_product_with(dx, 1.0, dy, packed, false),
        }
        Ok(())
    }

    /// The rows with these indices: `[indices.len(), columns]`.
    pub fn gather(&self, indices: impl Iterator<Item = usize>) -> Result<Tensor> {
        let (_, columns) = self.dims()?;
        let (mut picked, mut scratch) = (Vec::new(), Vec::new());
        match self {
            Self::Dense(param) => {
                let data = slice(&param.value)?;
                for row in indices {
                    picked.extend_from_slice(&data[row * columns..][..columns]);
                }
            }
            Self::Packed(packed) => {
                for row in indices {
                    picked.extend_from_slice(packed.read(row, 0..columns, &mut scratch));
                }
            }
        }
        let count = picked.len() / columns;
        matrix(picked, count, columns)
    }
}

#[cfg(test)]
mod tests {
    use shared::quantize_q8_0;

    use super::*;

    fn values(count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 % 1009) as f32 - 500.0) / 300.0).collect()
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn a_packed_matrix_is_the_dense_one_to_the_bit() {
        for (rows, columns) in [(48, 64), (600, 320)] {
            let bytes = quantize_q8_0(&values(rows * columns));
            let mut dense = vec![0f32; rows * columns];
            dequantize(GgmlType::Q8_0, &bytes, &mut dense).unwrap();
            let mut raw = Vec::new();
            dense.iter().for_each(|value| raw.extend(value.to_le_bytes()));
            let dense = Matrix::from(Param::frozen("w", matrix(dense, rows, columns).unwrap()));
            for (ty, bytes) in [(GgmlType::Q8_0, bytes), (GgmlType::F32, raw)] {
                let (range, shape) = (3..3 + bytes.len(), [rows, columns]);
                let file = Arc::new([&[9; 3][..], &bytes, &[9; 5]].concat());
                let packed = Matrix::Packed(Packed::new(ty, file, range, shape, None).unwrap());
                let x = matrix(values(5 * columns), 5, columns).unwrap();
                let y = |matrix: &Matrix| bits(&matrix.project(&x).unwrap());
                assert_eq!(y(&packed), y(&dense));
                let dy = matrix(values(5 * rows), 5, rows).unwrap();
                let dx = |matrix: &Matrix| {
                    let mut dx = vec![1f32; 5 * columns];
                    matrix.add_input_gradient(&dy, &mut dx).unwrap();
                    bits(&dx)
                };
                assert_eq!(dx(&packed), dx(&dense));
                let picked = |matrix: &Matrix| {
                    bits(&slice(&matrix.gather([47, 0, 3].into_iter()).unwrap()).unwrap())
                };
                assert_eq!(picked(&packed), picked(&dense));
            }
        }
    }

    #[test]
    fn rejects_bytes_that_are_not_the_matrix() {
        let refused = |bytes: usize, range: Range<usize>, shape, head_dim| {
            Packed::new(GgmlType::Q8_0, Arc::new(vec![0; bytes]), range, shape, head_dim).is_err()
        };
        assert!(!refused(34, 0..34, [1, 32], None));
        assert!(refused(33, 0..33, [1, 32], None));
        assert!(refused(34, 0..34, [2, 16], None));
        assert!(refused(34, 1..35, [1, 32], None), "beyond the file's end");
        assert!(refused(102, 0..102, [3, 32], Some(2)));
    }
}
