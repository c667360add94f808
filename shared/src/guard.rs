//! Answers "no record" without asking the model, when a question names a batch or a product that
//! no record has.
//!
//! A fine-tuned model tends to invent an answer for an unknown batch that looks like a known one.
//! The list of known identifiers settles it. It travels with the adapter as salted hashes, so
//! that a copied adapter does not hand out the plant's batch list; with the salt beside them,
//! hashes of short codes can be guessed one by one, so this is discretion, not encryption.
//!
//! The list also holds, as hashes, which values the records state for which batch, so that an
//! answer that gives another value can be marked, and in clear the ordinary words of questions,
//! so that slips of the finger can be mended before the model reads them ([`Guard::read`]). And it
//! holds, as hashes, which batch has which field, what fields are called (by the grammar, in the
//! records' own words and in paraphrases of them), and in clear the records' own wordings without the
//! batch: a second reader of questions ([`Guard::evidence`], [`Guard::second_reading`]), who also
//! knows where words cannot tell what is on record ([`Guard::leaves_open`]), and a third, who tells
//! the records' fields apart by each word of a question ([`FieldClassifier`]). Which batch a product
//! stands for is locked with the product's name: who has list and name has the batch.
//!
//! A false refusal costs more than a question too many for the model. A word counts as an unknown
//! batch only if it looks like one *of this plant*: in exactly the form of a known batch
//! identifier, or nearly so while sharing a stem with one ("VOY75" where "VOY756" is known).

mod again;
mod asked;
mod classifier;
mod evidence;
mod fields;
mod list;
mod named;
mod nearest;
mod products;
mod spelling;
mod telling;
#[cfg(test)]
mod tests;
mod wording;
mod words;

use std::collections::{BTreeMap, BTreeSet, HashSet};

pub use again::OnRecord;
pub use asked::{Asked, FieldIndex};
pub use classifier::FieldClassifier;
pub use fields::{AskingWord, FieldList, KnownField};
pub use list::{GUARD_FILE, GuardList};
pub use spelling::{Correction, Reading};
pub use telling::TellingWords;
pub use wording::singular;
pub use words::identifier_words;

use classifier::Classifier;
use list::{Product, entry, fact, salt_bytes};
use words::{
    Word, has_digit, is_date, is_number, is_quantity, key, near, sentence, shape, stems, words,
};

use crate::Result;

/// Identifiers of more words than this are not found in a question.
const MAX_WORDS: usize = 4;
/// Words after which a plain number is an identifier.
const CUES: [&str; 12] = [
    "BATCH", "BATCHES", "LOT", "LOTS", "CHARGE", "NO", "NUMBER", "NR", "ID", "CODE", "RECORD",
    "RUN",
];

/// What the guard says about a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuardVerdict {
    /// It names a batch that the records have: ask the model.
    Known,
    /// It names nothing that looks like a batch: ask the model.
    NoIdentifier,
    /// It names only batches that no record has, or no batch and a product that no record has:
    /// these words, in upper case, each once; none at all if it names nothing although the records
    /// can only be asked by batch or product. Refuse.
    Unknown(Vec<String>),
}

/// A list made ready for look-ups.
#[derive(Debug, Clone)]
pub struct Guard {
    format: u32,
    salt: Vec<u8>,
    batches: HashSet<String>,
    identifiers: HashSet<String>,
    stems: HashSet<String>,
    shapes: BTreeSet<String>,
    facts: HashSet<String>,
    answers: HashSet<String>,
    vocabulary: BTreeSet<String>,
    products: BTreeSet<Product>,
    subject_required: bool,
    fields: FieldIndex,
    classifier: Option<Classifier>,
}

impl Guard {
    /// Prepares a list.
    ///
    /// # Errors
    /// The list is not of this format.
    pub fn new(list: &GuardList) -> Result<Self> {
        list.validate()?;
        Ok(Self {
            format: list.format_version,
            salt: salt_bytes(&list.salt)?,
            batches: list.batches.iter().cloned().collect(),
            identifiers: list.identifiers.iter().cloned().collect(),
            stems: list.stems.iter().cloned().collect(),
            shapes: list.shapes.clone(),
            facts: list.facts.iter().cloned().collect(),
            answers: list.answers.iter().cloned().collect(),
            vocabulary: list.vocabulary.clone(),
            products: list.products.clone(),
            subject_required: list.subject_required,
            fields: FieldIndex::new(&list.fields),
            classifier: list.classifier.as_ref().map(Classifier::new),
        })
    }

    /// Whether the list is of this format or a later one. An adapter's figures and threshold hold for
    /// how its own list is read, so that lists of earlier formats are read as before.
    fn is_since(&self, format: u32) -> bool {
        self.format >= format
    }

    /// Judges a question. Linear in its length.
    ///
    /// One known batch is enough to let it pass, whatever else it names: the other word may be a
    /// standard, a machine or a typing error, and the model has learned to refuse too.
    pub fn check(&self, question: &str) -> GuardVerdict {
        let words = words(question);
        let whole: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let mut cache = BTreeMap::new();
        let mut known_elsewhere = vec![false; words.len()];
        for (index, word) in words.iter().enumerate() {
            for part in word.parts() {
                if self.is_batch(part) {
                    return GuardVerdict::Known;
                }
            }
            for width in 2..=MAX_WORDS.min(words.len() - index) {
                if self.is_batch(&whole[index..index + width].concat()) {
                    return GuardVerdict::Known;
                }
            }
            for width in 1..=MAX_WORDS.min(words.len() - index) {
                let joined = whole[index..index + width].concat();
                if *cache.entry(joined).or_insert_with_key(|joined| self.is_identifier(joined)) {
                    known_elsewhere[index..index + width].fill(true);
                }
            }
        }
        let mut unknown: Vec<String> = Vec::new();
        for (index, word) in words.iter().enumerate() {
            if known_elsewhere[index] {
                continue;
            }
            let cue = index > 0 && CUES.contains(&whole[index - 1]);
            let found = word.groups().into_iter().find(|group| self.looks_like_batch(group, cue));
            let found = found.map(str::to_owned).or_else(|| {
                // "VOY 999": letters, then digits as a word of their own.
                let next = whole.get(index + 1).filter(|next| is_number(next))?;
                let joined = format!("{} {next}", word.text);
                (!has_digit(&word.text) && self.shares_letters(&word.text, &joined))
                    .then_some(joined)
            });
            if let Some(found) = found
                && !unknown.contains(&found)
            {
                unknown.push(found);
            }
        }
        let names_a_thing =
            words.iter().zip(known_elsewhere).any(|(word, known)| known && !is_number(&word.text));
        if unknown.is_empty() && !names_a_thing {
            unknown = self.unknown_product(&words);
            let named = !unknown.is_empty() || words.iter().any(|word| self.is_name(&word.text));
            if self.subject_required && !named {
                return GuardVerdict::Unknown(Vec::new());
            }
        }
        if unknown.is_empty() { GuardVerdict::NoIdentifier } else { GuardVerdict::Unknown(unknown) }
    }

    /// The values of an answer, in upper case, that neither stand in the question nor are stated
    /// by a record of a batch that the question names. If there is one, the answer is unverified.
    ///
    /// A question that names no batch means one by its product. Then it is the answer's batch
    /// whose records count, and they have to state the product too: that the question says it
    /// doesn't make it that batch's. Where one batch alone is of it, it has to be that.
    pub fn unverified(&self, question: &str, answer: &str) -> Vec<String> {
        let asked = words(question);
        let mut said: BTreeSet<&str> = asked.iter().flat_map(Word::parts).collect();
        let mut batches = self.batches_in(&asked);
        if batches.is_empty() {
            batches = self.batches_in(&words(answer));
            if !batches.is_empty() {
                let meant = self.by_product(question);
                if meant.is_some_and(|meant| !batches.contains(&key(&meant.batch))) {
                    return batches.into_iter().collect();
                }
                said.clear();
            }
        }
        let mut unverified = Vec::new();
        for word in words(answer).into_iter().filter(Word::is_value) {
            let stated = said.contains(word.text.as_str())
                || batches.contains(&key(&word.text))
                || batches
                    .iter()
                    .any(|batch| self.facts.contains(&fact(&self.salt, batch, &word.text)));
            if !stated && !unverified.contains(&word.text) {
                unverified.push(word.text);
            }
        }
        unverified
    }

    /// Whether a record states the answer, word for word. A list of an older format doesn't hold
    /// whole answers and lets every one pass.
    pub fn is_on_record(&self, answer: &str) -> bool {
        self.answers.is_empty() || self.answers.contains(&entry(&self.salt, &sentence(answer)))
    }

    /// Keys of the known batches that a text names.
    fn batches_in(&self, words: &[Word]) -> BTreeSet<String> {
        let whole: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let mut batches = BTreeSet::new();
        for (index, word) in words.iter().enumerate() {
            let joined = (2..=MAX_WORDS.min(whole.len() - index))
                .map(|width| whole[index..index + width].concat());
            let parts = word.parts().into_iter().map(str::to_owned);
            batches.extend(parts.chain(joined).filter(|part| self.is_batch(part)).map(|b| key(&b)));
        }
        batches
    }

    fn looks_like_batch(&self, word: &str, cue: bool) -> bool {
        if !has_digit(word) || is_date(word) || is_quantity(word) || self.is_identifier(word) {
            return false;
        }
        // A plain number is a quantity, a year, a page, unless the question says otherwise.
        if is_number(word) && !cue {
            return false;
        }
        self.shapes.contains(&shape(word))
            || self.is_near(word) && stems(word).iter().any(|stem| self.is_stem(stem))
    }

    fn shares_letters(&self, letters: &str, joined: &str) -> bool {
        stems(letters) == [letters] && self.is_stem(letters) && self.is_near(joined)
    }

    fn is_near(&self, word: &str) -> bool {
        self.shapes.iter().any(|shape| near(word, shape))
    }

    fn is_batch(&self, text: &str) -> bool {
        self.batches.contains(&entry(&self.salt, &key(text)))
    }

    fn is_identifier(&self, text: &str) -> bool {
        self.identifiers.contains(&entry(&self.salt, &key(text)))
    }

    fn is_stem(&self, stem: &str) -> bool {
        self.stems.contains(&entry(&self.salt, stem))
    }
}
