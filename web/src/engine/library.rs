//! The site's files, from the store or the server, verified either way.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
};

use shared::FileEntry;
use web_sys::Response;

use super::{
    fetch::{self, NoResponse},
    store::{Key, Store},
};
use crate::{catalog::MAX_LIST_BYTES, error::SiteError, progress::Source};

/// A file that is published with size and hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Path below the site's folder.
    pub path: String,
    /// Size and hash.
    pub entry: FileEntry,
}

impl Listed {
    /// Its name within its folder.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// Why a listed file could not be read.
pub enum ReadError {
    /// The copy in this browser was damaged and is removed: reading again asks the server.
    KeptCopyDamaged,
    /// Anything else.
    Site(SiteError),
}

impl From<SiteError> for ReadError {
    fn from(error: SiteError) -> Self {
        Self::Site(error)
    }
}

/// Access to the site's files.
pub struct Library {
    /// Address of the site's folder, with a slash at its end.
    site: String,
    store: Store,
    downloaded: Cell<u64>,
    used: RefCell<BTreeSet<String>>,
}

impl Library {
    /// The files of the site at `site`.
    pub async fn open(site: String) -> Self {
        let store = Store::open(site.clone()).await;
        Self { site, store, downloaded: Cell::new(0), used: RefCell::default() }
    }

    /// Bytes that came over the network so far.
    pub fn downloaded_bytes(&self) -> u64 {
        self.downloaded.get()
    }

    /// One of the site's lists: fresh where a server answers, else the copy from the last visit
    /// (`true` then).
    pub async fn list(&self, path: &str) -> Result<(Vec<u8>, bool), SiteError> {
        let key = Key::Path(path.to_owned());
        let (response, kept) = match fetch::request(&format!("{}{path}", self.site)).await {
            Ok(response) => (response, false),
            Err(NoResponse::Refused(error)) => return Err(error),
            Err(NoResponse::Unreachable(error)) => (self.store.get(&key).await.ok_or(error)?, true),
        };
        let keeping = match kept {
            true => None,
            // Cloning fails only for a body that has been read, and this one is new.
            false => response.clone().ok().map(|copy| self.store.keep(&key, &copy)),
        };
        let mut bytes = Vec::new();
        let length = fetch::read(path, &response, MAX_LIST_BYTES, |piece| {
            fetch::append(path, &mut bytes, piece)
        })
        .await?;
        if let Some(keeping) = keeping {
            keeping.done().await;
            self.downloaded.set(self.downloaded.get() + length);
        }
        Ok((bytes, kept))
    }

    /// Hands the bytes of `file` to `on_piece` in order, from the store or the server, and keeps
    /// what the server sent. Only when this has returned are the bytes verified: what `on_piece`
    /// made of them must not be used before.
    pub async fn read(
        &self,
        file: &Listed,
        mut on_piece: impl FnMut(&[u8], Source) -> Result<(), SiteError>,
    ) -> Result<(), ReadError> {
        let Listed { path, entry } = file;
        let key = Key::Hash(entry.sha256.clone());
        self.used.borrow_mut().insert(entry.sha256.clone());
        let (response, source) = match self.store.get(&key).await {
            Some(response) => (response, Source::Kept),
            None => {
                let url = format!("{}{path}", self.site);
                (fetch::request(&url).await.map_err(SiteError::from)?, Source::Network)
            }
        };
        let keeping = match source {
            Source::Kept => None,
            Source::Network => response.clone().ok().map(|copy| self.store.keep(&key, &copy)),
        };
        // Damaged bytes may make no sense to `on_piece`. That they are damaged is the better
        // explanation, so they are read to their end before its complaint counts.
        let mut refused = Ok(());
        let result = fetch::read_hashed(path, &response, entry.size, |piece| {
            if source == Source::Network {
                self.downloaded.set(self.downloaded.get() + piece.len() as u64);
            }
            if refused.is_ok() {
                refused = on_piece(piece, source);
            }
            Ok(())
        })
        .await;
        if let Some(keeping) = keeping {
            keeping.done().await;
        }
        let verified =
            result.and_then(|(sha256, length)| verify(file, &sha256, length)).and(refused);
        match (verified, source) {
            (Ok(()), _) => Ok(()),
            (Err(SiteError::Corrupted { .. }), Source::Kept) => {
                self.store.remove(&key).await;
                Err(ReadError::KeptCopyDamaged)
            }
            (Err(error), _) => {
                if matches!(error, SiteError::Corrupted { .. }) {
                    self.store.remove(&key).await;
                }
                Err(ReadError::Site(error))
            }
        }
    }

    /// All of `file`, verified.
    pub async fn read_all(
        &self,
        file: &Listed,
        mut on_progress: impl FnMut(u64, Source),
    ) -> Result<Vec<u8>, SiteError> {
        loop {
            let mut bytes = Vec::new();
            let result = self
                .read(file, |piece, source| {
                    fetch::append(&file.path, &mut bytes, piece)?;
                    on_progress(bytes.len() as u64, source);
                    Ok(())
                })
                .await;
            match result {
                Ok(()) => return Ok(bytes),
                Err(ReadError::Site(error)) => return Err(error),
                // Removed by now, so the next round asks the server.
                Err(ReadError::KeptCopyDamaged) => {}
            }
        }
    }

    /// SHA-256 of `file`, read again from where it is kept: a copy that is damaged is removed, so
    /// that the next visit fetches it, and is an error here.
    pub async fn hash(&self, file: &Listed) -> Result<String, SiteError> {
        match self.read(file, |_, _| Ok(())).await {
            Ok(()) => Ok(file.entry.sha256.clone()),
            Err(ReadError::Site(error)) => Err(error),
            Err(ReadError::KeptCopyDamaged) => Err(SiteError::Corrupted {
                file: file.path.clone(),
                expected: format!("SHA-256 {}", file.entry.sha256),
                found: "another in the copy that this browser kept".into(),
            }),
        }
    }

    /// What [`Self::keep_note`] kept under `name`, if it did.
    pub async fn note(&self, name: &str) -> Option<Vec<u8>> {
        let response = self.store.get(&Key::Path(name.to_owned())).await?;
        let mut bytes = Vec::new();
        let read = fetch::read(name, &response, MAX_LIST_BYTES, |piece| {
            fetch::append(name, &mut bytes, piece)
        });
        read.await.ok()?;
        Some(bytes)
    }

    /// Keeps a text that this browser worked out, for later visits.
    pub async fn keep_note(&self, name: &str, text: &str) {
        if let Ok(response) = Response::new_with_opt_str(Some(text)) {
            self.store.keep(&Key::Path(name.to_owned()), &response).done().await;
        }
    }

    /// Removes kept files that are neither listed in `published` nor were read on this visit.
    pub async fn prune<'a>(&self, published: impl IntoIterator<Item = &'a str>) {
        let mut used = self.used.borrow().clone();
        used.extend(published.into_iter().map(str::to_owned));
        self.store.prune(&used).await;
    }
}

fn verify(file: &Listed, sha256: &str, length: u64) -> Result<(), SiteError> {
    let (expected, found) = if length != file.entry.size {
        (format!("{} bytes", file.entry.size), format!("{length} bytes"))
    } else if sha256 != file.entry.sha256 {
        (format!("SHA-256 {}", file.entry.sha256), format!("SHA-256 {sha256}"))
    } else {
        return Ok(());
    };
    Err(SiteError::Corrupted { file: file.path.clone(), expected, found })
}
