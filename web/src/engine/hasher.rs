//! SHA-256 of a file that arrives piece by piece, beside the engine's own work.
//!
//! In WebAssembly a hash takes as long as all else that loading does, and several times as long
//! while the browser has not optimised it yet. So a small file is hashed by the browser itself, as
//! a whole, because it has no other way, and a large one, which must not be in memory as a whole,
//! by a worker of its own. Where the browser offers neither, the engine hashes.

use js_sys::{Array, Reflect, Uint8Array};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ErrorEvent, MessageEvent, SubtleCrypto, Worker};

use super::{
    inbox::{Mailbox, PATIENCE_S},
    scope,
};
use crate::{error::SiteError, worker::RunningWorker};

/// The name of a hashing worker.
pub const NAME: &str = "hash";

/// Largest file that is held as a whole beside what is made of it.
pub const MOST_WHOLE_BYTES: u64 = 16 << 20;
/// Most bytes on the way to the worker.
const MOST_WAITING_BYTES: usize = 8 << 20;

/// Takes a file's bytes in order.
pub enum Hasher {
    /// The browser, once all is there.
    Browser { subtle: SubtleCrypto, pieces: Vec<Uint8Array> },
    /// A worker of its own.
    Beside(Beside),
    /// This worker.
    Here(Box<Sha256>),
}

impl Hasher {
    /// A hasher for a file of at most `limit` bytes.
    ///
    /// # Errors
    /// `EngineStopped`: the browser starts no worker.
    pub fn new(limit: u64) -> Result<Self, SiteError> {
        if limit > MOST_WHOLE_BYTES && scope::offer().processors > 1 {
            return Ok(Self::Beside(Beside::start()?));
        }
        Ok(match subtle().filter(|_| limit <= MOST_WHOLE_BYTES) {
            Some(subtle) => Self::Browser { subtle, pieces: Vec::new() },
            None => Self::Here(Box::default()),
        })
    }

    /// Takes the next bytes: `piece`, of which `bytes` is a copy. Nobody else may use `piece`.
    ///
    /// # Errors
    /// `EngineStopped`: the worker is lost.
    pub async fn update(&mut self, piece: Uint8Array, bytes: &[u8]) -> Result<(), SiteError> {
        match self {
            Self::Browser { pieces, .. } => pieces.push(piece),
            Self::Beside(beside) => beside.update(&piece).await?,
            Self::Here(sha256) => sha256.update(bytes),
        }
        Ok(())
    }

    /// The hash of all that it took, hexadecimal.
    ///
    /// # Errors
    /// `EngineStopped`: the browser hashes nothing, or the worker is lost.
    pub async fn finish(self) -> Result<String, SiteError> {
        match self {
            Self::Browser { subtle, pieces } => digest(&subtle, &pieces).await,
            Self::Beside(beside) => beside.finish().await,
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
        Some(subtle) => digest(&subtle, std::slice::from_ref(bytes)).await,
        None => Ok(hex(&Sha256::digest(bytes.to_vec()))),
    }
}

/// The browser's own hash, absent outside secure contexts, whatever the binding's type says.
fn subtle() -> Option<SubtleCrypto> {
    let crypto = scope::global().crypto().ok()?;
    Reflect::get(&crypto, &JsValue::from_str("subtle")).ok()?.dyn_into().ok()
}

async fn digest(subtle: &SubtleCrypto, pieces: &[Uint8Array]) -> Result<String, SiteError> {
    let whole = match pieces {
        [whole] => whole.clone(),
        pieces => {
            let whole = Uint8Array::new_with_length(pieces.iter().map(Uint8Array::length).sum());
            let mut at = 0;
            for piece in pieces {
                whole.set(piece, at);
                at += piece.length();
            }
            whole
        }
    };
    let failed = |error: JsValue| stopped(format!("the browser hashes nothing: {error:?}"));
    let promise = subtle.digest_with_str_and_js_u8_array("SHA-256", &whole).map_err(failed)?;
    let digest = JsFuture::from(promise).await.map_err(failed)?;
    Ok(hex(&Uint8Array::new(&digest).to_vec()))
}

/// A worker that hashes.
pub struct Beside {
    worker: RunningWorker,
    reports: Mailbox<FromHasher>,
    started: bool,
    /// Pieces that came before the worker listened.
    held: Vec<Uint8Array>,
    /// Bytes that it has not hashed yet.
    waiting: usize,
}

/// From a hashing worker. It is sent the bytes, as they are, and then a null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum FromHasher {
    /// The worker runs and listens.
    Started,
    /// So many bytes are hashed.
    Took { bytes: usize },
    /// The hash of them all.
    Hash { sha256: String },
    /// It cannot go on.
    Failed(SiteError),
}

impl Beside {
    fn start() -> Result<Self, SiteError> {
        let reports = Mailbox::default();
        let sender = reports.clone();
        let receive = move |_: &Worker, text: &str| {
            sender.push(serde_json::from_str(text).expect("workers are of one build"));
        };
        let sender = reports.clone();
        let lost = move |event: &ErrorEvent, error| {
            event.prevent_default();
            sender.push(FromHasher::Failed(error));
        };
        let script = scope::global().location().href();
        let worker = RunningWorker::start(&script, NAME, receive, lost)
            .map_err(|error| stopped(format!("the browser started no worker: {error:?}")))?;
        Ok(Self { worker, reports, started: false, held: Vec::new(), waiting: 0 })
    }

    async fn update(&mut self, piece: &Uint8Array) -> Result<(), SiteError> {
        // A piece may be a part of a larger buffer, which is not to be sent.
        let own = match piece.buffer().byte_length() == piece.length() {
            true => piece.clone(),
            false => piece.slice(0, piece.length()),
        };
        self.waiting += own.length() as usize;
        match self.started {
            true => self.post(&own),
            false => self.held.push(own),
        }
        while let Some(report) = self.reports.take() {
            self.hear(report)?;
        }
        while self.waiting > MOST_WAITING_BYTES {
            self.wait().await?;
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<String, SiteError> {
        while self.waiting > 0 || !self.started {
            self.wait().await?;
        }
        self.worker.worker().post_message(&JsValue::NULL).expect("a null can be posted");
        match self.wait().await? {
            Some(sha256) => Ok(sha256),
            None => Err(stopped("A file's hash has not come.".into())),
        }
    }

    fn post(&self, piece: &Uint8Array) {
        self.worker
            .worker()
            .post_message_with_transfer(piece, &Array::of1(&piece.buffer()))
            .expect("bytes can be posted");
    }

    async fn wait(&mut self) -> Result<Option<String>, SiteError> {
        let silent =
            || stopped(format!("The worker that hashes has been silent for {PATIENCE_S} seconds."));
        let report = self.reports.next_patiently().await.ok_or_else(silent)?;
        self.hear(report)
    }

    /// Heeds a report, and returns the hash that it may bring.
    fn hear(&mut self, report: FromHasher) -> Result<Option<String>, SiteError> {
        match report {
            FromHasher::Started => {
                self.started = true;
                for piece in std::mem::take(&mut self.held) {
                    self.post(&piece);
                }
            }
            FromHasher::Took { bytes } => self.waiting = self.waiting.saturating_sub(bytes),
            FromHasher::Hash { sha256 } => return Ok(Some(sha256)),
            FromHasher::Failed(error) => return Err(error),
        }
        Ok(None)
    }
}

/// Runs a hashing worker.
pub fn start() {
    std::panic::set_hook(Box::new(|panic| {
        let error = SiteError::EngineStopped { reason: panic.to_string() };
        scope::post_json(&FromHasher::Failed(error));
    }));
    let mut sha256 = Sha256::new();
    let mut bytes = Vec::new();
    let handler = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
        let Ok(piece) = event.data().dyn_into::<Uint8Array>() else {
            let sha256 = hex(&sha256.finalize_reset());
            return scope::post_json(&FromHasher::Hash { sha256 });
        };
        bytes.resize(piece.length() as usize, 0);
        piece.copy_to(&mut bytes);
        sha256.update(&bytes);
        scope::post_json(&FromHasher::Took { bytes: bytes.len() });
    });
    scope::global().set_onmessage(Some(handler.as_ref().unchecked_ref()));
    handler.forget();
    scope::post_json(&FromHasher::Started);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn stopped(reason: String) -> SiteError {
    SiteError::EngineStopped { reason }
}
