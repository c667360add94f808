//! An adapter's four files, from the site or from this computer, read and checked.

use js_sys::Uint8Array;
use shared::{
    ADAPTER_CONFIG, ADAPTER_MODEL, Adapter, AdapterRecord, BaseHeader, Error, GUARD_FILE, Guard,
    GuardList, RECORD_FILE,
};
use wasm_bindgen_futures::JsFuture;
use web_sys::File;

use super::{fetch, hasher, library::Listed};
use crate::{
    error::SiteError,
    protocol::{AdapterInfo, Origin},
};

/// Largest file that is read from this computer, in bytes.
const MAX_LOCAL_BYTES: f64 = (1_u64 << 31) as f64;

/// The bytes of an adapter.
#[derive(Default)]
pub struct AdapterFiles {
    /// `adapter_config.json`.
    pub config: Vec<u8>,
    /// `adapter_model.safetensors`.
    pub weights: Vec<u8>,
    /// SHA-256 of the weights, hexadecimal.
    pub weights_sha256: String,
    /// `lotwise.json`.
    pub record: Option<Vec<u8>>,
    /// `guard.json`.
    pub guard: Option<Vec<u8>>,
}

impl AdapterFiles {
    /// The names of an adapter's files.
    pub const NAMES: [&str; 4] = [ADAPTER_CONFIG, RECORD_FILE, GUARD_FILE, ADAPTER_MODEL];

    /// Takes a published file, which has been verified.
    pub fn set_listed(&mut self, file: &Listed, bytes: Vec<u8>) {
        if file.name() == ADAPTER_MODEL {
            self.weights_sha256.clone_from(&file.entry.sha256);
        }
        self.set(file.name(), bytes);
    }

    /// Takes the bytes of the file called `name`; other names than [`Self::NAMES`] are ignored.
    fn set(&mut self, name: &str, bytes: Vec<u8>) {
        match name {
            ADAPTER_CONFIG => self.config = bytes,
            ADAPTER_MODEL => self.weights = bytes,
            RECORD_FILE => self.record = Some(bytes),
            GUARD_FILE => self.guard = Some(bytes),
            _ => {}
        }
    }

    /// Reads an adapter from files of this computer. The two files of PEFT must be among them.
    pub async fn from_computer(files: &[File]) -> Result<Self, SiteError> {
        let bad =
            |reason: String| SiteError::BadAdapter { adapter: "from this computer".into(), reason };
        for name in [ADAPTER_CONFIG, ADAPTER_MODEL] {
            if !files.iter().any(|file| file.name() == name) {
                return Err(bad(format!("{name} is not among the files")));
            }
        }
        let mut adapter = Self::default();
        for file in files.iter().filter(|file| Self::NAMES.contains(&file.name().as_str())) {
            let name = file.name();
            if file.size() > MAX_LOCAL_BYTES {
                return Err(bad(format!("{name} is larger than {MAX_LOCAL_BYTES} bytes")));
            }
            let buffer = JsFuture::from(file.array_buffer())
                .await
                .map_err(|error| bad(format!("{name} cannot be read: {}", fetch::words(&error))))?;
            let bytes = Uint8Array::new(&buffer);
            if name == ADAPTER_MODEL {
                adapter.weights_sha256 = hasher::sha256(&bytes).await?;
            }
            adapter.set(&name, bytes.to_vec());
        }
        Ok(adapter)
    }
}

/// An adapter that has been read and checked as far as it can be without a base.
pub struct ReadAdapter {
    /// Its matrices.
    pub adapter: Adapter,
    /// What the page shows of it.
    pub info: AdapterInfo,
    /// Its list of known identifiers.
    pub guard: Option<Guard>,
    /// How it was trained; a local adapter may lack it.
    pub record: Option<AdapterRecord>,
}

impl ReadAdapter {
    /// Reads `files`. `published` is the version under which they were published.
    pub fn parse(files: &AdapterFiles, published: Option<&str>) -> Result<Self, SiteError> {
        let name = published.unwrap_or("from this computer");
        let bad = |error: Error| bad_adapter(name, &error);
        let adapter = Adapter::parse(&files.config, &files.weights).map_err(bad)?;
        let record = files.record.as_deref().map(AdapterRecord::parse).transpose().map_err(bad)?;
        let list = files.guard.as_deref().map(GuardList::parse).transpose().map_err(bad)?;
        let guard = list.as_ref().map(Guard::new).transpose().map_err(bad)?;
        let sha256 = files.weights_sha256.clone();
        let info = AdapterInfo {
            version: published.map_or_else(|| sha256[..8].to_owned(), str::to_owned),
            origin: if published.is_some() { Origin::Published } else { Origin::Local },
            created: record.as_ref().map(|record| record.created.clone()).unwrap_or_default(),
            guarded: guard.is_some(),
            undecided: record.as_ref().and_then(|record| record.undecided.clone()),
            approved_answers: record.as_ref().is_some_and(|r| r.approved_answers.is_some()),
            sha256,
        };
        Ok(Self { adapter, info, guard, record })
    }

    /// Checks that the adapter belongs to the base: by record where there is one, by shape always.
    pub fn check(&self, header: &BaseHeader) -> Result<(), SiteError> {
        let by_record = self
            .record
            .as_ref()
            .map_or(Ok(()), |record| record.check(&header.identity, &header.prompt));
        by_record
            .and_then(|()| self.adapter.check(&header.config))
            .map_err(|error| bad_adapter(&self.info.version, &error))
    }
}

/// `error` about the adapter called `name`.
pub fn bad_adapter(name: &str, error: &Error) -> SiteError {
    match error {
        Error::AdapterMismatch { what, expected, found } => SiteError::OtherBase {
            adapter: name.into(),
            needs: format!("{what} to be {found}"),
            have: expected.clone(),
        },
        _ => SiteError::BadAdapter { adapter: name.into(), reason: error.to_string() },
    }
}
