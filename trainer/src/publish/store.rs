//! The directory: its index, its lock, what an interrupted step left.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use shared::{INDEX_FILE, Index, Version, check_version_name, sha256_hex};

use crate::files::write_file;
use crate::input::read_input;

/// Where a version is put together.
pub(super) const INCOMING: &str = ".incoming";
/// Names of directories that are leftovers unless the index lists them, one a line.
pub(super) const PENDING: &str = ".pending";

const MAX_INDEX: u64 = 64 << 20;

/// A directory of published adapters.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// Nobody else changes the directory while this lives.
#[derive(Debug)]
pub struct Lock {
    _directory: File,
}

impl Store {
    /// The store in `root`, which need not exist yet.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Reads `index.json`.
    ///
    /// # Errors
    /// There is none (nothing was published here), or it is not valid.
    pub fn load(&self) -> Result<Index> {
        let path = self.root.join(INDEX_FILE);
        if !path.exists() {
            bail!(
                "{} does not exist: nothing is published in {} yet; publish an adapter with \
                 trainer publish DIR",
                path.display(),
                self.root.display()
            );
        }
        self.load_or_new()
    }

    /// Reads `index.json`, empty where there is none.
    ///
    /// # Errors
    /// It is not valid.
    pub fn load_or_new(&self) -> Result<Index> {
        let path = self.root.join(INDEX_FILE);
        if !path.exists() {
            return Ok(Index::default());
        }
        let json = read_input(&path, "the index of published adapters", MAX_INDEX)?;
        Index::parse(&json).with_context(|| {
            format!(
                "{} is not a valid index; restore it from the copy on the web server or a backup",
                path.display()
            )
        })
    }

    /// Replaces `index.json`.
    ///
    /// # Errors
    /// The index is not valid, or cannot be written; the old one stays then.
    pub fn save(&self, index: &Index) -> Result<()> {
        write_file(&self.root.join(INDEX_FILE), &index.to_json()?)
    }

    /// Keeps others from changing the directory; makes it if need be.
    ///
    /// # Errors
    /// It cannot be made, or another process holds it.
    pub fn lock(&self) -> Result<Lock> {
        let shown = self.root.display();
        if self.root.exists() && !self.root.is_dir() {
            bail!("{shown} is a file: expected the directory of published adapters");
        }
        fs::create_dir_all(&self.root)
            .with_context(|| format!("cannot make the directory {shown}"))?;
        let directory = File::open(&self.root).with_context(|| format!("cannot open {shown}"))?;
        match directory.try_lock() {
            Ok(()) => Ok(Lock { _directory: directory }),
            Err(TryLockError::WouldBlock) => {
                bail!("{shown} is being changed by another trainer; try again when it is done")
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {shown}"))
            }
        }
    }

    /// Removes what an interrupted step left behind, and returns the names of what it removed.
    ///
    /// # Errors
    /// Something cannot be read or removed.
    pub fn recover(&self, index: &Index, _lock: &Lock) -> Result<Vec<String>> {
        let mut removed = Vec::new();
        let incoming = self.root.join(INCOMING);
        if incoming.exists() {
            remove_dir(&incoming)?;
            removed.push(INCOMING.to_owned());
        }
        let pending = self.root.join(PENDING);
        let Ok(names) = fs::read_to_string(&pending) else {
            return Ok(removed);
        };
        for name in names.lines() {
            // A name cut short by a crash has made no directory.
            let leftover = check_version_name(name).is_ok() && !index.versions.contains_key(name);
            let directory = self.root.join(name);
            if leftover && directory.is_dir() {
                remove_dir(&directory)?;
                removed.push(name.to_owned());
            }
        }
        fs::remove_file(&pending)
            .with_context(|| format!("cannot remove {}", pending.display()))?;
        Ok(removed)
    }

    /// Checks sizes and hashes of a version's files.
    ///
    /// # Errors
    /// The first file that is missing or differs from what was published.
    pub fn verify(&self, name: &str, version: &Version) -> Result<()> {
        for (file, entry) in &version.files {
            let path = self.root.join(name).join(file);
            let found = match fs::metadata(&path) {
                Ok(metadata) if metadata.len() != entry.size => {
                    Some(format!("expected {} bytes, found {}", entry.size, metadata.len()))
                }
                Ok(_) => {
                    let bytes = read_input(&path, "a published file", entry.size)?;
                    let sha256 = sha256_hex(&bytes);
                    let differs = sha256 != entry.sha256;
                    differs.then(|| format!("expected SHA-256 {}, found {sha256}", entry.sha256))
                }
                Err(error) if error.kind() == ErrorKind::NotFound => Some("it is missing".into()),
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read {}", path.display()));
                }
            };
            if let Some(found) = found {
                bail!(
                    "{} is not what was published: {found}; restore it from a copy, or publish \
                     the adapter again under another name",
                    path.display()
                );
            }
        }
        Ok(())
    }

    /// Directories that the index does not list, sorted.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn unlisted(&self, index: &Index) -> Result<Vec<String>> {
        let shown = self.root.display();
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root).with_context(|| format!("cannot read {shown}"))? {
            let entry = entry.with_context(|| format!("cannot read {shown}"))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() && !index.versions.contains_key(&name) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

pub(super) fn remove_dir(path: &Path) -> Result<()> {
    fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()))
}
