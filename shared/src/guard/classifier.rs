//! Which of the records' fields a question asks for, by each of its words.
//!
//! Sets of words know a field or don't, and of a question in other words they say nothing. A
//! multinomial logistic regression over single words says something of every question. It is trained
//! on the same phrasings as the model, but makes other mistakes: where both agree, hardly any answer
//! is wrong. It tells only the plant's own fields apart, and not whether a question asks for none of
//! them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::GUARD_FILE;
use super::list::hex_bytes;
use super::wording::{BATCH_NOUNS, hash, singular};
use crate::{Error, Result};

/// How words become features.
#[derive(Debug, Clone, Copy)]
struct Hashing {
    /// Words that begin with the same letters, this many, are one: "yielded" and "yield".
    letters: usize,
    /// Words are told apart by their hash modulo this. A prime, because of words that differ in
    /// their last letter alone the hashes differ in few bits.
    modulus: u16,
}

const HASHING: Hashing = Hashing { letters: 5, modulus: 65_521 };
/// Of lists up to format 6, which have a weight for every feature.
const HASHING_6: Hashing = Hashing { letters: usize::MAX, modulus: 1021 };

/// A feature that moves no field's sum by as much as this from the others' is left out: a third of
/// them, and hardly an answer is marked otherwise.
const LEAST_SPREAD: f32 = 0.3;

/// Hexadecimal digits of a feature.
const DIGITS: usize = 4;

/// The classifier as it travels. Part of `guard.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldClassifier {
    /// The fields that it tells apart, by their places in the list.
    pub fields: Vec<usize>,
    /// By what the weights are divided.
    pub divisor: u16,
    /// The features that have weights, ascending, four hexadecimal digits each; none up to format 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<String>,
    /// `[features, fields]`, two hexadecimal digits each, in two's complement.
    pub weights: String,
}

impl FieldClassifier {
    /// Rounds the weights of each feature, `[fields]`, to bytes, and leaves out those that tell
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Length`] for a feature with another number of weights.
    pub fn new(fields: Vec<usize>, weights: &BTreeMap<u16, Vec<f32>>) -> Result<Self> {
        if let Some(odd) = weights.values().find(|row| row.len() != fields.len()) {
            return Err(Error::Length {
                name: "the weights of a classifier's feature".into(),
                expected: fields.len(),
                found: odd.len(),
            });
        }
        let kept = || weights.iter().filter(|(_, row)| spread(row) >= LEAST_SPREAD);
        let all = || kept().flat_map(|(_, row)| row);
        let largest = all().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
        let most = f32::from(i8::MAX);
        let divisor =
            (most / largest.max(f32::MIN_POSITIVE)).clamp(1.0, f32::from(u16::MAX)) as u16;
        let byte = |weight: &f32| (weight * f32::from(divisor)).round().clamp(-most, most) as i8;
        let features = kept().map(|(feature, _)| format!("{feature:0DIGITS$x}")).collect();
        let weights = all().map(|weight| format!("{:02x}", byte(weight))).collect();
        Ok(Self { fields, divisor, features: Some(features), weights })
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
        let features = self.features();
        if let Some(listed) = &self.features
            && (features.len() * DIGITS != listed.len() || !features.is_sorted_by(|a, b| a < b))
        {
            let expected = format!("numbers of {DIGITS} hexadecimal digits, ascending");
            return problem("features", expected, format!("{} characters", listed.len()));
        }
        let expected = features.len() * self.fields.len();
        match hex_bytes(&self.weights) {
            Some(bytes) if bytes.len() == expected => Ok(()),
            _ => problem(
                "weights",
                format!("{expected} bytes in hexadecimal"),
                format!("{} characters", self.weights.len()),
            ),
        }
    }

    /// The features that have weights; what is no number is left out.
    fn features(&self) -> Vec<u16> {
        let Some(listed) = &self.features else { return (0..=HASHING_6.modulus).collect() };
        let clean = listed.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number =
            |digits: &[u8]| u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        listed.as_bytes().chunks_exact(DIGITS).filter(|_| clean).filter_map(number).collect()
    }
}

/// How far a row's weights lie from their mean, at most: what all fields have in common tells nothing.
fn spread(row: &[f32]) -> f32 {
    let mean = row.iter().sum::<f32>() / row.len().max(1) as f32;
    row.iter().fold(0.0, |most, weight| most.max((weight - mean).abs()))
}

/// A classifier made ready.
#[derive(Debug, Clone)]
pub(super) struct Classifier {
    hashing: Hashing,
    fields: Vec<u16>,
    divisor: f32,
    /// Ascending.
    features: Vec<u16>,
    weights: Vec<i8>,
}

impl Classifier {
    /// Of one that has been validated.
    pub(super) fn new(of: &FieldClassifier) -> Self {
        let bytes = hex_bytes(&of.weights).unwrap_or_default();
        Self {
            hashing: if of.features.is_some() { HASHING } else { HASHING_6 },
            fields: of.fields.iter().filter_map(|at| (*at).try_into().ok()).collect(),
            divisor: of.divisor.into(),
            features: of.features(),
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

    /// How probable each field is to be asked for by a question with these words, if one of them is.
    pub(super) fn shares(&self, tokens: &[String]) -> Shares {
        let width = self.fields.len();
        let mut sums = vec![0_i32; width];
        let mut told = false;
        for feature in self.hashing.features(tokens) {
            let Ok(at) = self.features.binary_search(&feature) else { continue };
            told |= feature != self.hashing.modulus;
            for (sum, weight) in sums.iter_mut().zip(&self.weights[at * width..][..width]) {
                *sum += i32::from(*weight);
            }
        }
        let most = sums.iter().max().copied().unwrap_or(0);
        let likelihood = |sum| libm::expf((sum - most) as f32 / self.divisor);
        let of: Vec<(u16, f32)> =
            self.fields.iter().copied().zip(sums.into_iter().map(likelihood)).collect();
        Shares { all: of.iter().map(|(_, likelihood)| likelihood).sum(), of, told }
    }
}

/// How fields share out the probability.
pub(super) struct Shares {
    /// How likely each field is beside the likeliest, which has 1.
    of: Vec<(u16, f32)>,
    all: f32,
    /// Whether a word of the question tells one field from another.
    pub(super) told: bool,
}

impl Shares {
    /// The share of those fields for which `counts` holds, 0 to 1.
    pub(super) fn of(&self, counts: impl Fn(u16) -> bool) -> f32 {
        self.of.iter().filter(|(field, _)| counts(*field)).map(|(_, one)| one).sum::<f32>()
            / self.all
    }
}

impl Hashing {
    /// What a question with these words has, batches left out of it.
    fn features(self, tokens: &[String]) -> BTreeSet<u16> {
        let words = tokens.iter().map(|token| singular(token));
        let telling = words.filter(|word| !BATCH_NOUNS.contains(&word.as_str()));
        let stem = |word: String| word.chars().take(self.letters).collect::<String>();
        let bucket = |word: String| (hash([&stem(word)]) % u64::from(self.modulus)) as u16;
        // The last one is what every question has.
        telling.map(bucket).chain([self.modulus]).collect()
    }
}

/// What a question with these words has for a new classifier, batches left out of it.
pub(super) fn features(tokens: &[String]) -> BTreeSet<u16> {
    HASHING.features(tokens)
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
        let always = *of("").first().unwrap();
        let row = |word: &str| *of(word).iter().find(|feature| **feature != always).unwrap();
        let rows = [
            (row("yield"), vec![3.0, 0.0]),
            (row("code"), vec![0.0, 3.0]),
            (row("please"), vec![0.1, 0.0]),
            (row("record"), vec![5.0, 5.0]),
            (always, vec![2.0_f32.ln(), 0.0]),
        ];
        FieldClassifier::new(vec![4, 2], &rows.into()).unwrap()
    }

    /// The same of format 6.
    fn example_6() -> FieldClassifier {
        let mut weights = vec![0_u8; 2 * 1022];
        let at = |word: &str| 2 * usize::from(*HASHING_6.features(&tokens(word)).first().unwrap());
        weights[at("yield")] = 120;
        weights[at("code") + 1] = 120;
        weights[2 * 1021] = 28;
        let weights = weights.iter().map(|weight| format!("{weight:02x}")).collect();
        FieldClassifier { fields: vec![4, 2], divisor: 40, features: None, weights }
    }

    #[test]
    fn words_share_out_the_probability() {
        for example in [example(), example_6()] {
            example.validate(5).unwrap();
            let classifier = Classifier::new(&example);
            let shares = |text: &str| classifier.shares(&tokens(text));
            let share = |text: &str, field: u16| shares(text).of(|one| one == field);
            let near =
                |found: f32, expected: f32| assert!((found - expected).abs() < 0.01, "{found}");
            near(share("whatever of batch", 4), 2.0 / 3.0);
            let e3 = 3.0_f32.exp();
            near(share("Yields?", 4), 2.0 * e3 / (2.0 * e3 + 1.0));
            near(share("the code", 2), e3 / (2.0 + e3));
            near(shares("code").of(|_| true), 1.0);
            assert!(classifier.knows(2) && !classifier.knows(3));
        }
    }

    #[test]
    fn what_tells_nothing_is_left_out() {
        let told = |text: &str| Classifier::new(&example()).shares(&tokens(text)).told;
        assert!(told("the code") && !told("please record whatever of batch"));
        assert_eq!(example().features.unwrap().len(), 3 * DIGITS);
        assert_eq!(example().weights.len(), 3 * 2 * 2);
    }

    #[test]
    fn a_batch_by_another_word_changes_nothing() {
        assert_eq!(of("lot yield of"), of("yield of batch"));
        assert_eq!(of("yielded"), of("yield"));
        for (one, other) in [("yield", "code"), ("qa", "qc"), ("date", "data"), ("in", "is")] {
            assert_ne!(of(one), of(other));
        }
    }

    #[test]
    fn rejects_classifiers_that_do_not_hold_together() {
        assert!(FieldClassifier::new(vec![0], &[(7, vec![1.0, 2.0])].into()).is_err());
        for example in [example(), example_6()] {
            for change in [
                |c: &mut FieldClassifier| c.fields = vec![4, 5],
                |c: &mut FieldClassifier| c.fields = vec![4, 4],
                |c: &mut FieldClassifier| c.fields = vec![4],
                |c: &mut FieldClassifier| (c.fields, c.weights) = (Vec::new(), String::new()),
                |c: &mut FieldClassifier| c.divisor = 0,
                |c: &mut FieldClassifier| c.features = Some("00".into()),
                |c: &mut FieldClassifier| c.features = Some("00020001".into()),
                |c: &mut FieldClassifier| c.features = Some("00020002".into()),
                |c: &mut FieldClassifier| c.features = Some("0001+002".into()),
                |c: &mut FieldClassifier| c.features = Some("0001".into()),
                |c: &mut FieldClassifier| c.weights.truncate(c.weights.len() - 1),
                |c: &mut FieldClassifier| c.weights.replace_range(..1, "g"),
            ] {
                let mut changed = example.clone();
                change(&mut changed);
                let error = changed.validate(5).unwrap_err().to_string();
                assert!(error.contains("classifier."), "{error}");
            }
        }
    }
}
