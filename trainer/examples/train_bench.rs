//! Our side of `cargo xtask bench train`: makes what both sides train on, and trains.
//!
//! ```text
//! train_bench prepare embedded|smollm2-135m DIR STEPS
//! train_bench run DIR THREADS
//! ```
//! `run` makes one optimizer step for each line that it reads, and answers with a line of
//! `key=value`. `train_peft.py`, the other side, speaks the same.

use std::fs;
use std::io::{self, BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use shared::{
    ADAPTER_CONFIG, ADAPTER_MODEL, Adapter, Base, GgmlType, GgufBuilder, Linear, ModelConfig,
};
use trainer::corpus::{Grammar, stream};
use trainer::data::read_training_pairs;
use trainer::export::write_base;
use trainer::finetune::{
    Dataset, LoraShape, Preset, Recipe, Run, SHARDS, Stepper, Storage, adapter_of, attach_lora,
    llama_from_base,
};
use trainer::input::load_base;
use trainer::nn::{AdamW, AdamWConfig, Segment, Workers};

const EMBEDDED: &str = "web/models/lotwise-base.gguf";
const DATA: &str = "trainer/data/train.jsonl";
const SEED: u64 = 1;
/// Standard deviation of the random base, transformers' `initializer_range` of SmolLM2.
const STD: f32 = 0.041_666_668;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["prepare", shape, directory, steps] => {
            prepare(shape, Path::new(directory), steps.parse().context("STEPS is no number")?)
        }
        ["run", directory, threads] => {
            run(Path::new(directory), threads.parse().context("THREADS is no number")?)
        }
        _ => bail!("expected prepare SHAPE DIR STEPS, or run DIR THREADS"),
    }
}

/// The recipe `production` without dropout, whose random numbers the two sides don't share, at a
/// constant learning rate.
fn recipe() -> Recipe {
    Recipe { lora_dropout: 0.0, ..Preset::Production.recipe() }
}

/// The steps' examples.
#[derive(Serialize, Deserialize)]
struct Plan {
    learning_rate: f64,
    max_grad_norm: f32,
    micro_batch: usize,
    prefix: Vec<u32>,
    /// Tokens behind the prefix, and how many of them are not learned.
    steps: Vec<Vec<(Vec<u32>, usize)>>,
}

fn prepare(shape: &str, directory: &Path, steps: usize) -> Result<()> {
    fs::create_dir_all(directory.join("base"))?;
    let embedded = load_base(Path::new(EMBEDDED))?;
    let base = match shape {
        "embedded" => embedded,
        "smollm2-135m" => random_base(&embedded)?,
        _ => bail!("unknown shape {shape:?}: expected embedded or smollm2-135m"),
    };
    fs::write(directory.join("base.gguf"), base.bytes().as_slice())?;
    write_base(&base, &directory.join("base"))?;

    let recipe = recipe();
    let (grammar, data) = (Grammar::load()?, read_training_pairs(Path::new(DATA))?);
    let dataset = Dataset::new(&grammar, &data.pairs)?;
    let run = Run {
        base: &base,
        dataset: &dataset,
        data_sha256: &data.sha256,
        recipe: &recipe,
        seed: SEED,
        threads: 1,
        checkpoint: &PathBuf::new(),
        resume: false,
        save_seconds: u64::MAX,
        approved_answers: false,
    };
    let segments = run.segments(&run.examples())?;
    let batches = segments.chunks_exact(recipe.effective_batch()).take(steps);
    let steps: Vec<Vec<(Vec<u32>, usize)>> = batches
        .map(|batch| {
            let learned_from = |s: &Segment| s.weights.iter().take_while(|w| **w == 0.0).count();
            batch.iter().map(|s| (s.tokens.clone(), learned_from(s))).collect()
        })
        .collect();
    let plan = Plan {
        learning_rate: recipe.learning_rate,
        max_grad_norm: recipe.max_grad_norm,
        micro_batch: recipe.per_device_train_batch_size,
        prefix: base.prompt.prefix_ids().to_vec(),
        steps,
    };
    fs::write(directory.join("plan.json"), serde_json::to_vec(&plan)?)?;

    let shape = LoraShape { r: recipe.lora_r, lora_alpha: recipe.lora_alpha };
    let mut model = llama_from_base(&base, Storage::for_base(&base))?;
    attach_lora(&mut model, shape, SEED)?;
    let mut adapter = adapter_of(&mut model, shape, 0.0, "bench")?;
    // With the usual zero, every gradient of A is zero, and a wrong one would not be seen.
    let mut rng = stream(SEED, "bench lora_B", 0);
    for pair in adapter.pairs.values_mut() {
        pair.b.fill_with(|| rng.random_range(-0.01..0.01));
    }
    let (config, tensors) = adapter.write()?;
    fs::create_dir_all(directory.join("adapter"))?;
    fs::write(directory.join("adapter").join(ADAPTER_CONFIG), config)?;
    fs::write(directory.join("adapter").join(ADAPTER_MODEL), tensors)?;
    Ok(())
}

/// A base of SmolLM2-135M's shape with random weights, the tokenizer and template of `other`.
fn random_base(other: &Base) -> Result<Base> {
    let config = ModelConfig {
        hidden_size: 576,
        intermediate_size: 1536,
        num_hidden_layers: 30,
        num_attention_heads: 9,
        num_key_value_heads: 3,
        head_dim: 64,
        vocab_size: 49_152,
        rope_theta: 100_000.0,
        context_length: 2048,
        tie_word_embeddings: true,
        ..other.config.clone()
    };
    let mut builder = GgufBuilder::new();
    builder.metadata("general.name", "random-135m")?;
    builder.config(&config)?;
    for (key, value) in other.gguf.metadata() {
        if key.starts_with("tokenizer.") || key == "lotwise.system_prompt" {
            builder.metadata(key, value.clone())?;
        }
    }
    let mut rng = stream(SEED, "bench base", 0);
    let bound = STD * 3f32.sqrt();
    let mut noise = |count: usize| -> Vec<f32> {
        (0..count).map(|_| rng.random_range(-bound..bound)).collect()
    };
    let (hidden, ones) = (config.hidden_size, vec![1.0; config.hidden_size]);
    let vocab = [config.vocab_size, hidden];
    builder.tensor("token_embd.weight", &vocab, GgmlType::Q8_0, &noise(vocab[0] * hidden))?;
    builder.tensor("output_norm.weight", &[hidden], GgmlType::F32, &ones)?;
    for layer in 0..config.num_hidden_layers {
        for norm in ["attn_norm", "ffn_norm"] {
            builder.tensor(
                &format!("blk.{layer}.{norm}.weight"),
                &[hidden],
                GgmlType::F32,
                &ones,
            )?;
        }
        for module in Linear::ALL {
            let shape = module.shape(&config);
            let values = noise(shape[0] * shape[1]);
            builder.tensor(&module.gguf_name(layer), &shape, GgmlType::Q8_0, &values)?;
        }
    }
    Ok(Base::from_bytes(builder.finish())?)
}

fn run(directory: &Path, threads: usize) -> Result<()> {
    let plan: Plan = serde_json::from_slice(&fs::read(directory.join("plan.json"))?)?;
    let base = load_base(&directory.join("base.gguf"))?;
    let file = |name: &str| fs::read(directory.join("adapter").join(name));
    let adapter = Adapter::parse(&file(ADAPTER_CONFIG)?, &file(ADAPTER_MODEL)?)?;
    let recipe = recipe();
    let shape = LoraShape { r: recipe.lora_r, lora_alpha: recipe.lora_alpha };
    let mut model = llama_from_base(&base, Storage::for_base(&base))?;
    attach_lora(&mut model, shape, SEED)?;
    for (layer, block) in model.blocks.iter_mut().enumerate() {
        for (module, linear) in Linear::ALL.into_iter().zip(block.linears_mut()) {
            let lora = linear.lora.as_mut().context("no adapter")?;
            let pair = &adapter.pairs[&(layer, module)];
            let tensor = |values: &[f32], like: &Tensor| {
                Tensor::from_slice(values, like.shape(), &Device::Cpu)
            };
            lora.a.value = tensor(&pair.a, &lora.a.value)?;
            lora.b.value = tensor(&pair.b, &lora.b.value)?;
        }
    }
    let batches: Vec<Vec<Segment>> = plan
        .steps
        .iter()
        .map(|step| {
            let segment = |(tokens, prompt): &(Vec<u32>, usize)| {
                let mut segment = Segment::default();
                segment.push(&tokens[..*prompt], 0.0);
                segment.push(&tokens[*prompt..], 1.0);
                segment
            };
            step.iter().map(segment).collect()
        })
        .collect();
    let workers = Workers::new(threads, SHARDS)?;
    let mut adamw = AdamW::new(AdamWConfig::default());
    let stepper = Stepper { prefix: base.prompt.prefix_ids(), recipe: &recipe, seed: SEED };
    let mut out = io::stdout().lock();
    writeln!(out, "ready=1")?;
    let mut steps = batches.iter().enumerate().cycle();
    for line in io::stdin().lock().lines() {
        line?;
        let (index, batch) = steps.next().context("the plan has no steps")?;
        let start = Instant::now();
        let stepped =
            stepper.step(&mut model, &mut adamw, &workers, batch, index, plan.learning_rate)?;
        let seconds = start.elapsed().as_secs_f64();
        let loss: f64 = stepped.losses.iter().map(|target| f64::from(target.loss)).sum();
        writeln!(
            out,
            "loss={} grad_norm={} seconds={seconds} examples={} tokens={} peak={}",
            loss / stepped.losses.len() as f64,
            stepped.grad_norm,
            batch.len(),
            stepped.tokens,
            trainer::memory::peak_bytes().unwrap_or(0)
        )?;
    }
    Ok(())
}
