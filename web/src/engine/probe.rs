//! How many cores are quickest: a few passes of a small model, by each number of ranks.

use js_sys::Uint8Array;
use shared::{
    Exchange, GgmlType, Gguf, GgufBuilder, Linear, Model, ModelBuilder, ModelConfig, Pass,
    RankSlice, Result,
};

use super::{
    library::Library,
    ranks::{Ranks, answer_failed},
    scope,
};
use crate::{
    BUILD,
    cores::{Measurement, Offer, quickest},
    error::SiteError,
};

/// Where the store keeps the measurement.
const KEPT: &str = "measured/cores.json";
/// Tokens of the prompt, and of the answer behind it.
const PROMPT: usize = 32;
const ANSWER: usize = 16;
/// How often both are timed; the best counts.
const ROUNDS: usize = 6;
/// Rounds before those last this long, and a rest follows: they pay for the browser's compiler.
const WARM_UP_MS: f64 = 60.0;
const COMPILE_MS: i32 = 60;

/// What an earlier visit measured for this base, this build and this machine.
pub async fn measured(library: &Library, base_sha256: &str, offer: Offer) -> Option<usize> {
    let kept = library.note(KEPT).await?;
    // Written by another build it may have another form: then it is measured again.
    let kept: Measurement = serde_json::from_str(&kept).ok()?;
    kept.holds(base_sha256, BUILD, offer)
}

/// Measures which number of cores up to `most` is quickest, and keeps it for later visits.
///
/// # Errors
/// Not even one rank can be measured.
pub async fn measure(
    library: &Library,
    base_sha256: &str,
    offer: Offer,
    most: usize,
) -> std::result::Result<usize, SiteError> {
    let file = file().map_err(answer_failed)?;
    let mut times = Vec::new();
    // From the top: whatever the browser still compiles then counts against many ranks.
    for ranks in (1..=most).rev() {
        match time(&file, ranks).await {
            Ok(ms) => times.push((ranks, ms)),
            Err(error) if ranks == 1 => return Err(error),
            // A number that cannot be had is not chosen.
            Err(error) => web_sys::console::warn_1(&format!("{ranks} ranks: {error}").into()),
        }
    }
    let cores = quickest(&times);
    let measurement = Measurement {
        base_sha256: base_sha256.into(),
        build: BUILD.into(),
        processors: offer.processors,
        cores,
    };
    let json = serde_json::to_string(&measurement).expect("a measurement holds no map");
    library.keep_note(KEPT, &json).await;
    Ok(cores)
}

/// Milliseconds for prompt and answer.
async fn time(file: &[u8], count: usize) -> std::result::Result<f64, SiteError> {
    let mut ranks = Ranks::start(count).await?;
    ranks.load(file.len(), None);
    ranks.pass_on(Uint8Array::from(file));
    let slice = RankSlice::new(0, count).map_err(answer_failed)?;
    let model = model(file, slice).map_err(answer_failed)?;
    ranks.follow(&model).await?;
    let round = || passes(&model, &mut ranks.lead());
    let started = scope::now_ms();
    let mut warm = Ok(0.0);
    while warm.is_ok() && scope::now_ms() - started < WARM_UP_MS {
        warm = round();
    }
    scope::pause(COMPILE_MS).await;
    let timed = warm
        .and_then(|_| (0..ROUNDS).try_fold(f64::INFINITY, |best, _| Ok(f64::min(best, round()?))));
    match timed {
        Ok(ms) => Ok(ms),
        Err(error) => Err(ranks.failure(error, answer_failed).await),
    }
}

/// Milliseconds for one prompt and one answer.
fn passes(model: &Model, exchange: &mut dyn Exchange) -> Result<f64> {
    let started = scope::now_ms();
    let mut cache = model.new_cache();
    let mut pass = |tokens: &[u32]| {
        exchange.announce(Pass { keep: cache.len(), tokens })?;
        model.forward(&mut cache, tokens, exchange)
    };
    pass(&[1; PROMPT])?;
    for _ in 0..ANSWER {
        pass(&[1])?;
    }
    Ok(scope::now_ms() - started)
}

/// Two layers of SmolLM2-135M's shape: the smallest base that more than one core may pay for is
/// about as wide, and a wider one has more to do between two exchanges.
fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: 512,
        hidden_size: 576,
        intermediate_size: 1536,
        num_hidden_layers: 2,
        num_attention_heads: 9,
        num_key_value_heads: 3,
        head_dim: 64,
        rms_norm_eps: 1e-5,
        rope_theta: 1e4,
        context_length: PROMPT + ANSWER,
        tie_word_embeddings: true,
    }
}

/// The model's file, 8-bit. All weights are alike: what a product takes does not depend on them.
fn file() -> Result<Vec<u8>> {
    let config = config();
    let hidden = config.hidden_size;
    let mut builder = GgufBuilder::new();
    builder.config(&config)?;
    let ones = vec![1.0; hidden];
    let matrix = |builder: &mut GgufBuilder, name: &str, shape: [usize; 2]| {
        // A block is its scale, 2^-7 as f16, and its codes.
        let mut block = vec![1; GgmlType::Q8_0.block_bytes()];
        block[..2].copy_from_slice(&0x2000_u16.to_le_bytes());
        let blocks = shape[0] * shape[1] / GgmlType::Q8_0.block_len();
        builder.tensor_bytes(name, &shape, GgmlType::Q8_0, &block.repeat(blocks))
    };
    matrix(&mut builder, "token_embd.weight", [config.vocab_size, hidden])?;
    builder.tensor("output_norm.weight", &[hidden], GgmlType::F32, &ones)?;
    for layer in 0..config.num_hidden_layers {
        for name in ["attn_norm", "ffn_norm"] {
            let name = format!("blk.{layer}.{name}.weight");
            builder.tensor(&name, &[hidden], GgmlType::F32, &ones)?;
        }
        for linear in Linear::ALL {
            matrix(&mut builder, &linear.gguf_name(layer), linear.shape(&config))?;
        }
    }
    Ok(builder.finish())
}

fn model(file: &[u8], slice: RankSlice) -> Result<Model> {
    let gguf = Gguf::parse(file)?;
    let mut builder = ModelBuilder::new(&ModelConfig::from_gguf(&gguf)?, slice, None)?;
    for (name, info) in gguf.tensors() {
        builder.tensor(name, info, gguf.tensor_bytes(file, name)?)?;
    }
    builder.finish()
}
