//! Ctrl-C: finish the step at hand, save, stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::Result;

static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// A flag that Ctrl-C (or a termination signal) raises; a second one ends the program at once.
pub fn flag() -> Result<Arc<AtomicBool>> {
    if let Some(flag) = FLAG.get() {
        return Ok(flag.clone());
    }
    let flag = Arc::new(AtomicBool::new(false));
    let raised = flag.clone();
    ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nstopping after this step; press Ctrl-C again to stop at once");
    })?;
    Ok(FLAG.get_or_init(|| flag).clone())
}
