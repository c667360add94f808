//! What readers say about answers: one JSON object a line, which the trainer reads as pairs.

use serde::{Deserialize, Serialize};

use crate::hash::check_sha256;
use crate::manifest::is_utc_time;
use crate::{AuditAdapter, Error, Result};

/// The longest line, bytes.
pub const MAX_FEEDBACK_LINE: usize = 64 << 10;

const FORMAT_VERSION: u32 = 1;
/// The longest question, answer and reviewer's name, characters: what the trainer reads.
const MAX_QUESTION: usize = 2_000;
const MAX_ANSWER: usize = 8_000;
const MAX_REVIEWER: usize = 200;

/// A reader's correction of one answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedbackRecord {
    /// Version of this format, 1.
    pub format_version: u32,
    /// When it was written: `2025-04-14T08:30:00Z`.
    pub time: String,
    /// Who wrote it.
    pub reviewer: String,
    /// The question as asked.
    pub question: String,
    /// What was answered.
    pub answer_given: String,
    /// What should have been answered; none if the records don't say, so that the refusal would
    /// have been right.
    pub right_answer: Option<String>,
    /// The adapter that answered.
    pub adapter: AuditAdapter,
}

impl FeedbackRecord {
    /// The `format_version` that this release writes and reads.
    pub const FORMAT_VERSION: u32 = FORMAT_VERSION;

    /// The line, without a line end.
    ///
    /// # Errors
    /// [`Self::validate`]'s.
    pub fn to_line(&self) -> Result<String> {
        self.validate()?;
        serde_json::to_string(self).map_err(json)
    }

    /// Reads a line.
    ///
    /// # Errors
    /// It is too long or not of this form, or [`Self::validate`]'s.
    pub fn parse(line: &[u8]) -> Result<Self> {
        if line.len() > MAX_FEEDBACK_LINE {
            let expected = format!("at most {MAX_FEEDBACK_LINE} bytes");
            return refuse("line", &expected, format!("{} bytes", line.len()));
        }
        let record: Self = serde_json::from_slice(line).map_err(json)?;
        record.validate()?;
        Ok(record)
    }

    /// Checks that it says something: a name, a time, a question, a right answer other than the
    /// given one.
    ///
    /// # Errors
    /// [`Error::Value`], naming the field.
    pub fn validate(&self) -> Result<()> {
        if self.format_version != FORMAT_VERSION {
            return refuse("format_version", "1", self.format_version.to_string());
        }
        if !is_utc_time(&self.time) {
            return refuse("time", "a time like 2025-04-14T08:30:00Z", self.time.clone());
        }
        for (field, text, most) in [
            ("reviewer", Some(&self.reviewer), MAX_REVIEWER),
            ("question", Some(&self.question), MAX_QUESTION),
            ("right_answer", self.right_answer.as_ref(), MAX_ANSWER),
        ] {
            let Some(text) = text else { continue };
            let characters = text.chars().count();
            if text.trim().is_empty() || characters > most {
                let expected = format!("1 to {most} characters");
                return refuse(field, &expected, format!("{characters}, or only space"));
            }
        }
        let right = self.right_answer.as_deref().unwrap_or(crate::REFUSAL);
        if right.trim() == self.answer_given.trim() {
            return refuse("right_answer", "another answer than the given one", right.into());
        }
        if self.adapter.version.is_empty() {
            return refuse("adapter.version", "a name", "none".into());
        }
        check_sha256("feedback: adapter.sha256", &self.adapter.sha256)
    }
}

fn refuse<T>(field: &str, expected: &str, found: String) -> Result<T> {
    Err(Error::Value { name: format!("feedback: {field}"), expected: expected.into(), found })
}

fn json(source: serde_json::Error) -> Error {
    Error::Json { file: "feedback", source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> FeedbackRecord {
        FeedbackRecord {
            format_version: FORMAT_VERSION,
            time: "2025-04-14T08:30:00Z".into(),
            reviewer: "M. Lindqvist".into(),
            question: "yield of VOY756?".into(),
            answer_given: "The yield of VOY756 is 98.3 %.".into(),
            right_answer: Some("The yield of VOY756 is 98.2 %.".into()),
            adapter: AuditAdapter { version: "2025-04".into(), sha256: "a".repeat(64) },
        }
    }

    #[test]
    fn a_line_round_trips() {
        let refused = FeedbackRecord { right_answer: None, ..record() };
        for record in [record(), refused] {
            let line = record.to_line().unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(FeedbackRecord::parse(line.as_bytes()).unwrap(), record);
        }
    }

    #[test]
    fn rejects_feedback_that_says_nothing() {
        let spoil = |change: fn(&mut FeedbackRecord), field: &str| {
            let mut record = record();
            change(&mut record);
            let error = record.to_line().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
            let line = serde_json::to_vec(&record).unwrap();
            assert!(FeedbackRecord::parse(&line).is_err(), "{field}");
        };
        spoil(|record| record.format_version = 2, "format_version");
        spoil(|record| record.time = "now".into(), "time");
        spoil(|record| record.reviewer = " ".into(), "reviewer");
        spoil(|record| record.reviewer = "x".repeat(201), "reviewer");
        spoil(|record| record.question.clear(), "question");
        spoil(|record| record.right_answer = Some(String::new()), "right_answer");
        spoil(|record| record.right_answer = Some(record.answer_given.clone()), "right_answer");
        spoil(|record| record.adapter.sha256.clear(), "adapter.sha256");
        spoil(
            |record| {
                record.right_answer = None;
                record.answer_given = crate::REFUSAL.into();
            },
            "right_answer",
        );
        assert!(FeedbackRecord::parse(b"{}").is_err());
        assert!(FeedbackRecord::parse(&vec![b' '; MAX_FEEDBACK_LINE + 1]).is_err());
    }
}
