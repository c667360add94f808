//! SHA-256 of a file that arrives piece by piece.
//!
//! In WebAssembly a hash takes several times as long as in the browser itself, and longer still
//! while the browser has not optimised it yet, as it is when a page opens. But the browser hashes
//! only what it is given as a whole. So it hashes small files; a large one is hashed here when it
//! comes from the server, and its pieces by the browser at the same time: on later visits their
//! hashes tell whether the copy that was kept is still the file that was verified.

use js_sys::{Promise, Reflect, Uint8Array};
use sha2::{Digest, Sha256};
use shared::{hex, sha256_hex};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::SubtleCrypto;

use super::scope;
use crate::error::SiteError;

/// Largest file that is held as a whole beside what is made of it.
const MOST_WHOLE_BYTES: u64 = 16 << 20;
/// Bytes of a larger file that the browser hashes at a time.
const PIECE_BYTES: u32 = 1 << 20;

/// Whether a file of `bytes` bytes has its pieces hashed.
pub fn is_large(bytes: u64) -> bool {
    bytes > MOST_WHOLE_BYTES
}

/// What a [`Hasher`] found.
pub struct Hashes {
    /// SHA-256 of the file, hexadecimal; `None` where only pieces were asked for.
    pub whole: Option<String>,
    /// Those of its pieces, one a line; `None` for a small file, or without HTTPS.
    pub pieces: Option<String>,
}

/// Takes a file's bytes in order.
pub struct Hasher {
    whole: Whole,
    pieces: Option<Pieces>,
}

enum Whole {
    Unasked,
    /// The browser, once all is there.
    Browser {
        subtle: SubtleCrypto,
        bytes: Uint8Array,
        filled: u32,
    },
    /// This worker.
    Here(Box<Sha256>),
}

impl Hasher {
    /// A hasher for a whole file of at most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        let small = u32::try_from(limit).ok().filter(|_| !is_large(limit));
        let whole = match small.zip(subtle()) {
            Some((limit, subtle)) => {
                let bytes = Uint8Array::new_with_length(limit);
                Whole::Browser { subtle, bytes, filled: 0 }
            }
            None => Whole::Here(Box::default()),
        };
        Self { whole, pieces: None }
    }

    /// [`Self::new`], and the pieces of a file that is not small.
    pub fn with_pieces(limit: u64) -> Self {
        let pieces = subtle().filter(|_| is_large(limit)).map(Pieces::new);
        Self { pieces, ..Self::new(limit) }
    }

    /// A hasher for the pieces alone; `None` where the browser hashes nothing.
    pub fn pieces() -> Option<Self> {
        Some(Self { whole: Whole::Unasked, pieces: Some(Pieces::new(subtle()?)) })
    }

    /// Takes the next bytes: `piece`, of which `bytes` is a copy.
    ///
    /// # Errors
    /// `EngineStopped`: the browser hashes nothing.
    pub async fn update(&mut self, piece: &Uint8Array, bytes: &[u8]) -> Result<(), SiteError> {
        match &mut self.whole {
            Whole::Unasked => {}
            Whole::Browser { bytes, filled, .. } => {
                bytes.set(piece, *filled);
                *filled += piece.length();
            }
            Whole::Here(sha256) => sha256.update(bytes),
        }
        match &mut self.pieces {
            Some(pieces) => pieces.update(piece).await,
            None => Ok(()),
        }
    }

    /// The hashes of all that it took.
    ///
    /// # Errors
    /// As [`Self::update`].
    pub async fn finish(self) -> Result<Hashes, SiteError> {
        let whole = match self.whole {
            Whole::Unasked => None,
            Whole::Browser { subtle, bytes, filled } => {
                let digest = begin_digest(&subtle, &bytes.subarray(0, filled))?;
                Some(end_digest(digest).await?)
            }
            Whole::Here(sha256) => Some(hex(&sha256.finalize())),
        };
        let pieces = match self.pieces {
            Some(pieces) => Some(pieces.finish().await?),
            None => None,
        };
        Ok(Hashes { whole, pieces })
    }
}

/// Has the browser hash piece after piece, on a thread of its own.
struct Pieces {
    subtle: SubtleCrypto,
    buffer: Uint8Array,
    filled: u32,
    /// The piece before, of which the browser has a copy: no more than one waits.
    begun: Option<Promise>,
    hashes: Vec<String>,
}

impl Pieces {
    fn new(subtle: SubtleCrypto) -> Self {
        let buffer = Uint8Array::new_with_length(PIECE_BYTES);
        Self { subtle, buffer, filled: 0, begun: None, hashes: Vec::new() }
    }

    async fn update(&mut self, bytes: &Uint8Array) -> Result<(), SiteError> {
        let mut at = 0;
        while at < bytes.length() {
            let end = bytes.length().min(at + PIECE_BYTES - self.filled);
            self.buffer.set(&bytes.subarray(at, end), self.filled);
            self.filled += end - at;
            at = end;
            if self.filled == PIECE_BYTES {
                self.hash().await?;
            }
        }
        Ok(())
    }

    async fn hash(&mut self) -> Result<(), SiteError> {
        if let Some(begun) = self.begun.take() {
            self.hashes.push(end_digest(begun).await?);
        }
        let piece = self.buffer.subarray(0, std::mem::take(&mut self.filled));
        self.begun = Some(begin_digest(&self.subtle, &piece)?);
        Ok(())
    }

    async fn finish(mut self) -> Result<String, SiteError> {
        // The last piece may be shorter, or empty.
        self.hash().await?;
        if let Some(begun) = self.begun {
            self.hashes.push(end_digest(begun).await?);
        }
        Ok(self.hashes.join("\n"))
    }
}

/// SHA-256 of `bytes`, hexadecimal.
///
/// # Errors
/// As [`Hasher::finish`].
pub async fn sha256(bytes: &Uint8Array) -> Result<String, SiteError> {
    match subtle() {
        Some(subtle) => end_digest(begin_digest(&subtle, bytes)?).await,
        None => Ok(sha256_hex(&bytes.to_vec())),
    }
}

/// The browser's own hash, absent outside secure contexts, whatever the binding's type says.
fn subtle() -> Option<SubtleCrypto> {
    let crypto = scope::global().crypto().ok()?;
    Reflect::get(&crypto, &JsValue::from_str("subtle")).ok()?.dyn_into().ok()
}

/// Copies `bytes` and begins to hash them.
fn begin_digest(subtle: &SubtleCrypto, bytes: &Uint8Array) -> Result<Promise, SiteError> {
    subtle.digest_with_str_and_js_u8_array("SHA-256", bytes).map_err(|error| failed(&error))
}

async fn end_digest(begun: Promise) -> Result<String, SiteError> {
    let digest = JsFuture::from(begun).await.map_err(|error| failed(&error))?;
    Ok(hex(&Uint8Array::new(&digest).to_vec()))
}

fn failed(error: &JsValue) -> SiteError {
    SiteError::EngineStopped { reason: format!("the browser hashes nothing: {error:?}") }
}
