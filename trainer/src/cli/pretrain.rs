//! `trainer pretrain`: the embedded base model from the synthetic corpus.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use serde_json::json;
use shared::ModelConfig;

use super::INTERRUPTED;
use crate::corpus::Grammar;
use crate::files::{replace_file, write_file};
use crate::pretrain::{Cadence, Naming, Recipe, export_gguf, load_run, prepare, pretrain};

/// Pretrain the embedded base model on the synthetic corpus
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The corpus is made on the fly from the data files under trainer/corpus; nothing is downloaded.
Ctrl-C saves a checkpoint; the same command goes on from it. When the last step is done, the
model is written to --gguf together with index.json (size and hash, for the site) and
<name>.json (recipe, loss curve, hash).

With --prepare, trainer/scripts/pretrain_gpu.py goes on from there on a GPU; the same command
without it then measures and writes what came back. web/models/README.md says how the embedded
base was made.

Example: 3,000 steps are about 20 million tokens, 1.5 hours on two cores
  trainer pretrain --out runs/base --steps 3000 --decay-steps 1000 --gguf web/models/lotwise-base.gguf")]
pub struct Args {
    /// Directory of the run: checkpoint, tokenizer, log
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Optimizer steps
    #[arg(long, default_value_t = 3000)]
    steps: usize,
    /// Steps of the linear decay at the end
    #[arg(long, default_value_t = 1000)]
    decay_steps: usize,
    /// Seed of weights and corpus
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads; 0 for one per core (doesn't change the result)
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Parts of a step, which are computed at the same time; on a GPU, its rows
    #[arg(long, default_value_t = 8)]
    shards: usize,
    /// Tokens a part, without the system prompt
    #[arg(long, default_value_t = 768)]
    shard_tokens: usize,
    /// Sets of 24 batches each that the model has to know by heart at the same time
    #[arg(long, default_value_t = 1)]
    universes: usize,
    /// Steps at the end in which none of these batches is exchanged for a new one
    #[arg(long, default_value_t = 0)]
    settle_steps: usize,
    /// Peak learning rate of the matrices
    #[arg(long, default_value_t = 0.008)]
    muon_lr: f64,
    /// Peak learning rate of embedding and norms
    #[arg(long, default_value_t = 2e-3)]
    adamw_lr: f64,
    /// Weight decay of the matrices, as a share of the learning rate
    #[arg(long, default_value_t = 0.0)]
    weight_decay: f64,
    /// Write recipe, tokenizer and the weights of the start, and train nothing
    #[arg(long, conflicts_with = "gguf")]
    prepare: bool,
    /// Where to write the model when the run is done
    #[arg(long, value_name = "FILE", required_unless_present = "prepare")]
    gguf: Option<PathBuf>,
    /// Version that the model carries
    #[arg(long, default_value = "1.0.0")]
    model_version: String,
}

fn recipe(args: &Args) -> Recipe {
    let model = ModelConfig {
        vocab_size: 2048,
        hidden_size: 192,
        intermediate_size: 512,
        num_hidden_layers: 8,
        num_attention_heads: 6,
        num_key_value_heads: 2,
        head_dim: 32,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        context_length: 512,
        tie_word_embeddings: true,
    };
    Recipe {
        seed: args.seed,
        steps: args.steps,
        decay_steps: args.decay_steps,
        warmup_steps: 100,
        shards: args.shards,
        shard_tokens: args.shard_tokens,
        universes: args.universes,
        settle_steps: args.settle_steps,
        muon_lr: args.muon_lr,
        muon_weight_decay: args.weight_decay,
        adamw_lr: args.adamw_lr,
        model,
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    let Some(gguf) = &args.gguf else {
        prepare(&args.out, &recipe(args), &Grammar::load()?)?;
        return Ok(ExitCode::SUCCESS);
    };
    let cadence = Cadence { log: 50, probe: 250, save: 100 };
    let done = pretrain(&args.out, &recipe(args), cadence, args.threads)?;
    if done < args.steps {
        eprintln!(
            "interrupted after {done} of {} steps; run the same command to go on",
            args.steps
        );
        return Ok(ExitCode::from(INTERRUPTED));
    }
    export(args, gguf)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the GGUF and, beside it, what the site and an auditor need to know of it.
fn export(args: &Args, gguf: &Path) -> Result<()> {
    let mut run = load_run(&args.out)?;
    let bytes =
        export_gguf(&mut run, &Naming { name: "Lotwise Base", version: &args.model_version })?;
    // The file has to be readable by the engine before it replaces another.
    let base = shared::Base::from_bytes(bytes.clone())
        .context("the exported model cannot be read back")?;
    write_file(gguf, &bytes)?;
    let name = gguf.file_name().and_then(|n| n.to_str()).context("--gguf is not a file name")?;
    let sha256 = &base.identity.sha256;
    let index = json!({
        "format_version": 1,
        "base": name,
        "files": { name: { "sha256": sha256, "size": bytes.len() } },
    });
    write_json(&gguf.with_file_name("index.json"), &index)?;
    let record = json!({
        "command": format!(
            "trainer pretrain --steps {} --decay-steps {} --seed {} --shards {} --shard-tokens {} \
             --universes {} --settle-steps {} --muon-lr {} --adamw-lr {} --weight-decay {} \
             --model-version {}",
            args.steps,
            args.decay_steps,
            args.seed,
            args.shards,
            args.shard_tokens,
            args.universes,
            args.settle_steps,
            args.muon_lr,
            args.adamw_lr,
            args.weight_decay,
            args.model_version
        ),
        "sha256": sha256,
        "recipe": run.recipe,
        "log": run.log,
    });
    write_json(&gguf.with_extension("json"), &record)?;
    eprintln!("wrote {} ({} bytes, sha256 {sha256})", gguf.display(), bytes.len());
    Ok(())
}

fn write_json(path: &Path, value: &serde_json::Value) -> Result<()> {
    replace_file(path, |temporary| {
        let mut text = serde_json::to_string_pretty(value)?;
        text.push('\n');
        Ok(std::fs::write(temporary, text)?)
    })
}
