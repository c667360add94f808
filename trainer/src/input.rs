//! Reading what the user names: the error says which file, what was expected and what to do.

use std::fs::{self, File, Metadata};
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
    if !metadata.is_file() && !is_pipe(&metadata) {
        bail!("{shown} is a device or socket: expected {what}");
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

/// What `<(zcat records.jsonl.gz)` names in a shell.
#[cfg(unix)]
fn is_pipe(metadata: &Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&metadata.file_type())
}

#[cfg(not(unix))]
fn is_pipe(_metadata: &Metadata) -> bool {
    false
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_up_to_the_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_input(&path, "digits", 5).unwrap(), b"12345");
        let error = read_input(&path, "digits", 4).unwrap_err().to_string();
        assert!(error.ends_with("file has 5 bytes: expected digits, at most 4 bytes"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn rejects_devices() {
        let error = read_input(Path::new("/dev/zero"), "digits", 4).unwrap_err().to_string();
        assert_eq!(error, "/dev/zero is a device or socket: expected digits");
    }
}
