//! What `trainer eval` prints: one JSON object, or tables.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};

use serde::Serialize;
use shared::AnswerVerdict;

use crate::data::{Pair, PairFile};
use crate::eval::ask::Reply;
use crate::eval::metrics::Metrics;
use crate::eval::verdict::Verdict;

/// The evaluation of an adapter on one or several files.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Over all files.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// Wall-clock time of the asking.
    pub seconds: f64,
    /// Tokens generated per second, all threads together.
    pub tokens_per_s: f64,
    /// Who answered, how: adapter, base, sampler, guard, threads.
    pub subject: BTreeMap<&'static str, String>,
    /// File by file.
    pub files: Vec<FileReport>,
    /// Every wrong answer.
    pub wrong_answers: Vec<WrongAnswer>,
    /// One for every reply, in its order.
    #[serde(skip)]
    pub verdicts: Vec<Verdict>,
}

/// One file.
#[derive(Debug, Serialize)]
pub struct FileReport {
    /// Its path as given.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Over the file.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// By the label `kind` of the questions.
    pub kinds: BTreeMap<String, Metrics>,
    /// By the batch that they are about.
    pub batches: BTreeMap<String, Metrics>,
    /// By the field of the record that answers them; needs the training data.
    pub fields: BTreeMap<String, Metrics>,
}

/// The field that an answer belongs to, by batch and answer.
pub type FieldNames = HashMap<(String, String), String>;

/// A question that was not answered as it should.
#[derive(Debug, Serialize)]
pub struct WrongAnswer {
    /// File of the question.
    pub file: String,
    /// Its line.
    pub line: usize,
    /// The question.
    pub question: String,
    /// The reference; null where a refusal was expected.
    pub expected: Option<String>,
    /// What came back.
    pub got: String,
    /// The smallest probability of a token of the answer.
    pub min_probability: f32,
    /// How the page would mark it.
    pub mark: AnswerVerdict,
    /// Whether the guard refused without asking the model.
    pub guard_refused: bool,
    /// It states a value that is neither in reference nor question.
    pub hallucination: bool,
    /// It states all the values of the reference: wrong in its words only.
    pub value_match: bool,
    /// Values that the page would mark as unverified.
    pub unverified: Vec<String>,
}

/// Verdicts by a label.
#[derive(Default)]
struct Groups(BTreeMap<String, Vec<Verdict>>);

impl Groups {
    fn add(&mut self, label: Option<&str>, verdict: Verdict) {
        if let Some(label) = label {
            self.0.entry(label.to_owned()).or_default().push(verdict);
        }
    }

    fn metrics(self) -> BTreeMap<String, Metrics> {
        self.0.into_iter().map(|(label, verdicts)| (label, Metrics::of(&verdicts))).collect()
    }
}

fn field_of<'a>(pair: &Pair, names: &'a FieldNames) -> Option<&'a str> {
    let key = (pair.batch.clone()?, pair.answer.clone()?);
    names.get(&key).map(String::as_str)
}

impl Report {
    /// Puts together questions and replies; `replies` follow the files' pairs in order.
    ///
    /// # Panics
    /// If there are not as many replies as pairs.
    pub fn new(
        files: &[PairFile],
        replies: &[Reply],
        seconds: f64,
        subject: BTreeMap<&'static str, String>,
        names: &FieldNames,
    ) -> Self {
        let pairs: usize = files.iter().map(|file| file.pairs.len()).sum();
        assert_eq!(pairs, replies.len(), "replies to questions");
        let mut all = Vec::with_capacity(pairs);
        let mut reports = Vec::new();
        let mut wrong_answers = Vec::new();
        let mut rest = replies;
        for file in files {
            let (own, others) = rest.split_at(file.pairs.len());
            rest = others;
            let name = file.path.display().to_string();
            let mut kinds = Groups::default();
            let mut batches = Groups::default();
            let mut fields = Groups::default();
            let mut verdicts = Vec::with_capacity(own.len());
            for (pair, reply) in file.pairs.iter().zip(own) {
                let verdict = Verdict::of(pair, reply);
                verdicts.push(verdict);
                kinds.add(pair.kind.as_deref(), verdict);
                batches.add(pair.batch.as_deref(), verdict);
                fields.add(field_of(pair, names), verdict);
                if !verdict.right {
                    wrong_answers.push(WrongAnswer {
                        file: name.clone(),
                        line: pair.line,
                        question: pair.question.clone(),
                        expected: pair.answer.clone(),
                        got: reply.text.clone(),
                        min_probability: reply.scores.min_probability,
                        mark: reply.mark,
                        guard_refused: reply.mark == AnswerVerdict::UnknownBatch,
                        hallucination: verdict.hallucination,
                        value_match: verdict.value_match,
                        unverified: reply.unverified.clone(),
                    });
                }
            }
            reports.push(FileReport {
                file: name,
                sha256: file.sha256.clone(),
                metrics: Metrics::of(&verdicts),
                kinds: kinds.metrics(),
                batches: batches.metrics(),
                fields: fields.metrics(),
            });
            all.extend(verdicts);
        }
        let tokens: usize = replies.iter().map(|reply| reply.tokens).sum();
        let tokens_per_s = if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 };
        let metrics = Metrics::of(&all);
        let files = reports;
        Self { metrics, seconds, tokens_per_s, subject, files, wrong_answers, verdicts: all }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in &self.subject {
            writeln!(out, "{key:8} {value}")?;
        }
        for file in &self.files {
            writeln!(out, "\n{}: {} questions", file.file, file.metrics.questions)?;
            write_metrics(out, &file.metrics)?;
            for (kind, metrics) in &file.kinds {
                let right = metrics.questions - metrics.wrong;
                writeln!(out, "    {kind:14} {:>14} right", share(right, metrics.questions))?;
            }
            self.write_wrong(out, &file.file)?;
        }
        if self.files.len() > 1 {
            writeln!(out, "\nall files: {} questions", self.metrics.questions)?;
            write_metrics(out, &self.metrics)?;
        }
        writeln!(
            out,
            "\n{} questions in {:.1} s, {:.0} tokens/s",
            self.metrics.questions, self.seconds, self.tokens_per_s
        )
    }
}

impl Report {
    fn write_wrong(&self, out: &mut fmt::Formatter<'_>, file: &str) -> fmt::Result {
        for wrong in self.wrong_answers.iter().filter(|wrong| wrong.file == file) {
            let mut marks = String::new();
            if wrong.guard_refused {
                marks += ", refused by the guard";
            } else {
                write!(marks, ", least certain token {:.1} %", 100.0 * wrong.min_probability)?;
            }
            if wrong.hallucination {
                marks += ", hallucination";
            }
            if wrong.value_match {
                marks += ", values right";
            }
            if !wrong.unverified.is_empty() {
                write!(marks, ", unverified: {}", wrong.unverified.join(" "))?;
            }
            writeln!(out, "  wrong, line {}{marks}", wrong.line)?;
            writeln!(out, "    question  {}", wrong.question)?;
            writeln!(out, "    expected  {}", wrong.expected.as_deref().unwrap_or("(a refusal)"))?;
            writeln!(out, "    got       {}", wrong.got)?;
        }
        Ok(())
    }
}

fn write_metrics(out: &mut fmt::Formatter<'_>, metrics: &Metrics) -> fmt::Result {
    let Metrics { questions, answerable, unanswerable, bounds, .. } = metrics;
    let rows = [
        ("exact match", metrics.exact_match, answerable, "at least", bounds.exact_match_at_least),
        ("value match", metrics.value_match, answerable, "at least", bounds.value_match_at_least),
        (
            "hallucination",
            metrics.hallucination,
            questions,
            "at most",
            bounds.hallucination_at_most,
        ),
        ("refusal", metrics.refusal, unanswerable, "at least", bounds.refusal_at_least),
    ];
    for (name, fraction, &n, side, bound) in rows {
        let (Some(fraction), Some(bound)) = (fraction, bound) else {
            continue;
        };
        let hits = (fraction * n as f64).round() as usize;
        writeln!(
            out,
            "  {name:14} {:>16}   {side} {:.1} % with 95 % confidence",
            share(hits, n),
            100.0 * bound
        )?;
    }
    writeln!(
        out,
        "  refused: {} by the guard, {} by the model, {} of them although there is an answer; \
         marked unverified: {}, undecided: {}",
        metrics.guard_refused,
        metrics.model_refused,
        metrics.false_refusals,
        metrics.unverified,
        metrics.undecided
    )?;
    let Some(bound) = bounds.standing_wrong_at_most else {
        return Ok(());
    };
    writeln!(
        out,
        "  left standing: {}, of them wrong {} (at most {:.1} % with 95 % confidence)",
        share(metrics.standing, *questions),
        share(metrics.standing_wrong, metrics.standing),
        100.0 * bound
    )
}

/// "9/10  90.0 %".
fn share(hits: usize, n: usize) -> String {
    format!("{hits}/{n}  {:.1} %", 100.0 * hits as f64 / n as f64)
}

#[cfg(test)]
mod tests {
    use shared::Scores;

    use super::*;

    fn file(name: &str, answers: &[Option<&str>]) -> PairFile {
        let pair = |(index, answer): (usize, &Option<&str>)| Pair {
            question: format!("question {}", index + 1),
            answer: answer.map(Into::into),
            batch: Some("VOY756".into()),
            source: None,
            paraphrases: Vec::new(),
            kind: Some("plain".into()),
            line: index + 1,
        };
        PairFile {
            path: name.into(),
            pairs: answers.iter().enumerate().map(pair).collect(),
            sha256: "0".repeat(64),
            notes: Vec::new(),
        }
    }

    fn reply(text: &str) -> Reply {
        Reply {
            text: text.into(),
            guarded: Vec::new(),
            scores: Scores { min_probability: 0.5, product: 0.25 },
            mark: AnswerVerdict::Matched,
            tokens: 10,
            unverified: Vec::new(),
            evidence: shared::FieldEvidence::Unclear,
        }
    }

    #[test]
    fn one_object_with_the_promised_keys() {
        let files = [file("a.jsonl", &[Some("A 1"), Some("A 2")]), file("b.jsonl", &[None])];
        let names = HashMap::from([(("VOY756".into(), "A 1".into()), "yield".into())]);
        let replies = [reply("A 1"), reply("A 3"), reply(shared::REFUSAL)];
        let report = Report::new(&files, &replies, 2.0, BTreeMap::new(), &names);
        let json = serde_json::to_value(&report).unwrap();
        for (key, expected) in [
            ("exact_match", 0.5),
            ("value_match", 0.5),
            ("hallucination", 1.0 / 3.0),
            ("refusal", 1.0),
            ("seconds", 2.0),
            ("tokens_per_s", 15.0),
        ] {
            assert_eq!(json[key], expected, "{key}");
        }
        assert_eq!((&json["questions"], &json["wrong"]), (&3.into(), &1.into()));
        assert_eq!(json["wrong_answers"][0]["got"], "A 3");
        assert_eq!(json["wrong_answers"][0]["line"], 2);
        assert_eq!(json["files"][1]["refusal"], 1.0);
        assert!(json["files"][1]["exact_match"].is_null());
        assert_eq!(json["files"][0]["kinds"]["plain"]["questions"], 2);
        assert_eq!(json["files"][0]["batches"]["VOY756"]["wrong"], 1);
        assert_eq!(json["files"][0]["fields"]["yield"]["questions"], 1);
        assert_eq!((&json["standing"], &json["standing_wrong"]), (&3.into(), &1.into()));
        let text = report.to_string();
        assert!(text.contains("a.jsonl: 2 questions") && text.contains("all files: 3"), "{text}");
        assert!(text.contains("expected  A 2") && text.contains("got       A 3"), "{text}");
        assert!(text.contains("1/2  50.0 %"), "{text}");
    }
}
