//! The list that travels with an adapter.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::classifier::FieldClassifier;
use super::fields::FieldList;
use super::words::{Word, has_digit, key, sentence, shape, stems, words};
use crate::hash::{check_sha256, hex};
use crate::{Error, Result};

/// File name of the list in an adapter's directory.
pub const GUARD_FILE: &str = "guard.json";

/// Version 1 had no vocabulary and no products, version 2 no fields, version 3 no batches of
/// products, version 4 did not say which fields are in the records' own words alone, version 5 had
/// no classifier, version 6 one that told more words than its features apart. Since version 7
/// questions are also asked once more where no name but the words in sum tell what they mean, or an
/// answer is not on record, and two readers that agree count twice.
const FORMAT_VERSION: u32 = 7;

/// The identifiers that the records have, as salted hashes: `guard.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardList {
    /// Version of this format.
    pub format_version: u32,
    /// Random bytes, hexadecimal, hashed before every entry.
    pub salt: String,
    /// Batch identifiers.
    pub batches: BTreeSet<String>,
    /// Everything else that has a name: lots, products, documents, equipment.
    pub identifiers: BTreeSet<String>,
    /// Runs of letters or digits that batch identifiers consist of.
    pub stems: BTreeSet<String>,
    /// Forms of batch identifiers, in clear: letters as `A`, digits as `9`.
    pub shapes: BTreeSet<String>,
    /// Values that the records state, each hashed with its batch.
    pub facts: BTreeSet<String>,
    /// The answers of the records, each as a whole.
    #[serde(default)]
    pub answers: BTreeSet<String>,
    /// Ordinary words of questions, in clear and lower case.
    #[serde(default)]
    pub vocabulary: BTreeSet<String>,
    /// Whether every question of the records names a batch or a product, so that one that names
    /// neither has no answer.
    #[serde(default)]
    pub subject_required: bool,
    /// The products.
    #[serde(default)]
    pub products: BTreeSet<Product>,
    /// What the records can be asked for, and how.
    #[serde(default)]
    pub fields: FieldList,
    /// What tells the records' fields apart by each word of a question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classifier: Option<FieldClassifier>,
}

/// The name of a product, in hashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Its words.
    pub words: BTreeSet<String>,
    /// Beginnings of its words: what it may be cut short to.
    pub beginnings: BTreeSet<String>,
    /// The one batch of it, which only the words of its name unlock; hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
}

impl GuardList {
    /// Builds the list from the records' batch identifiers and from whatever else they name
    /// ([`identifier_words`](crate::identifier_words) finds it in a text). `salt` is hexadecimal,
    /// 16 bytes or more.
    ///
    /// # Errors
    /// The salt is too short or not hexadecimal; there is no batch.
    pub fn build<'a>(
        batches: impl IntoIterator<Item = &'a str>,
        identifiers: impl IntoIterator<Item = &'a str>,
        salt: &str,
    ) -> Result<Self> {
        let salt_bytes = salt_bytes(salt)?;
        let mut list = Self {
            format_version: FORMAT_VERSION,
            salt: salt.to_owned(),
            batches: BTreeSet::new(),
            identifiers: BTreeSet::new(),
            stems: BTreeSet::new(),
            shapes: BTreeSet::new(),
            facts: BTreeSet::new(),
            answers: BTreeSet::new(),
            vocabulary: BTreeSet::new(),
            products: BTreeSet::new(),
            subject_required: false,
            fields: FieldList::default(),
            classifier: None,
        };
        for batch in batches {
            let batch = batch.trim().to_uppercase();
            list.batches.insert(entry(&salt_bytes, &key(&batch)));
            if has_digit(&batch) {
                list.stems.extend(stems(&batch).iter().map(|stem| entry(&salt_bytes, stem)));
                list.shapes.insert(shape(&batch));
            }
        }
        if list.batches.is_empty() {
            return Err(Error::Value {
                name: format!("{GUARD_FILE}: batches"),
                expected: "at least one batch identifier".into(),
                found: "none".into(),
            });
        }
        for identifier in identifiers {
            list.identifiers.insert(entry(&salt_bytes, &key(identifier)));
        }
        Ok(list)
    }

    /// Adds a whole answer that the records state.
    ///
    /// # Errors
    /// The list's salt is not of this format.
    pub fn add_answer(&mut self, answer: &str) -> Result<()> {
        let salt = salt_bytes(&self.salt)?;
        self.answers.insert(entry(&salt, &sentence(answer)));
        Ok(())
    }

    /// Adds the values of a sentence that a record states about `batch`: its words with a digit,
    /// and its names.
    ///
    /// # Errors
    /// The list's salt is not of this format.
    pub fn add_facts(&mut self, batch: &str, statement: &str) -> Result<()> {
        let salt = salt_bytes(&self.salt)?;
        let batch = key(batch);
        let values = words(statement).into_iter().filter(Word::is_value);
        self.facts.extend(values.map(|word| fact(&salt, &batch, &word.text)));
        Ok(())
    }

    /// Adds ordinary words that questions are made of. What has anything but lower-case letters
    /// is left out.
    pub fn add_words<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) {
        let plain = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
        self.vocabulary.extend(words.into_iter().filter(plain).map(str::to_owned));
    }

    /// Reads `guard.json`.
    ///
    /// # Errors
    /// Not this format.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let list: Self = serde_json::from_slice(json)
            .map_err(|source| Error::Json { file: GUARD_FILE, source })?;
        list.validate()?;
        Ok(list)
    }

    /// The bytes of `guard.json`, the same for the same list.
    ///
    /// # Errors
    /// [`Error::Json`], should serialization fail.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|source| Error::Json { file: GUARD_FILE, source })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    pub(super) fn validate(&self) -> Result<()> {
        let problem = |name: &str, expected: &str, found: String| {
            Err(Error::Value {
                name: format!("{GUARD_FILE}: {name}"),
                expected: expected.into(),
                found,
            })
        };
        let format = self.format_version;
        if !(1..=FORMAT_VERSION).contains(&format) {
            return problem(
                "format_version",
                &format!("1 to {FORMAT_VERSION}"),
                format.to_string(),
            );
        }
        salt_bytes(&self.salt)?;
        let hashes = [&self.batches, &self.identifiers, &self.stems, &self.facts, &self.answers];
        for hash in hashes.into_iter().flatten() {
            check_sha256(GUARD_FILE, hash)?;
        }
        for product in &self.products {
            product.validate()?;
        }
        self.fields.validate()?;
        let (newer, found) = (format >= 7, format!("format_version {format}"));
        if self.fields.batch_wording.is_some() && !newer {
            return problem("fields.batch_wording", "format_version 7 or later", found);
        }
        if let Some(classifier) = &self.classifier {
            if classifier.features.is_some() != newer {
                let expected = "listed since format_version 7, not before";
                return problem("classifier.features", expected, found);
            }
            classifier.validate(self.fields.fields.len())?;
        }
        match self.vocabulary.iter().find(|w| !w.bytes().all(|b| b.is_ascii_lowercase())) {
            Some(word) => problem("vocabulary", "words of lower-case letters", word.clone()),
            None => Ok(()),
        }
    }
}

impl Product {
    fn validate(&self) -> Result<()> {
        let problem = |name: &str, expected: &str, found: &str| {
            Err(Error::Value {
                name: format!("{GUARD_FILE}: products.{name}"),
                expected: expected.into(),
                found: found.into(),
            })
        };
        for hash in self.hashes().into_iter().flatten() {
            check_sha256(GUARD_FILE, hash)?;
        }
        if self.words.is_empty() {
            return problem("words", "the words of a name", "none");
        }
        match self.batch.as_deref() {
            Some(batch) if hex_bytes(batch).is_none() => {
                problem("batch", "bytes in hexadecimal", batch)
            }
            _ => Ok(()),
        }
    }

    fn hashes(&self) -> [&BTreeSet<String>; 2] {
        [&self.words, &self.beginnings]
    }

    /// Whether a hashed word stands in the name, cut short or not.
    pub(super) fn has(&self, hashed: &str) -> bool {
        self.hashes().iter().any(|hashes| hashes.contains(hashed))
    }
}

pub(super) fn entry(salt: &[u8], text: &str) -> String {
    hex(&Sha256::new().chain_update(salt).chain_update(text.as_bytes()).finalize())
}

/// No key holds the separator, so that no two pairs look the same.
pub(super) fn fact(salt: &[u8], batch: &str, value: &str) -> String {
    entry(salt, &format!("{batch}\n{value}"))
}

/// The bytes that hexadecimal digits stand for.
pub(super) fn hex_bytes(digits: &str) -> Option<Vec<u8>> {
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    };
    let clean = digits.len().is_multiple_of(2) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    digits.as_bytes().chunks(2).map(byte).collect::<Option<_>>().filter(|_| clean)
}

pub(super) fn salt_bytes(salt: &str) -> Result<Vec<u8>> {
    let bytes = hex_bytes(salt).filter(|bytes| (16..=64).contains(&bytes.len()));
    bytes.ok_or_else(|| Error::Value {
        name: format!("{GUARD_FILE}: salt"),
        expected: "16 to 64 bytes in hexadecimal".into(),
        found: salt.into(),
    })
}
