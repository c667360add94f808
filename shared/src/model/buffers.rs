//! Memory that the layers of a pass use one after the other.

use super::split::Split;
use crate::kernels::Activations;

/// What a layer computes on its way, kept for the next one: allocating and clearing it anew took
/// longer than to normalise and quantize.
#[derive(Default)]
pub(super) struct Buffers {
    pub activations: Activations,
    pub queries: Vec<f32>,
    pub keys: Vec<f32>,
    pub values: Vec<f32>,
    pub scores: Vec<f32>,
    pub attended: Vec<f32>,
    pub gate: Vec<f32>,
    pub up: Vec<f32>,
    pub output: Vec<f32>,
    pub gathered: Vec<f32>,
}

/// Room for `len` elements, whatever they hold.
pub(super) fn room(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    buffer.resize(len, 0.0);
    buffer
}

/// All ranks' rows of a matrix product, as they travel: `[rank, token, row]`.
pub(super) struct Gathered<'a> {
    pub pieces: &'a [f32],
    pub split: &'a Split,
    pub tokens: usize,
}

impl Gathered<'_> {
    /// Has `join` join each piece of token `t` with the same rows of `row`.
    pub fn row(&self, t: usize, row: &mut [f32], join: impl Fn(&mut [f32], &[f32])) {
        for rank in 0..self.split.ranks() {
            let own = self.split.of(rank);
            let piece = &self.pieces[own.start * self.tokens + t * own.len()..][..own.len()];
            join(&mut row[own], piece);
        }
    }
}
