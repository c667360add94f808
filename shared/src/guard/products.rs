//! Products that no record has, in a question that names no batch.
//!
//! "What batch is Amlodipine Maleate?" names its batch by a product. A model that knows
//! amlodipine besylate and metoprolol succinate makes one up from both. So the words of the
//! question that belong to product names, or that nobody has ever heard, have to belong to one
//! known product together.
//!
//! And a product that one batch alone is of stands for that batch. From the name to the batch and
//! from there to its records is a step too many for a small model: of the sample's 62 test
//! questions that name their batch so, it got 16 wrong and was unsure of 41.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use sha2::{Digest, Sha256};

use super::asked::AsksForBatch;
use super::list::{Product, entry, hex_bytes};
use super::wording::tokens;
use super::words::{Word, has_digit, is_date, words};
use super::{Guard, GuardList, GuardVerdict};
use crate::Result;
use crate::hash::hex;

/// Between two words they part what is said of them.
const BREAKS: [char; 5] = [',', ';', ':', '?', '!'];
/// A product's name may be cut short to this many letters.
const MIN_PREFIX: usize = 4;

impl GuardList {
    /// Adds the name of a product: its words, and their beginnings.
    ///
    /// # Errors
    /// The list's salt is not of this format.
    pub fn add_product(&mut self, name: &str) -> Result<()> {
        let salt = super::list::salt_bytes(&self.salt)?;
        let words: Vec<String> = words(name).into_iter().map(|w| w.text).collect();
        let beginnings = words.iter().filter(|word| !has_digit(word)).flat_map(|word| {
            let ends = word.char_indices().skip(MIN_PREFIX).map(|(at, _)| at);
            ends.map(|end| word[..end].to_owned())
        });
        let beginnings = beginnings.map(|word| entry(&salt, &word)).collect();
        let words: BTreeSet<String> = words.iter().map(|word| entry(&salt, word)).collect();
        if !words.is_empty() {
            self.products.insert(Product { words, beginnings, batch: None });
        }
        Ok(())
    }

    /// Says that a product which was added is that of `batch` and of no other: a question that
    /// names it in full means that batch. Left out are a batch of more than 32 bytes, and a name
    /// with two numbers, which could change places and make another name.
    ///
    /// # Errors
    /// The list's salt is not of this format.
    pub fn add_batch_of(&mut self, product: &str, batch: &str) -> Result<()> {
        let salt = super::list::salt_bytes(&self.salt)?;
        let name: BTreeSet<String> = words(product).into_iter().map(|word| word.text).collect();
        let hashed: BTreeSet<String> = name.iter().map(|word| entry(&salt, word)).collect();
        let clear = name.iter().filter(|word| has_digit(word)).count() < 2;
        let known = self.products.iter().find(|product| clear && product.words == hashed).cloned();
        if let (Some(mut product), Some(locked)) = (known, lock(&salt, &name, batch.as_bytes())) {
            self.products.remove(&product);
            product.batch = Some(hex(&locked));
            self.products.insert(product);
        }
        Ok(())
    }
}

/// A question that names its batch by a product.
pub(super) struct ByProduct {
    /// Where the name stands.
    pub(super) place: Range<usize>,
    /// The one batch that is of it.
    pub(super) batch: String,
    /// Whether the question asks for the batch itself.
    pub(super) asks_for_batch: AsksForBatch,
}

/// Locks bytes with the words of a name, or unlocks them: not a cipher to rely on, but whoever has
/// only the list doesn't read the batches from it. `None` for more bytes than a hash has.
fn lock(salt: &[u8], name: &BTreeSet<String>, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut sha256 = Sha256::new().chain_update(salt).chain_update(b"the batch of");
    for word in name {
        sha256.update(b"\n");
        sha256.update(word.as_bytes());
    }
    let key = sha256.finalize();
    (bytes.len() <= key.len()).then(|| bytes.iter().zip(&key).map(|(a, b)| a ^ b).collect())
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

    /// The batch that a question means by a product. `None` for one that names anything else: a
    /// batch, what no record has, or perhaps another product, because a word beside the name is
    /// neither one of those that any question has nor part of what is asked for.
    pub(super) fn by_product(&self, question: &str) -> Option<ByProduct> {
        let (place, batch) = self.batch_of_product(question)?;
        if self.check(question) != GuardVerdict::NoIdentifier {
            return None;
        }
        let parts = [&question[..place.start], &question[place.end..]];
        let [before, after] = parts.map(|part| self.spelt_out(part));
        let mut rest = tokens(&before);
        let next = rest.len();
        rest.extend(tokens(&after));
        let asked = self.fields.asked_in(&rest);
        let touches = [
            before.trim_end().ends_with(char::is_alphanumeric).then(|| next - 1),
            after.trim_start().starts_with(char::is_alphanumeric).then_some(next),
        ];
        let adds_to_name = |at: usize| {
            let mut others = rest.clone();
            let word = others.remove(at);
            !self.fields.says_nothing(&word) && self.fields.asked_in(&others).fields == asked.fields
        };
        if touches.into_iter().flatten().any(adds_to_name) {
            return None;
        }
        let asks_for_batch = self.fields.asks_for_batch(&rest, &asked);
        Some(ByProduct { place, batch, asks_for_batch })
    }

    /// The batch that is meant by the one product that a text names in full, in words that stand
    /// beside each other and nowhere else; and where they stand.
    fn batch_of_product(&self, text: &str) -> Option<(Range<usize>, String)> {
        let words = words(text);
        let hashed: Vec<String> = words.iter().map(|word| entry(&self.salt, &word.text)).collect();
        let named: Vec<&Product> = self
            .products
            .iter()
            .filter(|product| product.words.iter().all(|word| hashed.contains(word)))
            .collect();
        // "Quetiapine" is also in "Nitroso Quetiapine", which is the one that was named then.
        let mut longest = named.iter().filter(|product| {
            !named.iter().any(|other| {
                other.words.len() > product.words.len() && other.words.is_superset(&product.words)
            })
        });
        let (product, None) = (longest.next()?, longest.next()) else { return None };
        let locked = hex_bytes(product.batch.as_ref()?)?;
        let of_name = |hash: &String| product.words.contains(hash);
        let (first, last) = (hashed.iter().position(of_name)?, hashed.iter().rposition(of_name)?);
        let name = &words[first..=last];
        let place = name[0].place.start..words[last].place.end;
        if !hashed[first..=last].iter().all(of_name) || text[place.clone()].contains(BREAKS) {
            return None;
        }
        let name = name.iter().map(|word| word.text.clone()).collect();
        let batch = String::from_utf8(lock(&self.salt, &name, &locked)?).ok()?;
        self.is_batch(&batch).then_some((place, batch))
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
    fn a_batch_is_locked_with_the_words_of_its_product() {
        let mut list = GuardList::build(["VOY756"], [], &"ab".repeat(16)).unwrap();
        list.add_product("Zinc Drops").unwrap();
        list.add_batch_of("Zinc Drops", "VOY756").unwrap();
        let json = String::from_utf8(list.to_json().unwrap()).unwrap();
        assert!(!json.contains("VOY756") && !json.contains(&hex(b"VOY756")));
        let list = GuardList::parse(json.as_bytes()).unwrap();
        let batch = |text: &str| Guard::new(&list).unwrap().batch_of_product(text);
        assert_eq!(batch("my zinc drops"), Some((3..13, "VOY756".to_owned())));
        assert_eq!(batch("zinc"), None);
        let name = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let locked = lock(b"salt", &name(&["ZINC", "DROPS"]), b"VOY756").unwrap();
        assert_ne!(lock(b"salt", &name(&["ZINC"]), &locked).unwrap(), b"VOY756");
        assert_eq!(lock(b"salt", &name(&["ZINC"]), &[0; 33]), None);
    }

    #[test]
    fn the_longer_of_two_names_is_meant() {
        let mut list = GuardList::build(["A1", "B2"], [], &"ab".repeat(16)).unwrap();
        for (product, batch) in [("Zinc Drops", "A1"), ("Mild Zinc Drops", "B2")] {
            list.add_product(product).unwrap();
            list.add_batch_of(product, batch).unwrap();
        }
        // Of a product that was never added, and of one whose batch is too long to lock.
        list.add_batch_of("Zinc", "A1").unwrap();
        list.add_product("Salve").unwrap();
        list.add_batch_of("Salve", &"C".repeat(33)).unwrap();
        // 10 mg and 5 mg are another product.
        list.add_product("Zinc 5 mg Tin 10 mg").unwrap();
        list.add_batch_of("Zinc 5 mg Tin 10 mg", "A1").unwrap();
        let guard = Guard::new(&list).unwrap();
        let batch = |text: &str| guard.batch_of_product(text).map(|(_, batch)| batch);
        assert_eq!(batch("zinc drops").as_deref(), Some("A1"));
        assert_eq!(batch("mild zinc drops").as_deref(), Some("B2"));
        for text in ["zinc drops, mild or not", "zinc drops or not mild"] {
            assert_eq!(batch(text), None, "{text}");
        }
        assert_eq!(batch("salve"), None);
        assert_eq!(batch("zinc 5 mg tin 10 mg"), None);
    }

    #[test]
    fn a_known_batch_settles_it() {
        assert_eq!(guard().check("VOY756 sertraline?"), GuardVerdict::Known);
    }
}
