//! Which words tell one of the records' own texts from the others.

use std::collections::{BTreeMap, BTreeSet};

use super::wording::{ASKING_WORDS, BATCH_NOUNS, content, masked, name_masks, tokens};

/// Most words of a text that are looked into.
const MAX_WORDS: usize = 10;

/// Texts by the words that tell something about them.
#[derive(Debug, Clone, Default)]
pub struct TellingWords {
    texts: Vec<String>,
    /// The texts that have a word, by their places.
    having: BTreeMap<String, Vec<usize>>,
    filler: BTreeSet<String>,
}

impl TellingWords {
    /// Takes texts apart, `{b}` for the batch. Words of `filler` tell nothing.
    pub fn new(texts: impl IntoIterator<Item = String>, filler: &BTreeSet<String>) -> Self {
        let mut known = Self { filler: filler.clone(), ..Self::default() };
        for (at, text) in texts.into_iter().enumerate() {
            for word in known.words(&text) {
                known.having.entry(word).or_default().push(at);
            }
            known.texts.push(text);
        }
        known
    }

    fn words(&self, text: &str) -> BTreeSet<String> {
        let mut words = content(&tokens(&text.replace("{b}", " ")), &[&ASKING_WORDS]);
        words.retain(|word| !self.filler.contains(word));
        words
    }

    /// The sets of up to four words of `text` that no text has but those of `own`.
    pub(super) fn told_by(
        &self,
        text: &str,
        own: &BTreeSet<String>,
    ) -> impl Iterator<Item = BTreeSet<String>> {
        let words: Vec<String> = self.words(text).into_iter().take(MAX_WORDS).collect();
        // Of each other text: which of the words it has.
        let mut shared: BTreeMap<usize, u32> = BTreeMap::new();
        for (bit, word) in words.iter().enumerate() {
            for at in self.having.get(word).into_iter().flatten() {
                *shared.entry(*at).or_default() |= 1 << bit;
            }
        }
        shared.retain(|at, _| !own.contains(&self.texts[*at]));
        let shared: BTreeSet<u32> = shared.into_values().collect();
        let told: Vec<u32> = name_masks(words.len())
            .filter(|mask| {
                masked(&words, *mask).any(|word| !BATCH_NOUNS.contains(&word.as_str()))
                    && !shared.iter().any(|other| mask & other == *mask)
            })
            .collect();
        told.into_iter().map(move |mask| masked(&words, mask).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn sets_of_words_that_no_other_text_has_are_told() {
        let filler = ["type".to_owned(), "used".to_owned()].into();
        let text = "Who saw the crimp type used on the tubes of lot {b}?";
        let others = ["tube lot of {b}", "crimp force and tube of {b}", "Saw of {b}?"];
        let texts = others.iter().chain([&text]).map(|text| (*text).to_owned());
        let words = TellingWords::new(texts, &filler);
        let own = ["Saw of {b}?".to_owned(), text.to_owned()].into();
        let told: BTreeSet<BTreeSet<String>> = words.told_by(text, &own).collect();
        // No other has "saw", none has both "crimp" and "lot"; "lot" alone is a word for a batch.
        let names = ["saw", "saw crimp", "saw tube", "saw lot", "saw crimp tube", "saw crimp lot"];
        let more = ["saw tube lot", "saw crimp tube lot", "crimp lot", "crimp tube lot"];
        let expected = names.iter().chain(&more).map(|name| content(&tokens(name), &[])).collect();
        assert_eq!(told, expected);
        let many: String = ('a'..='z').map(|letter| format!("{0}{0}{0} ", letter)).collect();
        let sets_of_ten = 10 + 45 + 120 + 210;
        assert_eq!(words.told_by(&many, &own).count(), sets_of_ten);
    }
}
