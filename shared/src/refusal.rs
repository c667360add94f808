//! How readily a model refuses.

use serde::{Deserialize, Serialize};

use crate::hash::check_sha256;
use crate::{Error, Result};

/// The strongest bias: beyond it the model never, or always, refuses.
const STRONGEST: f32 = 20.0;

/// What is added to the logit of the refusal's first token where a free answer begins.
///
/// Training mixes answers and refusals in a proportion of its own, and a model answers with that
/// proportion in mind: asked in words that it never met, it refuses what it knows. Moving the one
/// logit corrects the proportion (Saerens et al., "Adjusting the outputs of a classifier to new a
/// priori probabilities", 2002). How far is chosen on validation questions and kept with the
/// adapter. An answer that begins with the same token is moved as well. The first token's
/// probability is that of the moved logits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusalBias {
    /// Added to the logit; below 0 for fewer refusals.
    pub logit: f32,
    /// Validation questions it was chosen on.
    pub questions: u64,
    /// SHA-256 of those questions.
    pub questions_sha256: String,
}

impl RefusalBias {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`Error::Value`], naming the field.
    pub fn validate(&self) -> Result<()> {
        if !(-STRONGEST..=STRONGEST).contains(&self.logit) {
            return Err(Error::Value {
                name: "refusal_bias.logit".into(),
                expected: format!("-{STRONGEST} to {STRONGEST}"),
                found: self.logit.to_string(),
            });
        }
        check_sha256("refusal_bias.questions_sha256", &self.questions_sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn rejects_numbers_that_are_no_bias() {
        let bias = |logit, hash: &str| {
            RefusalBias { logit, questions: 9, questions_sha256: hash.into() }.validate()
        };
        let hash = "a".repeat(64);
        bias(-2.0, &hash).unwrap();
        for logit in [-20.5, 21.0, f32::NAN, f32::NEG_INFINITY] {
            assert!(bias(logit, &hash).is_err(), "{logit}");
        }
        assert!(bias(-2.0, "a").is_err());
    }
}
