//! Folders.

use std::{fs, path::Path};

use anyhow::{Context, Result};

/// Copies everything in `from` to `to`, which is made if missing. Files of `to` with the same
/// names are replaced, others stay: what copying a folder over another does.
///
/// # Errors
/// A file that cannot be read or written, by name.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    let entries = fs::read_dir(from).with_context(|| format!("read {}", from.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("read {}", from.display()))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().with_context(|| source.display().to_string())?.is_dir() {
            copy_folder(&source, &target)?;
        } else {
            fs::copy(&source, &target)
                .with_context(|| format!("copy {} to {}", source.display(), target.display()))?;
        }
    }
    Ok(())
}

/// Removes a folder with all it holds, if it is there.
///
/// # Errors
/// It cannot be removed.
pub fn remove_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_replaces_and_keeps() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for (path, text) in
            [("from/a", "new"), ("from/deep/b", "b"), ("to/a", "old"), ("to/c", "c")]
        {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        copy_folder(&from, &to).unwrap();
        for (path, text) in [("a", "new"), ("deep/b", "b"), ("c", "c")] {
            assert_eq!(fs::read_to_string(to.join(path)).unwrap(), text, "{path}");
        }
        let error = copy_folder(&folder.path().join("none"), &to).unwrap_err();
        assert!(error.to_string().contains("none"), "{error}");
        remove_folder(&to).unwrap();
        remove_folder(&to).unwrap();
        assert!(!to.exists());
    }
}
