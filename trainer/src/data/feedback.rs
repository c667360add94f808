//! Readers' corrections, worked into training data.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;
use shared::{FeedbackRecord, MAX_FEEDBACK_LINE, identifier_words};

use super::wording::share_paraphrases;
use super::{BadLines, MAX_FILE, Pair, Problem, normalise};
use crate::files::to_jsonl;
use crate::input::read_input;

/// What a correction does to the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The data answers this question otherwise.
    Corrects {
        /// Line of the pair.
        line: usize,
        /// Its answer until now; none if it had none.
        before: Option<String>,
    },
    /// The data has the answer, in that line; the question becomes another wording for it.
    Rewords {
        /// Line of the pair.
        line: usize,
    },
    /// The data does not have it.
    Adds,
    /// The data says the same already: the model has to learn it better.
    Repeats {
        /// Line of the pair.
        line: usize,
    },
    /// The refusal would have been right; there is no pair to write for that.
    Refuses,
}

/// A correction and what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The correction.
    pub feedback: FeedbackRecord,
    /// What it does to the data.
    pub change: Change,
}

/// Reads a file of feedback.
///
/// # Errors
/// The file cannot be read, or [`BadLines`]: every line that is no feedback, and every line that
/// answers a question otherwise than an earlier one does.
pub fn read_feedback(path: &Path) -> Result<Vec<FeedbackRecord>> {
    let bytes = read_input(path, "feedback as JSONL, as the page exports it", MAX_FILE)?;
    let mut records: Vec<FeedbackRecord> = Vec::new();
    let mut problems = Vec::new();
    let mut first: HashMap<String, (usize, usize)> = HashMap::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() <= MAX_FEEDBACK_LINE && line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let number = index + 1;
        let record = match FeedbackRecord::parse(line) {
            Ok(record) => record,
            Err(error) => {
                problems.push(Problem { line: number, reason: error.to_string() });
                continue;
            }
        };
        let (place, earlier_line) =
            *first.entry(normalise(&record.question)).or_insert((records.len(), number));
        if let Some(earlier) = records.get(place)
            && earlier.right_answer != record.right_answer
        {
            problems.push(Problem {
                line: number,
                reason: format!(
                    "{} says that {:?} is answered {}, but {} said {} in line {earlier_line}: \
                     settle it with both, and keep one line",
                    record.reviewer,
                    record.question,
                    quoted(&record.right_answer),
                    earlier.reviewer,
                    quoted(&earlier.right_answer),
                ),
            });
        }
        records.push(record);
    }
    if !problems.is_empty() {
        return Err(BadLines { path: path.to_owned(), problems }.into());
    }
    if records.is_empty() {
        bail!("{}: the file has no feedback", path.display());
    }
    Ok(records)
}

/// Works feedback into pairs, in its order. A corrected or new pair's source names who said so,
/// when.
pub fn apply_feedback(pairs: &mut Vec<Pair>, feedback: &[FeedbackRecord]) -> Vec<Applied> {
    let mut applied = Vec::new();
    for record in feedback {
        let change = apply(pairs, record);
        applied.push(Applied { feedback: record.clone(), change });
    }
    applied
}

fn apply(pairs: &mut Vec<Pair>, record: &FeedbackRecord) -> Change {
    let Some(right) = record.right_answer.as_deref().map(str::trim) else {
        return Change::Refuses;
    };
    let asked = normalise(&record.question);
    let asks = |pair: &Pair| {
        std::iter::once(&pair.question).chain(&pair.paraphrases).any(|q| normalise(q) == asked)
    };
    // As they will be trained.
    let mut trained = pairs.clone();
    share_paraphrases(&mut trained);
    let source = format!("feedback of {}, {}", record.reviewer.trim(), record.time);
    if let Some(at) = trained.iter().position(asks) {
        let pair = &mut pairs[at];
        let line = pair.line;
        if pair.answer.as_deref() == Some(right) {
            return Change::Repeats { line };
        }
        let before = pair.answer.replace(right.to_owned());
        pair.source = Some(source);
        return Change::Corrects { line, before };
    }
    let named = identifier_words(&record.question);
    let says_so = |pair: &Pair| pair.answer.as_deref() == Some(right);
    let is_named = |pair: &Pair| {
        pair.batch.as_ref().is_some_and(|batch| named.contains(&batch.to_uppercase()))
    };
    let reworded = pairs
        .iter()
        .position(|pair| says_so(pair) && is_named(pair))
        .or_else(|| pairs.iter().position(says_so));
    if let Some(at) = reworded {
        let pair = &mut pairs[at];
        pair.paraphrases.push(record.question.trim().to_owned());
        return Change::Rewords { line: pair.line };
    }
    let batch = pairs
        .iter()
        .filter_map(|pair| pair.batch.as_ref())
        .find(|batch| named.contains(&batch.to_uppercase()))
        .cloned();
    pairs.push(Pair {
        question: record.question.trim().to_owned(),
        answer: Some(right.to_owned()),
        batch,
        source: Some(source),
        paraphrases: Vec::new(),
        kind: None,
        line: pairs.len() + 1,
    });
    Change::Adds
}

/// Pairs as JSONL, one a line, as [`read_pairs`](super::read_pairs) reads them.
///
/// # Errors
/// Should serialization fail.
pub fn pairs_to_jsonl(pairs: &[Pair]) -> Result<String> {
    #[derive(Serialize)]
    struct Line<'a> {
        question: &'a str,
        answer: Option<&'a str>,
        #[serde(flatten)]
        rest: BTreeMap<&'static str, serde_json::Value>,
    }
    to_jsonl(pairs.iter().map(|pair| {
        let labels = [("batch", &pair.batch), ("source", &pair.source), ("kind", &pair.kind)];
        let mut rest: BTreeMap<_, _> = labels
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.clone()?.into())))
            .collect();
        if !pair.paraphrases.is_empty() {
            rest.insert("paraphrases", pair.paraphrases.clone().into());
        }
        Line { question: &pair.question, answer: pair.answer.as_deref(), rest }
    }))
}

fn quoted(answer: &Option<String>) -> String {
    answer.as_ref().map_or("by the refusal".into(), |answer| format!("{answer:?}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use shared::AuditAdapter;

    use super::*;
    use crate::data::read_pairs;

    fn feedback(question: &str, right: Option<&str>, reviewer: &str) -> FeedbackRecord {
        FeedbackRecord {
            format_version: FeedbackRecord::FORMAT_VERSION,
            time: "2025-04-14T08:30:00Z".into(),
            reviewer: reviewer.into(),
            question: question.into(),
            answer_given: "wrong".into(),
            right_answer: right.map(Into::into),
            adapter: AuditAdapter { version: "v".into(), sha256: "a".repeat(64) },
        }
    }

    fn write(name: &str, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        (directory, path)
    }

    fn lines(records: &[FeedbackRecord]) -> String {
        records.iter().map(|record| record.to_line().unwrap() + "\r\n").collect()
    }

    #[test]
    fn a_shared_paraphrase_is_the_other_batchs_question_as_well() {
        let data = concat!(
            r#"{"question": "nD of KTR218?", "answer": "1.33", "batch": "KTR218", "#,
            r#""paraphrases": ["RI of KTR218"]}"#,
            "\n",
            r#"{"question": "nD of VOY756?", "answer": "1.33", "batch": "VOY756"}"#,
        );
        let (_data, path) = write("data.jsonl", data);
        let mut pairs = read_pairs(&path).unwrap().pairs;
        let records = [
            feedback("VOY756 bends light how", Some("1.33"), "M. Berg"),
            feedback("RI of VOY756?", Some("1.34"), "M. Berg"),
        ];
        let applied = apply_feedback(&mut pairs, &records);
        let changes: Vec<Change> = applied.into_iter().map(|applied| applied.change).collect();
        let corrects = Change::Corrects { line: 2, before: Some("1.33".into()) };
        assert_eq!(changes, [Change::Rewords { line: 2 }, corrects]);
        assert_eq!(pairs[1].paraphrases, ["VOY756 bends light how"], "written once");
    }

    #[test]
    fn corrections_become_pairs_that_read_back() {
        let data = concat!(
            r#"{"question": "Yield of VOY756?", "answer": "98.3 %", "batch": "VOY756"}"#,
            "\n",
            r#"{"question": "Who signed VOY756?", "answer": "Ana Sousa", "batch": "VOY756"}"#,
        );
        let (_data, path) = write("data.jsonl", data);
        let mut pairs = read_pairs(&path).unwrap().pairs;
        let records = [
            feedback("yield of voy756", Some("98.2 %"), "M. Berg"),
            feedback("VOY756 signature?", Some("Ana Sousa"), "M. Berg"),
            feedback("Room of VOY756?", Some("Room 12"), "M. Berg"),
            feedback("Who signed VOY756?", Some("Ana Sousa"), "M. Berg"),
            feedback("Colour of VOY756?", None, "M. Berg"),
        ];
        let (_feedback, path) = write("feedback.jsonl", &lines(&records));
        let read = read_feedback(&path).unwrap();
        assert_eq!(read, records);
        let applied = apply_feedback(&mut pairs, &read);
        let changes: Vec<Change> = applied.into_iter().map(|applied| applied.change).collect();
        assert_eq!(
            changes,
            [
                Change::Corrects { line: 1, before: Some("98.3 %".into()) },
                Change::Rewords { line: 2 },
                Change::Adds,
                Change::Repeats { line: 2 },
                Change::Refuses,
            ]
        );
        let (_merged, path) = write("merged.jsonl", &pairs_to_jsonl(&pairs).unwrap());
        let merged = read_pairs(&path).unwrap();
        assert!(merged.notes.is_empty(), "{:?}", merged.notes);
        assert_eq!(merged.pairs, pairs);
        assert_eq!(pairs[0].answer.as_deref(), Some("98.2 %"));
        assert_eq!(pairs[1].paraphrases, ["VOY756 signature?"]);
        assert_eq!(pairs[2].batch.as_deref(), Some("VOY756"));
        assert_eq!(pairs[2].source.as_deref(), Some("feedback of M. Berg, 2025-04-14T08:30:00Z"));
    }

    #[test]
    fn rejects_reviewers_who_contradict_each_other() {
        let records = [
            feedback("Yield of VOY756?", Some("98.2 %"), "M. Berg"),
            feedback("yield of VOY756", Some("98.4 %"), "A. Sousa"),
            feedback("Yield of VOY756", None, "J. Wirth"),
        ];
        let (_directory, path) = write("feedback.jsonl", &lines(&records));
        let error = read_feedback(&path).unwrap_err();
        let bad = error.downcast_ref::<BadLines>().unwrap();
        assert_eq!(bad.problems.iter().map(|p| p.line).collect::<Vec<_>>(), [2, 3]);
        let reason = &bad.problems[0].reason;
        assert!(reason.contains("A. Sousa says") && reason.contains("M. Berg said"), "{reason}");
    }

    #[test]
    fn rejects_what_is_no_feedback() {
        let long = " ".repeat(MAX_FEEDBACK_LINE + 1);
        for text in ["{}", "", "\n\n", r#"{"question": "Q", "answer": "A"}"#, &long] {
            let (_directory, path) = write("feedback.jsonl", text);
            assert!(read_feedback(&path).is_err(), "{text:.40}");
        }
    }
}
