//! Batch records as text, in several layouts.

use rand_chacha::ChaCha8Rng;

use super::plant::Batch;
use super::rng::Choose as _;

/// The record of `batch`, facts in order, in a layout drawn by `rng`.
pub fn document(batch: &Batch<'_>, rng: &mut ChaCha8Rng) -> String {
    let facts = batch.facts.iter();
    let heading = match rng.int(0, 3) {
        0 => format!("Batch record {}", batch.id),
        1 => format!("BATCH {} / {}", batch.id, batch.product),
        2 => format!("Batch: {}\nProduct: {}", batch.id, batch.product),
        _ => format!("Record of batch {} ({})", batch.id, batch.product),
    };
    let (open, body): (&str, Vec<String>) = match rng.int(0, 4) {
        0 => ("\n", facts.map(|f| format!("{}: {}", f.label, f.value)).collect()),
        1 => ("\n", facts.map(|f| format!("| {} | {} |", f.label, f.value)).collect()),
        2 => ("\n", facts.map(|f| format!("- {} = {}", f.label, f.value)).collect()),
        3 => ("\n", facts.map(|f| format!("The {} is {}.", f.label, f.value)).collect()),
        _ => {
            return format!(
                "{heading}; {}",
                facts.map(|f| format!("{}: {}", f.label, f.value)).collect::<Vec<_>>().join("; ")
            );
        }
    };
    format!("{heading}{open}{}", body.join("\n"))
}
