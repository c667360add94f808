//! `trainer export-corpus`: the corpus as token ids, for pretraining on a GPU.

use std::io::{BufWriter, Write as _, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use crate::corpus::Grammar;
use crate::pretrain::{corpus, read_recipe, row_tokens, write_rows};

/// Write the pretraining corpus as token ids to standard output, for a GPU
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
trainer/scripts/pretrain_gpu.py starts several of these, one a core, each making every so manieth
step. First comes the length of a row (u32), then row after row as trainer/src/pretrain/rows.rs
describes them.

Example:
  trainer pretrain --out runs/base --steps 40000 --shards 64 --shard-tokens 480 --prepare
  trainer export-corpus runs/base --first 2 --stride 8 > third-of-eight.bin
  python trainer/scripts/pretrain_gpu.py runs/base --trainer target/release/trainer")]
pub struct Args {
    /// Directory that `trainer pretrain --prepare` wrote
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// First step to write
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// Steps from one that is written to the next
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    stride: u32,
}

/// Runs the command.
///
/// # Errors
/// A directory without a recipe, or an output that cannot be written to.
pub fn run(args: &Args) -> Result<ExitCode> {
    let recipe = read_recipe(&args.run)?;
    let grammar = Grammar::load()?;
    let data = corpus(&args.run, &recipe, &grammar)?;
    let mut out = BufWriter::with_capacity(1 << 20, stdout().lock());
    out.write_all(&u32::try_from(row_tokens(&data, &recipe))?.to_le_bytes())?;
    for step in (args.first..recipe.steps).step_by(args.stride as usize) {
        write_rows(&mut out, &data, &recipe, step)?;
        out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}
