//! Developer commands behind the cargo aliases, and the static file server that they and the
//! browser tests use.
//!
//! `cargo demo` goes from a clean clone to a page that answers; `cargo verify` runs every check
//! there is. Both install the tools they miss. What runs side by side, and why, is written at
//! [`demo`] and [`verify`]; how a tool is found or installed in `tools`.

// Talking to the terminal is what these commands do.
#![allow(clippy::print_stdout)]

mod args;
mod bench;
mod clock;
mod demo;
mod files;
mod interop;
mod process;
mod programs;
mod python;
mod serve;
mod site;
mod summary;
mod tools;
mod verify;
mod workspace;

use anyhow::Result;

pub use files::copy_folder;
pub use process::run as run_program;
pub use serve::Server;
pub use tools::tool_path;

use args::Command;
use process::Cancel;
use tools::Tools;
use workspace::Workspace;

/// Runs the command that `arguments` (without the program's name) describe.
///
/// Returns whether it succeeded: a check that failed has said so already.
///
/// # Errors
/// Whatever the command failed at, with the command line of the program that failed.
pub fn run(arguments: impl Iterator<Item = String>) -> Result<bool> {
    let command = args::parse(arguments)?;
    let workspace = Workspace::find()?;
    match command {
        Command::Help => print!("{}", args::USAGE),
        Command::Demo { serve, port } => demo::run(&workspace, serve.then_some(port))?,
        Command::Verify => return Ok(verify::run(&workspace)),
        Command::Setup => {
            programs::ensure(&workspace, &Cancel::default())?;
            Tools::ensure(&workspace, &Cancel::default())?;
        }
        Command::Bench(arguments) => {
            let mut cargo = std::process::Command::new("cargo");
            cargo.args(["run", "--release", "--quiet", "--package", "bench", "--"]);
            process::run(cargo.args(arguments).current_dir(&workspace.root))?;
        }
        Command::BenchTrain(options) => bench::train(&workspace, &options)?,
        Command::Interop => interop::run(&workspace)?,
        Command::Dist => site::dist(&workspace, &Cancel::default())?,
        Command::Serve { port } => site::serve(&workspace, port)?,
    }
    Ok(true)
}
