//! `trainer list`: what is published.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use serde::Serialize;
use shared::{Index, Version};

use crate::cli::common::{AdaptersOption, print, print_json, size};
use crate::publish::Store;

/// List published versions
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
With --verify every file is held against its published size and hash; the exit code is 1 if one
differs.

Examples:
  trainer list
  trainer list --verify
  trainer list --json | jq .current")]
pub struct Args {
    #[command(flatten)]
    adapters: AdaptersOption,
    /// Verify sizes and hashes of all files
    #[arg(long)]
    verify: bool,
    /// Print one JSON object: index.json, and what --verify found under "problems"
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listing<'a> {
    #[serde(flatten)]
    index: &'a Index,
    problems: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// Nothing is published, or the index cannot be read.
pub fn run(args: &Args) -> Result<ExitCode> {
    let store = Store::new(&args.adapters.adapters);
    let index = store.load()?;
    let mut problems = Vec::new();
    if args.verify {
        for (name, version) in &index.versions {
            problems.extend(store.verify(name, version).err().map(|error| format!("{error:#}")));
        }
    }
    for problem in &problems {
        eprintln!("error: {problem}");
    }
    for name in store.unlisted(&index)? {
        eprintln!("note: {name} in {} is not a published version", store.root().display());
    }
    let code = if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if args.json {
        print_json(&Listing { index: &index, problems })?;
        return Ok(code);
    }
    let mut versions: Vec<(&String, &Version)> = index.versions.iter().collect();
    versions.sort_by(|a, b| (&b.1.created, b.0).cmp(&(&a.1.created, a.0)));
    let mut table = String::new();
    for (name, version) in versions {
        write_version(&mut table, &index, name, version)?;
    }
    if args.verify && problems.is_empty() {
        table += "all files are as published\n";
    }
    print(table)?;
    Ok(code)
}

fn write_version(out: &mut String, index: &Index, name: &str, version: &Version) -> Result<()> {
    let is = |role: &Option<String>| role.as_deref() == Some(name);
    let role = match (is(&index.current), is(&index.previous)) {
        (true, _) => "current",
        (_, true) => "previous",
        _ => "",
    };
    let bytes = version.files.values().map(|entry| entry.size).sum();
    let base = &version.base_sha256[..12];
    writeln!(out, "{name:20} {role:8}  {}  {:>9}  base {base}", version.created, size(bytes))?;
    for (set, results) in &version.metrics {
        let Some(results) = results.as_object() else {
            continue;
        };
        let shares: Vec<String> = ["exact_match", "value_match", "hallucination", "refusal"]
            .into_iter()
            .filter_map(|metric| {
                let share = results.get(metric)?.as_f64()?;
                Some(format!("{} {:.1} %", metric.replace('_', " "), 100.0 * share))
            })
            .collect();
        writeln!(out, "  {set}: {}", shares.join(", "))?;
    }
    Ok(())
}
