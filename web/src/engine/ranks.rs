//! The followers as rank 0 sees them: workers of its own, with private memories.

use std::{
    cell::{RefCell, RefMut},
    rc::Rc,
};

use futures_util::future::{Either, select};
use js_sys::{Array, Uint8Array};
use shared::{Error, Exchange, Model, Pass, SoloExchange, logits_digest, self_test_tokens};
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

/// A follower that says nothing for this many seconds, while it has something to do, is lost.
const PATIENCE_S: u32 = 60;

/// All ranks but this one, and the way to them. They end with this value.
pub struct Ranks {
    followers: Vec<RunningWorker>,
    reports: Mailbox<FromFollower>,
    lead: Lead,
    memory_bytes: u64,
}

/// Rank 0's end of the way to the others. Clones lead the same followers.
#[derive(Clone)]
pub struct Lead(Rc<RefCell<End>>);

enum End {
    Solo(SoloExchange),
    Shared(SharedExchange),
}

impl Lead {
    fn end(&self) -> RefMut<'_, dyn Exchange> {
        RefMut::map(self.0.borrow_mut(), |end| -> &mut dyn Exchange {
            match end {
                End::Solo(solo) => solo,
                End::Shared(shared) => shared,
            }
        })
    }
}

impl Exchange for Lead {
    fn rank(&self) -> usize {
        self.end().rank()
    }

    fn ranks(&self) -> usize {
        self.end().ranks()
    }

    fn all_gather(&mut self, local: &[f32], offset: usize, full: &mut [f32]) -> shared::Result<()> {
        self.end().all_gather(local, offset, full)
    }

    fn announce(&mut self, pass: Pass) -> shared::Result<()> {
        self.end().announce(pass)
    }

    fn next_pass(&mut self) -> shared::Result<Option<(usize, Vec<u32>)>> {
        self.end().next_pass()
    }
}

/// An adapter's two files, for followers that merge it.
#[derive(Clone, Copy)]
pub struct AdapterParts<'a> {
    /// What errors call it.
    pub name: &'a str,
    /// `adapter_config.json`.
    pub config: &'a [u8],
    /// `adapter_model.safetensors`.
    pub weights: &'a [u8],
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
        let lead = Lead(Rc::new(RefCell::new(End::Solo(SoloExchange))));
        let this = Self { followers, reports, lead, memory_bytes: 0 };
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

    /// Size of the followers' WebAssembly memories in bytes, as they last said.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Has them wait for a base of `bytes` bytes, to merge the adapter into it.
    pub fn load(&self, bytes: usize, adapter: Option<AdapterParts>) {
        for (index, follower) in self.followers.iter().enumerate() {
            let order = ToFollower::Load {
                rank: index + 1,
                ranks: self.count(),
                bytes,
                adapter: adapter.map(|adapter| adapter.name.to_owned()),
            };
            let parts = adapter.map(|adapter| [adapter.config, adapter.weights]);
            let parts: Vec<Uint8Array> =
                parts.into_iter().flatten().map(Uint8Array::from).collect();
            send(follower.worker(), &order, &parts);
        }
    }

    /// Passes on the next bytes of the base, which are nobody's any more.
    pub fn pass_on(&self, piece: Uint8Array) {
        let Some((last, others)) = self.followers.split_last() else { return };
        for follower in others {
            post_bytes(follower, piece.slice(0, piece.length()));
        }
        post_bytes(last, piece);
    }

    /// Waits until all have their part of the model, then has them run what rank 0's `model` runs.
    pub async fn follow(&mut self, model: &Model) -> Result<Totals, SiteError> {
        let mut totals = Totals::default();
        for _ in &self.followers {
            match self.report().await? {
                FromFollower::Ready { packed_bytes, merge_ms, memory_bytes } => {
                    totals.packed_bytes += packed_bytes;
                    totals.memory_bytes += memory_bytes;
                    totals.merge_ms = totals.merge_ms.max(merge_ms);
                }
                _ => return Err(out_of_order()),
            }
        }
        if !self.followers.is_empty() {
            let exchange =
                SharedExchange::lead(model).map_err(|error| stopped(error.to_string()))?;
            self.order(&ToFollower::Follow, &[exchange.memory()]);
            *self.lead.0.borrow_mut() = End::Shared(exchange);
        }
        self.memory_bytes = totals.memory_bytes;
        Ok(totals)
    }

    /// The way to the others, for passes of rank 0.
    pub fn lead(&self) -> Lead {
        self.lead.clone()
    }

    /// Digest of the self-test's tokens, computed by all ranks, which then go on following passes.
    ///
    /// # Errors
    /// `AnswerFailed`: the model computes nothing; else a rank is lost.
    pub async fn self_test(&mut self, model: &Model) -> Result<(String, Totals), SiteError> {
        if let End::Shared(shared) = &mut *self.lead.0.borrow_mut() {
            shared.done();
        }
        self.ended().await?;
        self.order(&ToFollower::SelfTest, &[] as &[JsValue]);
        let tokens = self_test_tokens(model.config());
        let digest = match logits_digest(model, &tokens, &mut self.lead()) {
            Ok(digest) => digest,
            Err(error) => return Err(self.failure(error, answer_failed).await),
        };
        let totals = self.ended().await?;
        self.memory_bytes = totals.memory_bytes;
        self.order(&ToFollower::Follow, &[] as &[JsValue]);
        Ok((digest, totals))
    }

    /// What a failed pass means: where another rank is the reason, what that one says about it;
    /// anything else is for `otherwise` to say.
    pub async fn failure(
        &self,
        error: Error,
        otherwise: impl FnOnce(Error) -> SiteError,
    ) -> SiteError {
        /// A follower that failed has reported it, or its worker has: both are on their way.
        const GRACE_MS: i32 = 500;
        let Error::Exchange { problem } = error else { return otherwise(error) };
        match self.report_within(GRACE_MS).await {
            Err(Some(reason)) => reason,
            _ => stopped(format!("The ranks of the engine lost each other: {problem}.")),
        }
    }

    fn order<T: AsRef<JsValue>>(&self, order: &ToFollower, attached: &[T]) {
        for follower in &self.followers {
            send(follower.worker(), order, attached);
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
        // Second by second: while the computer sleeps, only one of them passes.
        for _ in 0..PATIENCE_S {
            match self.report_within(1000).await {
                Ok(report) => return Ok(report),
                Err(Some(error)) => return Err(error),
                Err(None) => {}
            }
        }
        Err(stopped(format!("A rank of the engine has been silent for {PATIENCE_S} seconds.")))
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

/// Hands `bytes` to `follower`: themselves where they are all of their buffer, else a copy, because
/// the whole buffer would travel.
fn post_bytes(follower: &RunningWorker, bytes: Uint8Array) {
    let alone = bytes.buffer().byte_length() == bytes.length();
    let bytes = if alone { bytes } else { bytes.slice(0, bytes.length()) };
    let transfer = Array::of1(&bytes.buffer());
    let worker = follower.worker();
    worker.post_message_with_transfer(&bytes, &transfer).expect("bytes can be posted");
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

/// The error of a pass that failed for a reason of the model's own.
pub fn answer_failed(error: Error) -> SiteError {
    SiteError::AnswerFailed { reason: error.to_string() }
}

fn stopped(reason: String) -> SiteError {
    SiteError::EngineStopped { reason }
}
