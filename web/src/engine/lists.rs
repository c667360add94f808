//! The site's two lists, and what they say about the files to read.

use futures_util::future::try_join;
use shared::Index;
use web_sys::File;

use super::{
    adapter::AdapterFiles,
    library::{Library, Listed},
};
use crate::{
    catalog::{
        ADAPTERS_INDEX, LOGITS_DIGEST, MODELS_INDEX, ModelsIndex, parse_adapters, summarize,
    },
    error::SiteError,
    protocol::Catalog,
};

/// The adapter that is asked for.
#[derive(Clone)]
pub enum Wanted {
    /// The one that `adapters/index.json` names current.
    Current,
    /// A published version.
    Version(String),
    /// One whose files come from this computer.
    Local(Vec<File>),
}

/// The site's two lists.
pub struct Lists {
    models: ModelsIndex,
    adapters: Index,
    offline: bool,
}

impl Lists {
    /// Both lists; fresh where a server answers.
    pub async fn read(library: &Library) -> Result<Self, SiteError> {
        let lists = try_join(library.list(MODELS_INDEX), library.list(ADAPTERS_INDEX));
        let ((models, models_kept), (adapters, adapters_kept)) = lists.await?;
        Ok(Self {
            models: ModelsIndex::parse(&models)?,
            adapters: parse_adapters(&adapters)?,
            offline: models_kept || adapters_kept,
        })
    }

    /// What the page shows of them.
    pub fn catalog(&self) -> Catalog {
        summarize(&self.adapters, self.offline)
    }

    /// The base's file.
    pub fn base(&self) -> Listed {
        let (path, entry) = self.models.base();
        Listed { path, entry: entry.clone() }
    }

    /// The published version that is asked for; `None` for a local adapter.
    pub fn version<'a>(&'a self, wanted: &'a Wanted) -> Result<Option<&'a str>, SiteError> {
        match wanted {
            Wanted::Current => match &self.adapters.current {
                Some(current) => Ok(Some(current)),
                None => Err(SiteError::NoAdapter { version: String::new() }),
            },
            Wanted::Version(version) => Ok(Some(version)),
            Wanted::Local(_) => Ok(None),
        }
    }

    /// The logits digest that a published version had when it was evaluated.
    pub fn digest(&self, name: &str) -> Option<String> {
        let metrics = &self.adapters.versions.get(name)?.metrics;
        metrics.get(LOGITS_DIGEST)?.as_str().map(str::to_owned)
    }

    /// The files of a published version, which must belong to this site's base.
    pub fn adapter(&self, name: &str) -> Result<Vec<Listed>, SiteError> {
        let version = self
            .adapters
            .versions
            .get(name)
            .ok_or_else(|| SiteError::NoAdapter { version: name.into() })?;
        let base = self.base().entry.sha256;
        if version.base_sha256 != base {
            return Err(SiteError::OtherBase {
                adapter: name.into(),
                needs: format!("the base with SHA-256 {}", version.base_sha256),
                have: base,
            });
        }
        Ok(AdapterFiles::NAMES
            .iter()
            .filter_map(|&file| {
                let entry = version.files.get(file)?.clone();
                Some(Listed { path: format!("adapters/{name}/{file}"), entry })
            })
            .collect())
    }

    /// The hashes of everything that is published.
    pub fn hashes(&self) -> impl Iterator<Item = &str> {
        let adapters = self.adapters.versions.values().flat_map(|version| version.files.values());
        let models = self.models.files.values();
        adapters.chain(models).map(|entry| entry.sha256.as_str())
    }
}
