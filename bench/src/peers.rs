//! The other engines, from npm, at the versions of `bench/peers/package-lock.json`.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::root;

/// Installs the other engines unless they are there.
///
/// # Errors
/// npm is missing or fails.
pub fn ensure() -> Result<()> {
    let folder = root().join("bench/peers");
    if folder.join("node_modules/.package-lock.json").is_file() {
        return Ok(());
    }
    println!("npm ci, in {}", folder.display());
    let status = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&folder)
        .status()
        .context("start npm; install Node.js with npm: apt-get install -y nodejs npm (Debian)")?;
    ensure!(status.success(), "`npm ci` failed in {} ({status})", folder.display());
    Ok(())
}
