//! `adapters/index.json`: which adapters are published, and which one is served.
//!
//! Versions never change once published. Steps (publish, roll back, remove) are functions from
//! one index to the next, so that a caller writes the new file whole or not at all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::guard::GUARD_FILE;
use crate::hash::check_sha256;
use crate::lora::{ADAPTER_CONFIG, ADAPTER_MODEL};
use crate::record::RECORD_FILE;
use crate::{Error, Result};

/// File name of the index in the directory of adapters.
pub const INDEX_FILE: &str = "index.json";
/// File name of the validation report in an adapter's directory, where there is one.
pub const REPORT_FILE: &str = "report.html";
/// File name of the report's figures, where there is one.
pub const REPORT_JSON_FILE: &str = "report.json";

const FORMAT_VERSION: u32 = 1;
const MAX_NAME: usize = 64;
/// What every adapter directory holds.
const REQUIRED_FILES: [&str; 4] = [ADAPTER_CONFIG, ADAPTER_MODEL, RECORD_FILE, GUARD_FILE];

/// The published adapters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Version of this format.
    pub format_version: u32,
    /// The version that is served; none before the first publication.
    pub current: Option<String>,
    /// What a rollback returns to.
    pub previous: Option<String>,
    /// All versions by name. The name is the directory's.
    pub versions: BTreeMap<String, Version>,
}

/// One published adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// When it was published: `2025-04-14T08:30:00Z`.
    pub created: String,
    /// Its files by name.
    pub files: BTreeMap<String, FileEntry>,
    /// SHA-256 of the base that it was trained on.
    pub base_sha256: String,
    /// SHA-256 of the chat template that it was trained with.
    pub template_sha256: String,
    /// Results of the evaluation; empty if there was none.
    #[serde(default)]
    pub metrics: Map<String, Value>,
    /// What answers may be used for.
    pub intended_use: String,
}

/// Size and hash of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            format_version: FORMAT_VERSION,
            current: None,
            previous: None,
            versions: BTreeMap::new(),
        }
    }
}

impl Index {
    /// Reads and validates `index.json`.
    ///
    /// # Errors
    /// Not JSON of this form, or [`Self::validate`]'s.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let index: Self = serde_json::from_slice(json)
            .map_err(|source| Error::Json { file: "adapters/index.json", source })?;
        index.validate()?;
        Ok(index)
    }

    /// The bytes of `index.json`, the same for the same index.
    ///
    /// # Errors
    /// [`Self::validate`]'s: what would not be read is not written.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        self.validate()?;
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|source| Error::Json { file: "adapters/index.json", source })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Checks names, hashes, and that `current` and `previous` are two of the versions.
    ///
    /// # Errors
    /// [`Error::Manifest`] or [`Error::Value`], naming the version.
    pub fn validate(&self) -> Result<()> {
        if self.format_version != FORMAT_VERSION {
            return refuse(format!(
                "expected format_version {FORMAT_VERSION}, found {}: use the matching release",
                self.format_version
            ));
        }
        for (name, version) in &self.versions {
            version.validate(name)?;
        }
        for (role, name) in [("current", &self.current), ("previous", &self.previous)] {
            if let Some(name) = name
                && !self.versions.contains_key(name)
            {
                return refuse(format!("{role} is {name:?}, which is not among the versions"));
            }
        }
        if self.current.is_none() && !self.versions.is_empty() {
            return refuse("there are versions, but none is current".into());
        }
        if self.previous.is_some() && self.previous == self.current {
            return refuse("current and previous are the same version".into());
        }
        Ok(())
    }

    /// The version that is served.
    ///
    /// # Errors
    /// Nothing is published yet.
    pub fn current_version(&self) -> Result<(&str, &Version)> {
        self.current.as_deref().and_then(|name| Some((name, self.versions.get(name)?))).ok_or_else(
            || Error::Manifest { problem: "no adapter is published yet: publish one".into() },
        )
    }

    /// Adds a version and makes it current; the one before becomes previous.
    ///
    /// # Errors
    /// The name is taken or not allowed, or the version is not valid.
    pub fn publish(&self, name: &str, version: Version) -> Result<Self> {
        self.validate()?;
        if self.versions.contains_key(name) {
            return refuse(format!("version {name} is already published; choose another name"));
        }
        let mut next = self.clone();
        next.versions.insert(name.to_owned(), version);
        next.previous = next.current.replace(name.to_owned());
        next.validate()?;
        Ok(next)
    }

    /// Swaps current and previous: done twice, it changes nothing.
    ///
    /// # Errors
    /// There is no previous version.
    pub fn rollback(&self) -> Result<Self> {
        match &self.previous {
            Some(name) => self.activate(name),
            None => refuse("there is no previous version to roll back to".into()),
        }
    }

    /// Makes a published version current; the one before becomes previous.
    ///
    /// # Errors
    /// There is no such version, or it is current already.
    pub fn activate(&self, name: &str) -> Result<Self> {
        self.validate()?;
        if !self.versions.contains_key(name) {
            let names: Vec<&str> = self.versions.keys().map(String::as_str).collect();
            return refuse(format!("there is no version {name}; there are: {}", names.join(", ")));
        }
        if self.current.as_deref() == Some(name) {
            return refuse(format!("version {name} is current already"));
        }
        let mut next = self.clone();
        next.previous = next.current.replace(name.to_owned());
        Ok(next)
    }

    /// Drops all but the newest `keep` versions and returns the names dropped, oldest first.
    /// Current and previous always stay, and at least two versions do.
    ///
    /// # Errors
    /// The index is not valid.
    pub fn prune(&self, keep: usize) -> Result<(Self, Vec<String>)> {
        self.validate()?;
        let mut by_age: Vec<(&str, &str)> = self
            .versions
            .iter()
            .map(|(name, version)| (version.created.as_str(), name.as_str()))
            .collect();
        by_age.sort_unstable();
        let surplus = by_age.len().saturating_sub(keep.max(2));
        let served = [self.current.as_deref(), self.previous.as_deref()];
        let dropped: Vec<String> = by_age
            .into_iter()
            .filter(|(_, name)| !served.contains(&Some(name)))
            .take(surplus)
            .map(|(_, name)| name.to_owned())
            .collect();
        let mut next = self.clone();
        next.versions.retain(|name, _| !dropped.contains(name));
        Ok((next, dropped))
    }
}

impl Version {
    fn validate(&self, name: &str) -> Result<()> {
        check_version_name(name)?;
        if !is_utc_time(&self.created) {
            return refuse(format!(
                "version {name}: created should look like 2025-04-14T08:30:00Z, but is {:?}",
                self.created
            ));
        }
        check_sha256(&format!("version {name}: base_sha256"), &self.base_sha256)?;
        check_sha256(&format!("version {name}: template_sha256"), &self.template_sha256)?;
        for (file, entry) in &self.files {
            check_file_name(file)?;
            check_sha256(&format!("version {name}: {file}"), &entry.sha256)?;
        }
        match REQUIRED_FILES.iter().find(|file| !self.files.contains_key(**file)) {
            None => Ok(()),
            Some(file) => refuse(format!("version {name} has no file {file}")),
        }
    }
}

/// Checks a version's name, which becomes a directory and part of an address: 1 to 64 of
/// `a-z A-Z 0-9 . _ -`, beginning and ending with a letter or digit, without `..`.
///
/// # Errors
/// [`Error::Manifest`].
pub fn check_version_name(name: &str) -> Result<()> {
    if is_plain_name(name) && name != INDEX_FILE {
        return Ok(());
    }
    refuse(format!(
        "version name {name:?}: use 1 to {MAX_NAME} letters, digits, dots, hyphens and underscores, \
         with a letter or digit at both ends"
    ))
}

fn check_file_name(name: &str) -> Result<()> {
    if is_plain_name(name) {
        return Ok(());
    }
    refuse(format!("file name {name:?} is not a plain name"))
}

fn is_plain_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= MAX_NAME
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
        && !name.contains("..")
}

/// `YYYY-MM-DDTHH:MM:SSZ`, whose order as text is the order in time.
pub(crate) fn is_utc_time(text: &str) -> bool {
    let pattern = b"9999-99-99T99:99:99Z";
    text.len() == pattern.len()
        && text.bytes().zip(pattern).all(|(byte, &wanted)| match wanted {
            b'9' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

fn refuse<T>(problem: String) -> Result<T> {
    Err(Error::Manifest { problem })
}

#[cfg(test)]
mod tests;
