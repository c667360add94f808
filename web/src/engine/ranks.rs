//! The followers as rank 0 sees them: workers of its own, with private memories.

use futures_util::future::{Either, select};
use js_sys::{Array, Uint8Array};
use shared::{Exchange, Model, SoloExchange, logits_digest, self_test_tokens};
use wasm_bindgen::JsValue;
use web_sys::{ErrorEvent, Worker};

use super::{
    exchange::SharedExchange,
    follower::{self, FromFollower, ToFollower, out_of_order},
    inbox::Mailbox,
    scope,
};
use crate::{
    error::SiteError,
    worker::{RunningWorker, send},
};

/// A follower that says nothing for this long, while it has something to do, is lost.
const PATIENCE_MS: i32 = 60_000;

/// All ranks but this one, and the way to them. They end with this value.
pub struct Ranks {
    followers: Vec<RunningWorker>,
    reports: Mailbox<FromFollower>,
    solo: SoloExchange,
    shared: Option<SharedExchange>,
}

/// Bytes and times of all followers together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// Bytes of packed weights.
    pub packed_bytes: u64,
    /// Milliseconds that the slowest took for packing and merging.
    pub merge_ms: f64,
    /// Bytes of key/value caches.
    pub cache_bytes: u64,
    /// WebAssembly memory in bytes.
    pub memory_bytes: u64,
}

impl Ranks {
    /// Starts the followers of `ranks` ranks.
    ///
    /// # Errors
    /// `EngineStopped`: one does not start.
    pub async fn start(ranks: usize) -> Result<Self, SiteError> {
        let reports = Mailbox::default();
        let followers = (1..ranks)
            .map(|_| spawn(&reports))
            .collect::<Result<_, JsValue>>()
            .map_err(|error| stopped(format!("the browser started no worker: {error:?}")))?;
        let this = Self { followers, reports, solo: SoloExchange, shared: None };
        for _ in &this.followers {
            match this.report().await? {
                FromFollower::Started => {}
                _ => return Err(out_of_order()),
            }
        }
        Ok(this)
    }

    /// Number of ranks, this one included.
    pub fn count(&self) -> usize {
        self.followers.len() + 1
    }

    /// Has them wait for a base of `bytes` bytes, to merge the adapter with these two files into it.
    pub fn load(&self, bytes: usize, adapter: Option<&(Vec<u8>, Vec<u8>)>) {
        for (index, follower) in self.followers.iter().enumerate() {
            let order = ToFollower::Load { rank: index + 1, ranks: self.count(), bytes };
            let parts = [adapter.map(|files| &files.0), adapter.map(|files| &files.1)];
            let parts: Vec<JsValue> = parts
                .into_iter()
                .flatten()
                .map(|file| Uint8Array::from(&file[..]).into())
                .collect();
            send(follower.worker(), &order, &parts);
        }
    }

    /// Passes on the next bytes of the base.
    pub fn pass_on(&self, piece: &[u8]) {
        for follower in &self.followers {
            let copy = Uint8Array::from(piece);
            follower
                .worker()
                .post_message_with_transfer(&copy, &Array::of1(&copy.buffer()))
                .expect("bytes can be posted");
        }
    }

    /// Waits until all have their part of the model, then has them run what rank 0's `model` runs.
    pub async fn follow(&mut self, model: &Model) -> Result<Totals, SiteError> {
        let mut totals = Totals::default();
        for _ in &self.followers {
            match self.report().await? {
                FromFollower::Ready { packed_bytes, merge_ms } => {
                    totals.packed_bytes += packed_bytes;
                    totals.merge_ms = totals.merge_ms.max(merge_ms);
                }
                _ => return Err(out_of_order()),
            }
        }
        if !self.followers.is_empty() {
            let exchange =
                SharedExchange::lead(model).map_err(|error| stopped(error.to_string()))?;
            for follower in &self.followers {
                send(follower.worker(), &ToFollower::Follow, &[exchange.memory()]);
            }
            self.shared = Some(exchange);
        }
        Ok(totals)
    }

    /// The way to the others, for passes of rank 0.
    pub fn exchange(&mut self) -> &mut dyn Exchange {
        match &mut self.shared {
            Some(shared) => shared,
            None => &mut self.solo,
        }
    }

    /// Digest of the self-test's tokens, computed by all ranks; ends their following of passes.
    pub async fn self_test(&mut self, model: &Model) -> Result<(String, Totals), SiteError> {
        if let Some(shared) = &mut self.shared {
            shared.done();
        }
        self.ended().await?;
        for follower in &self.followers {
            send(follower.worker(), &ToFollower::SelfTest, &[] as &[JsValue]);
        }
        let tokens = self_test_tokens(model.config());
        match logits_digest(model, &tokens, self.exchange()) {
            Ok(digest) => Ok((digest, self.ended().await?)),
            Err(error) => Err(self.reason(stopped(error.to_string())).await),
        }
    }

    /// Why an exchange failed: what a follower says about it, or else `error`.
    pub async fn reason(&self, error: SiteError) -> SiteError {
        /// A follower that failed has reported it, or its worker has: both are on their way.
        const GRACE_MS: i32 = 500;
        if self.followers.is_empty() {
            return error;
        }
        match self.report_within(GRACE_MS).await {
            Err(Some(reason)) => reason,
            _ => error,
        }
    }

    async fn ended(&self) -> Result<Totals, SiteError> {
        let mut totals = Totals::default();
        for _ in &self.followers {
            match self.report().await? {
                FromFollower::Ended { cache_bytes, memory_bytes } => {
                    totals.cache_bytes += cache_bytes;
                    totals.memory_bytes += memory_bytes;
                }
                _ => return Err(out_of_order()),
            }
        }
        Ok(totals)
    }

    async fn report(&self) -> Result<FromFollower, SiteError> {
        self.report_within(PATIENCE_MS).await.map_err(|error| {
            let seconds = PATIENCE_MS / 1000;
            error.unwrap_or_else(|| stopped(format!("a rank has been silent for {seconds} s")))
        })
    }

    /// The next report; as an error a failure, or `None` if none comes in time.
    async fn report_within(&self, ms: i32) -> Result<FromFollower, Option<SiteError>> {
        let (report, patience) = (Box::pin(self.reports.next()), Box::pin(scope::pause(ms)));
        match select(report, patience).await {
            Either::Left((FromFollower::Failed(error), _)) => Err(Some(error)),
            Either::Left((report, _)) => Ok(report),
            Either::Right(_) => Err(None),
        }
    }
}

fn spawn(reports: &Mailbox<FromFollower>) -> Result<RunningWorker, JsValue> {
    let sender = reports.clone();
    let receive = move |_: &Worker, text: &str| {
        sender.push(serde_json::from_str(text).expect("ranks are of one build"));
    };
    let sender = reports.clone();
    let lost = move |event: &ErrorEvent, error| {
        event.prevent_default();
        sender.push(FromFollower::Failed(error));
    };
    // The script of this worker, with the same build's identity behind it.
    RunningWorker::start(&scope::global().location().href(), follower::NAME, receive, lost)
}

fn stopped(reason: String) -> SiteError {
    SiteError::EngineStopped { reason }
}
