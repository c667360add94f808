//! From logits to the next token.

use serde::{Deserialize, Serialize};

use crate::kernels::exp;
use crate::{Error, Result, Rng};

/// How tokens are chosen and when to stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplerConfig {
    /// Logits are divided by it; 0 takes the likeliest token (the lowest id of equals).
    pub temperature: f32,
    /// Of the tokens that `top_k` left, keep the likeliest whose probabilities first reach this
    /// sum; at least one. 1 or more keeps all.
    pub top_p: f32,
    /// Keep this many of the likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Longest answer, in tokens.
    pub max_new_tokens: usize,
    /// Ends loops, see [`Sampler::next`]; 0 allows them.
    pub no_repeat_ngram_size: usize,
    /// Seed of the random numbers.
    pub seed: u64,
}

impl SamplerConfig {
    /// The settings of the production recipe: some variation, no loops.
    pub fn production() -> Self {
        Self {
            temperature: 0.3,
            top_p: 0.85,
            top_k: 40,
            max_new_tokens: 150,
            no_repeat_ngram_size: 3,
            seed: 0,
        }
    }

    /// Greedy: always the likeliest token.
    pub fn exact() -> Self {
        Self {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            no_repeat_ngram_size: 0,
            ..Self::production()
        }
    }

    /// Checks that every number makes sense.
    ///
    /// # Errors
    /// [`Error::Value`], naming the first field that doesn't.
    pub fn validate(&self) -> Result<()> {
        let refuse = |name: &str, expected: &str, found: String| {
            Err(Error::Value { name: name.into(), expected: expected.into(), found })
        };
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return refuse("temperature", "0 or more", self.temperature.to_string());
        }
        if self.top_p.is_nan() || self.top_p < 0.0 {
            return refuse("top_p", "0 or more", self.top_p.to_string());
        }
        if self.max_new_tokens == 0 {
            return refuse("max_new_tokens", "1 or more", "0".into());
        }
        Ok(())
    }
}

/// A chosen token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// The token.
    pub token: u32,
    /// What the model itself gave it: softmax of the unmodified logits at temperature 1.
    pub probability: f32,
}

/// Chooses the tokens of one answer.
#[derive(Debug, Clone)]
pub struct Sampler {
    config: SamplerConfig,
    rng: Rng,
    generated: Vec<u32>,
}

/// How often a cycle stands in a row before it counts as a loop.
const LOOP_REPEATS: usize = 3;
/// A loop's least length in tokens, as a multiple of `no_repeat_ngram_size`.
const LOOP_LENGTH: usize = 8;

impl Sampler {
    /// A sampler at the start of an answer.
    ///
    /// # Errors
    /// What [`SamplerConfig::validate`] refuses.
    pub fn new(config: SamplerConfig) -> Result<Self> {
        config.validate()?;
        let rng = Rng::new(config.seed);
        Ok(Self { config, rng, generated: Vec::new() })
    }

    /// The settings.
    pub fn config(&self) -> &SamplerConfig {
        &self.config
    }

    /// The tokens chosen so far.
    pub fn generated(&self) -> &[u32] {
        &self.generated
    }

    /// Chooses the next token.
    ///
    /// In this order: a token that would continue a loop is excluded; the `top_k` likeliest are
    /// kept; logits are divided by the temperature; `top_p` cuts the tail; one of the rest is
    /// drawn.
    ///
    /// A loop is a cycle of tokens that the answer (never the prompt) has just gone through again
    /// and again: with the next token it would stand there at least three times in a row and fill
    /// at least `8 * no_repeat_ngram_size` tokens. Nothing else is excluded. Blocking every
    /// repeated n-gram, as is usual, forbids the right continuation of "2025-04-20 to 2025-04-2"
    /// and the second mention of a batch, and so writes wrong values; this cannot touch a value
    /// unless it is 24 tokens of one repeated pattern.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for a NaN or infinite logit, [`Error::Length`] for no logits.
    pub fn next(&mut self, logits: &[f32]) -> Result<Choice> {
        self.next_among(logits, None)
    }

    /// Chooses the next token as [`Self::next`] does, among those of `allowed` alone if it is
    /// given. The probability stays what the model gave the token among all.
    ///
    /// # Errors
    /// As [`Self::next`]; [`Error::Value`] if no token is allowed.
    pub fn next_among(&mut self, logits: &[f32], allowed: Option<&[u32]>) -> Result<Choice> {
        check_finite(logits)?;
        let banned = self.banned();
        let mut candidates: Vec<(u32, f32)> = match allowed {
            None => (0..).zip(logits.iter().copied()).collect(),
            Some(allowed) => {
                let known = |&token: &u32| Some((token, *logits.get(token as usize)?));
                allowed.iter().filter_map(known).collect()
            }
        };
        if candidates.is_empty() {
            return Err(Error::Value {
                name: "approved answers".into(),
                expected: "a token that continues one of them".into(),
                found: "none".into(),
            });
        }
        if candidates.len() > 1 {
            candidates.retain(|(token, _)| Some(*token) != banned);
        }
        let likelier = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let greedy = self.config.temperature == 0.0;
        let keep = match self.config.top_k {
            _ if greedy => 1,
            0 => candidates.len(),
            top_k => top_k.min(candidates.len()),
        };
        if keep < candidates.len() {
            candidates.select_nth_unstable_by(keep - 1, likelier);
            candidates.truncate(keep);
        }
        candidates.sort_unstable_by(likelier);
        let token = if greedy { candidates[0].0 } else { self.draw(&candidates) };
        self.generated.push(token);
        Ok(Choice { token, probability: probability(logits, token as usize) })
    }

    /// The only token that would continue or close a loop, if there is one.
    fn banned(&self) -> Option<u32> {
        let shortest = LOOP_LENGTH * self.config.no_repeat_ngram_size;
        if shortest == 0 {
            return None;
        }
        let tokens = &self.generated;
        (1..=tokens.len() / (LOOP_REPEATS - 1)).find_map(|cycle| {
            let agreeing = (cycle..tokens.len())
                .rev()
                .take_while(|&at| tokens[at] == tokens[at - cycle])
                .count();
            let with_next = cycle + agreeing + 1;
            (with_next >= shortest.max(LOOP_REPEATS * cycle)).then(|| tokens[tokens.len() - cycle])
        })
    }

    /// Draws from candidates that are sorted, the likeliest first.
    fn draw(&mut self, candidates: &[(u32, f32)]) -> u32 {
        let highest = candidates[0].1;
        let weights: Vec<f64> = candidates
            .iter()
            .map(|(_, logit)| f64::from(exp((logit - highest) / self.config.temperature)))
            .collect();
        let total: f64 = weights.iter().sum();
        let nucleus = f64::from(self.config.top_p) * total;
        let mut kept = 0;
        let mut mass = 0.0;
        for weight in &weights {
            mass += weight;
            kept += 1;
            if self.config.top_p < 1.0 && mass >= nucleus {
                break;
            }
        }
        let mut left = self.rng.uniform() * mass;
        for (weight, (token, _)) in weights[..kept].iter().zip(candidates) {
            if left < *weight {
                return *token;
            }
            left -= weight;
        }
        candidates[kept - 1].0
    }
}

/// Refuses logits that are empty or not finite.
pub(crate) fn check_finite(logits: &[f32]) -> Result<()> {
    if logits.is_empty() {
        return Err(Error::Length { name: "logits".into(), expected: 1, found: 0 });
    }
    match logits.iter().position(|logit| !logit.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Error::NotFinite { name: "logits".into(), index, value: logits[index] }),
    }
}

/// Softmax probability of one token.
fn probability(logits: &[f32], token: usize) -> f32 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|logit| f64::from(exp(logit - highest))).sum();
    (f64::from(exp(logits[token] - highest)) / total) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(temperature: f32, top_p: f32, top_k: usize) -> SamplerConfig {
        SamplerConfig { temperature, top_p, top_k, ..SamplerConfig::exact() }
    }

    /// How often each token is drawn, as a share.
    fn shares(config: &SamplerConfig, logits: &[f32]) -> Vec<f64> {
        const DRAWS: usize = 20_000;
        let mut sampler = Sampler::new(config.clone()).unwrap();
        let mut counts = vec![0_usize; logits.len()];
        for _ in 0..DRAWS {
            counts[sampler.next(logits).unwrap().token as usize] += 1;
        }
        counts.into_iter().map(|count| count as f64 / DRAWS as f64).collect()
    }

    fn assert_shares(config: SamplerConfig, logits: &[f32], expected: &[f64]) {
        let found = shares(&config, logits);
        for (found, expected) in found.iter().zip(expected) {
            // Four standard deviations of a share of 20,000 draws; what is cut is never drawn.
            let tolerance = 4.0 * (expected * (1.0 - expected) / 20_000.0).sqrt();
            assert!((found - expected).abs() <= tolerance, "{found} {expected}");
        }
    }

    fn ln(shares: &[f32]) -> Vec<f32> {
        shares.iter().map(|share| share.ln()).collect()
    }

    fn after(tokens: &[u32], ngram: usize) -> Option<u32> {
        let config = SamplerConfig { no_repeat_ngram_size: ngram, ..SamplerConfig::exact() };
        let mut sampler = Sampler::new(config).unwrap();
        sampler.generated = tokens.to_vec();
        sampler.banned()
    }

    #[test]
    fn greedy_takes_the_highest_and_the_lowest_id_of_equals() {
        let mut sampler = Sampler::new(SamplerConfig::exact()).unwrap();
        assert_eq!(sampler.next(&[0.0, 3.0, 1.0, 3.0]).unwrap().token, 1);
        assert_eq!(sampler.next(&[5.0]).unwrap(), Choice { token: 0, probability: 1.0 });
        assert_eq!(sampler.next(&[-0.0, -0.0]).unwrap().token, 0);
        assert_eq!(sampler.generated(), [1, 0, 0]);
    }

    #[test]
    fn draws_follow_the_softmax() {
        let logits = ln(&[0.5, 0.1, 0.3, 0.1]);
        assert_shares(config(1.0, 1.0, 0), &logits, &[0.5, 0.1, 0.3, 0.1]);
        assert_shares(config(1.0, 7.0, 0), &logits, &[0.5, 0.1, 0.3, 0.1]);
    }

    #[test]
    fn temperature_sharpens() {
        let logits = ln(&[0.5, 0.3, 0.2]);
        let squares = [0.25, 0.09, 0.04];
        let total: f64 = squares.iter().sum();
        assert_shares(config(0.5, 1.0, 0), &logits, &squares.map(|square| square / total));
    }

    #[test]
    fn top_k_cuts_and_breaks_ties_by_id() {
        let logits = ln(&[0.1, 0.2, 0.5, 0.2]);
        assert_shares(config(1.0, 1.0, 2), &logits, &[0.0, 2.0 / 7.0, 5.0 / 7.0, 0.0]);
        assert_shares(config(1.0, 1.0, 1), &logits, &[0.0, 0.0, 1.0, 0.0]);
        assert_shares(config(1.0, 1.0, 99), &logits, &[0.1, 0.2, 0.5, 0.2]);
    }

    #[test]
    fn top_p_keeps_the_token_that_reaches_the_sum() {
        let logits = ln(&[0.1, 0.2, 0.4, 0.3]);
        assert_shares(config(1.0, 0.0, 0), &logits, &[0.0, 0.0, 1.0, 0.0]);
        assert_shares(config(1.0, 0.35, 0), &logits, &[0.0, 0.0, 1.0, 0.0]);
        assert_shares(config(1.0, 0.5, 0), &logits, &[0.0, 0.0, 4.0 / 7.0, 3.0 / 7.0]);
        assert_shares(config(1.0, 0.75, 0), &logits, &[0.0, 2.0 / 9.0, 4.0 / 9.0, 3.0 / 9.0]);
    }

    #[test]
    fn top_p_counts_what_top_k_left() {
        // Of 0.5 and 0.3, the first is 0.625 of the rest: enough for 0.6, not for 0.6 of all.
        let logits = ln(&[0.5, 0.3, 0.2]);
        assert_shares(config(1.0, 0.6, 2), &logits, &[1.0, 0.0, 0.0]);
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let logits: Vec<f32> = (0..50).map(|k| (k as f32 * 0.7).sin()).collect();
        let run = |seed| {
            let config = SamplerConfig { seed, ..config(1.0, 0.9, 40) };
            let mut sampler = Sampler::new(config).unwrap();
            (0..20).map(|_| sampler.next(&logits).unwrap().token).collect::<Vec<_>>()
        };
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
    }

    #[test]
    fn the_probability_is_the_models_own() {
        let logits = ln(&[0.5, 0.3, 0.2]);
        let mut sampler = Sampler::new(config(0.1, 0.1, 1)).unwrap();
        let choice = sampler.next(&logits).unwrap();
        assert_eq!(choice.token, 0);
        assert!((choice.probability - 0.5).abs() < 1e-6, "{}", choice.probability);
    }

    #[test]
    fn a_loop_ends() {
        let mut sampler =
            Sampler::new(SamplerConfig { no_repeat_ngram_size: 3, ..SamplerConfig::exact() })
                .unwrap();
        let tokens: Vec<u32> =
            (0..24).map(|_| sampler.next(&[0.0, 1.0, 0.5]).unwrap().token).collect();
        assert_eq!(tokens[..23], [1; 23]);
        assert_eq!(tokens[23], 2);
    }

    #[test]
    fn only_loops_are_banned() {
        let sentence: Vec<u32> = (0..10).collect();
        let twice = [&sentence[..], &sentence[..]].concat();
        let almost = [&twice[..], &sentence[..9]].concat();
        assert_eq!(after(&twice, 3), None, "two mentions are no loop");
        assert_eq!(after(&almost, 3), Some(9), "the third repetition would end");
        assert_eq!(after(&almost, 0), None, "0 allows loops");
        assert_eq!(after(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0], 3), None, "a number with nine zeros");
        let dates = [2, 0, 2, 5, 20, 0, 4, 20, 2, 0, 30, 2, 0, 2, 5, 20, 0, 4, 20, 2];
        assert_eq!(after(&dates, 3), None, "two dates");
        assert_eq!(after(&[], 3), None);
    }

    #[test]
    fn a_single_token_vocabulary_is_never_emptied() {
        let mut sampler =
            Sampler::new(SamplerConfig { no_repeat_ngram_size: 1, ..SamplerConfig::exact() })
                .unwrap();
        for _ in 0..20 {
            assert_eq!(sampler.next(&[1.0]).unwrap().token, 0);
        }
    }

    #[test]
    fn rejects_what_is_not_finite() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut sampler = Sampler::new(SamplerConfig::exact()).unwrap();
            let result = sampler.next(&[0.0, bad, 1.0]);
            assert!(matches!(result, Err(Error::NotFinite { index: 1, .. })), "{bad}");
            assert!(sampler.generated().is_empty());
        }
        let mut sampler = Sampler::new(SamplerConfig::exact()).unwrap();
        assert!(matches!(sampler.next(&[]), Err(Error::Length { .. })));
    }

    #[test]
    fn rejects_settings_without_meaning() {
        let base = SamplerConfig::production;
        assert!(base().validate().is_ok());
        for bad in [
            SamplerConfig { temperature: -1.0, ..base() },
            SamplerConfig { temperature: f32::NAN, ..base() },
            SamplerConfig { temperature: f32::INFINITY, ..base() },
            SamplerConfig { top_p: f32::NAN, ..base() },
            SamplerConfig { top_p: -0.1, ..base() },
            SamplerConfig { max_new_tokens: 0, ..base() },
        ] {
            assert!(Sampler::new(bad.clone()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn presets_survive_json() {
        for preset in [SamplerConfig::production(), SamplerConfig::exact()] {
            let json = serde_json::to_string(&preset).unwrap();
            assert_eq!(serde_json::from_str::<SamplerConfig>(&json).unwrap(), preset);
        }
    }
}
