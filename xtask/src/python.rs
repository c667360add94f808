//! A Python with the packages that made the golden data.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use crate::{process, workspace::Workspace};

/// torch, transformers, PEFT and what they need.
const REQUIREMENTS: &str = "tests/golden/requirements.txt";

/// A Python that has the packages: that of `LOTWISE_PYTHON`, or of `target/bench/venv`, which is
/// made when it is not there.
///
/// # Errors
/// There is no Python, or it cannot import or install the packages.
pub fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(python) = std::env::var_os("LOTWISE_PYTHON") {
        let python = PathBuf::from(python);
        ensure!(
            has_packages(&python),
            "{} (LOTWISE_PYTHON) cannot import torch, transformers and peft",
            python.display()
        );
        return Ok(python);
    }
    let venv = workspace.target.join("bench/venv");
    let python = venv.join("bin/python");
    if python.is_file() && has_packages(&python) {
        return Ok(python);
    }
    ensure!(
        process::output(Command::new("python3").arg("--version")).is_some(),
        "there is no python3, on which the other side of this comparison runs: install it with its \
         venv module (apt-get install -y python3-venv), or name a Python that has the packages of \
         {REQUIREMENTS} in LOTWISE_PYTHON"
    );
    println!("installing {REQUIREMENTS} into {}", venv.display());
    process::run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "-r"]).arg(workspace.root.join(REQUIREMENTS));
    // PyTorch without the libraries for GPUs, which are gigabytes.
    pip.args(["--extra-index-url", "https://download.pytorch.org/whl/cpu"]);
    process::run(&mut pip)?;
    ensure!(has_packages(&python), "{} cannot import what was installed", python.display());
    Ok(python)
}

fn has_packages(python: &Path) -> bool {
    let imports = "import torch, transformers, peft";
    process::output(Command::new(python).args(["-c", imports])).is_some()
}
