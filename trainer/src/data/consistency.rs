//! What holds between pairs: no question has two answers, none is there twice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::{Pair, Problem};

/// Characters that belong to an identifier, a number or a date when they stand inside one.
const CONNECTORS: [char; 5] = ['-', '_', '.', '/', ','];

/// A question as it is compared: lower case, words with one space between them, no punctuation
/// but what joins an identifier, a number or a date ("BX-40217", "98.2").
pub fn normalise(question: &str) -> String {
    let mut normal = String::with_capacity(question.len());
    let mut chars = question.chars().flat_map(char::to_lowercase).peekable();
    while let Some(c) = chars.next() {
        let inside = normal.ends_with(char::is_alphanumeric)
            && chars.peek().is_some_and(|next| next.is_alphanumeric());
        if c.is_alphanumeric() || (inside && CONNECTORS.contains(&c)) {
            normal.push(c);
        } else if !normal.is_empty() && !normal.ends_with(' ') {
            normal.push(' ');
        }
    }
    normal.truncate(normal.trim_end().len());
    normal
}

/// Lines that answer a question otherwise than an earlier line does.
pub(super) fn contradictions(pairs: &[Pair]) -> Vec<Problem> {
    let mut first: HashMap<String, &Pair> = HashMap::new();
    let mut problems = Vec::new();
    for pair in pairs {
        for question in std::iter::once(&pair.question).chain(&pair.paraphrases) {
            let earlier = *first.entry(normalise(question)).or_insert(pair);
            if same_answer(earlier, pair) {
                continue;
            }
            let said = |pair: &Pair| match &pair.answer {
                Some(answer) => format!("{answer:?}"),
                None => "null".into(),
            };
            problems.push(Problem {
                line: pair.line,
                reason: format!(
                    "{question:?} is answered {} here, but {} in line {}: keep one, or name the \
                     batch in the question",
                    said(pair),
                    said(earlier),
                    earlier.line
                ),
            });
            break;
        }
    }
    problems
}

/// Drops pairs that repeat question, answer and batch of an earlier one, and says how many.
pub(super) fn drop_duplicates(pairs: Vec<Pair>) -> (Vec<Pair>, usize) {
    let before = pairs.len();
    let mut kept: Vec<Pair> = Vec::with_capacity(before);
    let mut places = HashMap::new();
    for pair in pairs {
        let identity = (pair.question.clone(), pair.answer.clone(), pair.batch.clone());
        match places.entry(identity) {
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push(pair);
            }
            Entry::Occupied(place) => {
                let known = &mut kept[*place.get()].paraphrases;
                for paraphrase in pair.paraphrases {
                    if !known.contains(&paraphrase) {
                        known.push(paraphrase);
                    }
                }
            }
        }
    }
    let dropped = before - kept.len();
    (kept, dropped)
}

/// Line breaks and runs of spaces don't make another answer.
fn same_answer(a: &Pair, b: &Pair) -> bool {
    match (&a.answer, &b.answer) {
        (Some(a), Some(b)) => a.split_whitespace().eq(b.split_whitespace()),
        (a, b) => a == b,
    }
}
