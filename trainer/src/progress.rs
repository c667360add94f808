//! Progress bars on standard error.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over `total`, standing at `start`, with rate and time left.
pub fn bar(total: usize, start: usize, unit: &str) -> ProgressBar {
    let bar = ProgressBar::new(total as u64);
    let template = format!("{{wide_bar}} {unit} {{pos}}/{{len}} {{msg}} ETA {{eta}}");
    bar.set_style(ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_position(start as u64);
    bar.reset_eta();
    bar
}
