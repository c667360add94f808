//! The other engines: from npm at the versions of `bench/peers/package-lock.json`, and candle,
//! compiled here.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use xtask::run_program;

use crate::{
    Options, folder,
    random_model::{Shape, Type},
    root,
};

/// An engine that ours is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// llama.cpp in WebAssembly, version 2 of its package.
    Wllama2,
    /// Version 3.
    Wllama3,
    /// Candle's own quantized Llama in WebAssembly.
    Candle,
    /// onnxruntime-web with int8 weights.
    OnnxRuntime,
    /// llama.cpp itself, native.
    LlamaCpp,
}

impl Peer {
    /// In the order in which they take turns.
    pub const ALL: [Self; 5] =
        [Self::Wllama2, Self::Wllama3, Self::Candle, Self::OnnxRuntime, Self::LlamaCpp];

    /// Name in the table, and for the page the module in `bench/peers` with its version.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wllama2 => "wllama-2",
            Self::Wllama3 => "wllama-3",
            Self::Candle => "candle",
            Self::OnnxRuntime => "onnxruntime",
            Self::LlamaCpp => "llama.cpp",
        }
    }

    /// Whether it can run such a model: candle has one thread in WebAssembly, and an ONNX file
    /// holds 8-bit codes and less than 2 GB.
    pub fn runs(self, shape: Shape, ty: Type, threads: usize) -> bool {
        match self {
            Self::Candle => threads == 1,
            Self::OnnxRuntime => (shape, ty) == (Shape::Smol135M, Type::Q8_0),
            Self::Wllama2 | Self::Wllama3 | Self::LlamaCpp => true,
        }
    }

    /// The file that it reads in place of `model`, written if it is not there.
    ///
    /// # Errors
    /// Python or its packages fail.
    pub fn file(self, model: &Path) -> Result<PathBuf> {
        match self {
            Self::OnnxRuntime => onnx(model),
            _ => Ok(model.to_owned()),
        }
    }
}

/// The tokens that the peers read: bytes, which every generated file has.
pub fn prompt(length: usize) -> Vec<u32> {
    (0..200).cycle().take(length).collect()
}

/// Installs and builds these peers unless they are there.
///
/// # Errors
/// npm or cargo is missing or fails.
pub fn ensure(peers: &[Peer]) -> Result<()> {
    if peers.is_empty() {
        return Ok(());
    }
    let node = "apt-get install -y nodejs npm (Debian)";
    let (lock, installed) = (source("package-lock.json"), source("node_modules/.installed"));
    // npm leaves no trace of which lock file it has read.
    let read = |path: &Path| fs::read(path).ok();
    if read(&lock).is_none() || read(&lock) != read(&installed) {
        run_program(
            Command::new("npm")
                .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
                .current_dir(source("")),
        )
        .with_context(|| format!("npm comes with Node.js: {node}"))?;
        fs::copy(lock, installed).context("note what was installed")?;
    }
    if peers.contains(&Peer::Candle) {
        build_candle()?;
    }
    Ok(())
}

/// Compiles candle to WebAssembly, into `target/bench/candle`.
fn build_candle() -> Result<()> {
    let target = folder().join("candle");
    run_program(
        Command::new("cargo")
            .args(["build", "--release", "--locked", "--target", "wasm32-unknown-unknown"])
            .arg("--target-dir")
            .arg(&target)
            // Where its own cargo settings count.
            .current_dir(source("candle")),
    )?;
    run_program(
        Command::new("wasm-bindgen")
            .args(["--target", "web", "--no-typescript", "--out-dir"])
            .arg(target.join("page"))
            .arg(target.join("wasm32-unknown-unknown/release/candle_peer.wasm"))
            .env("PATH", xtask::tool_path()?),
    )
    .context("`cargo xtask setup` installs wasm-bindgen")
}

/// The same model as ONNX with int8 weights.
fn onnx(model: &Path) -> Result<PathBuf> {
    let path = model.with_extension("onnx");
    if path.is_file() {
        return Ok(path);
    }
    let venv = folder().join("onnx-venv");
    let python = venv.join("bin/python");
    if !python.is_file() {
        run_program(Command::new("python3").args(["-m", "venv"]).arg(&venv))
            .context("Python 3 with its venv module: apt-get install -y python3-venv (Debian)")?;
    }
    run_program(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(source("requirements.txt")),
    )?;
    let part = path.with_added_extension("part");
    run_program(Command::new(&python).arg(source("onnx_model.py")).arg(model).arg(&part))?;
    fs::rename(&part, &path).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// Runs llama.cpp once, in a process of its own.
///
/// # Errors
/// It fails, or says something else than JSON.
pub fn llama_cpp(model: &Path, threads: usize, options: &Options) -> Result<Value> {
    let numbers = [threads, options.prompt_tokens, options.decode_tokens, 1];
    let output = Command::new("node")
        .arg(source("llama.js"))
        .arg(model)
        .args(numbers.map(|number| number.to_string()))
        .stderr(Stdio::inherit())
        .output()
        .context("start node")?;
    if !output.status.success() {
        bail!("llama.cpp failed ({}); its message is above", output.status);
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("it said {}", String::from_utf8_lossy(&output.stdout)))
}

fn source(name: &str) -> PathBuf {
    root().join("bench/peers").join(name)
}
