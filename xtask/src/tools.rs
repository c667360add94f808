//! The programs beside cargo that the site and its tests need.
//!
//! One of the right version that is on the PATH is used. Otherwise cargo builds it into
//! `target/tools`, where a later run finds it: nothing outside the repository changes.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    process::{Cancel, output, run_logged},
    workspace::Workspace,
};

const TRUNK: &str = "0.21.14";

/// How the tools are compiled: they run for seconds and take minutes to optimise.
const QUICK_BUILD: [(&str, &str); 4] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
];

/// The PATH on which the tools are found, for tests that run them.
///
/// # Errors
/// This program does not lie in a target folder, or PATH cannot be extended.
pub fn tool_path() -> Result<OsString> {
    path(&Workspace::find()?)
}

fn path(workspace: &Workspace) -> Result<OsString> {
    let mut folders = vec![workspace.target.join("tools/bin")];
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    env::join_paths(folders).context("PATH cannot be extended")
}

/// Tools that are there.
#[derive(Debug, Clone)]
pub struct Tools {
    path: OsString,
    folder: PathBuf,
    log: PathBuf,
}

/// A program that cargo can build.
struct Tool<'a> {
    /// Package with its programs, of which each says its version when asked with `--version`.
    package: &'a str,
    programs: &'a [&'a str],
    version: &'a str,
    options: &'a [&'a str],
}

impl Tools {
    /// Finds or builds trunk and wasm-bindgen, and adds the WebAssembly target to the toolchain.
    ///
    /// # Errors
    /// A tool that cannot be built, with the end of the log.
    pub fn ensure(workspace: &Workspace, cancel: &Cancel) -> Result<Self> {
        let folder = workspace.target.join("tools");
        let tools = Self { path: path(workspace)?, log: folder.join("install.log"), folder };
        tools.add_target(workspace, cancel)?;
        // Its output must be of exactly the version of the library.
        let bindgen = workspace.locked_version("wasm-bindgen")?;
        tools.install(
            workspace,
            &Tool {
                package: "wasm-bindgen-cli",
                programs: &["wasm-bindgen", "wasm-bindgen-test-runner"],
                version: &bindgen,
                // Not `--locked`: its lock file names a release that some registries lack.
                options: &[],
            },
            cancel,
        )?;
        tools.install(
            workspace,
            &Tool {
                package: "trunk",
                programs: &["trunk"],
                version: TRUNK,
                options: &["--locked"],
            },
            cancel,
        )?;
        Ok(tools)
    }

    /// A command that finds the tools.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("PATH", &self.path);
        command
    }

    fn add_target(&self, workspace: &Workspace, cancel: &Cancel) -> Result<()> {
        let mut rustc = self.command("rustc");
        rustc.args(["--print", "target-libdir", "--target", "wasm32-unknown-unknown"]);
        let libraries = output(rustc.current_dir(&workspace.root)).context("run rustc")?;
        if Path::new(&libraries).is_dir() {
            return Ok(());
        }
        let mut rustup = self.command("rustup");
        rustup.args(["target", "add", "wasm32-unknown-unknown"]).current_dir(&workspace.root);
        run_logged(&mut rustup, &self.log, cancel).context("add the WebAssembly target")
    }

    fn install(&self, workspace: &Workspace, tool: &Tool<'_>, cancel: &Cancel) -> Result<()> {
        if self.has(tool) {
            return Ok(());
        }
        let log = self.log.display();
        println!("       installing {} {} (log: {log})", tool.package, tool.version);
        let mut cargo = self.command("cargo");
        cargo
            .args(["install", tool.package, "--version", tool.version, "--no-default-features"])
            .args(tool.options)
            .arg("--root")
            .arg(&self.folder)
            .arg("--target-dir")
            .arg(self.folder.join("build"))
            // With the workspace's version of Rust.
            .current_dir(&workspace.root)
            .envs(QUICK_BUILD);
        run_logged(&mut cargo, &self.log, cancel)
            .with_context(|| format!("install {} {}", tool.package, tool.version))?;
        if !self.has(tool) {
            bail!("{} was installed, but does not say that it is {}", tool.package, tool.version);
        }
        Ok(())
    }

    fn has(&self, tool: &Tool<'_>) -> bool {
        tool.programs.iter().all(|program| {
            output(self.command(program).arg("--version"))
                .is_some_and(|said| said.split_whitespace().nth(1) == Some(tool.version))
        })
    }
}
