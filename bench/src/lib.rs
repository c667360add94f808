//! A headless Chromium for the benchmark and for the browser tests.

mod chromium;

pub use chromium::Chromium;
