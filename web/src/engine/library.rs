//! The site's files, from the store or the server, verified either way.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
};

use shared::FileEntry;
use web_sys::Response;

use super::{
    fetch::{self, NoResponse, Piece},
    hasher::{self, Hasher, Hashes},
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
    /// The copy in this browser was not as it should be. What told so is removed: reading again
    /// hashes the whole copy, or asks the server.
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
            fetch::append(path, &mut bytes, piece.bytes)
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
    /// made of them must not be used before. A large copy that was verified as a whole on an earlier
    /// visit is verified by its pieces: that finds damage, but not what somebody did who can write
    /// this browser's storage and changed copy and list alike. [`Self::hash`] finds that too.
    pub async fn read(
        &self,
        file: &Listed,
        on_piece: impl FnMut(Piece, Source) -> Result<(), SiteError>,
    ) -> Result<(), ReadError> {
        let pieces = match hasher::is_large(file.entry.size) {
            true => self.text(&Key::Pieces(file.entry.sha256.clone())).await,
            false => None,
        };
        self.read_as(file, pieces, on_piece).await
    }

    /// [`Self::read`], where the hashes of the pieces of a kept copy must be `pieces`, or else
    /// SHA-256 of the whole must be as listed.
    async fn read_as(
        &self,
        file: &Listed,
        pieces: Option<String>,
        mut on_piece: impl FnMut(Piece, Source) -> Result<(), SiteError>,
    ) -> Result<(), ReadError> {
        let Listed { path, entry } = file;
        let key = Key::Hash(entry.sha256.clone());
        let pieces_key = Key::Pieces(entry.sha256.clone());
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
        let by_pieces = pieces.filter(|_| source == Source::Kept).zip(Hasher::pieces());
        let (pieces, hasher) = match by_pieces {
            Some((pieces, hasher)) => (Some(pieces), hasher),
            None => (None, Hasher::with_pieces(entry.size)),
        };
        // Damaged bytes may make no sense to `on_piece`. That they are damaged is the better
        // explanation, so they are read to their end before its complaint counts.
        let mut refused = Ok(());
        let result = fetch::read_hashed(path, &response, entry.size, hasher, |piece| {
            if source == Source::Network {
                self.downloaded.set(self.downloaded.get() + piece.bytes.len() as u64);
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
        let verified = result.and_then(|(hashes, length)| {
            verify(file, &hashes, pieces.as_deref(), length)?;
            Ok(hashes)
        });
        match (verified, source) {
            (Ok(Hashes { whole: Some(_), pieces: Some(found) }), _) => {
                self.keep_text(&pieces_key, &found).await;
            }
            (Ok(_), _) => {}
            (Err(SiteError::Corrupted { .. }), Source::Kept) => {
                // Either the copy is damaged or the list of its pieces.
                self.store.remove(if pieces.is_some() { &pieces_key } else { &key }).await;
                return Err(ReadError::KeptCopyDamaged);
            }
            (Err(error), _) => {
                if matches!(error, SiteError::Corrupted { .. }) {
                    self.store.remove(&key).await;
                }
                return Err(ReadError::Site(error));
            }
        }
        refused.map_err(ReadError::Site)
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
                    fetch::append(&file.path, &mut bytes, piece.bytes)?;
                    on_progress(bytes.len() as u64, source);
                    Ok(())
                })
                .await;
            match result {
                Ok(()) => return Ok(bytes),
                Err(ReadError::Site(error)) => return Err(error),
                // The next round hashes the whole copy or asks the server.
                Err(ReadError::KeptCopyDamaged) => {}
            }
        }
    }

    /// SHA-256 of all of `file`, read again from where it is kept: a copy that is damaged is removed,
    /// so that the next visit fetches it, and is an error here.
    pub async fn hash(&self, file: &Listed) -> Result<String, SiteError> {
        match self.read_as(file, None, |_, _| Ok(())).await {
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
    pub async fn note(&self, name: &str) -> Option<String> {
        self.text(&Key::Path(name.to_owned())).await
    }

    /// Keeps a text that this browser worked out, for later visits.
    pub async fn keep_note(&self, name: &str, text: &str) {
        self.keep_text(&Key::Path(name.to_owned()), text).await;
    }

    async fn text(&self, key: &Key) -> Option<String> {
        let response = self.store.get(key).await?;
        let mut bytes = Vec::new();
        let read = fetch::read("a note", &response, MAX_LIST_BYTES, |piece| {
            fetch::append("a note", &mut bytes, piece.bytes)
        });
        read.await.ok()?;
        String::from_utf8(bytes).ok()
    }

    async fn keep_text(&self, key: &Key, text: &str) {
        if let Ok(response) = Response::new_with_opt_str(Some(text)) {
            self.store.keep(key, &response).done().await;
        }
    }

    /// Removes kept files that are neither listed in `published` nor were read on this visit.
    pub async fn prune<'a>(&self, published: impl IntoIterator<Item = &'a str>) {
        let mut used = self.used.borrow().clone();
        used.extend(published.into_iter().map(str::to_owned));
        self.store.prune(&used).await;
    }
}

/// Checks length and hashes of what was read: those of the pieces where `pieces` says them, else
/// that of the whole.
fn verify(
    file: &Listed,
    hashes: &Hashes,
    pieces: Option<&str>,
    length: u64,
) -> Result<(), SiteError> {
    let corrupted = |expected: String, found: String| {
        Err(SiteError::Corrupted { file: file.path.clone(), expected, found })
    };
    let sha256 = &file.entry.sha256;
    if length != file.entry.size {
        return corrupted(format!("{} bytes", file.entry.size), format!("{length} bytes"));
    }
    let expected = format!("SHA-256 {sha256}");
    match (pieces, &hashes.whole) {
        (Some(pieces), _) if hashes.pieces.as_deref() == Some(pieces) => Ok(()),
        (Some(_), _) => corrupted(expected, "other pieces than on the first visit".into()),
        (None, Some(found)) if found == sha256 => Ok(()),
        (None, found) => {
            corrupted(expected, format!("SHA-256 {}", found.as_deref().unwrap_or("unknown")))
        }
    }
}
