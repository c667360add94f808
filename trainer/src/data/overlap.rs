//! Questions that are in two files, word for word or nearly so.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Serialize;
use shared::identifier_words;

use super::{PairFile, normalise};

/// Length of the pieces that wordings are compared by, characters.
const GRAM: usize = 4;
/// Share of common pieces from which two wordings are nearly the same. Of the 450 held-out
/// questions of the sample data, reworded by hand, none shares more than 0.74 with a trained one;
/// "What's" for "What is" or a "please" at the end shares more than this.
const NEARLY: f64 = 0.8;

/// A question that measures memory rather than understanding: training asks the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overlap {
    /// Line of the question in its file.
    pub line: usize,
    /// The question.
    pub question: String,
    /// Line of the trained question in the training data.
    pub trained_line: usize,
    /// The trained question.
    pub trained: String,
    /// Share of common pieces: 1 for the same wording.
    pub similarity: f64,
}

/// Line, wording and pieces of a trained question.
type Trained<'a> = (usize, &'a str, HashSet<String>);

/// The questions of `file` that `data` trains in the same or nearly the same wording, about the
/// same identifiers. The same wording about another batch is another question.
pub fn overlaps(data: &PairFile, file: &PairFile) -> Vec<Overlap> {
    let mut trained: HashMap<BTreeSet<String>, Vec<Trained<'_>>> = HashMap::new();
    for pair in &data.pairs {
        for question in std::iter::once(&pair.question).chain(&pair.paraphrases) {
            trained.entry(identifiers(question)).or_default().push((
                pair.line,
                question,
                grams(question),
            ));
        }
    }
    let mut found = Vec::new();
    for pair in &file.pairs {
        let own = grams(&pair.question);
        let nearest = trained
            .get(&identifiers(&pair.question))
            .into_iter()
            .flatten()
            .map(|(line, question, grams)| (jaccard(&own, grams), *line, *question))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((similarity, trained_line, question)) = nearest.filter(|n| n.0 >= NEARLY) {
            found.push(Overlap {
                line: pair.line,
                question: pair.question.clone(),
                trained_line,
                trained: question.to_owned(),
                similarity,
            });
        }
    }
    found
}

fn identifiers(question: &str) -> BTreeSet<String> {
    identifier_words(question).into_iter().collect()
}

fn grams(question: &str) -> HashSet<String> {
    let padded: Vec<char> = format!(" {} ", normalise(question)).chars().collect();
    padded.windows(GRAM.min(padded.len())).map(|window| window.iter().collect()).collect()
}

fn jaccard(a: &HashSet<String>, b: &HashSet<String>) -> f64 {
    let common = a.intersection(b).count();
    common as f64 / (a.len() + b.len() - common).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Pair;

    fn file(questions: &[&str]) -> PairFile {
        let pair = |(index, question): (usize, &&str)| Pair {
            question: (*question).into(),
            answer: Some("A".into()),
            batch: None,
            source: None,
            paraphrases: Vec::new(),
            kind: None,
            line: index + 1,
        };
        PairFile {
            path: "x.jsonl".into(),
            pairs: questions.iter().enumerate().map(pair).collect(),
            sha256: "0".repeat(64),
            notes: Vec::new(),
        }
    }

    #[test]
    fn only_the_same_question_about_the_same_batch_overlaps() {
        let trained = file(&[
            "What is the product code for batch VOY756?",
            "Who is the QA Manager for batch KTR218?",
        ]);
        let asked = file(&[
            "what is the product code for batch voy756",
            "What's the product code for batch VOY756?",
            "What is the product code for batch VOY756, please?",
            "For batch VOY756, the product code is what?",
            "product code VOY756",
            "What is the product code for batch KTR218?",
            "What is the product code for batch VOY757?",
            "Who signed as QA Manager for KTR218?",
        ]);
        let found = overlaps(&trained, &asked);
        assert_eq!(found.iter().map(|o| o.line).collect::<Vec<_>>(), [1, 2, 3], "{found:#?}");
        assert_eq!((found[0].similarity, found[0].trained_line), (1.0, 1));
        assert!(found[1].similarity < 1.0);
    }
}
