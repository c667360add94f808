//! A copy of the built site with its own server, so that a test can change its files.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use clap::Parser;
use shared::{AdapterRecord, Base, FileEntry, INDEX_FILE, Index, RECORD_FILE, sha256_hex};
use web::catalog::ModelsIndex;
use xtask::{Server, copy_folder};

/// Names another folder than `web/dist`.
const DIST: &str = "LOTWISE_DIST";

/// A served copy of the built site.
pub struct Site {
    folder: tempfile::TempDir,
    server: Option<Server>,
    url: String,
}

/// `trainer publish`, as on the command line.
#[derive(Parser)]
struct Publish {
    #[command(flatten)]
    args: trainer::cli::publish::Args,
}

/// `trainer audit`, as on the command line.
#[derive(Parser)]
struct Audit {
    #[command(flatten)]
    args: trainer::cli::audit::Args,
}

impl Site {
    /// Copies and serves the built site.
    ///
    /// # Panics
    /// There is none, or it lacks the base or two adapters.
    pub fn start() -> Self {
        Self::start_on(|folder| Server::start(folder, 0))
    }

    /// As [`Self::start`], from a server that isolates the site, so that ranks can share memory.
    pub fn start_isolated() -> Self {
        Self::start_on(|folder| Server::start_isolated(folder, 0))
    }

    fn start_on(serve: impl FnOnce(&Path) -> std::io::Result<Server>) -> Self {
        let dist = env::var_os(DIST).map_or_else(|| repository().join("web/dist"), PathBuf::from);
        assert!(
            dist.join("index.html").is_file(),
            "{} holds no site: build it with `cargo xtask dist`",
            dist.display()
        );
        let folder = tempfile::tempdir().expect("a folder for the site");
        copy_folder(&dist, folder.path()).expect("a copy of the site");
        let server = serve(folder.path()).expect("a server");
        let site = Self { url: server.url(), folder, server: Some(server) };
        let index = site.index();
        assert!(
            index.previous.is_some(),
            "{} needs two published adapters: see the README on how they are made",
            dist.display()
        );
        site
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// The path of one of its files.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// The list of adapters.
    pub fn index(&self) -> Index {
        let path = self.path("adapters").join(INDEX_FILE);
        Index::parse(&fs::read(&path).expect("adapters/index.json")).expect("a valid index")
    }

    /// Writes the list of adapters.
    pub fn write_index(&self, index: &Index) {
        let json = index.to_json().expect("a valid index");
        fs::write(self.path("adapters").join(INDEX_FILE), json).expect("the index is written");
    }

    /// The version that visitors get.
    pub fn current(&self) -> String {
        self.index().current.expect("a current version")
    }

    /// The version before it.
    pub fn previous(&self) -> String {
        self.index().previous.expect("a previous version")
    }

    /// Path, size and hash of the base, as listed.
    pub fn base(&self) -> (String, FileEntry) {
        let json = fs::read(self.path("models/index.json")).expect("models/index.json");
        let index = ModelsIndex::parse(&json).expect("a valid index");
        let (path, entry) = index.base();
        (path, entry.clone())
    }

    /// The base itself.
    pub fn read_base(&self) -> Base {
        let bytes = fs::read(self.path(&self.base().0)).expect("the base");
        Base::from_bytes(bytes).expect("a valid base")
    }

    /// Path, size and hash of the current adapter's weights, as listed.
    pub fn adapter(&self) -> (String, FileEntry) {
        let index = self.index();
        let (name, version) = index.current_version().expect("a current version");
        let file = shared::ADAPTER_MODEL;
        (format!("adapters/{name}/{file}"), version.files[file].clone())
    }

    /// Changes the bytes of a file and returns their new SHA-256.
    pub fn change(&self, file: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
        let path = self.path(file);
        let mut bytes = fs::read(&path).expect(file);
        change(&mut bytes);
        fs::write(&path, &bytes).expect(file);
        sha256_hex(&bytes)
    }

    /// Makes the base as large as `size` says, by bytes behind its tensors, and has all adapters name
    /// it.
    pub fn enlarge(&self, size: u64) {
        let (path, _) = self.base();
        let length = usize::try_from(size).expect("a size of this machine");
        let sha256 = self.change(&path, |bytes| bytes.resize(length, 0));
        let list = self.path("models/index.json");
        let mut models =
            ModelsIndex::parse(&fs::read(&list).expect("models/index.json")).expect("a valid list");
        let entry = FileEntry { sha256: sha256.clone(), size };
        *models.files.values_mut().next().expect("the base is listed") = entry;
        fs::write(&list, serde_json::to_vec(&models).expect("a list")).expect("it is written");
        let mut index = self.index();
        for (name, version) in &mut index.versions {
            let path = self.path("adapters").join(name).join(RECORD_FILE);
            let json = fs::read(&path).expect("the adapter's record");
            let mut record = AdapterRecord::parse(&json).expect("a valid record");
            record.base.sha256.clone_from(&sha256);
            let json = record.to_json().expect("a record");
            let entry = FileEntry { sha256: sha256_hex(&json), size: json.len() as u64 };
            version.files.insert(RECORD_FILE.into(), entry);
            version.base_sha256.clone_from(&sha256);
            fs::write(&path, json).expect("it is written");
        }
        self.write_index(&index);
    }

    /// Takes a published adapter back: it is no longer listed nor there. Returns its files.
    pub fn withdraw(&self, version: &str) -> tempfile::TempDir {
        let files = tempfile::tempdir().expect("a folder for the adapter");
        let published = self.path("adapters").join(version);
        copy_folder(&published, files.path()).expect("a copy of the adapter");
        fs::remove_dir_all(&published).expect("the adapter is removed");
        let mut index = self.index();
        index.versions.remove(version);
        index.current = index.previous.take();
        self.write_index(&index);
        files
    }

    /// Runs `trainer publish` on an adapter's folder.
    pub fn publish(&self, adapter: &Path, version: &str) {
        let (base, _) = self.base();
        let (base, adapters) = (self.path(&base), self.path("adapters"));
        let words = [
            "publish".as_ref(),
            adapter.as_os_str(),
            "--version".as_ref(),
            version.as_ref(),
            "--base".as_ref(),
            base.as_os_str(),
            "--adapters".as_ref(),
            adapters.as_os_str(),
        ];
        let publish = Publish::try_parse_from(words).expect("valid arguments");
        trainer::cli::publish::run(&publish.args).expect("the adapter is published");
    }

    /// `trainer audit verify` or `replay` of an exported log, by this site's adapter and base.
    pub fn audit(&self, command: &str, log: &Path) -> Result<(), String> {
        let (adapters, base) = (self.path("adapters"), self.path(&self.base().0));
        let mut words = vec!["trainer audit".as_ref(), command.as_ref(), log.as_os_str()];
        if command == "replay" {
            words.extend(["--adapter".as_ref(), adapters.as_os_str()]);
            words.extend(["--base".as_ref(), base.as_os_str()]);
        }
        let audit = Audit::try_parse_from(words).expect("valid arguments");
        trainer::cli::audit::run(&audit.args).map(drop).map_err(|error| format!("{error:#}"))
    }
}

/// The repository's folder.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository")
}
