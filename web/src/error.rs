//! Everything that can go wrong on the site, as one closed list.
//!
//! Each entry carries the facts; [`SiteError::title`], [`SiteError::detail`] and
//! [`SiteError::next_step`] put them into words, and [`SiteError::recovery`] says what the button
//! beside them does.

use serde::{Deserialize, Serialize};

/// What the site refuses or fails at. Serialized, because the worker reports it to the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SiteError {
    /// The server answered, but does not have the file.
    FileMissing {
        /// Address asked for.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// No answer from the server, and no earlier copy in this browser.
    Unreachable {
        /// Address asked for.
        url: String,
        /// The browser's reason.
        reason: String,
    },
    /// A file arrived with other bytes than were published.
    Corrupted {
        /// Path of the file.
        file: String,
        /// What was published: hash or size.
        expected: String,
        /// What arrived.
        found: String,
    },
    /// One of the site's small JSON files cannot be read.
    BadIndex {
        /// Path of the file.
        file: String,
        /// Reason.
        reason: String,
    },
    /// Nothing is published yet, or the version asked for is not.
    NoAdapter {
        /// The version asked for; empty where none is current.
        version: String,
    },
    /// The base file cannot be used.
    BadBase {
        /// Reason.
        reason: String,
    },
    /// The adapter was trained on another base, or for another prompt.
    OtherBase {
        /// Adapter version or folder name.
        adapter: String,
        /// What the adapter needs.
        needs: String,
        /// What this site runs.
        have: String,
    },
    /// The adapter's files cannot be used.
    BadAdapter {
        /// Adapter version or folder name.
        adapter: String,
        /// Reason.
        reason: String,
    },
    /// The browser lacks WebAssembly SIMD. Found by `boot.js` before any WebAssembly runs, which
    /// shows the same words from `index.html`.
    NoSimd,
    /// An allocation failed.
    OutOfMemory {
        /// What was to be stored, with its size where known.
        what: String,
    },
    /// The engine worker could not be started, or died.
    EngineStopped {
        /// Panic message or script error.
        reason: String,
    },
    /// The page itself panicked.
    PageStopped {
        /// Panic message.
        reason: String,
    },
    /// The question does not fit into the model's context.
    QuestionTooLong {
        /// Tokens that prompt and question take.
        tokens: usize,
        /// Tokens that the context holds.
        limit: usize,
    },
    /// The question holds something that must not reach the model.
    QuestionRefused {
        /// What it holds.
        reason: String,
    },
    /// The benchmark page was asked for something that it cannot measure.
    BadParameter {
        /// Name of the query parameter.
        name: String,
        /// What it may be.
        expected: String,
        /// What it was.
        found: String,
    },
    /// The browser does not keep what it should.
    NotKept {
        /// What, such as `the audit log`.
        what: String,
        /// The browser's reason.
        reason: String,
    },
    /// The model produced something that is not an answer, such as a NaN.
    AnswerFailed {
        /// Reason.
        reason: String,
    },
}

/// What the button of an error panel does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Start the engine again: files already kept are not fetched again.
    RestartEngine,
    /// Load the whole page again.
    ReloadPage,
    /// Nothing to restart: the user changes the question or the adapter.
    Dismiss,
}

impl SiteError {
    /// What a script error of the worker means.
    ///
    /// A panic reports itself before it traps. So a trap that arrives alone is an allocation that
    /// failed: Rust aborts there without a panic.
    #[must_use]
    pub fn from_script_error(message: &str) -> Self {
        let out_of_memory = ["unreachable", "Out of memory", "out of memory", "could not allocate"];
        if out_of_memory.iter().any(|sign| message.contains(sign)) {
            Self::OutOfMemory { what: format!("the engine ({message})") }
        } else if message.is_empty() {
            Self::EngineStopped { reason: "The engine's script could not be loaded.".into() }
        } else {
            Self::EngineStopped { reason: message.to_owned() }
        }
    }

    /// Every kind once, for tests and for reviewing the wording.
    #[must_use]
    pub fn samples() -> Vec<Self> {
        let text = || String::from("sample");
        vec![
            Self::FileMissing { url: text(), status: 404 },
            Self::Unreachable { url: text(), reason: text() },
            Self::Corrupted { file: text(), expected: text(), found: text() },
            Self::BadIndex { file: text(), reason: text() },
            Self::NoAdapter { version: text() },
            Self::BadBase { reason: text() },
            Self::OtherBase { adapter: text(), needs: text(), have: text() },
            Self::BadAdapter { adapter: text(), reason: text() },
            Self::NoSimd,
            Self::OutOfMemory { what: text() },
            Self::EngineStopped { reason: text() },
            Self::PageStopped { reason: text() },
            Self::QuestionTooLong { tokens: 600, limit: 512 },
            Self::QuestionRefused { reason: text() },
            Self::BadParameter { name: text(), expected: text(), found: text() },
            Self::NotKept { what: text(), reason: text() },
            Self::AnswerFailed { reason: text() },
        ]
    }

    /// Stable identifier, as in the `data-error` attribute.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::FileMissing { .. } => "file-missing",
            Self::Unreachable { .. } => "unreachable",
            Self::Corrupted { .. } => "corrupted",
            Self::BadIndex { .. } => "bad-index",
            Self::NoAdapter { .. } => "no-adapter",
            Self::BadBase { .. } => "bad-base",
            Self::OtherBase { .. } => "other-base",
            Self::BadAdapter { .. } => "bad-adapter",
            Self::NoSimd => "no-simd",
            Self::OutOfMemory { .. } => "out-of-memory",
            Self::EngineStopped { .. } => "engine-stopped",
            Self::PageStopped { .. } => "page-stopped",
            Self::QuestionTooLong { .. } => "question-too-long",
            Self::QuestionRefused { .. } => "question-refused",
            Self::BadParameter { .. } => "bad-parameter",
            Self::NotKept { .. } => "not-kept",
            Self::AnswerFailed { .. } => "answer-failed",
        }
    }

    /// Headline, in the user's words.
    #[must_use]
    pub fn title(&self) -> &'static str {
        match self {
            Self::FileMissing { .. } => "A file of this site is missing",
            Self::Unreachable { .. } => "The server cannot be reached",
            Self::Corrupted { .. } => "A file arrived damaged",
            Self::BadIndex { .. } => "A list of this site cannot be read",
            Self::NoAdapter { .. } => "No adapter to answer with",
            Self::BadBase { .. } => "The base model cannot be used",
            Self::OtherBase { .. } => "This adapter belongs to another base model",
            Self::BadAdapter { .. } => "This adapter cannot be used",
            Self::NoSimd => "This browser is too old",
            Self::OutOfMemory { .. } => "Not enough memory",
            Self::EngineStopped { .. } => "The engine stopped",
            Self::PageStopped { .. } => "The page stopped",
            Self::QuestionTooLong { .. } => "The question is too long",
            Self::QuestionRefused { .. } => "The question cannot be asked",
            Self::BadParameter { .. } => "The address asks for something impossible",
            Self::NotKept { .. } => "This browser does not keep what it should",
            Self::AnswerFailed { .. } => "No answer could be computed",
        }
    }

    /// What happened, with the facts.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::FileMissing { url, status } => {
                format!("The server answered {status} for {url}.")
            }
            Self::Unreachable { url, reason } => {
                format!(
                    "No answer for {url}, and this browser holds no earlier copy of it ({reason})."
                )
            }
            Self::Corrupted { file, expected, found } => {
                format!("{file}: expected {expected}, found {found}.")
            }
            Self::BadIndex { file, reason } => format!("{file}: {reason}."),
            Self::NoAdapter { version } if version.is_empty() => {
                "adapters/index.json names no current version.".into()
            }
            Self::NoAdapter { version } => {
                format!("adapters/index.json does not list version {version}.")
            }
            Self::BadBase { reason } => format!("The base model was refused: {reason}."),
            Self::OtherBase { adapter, needs, have } => {
                format!("Adapter {adapter} needs {needs}; this site runs {have}.")
            }
            Self::BadAdapter { adapter, reason } => format!("Adapter {adapter}: {reason}."),
            Self::NoSimd => {
                "The model needs WebAssembly SIMD, which this browser does not have.".into()
            }
            Self::OutOfMemory { what } => format!("The browser could not give memory for {what}."),
            Self::EngineStopped { reason } | Self::PageStopped { reason } => reason.clone(),
            Self::QuestionTooLong { tokens, limit } => {
                format!("The question needs {tokens} tokens and the model can hold {limit}.")
            }
            Self::BadParameter { name, expected, found } => {
                format!("{name}: expected {expected}, found {found}.")
            }
            Self::NotKept { what, reason } => {
                format!("Of {what}, something was not kept: {reason}.")
            }
            Self::QuestionRefused { reason } | Self::AnswerFailed { reason } => {
                format!("{reason}.")
            }
        }
    }

    /// What the reader can do about it.
    #[must_use]
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::FileMissing { .. } => {
                "Ask whoever runs this site to copy the complete folder to the server, then retry."
            }
            Self::Unreachable { .. } => {
                "Check the network connection or the proxy, then retry. After one complete visit the site also works offline."
            }
            Self::Corrupted { .. } => {
                "Nothing was used or kept. Retry; if it happens again, have the file published anew."
            }
            Self::BadIndex { .. } => {
                "Publish again with `trainer publish`, copy the folder to the server, then retry."
            }
            Self::NoAdapter { .. } => {
                "Publish an adapter with `trainer publish`, or open an adapter folder from this computer."
            }
            Self::BadBase { .. } => {
                "Restore the base model file that belongs to this site, then retry."
            }
            Self::OtherBase { .. } => {
                "Choose another version, or retrain on the base model of this site."
            }
            Self::BadAdapter { .. } => {
                "Choose another version. For a local adapter, open adapter_config.json and adapter_model.safetensors of the same folder together."
            }
            Self::NoSimd => {
                "Use a current version of Chrome, Edge, Firefox or Safari (16.4 or later)."
            }
            Self::OutOfMemory { .. } => "Close other tabs and programs, then retry.",
            Self::EngineStopped { .. } => {
                "Retry: files that were already loaded are not fetched again. Report the message above if it comes back."
            }
            Self::PageStopped { .. } => {
                "Reload the page. Report the message above if it comes back."
            }
            Self::QuestionTooLong { .. } => "Ask a shorter question.",
            Self::QuestionRefused { .. } => "Write the question in plain words.",
            Self::BadParameter { .. } => "Correct the address and load the page again.",
            Self::NotKept { .. } => {
                "Leave private browsing, or free space on the disk, then reload. Note on paper what must be kept until then."
            }
            Self::AnswerFailed { .. } => {
                "Ask again with the exact preset, or choose another adapter version."
            }
        }
    }

    /// All of it as one text, for places without a panel.
    #[must_use]
    pub fn in_words(&self) -> String {
        format!("{self} {}", self.next_step())
    }

    /// What the button of the panel does.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        match self {
            Self::FileMissing { .. }
            | Self::Unreachable { .. }
            | Self::Corrupted { .. }
            | Self::BadIndex { .. }
            | Self::NoAdapter { .. }
            | Self::BadBase { .. }
            | Self::OtherBase { .. }
            | Self::BadAdapter { .. }
            | Self::OutOfMemory { .. }
            | Self::EngineStopped { .. } => Recovery::RestartEngine,
            Self::NoSimd | Self::PageStopped { .. } => Recovery::ReloadPage,
            Self::QuestionTooLong { .. }
            | Self::QuestionRefused { .. }
            | Self::BadParameter { .. }
            | Self::NotKept { .. }
            | Self::AnswerFailed { .. } => Recovery::Dismiss,
        }
    }
}

impl std::fmt::Display for SiteError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.title(), self.detail())
    }
}

impl std::error::Error for SiteError {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_words_and_a_next_step() {
        for error in SiteError::samples() {
            assert!(error.title().len() > 10, "{error:?}");
            assert!(!error.detail().is_empty(), "{error:?}");
            assert!(error.next_step().ends_with('.'), "{error:?}");
        }
    }

    #[test]
    fn codes_are_unique_and_equal_the_serialized_tag() {
        let samples = SiteError::samples();
        let codes: BTreeSet<_> = samples.iter().map(SiteError::code).collect();
        assert_eq!(codes.len(), samples.len());
        for error in samples {
            let json = serde_json::to_value(&error).unwrap();
            assert_eq!(json["kind"], error.code());
            assert_eq!(serde_json::from_value::<SiteError>(json).unwrap(), error);
        }
    }

    #[test]
    fn facts_reach_the_reader() {
        let missing = SiteError::FileMissing { url: "models/base.gguf".into(), status: 404 };
        assert!(missing.detail().contains("404") && missing.detail().contains("models/base.gguf"));
        let corrupted = SiteError::Corrupted {
            file: "adapters/v3/adapter_model.safetensors".into(),
            expected: "SHA-256 aa11".into(),
            found: "SHA-256 bb22".into(),
        };
        for fact in ["adapters/v3/adapter_model.safetensors", "aa11", "bb22"] {
            assert!(corrupted.detail().contains(fact), "{fact}");
        }
    }

    #[test]
    fn a_lone_trap_is_a_failed_allocation() {
        let code = |message| SiteError::from_script_error(message).code();
        assert_eq!(code("Uncaught RuntimeError: unreachable"), "out-of-memory");
        assert_eq!(code("RangeError: WebAssembly.instantiate(): Out of memory"), "out-of-memory");
        assert_eq!(code("Uncaught TypeError: Failed to fetch worker.js"), "engine-stopped");
        assert_eq!(code(""), "engine-stopped");
    }

    /// `boot.js` stops before WebAssembly, so these words cannot come from Rust at run time.
    #[test]
    fn the_page_without_webassembly_says_the_same() {
        let html = include_str!("../index.html");
        for words in [
            SiteError::NoSimd.title().to_owned(),
            SiteError::NoSimd.detail(),
            SiteError::NoSimd.next_step().to_owned(),
        ] {
            assert!(html.contains(&words), "index.html lacks: {words}");
        }
    }
}
