//! The built site's `bench.html` beside the peers: those in WebAssembly in the same browser.

use std::{
    env, fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bench::Chromium;
use serde_json::Value;
use xtask::Server;

use crate::{
    Options, models, native,
    peers::{self, Peer},
    report::{Case, Engine, NATIVE, OURS, Report},
    root,
};

/// For one engine's page; wllama takes the longest.
const PATIENCE: Duration = Duration::from_secs(900);
const POLL: Duration = Duration::from_millis(100);

/// Measures, and tells as it goes.
///
/// # Errors
/// There is no built site, no browser, or a peer cannot be installed. An engine that fails is
/// noted in the report.
pub fn run(options: &Options) -> Result<Report> {
    let known = || [OURS, NATIVE].into_iter().chain(Peer::ALL.map(Peer::name));
    if let Some(name) = options.without.iter().find(|&name| !known().any(|known| known == name)) {
        bail!("unknown engine {name:?}: expected {}", known().collect::<Vec<_>>().join(", "));
    }
    let wanted = |name: &str| !options.without.iter().any(|without| without == name);
    if wanted(OURS) {
        let page = root().join("web/dist/bench.html");
        ensure!(page.is_file(), "{} is missing: run `cargo xtask dist` first", page.display());
    }
    let peers: Vec<Peer> = Peer::ALL.into_iter().filter(|peer| wanted(peer.name())).collect();
    peers::ensure(&peers)?;
    let models = models(options)?;
    // One server for site, models and peers: the pages may fetch from their own site only.
    let server = Server::start_isolated(root(), 0).context("start a server")?;
    let mut report = Report { machine: machine(), cases: Vec::new() };
    for (shape, ty, model) in models {
        let reference = native::reference(&model, options.prompt_tokens)?;
        for &threads in &options.threads {
            let mut turns = Vec::new();
            turns.extend(wanted(OURS).then_some(Turn::Page));
            turns.extend(wanted(NATIVE).then_some(Turn::Native));
            let able = peers.iter().filter(|peer| peer.runs(shape, ty, threads));
            turns.extend(able.map(|&peer| Turn::Peer(peer)));
            let mut case = Case {
                model: file_name(&model)?.to_owned(),
                threads,
                prompt_tokens: options.prompt_tokens,
                decode_tokens: options.decode_tokens,
                native_digest: Some(reference.digest.clone()),
                engines: turns.iter().map(|turn| Engine::new(turn.name())).collect(),
            };
            for round in 1..=options.runs {
                for (turn, engine) in turns.iter().zip(&mut case.engines) {
                    if engine.error.is_none() {
                        let said = turn.measure(&server, &model, threads, options);
                        engine.note(said, &reference.logits);
                    }
                }
                println!("{}, {threads} thread(s): round {round}", case.model);
            }
            report.cases.push(case);
        }
    }
    Ok(report)
}

/// Who is measured.
enum Turn {
    /// Our page.
    Page,
    /// Our engine without a browser.
    Native,
    Peer(Peer),
}

impl Turn {
    fn name(&self) -> &'static str {
        match self {
            Self::Page => OURS,
            Self::Native => NATIVE,
            Self::Peer(peer) => peer.name(),
        }
    }

    /// Measures once, a page in a browser of its own.
    fn measure(
        &self,
        server: &Server,
        model: &Path,
        threads: usize,
        options: &Options,
    ) -> Result<Value> {
        let (page, file) = match self {
            Self::Native => return native::measure(model, threads, options),
            Self::Peer(Peer::LlamaCpp) => return peers::llama_cpp(model, threads, options),
            Self::Page => (format!("web/dist/bench.html?ranks={threads}"), model.to_owned()),
            Self::Peer(peer) => {
                let name = peer.name();
                let page = format!("bench/peers/peer.html?engine={name}&threads={threads}");
                (page, peer.file(model)?)
            }
        };
        let url = format!(
            "{server}{page}&model={server}target/bench/{}&prompt_tokens={}&decode_tokens={}&runs=1",
            file_name(&file)?,
            options.prompt_tokens,
            options.decode_tokens,
            server = server.url(),
        );
        right_ranks(result(&Chromium::start()?, &url, PATIENCE)?, threads)
    }
}

/// Opens a page and waits for the object that it puts into `window.benchResult`.
///
/// # Errors
/// The page cannot be opened, sets nothing within `patience`, or sets an `error`.
fn result(browser: &Chromium, url: &str, patience: Duration) -> Result<Value> {
    browser.run(browser.client().goto(url)).with_context(|| format!("open {url}"))?;
    let started = Instant::now();
    loop {
        let result = browser
            .run(browser.client().execute("return window.benchResult ?? null", vec![]))
            .with_context(|| format!("read the result of {url}"))?;
        if let Some(error) = result.get("error").filter(|error| !error.is_null()) {
            bail!("{url}: {}", error.as_str().unwrap_or(&error.to_string()));
        }
        if !result.is_null() {
            return Ok(result);
        }
        if started.elapsed() > patience {
            let shown = browser
                .run(browser.client().execute("return document.body.innerText", vec![]))
                .with_context(|| format!("read {url}"))?;
            bail!("{url} had no result after {} s; it shows: {shown}", patience.as_secs());
        }
        thread::sleep(POLL);
    }
}

/// Refuses a run of ours on another number of ranks than was asked for.
fn right_ranks(said: Value, threads: usize) -> Result<Value> {
    let ranks = said["ranks"].as_u64();
    let right = ranks.is_none_or(|ranks| ranks == threads as u64);
    ensure!(right, "ran on {} ranks, not {threads}", said["ranks"]);
    Ok(said)
}

fn file_name(path: &Path) -> Result<&str> {
    path.file_name().and_then(|name| name.to_str()).context("a model without a name")
}

/// Processor and number of cores.
fn machine() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!("{}, {cores} core(s)", model.map_or(env::consts::ARCH, |(_, model)| model))
}
