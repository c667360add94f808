//! A Python with the packages that made the golden data.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{process, workspace::Workspace};

/// torch, transformers, PEFT and what they need.
const REQUIREMENTS: &str = "tests/golden/requirements.txt";
/// Where PyTorch without the libraries for GPUs is.
const CPU_BUILDS: &str = "https://download.pytorch.org/whl/cpu";

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
    let requirements = workspace.root.join(REQUIREMENTS);
    let pip = || {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--extra-index-url", CPU_BUILDS]);
        pip
    };
    if cfg!(target_os = "linux") {
        let torch = cpu_build(&fs::read_to_string(&requirements)?)
            .with_context(|| format!("{REQUIREMENTS} pins no torch"))?;
        process::run(pip().args(["--retries", "1"]).arg(&torch)).with_context(|| {
            format!(
                "no {torch}: it is at {CPU_BUILDS}, or in a folder that PIP_FIND_LINKS names. \
                 PyPI's build for Linux needs 5.6 GB of libraries for GPUs and is not taken \
                 instead; a Python that has it, or any other, can be named in LOTWISE_PYTHON"
            )
        })?;
    }
    process::run(pip().arg("-r").arg(&requirements))?;
    ensure!(has_packages(&python), "{} cannot import what was installed", python.display());
    Ok(python)
}

/// The pinned torch as the build that only exists without the libraries for GPUs, so that pip cannot
/// choose another.
fn cpu_build(requirements: &str) -> Option<String> {
    let pinned = requirements.lines().find(|line| line.starts_with("torch=="))?;
    Some(format!("{}+cpu", pinned.trim_end()))
}

fn has_packages(python: &Path) -> bool {
    let imports = "import torch, transformers, peft";
    process::output(Command::new(python).args(["-c", imports])).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_for_cpus_is_the_pinned_version() {
        assert_eq!(cpu_build("numpy==2.4.6\ntorch==2.15.0\n").unwrap(), "torch==2.15.0+cpu");
        assert_eq!(cpu_build("torchvision==0.30.0\n"), None);
    }
}
