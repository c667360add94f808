//! Progress on standard error: a bar on a terminal, lines in a log.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over `total`, standing at `start`, with rate and time left.
pub fn bar(total: usize, start: usize, unit: &str) -> ProgressBar {
    let bar = ProgressBar::new(total as u64);
    let template = format!("{{wide_bar}} {unit} {{pos}}/{{len}} {{msg}} ETA {{eta}}");
    bar.set_style(
        ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_position(start as u64);
    bar.reset_eta();
    bar
}

/// Writes `line` above the bar, or on its own where no bar is shown.
pub fn note(bar: &ProgressBar, line: &str) {
    if bar.is_hidden() {
        eprintln!("{line}");
    } else {
        bar.println(line);
    }
}

/// The bar's state as a line, where no bar is shown: for logs, now and then.
pub fn log_line(bar: &ProgressBar) {
    if bar.is_hidden() {
        let (position, total) = (bar.position(), bar.length().unwrap_or_default());
        eprintln!("{position}/{total} {}", bar.message());
    }
}
