//! The key/value cache.

use crate::kernels::{PAGE, Past};

/// Keys and values of the positions that one rank's heads have seen, in f32.
///
/// Grows by pages of 64 positions; no page ever moves. Within a page each head has its keys as
/// `[head_dim, 64]`, so that scores are computed for many positions at once without a sum across
/// lanes, and its values as `[64, head_dim]`.
#[derive(Debug, Clone)]
pub struct KvCache {
    layers: Vec<Vec<Box<[f32]>>>,
    heads: usize,
    head_dim: usize,
    len: usize,
}

impl KvCache {
    pub(super) fn new(layers: usize, heads: usize, head_dim: usize) -> Self {
        Self { layers: vec![Vec::new(); layers], heads, head_dim, len: 0 }
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets the positions from `len` on; with `len` positions or fewer, nothing.
    ///
    /// Memory is kept for what follows.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.layers.iter().flatten().map(|page| size_of_val(&page[..])).sum()
    }

    pub(super) fn fits(&self, layers: usize, heads: usize, head_dim: usize) -> bool {
        (self.layers.len(), self.heads, self.head_dim) == (layers, heads, head_dim)
    }

    /// Room for positions below `len`.
    pub(super) fn reserve(&mut self, len: usize) {
        let page = 2 * self.heads * self.head_dim * PAGE;
        for layer in &mut self.layers {
            while layer.len() * PAGE < len {
                layer.push(vec![0.0; page].into_boxed_slice());
            }
        }
    }

    /// Writes the keys and values, `[heads, head_dim]` each, of a reserved position.
    pub(super) fn write(&mut self, layer: usize, position: usize, keys: &[f32], values: &[f32]) {
        let (page, slot) = (&mut self.layers[layer][position / PAGE], position % PAGE);
        let width = self.head_dim;
        let sections = page.chunks_exact_mut(2 * width * PAGE);
        let heads = keys.chunks_exact(width).zip(values.chunks_exact(width));
        for (section, (key, value)) in sections.zip(heads) {
            let (key_section, value_section) = section.split_at_mut(width * PAGE);
            for (column, key) in key_section.chunks_exact_mut(PAGE).zip(key) {
                column[slot] = *key;
            }
            value_section[slot * width..(slot + 1) * width].copy_from_slice(value);
        }
    }

    /// What a query at position `len - 1` attends to.
    pub(super) fn past(&self, layer: usize, head: usize, len: usize) -> Past<'_> {
        Past {
            pages: &self.layers[layer],
            offset: head * 2 * self.head_dim * PAGE,
            head_dim: self.head_dim,
            len,
        }
    }

    /// Makes written positions part of the sequence.
    pub(super) fn advance(&mut self, count: usize) {
        self.len += count;
    }
}
