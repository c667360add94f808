//! The benchmark page's measurements.

use std::{collections::BTreeMap, hint::black_box};

use shared::{ADAPTER_CONFIG, ADAPTER_MODEL, Adapter, Error, Exchange, Model, Pass, RankSlice};
use web_sys::Response;

use super::{
    fetch,
    hasher::Hasher,
    packer::Packer,
    ranks::{AdapterParts, Ranks, answer_failed},
    scope::{self, Yielder},
};
use crate::{
    bench::{BenchRequest, BenchResult, BenchRun, read_all},
    catalog::{MAX_LIST_BYTES, MODELS_INDEX, ModelsIndex},
    error::SiteError,
    protocol::ToPage,
    tensor_stream::TensorStream,
};

/// What one read of memory covers: more than a cache holds.
const READ_BYTES: usize = 128 << 20;
/// How often memory is read; the best counts.
const READS: usize = 5;
/// Runs that are not measured: they pay for the browser's compiler.
const WARM_UPS: usize = 2;
/// Rest after each of them, for the compiler's own threads.
const COMPILE_MS: i32 = 500;
/// Largest file of an adapter, in bytes.
const MAX_ADAPTER_BYTES: u64 = 1 << 31;

/// Measures what the query `parameters` ask for.
pub async fn bench(
    parameters: &BTreeMap<String, String>,
    yielder: &Yielder,
) -> Result<BenchResult, SiteError> {
    let request = BenchRequest::from_parameters(parameters)?;
    if request.ranks > 1 && !scope::offer().isolated {
        return Err(SiteError::BadParameter {
            name: "ranks".into(),
            expected: "1, because the server does not isolate this page (see the README)".into(),
            found: request.ranks.to_string(),
        });
    }
    let url = match &request.model {
        Some(url) => url.clone(),
        None => site_base().await?,
    };
    let adapter = match &request.adapter {
        Some(folder) => Some(read_adapter(folder).await?),
        None => None,
    };
    say("starting the ranks", yielder).await;
    let mut ranks = Ranks::start(request.ranks).await?;
    say("loading the model", yielder).await;
    let loaded = load(&url, adapter.as_ref(), &mut ranks).await?;
    let model = &loaded.model;
    let mut runs = Vec::new();
    let mut cache_bytes = 0;
    for run in 0..WARM_UPS + request.runs {
        let warm = run >= WARM_UPS;
        let number = run + 1 - if warm { WARM_UPS } else { 0 };
        say(&format!("{} {number}", if warm { "run" } else { "warm-up" }), yielder).await;
        let measured = match measure(model, &request, &mut ranks.lead(), &mut cache_bytes) {
            Ok(measured) => measured,
            Err(error) => return Err(ranks.failure(error, answer_failed).await),
        };
        match warm {
            true => runs.push(measured),
            // While ranks keep every core busy, the browser's compiler hardly gets on.
            false => scope::pause(COMPILE_MS).await,
        }
    }
    say("computing the digest", yielder).await;
    let (digest, others) = ranks.self_test(model).await?;
    let peak_bytes = scope::memory_bytes() + others.memory_bytes;
    say("reading memory", yielder).await;
    Ok(BenchResult {
        model: url,
        model_sha256: loaded.sha256,
        model_bytes: loaded.bytes,
        prompt_tokens: request.prompt_tokens,
        decode_tokens: request.decode_tokens,
        runs,
        load_s: loaded.seconds,
        merge_s: loaded.merge_seconds,
        packed_bytes: loaded.packed_bytes,
        peak_bytes,
        cache_bytes: cache_bytes + others.cache_bytes,
        digest,
        read_gbps: read_gbps()?,
        ranks: ranks.count(),
        build: model.kernels().into(),
    })
}

/// Tells the page what comes next.
async fn say(what: &str, yielder: &Yielder) {
    scope::post(&ToPage::Benching { step: what.into() });
    yielder.give_way().await;
}

async fn site_base() -> Result<String, SiteError> {
    Ok(ModelsIndex::parse(&read_file(MODELS_INDEX, MAX_LIST_BYTES).await?)?.base().0)
}

/// An adapter, and its folder and two files for the other ranks.
struct AdapterFiles {
    adapter: Adapter,
    folder: String,
    config: Vec<u8>,
    weights: Vec<u8>,
}

async fn read_adapter(folder: &str) -> Result<AdapterFiles, SiteError> {
    let address = |name: &str| format!("{}/{name}", folder.trim_end_matches('/'));
    let config = read_file(&address(ADAPTER_CONFIG), MAX_LIST_BYTES).await?;
    let weights = read_file(&address(ADAPTER_MODEL), MAX_ADAPTER_BYTES).await?;
    let adapter = Adapter::parse(&config, &weights).map_err(|error| SiteError::BadAdapter {
        adapter: folder.into(),
        reason: error.to_string(),
    })?;
    Ok(AdapterFiles { adapter, folder: folder.into(), config, weights })
}

async fn read_file(url: &str, limit: u64) -> Result<Vec<u8>, SiteError> {
    let response = fetch::request(url).await?;
    let mut bytes = Vec::new();
    fetch::read(url, &response, limit, |piece| fetch::append(url, &mut bytes, piece.bytes)).await?;
    Ok(bytes)
}

struct Loaded {
    model: Model,
    sha256: String,
    bytes: u64,
    seconds: f64,
    merge_seconds: f64,
    packed_bytes: u64,
}

async fn load(
    url: &str,
    adapter: Option<&AdapterFiles>,
    ranks: &mut Ranks,
) -> Result<Loaded, SiteError> {
    let bad = |error: Error| SiteError::BadBase { reason: error.to_string() };
    let started = scope::now_ms();
    let response = fetch::request(url).await?;
    let length = content_length(url, &response)?;
    let parts = adapter.map(|AdapterFiles { folder, config, weights, .. }| AdapterParts {
        name: folder,
        config,
        weights,
    });
    ranks.load(length, parts);
    let slice = RankSlice::new(0, ranks.count()).map_err(bad)?;
    let mut stream = TensorStream::new(length, None);
    let mut packer = Packer::new(slice, adapter.map(|adapter| &adapter.adapter));
    let mut merge_ms = 0.0;
    let hasher = Hasher::new(length as u64);
    let (hashes, bytes) = fetch::read_hashed(url, &response, length as u64, hasher, |piece| {
        ranks.pass_on(piece.original);
        let started = scope::now_ms();
        let pushed = stream.push(piece.bytes, &mut packer);
        merge_ms += scope::now_ms() - started;
        pushed.map_err(bad)
    })
    .await?;
    if bytes != length as u64 {
        return Err(SiteError::Corrupted {
            file: url.into(),
            expected: format!("{length} bytes"),
            found: format!("{bytes} bytes"),
        });
    }
    let model = packer.finish(bad)?;
    let others = ranks.follow(&model).await?;
    Ok(Loaded {
        packed_bytes: model.bytes() as u64 + others.packed_bytes,
        model,
        sha256: hashes.whole.expect("a new hasher hashes the whole"),
        bytes,
        seconds: (scope::now_ms() - started) / 1000.0,
        merge_seconds: others.merge_ms.max(merge_ms) / 1000.0,
    })
}

/// The size that the server announces: where tensors end cannot be checked without it.
fn content_length(url: &str, response: &Response) -> Result<usize, SiteError> {
    let header = response.headers().get("Content-Length").ok().flatten();
    header.and_then(|text| text.parse().ok()).ok_or_else(|| SiteError::BadBase {
        reason: format!("the server does not say how long {url} is (no Content-Length)"),
    })
}

/// Steps of `performance.now` where the page is not isolated.
const CLOCK_STEP_MS: f64 = 0.1;

/// One prompt and the tokens behind it.
fn measure(
    model: &Model,
    request: &BenchRequest,
    exchange: &mut dyn Exchange,
    cache_bytes: &mut u64,
) -> Result<BenchRun, Error> {
    let mut cache = model.new_cache();
    let vocab_size = model.config().vocab_size;
    let prompt: Vec<u32> =
        (0..request.prompt_tokens).map(|index| (index * 7919 % vocab_size) as u32).collect();
    let started = scope::now_ms();
    let mut pass = |tokens: &[u32]| {
        let (keep, limit) = (cache.len(), model.config().context_length);
        // Refused before the others are told, who would have to refuse it as well.
        if keep + tokens.len() > limit {
            return Err(Error::Context { needed: keep + tokens.len(), limit });
        }
        exchange.announce(Pass { keep, tokens })?;
        model.forward(&mut cache, tokens, exchange)
    };
    let mut logits = pass(&prompt)?;
    let prefilled = scope::now_ms();
    for _ in 0..request.decode_tokens {
        logits = pass(&[most_probable(&logits)])?;
    }
    let decoded = scope::now_ms();
    *cache_bytes = cache.bytes() as u64;
    // A tiny model may need less than a step of the clock: a rate of infinity is no JSON.
    let rate = |tokens: usize, ms: f64| tokens as f64 * 1000.0 / ms.max(CLOCK_STEP_MS);
    Ok(BenchRun {
        prefill_tps: rate(request.prompt_tokens, prefilled - started),
        decode_tps: rate(request.decode_tokens, decoded - prefilled),
    })
}

fn most_probable(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(token, _)| token as u32)
}

/// Gigabytes a second, the best of a few reads.
fn read_gbps() -> Result<f64, SiteError> {
    let mut words: Vec<u64> = Vec::new();
    let len = READ_BYTES / size_of::<u64>();
    words
        .try_reserve_exact(len)
        .map_err(|_| SiteError::OutOfMemory { what: format!("{READ_BYTES} bytes to read") })?;
    words.extend((0..len as u64).map(|index| index.wrapping_mul(0x9e37_79b9)));
    let seconds = (0..READS).map(|_| {
        let started = scope::now_ms();
        black_box(read_all(black_box(&words)));
        (scope::now_ms() - started) / 1000.0
    });
    Ok(READ_BYTES as f64 / 1e9 / seconds.fold(f64::INFINITY, f64::min))
}
