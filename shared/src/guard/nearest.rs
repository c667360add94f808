//! Known batches that an unknown word may have meant.
//!
//! The list holds hashes only, so the known ones cannot be measured against the word. Instead
//! every word that one slip of the finger turns into it is hashed and looked up.

use super::Guard;
use super::words::{key, shape};

/// The most batches offered for one word.
const MAX_OFFERED: usize = 3;
/// The longest word that neighbours are looked for, characters without connectors.
const MAX_LENGTH: usize = 32;
/// What identifiers are made of, once connectors are gone.
const ALPHABET: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

impl Guard {
    /// The known batches that differ from `word` in one character or in the order of two
    /// neighbouring ones, at most three, likeliest slip first: two swapped, one replaced, one
    /// missing, one too many. About `74 * length` look-ups.
    pub fn nearest(&self, word: &str) -> Vec<String> {
        let word: Vec<char> = key(word).chars().collect();
        if word.len() > MAX_LENGTH {
            return Vec::new();
        }
        let mut found: Vec<String> = Vec::new();
        for candidate in neighbours(&word) {
            if found.len() == MAX_OFFERED {
                break;
            }
            if self.is_batch(&candidate) {
                let written = self.written(&candidate);
                if !found.contains(&written) {
                    found.push(written);
                }
            }
        }
        found
    }

    /// A key with the connectors of the form it has, if a batch identifier of this plant has it.
    pub(super) fn written(&self, key: &str) -> String {
        let wanted = shape(key);
        let form = self.shapes.iter().find(|form| super::words::key(form) == wanted);
        let Some(form) = form else { return key.to_owned() };
        let mut chars = key.chars();
        let place = |c: char| if c.is_alphanumeric() { chars.next() } else { Some(c) };
        form.chars().filter_map(place).collect()
    }
}

/// Every other word that one edit makes of `word`: no order of letters and digits is left out.
fn neighbours(word: &[char]) -> impl Iterator<Item = String> {
    let length = word.len();
    let letters = || ALPHABET.iter().map(|&byte| char::from(byte));
    let swapped = (1..length).map(move |at| {
        let mut new = word.to_vec();
        new.swap(at - 1, at);
        new
    });
    let replaced = (0..length).flat_map(move |at| {
        letters().map(move |letter| {
            let mut new = word.to_vec();
            new[at] = letter;
            new
        })
    });
    let longer = (0..=length).flat_map(move |at| {
        letters().map(move |letter| {
            let mut new = word.to_vec();
            new.insert(at, letter);
            new
        })
    });
    let shorter = (0..length).map(move |at| {
        let mut new = word.to_vec();
        new.remove(at);
        new
    });
    let all = swapped.chain(replaced).chain(longer).chain(shorter);
    all.filter(move |new| new != word).map(|new| new.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GuardList;

    fn guard() -> Guard {
        let batches = ["VOY756", "VOY765", "BX-40217", "24H0139", "Aurora"];
        Guard::new(&GuardList::build(batches, [], &"ab".repeat(16)).unwrap()).unwrap()
    }

    #[test]
    fn offers_what_one_slip_away_is_known() {
        for (word, expected) in [
            ("VOY757", &["VOY756"][..]),
            ("voy-775", &["VOY765"]),
            ("VOY75", &["VOY765", "VOY756"]),
            ("VOY7566", &["VOY756"]),
            ("VOY576", &["VOY756"]),
            ("VOV756", &["VOY756"]),
            ("VOY766", &["VOY756", "VOY765"]),
            ("BX-40271", &["BX-40217"]),
            ("BX 40218", &["BX-40217"]),
            ("24H0193", &["24H0139"]),
            ("AURORE", &["AURORA"]),
        ] {
            assert_eq!(guard().nearest(word), expected, "{word}");
        }
    }

    #[test]
    fn offers_nothing_where_nothing_is_near() {
        for word in ["QLD903", "VOY999", "", "V", "é", &"9".repeat(MAX_LENGTH + 1)] {
            assert_eq!(guard().nearest(word), [""; 0], "{word}");
        }
    }

    #[test]
    fn offers_at_most_three() {
        let batches = ["AB10", "AB11", "AB12", "AB13", "AB14"];
        let list = GuardList::build(batches, [], &"ab".repeat(16)).unwrap();
        assert_eq!(Guard::new(&list).unwrap().nearest("AB19"), ["AB10", "AB11", "AB12"]);
    }

    #[test]
    fn neighbours_are_complete() {
        let word: Vec<char> = "A1".chars().collect();
        let all: std::collections::BTreeSet<String> = neighbours(&word).collect();
        // 1 swap, 2 * 35 replacements, 3 * 36 insertions less 2 that coincide, 2 deletions.
        assert_eq!(all.len(), 1 + 70 + 106 + 2);
        assert!(
            !all.contains("A1") && all.contains("1A") && all.contains("A") && all.contains("A01")
        );
    }
}
