//! What can change the page's state.

use shared::{Decoding, SamplerConfig};

use super::{JournalChange, Preset};
use crate::{
    cores::Cores,
    error::SiteError,
    protocol::{QuestionId, ToPage},
};

/// A change of the answer settings.
#[derive(Debug, Clone, PartialEq)]
pub enum SettingsChange {
    /// One of the presets.
    Preset(Preset),
    /// Own values.
    Sampler(SamplerConfig),
    /// What answers are possible.
    Decoding(Decoding),
    /// On how many processor cores they are computed.
    Cores(Cores),
}

/// Everything that changes the page's state.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A new engine worker was started.
    Restarted,
    /// Another adapter was asked for.
    SwitchRequested,
    /// A question was sent.
    Asked {
        /// Its number: [`super::State::next_id`] when it was sent.
        id: QuestionId,
        /// The question.
        question: String,
        /// Now.
        at_ms: f64,
    },
    /// "New chat".
    ChatCleared,
    /// The self-test was asked for.
    SelfTestRequested,
    /// The notice was read.
    NoticeDismissed,
    /// The answer settings were changed.
    Settings(SettingsChange),
    /// Something happened to the journal.
    Journal(JournalChange),
    /// The worker died without saying so.
    EngineLost(SiteError),
    /// The worker sent a message.
    Received {
        /// The message.
        message: ToPage,
        /// Now.
        at_ms: f64,
    },
}
