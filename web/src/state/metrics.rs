//! Numbers about this visit, in the units of the `data-` attributes that carry them.

use crate::protocol::{LoadCost, Summary};

/// Numbers about this visit. Milliseconds count from the opening of the page unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Metrics {
    /// Bytes that the worker loaded over the network.
    pub downloaded_bytes: u64,
    /// When questions could first be asked.
    pub ready_ms: Option<f64>,
    /// Milliseconds that the latest merge took.
    pub merge_ms: Option<f64>,
    /// Milliseconds from sending the latest question to its first token on the page.
    pub first_token_ms: Option<f64>,
    /// When the first token of the first answer was on the page.
    pub open_to_first_token_ms: Option<f64>,
    /// Tokens per second of the latest answer.
    pub tokens_per_second: Option<f64>,
    /// Largest size of the worker's WebAssembly memory seen, in bytes.
    pub memory_bytes: u64,
    asked_ms: Option<f64>,
}

impl Metrics {
    pub(super) fn ready(&mut self, cost: &LoadCost, at_ms: f64) {
        self.downloaded_bytes = cost.downloaded_bytes;
        self.ready_ms.get_or_insert(at_ms);
        self.merge_ms = Some(cost.merge_ms);
        self.memory_bytes = self.memory_bytes.max(cost.memory_bytes);
    }

    pub(super) fn asked(&mut self, at_ms: f64) {
        self.asked_ms = Some(at_ms);
        self.first_token_ms = None;
    }

    pub(super) fn token(&mut self, at_ms: f64) {
        if let Some(asked) = self.asked_ms.take() {
            self.first_token_ms = Some(at_ms - asked);
            self.open_to_first_token_ms.get_or_insert(at_ms);
        }
    }

    pub(super) fn answered(&mut self, summary: &Summary) {
        self.tokens_per_second = Some(summary.tokens_per_second());
        self.memory_bytes = self.memory_bytes.max(summary.memory_bytes);
    }

    /// Name and value of each number that is known, as the `data-` attributes carry them.
    #[must_use]
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        let ms = |value: f64| format!("{value:.1}");
        let mut entries = vec![
            ("downloadedBytes", self.downloaded_bytes.to_string()),
            ("memoryBytes", self.memory_bytes.to_string()),
        ];
        let timed = [
            ("readyMs", self.ready_ms),
            ("mergeMs", self.merge_ms),
            ("firstTokenMs", self.first_token_ms),
            ("openToFirstTokenMs", self.open_to_first_token_ms),
            ("tokensPerSecond", self.tokens_per_second),
        ];
        entries.extend(timed.into_iter().filter_map(|(name, value)| Some((name, ms(value?)))));
        entries
    }
}
