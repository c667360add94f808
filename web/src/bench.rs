//! The benchmark page's request and result, and the one thing it measures that is not the engine:
//! how fast WebAssembly reads memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::SiteError;

/// What is to be measured, from the query of `bench.html`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenchRequest {
    /// Address of a GGUF file; the site's own base without one.
    pub model: Option<String>,
    /// Address of a folder with an adapter's two PEFT files.
    pub adapter: Option<String>,
    /// Number of ranks.
    pub ranks: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens that are decoded one by one behind it.
    pub decode_tokens: usize,
    /// How often both are measured, after one run that does not count.
    pub runs: usize,
}

/// The build of the worker that `build=` may name: there is one.
const BUILDS: [&str; 2] = ["auto", "simd128"];

impl BenchRequest {
    /// Reads the query's parameters.
    ///
    /// # Errors
    /// `BadParameter`: an unknown name, or a value outside its range.
    pub fn from_parameters(parameters: &BTreeMap<String, String>) -> Result<Self, SiteError> {
        let mut request = Self {
            model: None,
            adapter: None,
            ranks: 1,
            prompt_tokens: 128,
            decode_tokens: 64,
            runs: 5,
        };
        for (name, value) in parameters {
            let bad = |expected: String| SiteError::BadParameter {
                name: name.clone(),
                expected,
                found: value.clone(),
            };
            let number = |most: usize| match value.parse() {
                Ok(number) if (1..=most).contains(&number) => Ok(number),
                _ => Err(bad(format!("a whole number from 1 to {most}"))),
            };
            match name.as_str() {
                "model" => request.model = Some(value.clone()),
                "adapter" => request.adapter = Some(value.clone()),
                "ranks" => request.ranks = number(64)?,
                "build" if BUILDS.contains(&value.as_str()) => {}
                "build" => return Err(bad(format!("one of {}", BUILDS.join(", ")))),
                "prompt_tokens" => request.prompt_tokens = number(1 << 20)?,
                "decode_tokens" => request.decode_tokens = number(1 << 20)?,
                "runs" => request.runs = number(1000)?,
                _ => {
                    return Err(bad(
                        "one of model, adapter, ranks, build, prompt_tokens, decode_tokens, runs"
                            .into(),
                    ));
                }
            }
        }
        Ok(request)
    }
}

/// Speed of one run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BenchRun {
    /// Prompt tokens a second, up to the logits after the last one.
    pub prefill_tps: f64,
    /// Tokens a second, one by one, each the most probable one.
    pub decode_tps: f64,
}

/// What was measured: `window.benchResult`, to which the page adds `browser`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchResult {
    /// Address of the model.
    pub model: String,
    /// SHA-256 of the model's file, hexadecimal.
    pub model_sha256: String,
    /// Size of the model's file, in bytes.
    pub model_bytes: u64,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens decoded behind it.
    pub decode_tokens: usize,
    /// The measured runs.
    pub runs: Vec<BenchRun>,
    /// Seconds from asking the server for the model to a model that is ready.
    pub load_s: f64,
    /// Of these, seconds in which the slowest rank packed weights and merged the adapter.
    pub merge_s: f64,
    /// Bytes of packed weights, in sum over the ranks.
    pub packed_bytes: u64,
    /// WebAssembly memory after the runs, in sum over the ranks. It never shrinks.
    pub peak_bytes: u64,
    /// Bytes of the key/value caches, in sum over the ranks.
    pub cache_bytes: u64,
    /// Digest of the logits of the self-test's tokens, see [`shared::logits_digest`].
    pub digest: String,
    /// Gigabytes a second that one rank reads from memory.
    pub read_gbps: f64,
    /// Number of ranks.
    pub ranks: usize,
    /// Name of the kernels.
    pub build: String,
}

/// Reads all of `words` once and returns a sum of them, so that nothing can be left out. Eight
/// sums side by side keep the additions from being the limit.
#[must_use]
pub fn read_all(words: &[u64]) -> u64 {
    let mut sums = [0_u64; 8];
    let (lines, rest) = words.as_chunks::<8>();
    for line in lines {
        for (sum, word) in sums.iter_mut().zip(line) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.into_iter().chain(rest.iter().copied()).fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(parameters: &[(&str, &str)]) -> Result<BenchRequest, SiteError> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        BenchRequest::from_parameters(&parameters.iter().map(own).collect())
    }

    #[test]
    fn every_parameter_counts() {
        let request = parse(&[
            ("model", "m.gguf"),
            ("adapter", "adapters/a"),
            ("ranks", "3"),
            ("build", "simd128"),
            ("prompt_tokens", "172"),
            ("decode_tokens", "32"),
            ("runs", "7"),
        ]);
        let expected = BenchRequest {
            model: Some("m.gguf".into()),
            adapter: Some("adapters/a".into()),
            ranks: 3,
            prompt_tokens: 172,
            decode_tokens: 32,
            runs: 7,
        };
        assert_eq!(request, Ok(expected));
        assert_eq!(parse(&[]).unwrap().ranks, 1);
    }

    #[test]
    fn rejects_what_it_would_have_to_ignore() {
        for (name, value) in
            [("rank", "2"), ("ranks", "0"), ("ranks", "65"), ("runs", "-1"), ("build", "avx")]
        {
            let error = parse(&[(name, value)]).unwrap_err();
            assert!(error.detail().contains(name) && error.detail().contains(value), "{error}");
        }
    }

    #[test]
    fn all_words_are_read() {
        let words: Vec<u64> = (0..1003).collect();
        assert_eq!(read_all(&words), 1002 * 1003 / 2);
        assert_eq!(read_all(&[u64::MAX, 2]), 1);
        assert_eq!(read_all(&[]), 0);
    }
}
