//! The arithmetic of a pass: embedding, layers, logits.

use super::rope::Rotation;
use super::split::Split;
use super::{CHUNK, KvCache, Layer, Model};
use crate::Result;
use crate::exchange::Exchange;
use crate::kernels::{Activations, PAGE, TILE};
use crate::quant::packed::Matrix;
use crate::sampler::check_finite;

impl Model {
    pub(super) fn run_chunks(
        &self,
        cache: &mut KvCache,
        tokens: &[u32],
        exchange: &mut dyn Exchange,
        all: bool,
    ) -> Result<Vec<f32>> {
        let mut logits = Vec::new();
        let mut last = Vec::new();
        for chunk in tokens.chunks(CHUNK) {
            let hidden = self.layers(cache, chunk, exchange)?;
            if all {
                for hidden in hidden.chunks_exact(self.config.hidden_size) {
                    logits.extend(self.logits(hidden, exchange)?);
                }
            }
            last = hidden;
        }
        if !all {
            let start = last.len() - self.config.hidden_size;
            logits = self.logits(&last[start..], exchange)?;
        }
        Ok(logits)
    }

    /// The residual stream after all layers, `[tokens, hidden_size]`.
    fn layers(
        &self,
        cache: &mut KvCache,
        tokens: &[u32],
        exchange: &mut dyn Exchange,
    ) -> Result<Vec<f32>> {
        let start = cache.len();
        cache.reserve(start + tokens.len());
        let rotation = Rotation::new(&self.frequencies, start, tokens.len());
        let mut x = self.embed(tokens, exchange)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let attended = self.attention(index, layer, &x, &rotation, cache, exchange)?;
            add(&mut x, &attended);
            let transformed = self.mlp(layer, &x, exchange)?;
            add(&mut x, &transformed);
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

    fn attention(
        &self,
        index: usize,
        layer: &Layer,
        x: &[f32],
        rotation: &Rotation,
        cache: &mut KvCache,
        exchange: &mut dyn Exchange,
    ) -> Result<Vec<f32>> {
        let head_dim = self.config.head_dim;
        let normed = self.normed(x, &layer.attention_norm);
        let tokens = normed.tokens();
        let mut queries = self.product(&layer.query, &normed);
        let mut keys = self.product(&layer.key, &normed);
        let values = self.product(&layer.value, &normed);
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
        let mut scores = vec![0.0; heads * (start + tokens).next_multiple_of(PAGE)];
        let mut attended = vec![0.0; queries.len()];
        for t in 0..tokens {
            for (local, head) in self.key_value_heads.clone().enumerate() {
                let past = cache.past(index, local, start + t + 1);
                let first = self.query_heads.start;
                let own = |head: usize| head.clamp(first, self.query_heads.end) - first;
                let own = own(head * group) * head_dim..own((head + 1) * group) * head_dim;
                let own = t * query_width + own.start..t * query_width + own.end;
                let (queries, out) = (&queries[own.clone()], &mut attended[own]);
                self.kernels.attend(queries, past, scale, &mut scores, out);
            }
        }
        let attended = self.gather(&self.query_split, tokens, attended, exchange)?;
        let activations = self.quantized(&attended, self.config.query_width());
        let output = self.product(&layer.output, &activations);
        self.gather(&self.hidden_split, tokens, output, exchange)
    }

    fn mlp(&self, layer: &Layer, x: &[f32], exchange: &mut dyn Exchange) -> Result<Vec<f32>> {
        let normed = self.normed(x, &layer.mlp_norm);
        let tokens = normed.tokens();
        let mut inner = self.product(&layer.gate, &normed);
        let up = self.product(&layer.up, &normed);
        self.kernels.swiglu(&mut inner, &up);
        let inner = self.gather(&self.inner_split, tokens, inner, exchange)?;
        let activations = self.quantized(&inner, self.config.intermediate_size);
        let down = self.product(&layer.down, &activations);
        self.gather(&self.hidden_split, tokens, down, exchange)
    }

    /// Logits of one token.
    fn logits(&self, hidden: &[f32], exchange: &mut dyn Exchange) -> Result<Vec<f32>> {
        let normed = self.normed(hidden, &self.output_norm);
        let local = self.product(self.head.as_ref().unwrap_or(&self.embedding), &normed);
        let logits = self.gather(&self.vocab_split, 1, local, exchange)?;
        check_finite(&logits)?;
        Ok(logits)
    }

    fn normed(&self, x: &[f32], weight: &[f32]) -> Activations {
        let mut normed = vec![0.0; x.len()];
        let rows = x.chunks_exact(weight.len()).zip(normed.chunks_exact_mut(weight.len()));
        for (x, out) in rows {
            self.kernels.rms_norm(x, weight, self.config.rms_norm_eps, out);
        }
        self.quantized(&normed, weight.len())
    }

    fn quantized(&self, values: &[f32], width: usize) -> Activations {
        Activations::quantize(self.kernels, values, width)
    }

    /// This rank's rows of a matrix product, `[tokens, rows]`.
    fn product(&self, weights: &Matrix, x: &Activations) -> Vec<f32> {
        let mut out = vec![0.0; weights.rows() * x.tokens()];
        self.kernels.matmul(weights, x, &mut out);
        out
    }

    /// All ranks' rows, `[tokens, split.rows()]`, from this rank's.
    fn gather(
        &self,
        split: &Split,
        tokens: usize,
        local: Vec<f32>,
        exchange: &mut dyn Exchange,
    ) -> Result<Vec<f32>> {
        if self.slice.ranks() == 1 {
            return Ok(local);
        }
        // Pieces travel as [rank, token, row].
        let rows = split.rows();
        let mut pieces = vec![0.0; tokens * rows];
        exchange.all_gather(&local, split.own().start * tokens, &mut pieces)?;
        if tokens == 1 {
            return Ok(pieces);
        }
        let mut full = vec![0.0; tokens * rows];
        for rank in 0..self.slice.ranks() {
            let own = split.of(rank);
            for t in 0..tokens {
                let piece = &pieces[own.start * tokens + t * own.len()..][..own.len()];
                full[t * rows + own.start..t * rows + own.end].copy_from_slice(piece);
            }
        }
        Ok(full)
    }
}

fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}
