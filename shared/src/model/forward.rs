//! The arithmetic of a pass: embedding, layers, logits.

use std::ops::Range;

use super::buffers::{Buffers, Gathered, room};
use super::rope::Rotation;
use super::split::Split;
use super::{CHUNK, KvCache, Layer, Model, OnLogits};
use crate::Result;
use crate::exchange::Exchange;
use crate::kernels::{Activations, PAGE, TILE};
use crate::quant::packed::Matrix;
use crate::sampler::check_finite;

impl Model {
    /// The logits after the last token; with `on_logits` it has those after every token instead,
    /// and none are returned.
    pub(super) fn run_chunks(
        &self,
        cache: &mut KvCache,
        tokens: &[u32],
        exchange: &mut dyn Exchange,
        mut on_logits: Option<OnLogits>,
    ) -> Result<Vec<f32>> {
        let width = self.config.hidden_size;
        let mut last = Vec::new();
        let mut buffers = Buffers::default();
        for chunk in tokens.chunks(CHUNK) {
            let hidden = self.layers(cache, chunk, exchange, &mut buffers)?;
            if let Some(on_logits) = &mut on_logits {
                for hidden in hidden.chunks_exact(width) {
                    on_logits(&self.logits(hidden, exchange)?);
                }
            }
            last = hidden;
        }
        match on_logits {
            Some(_) => Ok(Vec::new()),
            None => self.logits(&last[last.len() - width..], exchange),
        }
    }

    /// The residual stream after all layers, `[tokens, hidden_size]`.
    fn layers(
        &self,
        cache: &mut KvCache,
        tokens: &[u32],
        exchange: &mut dyn Exchange,
        buffers: &mut Buffers,
    ) -> Result<Vec<f32>> {
        let start = cache.len();
        cache.reserve(start + tokens.len());
        let rotation = Rotation::new(&self.frequencies, start, tokens.len());
        let mut x = self.embed(tokens, exchange)?;
        for (index, layer) in self.layers.iter().enumerate() {
            self.attention(index, layer, &mut x, &rotation, cache, exchange, buffers)?;
            self.mlp(layer, &mut x, exchange, buffers)?;
        }
        cache.advance(tokens.len());
        Ok(x)
    }

    fn embed(&self, tokens: &[u32], exchange: &mut dyn Exchange) -> Result<Vec<f32>> {
        let width = self.config.hidden_size;
        let owner = |token: u32| self.vocab_split.owner(token as usize);
        let own = self.vocab_split.own();
        let mut order: Vec<usize> = (0..tokens.len()).collect();
        order.sort_by_key(|&t| owner(tokens[t]));
        let before = tokens.iter().filter(|token| owner(**token) < self.slice.rank()).count();
        let mut local = Vec::new();
        for &t in &order {
            let row = tokens[t] as usize;
            if own.contains(&row) {
                let at = local.len();
                local.resize(at + width, 0.0);
                self.embedding.row(row - own.start, &mut local[at..]);
            }
        }
        let mut full = vec![0.0; tokens.len() * width];
        exchange.all_gather(&local, before * width, &mut full)?;
        let mut x = vec![0.0; tokens.len() * width];
        for (row, &t) in full.chunks_exact(width).zip(&order) {
            x[t * width..(t + 1) * width].copy_from_slice(row);
        }
        Ok(x)
    }

    /// Adds a layer's attention to the residual stream.
    #[allow(clippy::too_many_arguments)]
    fn attention(
        &self,
        index: usize,
        layer: &Layer,
        x: &mut [f32],
        rotation: &Rotation,
        cache: &mut KvCache,
        exchange: &mut dyn Exchange,
        buffers: &mut Buffers,
    ) -> Result<()> {
        let head_dim = self.config.head_dim;
        let Buffers {
            activations, queries, keys, values, scores, attended, output, gathered, ..
        } = buffers;
        self.normed(x, &layer.attention_norm, activations);
        let tokens = activations.tokens();
        let queries = self.product(&layer.query, activations, queries);
        let keys = self.product(&layer.key, activations, keys);
        let values = self.product(&layer.value, activations, values);
        let query_width = self.query_heads.len() * head_dim;
        let key_width = self.key_value_heads.len() * head_dim;
        let start = cache.len();
        for t in 0..tokens {
            rotation.apply(t, &mut queries[t * query_width..(t + 1) * query_width]);
            let own = t * key_width..(t + 1) * key_width;
            rotation.apply(t, &mut keys[own.clone()]);
            cache.write(index, start + t, &keys[own.clone()], &values[own]);
        }
        let group = self.config.num_attention_heads / self.config.num_key_value_heads;
        let scale = 1.0 / (head_dim as f32).sqrt();
        let heads = self.query_heads.len().min(group).min(TILE);
        let scores = room(scores, heads * (start + tokens).next_multiple_of(PAGE));
        let attended = room(attended, queries.len());
        // Where a query head stands among this rank's; at their end if it comes after them.
        let Range { start: first, end } = self.query_heads;
        let at = |head: usize| (head.clamp(first, end) - first) * head_dim;
        for (local, head) in self.key_value_heads.clone().enumerate() {
            let sharing = at(head * group)..at((head + 1) * group);
            for t in 0..tokens {
                let past = cache.past(index, local, start + t + 1);
                let queries = &queries[t * query_width..][sharing.clone()];
                let out = &mut attended[t * query_width..][sharing.clone()];
                self.kernels.attend(queries, past, scale, scores, out);
            }
        }
        let all = gather(&self.query_split, tokens, attended, gathered, exchange)?;
        self.quantized(&all, activations);
        let output = self.product(&layer.output, activations, output);
        add(x, &gather(&self.hidden_split, tokens, output, gathered, exchange)?);
        Ok(())
    }

    /// Adds a layer's feed-forward network to the residual stream.
    fn mlp(
        &self,
        layer: &Layer,
        x: &mut [f32],
        exchange: &mut dyn Exchange,
        buffers: &mut Buffers,
    ) -> Result<()> {
        let Buffers { activations, gate, up, output, gathered, .. } = buffers;
        self.normed(x, &layer.mlp_norm, activations);
        let tokens = activations.tokens();
        let gate = self.product(&layer.gate, activations, gate);
        let up = self.product(&layer.up, activations, up);
        self.kernels.swiglu(gate, up);
        let all = gather(&self.inner_split, tokens, gate, gathered, exchange)?;
        self.quantized(&all, activations);
        let output = self.product(&layer.down, activations, output);
        add(x, &gather(&self.hidden_split, tokens, output, gathered, exchange)?);
        Ok(())
    }

    /// Logits of one token.
    fn logits(&self, hidden: &[f32], exchange: &mut dyn Exchange) -> Result<Vec<f32>> {
        let mut activations = Activations::default();
        self.normed(hidden, &self.output_norm, &mut activations);
        let head = self.head.as_ref().unwrap_or(&self.embedding);
        let mut local = Vec::new();
        self.product(head, &activations, &mut local);
        if self.slice.ranks() > 1 {
            let mut logits = vec![0.0; self.vocab_split.rows()];
            exchange.all_gather(&local, self.vocab_split.own().start, &mut logits)?;
            local = logits;
        }
        check_finite(&local)?;
        Ok(local)
    }

    fn normed(&self, x: &[f32], weight: &[f32], activations: &mut Activations) {
        let width = weight.len();
        activations.quantize(self.kernels, x.len() / width, width, |t, out| {
            let x = &x[t * width..(t + 1) * width];
            self.kernels.rms_norm(x, weight, self.config.rms_norm_eps, out);
        });
    }

    fn quantized(&self, all: &Gathered, activations: &mut Activations) {
        activations.quantize(self.kernels, all.tokens, all.split.rows(), |t, out| {
            all.row(t, out, <[f32]>::copy_from_slice);
        });
    }

    /// This rank's rows of a matrix product, `[tokens, rows]`.
    fn product<'a>(
        &self,
        weights: &Matrix,
        x: &Activations,
        out: &'a mut Vec<f32>,
    ) -> &'a mut [f32] {
        let out = room(out, weights.rows() * x.tokens());
        self.kernels.matmul(weights, x, out);
        out
    }
}

/// All ranks' rows, from this rank's, `[tokens, row]`.
fn gather<'a>(
    split: &'a Split,
    tokens: usize,
    local: &'a [f32],
    buffer: &'a mut Vec<f32>,
    exchange: &mut dyn Exchange,
) -> Result<Gathered<'a>> {
    if split.ranks() == 1 {
        return Ok(Gathered { pieces: local, split, tokens });
    }
    let pieces = room(buffer, tokens * split.rows());
    exchange.all_gather(local, split.own().start * tokens, pieces)?;
    Ok(Gathered { pieces, split, tokens })
}

fn add(x: &mut [f32], all: &Gathered) {
    for (t, x) in x.chunks_exact_mut(all.split.rows()).enumerate() {
        all.row(t, x, |x, y| {
            for (x, y) in x.iter_mut().zip(y) {
                *x += y;
            }
        });
    }
}
