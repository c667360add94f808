//! Our logits for `cargo xtask interop`, which holds them against those of PEFT.
//!
//! ```text
//! reference_logits f32|engine BASE.gguf ADAPTER_DIR TRAIN.jsonl COUNT OUT.safetensors
//! ```
//! Of the first `COUNT` examples that `trainer export-data` wrote, `[tokens, vocab]` each, under the
//! names `0`, `1`, ...: by the training forward pass in f32 with the adapter beside its matrices, or
//! by the engine, merged and quantized as the page does it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use candle_core::{Device, Tensor};
use serde::Deserialize;
use shared::{Linear, Model, RankSlice, SoloExchange};
use tests::llama::{attach, no_dropout};
use trainer::adapter_dir::AdapterDir;
use trainer::finetune::{Storage, llama_from_base};
use trainer::input::load_base;
use trainer::nn::{Batch, Segment};

/// Of a line of the export, what goes into the model.
#[derive(Deserialize)]
struct Line {
    input_ids: Vec<u32>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [how, base, adapter, examples, count, out] = words[..] else {
        bail!("expected f32|engine BASE ADAPTER_DIR TRAIN.jsonl COUNT OUT");
    };
    let base = load_base(Path::new(base))?;
    let adapter = AdapterDir::open(Path::new(adapter))?.adapter;
    adapter.check(&base.config)?;
    let text = fs::read_to_string(examples).with_context(|| examples.to_owned())?;
    let lines = text.lines().take(count.parse().context("COUNT is no number")?);
    let sequences: Vec<Line> = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
    let logits: Vec<Vec<f32>> = match how {
        "f32" => {
            let all = base.config.num_hidden_layers * Linear::ALL.len();
            ensure!(adapter.pairs.len() == all, "expected an adapter on every matrix");
            let mut model = llama_from_base(&base, Storage::F32)?;
            attach(&mut model, &adapter);
            let forward = |line: &Line| -> Result<Vec<f32>> {
                let mut segment = Segment::default();
                segment.push(&line.input_ids, 1.0);
                let batch = Batch::pack(&[], [&segment]);
                Ok(model.logits(&batch, &mut no_dropout())?.flatten_all()?.to_vec1()?)
            };
            sequences.iter().map(forward).collect::<Result<_>>()?
        }
        "engine" => {
            let model = Model::load_merged(&base, RankSlice::SOLO, &adapter)?;
            let forward = |line: &Line| {
                model.forward_all(&mut model.new_cache(), &line.input_ids, &mut SoloExchange)
            };
            sequences.iter().map(forward).collect::<Result<_, _>>()?
        }
        _ => bail!("{how:?}: expected f32 or engine"),
    };
    let tensors = logits.into_iter().enumerate().map(|(index, logits)| {
        let shape = (logits.len() / base.config.vocab_size, base.config.vocab_size);
        Ok((index.to_string(), Tensor::from_vec(logits, shape, &Device::Cpu)?))
    });
    let tensors = tensors.collect::<Result<HashMap<_, _>>>()?;
    Ok(candle_core::safetensors::save(&tensors, out)?)
}
