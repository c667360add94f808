//! The second plant's files are what `tests/data/sterile/README.md` says they are.

#![cfg(not(target_arch = "wasm32"))]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use trainer::data::{PairFile, normalise, overlaps, read_pairs};

fn read(name: &str) -> PairFile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sterile").join(name);
    let file = read_pairs(&path).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    assert!(file.notes.is_empty(), "{name}: {:?}", file.notes);
    file
}

fn lots(train: &PairFile) -> BTreeSet<&str> {
    train.pairs.iter().map(|pair| pair.batch.as_deref().unwrap()).collect()
}

#[test]
fn sizes_and_labels() {
    let train = read("train.jsonl");
    assert_eq!((train.pairs.len(), lots(&train).len()), (156, 12));
    assert!(train.pairs.iter().all(|pair| pair.answer.is_some() && pair.source.is_some()));
    let heldout = read("heldout.jsonl");
    assert_eq!(heldout.pairs.len(), 312);
    let kinds: BTreeSet<_> = heldout.pairs.iter().map(|p| p.kind.as_deref().unwrap()).collect();
    for kind in ["casual", "formal", "keyword", "reordered", "typo"] {
        assert!(kinds.contains(kind), "{kind}");
    }
    for (name, count) in [("unknown.jsonl", 96), ("missing.jsonl", 84)] {
        let file = read(name);
        assert_eq!(file.pairs.len(), count, "{name}");
        assert!(file.pairs.iter().all(|pair| pair.answer.is_none()), "{name}");
    }
}

#[test]
fn every_fact_is_asked_for_twice_in_other_words() {
    let train = read("train.jsonl");
    let mut asked: BTreeMap<(&str, &str), usize> = train
        .pairs
        .iter()
        .map(|pair| ((pair.batch.as_deref().unwrap(), pair.answer.as_deref().unwrap()), 0))
        .collect();
    assert_eq!(asked.len(), train.pairs.len(), "a fact stands twice");
    let heldout = read("heldout.jsonl");
    for pair in &heldout.pairs {
        let fact = (pair.batch.as_deref().unwrap(), pair.answer.as_deref().unwrap());
        *asked.get_mut(&fact).unwrap_or_else(|| panic!("{fact:?} is not trained")) += 1;
    }
    assert!(asked.values().all(|&count| count == 2), "{asked:?}");
}

#[test]
fn no_question_is_trained_word_for_word_or_nearly() {
    let train = read("train.jsonl");
    for name in ["heldout.jsonl", "unknown.jsonl", "missing.jsonl"] {
        let found = overlaps(&train, &read(name));
        assert!(found.is_empty(), "{name}: {found:#?}");
    }
}

#[test]
fn unknown_lots_do_not_exist_and_missing_fields_belong_to_lots_that_do() {
    let train = read("train.jsonl");
    let known: BTreeSet<String> = lots(&train).into_iter().map(normalise).collect();
    let words = |question: &str| -> BTreeSet<String> {
        normalise(question).split(' ').map(str::to_owned).collect()
    };
    for pair in read("unknown.jsonl").pairs {
        assert!(words(&pair.question).is_disjoint(&known), "{}", pair.question);
    }
    for pair in read("missing.jsonl").pairs {
        let lot = normalise(pair.batch.as_deref().unwrap());
        assert!(known.contains(&lot) && words(&pair.question).contains(&lot), "{}", pair.question);
    }
}

/// It shows nothing about other plants if it is the sample in disguise.
#[test]
fn nothing_is_taken_from_the_sample() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../trainer/data/train.jsonl");
    let sample = read_pairs(&sample).unwrap();
    let train = read("train.jsonl");
    assert!(lots(&sample).is_disjoint(&lots(&train)));
    let answers: BTreeSet<_> = sample.pairs.iter().map(|pair| &pair.answer).collect();
    assert!(train.pairs.iter().all(|pair| !answers.contains(&pair.answer)));
}
