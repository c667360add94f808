//! What pairs that ask in the same words about different batches have in common.

use std::collections::BTreeMap;

use super::line::MAX_PARAPHRASES;
use super::{Pair, normalise};

/// Stands for the batch in a wording.
const BATCH: &str = "{b}";

/// The batch of a pair as its question writes it.
pub fn named_batch(pair: &Pair) -> Option<String> {
    if let Some(batch) = &pair.batch {
        return find_ignoring_case(&pair.question, batch).map(|_| batch.clone());
    }
    shared::identifier_words(&pair.question).into_iter().find_map(|word| {
        let at = find_ignoring_case(&pair.question, &word)?;
        Some(pair.question[at..at + word.len()].to_owned())
    })
}

/// Gives each pair the paraphrases of all pairs that ask in the same words, with its own batch in
/// them: they need to be written once. Its own come first; at most as many as a line may bring.
pub(super) fn share_paraphrases(pairs: &mut [Pair]) {
    let wording = |pair: &Pair, text: &str| {
        let batch = named_batch(pair)?;
        find_ignoring_case(text, &batch)?;
        Some(replace_ignoring_case(text, &batch, BATCH))
    };
    let mut shared: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in pairs.iter() {
        let Some(question) = wording(pair, &pair.question) else { continue };
        let all = shared.entry(normalise(&question)).or_default();
        for paraphrase in pair.paraphrases.iter().filter_map(|text| wording(pair, text)) {
            if all.len() < MAX_PARAPHRASES && !all.contains(&paraphrase) {
                all.push(paraphrase);
            }
        }
    }
    for pair in pairs {
        let Some(question) = wording(pair, &pair.question) else { continue };
        let Some(batch) = named_batch(pair) else { continue };
        for paraphrase in &shared[&normalise(&question)] {
            let paraphrase = paraphrase.replace(BATCH, &batch);
            let own = &mut pair.paraphrases;
            if own.len() < MAX_PARAPHRASES
                && !own.iter().any(|known| normalise(known) == normalise(&paraphrase))
            {
                own.push(paraphrase);
            }
        }
    }
}

/// Byte position of `needle` in `text`, ASCII case ignored.
pub fn find_ignoring_case(text: &str, needle: &str) -> Option<usize> {
    text.to_ascii_lowercase().find(&needle.to_ascii_lowercase())
}

/// `text` with every occurrence of `needle` (ASCII case ignored) replaced.
pub fn replace_ignoring_case(text: &str, needle: &str, replacement: &str) -> String {
    let mut rest = text;
    let mut out = String::new();
    while let Some(at) = find_ignoring_case(rest, needle) {
        out.push_str(&rest[..at]);
        out.push_str(replacement);
        rest = &rest[at + needle.len()..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(question: &str, batch: Option<&str>, paraphrases: &[&str]) -> Pair {
        Pair {
            question: question.into(),
            answer: Some("A".into()),
            batch: batch.map(str::to_owned),
            source: None,
            paraphrases: paraphrases.iter().map(|text| (*text).to_owned()).collect(),
            kind: None,
            line: 1,
        }
    }

    #[test]
    fn paraphrases_are_written_once() {
        let mut pairs = [
            pair("nD of VOY756?", Some("VOY756"), &["voy756 refractive index", "what is it"]),
            pair("nD of KTR218", None, &["RI of KTR218", "KTR218 Refractive index?"]),
            pair("pH of KTR218?", Some("KTR218"), &["acidity"]),
            pair("ND of  BX-1?", Some("BX-1"), &[]),
            pair("nD of the other", Some("BX-1"), &[]),
        ];
        share_paraphrases(&mut pairs);
        let of = |index: usize| pairs[index].paraphrases.clone();
        assert_eq!(of(0), ["voy756 refractive index", "what is it", "RI of VOY756"]);
        assert_eq!(of(1), ["RI of KTR218", "KTR218 Refractive index?"]);
        assert_eq!(of(2), ["acidity"]);
        assert_eq!(of(3), ["BX-1 refractive index", "RI of BX-1"]);
        assert_eq!(of(4), [""; 0]);
    }
}
