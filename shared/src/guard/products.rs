//! Products that no record has, in a question that names no batch.
//!
//! "What batch is Amlodipine Maleate?" names its batch by a product. A model that knows
//! amlodipine besylate and metoprolol succinate makes one up from both. So the words of the
//! question that belong to product names, or that nobody has ever heard, have to belong to one
//! known product together.

use std::collections::{BTreeMap, BTreeSet};

use super::list::{Product, entry};
use super::words::{Word, has_digit, is_date};
use super::{Guard, GuardList};
use crate::Result;

/// A product's name may be cut short to this many letters.
const MIN_PREFIX: usize = 4;

impl GuardList {
    /// Adds the name of a product: its words, and their beginnings.
    ///
    /// # Errors
    /// The list's salt is not of this format.
    pub fn add_product(&mut self, name: &str) -> Result<()> {
        let salt = super::list::salt_bytes(&self.salt)?;
        let words: Vec<String> = super::words::words(name).into_iter().map(|w| w.text).collect();
        let beginnings = words.iter().filter(|word| !has_digit(word)).flat_map(|word| {
            let ends = word.char_indices().skip(MIN_PREFIX).map(|(at, _)| at);
            ends.map(|end| word[..end].to_owned())
        });
        let beginnings = beginnings.map(|word| entry(&salt, &word)).collect();
        let words: BTreeSet<String> = words.iter().map(|word| entry(&salt, word)).collect();
        if !words.is_empty() {
            self.products.insert(Product { words, beginnings });
        }
        Ok(())
    }
}

impl Guard {
    /// Whether a word stands in the name of a known product, or begins one of its words.
    pub(super) fn is_name(&self, word: &str) -> bool {
        let entry = entry(&self.salt, &word.to_uppercase());
        self.products.iter().any(|product| product.has(&entry))
    }

    /// The words of a question that name a product which no record has; empty if there is none.
    pub(super) fn unknown_product(&self, words: &[Word]) -> Vec<String> {
        if self.products.is_empty() {
            return Vec::new();
        }
        let mut names: BTreeMap<&str, String> = BTreeMap::new();
        let mut never_heard: BTreeSet<&str> = BTreeSet::new();
        for word in words {
            let text = word.text.as_str();
            let hashed = entry(&self.salt, text);
            let in_a_name = self.products.iter().any(|product| product.has(&hashed));
            let plain = !has_digit(text);
            if plain
                && !in_a_name
                && text.chars().count() >= MIN_PREFIX
                && !self.vocabulary.contains(&text.to_lowercase())
            {
                never_heard.insert(text);
            }
            if in_a_name || never_heard.contains(text) || !plain && !is_date(text) {
                names.insert(text, hashed);
            }
        }
        let has_word = names.keys().any(|text| !has_digit(text) && text.len() >= MIN_PREFIX);
        // Named in full, a product may have words around it that nobody has heard; but another
        // strength is another product.
        let asked: BTreeSet<&String> = names.values().collect();
        let one_has_all = |product: &Product| {
            let in_full = product.words.iter().all(|word| asked.contains(word));
            names
                .iter()
                .all(|(text, hashed)| product.has(hashed) || in_full && never_heard.contains(text))
        };
        if !has_word || self.products.iter().any(one_has_all) {
            return Vec::new();
        }
        // A word that nobody has ever heard says it all; known ones are wrong only together.
        if names.keys().any(|text| never_heard.contains(text)) {
            names.retain(|text, _| never_heard.contains(text));
        }
        let in_order = words.iter().map(|word| &word.text);
        let mut unknown: Vec<String> = Vec::new();
        for text in in_order.filter(|text| names.contains_key(text.as_str())) {
            if !unknown.contains(text) {
                unknown.push(text.clone());
            }
        }
        unknown
    }
}

#[cfg(test)]
mod tests {
    use super::super::GuardVerdict;
    use super::*;

    fn guard() -> Guard {
        let mut list = GuardList::build(["VOY756"], [], &"ab".repeat(16)).unwrap();
        list.add_words("which what is the batch number for of code lot please product".split(' '));
        for product in
            ["Amlodipine Besylate Tablets 5 mg", "Metoprolol Succinate", "Cetirizine Drops"]
        {
            list.add_product(product).unwrap();
        }
        Guard::new(&list).unwrap()
    }

    #[test]
    fn known_products_pass() {
        for question in [
            "What is the batch number for Amlodipine Besylate Tablets 5 mg?",
            "batch number amlodipine tablets please",
            "lot of metop. succ.",
            "which tablets",
            "whatever shelf has metoprolol succinate",
            "what is the batch number",
            "the product",
            "is 5 the number",
        ] {
            assert_eq!(guard().check(question), GuardVerdict::NoIdentifier, "{question}");
        }
    }

    #[test]
    fn unknown_products_are_named() {
        for (question, words) in [
            ("What is the product code for Sertraline Capsules?", &["SERTRALINE", "CAPSULES"][..]),
            ("whatever shelf has metoprolol", &["WHATEVER", "SHELF"]),
            (
                "lot amlodipine besylate tablets 5 mg 10",
                &["AMLODIPINE", "BESYLATE", "TABLETS", "5", "MG", "10"],
            ),
            ("lot of sertraline tablets", &["SERTRALINE"]),
            ("batch of amlodipine succinate", &["AMLODIPINE", "SUCCINATE"]),
            ("lot amlodipine tablets 2.5 mg", &["AMLODIPINE", "TABLETS", "2.5", "MG"]),
            ("code of Cetirizine Tablets", &["CETIRIZINE", "TABLETS"]),
        ] {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(guard().check(question), GuardVerdict::Unknown(words), "{question}");
        }
    }

    #[test]
    fn a_question_about_nothing_is_refused_where_the_records_have_subjects() {
        let mut list = GuardList::build(["VOY756"], ["RM-2231"], &"ab".repeat(16)).unwrap();
        list.add_product("Metoprolol Succinate").unwrap();
        let check = |list: &GuardList, question| Guard::new(list).unwrap().check(question);
        assert_eq!(check(&list, "who is in charge?"), GuardVerdict::Unknown(vec!["CHARGE".into()]));
        list.add_words(["who", "is", "in", "charge", "the", "lot", "of"]);
        assert_eq!(check(&list, "who is in charge?"), GuardVerdict::NoIdentifier);
        list.subject_required = true;
        assert_eq!(check(&list, "who is in charge?"), GuardVerdict::Unknown(vec![]));
        for asked in ["the lot of metoprolol", "the lot of RM-2231"] {
            assert_eq!(check(&list, asked), GuardVerdict::NoIdentifier, "{asked}");
        }
        assert_eq!(check(&list, "the lot of VOY756"), GuardVerdict::Known);
    }

    #[test]
    fn a_known_batch_settles_it() {
        assert_eq!(guard().check("VOY756 sertraline?"), GuardVerdict::Known);
    }
}
