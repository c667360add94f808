//! Asking the server, and reading a response piece by piece: counted, bounded, hashed on the way.

use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStreamDefaultReader, RequestCache, RequestInit, Response};

use super::{
    hasher::{Hasher, Hashes},
    scope,
};
use crate::error::SiteError;

/// Why no response came.
pub enum NoResponse {
    /// The server answered, but not with the file.
    Refused(SiteError),
    /// No server answered, or one that is out of order.
    Unreachable(SiteError),
}

impl From<NoResponse> for SiteError {
    fn from(reason: NoResponse) -> Self {
        match reason {
            NoResponse::Refused(error) | NoResponse::Unreachable(error) => error,
        }
    }
}

/// Asks the server for `url`. The browser's own cache is used only after the server has confirmed
/// that its copy is fresh.
pub async fn request(url: &str) -> Result<Response, NoResponse> {
    let init = RequestInit::new();
    init.set_cache(RequestCache::NoCache);
    let response = JsFuture::from(scope::global().fetch_with_str_and_init(url, &init))
        .await
        .map_err(|error| {
            NoResponse::Unreachable(SiteError::Unreachable {
                url: url.into(),
                reason: words(&error),
            })
        })?;
    let response: Response = response.unchecked_into();
    match response.status() {
        200 => Ok(response),
        status @ 500.. => Err(NoResponse::Unreachable(SiteError::Unreachable {
            url: url.into(),
            reason: format!("the server answered {status}"),
        })),
        status => Err(NoResponse::Refused(SiteError::FileMissing { url: url.into(), status })),
    }
}

/// The next bytes of a body.
pub struct Piece<'a> {
    /// Here.
    pub bytes: &'a [u8],
    /// As they came from the browser.
    pub original: Uint8Array,
}

/// Hands the body of `response` to `on_piece` in order, and returns its length. A body longer than
/// `limit` bytes is refused before the surplus is handed on.
///
/// # Errors
/// `Corrupted` for a longer body, `Unreachable` where the connection breaks off, and whatever
/// `on_piece` returns.
pub async fn read(
    name: &str,
    response: &Response,
    limit: u64,
    on_piece: impl FnMut(Piece) -> Result<(), SiteError>,
) -> Result<u64, SiteError> {
    read_into(name, response, limit, None, on_piece).await
}

/// [`read`], and what `hasher` finds in the body before its length.
///
/// # Errors
/// As [`read`] and [`Hasher::finish`].
pub async fn read_hashed(
    name: &str,
    response: &Response,
    limit: u64,
    mut hasher: Hasher,
    on_piece: impl FnMut(Piece) -> Result<(), SiteError>,
) -> Result<(Hashes, u64), SiteError> {
    let length = read_into(name, response, limit, Some(&mut hasher), on_piece).await?;
    Ok((hasher.finish().await?, length))
}

async fn read_into(
    name: &str,
    response: &Response,
    limit: u64,
    mut hasher: Option<&mut Hasher>,
    mut on_piece: impl FnMut(Piece) -> Result<(), SiteError>,
) -> Result<u64, SiteError> {
    let mut length = 0;
    let mut bytes = Vec::new();
    if let Some(stream) = response.body() {
        let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
        while let Some(piece) = next_piece(name, &reader).await? {
            length += u64::from(piece.length());
            if length > limit {
                return Err(SiteError::Corrupted {
                    file: name.into(),
                    expected: format!("{limit} bytes"),
                    found: "more".into(),
                });
            }
            bytes.resize(piece.length() as usize, 0);
            piece.copy_to(&mut bytes);
            if let Some(hasher) = &mut hasher {
                hasher.update(&piece, &bytes).await?;
            }
            on_piece(Piece { bytes: &bytes, original: piece })?;
        }
    }
    Ok(length)
}

async fn next_piece(
    name: &str,
    reader: &ReadableStreamDefaultReader,
) -> Result<Option<Uint8Array>, SiteError> {
    let broken = |error: JsValue| SiteError::Unreachable {
        url: name.into(),
        reason: format!("the connection broke off: {}", words(&error)),
    };
    let result = JsFuture::from(reader.read()).await.map_err(broken)?;
    let done = Reflect::get(&result, &JsValue::from_str("done")).map_err(broken)?;
    if done.is_truthy() {
        return Ok(None);
    }
    let value = Reflect::get(&result, &JsValue::from_str("value")).map_err(broken)?;
    Ok(Some(value.unchecked_into()))
}

/// Appends `piece` to `bytes`, or says that there is no room for it.
pub fn append(name: &str, bytes: &mut Vec<u8>, piece: &[u8]) -> Result<(), SiteError> {
    bytes.try_reserve(piece.len()).map_err(|_| SiteError::OutOfMemory {
        what: format!("{name} ({} bytes and more)", bytes.len()),
    })?;
    bytes.extend_from_slice(piece);
    Ok(())
}

/// The message of a JavaScript error.
pub fn words(error: &JsValue) -> String {
    match error.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.message()),
        None => format!("{error:?}"),
    }
}
