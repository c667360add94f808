//! The messages between page and engine worker.
//!
//! Each travels as one short JSON text. Model bytes never do: the worker fetches them itself, and
//! local adapter files cross as `File` handles beside the text (see `engine::scope` and
//! `app::link`). Order of a visit:
//!
//! ```text
//! page                       worker
//!                        <-  Started
//! UseCores, UseCurrent   ->
//!                        <-  Catalog, Progress*, Ready, Program    (or Failed)
//! UseVersion | UseLocal  ->
//!                        <-  Catalog, Progress*, Ready        (or Declined: the one before stays)
//! UseCores               ->
//!                        <-  as for UseVersion: what is loaded is loaded again
//! Ask                    ->
//!                        <-  (Reading*, Token*, AskedAgain)?, Reading*, Token*, Answered
//!                                                              (or Guarded, QuestionFailed)
//! Stop                   ->                                    (between two tokens: Answered says so)
//! SelfTest               ->
//!                        <-  SelfTested
//! Bench                  ->                                    (bench.html alone)
//!                        <-  Benching*, Benched               (or BenchFailed)
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::{AnswerVerdict, AuditEvent, Correction, Decoding, SamplerConfig, UndecidedRule};

use crate::{
    bench::BenchResult, cores::Cores, error::SiteError, progress::Progress,
    self_test::SelfTestReport,
};

/// Number of a question on the page; answers carry it back.
pub type QuestionId = u64;

/// From the page to the engine worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToEngine {
    /// Run on this many processor cores. What is loaded is loaded again.
    UseCores {
        /// What the reader wants.
        cores: Cores,
    },
    /// Load the base with the current adapter.
    UseCurrent,
    /// Load a published version.
    UseVersion {
        /// Version as in `adapters/index.json`.
        version: String,
    },
    /// Load the adapter whose files travel beside this message.
    UseLocal,
    /// Answer a question.
    Ask {
        /// Number to answer under.
        id: QuestionId,
        /// The question.
        question: String,
        /// How to choose tokens.
        sampler: SamplerConfig,
        /// What answers are possible.
        decoding: Decoding,
    },
    /// Check the files, the digest of the merged model, and the adapter's golden questions.
    SelfTest,
    /// Measure, for `bench.html`.
    Bench {
        /// The query's parameters.
        parameters: BTreeMap<String, String>,
    },
    /// End the answer after the current token. Ignored when that answer has ended already.
    Stop {
        /// The question to stop.
        id: QuestionId,
    },
}

/// From the engine worker to the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToPage {
    /// The worker runs and listens.
    Started,
    /// The published versions.
    Catalog(Catalog),
    /// Loading goes on.
    Progress(Progress),
    /// Questions can be asked.
    Ready(Box<Loaded>),
    /// The engine cannot be used until it is restarted.
    Failed(SiteError),
    /// What was asked for last (another adapter, the self-test) failed; the adapter from before
    /// still answers.
    Declined(SiteError),
    /// The model was not asked: no record has these identifiers.
    Guarded {
        /// The question.
        id: QuestionId,
        /// Identifiers of the question that no record has.
        unknown: Vec<String>,
        /// What they may have meant.
        suggestions: Vec<Suggestion>,
        /// For the audit log.
        event: Box<AuditEvent>,
    },
    /// A part of a long question has been read; its answer has not begun.
    Reading {
        /// The question.
        id: QuestionId,
        /// Tokens read.
        done: usize,
        /// Tokens of the question.
        total: usize,
    },
    /// One more piece of the answer.
    Token {
        /// The question.
        id: QuestionId,
        /// Text to append; may be empty inside a multi-byte character.
        text: String,
    },
    /// The question is asked once more, in the records' own words: what came of the answer is void.
    AskedAgain {
        /// The question.
        id: QuestionId,
    },
    /// SHA-256 of the worker's WebAssembly, hexadecimal.
    Program {
        /// It.
        sha256: String,
    },
    /// A measurement goes on.
    Benching {
        /// What comes next.
        step: String,
    },
    /// What was measured.
    Benched(BenchResult),
    /// Nothing could be measured.
    BenchFailed {
        /// Why, and what to do.
        words: String,
    },
    /// The self-test ended.
    SelfTested(Box<SelfTestReport>),
    /// The answer ended.
    Answered {
        /// The question.
        id: QuestionId,
        /// How it went.
        summary: Summary,
        /// For the audit log.
        event: Box<AuditEvent>,
    },
    /// The question could not be answered; the engine goes on.
    QuestionFailed {
        /// The question.
        id: QuestionId,
        /// Why.
        error: SiteError,
    },
}

/// A known batch that an unknown word may have meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggestion {
    /// The word of the question, in upper case.
    pub instead_of: String,
    /// The known batch.
    pub batch: String,
}

/// The published versions, newest first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Catalog {
    /// Versions with what the page shows about them.
    pub versions: Vec<VersionInfo>,
    /// The version that a visitor gets.
    pub current: Option<String>,
    /// The version before it.
    pub previous: Option<String>,
    /// The server did not answer: this list is the copy that this browser kept.
    pub offline: bool,
}

/// One published version.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct VersionInfo {
    /// Version.
    pub version: String,
    /// When it was published, as recorded.
    pub created: String,
    /// Results of its evaluation.
    pub metrics: Vec<MetricGroup>,
    /// Address of its validation report, where one was published with it.
    pub report: Option<String>,
}

/// Results of one evaluation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MetricGroup {
    /// What was asked, such as `Held out`; empty for results without a group.
    pub name: String,
    /// Number of questions, where it is recorded.
    pub questions: Option<u64>,
    /// What was measured, and the result.
    pub values: Vec<(String, String)>,
}

/// Base and adapter that answers come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    /// The base model.
    pub base: BaseInfo,
    /// The adapter merged into it.
    pub adapter: AdapterInfo,
    /// What loading cost.
    pub cost: LoadCost,
    /// Name of the kernels that compute, such as `simd128`.
    pub kernels: String,
    /// Number of ranks that compute, each on a processor core.
    pub ranks: usize,
}

/// Identity of the base model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BaseInfo {
    /// `general.name`.
    pub name: String,
    /// `general.version`.
    pub version: String,
    /// `general.license`.
    pub license: String,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// File size in bytes.
    pub size: u64,
}

/// Where an adapter comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Listed in `adapters/index.json`, verified against its hashes.
    #[default]
    Published,
    /// Opened from this computer.
    Local,
}

/// Identity of the adapter in use.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AdapterInfo {
    /// Version, or for a local one the version in its record.
    pub version: String,
    /// Published or local.
    pub origin: Origin,
    /// SHA-256 of `adapter_model.safetensors`, hexadecimal.
    pub sha256: String,
    /// When it was trained; empty where no record says so.
    pub created: String,
    /// Whether questions are checked for unknown identifiers before the model is asked.
    pub guarded: bool,
    /// When an answer counts as undecided, where validation chose a threshold.
    pub undecided: Option<UndecidedRule>,
    /// Whether it brings its answers, so that no other may be given.
    pub approved_answers: bool,
}

/// What loading cost, for the "About" panel and for tests.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LoadCost {
    /// Bytes that came over the network since the worker started.
    pub downloaded_bytes: u64,
    /// Milliseconds from the command to ready.
    pub total_ms: f64,
    /// Of these, milliseconds to merge the adapter and read the shared prompt.
    pub merge_ms: f64,
    /// Size of the WebAssembly memories of all ranks in bytes.
    pub memory_bytes: u64,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The model ended it.
    Complete,
    /// The user stopped it.
    Stopped,
    /// `max_new_tokens` were reached.
    TokenLimit,
    /// The context is full.
    ContextFull,
}

/// How an answer went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Tokens of the answer.
    pub tokens: u32,
    /// Seconds from the arrival of the question in the worker to the end of the answer.
    pub seconds: f64,
    /// Of these, seconds to the first token.
    pub first_token_seconds: f64,
    /// What the answer is worth.
    pub verdict: AnswerVerdict,
    /// How sure the model was, 0 to 1: the score of the adapter's threshold where it has one, else
    /// the smallest probability among the answer's tokens; `None` where nothing was generated.
    pub confidence: Option<f32>,
    /// Values of the answer that no record of the batch in question states.
    pub unverified: Vec<String>,
    /// Slips of the finger in the question, as they were read.
    pub corrections: Vec<Correction>,
    /// The question in the records' own words, where it was read once more because the model had
    /// refused what is on record, or answered with what is not.
    pub read_as: Option<String>,
    /// Where the model refused, or its answer is withheld: the questions that the records do answer
    /// about the batch.
    pub on_record: Vec<String>,
    /// The one of them that is most likely meant.
    pub likeliest: Option<String>,
    /// Why it ended.
    pub ending: Ending,
    /// Size of the WebAssembly memories of all ranks in bytes.
    pub memory_bytes: u64,
}

impl Summary {
    /// Tokens per second over the whole answer, reading the question included.
    #[must_use]
    pub fn tokens_per_second(&self) -> f64 {
        if self.seconds > 0.0 { f64::from(self.tokens) / self.seconds } else { 0.0 }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use shared::{AuditAdapter, AuditEngine, StopReason};

    use super::*;
    use crate::self_test::Check;

    pub(crate) fn event() -> Box<AuditEvent> {
        Box::new(AuditEvent {
            time: "2025-04-14T08:30:00Z".into(),
            question: "Who approved VOY756?".into(),
            read_as: None,
            withdrawn: None,
            answer: "Dr. Weber.".into(),
            tokens: vec![3, 1, 4],
            verdict: AnswerVerdict::Matched,
            confidence: Some(0.875),
            stop: Some(StopReason::EndToken),
            adapter: AuditAdapter { version: "v1".into(), sha256: "a".repeat(64) },
            base_sha256: "b".repeat(64),
            engine: AuditEngine { version: "0.1.0".into(), sha256: "c".repeat(64), ranks: None },
            sampler: SamplerConfig::exact(),
            decoding: Decoding::Free,
        })
    }

    #[test]
    fn messages_survive_the_wire() {
        let ask = ToEngine::Ask {
            id: 7,
            question: "Who approved \"VOY756\"?\n".into(),
            sampler: SamplerConfig::production(),
            decoding: Decoding::Approved,
        };
        for message in [
            ToEngine::UseCores { cores: Cores::Automatic },
            ToEngine::UseCores { cores: Cores::Exactly(2) },
            ToEngine::UseCurrent,
            ToEngine::UseVersion { version: "2025-06".into() },
            ToEngine::UseLocal,
            ToEngine::SelfTest,
            ask,
            ToEngine::Stop { id: 7 },
        ] {
            let wire = serde_json::to_string(&message).unwrap();
            assert_eq!(serde_json::from_str::<ToEngine>(&wire).unwrap(), message, "{wire}");
        }
        let summary = Summary {
            tokens: 12,
            seconds: 0.25,
            first_token_seconds: 0.05,
            verdict: AnswerVerdict::Unverified,
            confidence: Some(0.875),
            unverified: vec!["2025-04-01".into()],
            corrections: vec![Correction { written: "yeild".into(), read: "yield".into() }],
            read_as: Some("What is the yield of VOY756?".into()),
            on_record: vec!["Who approved VOY756?".into()],
            likeliest: Some("Who approved VOY756?".into()),
            ending: Ending::Complete,
            memory_bytes: 1 << 24,
        };
        for message in [
            ToPage::Started,
            ToPage::Catalog(Catalog::default()),
            ToPage::Progress(Progress::new([("base".into(), 10)])),
            ToPage::Ready(Box::new(Loaded {
                base: BaseInfo::default(),
                adapter: AdapterInfo::default(),
                cost: LoadCost::default(),
                kernels: "simd128".into(),
                ranks: 2,
            })),
            ToPage::Failed(SiteError::NoSimd),
            ToPage::Program { sha256: "ab".repeat(32) },
            ToPage::SelfTested(Box::new(crate::self_test::tests::report(
                Vec::new(),
                Check::new("digest", None, "ab".into()),
                Vec::new(),
            ))),
            ToPage::Guarded {
                id: 1,
                unknown: vec!["VOY757".into()],
                suggestions: vec![Suggestion {
                    instead_of: "VOY757".into(),
                    batch: "VOY756".into(),
                }],
                event: event(),
            },
            ToPage::Reading { id: 1, done: 64, total: 70 },
            ToPage::Token { id: 1, text: "é".into() },
            ToPage::AskedAgain { id: 1 },
            ToPage::Answered { id: 1, summary, event: event() },
            ToPage::QuestionFailed {
                id: 1,
                error: SiteError::QuestionTooLong { tokens: 9, limit: 8 },
            },
        ] {
            let wire = serde_json::to_string(&message).unwrap();
            assert_eq!(serde_json::from_str::<ToPage>(&wire).unwrap(), message, "{wire}");
        }
    }

    #[test]
    fn speed_is_tokens_over_seconds() {
        let mut summary = Summary {
            tokens: 30,
            seconds: 0.5,
            first_token_seconds: 0.1,
            verdict: AnswerVerdict::Unchecked,
            confidence: None,
            unverified: Vec::new(),
            corrections: Vec::new(),
            read_as: None,
            on_record: Vec::new(),
            likeliest: None,
            ending: Ending::Stopped,
            memory_bytes: 0,
        };
        assert_eq!(summary.tokens_per_second(), 60.0);
        summary.seconds = 0.0;
        assert_eq!(summary.tokens_per_second(), 0.0);
    }
}
