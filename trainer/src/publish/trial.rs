//! Proof that an adapter works with the base, before anyone is served by it.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use shared::{Base, SamplerConfig, SoloExchange, StopReason, logits_digest, self_test_tokens};

use crate::adapter_dir::AdapterDir;

/// What came of a trial.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The answer to the trial's question.
    pub answer: String,
    /// Time to check and merge, seconds.
    pub merge_seconds: f64,
    /// Digest of the merged model's logits for a fixed prompt, which the page can compute too.
    pub logits_digest: String,
}

/// Merges the adapter as the browser will and has it answer `question`.
///
/// # Errors
/// The adapter does not fit, numbers are not finite, or the answer does not come to an end.
pub fn try_out(adapter: AdapterDir, base: &Base, question: &str) -> Result<Trial> {
    let shown = adapter.path.display().to_string();
    let start = Instant::now();
    let served = adapter.serve(base)?;
    let merge_seconds = start.elapsed().as_secs_f64();
    let digest = logits_digest(&served.model, &self_test_tokens(&base.config), &mut SoloExchange)
        .with_context(|| format!("{shown} does not run"))?;
    let mut session = served.session()?;
    let answer = session
        .answer(question, SamplerConfig::exact())
        .with_context(|| format!("{shown} cannot answer {question:?}"))?;
    if answer.stop != StopReason::EndToken {
        bail!(
            "{shown} does not come to an end: asked {question:?}, it says {:?} and goes on; see \
             what it answers with trainer eval, and train it longer",
            answer.text
        );
    }
    Ok(Trial { answer: answer.text, merge_seconds, logits_digest: digest })
}
