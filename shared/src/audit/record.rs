//! One line of the log.

use serde::{Deserialize, Serialize};

use super::AuditHead;
use crate::hash::{check_sha256, sha256_hex};
use crate::manifest::is_utc_time;
use crate::{AnswerVerdict, Error, Result, SamplerConfig, StopReason};

/// The longest line, bytes, without its line end.
pub const MAX_AUDIT_LINE: usize = 256 << 10;

const FORMAT_VERSION: u32 = 1;
/// The longest version or build, bytes.
const MAX_LABEL: usize = 200;

/// What happened: a question, its answer, and everything that led from one to the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditEvent {
    /// When the answer was complete: `2025-04-14T08:30:00Z`.
    pub time: String,
    /// The question as asked.
    pub question: String,
    /// The question in the records' own words, where that was answered because the model had refused
    /// the other, or answered it with what is not on record; older logs don't have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_as: Option<String>,
    /// What the model had answered before that, unless it had refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<String>,
    /// The model's answer. By the mark, something else may be shown in its place
    /// ([`AnswerVerdict::instead`]).
    pub answer: String,
    /// Its tokens, without the end token; empty where the model was not asked.
    pub tokens: Vec<u32>,
    /// How it was marked.
    pub verdict: AnswerVerdict,
    /// The score behind the mark, 0 to 1, before the question's words are weighed in: that of the
    /// adapter's [`UndecidedRule`] if it has one, the smallest token probability if not; none where
    /// the model was not asked.
    ///
    /// [`UndecidedRule`]: crate::UndecidedRule
    pub confidence: Option<f32>,
    /// Why the answer ended; none where the model was not asked.
    pub stop: Option<StopReason>,
    /// The adapter that answered.
    pub adapter: AuditAdapter,
    /// SHA-256 of the base's file.
    pub base_sha256: String,
    /// The program that answered.
    pub engine: AuditEngine,
    /// How tokens were chosen, seed included.
    pub sampler: SamplerConfig,
    /// What answers were possible.
    pub decoding: Decoding,
}

/// The adapter, as the log names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditAdapter {
    /// Its published name, or what stands for it.
    pub version: String,
    /// SHA-256 of `adapter_model.safetensors`.
    pub sha256: String,
}

/// The program, as the log names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditEngine {
    /// Its release, such as `0.1.0`.
    pub version: String,
    /// SHA-256 of the program: the worker's WebAssembly, or the executable.
    pub sha256: String,
    /// Number of ranks that computed, each on a processor core. The answer's bits don't depend on
    /// it, and older logs don't have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranks: Option<usize>,
}

/// What answers were possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decoding {
    /// Any.
    Free,
    /// The adapter's approved answers and the refusal.
    Approved,
}

/// A line of the log: what happened, bound to the line before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRecord {
    /// Version of this format, 1.
    pub format_version: u32,
    /// 1 for the first line, one more for each that follows.
    pub sequence: u64,
    /// What happened.
    pub event: AuditEvent,
    /// `hash` of the line before; 64 zeros in the first.
    pub previous: String,
    /// SHA-256 of this line as it would read without `hash`.
    pub hash: String,
}

/// [`AuditRecord`] without its hash, in the same order.
#[derive(Serialize)]
struct Hashed<'a> {
    format_version: u32,
    sequence: u64,
    event: &'a AuditEvent,
    previous: &'a str,
}

impl AuditRecord {
    /// The record that follows `head`.
    ///
    /// # Errors
    /// The event could not be read back: a hash or time of another form, a number outside its
    /// range, a line of more than [`MAX_AUDIT_LINE`] bytes.
    pub fn after(head: &AuditHead, event: AuditEvent) -> Result<Self> {
        let mut record = Self {
            format_version: FORMAT_VERSION,
            sequence: head.sequence + 1,
            event,
            previous: head.hash.clone(),
            hash: String::new(),
        };
        record.hash = record.expected_hash()?;
        // JSON has no NaN: it would be read back as no confidence.
        record.validate()?;
        Self::parse(record.to_line()?.as_bytes())
    }

    /// The line, without a line end: the only spelling that [`Self::parse`] accepts.
    ///
    /// # Errors
    /// [`Error::Json`], should serialization fail.
    pub fn to_line(&self) -> Result<String> {
        serde_json::to_string(self).map_err(json)
    }

    /// Reads a line and checks it against its own hash.
    ///
    /// # Errors
    /// It is too long, not of this form, not spelt as [`Self::to_line`] does, or not what its
    /// hash was computed from.
    pub fn parse(line: &[u8]) -> Result<Self> {
        if line.len() > MAX_AUDIT_LINE {
            let expected = format!("at most {MAX_AUDIT_LINE} bytes");
            return refuse("line", &expected, format!("{} bytes", line.len()));
        }
        let record: Self = serde_json::from_slice(line).map_err(json)?;
        record.validate()?;
        if record.to_line()?.as_bytes() != line {
            return refuse("line", "the spelling that the log is written in", "another".into());
        }
        let expected = record.expected_hash()?;
        if record.hash != expected {
            return refuse("hash", &format!("{expected}, that of this line"), record.hash);
        }
        Ok(record)
    }

    /// What the next record is bound to.
    pub fn head(&self) -> AuditHead {
        AuditHead { sequence: self.sequence, hash: self.hash.clone() }
    }

    fn expected_hash(&self) -> Result<String> {
        let hashed = Hashed {
            format_version: self.format_version,
            sequence: self.sequence,
            event: &self.event,
            previous: &self.previous,
        };
        Ok(sha256_hex(&serde_json::to_vec(&hashed).map_err(json)?))
    }

    fn validate(&self) -> Result<()> {
        if self.format_version != FORMAT_VERSION {
            return refuse("format_version", "1", self.format_version.to_string());
        }
        let event = &self.event;
        if !is_utc_time(&event.time) {
            return refuse("time", "a time like 2025-04-14T08:30:00Z", event.time.clone());
        }
        if let Some(score) = event.confidence.filter(|score| !(0.0..=1.0).contains(score)) {
            return refuse("confidence", "0 to 1", score.to_string());
        }
        for (name, hash) in [
            ("adapter.sha256", &event.adapter.sha256),
            ("base_sha256", &event.base_sha256),
            ("engine.sha256", &event.engine.sha256),
            ("previous", &self.previous),
            ("hash", &self.hash),
        ] {
            check_sha256(&format!("audit record: {name}"), hash)?;
        }
        for (name, label) in
            [("adapter.version", &event.adapter.version), ("engine.version", &event.engine.version)]
        {
            if label.is_empty() || label.len() > MAX_LABEL {
                return refuse(
                    name,
                    &format!("1 to {MAX_LABEL} bytes"),
                    format!("{} bytes", label.len()),
                );
            }
        }
        event.sampler.validate()
    }
}

pub(super) fn refuse<T>(field: &str, expected: &str, found: String) -> Result<T> {
    Err(Error::Value { name: format!("audit record: {field}"), expected: expected.into(), found })
}

fn json(source: serde_json::Error) -> Error {
    Error::Json { file: "audit record", source }
}
