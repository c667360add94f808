//! Slips of the finger in a question's ordinary words, mended before the model reads it.
//!
//! A small model cuts a misspelt word into pieces that it has never met together, and answers
//! about another field or not at all. Which word was meant is a question of letters, not of
//! language, so it is settled here, and the page says what was read.

use serde::Serialize;

use super::Guard;
use super::asked::AsksForBatch;

/// Shorter words are left as they are.
const MIN_LENGTH: usize = 4;

/// A question as the model reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The question, slips mended, a product replaced by its batch.
    pub question: String,
    /// What was mended, in order, then the product.
    pub corrections: Vec<Correction>,
}

/// A word that was read as another one, or a product that was read as its batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Correction {
    /// As it stands in the question.
    pub written: String,
    /// As it was read.
    pub read: String,
}

impl Guard {
    /// Reads a question: words of lower-case letters that the adapter's list doesn't know become
    /// the one that is a single slip away (two letters swapped, one missing, one too many, one
    /// wrong; the first letter is the same, or swapped with the second). Where several are equally
    /// near, and in anything with a digit or a capital inside, nothing is changed. Then the name of
    /// a product that one batch alone is of becomes that batch, where the question names no other
    /// and doesn't ask for it.
    pub fn read(&self, question: &str) -> Reading {
        let mut corrections = Vec::new();
        let mut text = String::with_capacity(question.len());
        let mut rest = question;
        while let Some(start) = rest.find(|c: char| c.is_alphanumeric()) {
            let (gap, from) = rest.split_at(start);
            let end = from.find(|c: char| !c.is_alphanumeric()).unwrap_or(from.len());
            let (word, after) = from.split_at(end);
            text += gap;
            let begins = text.trim_end().is_empty();
            match self.meant(word, begins) {
                Some(read) => {
                    text += &read;
                    corrections.push(Correction { written: word.to_owned(), read });
                }
                None => text += word,
            }
            rest = after;
        }
        text += rest;
        let meant = self.by_product(&text);
        if let Some(meant) = meant.filter(|meant| meant.asks_for_batch == AsksForBatch::No) {
            let written = text[meant.place.clone()].to_owned();
            text.replace_range(meant.place, &meant.batch);
            corrections.push(Correction { written, read: meant.batch });
        }
        Reading { question: text, corrections }
    }

    /// The word that `word` was meant to be, with its capital; `None` if it stays.
    fn meant(&self, word: &str, begins_question: bool) -> Option<String> {
        let mut letters = word.chars();
        let first = letters.next()?;
        let plain = first.is_ascii_lowercase() || begins_question && first.is_ascii_uppercase();
        if word.len() < MIN_LENGTH || !plain || !letters.all(|c| c.is_ascii_lowercase()) {
            return None;
        }
        let lower = word.to_ascii_lowercase();
        if self.vocabulary.contains(&lower) || self.is_name(&lower) {
            return None;
        }
        let candidates =
            self.vocabulary.iter().filter_map(|known| Some((slip(&lower, known)?, known)));
        let mut best: Option<(Slip, &String)> = None;
        let mut tied = false;
        for (slip, known) in candidates {
            match best {
                Some((least, _)) if least < slip => {}
                Some((least, _)) if least == slip => tied = true,
                _ => (best, tied) = (Some((slip, known)), false),
            }
        }
        let read = best.filter(|_| !tied)?.1;
        let mut letters = read.chars();
        let capital = letters.next().filter(|_| first.is_ascii_uppercase());
        Some(match capital {
            Some(first) => first.to_ascii_uppercase().to_string() + letters.as_str(),
            None => read.clone(),
        })
    }
}

/// What a finger did, the likeliest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Slip {
    Swapped,
    Missing,
    Doubled,
    TooMany,
    Wrong,
}

/// The slip that makes `written` of `known`, if one does.
fn slip(written: &str, known: &str) -> Option<Slip> {
    let (written, known) = (written.as_bytes(), known.as_bytes());
    if written.len().abs_diff(known.len()) > 1 || known.len() < MIN_LENGTH {
        return None;
    }
    let same = written.iter().zip(known).take_while(|(a, b)| a == b).count();
    let (a, b) = (&written[same..], &known[same..]);
    let slip = match (a, b) {
        ([x, y, a @ ..], [v, w, b @ ..]) if (x, y) == (w, v) && a == b => Slip::Swapped,
        (a, [_, b @ ..]) if same > 0 && a == b => Slip::Missing,
        ([x, a @ ..], b) if same > 0 && a == b => {
            if *x == written[same - 1] {
                Slip::Doubled
            } else {
                Slip::TooMany
            }
        }
        ([_, a @ ..], [_, b @ ..]) if same > 0 && a == b => Slip::Wrong,
        _ => return None,
    };
    // In a short word a letter too many or another letter is as likely a word of its own.
    (written.len() > MIN_LENGTH || slip <= Slip::Missing).then_some(slip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GuardList;

    fn guard() -> Guard {
        let mut list = GuardList::build(["VOY756"], [], &"ab".repeat(16)).unwrap();
        list.add_words(["the", "what", "percent", "yield", "assay", "batch", "impurities"]);
        list.add_words(["reported", "reporter", "deviations", "actual", "date", "rate"]);
        list.add_product("Yiele Tablets").unwrap();
        Guard::new(&list).unwrap()
    }

    #[test]
    fn mends_one_slip_in_a_word() {
        for (question, read) in [
            ("percnet yeild for VOY756?", "percent yield for VOY756?"),
            ("Waht's the acutal yieldd, pls", "What's the actual yield, pls"),
            ("asay batch", "assay batch"),
            ("the impurites", "the impurities"),
            ("devaitions reportde", "deviations reported"),
        ] {
            assert_eq!(guard().read(question).question, read, "{question}");
        }
    }

    #[test]
    fn says_what_it_read() {
        let written =
            |written: &str, read: &str| Correction { written: written.into(), read: read.into() };
        assert_eq!(
            guard().read("Percnet yeild").corrections,
            [written("Percnet", "Percent"), written("yeild", "yield")]
        );
    }

    #[test]
    fn leaves_everything_else_alone() {
        for question in [
            "",
            "percent yield",
            "Percent YEILD of yeild1 and Yeild",
            "yeidl7 yelid yiedlling",
            // Two words as near as each other.
            "reporteq",
            // A product's own word, and a short word of its own.
            "yiele dite",
            "yëild",
        ] {
            let reading = guard().read(question);
            assert_eq!((reading.question.as_str(), reading.corrections), (question, vec![]));
        }
    }

    #[test]
    fn reading_twice_changes_nothing_more() {
        let once = guard().read("waht is teh percnet yeild - quickly").question;
        assert_eq!(guard().read(&once).question, once);
    }

    #[test]
    fn an_older_list_reads_letter_by_letter() {
        let list = GuardList::build(["VOY756"], [], &"ab".repeat(16)).unwrap();
        let guard = Guard::new(&list).unwrap();
        assert_eq!(guard.read("percnet yeild").question, "percnet yeild");
    }
}
