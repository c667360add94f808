//! From files to a session that answers.

use futures_util::future::try_join_all;
use shared::{
    BaseHeader, Error, Guard, Model, Session, SoloExchange, logits_digest, self_test_tokens,
};

use super::{
    adapter::{AdapterFiles, ReadAdapter, bad_adapter},
    library::Library,
    lists::{Lists, Wanted},
    merge::{KnownBase, merge},
    reporter::Reporter,
    scope::{self, Yielder},
};
use crate::{
    error::SiteError,
    progress::Stage,
    protocol::{BaseInfo, LoadCost, Loaded, ToPage},
};

/// What an answer needs.
pub struct Answering<'a> {
    /// The merged model behind its prompt.
    pub session: &'a mut Session,
    /// The list of known identifiers.
    pub guard: Option<&'a Guard>,
    /// For giving way between tokens.
    pub yielder: &'a Yielder,
}

/// Everything that the worker holds.
pub struct Engine {
    library: Library,
    yielder: Yielder,
    base: Option<KnownBase>,
    session: Option<(Session, Option<Guard>)>,
}

impl Engine {
    /// An engine for the site at `site` that has nothing loaded.
    pub async fn new(site: String) -> Self {
        Self {
            library: Library::open(site).await,
            yielder: Yielder::new(),
            base: None,
            session: None,
        }
    }

    /// For giving way.
    pub fn yielder(&self) -> &Yielder {
        &self.yielder
    }

    /// The session, if one is loaded.
    pub fn answering(&mut self) -> Option<Answering<'_>> {
        let (session, guard) = self.session.as_mut()?;
        Some(Answering { session, guard: guard.as_ref(), yielder: &self.yielder })
    }

    /// SHA-256 over the bits of the logits of a fixed prompt: the same on every machine for the
    /// same base and adapter.
    pub fn self_test(&self) -> Result<String, SiteError> {
        let failed = |reason: String| SiteError::AnswerFailed { reason };
        let (session, _) =
            self.session.as_ref().ok_or_else(|| failed("no adapter is loaded".into()))?;
        let model = session.model();
        let tokens = self_test_tokens(model.config());
        logits_digest(model, &tokens, &mut SoloExchange).map_err(|error| failed(error.to_string()))
    }

    /// Loads the base with the adapter `wanted` and tells the page how that went.
    pub async fn load(&mut self, wanted: Wanted) {
        let started = scope::now_ms();
        let result = self.try_load(wanted, started).await;
        match result {
            Ok((loaded, lists)) => {
                scope::post(&ToPage::Ready(loaded));
                self.library.prune(lists.hashes()).await;
            }
            Err(error) if self.session.is_some() => scope::post(&ToPage::Declined(error)),
            Err(error) => scope::post(&ToPage::Failed(error)),
        }
    }

    async fn try_load(
        &mut self,
        wanted: Wanted,
        started: f64,
    ) -> Result<(Loaded, Lists), SiteError> {
        let lists = Lists::read(&self.library).await?;
        scope::post(&ToPage::Catalog(lists.catalog()));
        let base = lists.base();
        let version = lists.version(&wanted)?;
        let listed = version.map(|name| lists.adapter(name)).transpose()?.unwrap_or_default();
        let progress = Reporter::new(listed.iter().chain([&base]));

        let mut files = AdapterFiles::default();
        if let Wanted::Local(local) = &wanted {
            files = AdapterFiles::from_computer(local).await?;
        }
        let reads = listed.iter().enumerate().map(|(index, file)| {
            let progress = &progress;
            self.library.read_all(file, move |done, source| progress.advance(index, done, source))
        });
        for (file, bytes) in listed.iter().zip(try_join_all(reads).await?) {
            files.set(file.name(), bytes);
        }
        let adapter = ReadAdapter::parse(&files, version)?;
        drop(files);
        if let Some(known) = self.base.as_ref().filter(|known| known.file == base) {
            adapter.check(&known.header)?;
        }

        // Two models at once may be more than fits: from here on the old one cannot be kept.
        self.session = None;
        let merged = merge(&self.library, &base, self.base.take(), &adapter, &progress).await?;
        progress.stage(Stage::Merging);
        let prompt_started = scope::now_ms();
        let header = &merged.base.header;
        let kernels = merged.model.kernels().to_owned();
        let session = session(merged.model, header, &adapter)?;
        let merge_ms = merged.ms + scope::now_ms() - prompt_started;

        let identity = &header.identity;
        let info = BaseInfo {
            name: identity.name.clone(),
            version: identity.version.clone(),
            license: identity.license.clone(),
            sha256: identity.sha256.clone(),
            size: base.entry.size,
        };
        self.base = Some(merged.base);
        self.session = Some((session, adapter.guard));
        let cost = LoadCost {
            downloaded_bytes: self.library.downloaded_bytes(),
            total_ms: scope::now_ms() - started,
            merge_ms,
            memory_bytes: scope::memory_bytes(),
        };
        Ok((Loaded { base: info, adapter: adapter.info, cost, kernels }, lists))
    }
}

/// The session behind the prompt that the adapter was trained with.
fn session(model: Model, header: &BaseHeader, adapter: &ReadAdapter) -> Result<Session, SiteError> {
    let bad = |error: Error| bad_adapter(&adapter.info.version, &error);
    let prompt = match &adapter.record {
        Some(record) => header.prompt.with_system(&record.system_prompt).map_err(bad)?,
        None => header.prompt.clone(),
    };
    Session::new(model, prompt).map_err(bad)
}
