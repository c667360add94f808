//! Questions and what became of them.

use crate::{
    error::SiteError,
    protocol::{Origin, QuestionId, Suggestion, Summary},
};

/// An answer while it streams.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Text so far.
    pub text: String,
    /// While a long question is being read: how many of its tokens have been, and how many it has.
    pub reading: Option<(usize, usize)>,
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
        /// What they may have meant.
        suggestions: Vec<Suggestion>,
    },
    /// No (complete) answer.
    Failed {
        /// What had been answered until then.
        text: String,
        /// Why it ended.
        error: SiteError,
    },
}

impl Outcome {
    /// The answer as it was given, though something else may stand in its place; `None` until it has
    /// ended, and where there is none.
    #[must_use]
    pub fn given(&self) -> Option<&str> {
        match self {
            Self::Answered { text, .. } => Some(text),
            Self::NotAsked { .. } => Some(shared::REFUSAL),
            Self::Streaming(_) | Self::Failed { .. } => None,
        }
    }

    /// What stands in place of an answer that states what is not on record.
    #[must_use]
    pub fn instead(&self) -> Option<&'static str> {
        match self {
            Self::Answered { summary, .. } => summary.verdict.instead(),
            _ => None,
        }
    }
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
    /// SHA-256 of that adapter's weights, hexadecimal.
    pub adapter_sha256: String,
    /// What became of it.
    pub outcome: Outcome,
}

impl Exchange {
    /// The question with `suggestion` in place of the unknown word; `None` where the question
    /// spells that word in another way.
    #[must_use]
    pub fn reworded(&self, suggestion: &Suggestion) -> Option<String> {
        // Upper case of ASCII letters alone keeps every position.
        let at = self.question.to_ascii_uppercase().find(&suggestion.instead_of)?;
        let mut question = self.question.clone();
        question.replace_range(at..at + suggestion.instead_of.len(), &suggestion.batch);
        Some(question)
    }
}
