//! The files of other plants are what their `README.md` under `tests/data/` says they are.

#![cfg(not(target_arch = "wasm32"))]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use trainer::data::{PairFile, overlaps, read_pairs, read_training_pairs};

struct Plant {
    folder: &'static str,
    facts: usize,
    batches: usize,
    heldout: usize,
    /// How often a fact is asked for in other words, at least and at most.
    asked: RangeInclusive<usize>,
    unknown: usize,
    missing: usize,
}

const PLANTS: [Plant; 4] = [
    Plant {
        folder: "sterile",
        facts: 156,
        batches: 12,
        heldout: 312,
        asked: 2..=2,
        unknown: 96,
        missing: 84,
    },
    Plant {
        folder: "semisolid",
        facts: 131,
        batches: 10,
        heldout: 266,
        asked: 2..=3,
        unknown: 70,
        missing: 93,
    },
    Plant {
        folder: "liquids",
        facts: 94,
        batches: 8,
        heldout: 188,
        asked: 2..=2,
        unknown: 40,
        missing: 46,
    },
    Plant {
        folder: "patches",
        facts: 95,
        batches: 9,
        heldout: 190,
        asked: 2..=2,
        unknown: 40,
        missing: 46,
    },
];

/// Plants whose wordings somebody paraphrased, each once, and for how many.
const PARAPHRASED: [(&str, usize); 2] = [("liquids", 14), ("patches", 16)];

impl Plant {
    fn read(&self, name: &str) -> PairFile {
        read(self.folder, name)
    }
}

fn read(folder: &str, name: &str) -> PairFile {
    let file = read_pairs(&path(folder, name));
    let file = file.unwrap_or_else(|error| panic!("{folder}/{name}: {error:#}"));
    assert!(file.notes.is_empty(), "{name}: {:?}", file.notes);
    file
}

fn path(folder: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(folder).join(name)
}

fn batches(train: &PairFile) -> BTreeSet<&str> {
    train.pairs.iter().map(|pair| pair.batch.as_deref().unwrap()).collect()
}

#[test]
fn sizes_and_labels() {
    for plant in PLANTS {
        let train = plant.read("train.jsonl");
        assert_eq!((train.pairs.len(), batches(&train).len()), (plant.facts, plant.batches));
        assert!(train.pairs.iter().all(|pair| pair.answer.is_some()));
        let heldout = plant.read("heldout.jsonl");
        assert_eq!(heldout.pairs.len(), plant.heldout);
        let kinds: BTreeSet<_> = heldout.pairs.iter().map(|p| p.kind.as_deref().unwrap()).collect();
        for kind in ["casual", "formal", "keyword", "reordered", "typo"] {
            assert!(kinds.contains(kind), "{kind}");
        }
        for (name, count) in [("unknown.jsonl", plant.unknown), ("missing.jsonl", plant.missing)] {
            let file = plant.read(name);
            assert_eq!(file.pairs.len(), count, "{name}");
            assert!(file.pairs.iter().all(|pair| pair.answer.is_none()), "{name}");
        }
    }
}

#[test]
fn every_fact_is_asked_for_in_other_words() {
    for plant in PLANTS {
        let train = plant.read("train.jsonl");
        let mut asked: BTreeMap<(&str, &str), usize> = train
            .pairs
            .iter()
            .map(|pair| ((pair.batch.as_deref().unwrap(), pair.answer.as_deref().unwrap()), 0))
            .collect();
        assert_eq!(asked.len(), train.pairs.len(), "a fact stands twice");
        let heldout = plant.read("heldout.jsonl");
        for pair in &heldout.pairs {
            let fact = (pair.batch.as_deref().unwrap(), pair.answer.as_deref().unwrap());
            *asked.get_mut(&fact).unwrap_or_else(|| panic!("{fact:?} is not trained")) += 1;
        }
        assert!(asked.values().all(|count| plant.asked.contains(count)), "{asked:?}");
    }
}

#[test]
fn no_question_is_trained_word_for_word_or_nearly() {
    for plant in PLANTS {
        let train = plant.read("train.jsonl");
        for name in ["heldout.jsonl", "unknown.jsonl", "missing.jsonl"] {
            let found = overlaps(&train, &plant.read(name));
            assert!(found.is_empty(), "{name}: {found:#?}");
        }
    }
}

#[test]
fn unknown_batches_do_not_exist_and_missing_fields_belong_to_batches_that_do() {
    for plant in PLANTS {
        let train = plant.read("train.jsonl");
        // Readers leave separators out.
        let joined = |text: &str| text.to_lowercase().replace(|c: char| !c.is_alphanumeric(), "");
        let known: BTreeSet<String> = batches(&train).into_iter().map(joined).collect();
        for pair in plant.read("unknown.jsonl").pairs {
            let question = joined(&pair.question);
            assert!(!known.iter().any(|batch| question.contains(batch)), "{}", pair.question);
        }
        for pair in plant.read("missing.jsonl").pairs {
            let batch = joined(pair.batch.as_deref().unwrap());
            let named = known.contains(&batch) && joined(&pair.question).contains(&batch);
            assert!(named, "{}", pair.question);
        }
    }
}

#[test]
fn paraphrases_are_the_only_difference_and_ask_nothing_that_is_tested() {
    for (folder, wordings) in PARAPHRASED {
        let (train, mut paraphrased) =
            (read(folder, "train.jsonl"), read(folder, "paraphrased/train.jsonl"));
        let heldout = read(folder, "paraphrased/heldout.jsonl");
        let trained = read_training_pairs(&path(folder, "paraphrased/train.jsonl")).unwrap();
        for name in ["unknown.jsonl", "missing.jsonl"] {
            let found = overlaps(&trained, &read(folder, name));
            assert!(found.is_empty(), "{folder}/{name}: {found:#?}");
        }
        // Questions that a paraphrase asks were taken out, and no others.
        let tested: Vec<&str> = heldout.pairs.iter().map(|pair| pair.question.as_str()).collect();
        let mut all = read(folder, "heldout.jsonl");
        let asked: BTreeSet<usize> = overlaps(&trained, &all).iter().map(|o| o.line).collect();
        all.pairs.retain(|pair| !asked.contains(&pair.line));
        let left: Vec<&str> = all.pairs.iter().map(|pair| pair.question.as_str()).collect();
        assert!(tested == left, "{folder}: {asked:?}");

        let own = paraphrased.pairs.iter().filter(|pair| !pair.paraphrases.is_empty()).count();
        assert_eq!(own, wordings, "{folder}: each wording once");
        paraphrased.pairs.iter_mut().for_each(|pair| pair.paraphrases.clear());
        assert!(paraphrased.pairs == train.pairs, "{folder}");
        let many = trained.pairs.iter().filter(|pair| pair.paraphrases.len() == 4).count();
        assert!(many > 3 * wordings, "{folder}: {many} pairs share them");
    }
}

/// They show nothing about other plants if they are the sample in disguise.
#[test]
fn nothing_is_taken_from_the_sample() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../trainer/data/train.jsonl");
    let sample = read_pairs(&sample).unwrap();
    let answers: BTreeSet<_> = sample.pairs.iter().map(|pair| &pair.answer).collect();
    for plant in PLANTS {
        let train = plant.read("train.jsonl");
        assert!(batches(&sample).is_disjoint(&batches(&train)));
        assert!(train.pairs.iter().all(|pair| !answers.contains(&pair.answer)));
    }
}
