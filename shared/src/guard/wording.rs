//! Wordings as sets of words.
//!
//! They travel as 40-bit hashes without salt, which only save room: nearly all are the grammar's, and
//! the words of a plant's own questions and paraphrases can be guessed.

use std::collections::BTreeSet;

/// Words that tell nothing about the field.
pub(super) const STOP_WORDS: [&str; 52] = [
    "a", "an", "and", "any", "are", "at", "be", "been", "by", "can", "could", "did", "do", "does",
    "for", "from", "give", "given", "had", "has", "have", "i", "in", "is", "it", "its", "listed",
    "me", "my", "of", "on", "our", "please", "recorded", "reported", "shown", "stated", "tell",
    "that", "the", "there", "this", "to", "was", "we", "were", "what", "which", "with", "would",
    "you", "your",
];
/// Words that the names of fields leave out, but that tell one wording from another.
pub(super) const ASKING_WORDS: [&str; 8] =
    ["how", "many", "much", "when", "where", "who", "whom", "whose"];
/// Words for a batch, which wordings are compared without.
pub(super) const BATCH_NOUNS: [&str; 2] = ["batch", "lot"];
/// Most words of a name.
pub(super) const MAX_NAME: usize = 4;
/// Hexadecimal digits of a wording's hash.
pub(super) const DIGITS: usize = 10;

/// The words of a text, in lower case.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// A text with "lot #" spelt out as "lot number": [`tokens`] hold no signs.
pub(super) fn spelt_out(text: &str) -> String {
    let ends_in_noun = |part: &str| {
        let mut words = part.rsplit(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let is = |word: &str| BATCH_NOUNS.iter().any(|noun| noun.eq_ignore_ascii_case(word));
        words.next().is_some_and(is)
    };
    let mut spelt = String::with_capacity(text.len());
    let mut parts = text.split('#').peekable();
    while let Some(part) = parts.next() {
        spelt += part;
        if parts.peek().is_some() {
            spelt += if ends_in_noun(part) { " number " } else { "#" };
        }
    }
    spelt
}

/// An English word in the singular, by its ending alone: wrong now and then, but alike everywhere.
pub fn singular(word: &str) -> String {
    match (word.strip_suffix("ies"), word.strip_suffix('s')) {
        (Some(stem), _) if stem.len() > 1 => format!("{stem}y"),
        (None, Some(stem)) if stem.len() > 2 && !stem.ends_with('s') => stem.to_owned(),
        _ => word.to_owned(),
    }
}

/// The words that tell something, each once, in the singular.
pub(super) fn content(tokens: &[String], left_out: &[&[&str]]) -> BTreeSet<String> {
    let lists = || left_out.iter().copied().chain([&STOP_WORDS[..]]);
    let telling = |word: &&String| !lists().any(|list| list.contains(&word.as_str()));
    tokens.iter().filter(telling).map(|word| singular(word)).collect()
}

/// Every choice of some of `count` words that is short enough for a name, a bit for each word.
pub(super) fn name_masks(count: usize) -> impl Iterator<Item = u32> {
    (1..1_u32 << count).filter(|mask| mask.count_ones() as usize <= MAX_NAME)
}

/// Those of the words whose bits are set, in their order.
pub(super) fn masked(words: &[String], mask: u32) -> impl Iterator<Item = &String> {
    words.iter().enumerate().filter(move |(at, _)| mask >> at & 1 == 1).map(|(_, word)| word)
}

/// Hashes of sets of words, each once; none of the empty set.
pub(super) fn hashes(sets: impl Iterator<Item = BTreeSet<String>>) -> String {
    let hashes: BTreeSet<u64> = sets.filter(|set| !set.is_empty()).map(|set| hash(&set)).collect();
    hashes.into_iter().map(|hash| format!("{hash:0DIGITS$x}")).collect()
}

/// 40 bits of FNV-1a (Fowler, Noll and Vo, <http://www.isthe.com/chongo/tech/comp/fnv/>) over the
/// words of a set in their order, a line each.
pub(super) fn hash<'a>(set: impl IntoIterator<Item = &'a String>) -> u64 {
    let bytes = set.into_iter().flat_map(|word| word.bytes().chain([b'\n']));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    hash >> (64 - 4 * DIGITS)
}

/// The hashes of a text of them; what is no hash has been refused before.
pub(super) fn split(hashes: &str) -> impl Iterator<Item = u64> {
    let digits = hashes.as_bytes().chunks_exact(DIGITS);
    digits.filter_map(|digits| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_number_sign_after_a_batch_is_a_word() {
        for (text, expected) in [
            ("its batch # on file", "its batch  number  on file"),
            ("Lot#7", "Lot number 7"),
            ("# of tablets, #VOY756", "# of tablets, #VOY756"),
            ("batch ##7", "batch  number #7"),
            ("", ""),
        ] {
            assert_eq!(spelt_out(text), expected);
        }
    }
}
