//! What the native engine computes from the same file.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use shared::{Base, Model, RankSlice, SoloExchange, logits_digest, self_test_tokens};

/// The digest of the logits of the self-test's prompt.
///
/// # Errors
/// The file cannot be read or run.
pub fn digest(model: &Path) -> Result<String> {
    let bytes = fs::read(model).with_context(|| format!("read {}", model.display()))?;
    let base = Base::from_bytes(bytes).with_context(|| model.display().to_string())?;
    let model = Model::load(&base, RankSlice::SOLO)?;
    Ok(logits_digest(&model, &self_test_tokens(model.config()), &mut SoloExchange)?)
}
