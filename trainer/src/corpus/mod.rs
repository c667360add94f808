//! The synthetic corpus: fictional plants, batches and people, asked about in many ways.
//!
//! The language stands in data files under `trainer/corpus/`; the code combines it. Every
//! part of the corpus is made from `(seed, step)` alone.

mod document;
mod examples;
mod grammar;
mod known_fields;
mod plant;
mod question;
mod rng;
mod values;

pub use examples::{Category, Turn, Universe, drill, in_context};
pub use grammar::{Field, Grammar, Kind};
pub use plant::{BATCH_NUMBER, PRODUCT_NAME};
pub use question::{Noise, Split, Subject};
pub use rng::{Choose, stream};
pub use values::{near_miss, product};
