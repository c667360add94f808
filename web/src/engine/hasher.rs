//! SHA-256 of a file that arrives piece by piece.
//!
//! In WebAssembly a hash takes several times as long while the browser has not optimised it yet, as
//! it is when a page opens. So the browser itself hashes what is small enough to be held as a
//! whole, because it has no other way; larger files, and those of a site without HTTPS, are hashed
//! here.

use js_sys::{Reflect, Uint8Array};
use sha2::{Digest, Sha256};
use shared::{hex, sha256_hex};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::SubtleCrypto;

use super::scope;
use crate::error::SiteError;

/// Largest file that is held as a whole beside what is made of it.
const MOST_WHOLE_BYTES: u64 = 16 << 20;

/// Takes a file's bytes in order.
pub enum Hasher {
    /// The browser, once all is there.
    Browser { subtle: SubtleCrypto, pieces: Vec<Uint8Array> },
    /// This worker.
    Here(Box<Sha256>),
}

impl Hasher {
    /// A hasher for a file of at most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        match subtle().filter(|_| limit <= MOST_WHOLE_BYTES) {
            Some(subtle) => Self::Browser { subtle, pieces: Vec::new() },
            None => Self::Here(Box::default()),
        }
    }

    /// Takes the next bytes: `piece`, of which `bytes` is a copy.
    pub fn update(&mut self, piece: Uint8Array, bytes: &[u8]) {
        match self {
            Self::Browser { pieces, .. } => pieces.push(piece),
            Self::Here(sha256) => sha256.update(bytes),
        }
    }

    /// The hash of all that it took, hexadecimal.
    ///
    /// # Errors
    /// `EngineStopped`: the browser hashes nothing.
    pub async fn finish(self) -> Result<String, SiteError> {
        match self {
            Self::Browser { subtle, pieces } => {
                let length = pieces.iter().map(Uint8Array::length).sum();
                let whole = Uint8Array::new_with_length(length);
                let mut at = 0;
                for piece in pieces {
                    whole.set(&piece, at);
                    at += piece.length();
                }
                digest(&subtle, &whole).await
            }
            Self::Here(sha256) => Ok(hex(&sha256.finalize())),
        }
    }
}

/// SHA-256 of `bytes`, hexadecimal.
///
/// # Errors
/// As [`Hasher::finish`].
pub async fn sha256(bytes: &Uint8Array) -> Result<String, SiteError> {
    match subtle() {
        Some(subtle) => digest(&subtle, bytes).await,
        None => Ok(sha256_hex(&bytes.to_vec())),
    }
}

/// The browser's own hash, absent outside secure contexts, whatever the binding's type says.
fn subtle() -> Option<SubtleCrypto> {
    let crypto = scope::global().crypto().ok()?;
    Reflect::get(&crypto, &JsValue::from_str("subtle")).ok()?.dyn_into().ok()
}

async fn digest(subtle: &SubtleCrypto, bytes: &Uint8Array) -> Result<String, SiteError> {
    let failed = |error: JsValue| SiteError::EngineStopped {
        reason: format!("the browser hashes nothing: {error:?}"),
    };
    let promise = subtle.digest_with_str_and_js_u8_array("SHA-256", bytes).map_err(failed)?;
    let digest = JsFuture::from(promise).await.map_err(failed)?;
    Ok(hex(&Uint8Array::new(&digest).to_vec()))
}
