//! The directory of published adapters: what a static host serves and a retrain drops in.
//!
//! `index.json` decides what is published; a directory that it does not list is nothing. Every
//! step writes the new version's directory whole, and replaces `index.json` last, so that whoever
//! is stopped at whatever moment leaves the old state or the new one:
//!
//! 1. `.pending` names the directories that this step may leave behind;
//! 2. the files are written to `.incoming/` and reach the disk;
//! 3. `.incoming/` is renamed to the version's name;
//! 4. `index.json` is replaced: from here on, the version is published;
//! 5. directories of dropped versions and `.pending` are removed.
//!
//! The next step first removes what `.pending` names and `index.json` does not list.

mod adapter;
mod elsewhere;
mod name;
mod step;
mod store;
#[cfg(test)]
mod tests;
mod trial;

pub use adapter::{PublishOptions, Published, TRIAL_QUESTION, publish_adapter, published_as};
pub use elsewhere::describe;
pub use name::next_version_name;
pub use step::{NewVersion, publish};
pub use store::{Lock, Store};
pub use trial::{Trial, try_out};
