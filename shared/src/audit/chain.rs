//! Whether the lines of a log belong together.

use super::AuditRecord;
use super::record::refuse;
use crate::{Error, Result};

/// The end of a log: what the next line is bound to. Noted outside the log, it proves later that
/// nothing up to here was changed or cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditHead {
    /// Number of lines.
    pub sequence: u64,
    /// `hash` of the last line; 64 zeros before the first.
    pub hash: String,
}

impl Default for AuditHead {
    fn default() -> Self {
        Self { sequence: 0, hash: "0".repeat(64) }
    }
}

/// A log is broken: the first line that does not hold, and why.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the audit log does not hold: {reason}")]
pub struct AuditBreak {
    /// Line, from 1.
    pub line: usize,
    /// What was expected and what was found.
    #[source]
    pub reason: Error,
}

/// Checks a log line by line, so that its reader need not hold it whole.
#[derive(Debug, Clone, Default)]
pub struct AuditChain {
    head: AuditHead,
}

impl AuditChain {
    /// Checks the next line, given without its line end.
    ///
    /// # Errors
    /// As [`AuditRecord::parse`]; or it does not follow the line before: lines are missing,
    /// inserted or in another order. The chain stays where it was.
    pub fn push(&mut self, line: &[u8]) -> Result<AuditRecord> {
        let record = AuditRecord::parse(line)?;
        let expected = self.head.sequence + 1;
        if record.sequence != expected {
            return refuse(
                "sequence",
                &format!("{expected} (lines are missing, inserted or in another order)"),
                record.sequence.to_string(),
            );
        }
        if record.previous != self.head.hash {
            return refuse(
                "previous",
                &format!("{}, the hash of the line before", self.head.hash),
                record.previous,
            );
        }
        self.head = record.head();
        Ok(record)
    }

    /// The end of what was checked so far.
    pub fn head(&self) -> &AuditHead {
        &self.head
    }
}

/// Checks a whole log, every line of which ends in a line feed, and gives its end.
///
/// # Errors
/// The first line that does not hold.
pub fn verify_audit(log: &[u8]) -> std::result::Result<AuditHead, AuditBreak> {
    let mut chain = AuditChain::default();
    let lines = log.strip_suffix(b"\n").unwrap_or(log);
    if lines.is_empty() {
        return Ok(chain.head);
    }
    for (index, line) in lines.split(|&byte| byte == b'\n').enumerate() {
        chain.push(line).map_err(|reason| AuditBreak { line: index + 1, reason })?;
    }
    Ok(chain.head)
}
