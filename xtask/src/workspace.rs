//! Where things are in this repository.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// The folders of the workspace.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// The repository.
    pub root: PathBuf,
    /// Cargo's target folder.
    pub target: PathBuf,
}

impl Workspace {
    /// The workspace that this program was built from, with the target folder that it lies in.
    ///
    /// # Errors
    /// The program was moved out of its target folder.
    pub fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
        let program = env::current_exe().context("where this program lies")?;
        let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
        Ok(Self {
            root: root.context("the crate has no parent folder")?.to_owned(),
            target: target
                .with_context(|| format!("{} is not in a target folder", program.display()))?
                .to_owned(),
        })
    }

    /// The built site.
    pub fn dist(&self) -> PathBuf {
        self.root.join("web/dist")
    }

    /// The trainer, once built.
    pub fn trainer(&self) -> PathBuf {
        self.target.join("release").join(format!("trainer{}", env::consts::EXE_SUFFIX))
    }

    /// The version of a dependency, as `Cargo.lock` has it.
    ///
    /// # Errors
    /// `Cargo.lock` cannot be read or does not have it.
    pub fn locked_version(&self, package: &str) -> Result<String> {
        let path = self.root.join("Cargo.lock");
        let lock = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        locked_version(&lock, package)
            .with_context(|| format!("{} has no {package}", path.display()))
    }
}

fn locked_version(lock: &str, package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    let version = lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')?;
    Some(version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_locked_version() {
        let lock = "[[package]]\nname = \"wasm-bindgen-shared\"\nversion = \"9.9.9\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\nsource = \"x\"\n";
        assert_eq!(locked_version(lock, "wasm-bindgen").as_deref(), Some("0.2.130"));
        assert_eq!(locked_version(lock, "wasm"), None);
    }

    #[test]
    fn knows_this_workspace() {
        let workspace = Workspace::find().unwrap();
        assert!(workspace.root.join("Cargo.lock").is_file());
        assert!(!workspace.locked_version("anyhow").unwrap().is_empty());
    }
}
