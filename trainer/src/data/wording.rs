//! What pairs that ask in the same words about different batches have in common.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Pair, normalise};

/// Stands for the batch in a wording.
const BATCH: &str = "{b}";
/// Most paraphrases of a wording that other pairs share.
const MAX_SHARED: usize = 64;

/// The batch of a pair as it is labelled, if its question names it so; without a label what looks
/// like one in the question.
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
/// them: they need to be written once. Those that name another identifier are about their batch
/// alone, those of two wordings are about neither, and what another pair asks stays with that one.
/// Says how many were not shared for what they name or don't.
pub(super) fn share_paraphrases(pairs: &mut [Pair]) -> usize {
    let wordings: Vec<_> = pairs.iter().map(wording).collect();
    let mut asked: HashSet<String> = HashSet::new();
    // By wording, in their order: each as it is compared, and as it is written.
    let mut shared: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
    let mut kept = 0;
    for (pair, wording) in pairs.iter().zip(&wordings) {
        let texts = std::iter::once(&pair.question).chain(&pair.paraphrases);
        asked.extend(texts.map(|text| normalise(text)));
        let Some((batch, wording)) = wording else {
            kept += pair.paraphrases.len();
            continue;
        };
        let all = shared.entry(wording).or_default();
        for paraphrase in &pair.paraphrases {
            let Some(text) = batch_left_out(paraphrase, batch) else {
                kept += 1;
                continue;
            };
            let normal = normalise(&text);
            if all.len() < MAX_SHARED && all.iter().all(|(known, _)| *known != normal) {
                all.push((normal, text));
            }
        }
    }
    let mut had_by: HashMap<String, usize> = HashMap::new();
    for (normal, _) in shared.values().flatten() {
        *had_by.entry(normal.clone()).or_default() += 1;
    }
    for paraphrases in shared.values_mut() {
        let before = paraphrases.len();
        paraphrases.retain(|(normal, _)| had_by[normal] == 1);
        kept += before - paraphrases.len();
    }
    for (pair, wording) in pairs.iter_mut().zip(&wordings) {
        let Some((batch, wording)) = wording else { continue };
        for (_, paraphrase) in &shared[wording.as_str()] {
            let paraphrase = paraphrase.replace(BATCH, batch);
            if asked.insert(normalise(&paraphrase)) {
                pair.paraphrases.push(paraphrase);
            }
        }
    }
    kept
}

/// The batch of a pair, and how it is asked for.
fn wording(pair: &Pair) -> Option<(String, String)> {
    let batch = named_batch(pair)?;
    let question = replace_ignoring_case(&pair.question, &batch, BATCH);
    Some((batch, normalise(&question)))
}

/// A paraphrase without the batch; `None` if it doesn't name it as a word, or names something else.
fn batch_left_out(paraphrase: &str, batch: &str) -> Option<String> {
    let mut text = String::new();
    let mut rest = paraphrase;
    let inside = |c: char| c.is_alphanumeric() || "-_./,".contains(c);
    while let Some(at) = find_ignoring_case(rest, batch) {
        let (before, behind) = (&rest[..at], &rest[at + batch.len()..]);
        let joined = before.ends_with(inside)
            || behind.starts_with(char::is_alphanumeric)
            || behind.starts_with(inside) && behind[1..].starts_with(char::is_alphanumeric);
        if joined {
            return None;
        }
        text += before;
        text += BATCH;
        rest = behind;
    }
    text += rest;
    let others = shared::identifier_words(&text.replace(BATCH, " "));
    let is_name = |word: &String| word.contains(char::is_alphabetic) || word.contains('-');
    (text.contains(BATCH) && !others.iter().any(is_name)).then_some(text)
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
            pair("nD of KTR218", None, &["RI of KTR218 at 20 °C", "KTR218 Refractive index?"]),
            pair("pH of KTR218?", Some("KTR218"), &["acidity"]),
            pair("ND of  BX-1?", Some("BX-1"), &[]),
            pair("nD of the other", Some("BX-1"), &["light"]),
        ];
        assert_eq!(share_paraphrases(&mut pairs), 3);
        let of = |index: usize| pairs[index].paraphrases.clone();
        assert_eq!(of(0), ["voy756 refractive index", "what is it", "RI of VOY756 at 20 °C"]);
        assert_eq!(of(1), ["RI of KTR218 at 20 °C", "KTR218 Refractive index?"]);
        assert_eq!(of(2), ["acidity"]);
        assert_eq!(of(3), ["BX-1 refractive index", "RI of BX-1 at 20 °C"]);
        assert_eq!(of(4), ["light"]);
    }

    #[test]
    fn what_is_one_batchs_alone_is_not_shared() {
        for alone in [
            "glunk of 10, see BRS_10.pdf",
            "glunk of 10 on 2025-10-11",
            "glunk of 10-10",
            "glunk of 10 in reactor R-204",
        ] {
            let mut pairs = [
                pair("Glunk of 10?", Some("10"), &[alone]),
                pair("Glunk of 12?", Some("12"), &["12 glunkiness"]),
            ];
            share_paraphrases(&mut pairs);
            assert_eq!(pairs[1].paraphrases, ["12 glunkiness"], "{alone}");
            assert_eq!(pairs[0].paraphrases, [alone, "10 glunkiness"]);
        }
    }

    #[test]
    fn a_batch_is_left_out_as_a_word_alone() {
        let mut pairs = [
            pair("Glunk of 10?", Some("10"), &["glunk of batch 10 at 100 rpm"]),
            pair("Glunk of 12?", Some("12"), &[]),
        ];
        share_paraphrases(&mut pairs);
        assert_eq!(pairs[1].paraphrases, [""; 0], "not 120 rpm");
    }

    #[test]
    fn what_two_wordings_have_is_not_shared() {
        let mut pairs = [
            pair("Glunk of KTR218?", Some("KTR218"), &["KTR218 index", "KTR218 glunkiness"]),
            pair("Purity of BX-1?", Some("BX-1"), &["Index, BX-1", "bx-1 index"]),
            pair("Glunk of VOY756?", Some("VOY756"), &[]),
        ];
        assert_eq!(share_paraphrases(&mut pairs), 2);
        assert_eq!(pairs[2].paraphrases, ["VOY756 glunkiness"]);
    }

    #[test]
    fn what_another_pair_asks_stays_with_it() {
        let mut pairs = [
            pair("Glunk of KTR218?", Some("KTR218"), &["purity index of KTR218"]),
            pair("Glunk of VOY756?", Some("VOY756"), &[]),
            pair("Purity index of VOY756", Some("VOY756"), &[]),
        ];
        share_paraphrases(&mut pairs);
        assert_eq!(pairs[1].paraphrases, [""; 0]);
    }
}
