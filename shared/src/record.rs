//! `lotwise.json`: where an adapter comes from. With it an auditor can ask which data, which
//! base and which recipe an answer rests on, and train the same adapter again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::hash::check_sha256;
use crate::manifest::is_utc_time;
use crate::{BaseIdentity, Error, PromptFormat, RefusalBias, Result, UndecidedRule};

/// File name of the record in an adapter's directory.
pub const RECORD_FILE: &str = "lotwise.json";

/// What answers may be used for; shown on the page and stored with every adapter.
pub const INTENDED_USE: &str = "Decision support: verify every answer against the batch record. \
     Not for critical GMP decisions.";

const FORMAT_VERSION: u32 = 1;
/// The most golden questions: an installation answers them all.
const MAX_GOLDEN: usize = 100;
/// The most approved answers.
const MAX_APPROVED: usize = 100_000;
/// The longest approved answer.
const MAX_APPROVED_BYTES: usize = 4096;

/// The record of one adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterRecord {
    /// Version of this format, 1.
    pub format_version: u32,
    /// When training ended: `2025-04-14T08:30:00Z`.
    pub created: String,
    /// SHA-256 of the training data.
    pub data_sha256: String,
    /// The base it was trained on.
    pub base: RecordBase,
    /// SHA-256 of the chat template it was trained with.
    pub template_sha256: String,
    /// The system prompt it was trained with.
    pub system_prompt: String,
    /// Every setting of the training run, as the trainer writes it.
    pub recipe: Value,
    /// Seed of everything random in the run.
    pub seed: u64,
    /// What the run did.
    pub train: TrainStats,
    /// Results of the evaluation, once there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Map<String, Value>>,
    /// How readily the model refuses, once that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal_bias: Option<RefusalBias>,
    /// When an answer counts as undecided, once a threshold was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undecided: Option<UndecidedRule>,
    /// What an installation has to reproduce, once it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_test: Option<SelfTest>,
    /// The training answers in clear, where decoding may be restricted to them
    /// ([`AnswerTrie`](crate::AnswerTrie)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_answers: Option<BTreeSet<String>>,
    /// [`INTENDED_USE`].
    pub intended_use: String,
}

/// The base, as a record names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordBase {
    /// `general.name`.
    pub name: String,
    /// `general.version`.
    pub version: String,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// What a training run did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainStats {
    /// Question/answer pairs in the data.
    pub examples: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// Tokens that went forward.
    pub tokens: u64,
    /// Wall-clock time, seconds.
    pub seconds: f64,
    /// Mean loss per answer token over the last steps, nats.
    pub final_loss: f64,
    /// Loss over the run.
    pub loss_curve: Vec<LossPoint>,
}

/// One point of the loss curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossPoint {
    /// Optimizer steps done.
    pub step: u64,
    /// Mean loss per answer token, nats.
    pub loss: f64,
}

/// What the trainer's engine computed with this adapter: proof, where it is repeated, that an
/// installation computes the same. Its questions and answers are in clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfTest {
    /// [`logits_digest`](crate::logits_digest) of the merged model over
    /// [`self_test_tokens`](crate::self_test_tokens).
    pub logits_digest: String,
    /// Questions and what [`SamplerConfig::exact`](crate::SamplerConfig::exact) answered, without
    /// the guard.
    pub questions: Vec<GoldenQuestion>,
}

/// A question whose answer is fixed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenQuestion {
    /// The question.
    pub question: String,
    /// The answer that must come, to the letter.
    pub answer: String,
}

impl AdapterRecord {
    /// The `format_version` that this release writes and reads.
    pub const FORMAT_VERSION: u32 = FORMAT_VERSION;

    /// Reads and validates `lotwise.json`.
    ///
    /// # Errors
    /// Not JSON of this form, or [`Self::validate`]'s.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let record: Self = serde_json::from_slice(json)
            .map_err(|source| Error::Json { file: RECORD_FILE, source })?;
        record.validate()?;
        Ok(record)
    }

    /// The bytes of `lotwise.json`.
    ///
    /// # Errors
    /// [`Self::validate`]'s.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        self.validate()?;
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|source| Error::Json { file: RECORD_FILE, source })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Checks versions, hashes and numbers.
    ///
    /// # Errors
    /// [`Error::Value`], naming the field.
    pub fn validate(&self) -> Result<()> {
        let refuse = |field: &str, expected: &str, found: String| {
            let name = format!("{RECORD_FILE}: {field}");
            Err(Error::Value { name, expected: expected.into(), found })
        };
        if self.format_version != FORMAT_VERSION {
            return refuse("format_version", "1", self.format_version.to_string());
        }
        if !is_utc_time(&self.created) {
            return refuse("created", "a time like 2025-04-14T08:30:00Z", self.created.clone());
        }
        check_sha256("lotwise.json: data_sha256", &self.data_sha256)?;
        check_sha256("lotwise.json: base.sha256", &self.base.sha256)?;
        check_sha256("lotwise.json: template_sha256", &self.template_sha256)?;
        let losses = self.train.loss_curve.iter().map(|point| point.loss);
        for value in losses.chain([self.train.final_loss, self.train.seconds]) {
            if !value.is_finite() {
                return refuse("train", "finite numbers", value.to_string());
            }
        }
        if let Some(bias) = &self.refusal_bias {
            bias.validate()?;
        }
        if let Some(rule) = &self.undecided {
            rule.validate()?;
        }
        if let Some(test) = &self.self_test {
            check_sha256("lotwise.json: self_test.logits_digest", &test.logits_digest)?;
            let found = test.questions.len();
            if !(1..=MAX_GOLDEN).contains(&found) {
                let expected = format!("1 to {MAX_GOLDEN}");
                return refuse("self_test.questions", &expected, found.to_string());
            }
        }
        if let Some(answers) = &self.approved_answers {
            let fits = |answer: &String| (1..=MAX_APPROVED_BYTES).contains(&answer.len());
            if !(1..=MAX_APPROVED).contains(&answers.len()) || !answers.iter().all(fits) {
                let expected =
                    format!("1 to {MAX_APPROVED} answers of 1 to {MAX_APPROVED_BYTES} bytes");
                return refuse("approved_answers", &expected, format!("{} answers", answers.len()));
            }
        }
        Ok(())
    }

    /// Checks that the adapter belongs to this base: the same file, the same template.
    ///
    /// # Errors
    /// [`Error::AdapterMismatch`].
    pub fn check(&self, base: &BaseIdentity, prompt: &PromptFormat) -> Result<()> {
        let same = |what, found: &str, expected: &str| {
            if found == expected {
                return Ok(());
            }
            Err(Error::AdapterMismatch { what, expected: expected.into(), found: found.into() })
        };
        same("the SHA-256 of the base", &self.base.sha256, &base.sha256)?;
        same("the SHA-256 of the template", &self.template_sha256, &prompt.template_sha256())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record() -> AdapterRecord {
        AdapterRecord {
            format_version: FORMAT_VERSION,
            created: "2025-04-14T08:30:00Z".into(),
            data_sha256: "d".repeat(64),
            base: RecordBase {
                name: "lotwise-base".into(),
                version: "1".into(),
                sha256: "b".repeat(64),
            },
            template_sha256: "e".repeat(64),
            system_prompt: crate::SYSTEM_PROMPT.into(),
            recipe: json!({"r": 32, "learning_rate": 2.5e-3}),
            seed: u64::MAX,
            train: TrainStats {
                examples: 186,
                steps: 1200,
                tokens: 920_000,
                seconds: 150.5,
                final_loss: 0.01,
                loss_curve: vec![LossPoint { step: 1, loss: 3.5 }],
            },
            metrics: None,
            refusal_bias: None,
            undecided: None,
            self_test: None,
            approved_answers: Some(["It is 98.2 %.".to_owned()].into()),
            intended_use: INTENDED_USE.into(),
        }
    }

    #[test]
    fn json_round_trips_and_is_stable() {
        let json = record().to_json().unwrap();
        let back = AdapterRecord::parse(&json).unwrap();
        assert_eq!(back, record());
        assert_eq!(back.to_json().unwrap(), json);
        let mut measured = record();
        measured.metrics = Some(Map::from_iter([("exact_match".to_owned(), json!(0.95))]));
        measured.undecided = Some(UndecidedRule {
            score: crate::ConfidenceScore::MinProbability,
            evidence_odds: 4.0,
            below: 0.8,
            questions: 200,
            questions_sha256: "f".repeat(64),
            coverage: 0.96,
            wrong: 0.002,
            wrong_at_most: 0.003,
        });
        measured.self_test = Some(SelfTest {
            logits_digest: "1".repeat(64),
            questions: vec![GoldenQuestion { question: "Q?".into(), answer: "A.".into() }],
        });
        assert_eq!(AdapterRecord::parse(&measured.to_json().unwrap()).unwrap(), measured);
    }

    #[test]
    fn a_record_from_before_thresholds_and_self_tests_still_reads() {
        let json = String::from_utf8(record().to_json().unwrap()).unwrap();
        assert!(!json.contains("undecided") && !json.contains("self_test"), "{json}");
        assert_eq!(AdapterRecord::parse(json.as_bytes()).unwrap(), record());
    }

    #[test]
    fn intended_use_is_one_line() {
        assert_eq!(
            INTENDED_USE,
            "Decision support: verify every answer against the batch record. Not for critical GMP decisions."
        );
    }

    #[test]
    fn rejects_another_base_or_template() {
        let tokenizer = crate::tokenizer::tests::tiny();
        let prompt = PromptFormat::new(crate::CHAT_TEMPLATE, "s", tokenizer.clone()).unwrap();
        let base = BaseIdentity {
            name: "renamed".into(),
            version: "2".into(),
            license: String::new(),
            sha256: "b".repeat(64),
        };
        let mut record = record();
        assert!(record.check(&base, &prompt).is_err());
        record.template_sha256 = prompt.template_sha256();
        record.check(&base, &prompt).unwrap();
        let other = BaseIdentity { sha256: "c".repeat(64), ..base };
        let error = record.check(&other, &prompt).unwrap_err();
        assert!(matches!(&error, Error::AdapterMismatch { what, .. } if what.contains("base")));
    }

    #[test]
    fn rejects_records_that_prove_nothing() {
        let spoil = |change: fn(&mut AdapterRecord), field: &str| {
            let mut record = record();
            change(&mut record);
            let error = record.to_json().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        };
        spoil(|record| record.format_version = 2, "format_version");
        spoil(|record| record.created = "yesterday".into(), "created");
        spoil(|record| record.data_sha256.clear(), "data_sha256");
        spoil(|record| record.base.sha256 = "x".repeat(64), "base.sha256");
        spoil(|record| record.template_sha256.push('0'), "template_sha256");
        spoil(|record| record.train.final_loss = f64::NAN, "train");
        spoil(
            |record| {
                let questions = Vec::new();
                record.self_test = Some(SelfTest { logits_digest: "1".repeat(64), questions });
            },
            "self_test.questions",
        );
        spoil(|record| record.train.loss_curve[0].loss = f64::INFINITY, "train");
        assert!(AdapterRecord::parse(b"{}").is_err());
    }
}
