//! One publication.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use shared::{FileEntry, Index, Version, check_version_name, sha256_hex};

use crate::files::write_file;
use crate::publish::store::{INCOMING, Lock, PENDING, Store, remove_dir};

/// What is to be published.
#[derive(Debug, Clone)]
pub struct NewVersion {
    /// Its name.
    pub name: String,
    /// Its files by name.
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// `created`, hashes and so on; `files` is filled in from the bytes.
    pub entry: Version,
    /// Versions to keep at most; all if `None`. Current, previous and two at least always stay.
    pub keep: Option<usize>,
}

/// Moments between which the process may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Announced,
    OneFileWritten,
    AllFilesWritten,
    Renamed,
    Indexed,
    OneVersionDropped,
    AllVersionsDropped,
}

/// Publishes a version and makes it current. Returns the new index and the names of the versions
/// that it drops for `keep`.
///
/// # Errors
/// The name is taken or not allowed, or something cannot be written. What was published before
/// stays as it was, and nothing of the new version remains.
pub fn publish(store: &Store, lock: &Lock, new: NewVersion) -> Result<(Index, Vec<String>)> {
    let name = new.name.clone();
    publish_watched(store, lock, new, &mut |_| Ok(())).map_err(|error| {
        let Ok(index) = store.load_or_new() else {
            return error;
        };
        // The error at hand says more than one about cleaning up; the next step cleans up too.
        let _ = store.recover(&index, lock);
        error.context(if index.current.as_ref() == Some(&name) {
            format!("{name} is published, but something before it could not be removed")
        } else {
            format!("{name} is not published; what was published before is unchanged")
        })
    })
}

/// [`publish`] without cleaning up after an error; `watch` can end it at any moment.
pub(super) fn publish_watched(
    store: &Store,
    lock: &Lock,
    new: NewVersion,
    watch: &mut dyn FnMut(Moment) -> Result<()>,
) -> Result<(Index, Vec<String>)> {
    let NewVersion { name, files, mut entry, keep } = new;
    check_version_name(&name)?;
    let index = store.load_or_new()?;
    store.recover(&index, lock)?;
    let target = store.root().join(&name);
    if target.exists() && !index.versions.contains_key(&name) {
        bail!(
            "{} exists, but is no published version: move it away, or choose another name with \
             --version",
            target.display()
        );
    }
    let file_entry =
        |bytes: &[u8]| FileEntry { sha256: sha256_hex(bytes), size: bytes.len() as u64 };
    entry.files =
        files.iter().map(|(file, bytes)| ((*file).to_owned(), file_entry(bytes))).collect();
    let published = index.publish(&name, entry)?;
    let (next, dropped) = match keep {
        Some(keep) => published.prune(keep)?,
        None => (published, Vec::new()),
    };

    let pending: Vec<&str> = std::iter::once(&name).chain(&dropped).map(String::as_str).collect();
    write_file(&store.root().join(PENDING), pending.join("\n").as_bytes())?;
    watch(Moment::Announced)?;

    let incoming = store.root().join(INCOMING);
    fs::create_dir(&incoming).with_context(|| format!("cannot make {}", incoming.display()))?;
    for (file, bytes) in &files {
        write_synced(&incoming.join(file), bytes)?;
        watch(Moment::OneFileWritten)?;
    }
    sync_dir(&incoming)?;
    watch(Moment::AllFilesWritten)?;

    fs::rename(&incoming, &target)
        .with_context(|| format!("cannot rename {} to {}", incoming.display(), target.display()))?;
    sync_dir(store.root())?;
    watch(Moment::Renamed)?;

    store.save(&next)?;
    watch(Moment::Indexed)?;

    for old in &dropped {
        let directory = store.root().join(old);
        if directory.exists() {
            remove_dir(&directory)?;
        }
        watch(Moment::OneVersionDropped)?;
    }
    watch(Moment::AllVersionsDropped)?;
    let pending = store.root().join(PENDING);
    fs::remove_file(&pending).with_context(|| format!("cannot remove {}", pending.display()))?;
    Ok((next, dropped))
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    File::create_new(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .with_context(|| format!("cannot write {} ({} bytes)", path.display(), bytes.len()))
}

fn sync_dir(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .with_context(|| format!("cannot write {} to disk", path.display()))
}
