//! Reading what the user names: the error says which file, what was expected and what to do.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use shared::Base;

/// The largest base that is read, bytes.
const MAX_BASE: u64 = 16 << 30;

/// Reads a whole file of at most `limit` bytes. `what` completes "expected ...".
///
/// # Errors
/// It does not exist, is a directory, is larger, or cannot be read.
pub fn read_input(path: &Path, what: &str, limit: u64) -> Result<Vec<u8>> {
    let shown = path.display();
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow!("{shown} does not exist: expected {what}"),
        _ => anyhow::Error::new(error).context(format!("cannot read {shown}, expected {what}")),
    })?;
    if metadata.is_dir() {
        bail!("{shown} is a directory: expected {what}");
    }
    if metadata.len() > limit {
        bail!("{shown} has {} bytes: expected {what}, at most {limit} bytes", metadata.len());
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    // A pipe has no length: what it delivers is held against the limit too.
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {shown}"))?;
    if bytes.len() as u64 > limit {
        bail!("{shown} has more than {limit} bytes: expected {what}");
    }
    Ok(bytes)
}

/// Reads a base model.
///
/// # Errors
/// As [`read_input`], and whatever [`Base::from_bytes`] refuses.
pub fn load_base(path: &Path) -> Result<Base> {
    let bytes = read_input(path, "a base model as one GGUF file (name it with --base)", MAX_BASE)?;
    let size = bytes.len();
    Base::from_bytes(bytes).with_context(|| {
        format!("{} ({size} bytes) cannot be used as a base model", path.display())
    })
}
