//! The engine beside other engines, on this machine: `cargo xtask bench --help`.
//!
//! Every engine gets the same file ([`random_model`]), the same number of threads and of tokens,
//! and they take turns, so that a machine which becomes busy is busy for all of them.

// Talking to the terminal is what this program does.
#![allow(clippy::print_stdout)]

mod browser;
mod native;
mod peers;
mod random_model;
mod report;
mod statistics;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

use random_model::{Shape, Type};

/// The engine beside other engines, on this machine.
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The built site's bench.html beside wllama 2 and 3, candle and onnxruntime-web in a headless
    /// Chromium, and beside itself and llama.cpp without one.
    Browser(Options),
    /// Writes the model files and prints their paths.
    Models(Options),
}

/// What is measured.
#[derive(Debug, clap::Args)]
struct Options {
    /// Shapes of the model.
    #[arg(long, value_delimiter = ',', default_value = "135m")]
    shapes: Vec<Shape>,
    /// Types of its matrices.
    #[arg(long, value_delimiter = ',', default_value = "q8_0,q4_0")]
    types: Vec<Type>,
    /// Numbers of threads (for ours: ranks).
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// Rounds: every engine runs once in each, in a fresh browser.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Tokens of the prompt.
    #[arg(long, default_value_t = 172)]
    prompt_tokens: usize,
    /// Tokens generated behind it.
    #[arg(long, default_value_t = 32)]
    decode_tokens: usize,
    /// Leaves engines out, by name, as the table has them.
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// Where the JSON goes; target/bench/browser.json by default.
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> Result<()> {
    let Arguments { command } = Arguments::parse();
    let options = match &command {
        Command::Browser(options) => options,
        Command::Models(options) => {
            for (_, _, path) in models(options)? {
                println!("{}", path.display());
            }
            return Ok(());
        }
    };
    let zero = [options.runs, options.prompt_tokens, options.decode_tokens].contains(&0);
    if zero || options.threads.contains(&0) {
        bail!("runs, threads and numbers of tokens must be positive");
    }
    let report = browser::run(options)?;
    let out = options.out.clone().unwrap_or_else(|| folder().join("browser.json"));
    write_whole(&out, serde_json::to_string_pretty(&report)?.as_bytes())?;
    print!("{}", report.table());
    println!("\nAll runs: {}", out.display());
    report.check()
}

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Where models and results go.
fn folder() -> PathBuf {
    root().join("target/bench")
}

/// Writes a file that is whole or not there.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_added_extension("part");
    fs::write(&part, bytes)
        .and_then(|()| fs::rename(&part, path))
        .with_context(|| format!("write {}", path.display()))
}

/// The files to measure with, written if they are not there.
fn models(options: &Options) -> Result<Vec<(Shape, Type, PathBuf)>> {
    let mut models = Vec::new();
    for &shape in &options.shapes {
        for &ty in &options.types {
            models.push((shape, ty, random_model::ensure(&folder(), shape, ty)?));
        }
    }
    Ok(models)
}
