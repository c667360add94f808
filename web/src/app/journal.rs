//! The journal of this browser: audit log and corrections, kept in IndexedDB.

use std::rc::Rc;

use shared::{AuditEvent, AuditHead, AuditRecord, FeedbackRecord, verify_audit};
use wasm_bindgen_futures::spawn_local;

use super::{
    database::{CORRECTIONS, LOG, SETTINGS, StoreError, Transaction},
    window,
};
use crate::{
    csv,
    error::SiteError,
    protocol::ToPage,
    state::{Action, Correction, JournalChange},
};

/// Name of the setting that turns the log off, and its value then.
const SWITCH: &str = "audit-log";
const OFF: &str = "off";
/// Name of the setting that remembers the reviewer.
const REVIEWER: &str = "reviewer";

const THE_LOG: &str = "the audit log";
const THE_CORRECTIONS: &str = "the corrections";

/// What the user can have done to the journal.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Turn the log on or off.
    Switch(bool),
    /// Check the whole log.
    Check,
    /// Download the log, with its hashes.
    ExportLog,
    /// Download the log as a table.
    ExportTable,
    /// Empty the log.
    ClearLog,
    /// Keep a correction.
    Correct(FeedbackRecord),
    /// Delete a correction.
    DeleteCorrection(u32),
    /// Download the corrections.
    ExportCorrections,
    /// Delete all corrections.
    ClearCorrections,
}

/// The journal. What happens to it goes to the page's state.
pub struct Journal {
    dispatch: Rc<dyn Fn(Action)>,
}

impl Journal {
    /// A journal whose changes go to `dispatch`.
    pub fn new(dispatch: impl Fn(Action) + 'static) -> Self {
        Self { dispatch: Rc::new(dispatch) }
    }

    /// Reads what was kept on earlier visits.
    pub fn open(self: &Rc<Self>) {
        let journal = self.clone();
        spawn_local(async move {
            let opened = open().await;
            journal.tell(
                opened.unwrap_or_else(|error| JournalChange::Unavailable(not_kept(THE_LOG, error))),
            );
        });
    }

    /// Passes on what the engine sent. An answer is passed on when it is in the log, so that none
    /// that stands on the page can be missing there without a word.
    pub fn receive(self: &Rc<Self>, action: Action) {
        let Action::Received { message, .. } = &action else { return (self.dispatch)(action) };
        let (ToPage::Answered { event, .. } | ToPage::Guarded { event, .. }) = message else {
            return (self.dispatch)(action);
        };
        let (journal, event) = (self.clone(), AuditEvent::clone(event));
        spawn_local(async move {
            let change = append(event).await;
            journal
                .tell(change.unwrap_or_else(|error| JournalChange::Lost(not_kept(THE_LOG, error))));
            (journal.dispatch)(action);
        });
    }

    /// Does what the user wants.
    pub fn command(self: &Rc<Self>, command: Command) {
        let journal = self.clone();
        spawn_local(async move {
            let what = match command {
                Command::Switch(_)
                | Command::Check
                | Command::ExportLog
                | Command::ExportTable
                | Command::ClearLog => THE_LOG,
                _ => THE_CORRECTIONS,
            };
            match obey(command).await {
                Ok(Some(change)) => journal.tell(change),
                Ok(None) => {}
                Err(error) => journal.tell(JournalChange::Failed(not_kept(what, error))),
            }
        });
    }

    fn tell(&self, change: JournalChange) {
        (self.dispatch)(Action::Journal(change));
    }
}

async fn obey(command: Command) -> Result<Option<JournalChange>, StoreError> {
    Ok(match command {
        Command::Switch(on) => {
            let transaction = Transaction::begin(true).await?;
            transaction.put(SETTINGS, SWITCH, if on { "on" } else { OFF }).await?;
            transaction.commit().await?;
            Some(JournalChange::Switched { on })
        }
        Command::Check => Some(JournalChange::Checked(check(&log().await?))),
        Command::ExportLog => {
            let lines = log().await?;
            window::download(&name("audit", "jsonl"), "application/jsonl", &text(&lines))?;
            Some(JournalChange::Checked(check(&lines)))
        }
        Command::ExportTable => {
            let lines = log().await?;
            let checked = check(&lines);
            if checked.is_ok() {
                let table = csv::table(&lines).map_err(|error| StoreError(error.to_string()))?;
                window::download(&name("audit", "csv"), "text/csv", &table)?;
            }
            Some(JournalChange::Checked(checked))
        }
        Command::ClearLog => {
            clear(LOG).await?;
            Some(open().await?)
        }
        Command::Correct(record) => Some(JournalChange::Corrected(correct(record).await?)),
        Command::DeleteCorrection(key) => {
            let transaction = Transaction::begin(true).await?;
            transaction.delete(CORRECTIONS, key).await?;
            transaction.commit().await?;
            Some(JournalChange::CorrectionDeleted { key })
        }
        Command::ExportCorrections => {
            let kept = Transaction::begin(false).await?.all(CORRECTIONS).await?;
            let lines: Vec<String> = kept.into_iter().map(|(_, line)| line).collect();
            window::download(&name("corrections", "jsonl"), "application/jsonl", &text(&lines))?;
            None
        }
        Command::ClearCorrections => {
            clear(CORRECTIONS).await?;
            Some(JournalChange::CorrectionsCleared)
        }
    })
}

async fn open() -> Result<JournalChange, StoreError> {
    // For writing, although nothing is written: some private windows only allow reading.
    let transaction = Transaction::begin(true).await?;
    let on = transaction.get(SETTINGS, SWITCH).await?.as_deref() != Some(OFF);
    let reviewer = transaction.get(SETTINGS, REVIEWER).await?.unwrap_or_default();
    let head = head(&transaction).await?;
    let corrections = transaction
        .all(CORRECTIONS)
        .await?
        .into_iter()
        .map(|(key, line)| {
            let record = FeedbackRecord::parse(line.as_bytes());
            record.map(|record| Correction { key, record })
        })
        .collect::<shared::Result<_>>()
        .map_err(|error| StoreError(error.to_string()))?;
    transaction.commit().await?;
    Ok(JournalChange::Opened { on, head, corrections, reviewer })
}

/// Binds `event` to the end of the log. One transaction: whatever another tab appends comes before
/// or after it.
async fn append(event: AuditEvent) -> Result<JournalChange, StoreError> {
    let transaction = Transaction::begin(true).await?;
    if transaction.get(SETTINGS, SWITCH).await?.as_deref() == Some(OFF) {
        return Ok(JournalChange::NotLogged);
    }
    let refused = |error: shared::Error| StoreError(error.to_string());
    let head = head(&transaction).await?;
    let record = AuditRecord::after(&head, event).map_err(refused)?;
    let key = u32::try_from(record.sequence).map_err(|_| StoreError("the log is full".into()))?;
    transaction.add(LOG, key, &record.to_line().map_err(refused)?).await?;
    transaction.commit().await?;
    Ok(JournalChange::Logged(record.head()))
}

async fn head(transaction: &Transaction) -> Result<AuditHead, StoreError> {
    let Some(line) = transaction.last(LOG).await? else { return Ok(AuditHead::default()) };
    AuditRecord::parse(line.as_bytes()).map(|record| record.head()).map_err(|error| {
        StoreError(format!("its last entry was changed ({error}); export it, then clear it"))
    })
}

async fn correct(record: FeedbackRecord) -> Result<Correction, StoreError> {
    let line = record.to_line().map_err(|error| StoreError(error.to_string()))?;
    let transaction = Transaction::begin(true).await?;
    let key = transaction.append(CORRECTIONS, &line).await?;
    transaction.put(SETTINGS, REVIEWER, &record.reviewer).await?;
    transaction.commit().await?;
    Ok(Correction { key, record })
}

async fn clear(store: &str) -> Result<(), StoreError> {
    let transaction = Transaction::begin(true).await?;
    transaction.clear(store).await?;
    transaction.commit().await
}

async fn log() -> Result<Vec<String>, StoreError> {
    let lines = Transaction::begin(false).await?.all(LOG).await?;
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

fn check(lines: &[String]) -> Result<AuditHead, String> {
    verify_audit(text(lines).as_bytes()).map_err(|broken| broken.to_string())
}

fn text(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

/// `lotwise-audit-2025-04-14T083000Z.jsonl`: no file system minds it.
fn name(what: &str, ending: &str) -> String {
    format!("lotwise-{what}-{}.{ending}", crate::now::utc_time().replace(':', ""))
}

fn not_kept(what: &str, StoreError(reason): StoreError) -> SiteError {
    SiteError::NotKept { what: what.into(), reason }
}
