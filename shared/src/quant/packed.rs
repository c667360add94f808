//! Weights as the kernels read them: blocks of 32 inputs, eight output rows interleaved.
//!
//! ```text
//! Packed8: one block of a group of 8 rows, 288 bytes
//!   scales   row 0 .. row 7                                         8 x f32
//!   quad 0   row 0 inputs 0..4 | row 1 inputs 0..4 | .. | row 7     32 x i8
//!   ...
//!   quad 7   row 0 inputs 28..32 | ..                               32 x i8
//! ```
//! A 32-byte load holds the same four inputs of eight rows; multiplied with those four
//! activations, repeated, and summed in pairs it leaves one lane per row, so that no kernel adds
//! across lanes until a block ends. WebAssembly multiplies pairs of 16-bit lanes: there a line is
//! inputs 0 and 1 of the eight rows, then inputs 2 and 3. [`Block4`] halves a line, see
//! [`place4`].
//!
//! Scales are f32, converted once. A matrix of 8-bit codes takes 9/8 byte a weight (1.06 times
//! its Q8_0 blocks), one of 4-bit codes 5/8 (1.11 times its Q4_0 blocks).

use super::{BLOCK, RowBlock};

/// Rows interleaved in a group.
pub(crate) const ROWS: usize = 8;
/// Inputs of every row in a line.
pub(crate) const QUAD: usize = 4;
/// Quads in a block.
pub(crate) const QUADS: usize = BLOCK / QUAD;

/// A layout of one block of a group of rows.
pub(crate) trait PackedBlock: Copy + Send + Sync + 'static {
    /// What rows beyond the matrix hold.
    const ZERO: Self;

    /// Writes row `row` of the group.
    fn set(&mut self, row: usize, block: &RowBlock);

    /// Reads row `row` of the group back.
    fn get(&self, row: usize) -> RowBlock;
}

/// 8-bit codes.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct Block8 {
    pub scales: [f32; ROWS],
    pub codes: [[i8; ROWS * QUAD]; QUADS],
}

impl PackedBlock for Block8 {
    const ZERO: Self = Self { scales: [0.0; ROWS], codes: [[0; ROWS * QUAD]; QUADS] };

    fn set(&mut self, row: usize, block: &RowBlock) {
        self.scales[row] = block.scale;
        for (line, quad) in self.codes.iter_mut().zip(block.codes.as_chunks::<QUAD>().0) {
            for (index, inputs) in quad.as_chunks::<TOGETHER>().0.iter().enumerate() {
                line[place8(row, index)..][..TOGETHER].copy_from_slice(inputs);
            }
        }
    }

    fn get(&self, row: usize) -> RowBlock {
        let mut block = RowBlock { scale: self.scales[row], codes: [0; BLOCK] };
        for (line, quad) in self.codes.iter().zip(block.codes.as_chunks_mut::<QUAD>().0) {
            for (index, inputs) in quad.as_chunks_mut::<TOGETHER>().0.iter_mut().enumerate() {
                inputs.copy_from_slice(&line[place8(row, index)..][..TOGETHER]);
            }
        }
        block
    }
}

/// Inputs of a row that stand side by side in a line of a [`Block8`].
const TOGETHER: usize = if cfg!(target_arch = "wasm32") { 2 } else { QUAD };

/// Where in a line the `index`-th [`TOGETHER`] inputs of a row stand.
#[inline(always)]
fn place8(row: usize, index: usize) -> usize {
    (index * ROWS + row) * TOGETHER
}

/// 4-bit codes.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct Block4 {
    pub scales: [f32; ROWS],
    pub codes: [[u8; ROWS * QUAD]; QUADS / 2],
}

/// A line of a [`Block4`] whose codes are all zero.
const ZERO4: [u8; ROWS * QUAD] = {
    let mut line = [0x88; ROWS * QUAD];
    let mut byte = 1;
    while cfg!(target_arch = "wasm32") && byte < line.len() {
        line[byte] = 0x08;
        byte += 2;
    }
    line
};

/// Where a [`Block4`] holds the code of an input: the line, the byte among the row's four, the
/// shift within it, and the number that is added to the code.
///
/// Kernels that multiply bytes find inputs `4 q ..` in the low halves of line `q` and inputs
/// `16 + 4 q ..` in its high halves. WebAssembly multiplies 16-bit lanes: there inputs `j`,
/// `j + 8`, `j + 16` and `j + 24` share one, and the topmost is signed (see `kernels/nibbles.rs`).
#[inline(always)]
fn place4(input: usize) -> (usize, usize, u32, i8) {
    if cfg!(target_arch = "wasm32") {
        let (j, place) = (input % 8, input / 8);
        (j / 2, j % 2 * 2 + place / 2, 4 * (place % 2) as u32, if place == 3 { 0 } else { 8 })
    } else {
        (input / QUAD % 4, input % QUAD, 4 * (input / 16) as u32, 8)
    }
}

impl PackedBlock for Block4 {
    const ZERO: Self = Self { scales: [0.0; ROWS], codes: [ZERO4; QUADS / 2] };

    /// The codes must be within `-8..=7`.
    fn set(&mut self, row: usize, block: &RowBlock) {
        self.scales[row] = block.scale;
        for (input, code) in block.codes.iter().enumerate() {
            let (line, byte, shift, added) = place4(input);
            let byte = &mut self.codes[line][row * QUAD + byte];
            *byte = *byte & !(15 << shift) | ((code + added) as u8 & 15) << shift;
        }
    }

    fn get(&self, row: usize) -> RowBlock {
        let mut block = RowBlock { scale: self.scales[row], codes: [0; BLOCK] };
        for (input, code) in block.codes.iter_mut().enumerate() {
            let (line, byte, shift, added) = place4(input);
            let nibble = self.codes[line][row * QUAD + byte] >> shift & 15;
            // A signed nibble's upper half stands for negative codes.
            let signed = if added == 0 && nibble > 7 { 16 } else { 0 };
            *code = nibble as i8 - added - signed;
        }
        block
    }
}

/// A matrix `[rows, blocks * 32]`.
pub(crate) struct Packed<B> {
    groups: Vec<B>,
    rows: usize,
    blocks: usize,
}

impl<B: PackedBlock> Packed<B> {
    /// Builds a matrix from its blocks: `block(row, index)`, asked for in the order in which they
    /// are stored.
    ///
    /// # Errors
    /// The first error of `block`.
    pub fn try_new<E>(
        rows: usize,
        blocks: usize,
        mut block: impl FnMut(usize, usize) -> Result<RowBlock, E>,
    ) -> Result<Self, E> {
        let mut groups = Vec::with_capacity(rows.div_ceil(ROWS) * blocks);
        for first in (0..rows).step_by(ROWS) {
            for index in 0..blocks {
                let mut packed = B::ZERO;
                for row in first..rows.min(first + ROWS) {
                    packed.set(row - first, &block(row, index)?);
                }
                groups.push(packed);
            }
        }
        Ok(Self { groups, rows, blocks })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Blocks of 32 inputs in a row.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// The blocks of rows `8 * index ..`.
    pub fn group(&self, index: usize) -> &[B] {
        &self.groups[index * self.blocks..(index + 1) * self.blocks]
    }

    /// One row as numbers.
    ///
    /// # Panics
    /// If `out` is not as long as a row, or the row does not exist.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let (out, rest) = out.as_chunks_mut::<BLOCK>();
        assert!(rest.is_empty() && out.len() == self.blocks, "a row has {} blocks", self.blocks);
        for (out, block) in out.iter_mut().zip(self.group(row / ROWS)) {
            *out = block.get(row % ROWS).dequantize();
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.groups[..])
    }
}

/// A matrix in one of the layouts.
pub(crate) enum Matrix {
    Eight(Packed<Block8>),
    Four(Packed<Block4>),
}

impl Matrix {
    pub fn rows(&self) -> usize {
        match self {
            Self::Eight(packed) => packed.rows(),
            Self::Four(packed) => packed.rows(),
        }
    }

    /// One row as numbers; see [`Packed::row`].
    pub fn row(&self, row: usize, out: &mut [f32]) {
        match self {
            Self::Eight(packed) => packed.row(row, out),
            Self::Four(packed) => packed.row(row, out),
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Eight(packed) => packed.bytes(),
            Self::Four(packed) => packed.bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn source(row: usize, index: usize, max: i8) -> RowBlock {
        let range = 2 * i32::from(max) + 2;
        RowBlock {
            scale: (row * 10 + index) as f32 + 0.5,
            codes: std::array::from_fn(|k| {
                ((row * 7 + index * 3 + k * 5) as i32 % range - i32::from(max) - 1) as i8
            }),
        }
    }

    fn check<B: PackedBlock>(max: i8) {
        for (rows, blocks) in [(1, 1), (7, 2), (8, 1), (9, 3), (24, 2), (0, 4), (5, 0)] {
            let packed = Packed::<B>::try_new(rows, blocks, |row, index| {
                Ok::<_, Infallible>(source(row, index, max))
            })
            .unwrap();
            assert_eq!((packed.rows(), packed.blocks()), (rows, blocks));
            assert_eq!(packed.bytes(), rows.div_ceil(ROWS) * blocks * size_of::<B>());
            for row in 0..rows {
                for (index, block) in packed.group(row / ROWS).iter().enumerate() {
                    assert_eq!(block.get(row % ROWS), source(row, index, max));
                }
                let mut out = vec![f32::NAN; blocks * BLOCK];
                packed.row(row, &mut out);
                let expected: Vec<f32> =
                    (0..blocks).flat_map(|index| source(row, index, max).dequantize()).collect();
                assert_eq!(out, expected);
            }
        }
    }

    #[test]
    fn eight_bits_come_back() {
        check::<Block8>(127);
    }

    #[test]
    fn four_bits_come_back() {
        check::<Block4>(7);
    }

    #[test]
    fn rows_beyond_the_matrix_are_zero() {
        fn padding<B: PackedBlock>() {
            let packed = Packed::<B>::try_new(3, 1, |_, _| {
                Ok::<_, Infallible>(RowBlock { scale: 1.0, codes: [7; BLOCK] })
            })
            .unwrap();
            for row in 3..ROWS {
                let block = packed.group(0)[0].get(row);
                assert_eq!(block, RowBlock { scale: 0.0, codes: [0; BLOCK] });
            }
        }
        padding::<Block8>();
        padding::<Block4>();
    }

    #[test]
    fn the_layouts_take_the_space_promised() {
        assert_eq!(size_of::<Block8>(), ROWS * (4 + BLOCK));
        assert_eq!(size_of::<Block4>(), ROWS * (4 + BLOCK / 2));
    }

    #[test]
    fn an_error_stops_the_building() {
        let mut asked = 0;
        let result = Packed::<Block8>::try_new(8, 2, |row, _| {
            asked += 1;
            if row == 2 { Err("bad row") } else { Ok(source(0, 0, 127)) }
        });
        assert_eq!(result.err(), Some("bad row"));
        assert_eq!(asked, 3);
    }
}
