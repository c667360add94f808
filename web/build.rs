//! Gives both binaries the same build identity: a hash of the sources they are made from.
//!
//! The page puts it behind the address of the worker's files (which Trunk does not name by hash),
//! so that a browser never pairs a new page with an old worker; the "About" panel shows it.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let mut hasher = DefaultHasher::new();
    for root in ["src", "../shared/src", "../Cargo.lock", "../Cargo.toml", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={root}");
        let mut files = Vec::new();
        collect(Path::new(root), &mut files)?;
        files.sort();
        for file in files {
            file.hash(&mut hasher);
            fs::read(&file)?.hash(&mut hasher);
        }
    }
    println!("cargo::rustc-env=LOTWISE_BUILD={:016x}", hasher.finish());
    Ok(())
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else {
        files.push(path.to_owned());
    }
    Ok(())
}
