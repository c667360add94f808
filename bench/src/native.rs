//! The same engine without a browser: what it computes from a file, and how fast.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use shared::{
    Base, Exchange, Model, Pass, RankSlice, SoloExchange, ThreadExchange, follow, logits_digest,
    self_test_tokens,
};

use crate::{Options, peers::prompt};

/// Runs that do not count, as in the page.
const WARM_UPS: usize = 2;

/// What the other engines' results are checked with.
pub struct Reference {
    /// Digest of the logits of the self-test's prompt.
    pub digest: String,
    /// Logits after the prompt that the peers read.
    pub logits: Vec<f32>,
}

/// Computes the reference.
///
/// # Errors
/// The file cannot be read or run.
pub fn reference(path: &Path, prompt_tokens: usize) -> Result<Reference> {
    let model = Model::load(&base(path)?, RankSlice::SOLO)?;
    let tokens = self_test_tokens(model.config());
    let digest = logits_digest(&model, &tokens, &mut SoloExchange)?;
    let prompt = prompt(prompt_tokens);
    let logits = model.forward(&mut model.new_cache(), &prompt, &mut SoloExchange)?;
    Ok(Reference { digest, logits })
}

/// One measured run, in the form that the pages report it in.
///
/// # Errors
/// As [`reference`].
pub fn measure(path: &Path, threads: usize, options: &Options) -> Result<Value> {
    let base = base(path)?;
    let load = |rank| -> Result<Model> { Ok(Model::load(&base, RankSlice::new(rank, threads)?)?) };
    let models = (0..threads).map(load).collect::<Result<Vec<_>>>()?;
    drop(base);
    let mut ends = ThreadExchange::new(threads, models[0].max_gather_len());
    let followers = ends.split_off(1);
    thread::scope(|scope| {
        for (model, mut end) in models[1..].iter().zip(followers) {
            // If it fails, the leader finds it lost.
            scope.spawn(move || follow(model, &mut model.new_cache(), &mut end));
        }
        // Dropped at the end, whether by an error or not: then the others end.
        let mut lead = ends.pop().context("an exchange has a leader")?;
        for _ in 0..WARM_UPS {
            run(&models[0], &mut lead, options)?;
        }
        let (prefill, decode) = run(&models[0], &mut lead, options)?;
        let rate = |tokens: usize, time: Duration| tokens as f64 / time.as_secs_f64();
        Ok(json!({
            "runs": [{
                "prefill_tps": rate(options.prompt_tokens, prefill),
                "decode_tps": rate(options.decode_tokens, decode),
            }],
            "build": models[0].kernels(),
        }))
    })
}

fn run(
    model: &Model,
    exchange: &mut dyn Exchange,
    options: &Options,
) -> Result<(Duration, Duration)> {
    let mut cache = model.new_cache();
    let mut read = |tokens: &[u32]| -> Result<()> {
        exchange.announce(Pass { keep: cache.len(), tokens })?;
        model.forward(&mut cache, tokens, exchange)?;
        Ok(())
    };
    let started = Instant::now();
    read(&prompt(options.prompt_tokens))?;
    let prefill = started.elapsed();
    for token in prompt(options.decode_tokens) {
        read(&[token])?;
    }
    Ok((prefill, started.elapsed() - prefill))
}

fn base(path: &Path) -> Result<Base> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Base::from_bytes(bytes).with_context(|| path.display().to_string())
}
