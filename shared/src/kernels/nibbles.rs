//! What WebAssembly multiplies with 4-bit weights.
//!
//! WebAssembly multiplies 16-bit lanes (`i32x4.dot_i16x8`), and taking four 4-bit codes out of one
//! costs as much as multiplying them. So a lane `L` with the codes `w0` (lowest) to `w3` is
//! multiplied without being taken apart:
//!
//! ```text
//! w0 a0 + .. + w3 a3 = L a0 + (L >> 4)(a1 - 16 a0) + (L >> 8)(a2 - 16 a1) + (L >> 12)(a3 - 16 a2)
//! ```
//! because `w0 = L - 16 (L >> 4)` and so on. The bracketed factors are made once, here, and fit 16
//! bits; all else is exact in 32. The topmost code of a lane is signed, the others are not: they
//! are packed with 8 added, which the start value of a sum takes away again.

use crate::quant::BLOCK;

/// The factors of 32 activations.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub(crate) struct Factors {
    /// `[place][lane]`: lane `j` has inputs `j`, `j + 8`, `j + 16` and `j + 24`.
    pub lanes: [[i16; BLOCK / 4]; 4],
    /// Start value of a sum.
    pub start: i32,
}

impl Factors {
    /// The factors of activation codes within `-127..=127`.
    #[inline(always)]
    pub fn new(codes: &[i8; BLOCK]) -> Self {
        let added = codes[..3 * BLOCK / 4].iter().map(|code| i32::from(*code)).sum::<i32>();
        let a = |place: usize, lane: usize| i16::from(codes[lane + 8 * place]);
        let factor = |place: usize, lane: usize| match place {
            0 => a(0, lane),
            _ => a(place, lane) - 16 * a(place - 1, lane),
        };
        Self {
            lanes: std::array::from_fn(|place| std::array::from_fn(|lane| factor(place, lane))),
            start: -8 * added,
        }
    }
}
