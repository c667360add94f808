//! The built site's `bench.html` beside wllama, in the same browser.

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
    Options, models, native, peers,
    report::{Case, Engine, OURS, Report},
    root,
};

/// In the order in which they take turns.
const ENGINES: [&str; 3] = [OURS, "wllama-2", "wllama-3"];
/// For one engine's page; wllama takes the longest.
const PATIENCE: Duration = Duration::from_secs(900);
const POLL: Duration = Duration::from_millis(100);

/// Measures, and tells as it goes.
///
/// # Errors
/// There is no built site, no browser, or npm fails. An engine that fails is noted in the report.
pub fn run(options: &Options) -> Result<Report> {
    let wanted = |name: &&str| !options.without.iter().any(|without| without == name);
    if wanted(&OURS) {
        let page = root().join("web/dist/bench.html");
        ensure!(page.is_file(), "{} is missing: run `cargo xtask dist` first", page.display());
    }
    peers::ensure()?;
    let models = models(options)?;
    // One server for site, models and peers: the pages may fetch from their own site only.
    let server = Server::start_isolated(root(), 0).context("start a server")?;
    let mut report = Report { machine: machine(), cases: Vec::new() };
    for (_, _, model) in models {
        let native_digest = Some(native::digest(&model)?);
        for &threads in &options.threads {
            let mut case = Case {
                model: file_name(&model)?.to_owned(),
                threads,
                prompt_tokens: options.prompt_tokens,
                decode_tokens: options.decode_tokens,
                native_digest: native_digest.clone(),
                engines: ENGINES.into_iter().filter(wanted).map(Engine::new).collect(),
            };
            for round in 1..=options.runs {
                measure(&server, &mut case)
                    .with_context(|| format!("round {round} of {}", case.model))?;
                println!("{}, {threads} thread(s): round {round}", case.model);
            }
            report.cases.push(case);
        }
    }
    Ok(report)
}

/// One round: every engine once, each in a browser of its own.
fn measure(server: &Server, case: &mut Case) -> Result<()> {
    let model = format!("{}target/bench/{}", server.url(), case.model);
    let (prompt, decode) = (case.prompt_tokens, case.decode_tokens);
    for engine in case.engines.iter_mut().filter(|engine| engine.error.is_none()) {
        let (page, threads) = match engine.name.strip_prefix("wllama-") {
            None => ("web/dist/bench.html".to_owned(), format!("ranks={}", case.threads)),
            Some(major) => (
                "bench/peers/wllama.html".to_owned(),
                format!("major={major}&threads={}", case.threads),
            ),
        };
        let url = format!(
            "{}{page}?model={model}&{threads}&prompt_tokens={prompt}&decode_tokens={decode}&runs=1",
            server.url()
        );
        let said = result(&Chromium::start()?, &url, PATIENCE);
        engine.note(said.and_then(|said| right_ranks(said, case.threads)));
    }
    Ok(())
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
