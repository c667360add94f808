//! Which of the records' fields a question asks for, by each of its words.
//!
//! Sets of words know a field or don't, and of a question in other words they say nothing. A
//! multinomial logistic regression over single words says something of every question. It is trained
//! on the same phrasings as the model, but makes other mistakes: where both agree, hardly any answer
//! is wrong. It tells only the plant's own fields apart, and not whether a question asks for none of
//! them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::GUARD_FILE;
use super::list::hex_bytes;
use super::wording::{BATCH_NOUNS, hash, singular};
use crate::{Error, Result};

/// Words are told apart by their hash modulo this: some hundred words are in a plant's questions. A
/// prime, because of words that differ in their last letter alone the hashes differ in few bits.
const BUCKETS: u16 = 1021;
/// What every question has.
const ALWAYS: u16 = BUCKETS;

/// The classifier as it travels. Part of `guard.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldClassifier {
    /// The fields that it tells apart, by their places in the list.
    pub fields: Vec<usize>,
    /// By what the weights are divided.
    pub divisor: u16,
    /// `[features, fields]`, two hexadecimal digits each, in two's complement.
    pub weights: String,
}

impl FieldClassifier {
    /// Number of features of a question, each of which it has or hasn't.
    pub const FEATURES: usize = BUCKETS as usize + 1;

    /// Rounds `weights`, `[features, fields]`, to bytes.
    ///
    /// # Errors
    /// [`Error::Length`] for another number of weights.
    pub fn new(fields: Vec<usize>, weights: &[f32]) -> Result<Self> {
        let expected = Self::FEATURES * fields.len();
        if weights.len() != expected {
            return Err(Error::Length {
                name: "the weights of a classifier".into(),
                expected,
                found: weights.len(),
            });
        }
        let largest = weights.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
        let most = f32::from(i8::MAX);
        let divisor =
            (most / largest.max(f32::MIN_POSITIVE)).clamp(1.0, f32::from(u16::MAX)) as u16;
        let byte = |weight: &f32| (weight * f32::from(divisor)).round().clamp(-most, most) as i8;
        let weights = weights.iter().map(|weight| format!("{:02x}", byte(weight))).collect();
        Ok(Self { fields, divisor, weights })
    }

    pub(super) fn validate(&self, known: usize) -> Result<()> {
        let problem = |name: &str, expected: String, found: String| {
            Err(Error::Value { name: format!("{GUARD_FILE}: classifier.{name}"), expected, found })
        };
        let each: BTreeSet<usize> = self.fields.iter().copied().collect();
        if each.len() < self.fields.len() || each.last().is_none_or(|last| *last >= known) {
            let expected = format!("one or more of {known} fields, each once");
            return problem("fields", expected, format!("{:?}", self.fields));
        }
        if self.divisor == 0 {
            return problem("divisor", "1 or more".into(), "0".into());
        }
        let expected = Self::FEATURES * self.fields.len();
        match hex_bytes(&self.weights) {
            Some(bytes) if bytes.len() == expected => Ok(()),
            _ => problem(
                "weights",
                format!("{expected} bytes in hexadecimal"),
                format!("{} characters", self.weights.len()),
            ),
        }
    }
}

/// A classifier made ready.
#[derive(Debug, Clone)]
pub(super) struct Classifier {
    fields: Vec<u16>,
    divisor: f32,
    weights: Vec<i8>,
}

impl Classifier {
    /// Of one that has been validated.
    pub(super) fn new(of: &FieldClassifier) -> Self {
        let bytes = hex_bytes(&of.weights).unwrap_or_default();
        Self {
            fields: of.fields.iter().filter_map(|at| (*at).try_into().ok()).collect(),
            divisor: of.divisor.into(),
            weights: bytes.into_iter().map(u8::cast_signed).collect(),
        }
    }

    /// The fields that it tells apart.
    pub(super) fn fields(&self) -> &[u16] {
        &self.fields
    }

    /// Whether a field is one of them.
    pub(super) fn knows(&self, field: u16) -> bool {
        self.fields.contains(&field)
    }

    /// The share of probability of those fields for which `counts` holds, 0 to 1.
    pub(super) fn share(&self, features: &BTreeSet<u16>, counts: impl Fn(u16) -> bool) -> f32 {
        let (mut all, mut counted) = (0.0_f32, 0.0_f32);
        for (field, likelihood) in self.likelihoods(features) {
            all += likelihood;
            if counts(field) {
                counted += likelihood;
            }
        }
        counted / all
    }

    /// Every field, and how likely it is beside the likeliest, which has 1.
    pub(super) fn likelihoods(
        &self,
        features: &BTreeSet<u16>,
    ) -> impl Iterator<Item = (u16, f32)> + '_ {
        let width = self.fields.len();
        let mut sums = vec![0_i32; width];
        for feature in features {
            let row = &self.weights[usize::from(*feature) * width..][..width];
            for (sum, weight) in sums.iter_mut().zip(row) {
                *sum += i32::from(*weight);
            }
        }
        let most = sums.iter().max().copied().unwrap_or(0);
        let likelihood = move |sum| libm::expf((sum - most) as f32 / self.divisor);
        self.fields.iter().copied().zip(sums.into_iter().map(likelihood))
    }
}

/// What a question with these words has, batches left out of it.
pub(super) fn features(tokens: &[String]) -> BTreeSet<u16> {
    let words = tokens.iter().map(|token| singular(token));
    let telling = words.filter(|word| !BATCH_NOUNS.contains(&word.as_str()));
    let bucket = |word: String| (hash([&word]) % u64::from(BUCKETS)) as u16;
    telling.map(bucket).chain([ALWAYS]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::wording::tokens;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn of(text: &str) -> BTreeSet<u16> {
        features(&tokens(text))
    }

    /// Tells "yield" from "code"; without either, the first is twice as likely.
    fn example() -> FieldClassifier {
        let mut weights = vec![0.0; 2 * FieldClassifier::FEATURES];
        let at = |word: &str| 2 * usize::from(*of(word).iter().next().unwrap());
        weights[at("yield")] = 3.0;
        weights[at("code") + 1] = 3.0;
        weights[2 * usize::from(ALWAYS)] = 2.0_f32.ln();
        FieldClassifier::new(vec![4, 2], &weights).unwrap()
    }

    #[test]
    fn words_share_out_the_probability() {
        let classifier = Classifier::new(&example());
        let share = |text: &str, field: u16| classifier.share(&of(text), |known| known == field);
        let near = |found: f32, expected: f32| assert!((found - expected).abs() < 0.01, "{found}");
        near(share("whatever of batch", 4), 2.0 / 3.0);
        let e3 = 3.0_f32.exp();
        near(share("Yields?", 4), 2.0 * e3 / (2.0 * e3 + 1.0));
        near(share("the code", 2), e3 / (2.0 + e3));
        near(classifier.share(&of("code"), |_| true), 1.0);
        assert!(classifier.knows(2) && !classifier.knows(3));
    }

    #[test]
    fn a_batch_by_another_word_changes_nothing() {
        assert_eq!(of("lot yield of"), of("yield of batch"));
        for (one, other) in [("yield", "code"), ("qa", "qc"), ("date", "data"), ("in", "is")] {
            assert_ne!(of(one), of(other));
        }
    }

    #[test]
    fn rejects_classifiers_that_do_not_hold_together() {
        assert!(FieldClassifier::new(vec![0], &[1.0]).is_err());
        example().validate(5).unwrap();
        for change in [
            |c: &mut FieldClassifier| c.fields = vec![4, 5],
            |c: &mut FieldClassifier| c.fields = vec![4, 4],
            |c: &mut FieldClassifier| c.fields = vec![4],
            |c: &mut FieldClassifier| (c.fields, c.weights) = (Vec::new(), String::new()),
            |c: &mut FieldClassifier| c.divisor = 0,
            |c: &mut FieldClassifier| c.weights.truncate(c.weights.len() - 1),
            |c: &mut FieldClassifier| c.weights.replace_range(..1, "g"),
        ] {
            let mut changed = example();
            change(&mut changed);
            let error = changed.validate(5).unwrap_err().to_string();
            assert!(error.contains("classifier."), "{error}");
        }
    }
}
