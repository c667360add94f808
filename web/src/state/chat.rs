//! Questions and what became of them.

use crate::{
    error::SiteError,
    protocol::{Origin, QuestionId, Summary},
};

/// An answer while it streams.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Text so far.
    pub text: String,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Still being answered.
    Streaming(Answer),
    /// Answered, or stopped on the way.
    Answered {
        /// The answer.
        text: String,
        /// How it went.
        summary: Summary,
    },
    /// The guard answered: the model was not asked.
    NotAsked {
        /// Identifiers of the question that no record has.
        unknown: Vec<String>,
    },
    /// No (complete) answer.
    Failed {
        /// What had been answered until then.
        text: String,
        /// Why it ended.
        error: SiteError,
    },
}

/// A question, what became of it, and which adapter was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// Its number.
    pub id: QuestionId,
    /// The question.
    pub question: String,
    /// Version of the adapter that was asked.
    pub adapter: String,
    /// Where that adapter came from.
    pub origin: Origin,
    /// That adapter's threshold for an undecided answer.
    pub undecided_below: Option<f32>,
    /// What became of it.
    pub outcome: Outcome,
}
