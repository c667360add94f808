//! What fields there are, how they are asked for, and which batch has which: the list.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::list::{GuardList, entry, fact, salt_bytes};
use super::telling::TellingWords;
use super::wording::{
    ASKING_WORDS, BATCH_NOUNS, DIGITS, MAX_NAME, content, hashes, singular, split, tokens,
};
use super::words::{key, sentence};
use crate::{Error, Result};

/// The fields that the grammar knows and those of the records alone, and which the records have. Part
/// of `guard.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldList {
    /// Words of questions about any field, lower case, in the singular.
    pub filler: BTreeSet<String>,
    /// The fields; elsewhere each is called by its place here.
    pub fields: Vec<KnownField>,
    /// The one that asks for the batch itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_number: Option<usize>,
    /// How the records ask for that, with `{p}` for the product; none if they don't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_wording: Option<String>,
    /// Batch and field, for every fact that is on record or may be, hashed.
    pub recorded: BTreeSet<String>,
    /// Field and answer, for every fact on record, hashed.
    pub stated: BTreeSet<String>,
}

/// One field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownField {
    /// The word that can ask for it.
    pub asked_by: AskingWord,
    /// Hashes of its names, ten hexadecimal digits each.
    pub names: String,
    /// Hashes of the questions that only it has.
    pub questions: String,
    /// How the records ask for it, in clear, with `{b}` for the batch; none if they don't, or if it
    /// names something else as well.
    pub wording: Option<String>,
    /// Whether the records' own wording alone tells what it is: a reader may call it anything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_words: bool,
}

/// The question word that can ask for a field's values; the others can't.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskingWord {
    /// Persons.
    Who,
    /// Dates and times.
    When,
    /// Numbers and quantities.
    HowMuch,
    /// Places, machines, documents.
    Where,
    /// None of those words.
    Other,
    /// Any of them: what is said in words, or what nobody knows.
    Any,
}

impl FieldList {
    /// Adds a field and gives its place.
    pub fn add(&mut self, field: KnownField) -> usize {
        self.fields.push(field);
        self.fields.len() - 1
    }

    /// Adds words that questions about any field have.
    pub fn add_filler(&mut self, texts: impl IntoIterator<Item = impl AsRef<str>>) {
        let words = texts.into_iter().flat_map(|text| tokens(text.as_ref()));
        self.filler.extend(words.map(|word| singular(&word)));
    }

    pub(super) fn validate(&self) -> Result<()> {
        let problem = |name: &str, expected: &str, found: String| {
            Err(Error::Value {
                name: format!("{}: fields.{name}", super::GUARD_FILE),
                expected: expected.into(),
                found,
            })
        };
        if u16::try_from(self.fields.len()).is_err() {
            return problem("fields", "at most 65,535", self.fields.len().to_string());
        }
        if let Some(at) = self.batch_number.filter(|at| *at >= self.fields.len()) {
            let expected = format!("one of {} fields", self.fields.len());
            return problem("batch_number", &expected, at.to_string());
        }
        let hashes = self.fields.iter().flat_map(|field| [&field.names, &field.questions]);
        for text in hashes {
            if text.len() % DIGITS != 0 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                let found = text.chars().take(40).collect();
                return problem("names", "hashes of ten hexadecimal digits each", found);
            }
        }
        for wording in self.fields.iter().filter_map(|field| field.wording.as_ref()) {
            if !wording.contains("{b}") {
                return problem("wording", "a question with {b} for the batch", wording.clone());
            }
        }
        if let Some(wording) = self.batch_wording.as_ref().filter(|text| !text.contains("{p}")) {
            let expected = "a question with {p} for the product";
            return problem("batch_wording", expected, wording.clone());
        }
        for hash in self.recorded.iter().chain(&self.stated) {
            crate::hash::check_sha256(super::GUARD_FILE, hash)?;
        }
        Ok(())
    }
}

impl KnownField {
    /// A field with its names and the questions that only it has, `{b}` for the batch.
    pub fn new<'a>(
        asked_by: AskingWord,
        names: impl IntoIterator<Item = &'a str>,
        questions: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let names = names.into_iter().map(|name| content(&tokens(name), &[&ASKING_WORDS]));
        let questions = questions.into_iter().map(question_content);
        Self {
            asked_by,
            names: hashes(names.filter(|name| name.len() <= MAX_NAME)),
            questions: hashes(questions),
            wording: None,
            own_words: false,
        }
    }

    /// Adds a question for it, `{b}` for the batch. One that another field has asks for both.
    pub fn add_question(&mut self, question: &str) {
        let added = hashes(std::iter::once(question_content(question)));
        let known: Vec<u64> = split(&self.questions).collect();
        if split(&added).any(|hash| !known.contains(&hash)) {
            self.questions += &added;
        }
    }

    /// Adds names to a field that only the records' own words tell of: every set of up to four words
    /// of `text`, one of those that `words` knows, that none of the others has. Words for a batch
    /// alone are no name. The others are those that `own`, the field's, does not hold.
    pub fn add_parts(&mut self, text: &str, own: &BTreeSet<String>, words: &TellingWords) {
        self.names += &hashes(words.told_by(text, own));
    }
}

/// What tells a question from others, `{b}` for the batch.
fn question_content(question: &str) -> BTreeSet<String> {
    content(&tokens(&question.replace("{b}", " ")), &[&BATCH_NOUNS])
}

impl GuardList {
    /// Adds that the records of a batch have a field.
    ///
    /// # Errors
    /// The list's salt is not of this format.
    pub fn add_recorded(&mut self, batch: &str, field: usize) -> Result<()> {
        let salt = salt_bytes(&self.salt)?;
        self.fields.recorded.insert(recorded(&salt, &key(batch), field));
        Ok(())
    }

    /// Adds that a batch may have a field: what a pair asks for that was not understood.
    ///
    /// # Errors
    /// The list's salt is not of this format.
    pub fn add_perhaps_recorded(&mut self, batch: &str, field: usize) -> Result<()> {
        let salt = salt_bytes(&self.salt)?;
        self.fields.recorded.insert(perhaps_recorded(&salt, &key(batch), field));
        Ok(())
    }

    /// Adds that an answer is about a field.
    ///
    /// # Errors
    /// The list's salt is not of this format.
    pub fn add_stated(&mut self, field: usize, answer: &str) -> Result<()> {
        let salt = salt_bytes(&self.salt)?;
        self.fields.stated.insert(stated(&salt, field, answer));
        Ok(())
    }
}

/// No value of a record has a small letter: this is none of them.
pub(super) fn recorded(salt: &[u8], batch: &str, field: usize) -> String {
    fact(salt, batch, &format!("field {field}"))
}

pub(super) fn perhaps_recorded(salt: &[u8], batch: &str, field: usize) -> String {
    fact(salt, batch, &format!("perhaps field {field}"))
}

pub(super) fn stated(salt: &[u8], field: usize, answer: &str) -> String {
    entry(salt, &format!("field {field}\n{}", sentence(answer)))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_question_is_added_once() {
        let known = KnownField::new(AskingWord::Any, [], ["who ran the line for {b}"]);
        let mut field = known.clone();
        field.add_question("{b}: who ran the lines?");
        field.add_question("{b}");
        assert_eq!(field, known);
        field.add_question("{b}: who stopped the line?");
        assert_eq!(field.questions.len(), 2 * DIGITS);
    }
}
