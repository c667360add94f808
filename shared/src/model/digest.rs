//! A fingerprint of what a model computes.

use sha2::{Digest, Sha256};

use super::Model;
use crate::exchange::Exchange;
use crate::hash::hex;
use crate::{ModelConfig, Result};

/// SHA-256, hexadecimal, over the bits (little-endian f32) of the logits after every token.
///
/// Equal on every machine, kernel, number of ranks and cut into passes. The first half of the
/// tokens goes through in one pass, the rest one by one, so that both paths count.
///
/// # Errors
/// As [`Model::forward`].
pub fn logits_digest(model: &Model, tokens: &[u32], exchange: &mut dyn Exchange) -> Result<String> {
    let mut cache = model.new_cache();
    let mut hash = Sha256::new();
    let (together, single) = tokens.split_at(tokens.len().div_ceil(2));
    for pass in std::iter::once(together).chain(single.chunks(1)) {
        model.forward_each(&mut cache, pass, exchange, &mut |logits| {
            logits.iter().for_each(|logit| hash.update(logit.to_le_bytes()));
        })?;
    }
    Ok(hex(&hash.finalize()))
}

/// A fixed prompt for [`logits_digest`] that needs no tokenizer: 24 ids spread over the
/// vocabulary, fewer if the context is shorter.
pub fn self_test_tokens(config: &ModelConfig) -> Vec<u32> {
    /// 2^32 over the golden ratio: multiples spread evenly.
    const STEP: u32 = 0x9e37_79b9;
    let spread = |index: u32| {
        let fraction = u64::from(index.wrapping_mul(STEP));
        ((fraction * config.vocab_size as u64) >> 32) as u32
    };
    (1..=config.context_length.min(24) as u32).map(spread).collect()
}
