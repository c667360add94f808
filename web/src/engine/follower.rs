//! A follower: a rank that is not the first. It keeps its rows of the base that rank 0 passes on,
//! runs what rank 0 announces, and reports.

use js_sys::{Array, Uint8Array};
use serde::{Deserialize, Serialize};
use shared::{Adapter, Error, Model, RankSlice, follow, logits_digest, self_test_tokens};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::MessageEvent;

use super::{
    adapter::bad_adapter, exchange::SharedExchange, inbox::Mailbox, merge::refused, packer::Packer,
    scope,
};
use crate::{error::SiteError, tensor_stream::TensorStream};

/// The name of a follower's worker.
pub const NAME: &str = "rank";

/// From rank 0. Bytes of the base come in between, as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToFollower {
    /// The base's bytes come next; an adapter's two files stand behind this message.
    Load {
        /// Which rank this is.
        rank: usize,
        /// Of how many.
        ranks: usize,
        /// Size of the base's file.
        bytes: usize,
        /// What errors call the adapter, if there is one.
        adapter: Option<String>,
    },
    /// Run passes, in the shared memory that stands behind the first message of this kind.
    Follow,
    /// Take part in the self-test.
    SelfTest,
}

/// To rank 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromFollower {
    /// The worker runs and listens.
    Started,
    /// Its part of the model is ready.
    Ready {
        /// Bytes of packed weights.
        packed_bytes: u64,
        /// Milliseconds spent on packing and merging.
        merge_ms: f64,
        /// Size of its WebAssembly memory in bytes.
        memory_bytes: u64,
    },
    /// A command has ended.
    Ended {
        /// Bytes of its key/value cache.
        cache_bytes: u64,
        /// Size of its WebAssembly memory in bytes.
        memory_bytes: u64,
    },
    /// It cannot go on.
    Failed(SiteError),
}

/// Runs the worker.
pub fn start() {
    std::panic::set_hook(Box::new(|panic| {
        report(&FromFollower::Failed(SiteError::EngineStopped { reason: panic.to_string() }));
    }));
    let orders = Mailbox::default();
    let sender = orders.clone();
    let handler = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
        sender.push(event.data());
    });
    scope::global().set_onmessage(Some(handler.as_ref().unchecked_ref()));
    handler.forget();
    spawn_local(async move {
        if let Err(error) = serve(&orders).await {
            report(&FromFollower::Failed(error));
        }
    });
    report(&FromFollower::Started);
}

/// One model from its loading on. Another one gets workers of its own.
async fn serve(orders: &Mailbox<JsValue>) -> Result<(), SiteError> {
    let (model, merge_ms) = load(orders).await?;
    let (packed_bytes, memory_bytes) = (model.bytes() as u64, scope::memory_bytes());
    report(&FromFollower::Ready { packed_bytes, merge_ms, memory_bytes });
    let (order, attached) = next(orders).await;
    let (ToFollower::Follow, Ok(memory)) = (order, attached.get(0).dyn_into()) else {
        return Err(out_of_order());
    };
    let mut exchange = SharedExchange::join(memory, &model);
    let ended = obey(orders, &model, &mut exchange).await;
    if ended.is_err() {
        exchange.lose();
    }
    ended
}

async fn obey(
    orders: &Mailbox<JsValue>,
    model: &Model,
    exchange: &mut SharedExchange,
) -> Result<(), SiteError> {
    let failed = |error: Error| SiteError::EngineStopped { reason: error.to_string() };
    let mut cache = model.new_cache();
    let mut order = ToFollower::Follow;
    loop {
        match order {
            ToFollower::Follow => {
                follow(model, &mut cache, exchange).map_err(failed)?;
            }
            ToFollower::SelfTest => {
                let tokens = self_test_tokens(model.config());
                logits_digest(model, &tokens, exchange).map_err(failed)?;
            }
            ToFollower::Load { .. } => return Err(out_of_order()),
        }
        report(&FromFollower::Ended {
            cache_bytes: cache.bytes() as u64,
            memory_bytes: scope::memory_bytes(),
        });
        (order, _) = next(orders).await;
    }
}

/// This rank's part of the model whose bytes come next, and the milliseconds that packing took.
async fn load(orders: &Mailbox<JsValue>) -> Result<(Model, f64), SiteError> {
    let (order, attached) = next(orders).await;
    let ToFollower::Load { rank, ranks, bytes, adapter: name } = order else {
        return Err(out_of_order());
    };
    let bad = |error: Error| refused(&error, name.as_deref());
    let slice = RankSlice::new(rank, ranks).map_err(bad)?;
    let adapter = match &name {
        None => None,
        Some(name) => {
            let file = |index| attached.get(index).unchecked_into::<Uint8Array>().to_vec();
            let adapter = Adapter::parse(&file(0), &file(1));
            Some(adapter.map_err(|error| bad_adapter(name, &error))?)
        }
    };
    let mut stream = TensorStream::new(bytes, None);
    let mut packer = Packer::new(slice, adapter.as_ref());
    let (mut left, mut merge_ms) = (bytes, 0.0);
    // One buffer for all of them: between the packed weights each would leave a hole of its own.
    let mut bytes = Vec::new();
    while left > 0 {
        let Ok(piece) = orders.next().await.dyn_into::<Uint8Array>() else {
            return Err(out_of_order());
        };
        let started = scope::now_ms();
        left = left.saturating_sub(piece.length() as usize);
        bytes.resize(piece.length() as usize, 0);
        piece.copy_to(&mut bytes);
        stream.push(&bytes, &mut packer).map_err(bad)?;
        merge_ms += scope::now_ms() - started;
    }
    Ok((packer.finish(bad)?, merge_ms))
}

/// The next order, and what stands behind it.
async fn next(orders: &Mailbox<JsValue>) -> (ToFollower, Array) {
    let mut parts: Array = orders.next().await.unchecked_into();
    let text = parts.get(0).as_string().expect("an order begins with its text");
    parts = parts.slice(1, parts.length());
    (serde_json::from_str(&text).expect("ranks are of one build"), parts)
}

fn report(message: &FromFollower) {
    scope::post_json(message);
}

/// The error of a rank that hears something else than what must come next.
pub fn out_of_order() -> SiteError {
    SiteError::EngineStopped { reason: "the ranks of the engine lost their order".into() }
}
