//! What a question names: batches, and its other words.

use std::collections::BTreeMap;

use super::wording::{spelt_out, tokens};
use super::words::{key, words};
use super::{Guard, MAX_WORDS};

/// Words between "batch" and its identifier.
const NUMBER_WORDS: [&str; 4] = ["id", "no", "nr", "number"];
/// Words for a batch before its identifier.
const BATCH_WORDS: [&str; 6] = ["b", "batch", "bn", "btch", "lot", "n"];

impl Guard {
    /// A text as its words are looked at.
    pub(super) fn spelt_out(&self, text: &str) -> String {
        if self.is_since(7) { spelt_out(text) } else { text.to_owned() }
    }

    /// What a text names, and its other words.
    pub(super) fn named(&self, text: &str) -> Named {
        let spelt_out = self.spelt_out(text);
        let words = words(&spelt_out);
        let whole: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let mut named = Named::default();
        let mut at = 0;
        while at < words.len() {
            let joined = (2..=MAX_WORDS.min(words.len() - at))
                .map(|width| (width, whole[at..at + width].concat()))
                .find(|(_, joined)| self.is_batch(joined));
            let mut rest = words[at].text.clone();
            let parts = words[at].parts();
            for part in parts.into_iter().filter(|part| self.is_batch(part)) {
                // A part of a longer one that is a batch as well is none of its own.
                if rest.contains(part) {
                    rest = rest.replacen(part, " ", 1);
                    named.batch(part.to_owned());
                }
            }
            if rest.contains(' ') {
                // What a batch's file is called says nothing, what a slash parts from it does.
                let others = rest.split('/').filter(|other| !other.contains(' '));
                named.tokens.extend(others.flat_map(tokens));
                at += 1;
            } else if let Some((width, batch)) = joined {
                named.batch(batch);
                at += width;
            } else {
                named.unknown |=
                    words[at].groups().iter().any(|group| self.looks_like_batch(group, false));
                named.tokens.extend(tokens(&rest));
                at += 1;
            }
        }
        // "Lot number VOY756?" has nothing else that it could ask for.
        if named.tokens.is_empty() && self.is_since(7) {
            named.tokens.append(&mut named.introduction);
        }
        named
    }
}

/// What a text names.
#[derive(Default)]
pub(super) struct Named {
    /// The known batches as it writes them, by key.
    pub(super) batches: BTreeMap<String, String>,
    /// Whether it names what looks like another.
    pub(super) unknown: bool,
    /// Its other words.
    pub(super) tokens: Vec<String>,
    /// "Lot number" before a batch.
    introduction: Vec<String>,
}

impl Named {
    /// The one batch that it names, by key, and as it writes it; none beside others, known or not.
    pub(super) fn only_batch(&self) -> Option<(&String, &String)> {
        let only = self.batches.len() == 1 && !self.unknown;
        self.batches.iter().next().filter(|_| only)
    }

    /// Adds a batch; the words before it that only introduce it go.
    fn batch(&mut self, batch: String) {
        let is = |list: &[&str], word: Option<&String>| {
            word.is_some_and(|word| list.contains(&word.as_str()))
        };
        let before = self.tokens.len().checked_sub(2).and_then(|at| self.tokens.get(at));
        if is(&NUMBER_WORDS, self.tokens.last()) && is(&BATCH_WORDS, before) {
            self.introduction = self.tokens[self.tokens.len() - 2..].to_vec();
            self.tokens.pop();
        }
        while is(&BATCH_WORDS, self.tokens.last()) {
            self.tokens.pop();
        }
        self.batches.insert(key(&batch), batch);
    }
}
