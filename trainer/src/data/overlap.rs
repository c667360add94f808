//! Questions that are in two files.

use std::collections::HashSet;

use super::{Pair, PairFile, normalise};

/// The pairs of `file` whose question, as [`normalise`] compares it, is a question or paraphrase
/// of `data`.
pub fn trained_questions_among<'a>(data: &PairFile, file: &'a PairFile) -> Vec<&'a Pair> {
    let trained: HashSet<String> = data
        .pairs
        .iter()
        .flat_map(|pair| std::iter::once(&pair.question).chain(&pair.paraphrases))
        .map(|question| normalise(question))
        .collect();
    file.pairs.iter().filter(|pair| trained.contains(&normalise(&pair.question))).collect()
}
