//! The programs that the tests need and cargo cannot build: browsers, a driver, Node.js.

use std::{env, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{
    process::{Cancel, output, run_logged},
    workspace::Workspace,
};

/// A program under any of its names, and the Debian package that brings it.
const PROGRAMS: [(&[&str], &str); 4] = [
    (&["chromium", "google-chrome", "chromium-browser"], "chromium"),
    (&["chromedriver"], "chromium-driver"),
    (&["firefox-esr", "firefox"], "firefox-esr"),
    (&["node"], "nodejs"),
];

/// Finds the programs, or installs them as Debian packages if this is root.
///
/// # Errors
/// They are missing and cannot be installed: with what to do.
pub fn ensure(workspace: &Workspace, cancel: &Cancel) -> Result<()> {
    let missing: Vec<_> = PROGRAMS
        .into_iter()
        .filter(|(names, _)| !names.iter().any(|name| is_on_path(name)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|(names, _)| names[0]).collect();
    let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    let install = format!("apt-get install -y {}", packages.join(" "));
    let is_root = output(Command::new("id").arg("-u")).as_deref() == Some("0");
    ensure!(
        is_root && is_on_path("apt-get"),
        "not on the PATH: {}. Install with `{install}` (Debian) or your system's own packages",
        names.join(", ")
    );
    println!("       {install}");
    let log = workspace.target.join("tools/packages.log");
    for arguments in [vec!["update"], [vec!["install", "-y"], packages].concat()] {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        run_logged(&mut apt, &log, cancel).context("install Debian packages")?;
    }
    Ok(())
}

fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
