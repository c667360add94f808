//! Random choices. Every stream is derived from what it is for, so that any part of the
//! corpus can be made again without replaying what came before it.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// A stream of its own for `(seed, purpose, index)`.
pub fn stream(seed: u64, purpose: &str, index: u64) -> ChaCha8Rng {
    use sha2::{Digest as _, Sha256};
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(index.to_le_bytes());
    hash.update(purpose.as_bytes());
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// Choices the generator makes all the time.
pub trait Choose {
    /// One element of a list that isn't empty.
    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T;
    /// One text of a list that isn't empty.
    fn word<'a, S: AsRef<str>>(&mut self, list: &'a [S]) -> &'a str;
    /// True with probability `p`.
    fn chance(&mut self, p: f64) -> bool;
    /// An integer in `low..=high`.
    fn int(&mut self, low: usize, high: usize) -> usize;
    /// An index drawn in proportion to `weights`.
    fn weighted(&mut self, weights: &[f64]) -> usize;
}

impl Choose for ChaCha8Rng {
    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.random_range(0..list.len())]
    }

    fn word<'a, S: AsRef<str>>(&mut self, list: &'a [S]) -> &'a str {
        self.pick(list).as_ref()
    }

    fn chance(&mut self, p: f64) -> bool {
        self.random_bool(p)
    }

    fn int(&mut self, low: usize, high: usize) -> usize {
        self.random_range(low..=high)
    }

    fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut left = self.random_range(0.0..weights.iter().sum::<f64>());
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return index;
            }
        }
        weights.len() - 1
    }
}
