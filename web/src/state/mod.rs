//! What the page shows, as one value that changes only through [`State::apply`].
//!
//! Pure: no clock, no browser. Times come in with the actions, in milliseconds since the page was
//! opened, so that every path is tested natively.

mod action;
mod chat;
mod journal;
mod metrics;
mod sampler_field;
mod settings;

pub use action::{Action, SettingsChange};
pub use chat::{Answer, Exchange, Outcome};
pub use journal::{Correction, Journal, JournalChange, Log};
pub use metrics::Metrics;
pub use sampler_field::SamplerField;
pub use settings::{Preset, Settings};

use crate::{
    error::SiteError,
    progress::Progress,
    protocol::{Catalog, Ending, Loaded, QuestionId, Summary, ToPage},
    self_test::SelfTestReport,
};

/// Longest question that is sent, in characters; the context limit of the model is checked by the
/// engine, this bounds what is tokenized.
pub const MAX_QUESTION_CHARS: usize = 2000;

/// Whether questions can be asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// Base or adapter is being loaded.
    Loading(Progress),
    /// Questions can be asked.
    Ready,
    /// The engine has to be restarted.
    Failed(SiteError),
}

/// How another adapter can be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switching {
    /// By the engine that runs.
    InPlace,
    /// By a new engine.
    Restart,
    /// Not before the answer or the load has ended.
    NotNow,
}

/// Where the self-test stands.
#[derive(Debug, Clone, PartialEq)]
pub enum SelfTesting {
    /// Not asked for yet.
    NotRun,
    /// Under way.
    Running,
    /// Ended.
    Ended(Box<SelfTestReport>),
}

/// Everything the page shows.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Whether questions can be asked.
    pub phase: Phase,
    /// The published versions, once known.
    pub catalog: Catalog,
    /// What answers come from, once loaded.
    pub loaded: Option<Loaded>,
    /// Questions and answers, oldest first.
    pub chat: Vec<Exchange>,
    /// The question being answered.
    pub answering: Option<QuestionId>,
    /// A failure that left the engine usable, until dismissed.
    pub notice: Option<SiteError>,
    /// Where the self-test of what is loaded stands.
    pub self_test: SelfTesting,
    /// SHA-256 of the worker's WebAssembly, once known.
    pub program: Option<String>,
    /// Audit log and corrections.
    pub journal: Journal,
    /// Answer settings.
    pub settings: Settings,
    /// What tests and the "About" panel read.
    pub metrics: Metrics,
    next_id: QuestionId,
}

impl Default for State {
    fn default() -> Self {
        Self {
            phase: Phase::Loading(Progress::default()),
            catalog: Catalog::default(),
            loaded: None,
            chat: Vec::new(),
            answering: None,
            notice: None,
            self_test: SelfTesting::NotRun,
            program: None,
            journal: Journal::default(),
            settings: Settings::default(),
            metrics: Metrics::default(),
            next_id: 1,
        }
    }
}

impl State {
    /// The value of `data-state` on the document's root element.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match (&self.phase, self.answering) {
            (Phase::Loading(_), _) => "loading",
            (Phase::Failed(_), _) => "error",
            (Phase::Ready, Some(_)) => "answering",
            (Phase::Ready, None) => "ready",
        }
    }

    /// Whether a question can be sent now.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        self.phase == Phase::Ready
            && self.answering.is_none()
            && self.self_test != SelfTesting::Running
    }

    /// How another adapter can be loaded now.
    #[must_use]
    pub fn switching(&self) -> Switching {
        match (&self.phase, self.answering) {
            (Phase::Ready, None) => Switching::InPlace,
            (Phase::Failed(_), _) => Switching::Restart,
            (Phase::Ready, Some(_)) | (Phase::Loading(_), _) => Switching::NotNow,
        }
    }

    /// The number that the next question gets.
    #[must_use]
    pub fn next_id(&self) -> QuestionId {
        self.next_id
    }

    /// The question as it would be sent: trimmed, and only where it is neither empty nor beyond
    /// [`MAX_QUESTION_CHARS`].
    #[must_use]
    pub fn accept_question(text: &str) -> Option<String> {
        let text = text.trim();
        let length = text.chars().count();
        (1..=MAX_QUESTION_CHARS).contains(&length).then(|| text.to_owned())
    }

    /// The state after `action`.
    #[must_use]
    pub fn apply(mut self, action: Action) -> Self {
        match action {
            Action::Restarted => {
                self.end_open_answer(SiteError::EngineStopped {
                    reason: "the engine was restarted".into(),
                });
                self.phase = Phase::Loading(Progress::default());
                self.self_test = SelfTesting::NotRun;
                self.notice = None;
            }
            Action::SwitchRequested => {
                if self.switching() == Switching::InPlace {
                    self.phase = Phase::Loading(Progress::default());
                    self.notice = None;
                }
            }
            Action::Asked { id, question, at_ms } => self.asked(id, question, at_ms),
            Action::ChatCleared => {
                self.chat.clear();
                self.answering = None;
                self.notice = None;
            }
            Action::NoticeDismissed => self.notice = None,
            Action::SelfTestRequested => self.self_test = SelfTesting::Running,
            Action::Journal(change) => {
                if let Some(error) = self.journal.apply(change) {
                    self.notice = Some(error);
                }
            }
            Action::Settings(change) => self.settings.apply(change),
            Action::EngineLost(error) => self.fail(error),
            Action::Received { message, at_ms } => self.received(message, at_ms),
        }
        self
    }

    fn asked(&mut self, id: QuestionId, question: String, at_ms: f64) {
        if !self.can_ask() || id != self.next_id {
            return;
        }
        let Some(loaded) = &self.loaded else { return };
        self.next_id += 1;
        self.answering = Some(id);
        self.notice = None;
        self.chat.push(Exchange {
            id,
            question,
            adapter: loaded.adapter.version.clone(),
            origin: loaded.adapter.origin,
            adapter_sha256: loaded.adapter.sha256.clone(),
            outcome: Outcome::Streaming(Answer::default()),
        });
        self.metrics.asked(at_ms);
    }

    fn received(&mut self, message: ToPage, at_ms: f64) {
        match message {
            // Those of the benchmark go to a page of their own.
            ToPage::Started
            | ToPage::Benching { .. }
            | ToPage::Benched(_)
            | ToPage::BenchFailed { .. } => {}
            ToPage::Catalog(catalog) => self.catalog = catalog,
            ToPage::Progress(progress) => {
                if let Phase::Loading(shown) = &mut self.phase {
                    *shown = progress;
                }
            }
            ToPage::Ready(loaded) => {
                self.metrics.ready(&loaded.cost, at_ms);
                self.loaded = Some(*loaded);
                self.self_test = SelfTesting::NotRun;
                self.phase = Phase::Ready;
            }
            ToPage::Failed(error) => self.fail(error),
            ToPage::Declined(error) => {
                if self.self_test == SelfTesting::Running {
                    self.self_test = SelfTesting::NotRun;
                }
                self.notice = Some(error);
                self.phase = Phase::Ready;
            }
            ToPage::Program { sha256 } => self.program = Some(sha256),
            ToPage::SelfTested(report) => self.self_test = SelfTesting::Ended(report),
            ToPage::Guarded { id, unknown, suggestions, .. } => {
                self.finish(id, |_| Outcome::NotAsked { unknown, suggestions });
            }
            ToPage::Reading { id, done, total } => {
                if let Some(Outcome::Streaming(answer)) = self.outcome(id) {
                    answer.reading = Some((done, total));
                }
            }
            ToPage::Token { id, text } => {
                if self.answering == Some(id)
                    && let Some(Outcome::Streaming(answer)) = self.outcome(id)
                {
                    answer.text.push_str(&text);
                    answer.reading = None;
                    self.metrics.token(at_ms);
                }
            }
            ToPage::AskedAgain { id } => {
                if let Some(Outcome::Streaming(answer)) = self.outcome(id) {
                    *answer = Answer::default();
                }
            }
            ToPage::Answered { id, summary, .. } => {
                if self.answering == Some(id) {
                    self.metrics.answered(&summary);
                }
                self.finish(id, |answer| Outcome::Answered { text: answer.text, summary });
            }
            ToPage::QuestionFailed { id, error } => {
                self.finish(id, |answer| Outcome::Failed { text: answer.text, error });
            }
        }
    }

    fn outcome(&mut self, id: QuestionId) -> Option<&mut Outcome> {
        self.chat.iter_mut().rev().find(|exchange| exchange.id == id).map(|e| &mut e.outcome)
    }

    /// Ends the answer under `id`. One that the user cleared away meanwhile is not there any more.
    fn finish(&mut self, id: QuestionId, outcome: impl FnOnce(Answer) -> Outcome) {
        if self.answering == Some(id) {
            self.answering = None;
        }
        if let Some(slot) = self.outcome(id)
            && let Outcome::Streaming(answer) = slot
        {
            let answer = std::mem::take(answer);
            *slot = outcome(answer);
        }
    }

    fn end_open_answer(&mut self, error: SiteError) {
        if let Some(id) = self.answering {
            self.finish(id, |answer| Outcome::Failed { text: answer.text, error });
        }
    }

    fn fail(&mut self, error: SiteError) {
        // The first cause stays: a worker that panics raises a script error right after.
        if matches!(self.phase, Phase::Failed(_)) {
            return;
        }
        self.end_open_answer(error.clone());
        self.phase = Phase::Failed(error);
    }
}

/// Words for how an answer ended, where that is worth saying.
#[must_use]
pub fn ending_words(summary: &Summary) -> Option<&'static str> {
    match summary.ending {
        Ending::Complete => None,
        Ending::Stopped => Some("stopped by you"),
        Ending::TokenLimit => Some("cut off at the token limit"),
        Ending::ContextFull => Some("cut off: the model's context is full"),
    }
}

#[cfg(test)]
mod tests;
