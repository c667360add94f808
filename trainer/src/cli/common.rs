//! Options that several commands share, and their output.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use shared::SamplerConfig;

/// Exit code after Ctrl-C.
pub const INTERRUPTED: u8 = 130;

/// The base model.
#[derive(Debug, Clone, Args)]
pub(super) struct BaseOption {
    /// Base model that ships with the site
    #[arg(long, value_name = "FILE.gguf", default_value = "web/models/lotwise-base.gguf")]
    pub(super) base: PathBuf,
}

/// The directory of published adapters.
#[derive(Debug, Clone, Args)]
pub(super) struct AdaptersOption {
    /// Directory of published adapters, which the web server serves
    #[arg(long, value_name = "DIR", default_value = "adapters")]
    pub(super) adapters: PathBuf,
}

/// A preset of the sampler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SamplerPreset {
    /// Always the likeliest token
    Exact,
    /// Some variation: temperature 0.3, top-p 0.85, top-k 40
    Production,
}

impl SamplerPreset {
    pub(super) fn config(self) -> SamplerConfig {
        match self {
            Self::Exact => SamplerConfig::exact(),
            Self::Production => SamplerConfig::production(),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Production => "production",
        }
    }
}

/// The threads to use for `wanted`: one per core for 0.
pub(super) fn threads(wanted: usize) -> usize {
    match wanted {
        0 => std::thread::available_parallelism().map_or(1, Into::into),
        wanted => wanted,
    }
}

/// Writes to standard output.
pub(super) fn print(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{text}")?;
    out.flush()
}

/// Writes a value to standard output as JSON.
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(value)?;
    Ok(print(format_args!("{json}\n"))?)
}

/// Bytes for people.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
