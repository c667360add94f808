//! The static site: build it, fill it, serve it.

use anyhow::{Context, Result, ensure};

use crate::{
    files::{copy_folder, remove_folder},
    process::{Cancel, run_logged},
    serve::Server,
    tools::Tools,
    workspace::Workspace,
};

/// Builds the site into `web/dist`, with the base model and the adapters of the repository.
///
/// # Errors
/// Trunk fails: with the end of its log.
pub fn build(workspace: &Workspace, tools: &Tools, cancel: &Cancel) -> Result<()> {
    let mut trunk = tools.command("trunk");
    trunk
        .arg("build")
        .current_dir(workspace.root.join("web"))
        // Trunk expects `true` or `false` where others set anything.
        .env_remove("NO_COLOR");
    run_logged(&mut trunk, &workspace.target.join("tools/site.log"), cancel)
        .context("build the site")
}

/// Replaces the adapters of the built site: all that a retrain has to do.
///
/// # Errors
/// A file that cannot be copied.
pub fn replace_adapters(workspace: &Workspace, adapters: &std::path::Path) -> Result<()> {
    let served = workspace.dist().join("adapters");
    remove_folder(&served)?;
    copy_folder(adapters, &served)
}

/// `cargo xtask dist`.
///
/// # Errors
/// As [`Tools::ensure`] and [`build`].
pub fn dist(workspace: &Workspace, cancel: &Cancel) -> Result<()> {
    let tools = Tools::ensure(workspace, cancel)?;
    build(workspace, &tools, cancel)?;
    let dist = workspace.dist();
    println!("The site is in {}.", dist.display());
    println!(
        "Copy that folder to any static file server: cp -r {}/. SERVER_FOLDER",
        dist.display()
    );
    println!("After a retrain, copy adapters/ alone: cp -r adapters SERVER_FOLDER");
    Ok(())
}

/// `cargo xtask serve`.
///
/// # Errors
/// There is no built site, or the port is taken.
pub fn serve(workspace: &Workspace, port: u16) -> Result<()> {
    let dist = workspace.dist();
    ensure!(
        dist.join("index.html").is_file(),
        "{} holds no site: build it with `cargo xtask dist`",
        dist.display()
    );
    let server = Server::start_isolated(dist, port)
        .with_context(|| format!("port {port} of 127.0.0.1: choose another with --port"))?;
    println!("\nOpen {} (Ctrl-C ends the server).", server.url());
    server.wait();
    Ok(())
}
