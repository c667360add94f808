//! Questions and their recorded answers, from the trainer's own sample data.

use std::fs;

use serde::Deserialize;

use crate::site::repository;

/// A line of one of the data files.
#[derive(Debug, Clone, Deserialize)]
pub struct Pair {
    /// The question.
    pub question: String,
    /// Its answer; `None` where there is no record.
    pub answer: Option<String>,
}

/// All pairs of a file of `trainer/data`.
pub fn pairs(file: &str) -> Vec<Pair> {
    let path = repository().join("trainer/data").join(file);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("a pair")).collect()
}

/// The recorded answer to a question that the adapter was trained on.
pub fn recorded(question: &str) -> String {
    let pair = pairs("train.jsonl").into_iter().find(|pair| pair.question == question);
    pair.and_then(|pair| pair.answer)
        .unwrap_or_else(|| panic!("train.jsonl has no answer to {question:?}"))
}

/// `count` questions of a file, spread over all of it.
pub fn spread(file: &str, count: usize) -> Vec<String> {
    let pairs = pairs(file);
    (0..count).map(|index| pairs[index * pairs.len() / count].question.clone()).collect()
}
