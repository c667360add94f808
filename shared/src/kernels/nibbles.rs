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

use super::ActBlock;

/// What four-bit codes are multiplied with, in place of the activations themselves: lane `j` of
/// place `i` stands where input `8 i + j` stood.
pub(super) fn factors(block: &ActBlock) -> ActBlock {
    let mut factors = *block;
    let codes = block.codes.as_flattened();
    for (factor, lower) in factors.codes.as_flattened_mut()[8..].iter_mut().zip(codes) {
        *factor -= 16 * lower;
    }
    let added: i32 = codes[..24].iter().map(|code| i32::from(*code)).sum();
    factors.start = -8 * added;
    factors
}
