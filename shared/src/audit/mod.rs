//! The log of questions and answers: one JSON object a line, each bound to the one before by its
//! hash, so that a changed, removed or inserted line shows.
//!
//! A log that lies on one computer is tamper-evident, not tamper-proof: whoever holds it can write
//! a new one from a line on and compute every hash again, or cut lines off its end. Both show only
//! if the last hash ([`AuditHead`]) was noted elsewhere, in a paper record for example.

mod chain;
mod record;
#[cfg(test)]
mod tests;

pub use chain::{AuditBreak, AuditChain, AuditHead, verify_audit};
pub use record::{AuditAdapter, AuditEngine, AuditEvent, AuditRecord, Decoding, MAX_AUDIT_LINE};
