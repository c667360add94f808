//! The static site: a page that draws and an engine worker that does everything else.
//!
//! The newcomer's path: [`protocol`] (what page and worker say to each other), [`state`] (what the
//! page shows, as one pure reducer), then for the browser only `app` and `components` (Yew, main
//! thread) and `engine` (worker: fetch, verify, keep, merge, answer). Around them stand
//! [`error`] (everything that can go wrong, with its next step), [`cores`], [`progress`],
//! [`self_test`], [`csv`], [`format`] and [`catalog`].
//!
//! Two binaries share this library: `page` and `worker`. Everything outside `app`, `components`,
//! `engine` and what these two share (`now`, `worker`) is free of browser types and tested natively.

pub mod bench;
pub mod catalog;
pub mod cores;
pub mod csv;
pub mod error;
pub mod format;
pub mod progress;
pub mod protocol;
pub mod self_test;
pub mod state;
#[cfg(any(test, target_arch = "wasm32"))]
mod tensor_stream;

#[cfg(target_arch = "wasm32")]
pub mod app;
#[cfg(target_arch = "wasm32")]
mod components;
#[cfg(target_arch = "wasm32")]
pub mod engine;
#[cfg(target_arch = "wasm32")]
mod now;
#[cfg(target_arch = "wasm32")]
mod worker;

/// Identity of this build: a hash of the sources (see `build.rs`).
pub const BUILD: &str = env!("LOTWISE_BUILD");
