//! The Llama architecture for training: forward pass, loss, and an explicit backward pass.
//!
//! Same mathematics as Hugging Face's `LlamaForCausalLM` in f32. The backward pass is
//! written out instead of left to autograd: the frozen base then costs no weight
//! gradients, row-wise operations are fused, and logits exist only where there is loss.

use anyhow::{Result, ensure};
use candle_core::Tensor;
use shared::ModelConfig;

use super::attention::{Heads, Saved, attention, attention_backward};
use super::batch::Batch;
use super::elementwise::{
    cross_entropy, rms_norm, rms_norm_backward, rope, rope_table, swiglu, swiglu_backward,
};
use super::grads::{Grads, Param};
use super::linear::{Dropout, Linear, LinearCache};
use super::slices::{add, matrix, slice, vector};

/// One transformer block.
#[derive(Clone, Debug)]
pub struct Block {
    /// RMSNorm before attention: `[hidden]`.
    pub input_layernorm: Param,
    /// `[heads * head_dim, hidden]`.
    pub q_proj: Linear,
    /// `[kv_heads * head_dim, hidden]`.
    pub k_proj: Linear,
    /// `[kv_heads * head_dim, hidden]`.
    pub v_proj: Linear,
    /// `[hidden, heads * head_dim]`.
    pub o_proj: Linear,
    /// RMSNorm before the feed-forward network: `[hidden]`.
    pub post_attention_layernorm: Param,
    /// `[intermediate, hidden]`.
    pub gate_proj: Linear,
    /// `[intermediate, hidden]`.
    pub up_proj: Linear,
    /// `[hidden, intermediate]`.
    pub down_proj: Linear,
}

/// A Llama model in f32, Hugging Face layout.
#[derive(Clone, Debug)]
pub struct Llama {
    /// Hyper-parameters.
    pub config: ModelConfig,
    /// `[vocab, hidden]`.
    pub embed_tokens: Param,
    /// The blocks.
    pub blocks: Vec<Block>,
    /// Final RMSNorm: `[hidden]`.
    pub norm: Param,
    /// `[vocab, hidden]`; `None` when tied to the embedding.
    pub lm_head: Option<Param>,
    /// Number of trained parameters (tensors).
    pub slots: usize,
    /// Cosines and sines, see [`rope_table`].
    pub rope: std::sync::Arc<Vec<(f32, f32)>>,
}

/// Loss of one target.
#[derive(Clone, Copy, Debug)]
pub struct TargetLoss {
    /// Cross-entropy in nats, unweighted.
    pub loss: f32,
    /// Whether the target was the most likely token.
    pub hit: bool,
}

struct BlockCache {
    x: Tensor,
    inv_rms: Vec<f32>,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attended: Tensor,
    lse: Vec<f32>,
    mid: Tensor,
    mid_inv_rms: Vec<f32>,
    gate: Tensor,
    up: Tensor,
    linears: [LinearCache; 7],
}

impl Block {
    /// The linear layers with their Hugging Face module paths.
    pub fn linears_mut(&mut self) -> [&mut Linear; 7] {
        [
            &mut self.q_proj,
            &mut self.k_proj,
            &mut self.v_proj,
            &mut self.o_proj,
            &mut self.gate_proj,
            &mut self.up_proj,
            &mut self.down_proj,
        ]
    }
}

impl Llama {
    /// All parameters, in a fixed order.
    pub fn params_mut(&mut self) -> Vec<&mut Param> {
        let mut params = vec![&mut self.embed_tokens];
        for block in &mut self.blocks {
            params.push(&mut block.input_layernorm);
            params.push(&mut block.post_attention_layernorm);
            for linear in [
                &mut block.q_proj,
                &mut block.k_proj,
                &mut block.v_proj,
                &mut block.o_proj,
                &mut block.gate_proj,
                &mut block.up_proj,
                &mut block.down_proj,
            ] {
                params.push(&mut linear.weight);
                if let Some(lora) = &mut linear.lora {
                    params.push(&mut lora.a);
                    params.push(&mut lora.b);
                }
            }
        }
        params.push(&mut self.norm);
        params.extend(self.lm_head.as_mut());
        params
    }

    /// The cosine table for `config`.
    pub fn rope_for(config: &ModelConfig) -> std::sync::Arc<Vec<(f32, f32)>> {
        std::sync::Arc::new(rope_table(config.context_length, config.head_dim, config.rope_theta))
    }

    fn heads(&self) -> Heads {
        Heads {
            num_attention_heads: self.config.num_attention_heads,
            num_key_value_heads: self.config.num_key_value_heads,
            head_dim: self.config.head_dim,
        }
    }

    /// Losses of the batch's targets, in order.
    pub fn losses(&self, batch: &Batch, dropout: &mut Dropout) -> Result<Vec<TargetLoss>> {
        let (hidden, _) = self.forward(batch, dropout)?;
        Ok(self.head(&hidden, batch, 1.0, None)?.0)
    }

    /// Logits of every row: `[rows, vocab]`.
    pub fn logits(&self, batch: &Batch, dropout: &mut Dropout) -> Result<Tensor> {
        let (hidden, _) = self.forward(batch, dropout)?;
        let (normed, _) = self.norm_rows(&hidden, &self.norm)?;
        Ok(normed.matmul(&self.output().value.t()?)?)
    }

    /// Losses, and the gradients of `scale * sum(weight * loss)` added to `grads`.
    pub fn losses_and_grads(
        &self,
        batch: &Batch,
        scale: f32,
        dropout: &mut Dropout,
        grads: &mut Grads,
    ) -> Result<Vec<TargetLoss>> {
        let (hidden, caches) = self.forward(batch, dropout)?;
        let (losses, dhidden) = self.head(&hidden, batch, scale, Some(grads))?;
        let mut dh = dhidden.expect("the head returns a gradient when it is given a place for it");
        for (block, cache) in self.blocks.iter().zip(&caches).rev() {
            dh = self.block_backward(block, cache, batch, &dh, grads)?;
        }
        if self.embed_tokens.is_trained() {
            let width = self.config.hidden_size;
            let mut dembed = vec![0f32; self.config.vocab_size * width];
            for (&token, row) in batch.tokens.iter().zip(slice(&dh)?.chunks_exact(width)) {
                let target = &mut dembed[token as usize * width..][..width];
                target.iter_mut().zip(row).for_each(|(t, g)| *t += g);
            }
            grads.add(&self.embed_tokens, matrix(dembed, self.config.vocab_size, width)?)?;
        }
        Ok(losses)
    }

    fn output(&self) -> &Param {
        self.lm_head.as_ref().unwrap_or(&self.embed_tokens)
    }

    fn forward(&self, batch: &Batch, dropout: &mut Dropout) -> Result<(Tensor, Vec<BlockCache>)> {
        let longest = batch.positions.iter().max().map_or(0, |p| *p as usize + 1);
        ensure!(
            longest <= self.config.context_length,
            "an example of {longest} tokens does not fit the model's context of {}",
            self.config.context_length
        );
        let mut hidden =
            gather(&self.embed_tokens.value, batch.tokens.iter().map(|t| *t as usize))?;
        let mut caches = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            let (next, cache) = self.block_forward(block, hidden, batch, dropout)?;
            hidden = next;
            caches.push(cache);
        }
        Ok((hidden, caches))
    }

    fn block_forward(
        &self,
        block: &Block,
        x: Tensor,
        batch: &Batch,
        dropout: &mut Dropout,
    ) -> Result<(Tensor, BlockCache)> {
        let heads = self.heads();
        let rows = batch.tokens.len();
        let (normed, inv_rms) = self.norm_rows(&x, &block.input_layernorm)?;
        let (q, q_cache) = block.q_proj.forward(&normed, dropout)?;
        let (k, k_cache) = block.k_proj.forward(&normed, dropout)?;
        let (v, v_cache) = block.v_proj.forward(&normed, dropout)?;
        let q = self.rotate(&q, &batch.positions, false)?;
        let k = self.rotate(&k, &batch.positions, false)?;
        let mut attended = vec![0f32; rows * heads.num_attention_heads * heads.head_dim];
        let mut lse = vec![0f32; rows * heads.num_attention_heads];
        attention(
            &slice(&q)?,
            &slice(&k)?,
            &slice(&v)?,
            heads,
            &batch.layout,
            &mut attended,
            &mut lse,
        );
        let attended = matrix(attended, rows, heads.num_attention_heads * heads.head_dim)?;
        let (o, o_cache) = block.o_proj.forward(&attended, dropout)?;
        let mid = add(&x, &o)?;
        let (normed, mid_inv_rms) = self.norm_rows(&mid, &block.post_attention_layernorm)?;
        let (gate, gate_cache) = block.gate_proj.forward(&normed, dropout)?;
        let (up, up_cache) = block.up_proj.forward(&normed, dropout)?;
        let mut activated = vec![0f32; gate.elem_count()];
        swiglu(&slice(&gate)?, &slice(&up)?, &mut activated);
        let activated = matrix(activated, rows, self.config.intermediate_size)?;
        let (down, down_cache) = block.down_proj.forward(&activated, dropout)?;
        let out = add(&mid, &down)?;
        let linears = [q_cache, k_cache, v_cache, o_cache, gate_cache, up_cache, down_cache];
        let cache =
            BlockCache { x, inv_rms, q, k, v, attended, lse, mid, mid_inv_rms, gate, up, linears };
        Ok((out, cache))
    }

    fn block_backward(
        &self,
        block: &Block,
        cache: &BlockCache,
        batch: &Batch,
        dout: &Tensor,
        grads: &mut Grads,
    ) -> Result<Tensor> {
        let heads = self.heads();
        let rows = batch.tokens.len();
        let [q_cache, k_cache, v_cache, o_cache, gate_cache, up_cache, down_cache] = &cache.linears;

        let dactivated = block.down_proj.backward(dout, down_cache, grads)?;
        let mut dgate = vec![0f32; dactivated.elem_count()];
        let mut dup = vec![0f32; dactivated.elem_count()];
        swiglu_backward(
            &slice(&dactivated)?,
            &slice(&cache.gate)?,
            &slice(&cache.up)?,
            &mut dgate,
            &mut dup,
        );
        let dgate = matrix(dgate, rows, self.config.intermediate_size)?;
        let dup = matrix(dup, rows, self.config.intermediate_size)?;
        let dnormed = add(
            &block.gate_proj.backward(&dgate, gate_cache, grads)?,
            &block.up_proj.backward(&dup, up_cache, grads)?,
        )?;
        let dmid = self.norm_rows_backward(
            &dnormed,
            &cache.mid,
            &cache.mid_inv_rms,
            &block.post_attention_layernorm,
            grads,
        )?;
        let dmid = add(dout, &dmid)?;

        let dattended = block.o_proj.backward(&dmid, o_cache, grads)?;
        let mut dq = vec![0f32; cache.q.elem_count()];
        let mut dk = vec![0f32; cache.k.elem_count()];
        let mut dv = vec![0f32; cache.v.elem_count()];
        attention_backward(
            &slice(&dattended)?,
            Saved {
                q: &slice(&cache.q)?,
                k: &slice(&cache.k)?,
                v: &slice(&cache.v)?,
                out: &slice(&cache.attended)?,
                lse: &cache.lse,
            },
            heads,
            &batch.layout,
            &mut dq,
            &mut dk,
            &mut dv,
        );
        let kv_width = heads.num_key_value_heads * heads.head_dim;
        rope(&mut dq, &batch.positions, &self.rope, heads.head_dim, true);
        rope(&mut dk, &batch.positions, &self.rope, heads.head_dim, true);
        let dq = matrix(dq, rows, heads.num_attention_heads * heads.head_dim)?;
        let dk = matrix(dk, rows, kv_width)?;
        let dv = matrix(dv, rows, kv_width)?;
        let dnormed = add(
            &add(
                &block.q_proj.backward(&dq, q_cache, grads)?,
                &block.k_proj.backward(&dk, k_cache, grads)?,
            )?,
            &block.v_proj.backward(&dv, v_cache, grads)?,
        )?;
        let dx = self.norm_rows_backward(
            &dnormed,
            &cache.x,
            &cache.inv_rms,
            &block.input_layernorm,
            grads,
        )?;
        add(&dmid, &dx)
    }

    /// Final norm, output matrix and loss at the targets' rows only.
    fn head(
        &self,
        hidden: &Tensor,
        batch: &Batch,
        scale: f32,
        grads: Option<&mut Grads>,
    ) -> Result<(Vec<TargetLoss>, Option<Tensor>)> {
        let width = self.config.hidden_size;
        let rows = || batch.targets.iter().map(|target| target.row as usize);
        let picked = gather(hidden, rows())?;
        let (normed, inv_rms) = self.norm_rows(&picked, &self.norm)?;
        let logits = normed.matmul(&self.output().value.t()?)?;
        let targets: Vec<u32> = batch.targets.iter().map(|target| target.token).collect();
        let weights: Vec<f32> = batch.targets.iter().map(|target| target.weight * scale).collect();
        let mut dlogits = slice(&logits)?.to_vec();
        let losses = cross_entropy(&mut dlogits, &targets, &weights);
        let losses = losses.into_iter().map(|(loss, hit)| TargetLoss { loss, hit }).collect();
        let Some(grads) = grads else {
            return Ok((losses, None));
        };
        let dlogits = matrix(dlogits, targets.len(), self.config.vocab_size)?;
        if self.output().is_trained() {
            grads.add(self.output(), dlogits.t()?.matmul(&normed)?)?;
        }
        let dnormed = dlogits.matmul(&self.output().value)?;
        let dpicked = self.norm_rows_backward(&dnormed, &picked, &inv_rms, &self.norm, grads)?;
        let mut dhidden = vec![0f32; batch.tokens.len() * width];
        for (row, grad) in rows().zip(slice(&dpicked)?.chunks_exact(width)) {
            dhidden[row * width..][..width].copy_from_slice(grad);
        }
        Ok((losses, Some(matrix(dhidden, batch.tokens.len(), width)?)))
    }

    fn norm_rows(&self, x: &Tensor, gain: &Param) -> Result<(Tensor, Vec<f32>)> {
        let (rows, cols) = x.dims2()?;
        let mut y = vec![0f32; rows * cols];
        let mut inv_rms = vec![0f32; rows];
        rms_norm(&slice(x)?, &slice(&gain.value)?, self.config.rms_norm_eps, &mut y, &mut inv_rms);
        Ok((matrix(y, rows, cols)?, inv_rms))
    }

    fn norm_rows_backward(
        &self,
        dy: &Tensor,
        x: &Tensor,
        inv_rms: &[f32],
        gain: &Param,
        grads: &mut Grads,
    ) -> Result<Tensor> {
        let (rows, cols) = x.dims2()?;
        let mut dx = vec![0f32; rows * cols];
        let mut dgain = gain.is_trained().then(|| vec![0f32; cols]);
        rms_norm_backward(
            &slice(dy)?,
            &slice(x)?,
            &slice(&gain.value)?,
            inv_rms,
            &mut dx,
            dgain.as_deref_mut(),
        );
        if let Some(dgain) = dgain {
            grads.add(gain, vector(dgain)?)?;
        }
        matrix(dx, rows, cols)
    }

    fn rotate(&self, x: &Tensor, positions: &[u32], inverse: bool) -> Result<Tensor> {
        let (rows, cols) = x.dims2()?;
        let mut rotated = slice(x)?.to_vec();
        rope(&mut rotated, positions, &self.rope, self.config.head_dim, inverse);
        matrix(rotated, rows, cols)
    }
}

fn gather(table: &Tensor, rows: impl Iterator<Item = usize>) -> Result<Tensor> {
    let width = table.dim(1)?;
    let data = slice(table)?;
    let mut picked = Vec::new();
    let mut count = 0;
    for row in rows {
        picked.extend_from_slice(&data[row * width..][..width]);
        count += 1;
    }
    matrix(picked, count, width)
}
