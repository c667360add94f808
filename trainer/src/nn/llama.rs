//! The Llama architecture for training: forward pass, loss, and an explicit backward pass.
//!
//! Same mathematics as Hugging Face's `LlamaForCausalLM` in f32. The backward pass is
//! written out instead of left to autograd: the frozen base then costs no weight
//! gradients, row-wise operations are fused, and logits exist only where there is loss.

use anyhow::{Context, Result, ensure};
use candle_core::Tensor;
use shared::ModelConfig;

use super::attention::{Heads, Saved, attention, attention_backward};
use super::batch::Batch;
use super::elementwise::{
    cross_entropy, rms_norm, rms_norm_backward, rope, rope_table, swiglu, swiglu_backward,
};
use super::grads::{Grads, Param};
use super::linear::{Dropout, Linear, LinearCache};
use super::matrix::Matrix;
use super::product::{Mat, add_product};
use super::slices::{matrix, slice, vector};

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
    pub embed_tokens: Matrix,
    /// The blocks.
    pub blocks: Vec<Block>,
    /// Final RMSNorm: `[hidden]`.
    pub norm: Param,
    /// `[vocab, hidden]`; `None` when tied to the embedding.
    pub lm_head: Option<Matrix>,
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
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    attended: Tensor,
    lse: Vec<f32>,
    mid: Tensor,
    mid_inv_rms: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
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
        let mut params: Vec<&mut Param> = self.embed_tokens.param_mut().into_iter().collect();
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
                params.extend(linear.weight.param_mut());
                if let Some(lora) = &mut linear.lora {
                    params.push(&mut lora.a);
                    params.push(&mut lora.b);
                }
            }
        }
        params.push(&mut self.norm);
        params.extend(self.lm_head.as_mut().and_then(Matrix::param_mut));
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
        let (hidden, _) = self.forward(batch, Some(&target_rows(batch)?), dropout)?;
        Ok(self.head(&hidden, batch, 1.0, None)?.0)
    }

    /// Logits of every row: `[rows, vocab]`.
    pub fn logits(&self, batch: &Batch, dropout: &mut Dropout) -> Result<Tensor> {
        let (hidden, _) = self.forward(batch, None, dropout)?;
        let (normed, _) = self.norm_rows(&hidden, &self.norm)?;
        matrix(self.output().project(&normed)?, normed.dim(0)?, self.config.vocab_size)
    }

    /// Losses, and the gradients of `scale * sum(weight * loss)` added to `grads`.
    pub fn losses_and_grads(
        &self,
        batch: &Batch,
        scale: f32,
        dropout: &mut Dropout,
        grads: &mut Grads,
    ) -> Result<Vec<TargetLoss>> {
        let rows = target_rows(batch)?;
        let (hidden, mut caches) = self.forward(batch, Some(&rows), dropout)?;
        let (losses, dhidden) = self.head(&hidden, batch, scale, Some(grads))?;
        let mut dh = dhidden.expect("the head returns a gradient when it is given a place for it");
        for (index, block) in self.blocks.iter().enumerate().rev() {
            // Taken, so that a block's memory is free once its gradients are there.
            let cache = caches.pop().context("every block keeps its forward pass")?;
            let picked = (index + 1 == self.blocks.len()).then_some(rows.as_slice());
            // Below the first adapter nothing is trained.
            let goes_on = index > 0
                || self.embed_tokens.trained().is_some()
                || block.input_layernorm.is_trained();
            dh = self.block_backward(block, &cache, batch, picked, &dh, goes_on, grads)?;
        }
        if let Some(embed_tokens) = self.embed_tokens.trained() {
            let width = self.config.hidden_size;
            let mut dembed = vec![0f32; self.config.vocab_size * width];
            for (&token, row) in batch.tokens.iter().zip(slice(&dh)?.chunks_exact(width)) {
                let target = &mut dembed[token as usize * width..][..width];
                target.iter_mut().zip(row).for_each(|(t, g)| *t += g);
            }
            grads.add(embed_tokens, matrix(dembed, self.config.vocab_size, width)?)?;
        }
        Ok(losses)
    }

    fn output(&self) -> &Matrix {
        self.lm_head.as_ref().unwrap_or(&self.embed_tokens)
    }

    /// The last block's output in `rows` (all of them for `None`), and what the backward pass needs.
    fn forward(
        &self,
        batch: &Batch,
        rows: Option<&[usize]>,
        dropout: &mut Dropout,
    ) -> Result<(Tensor, Vec<BlockCache>)> {
        let longest = batch.positions.iter().max().map_or(0, |p| *p as usize + 1);
        ensure!(
            longest <= self.config.context_length,
            "an example of {longest} tokens does not fit the model's context of {}",
            self.config.context_length
        );
        let mut hidden = self.embed_tokens.gather(batch.tokens.iter().map(|t| *t as usize))?;
        let mut caches = Vec::with_capacity(self.blocks.len());
        for (index, block) in self.blocks.iter().enumerate() {
            let picked = rows.filter(|_| index + 1 == self.blocks.len());
            let (next, cache) = self.block_forward(block, hidden, batch, picked, dropout)?;
            hidden = next;
            caches.push(cache);
        }
        Ok((hidden, caches))
    }

    /// With `picked`, what follows attention is done in those rows only, and they are the output.
    fn block_forward(
        &self,
        block: &Block,
        x: Tensor,
        batch: &Batch,
        picked: Option<&[usize]>,
        dropout: &mut Dropout,
    ) -> Result<(Tensor, BlockCache)> {
        let heads = self.heads();
        let rows = batch.tokens.len();
        let (normed, inv_rms) = self.norm_rows(&x, &block.input_layernorm)?;
        let (mut q, q_cache) = block.q_proj.forward(&normed, dropout)?;
        let (mut k, k_cache) = block.k_proj.forward(&normed, dropout)?;
        let (v, v_cache) = block.v_proj.forward(&normed, dropout)?;
        drop(normed);
        rope(&mut q, &batch.positions, &self.rope, heads.head_dim, false);
        rope(&mut k, &batch.positions, &self.rope, heads.head_dim, false);
        let mut attended = vec![0f32; q.len()];
        let mut lse = vec![0f32; rows * heads.num_attention_heads];
        attention(&q, &k, &v, heads, &batch.layout, &mut attended, &mut lse);
        let attended = matrix(attended, rows, heads.num_attention_heads * heads.head_dim)?;
        let (o, o_cache) = block.o_proj.forward(&pick(&attended, picked)?, dropout)?;
        let mid = plus(o, &pick(&x, picked)?)?;
        let (normed, mid_inv_rms) = self.norm_rows(&mid, &block.post_attention_layernorm)?;
        let (gate, gate_cache) = block.gate_proj.forward(&normed, dropout)?;
        let (up, up_cache) = block.up_proj.forward(&normed, dropout)?;
        drop(normed);
        let activated = self.activate(&gate, &up)?;
        let (down, down_cache) = block.down_proj.forward(&activated, dropout)?;
        let out = plus(down, &mid)?;
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
        picked: Option<&[usize]>,
        dout: &Tensor,
        goes_on: bool,
        grads: &mut Grads,
    ) -> Result<Tensor> {
        let heads = self.heads();
        let rows = batch.tokens.len();
        let [q_cache, k_cache, v_cache, o_cache, gate_cache, up_cache, down_cache] = &cache.linears;

        // Inputs of the linear layers are computed again rather than kept: a third of the memory
        // for a hundredth of the time.
        let activated = self.activate(&cache.gate, &cache.up)?;
        let mut dactivated = vec![0f32; activated.elem_count()];
        block.down_proj.backward(dout, &activated, down_cache, grads, Some(&mut dactivated))?;
        drop(activated);
        let mut dgate = vec![0f32; dactivated.len()];
        let mut dup = vec![0f32; dactivated.len()];
        swiglu_backward(&dactivated, &cache.gate, &cache.up, &mut dgate, &mut dup);
        drop(dactivated);
        let dgate = matrix(dgate, dout.dim(0)?, self.config.intermediate_size)?;
        let dup = matrix(dup, dout.dim(0)?, self.config.intermediate_size)?;
        let (normed, _) = self.norm_rows(&cache.mid, &block.post_attention_layernorm)?;
        let mut dnormed = vec![0f32; normed.elem_count()];
        block.gate_proj.backward(&dgate, &normed, gate_cache, grads, Some(&mut dnormed))?;
        block.up_proj.backward(&dup, &normed, up_cache, grads, Some(&mut dnormed))?;
        let dmid = self.norm_rows_backward(
            &dnormed,
            &cache.mid,
            &cache.mid_inv_rms,
            &block.post_attention_layernorm,
            grads,
        )?;
        let dmid = plus(dmid, dout)?;

        let attended = pick(&cache.attended, picked)?;
        let mut dattended = vec![0f32; attended.elem_count()];
        block.o_proj.backward(&dmid, &attended, o_cache, grads, Some(&mut dattended))?;
        drop(attended);
        let dattended = put_back(dattended, picked, rows);
        let dmid = match picked {
            None => dmid,
            Some(_) => {
                let width = self.config.hidden_size;
                matrix(put_back(slice(&dmid)?.to_vec(), picked, rows), rows, width)?
            }
        };
        let mut dq = vec![0f32; cache.q.len()];
        let mut dk = vec![0f32; cache.k.len()];
        let mut dv = vec![0f32; cache.v.len()];
        attention_backward(
            &dattended,
            Saved {
                q: &cache.q,
                k: &cache.k,
                v: &cache.v,
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
        let (normed, _) = self.norm_rows(&cache.x, &block.input_layernorm)?;
        let mut dnormed = goes_on.then(|| vec![0f32; normed.elem_count()]);
        block.q_proj.backward(&dq, &normed, q_cache, grads, dnormed.as_deref_mut())?;
        block.k_proj.backward(&dk, &normed, k_cache, grads, dnormed.as_deref_mut())?;
        block.v_proj.backward(&dv, &normed, v_cache, grads, dnormed.as_deref_mut())?;
        let Some(dnormed) = dnormed else { return Ok(dmid) };
        let dx = self.norm_rows_backward(
            &dnormed,
            &cache.x,
            &cache.inv_rms,
            &block.input_layernorm,
            grads,
        )?;
        plus(dx, &dmid)
    }

    /// Final norm, output matrix and loss; `hidden` has the targets' rows only.
    fn head(
        &self,
        hidden: &Tensor,
        batch: &Batch,
        scale: f32,
        grads: Option<&mut Grads>,
    ) -> Result<(Vec<TargetLoss>, Option<Tensor>)> {
        let width = self.config.hidden_size;
        let (normed, inv_rms) = self.norm_rows(hidden, &self.norm)?;
        let mut dlogits = self.output().project(&normed)?;
        let targets: Vec<u32> = batch.targets.iter().map(|target| target.token).collect();
        let weights: Vec<f32> = batch.targets.iter().map(|target| target.weight * scale).collect();
        let losses = cross_entropy(&mut dlogits, &targets, &weights);
        let losses = losses.into_iter().map(|(loss, hit)| TargetLoss { loss, hit }).collect();
        let Some(grads) = grads else {
            return Ok((losses, None));
        };
        let dlogits = matrix(dlogits, targets.len(), self.config.vocab_size)?;
        if let Some(output) = self.output().trained() {
            let mut doutput = vec![0f32; self.config.vocab_size * width];
            let (dlogits, normed) = (slice(&dlogits)?, slice(&normed)?);
            let dlogits = Mat::new(&dlogits, targets.len());
            add_product(&mut doutput, 1.0, dlogits.t(), Mat::new(&normed, targets.len()));
            grads.add(output, matrix(doutput, self.config.vocab_size, width)?)?;
        }
        let mut dnormed = vec![0f32; normed.elem_count()];
        self.output().add_input_gradient(&dlogits, &mut dnormed)?;
        let dhidden = self.norm_rows_backward(&dnormed, hidden, &inv_rms, &self.norm, grads)?;
        Ok((losses, Some(matrix(dhidden, targets.len(), width)?)))
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
        dy: &[f32],
        x: &Tensor,
        inv_rms: &[f32],
        gain: &Param,
        grads: &mut Grads,
    ) -> Result<Vec<f32>> {
        let (rows, cols) = x.dims2()?;
        let mut dx = vec![0f32; rows * cols];
        let mut dgain = gain.is_trained().then(|| vec![0f32; cols]);
        rms_norm_backward(
            dy,
            &slice(x)?,
            &slice(&gain.value)?,
            inv_rms,
            &mut dx,
            dgain.as_deref_mut(),
        );
        if let Some(dgain) = dgain {
            grads.add(gain, vector(dgain)?)?;
        }
        Ok(dx)
    }

    fn activate(&self, gate: &[f32], up: &[f32]) -> Result<Tensor> {
        let mut activated = vec![0f32; gate.len()];
        swiglu(gate, up, &mut activated);
        let width = self.config.intermediate_size;
        matrix(activated, gate.len() / width, width)
    }
}

/// `values + other`, in the memory of `values`.
fn plus(mut values: Vec<f32>, other: &Tensor) -> Result<Tensor> {
    let (rows, cols) = other.dims2()?;
    ensure!(values.len() == rows * cols, "{} values beside [{rows}, {cols}]", values.len());
    values.iter_mut().zip(slice(other)?.iter()).for_each(|(value, other)| *value += other);
    matrix(values, rows, cols)
}

/// The rows whose output predicts something.
fn target_rows(batch: &Batch) -> Result<Vec<usize>> {
    ensure!(!batch.targets.is_empty(), "a batch that predicts nothing has no loss");
    Ok(batch.targets.iter().map(|target| target.row as usize).collect())
}

/// The `picked` rows of `table`, or all of them.
fn pick(table: &Tensor, picked: Option<&[usize]>) -> Result<Tensor> {
    let Some(rows) = picked else { return Ok(table.clone()) };
    let width = table.dim(1)?;
    let data = slice(table)?;
    let mut values = Vec::with_capacity(rows.len() * width);
    rows.iter().for_each(|row| values.extend_from_slice(&data[row * width..][..width]));
    matrix(values, rows.len(), width)
}

/// The gradient of [`pick`]: zero in all other of `count` rows.
fn put_back(values: Vec<f32>, picked: Option<&[usize]>, count: usize) -> Vec<f32> {
    let Some(rows) = picked else { return values };
    let width = values.len() / rows.len();
    let mut all = vec![0f32; count * width];
    for (row, values) in rows.iter().zip(values.chunks_exact(width)) {
        all[row * width..][..width].copy_from_slice(values);
    }
    all
}
