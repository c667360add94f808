//! What this browser keeps of its own: the audit log and the readers' corrections.

use shared::{AuditHead, FeedbackRecord};

use crate::error::SiteError;

/// Whether answers are logged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Log {
    /// Not yet known.
    #[default]
    Opening,
    /// Every answer is logged.
    On,
    /// The user turned it off.
    Off,
    /// The browser keeps nothing.
    Unavailable(SiteError),
}

impl Log {
    /// Stable identifier, as in the `data-log` attribute.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::On => "on",
            Self::Off => "off",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

/// A correction with the number that it is kept under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// Number in this browser's store.
    pub key: u32,
    /// What the reader said.
    pub record: FeedbackRecord,
}

/// Everything that is known of the store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Journal {
    /// Whether answers are logged.
    pub log: Log,
    /// End of the log: number of entries, hash of the last.
    pub head: AuditHead,
    /// Answers of this visit that should have been logged and were not.
    pub lost: u32,
    /// What the latest check of the whole log found: its end, or where it breaks.
    pub checked: Option<Result<AuditHead, String>>,
    /// Corrections, oldest first.
    pub corrections: Vec<Correction>,
    /// Name that the latest correction was written under.
    pub reviewer: String,
}

/// What happened to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalChange {
    /// It was read, at first or after it was emptied.
    Opened {
        /// Whether the log is on.
        on: bool,
        /// End of the log.
        head: AuditHead,
        /// Corrections, oldest first.
        corrections: Vec<Correction>,
        /// Name of the latest reviewer.
        reviewer: String,
    },
    /// It cannot be used.
    Unavailable(SiteError),
    /// An answer was logged.
    Logged(AuditHead),
    /// An answer was not logged, because the log is off.
    NotLogged,
    /// An answer should have been logged and was not.
    Lost(SiteError),
    /// The log was turned on or off.
    Switched {
        /// Whether it is on now.
        on: bool,
    },
    /// The whole log was checked.
    Checked(Result<AuditHead, String>),
    /// A correction was kept.
    Corrected(Correction),
    /// A correction was deleted.
    CorrectionDeleted {
        /// Its number.
        key: u32,
    },
    /// All corrections were deleted.
    CorrectionsCleared,
    /// Something that the user asked for failed.
    Failed(SiteError),
}

impl Journal {
    /// The journal after `change`. Returns what the user must be told at once.
    pub(super) fn apply(&mut self, change: JournalChange) -> Option<SiteError> {
        match change {
            JournalChange::Opened { on, head, corrections, reviewer } => {
                self.log = if on { Log::On } else { Log::Off };
                (self.head, self.corrections, self.reviewer) = (head, corrections, reviewer);
                self.checked = None;
            }
            JournalChange::Unavailable(error) => self.log = Log::Unavailable(error),
            JournalChange::Logged(head) => {
                self.log = Log::On;
                self.head = head;
                // What was found no longer speaks of the whole log.
                self.checked = None;
            }
            JournalChange::NotLogged => self.log = Log::Off,
            JournalChange::Lost(error) => {
                self.lost += 1;
                // One that is unavailable has been announced, and stays announced.
                let known = matches!(self.log, Log::Unavailable(_));
                return (!known).then_some(error);
            }
            JournalChange::Switched { on } => self.log = if on { Log::On } else { Log::Off },
            JournalChange::Checked(found) => {
                if let Ok(head) = &found {
                    self.head = head.clone();
                }
                self.checked = Some(found);
            }
            JournalChange::Corrected(correction) => {
                self.reviewer.clone_from(&correction.record.reviewer);
                self.corrections.push(correction);
            }
            JournalChange::CorrectionDeleted { key } => {
                self.corrections.retain(|correction| correction.key != key);
            }
            JournalChange::CorrectionsCleared => self.corrections.clear(),
            JournalChange::Failed(error) => return Some(error),
        }
        None
    }

    /// Whether a correction of this answer is kept.
    #[must_use]
    pub fn corrects(&self, question: &str, answer: &str) -> bool {
        self.corrections.iter().any(|kept| {
            kept.record.question == question && kept.record.answer_given.trim() == answer.trim()
        })
    }
}

#[cfg(test)]
mod tests {
    use shared::AuditAdapter;

    use super::*;

    fn head(sequence: u64) -> AuditHead {
        AuditHead { sequence, hash: "a".repeat(64) }
    }

    fn error() -> SiteError {
        SiteError::NotKept { what: "the audit log".into(), reason: "no room".into() }
    }

    fn correction(key: u32) -> Correction {
        let record = FeedbackRecord {
            format_version: FeedbackRecord::FORMAT_VERSION,
            time: "2025-04-14T08:30:00Z".into(),
            reviewer: "M. Lindqvist".into(),
            question: "Who?".into(),
            answer_given: "Dr. Weber.".into(),
            right_answer: None,
            adapter: AuditAdapter { version: "v1".into(), sha256: "b".repeat(64) },
        };
        Correction { key, record }
    }

    fn opened() -> Journal {
        let mut journal = Journal::default();
        let opened = JournalChange::Opened {
            on: true,
            head: head(3),
            corrections: vec![correction(1)],
            reviewer: "R".into(),
        };
        assert_eq!(journal.apply(opened), None);
        journal
    }

    #[test]
    fn what_is_logged_moves_the_end_and_voids_the_check() {
        let mut journal = opened();
        assert_eq!((journal.log.code(), journal.head.sequence), ("on", 3));
        journal.apply(JournalChange::Checked(Ok(head(3))));
        assert!(journal.checked.is_some());
        journal.apply(JournalChange::Logged(head(4)));
        assert_eq!((journal.head.sequence, &journal.checked), (4, &None));
        journal.apply(JournalChange::Checked(Err("line 4".into())));
        let opened = JournalChange::Opened {
            on: true,
            head: AuditHead::default(),
            corrections: Vec::new(),
            reviewer: String::new(),
        };
        journal.apply(opened);
        assert_eq!((journal.head.sequence, &journal.checked), (0, &None));
    }

    #[test]
    fn a_log_turned_off_in_another_tab_is_shown_as_off() {
        let mut journal = opened();
        journal.apply(JournalChange::NotLogged);
        assert_eq!(journal.log, Log::Off);
        journal.apply(JournalChange::Switched { on: true });
        assert_eq!(journal.log, Log::On);
    }

    #[test]
    fn a_lost_answer_is_said_at_once_or_stands_there_already() {
        let mut journal = opened();
        assert_eq!(journal.apply(JournalChange::Lost(error())), Some(error()));
        assert_eq!((journal.lost, journal.log.code()), (1, "on"));
        journal.apply(JournalChange::Unavailable(error()));
        assert_eq!(journal.apply(JournalChange::Lost(error())), None);
        assert_eq!((journal.lost, journal.log.code()), (2, "unavailable"));
    }

    #[test]
    fn corrections_are_kept_found_and_deleted() {
        let mut journal = opened();
        journal.apply(JournalChange::Corrected(correction(2)));
        assert_eq!((journal.corrections.len(), journal.reviewer.as_str()), (2, "M. Lindqvist"));
        assert!(journal.corrects("Who?", " Dr. Weber."));
        assert!(!journal.corrects("Who?", "Dr. Anders."));
        journal.apply(JournalChange::CorrectionDeleted { key: 1 });
        assert_eq!(journal.corrections, [correction(2)]);
        journal.apply(JournalChange::CorrectionsCleared);
        assert!(!journal.corrects("Who?", "Dr. Weber."));
    }

    #[test]
    fn a_broken_log_keeps_its_last_known_end() {
        let mut journal = opened();
        journal.apply(JournalChange::Checked(Err("line 2".into())));
        assert_eq!((journal.head.sequence, journal.checked), (3, Some(Err("line 2".into()))));
    }
}
