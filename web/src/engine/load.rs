//! From files to a session that answers.

use std::{cell::OnceCell, collections::BTreeSet, sync::Arc};

use futures_util::future::{try_join, try_join_all};
use js_sys::Uint8Array;
use shared::{
    AnswerTrie, AuditAdapter, AuditEngine, BaseHeader, Error, Guard, Model, PromptFormat,
    Safeguards, Session,
};
use wasm_bindgen_futures::JsFuture;

use super::{
    adapter::{AdapterFiles, ReadAdapter, bad_adapter},
    fetch, hasher,
    library::{Library, Listed},
    lists::{Lists, Wanted},
    merge::{KnownBase, merge},
    probe,
    ranks::{AdapterParts, Lead, Ranks},
    reporter::Reporter,
    scope::{self, Yielder},
    self_test::{self, Expected},
};
use crate::{
    cores::{Cores, Plan, plan},
    error::SiteError,
    progress::Stage,
    protocol::{BaseInfo, LoadCost, Loaded, ToPage},
    self_test::SelfTestReport,
};

/// What an answer needs.
pub struct Answering<'a> {
    /// The merged model behind its prompt.
    pub session: &'a mut Session<Lead>,
    /// The other ranks that compute it.
    pub ranks: &'a mut Ranks,
    /// What the adapter brings to hold questions and answers against, whatever may be answered.
    pub safeguards: Safeguards<'a>,
    /// The only possible answers in approved-answers mode, if the adapter brings such.
    pub approved: Option<&'a Approved>,
    /// For giving way between tokens.
    pub yielder: &'a Yielder,
    /// Who answers.
    pub identity: Identity,
}

/// An adapter's approved answers.
pub struct Approved {
    answers: BTreeSet<String>,
    /// Made when it is first wanted, which few readers do: hundreds of answers through a tokenizer
    /// that the browser has hardly compiled yet would keep all of them waiting.
    trie: OnceCell<Arc<AnswerTrie>>,
}

impl Approved {
    /// The answers as tokens of `prompt`, which is always the same.
    ///
    /// # Errors
    /// As [`AnswerTrie::new`].
    pub fn trie(&self, prompt: &PromptFormat) -> shared::Result<&Arc<AnswerTrie>> {
        if let Some(trie) = self.trie.get() {
            return Ok(trie);
        }
        let trie = Arc::new(AnswerTrie::new(&self.answers, prompt)?);
        Ok(self.trie.get_or_init(|| trie))
    }
}

/// Who answers, as the audit log names it.
pub struct Identity {
    /// The adapter.
    pub adapter: AuditAdapter,
    /// SHA-256 of the base's file.
    pub base_sha256: String,
    /// This program.
    pub engine: AuditEngine,
}

/// What is loaded.
struct Ready {
    session: Session<Lead>,
    ranks: Ranks,
    guard: Option<Guard>,
    approved: Option<Approved>,
    loaded: Loaded,
    expected: Expected,
}

/// Everything that the worker holds.
pub struct Engine {
    library: Library,
    yielder: Yielder,
    base: Option<KnownBase>,
    ready: Option<Ready>,
    cores: Cores,
    /// What was asked for last.
    wanted: Option<Wanted>,
    /// SHA-256 of this worker's WebAssembly, once computed.
    program: Option<String>,
}

impl Engine {
    /// An engine for the site at `site` that has nothing loaded.
    pub async fn new(site: String) -> Self {
        Self {
            library: Library::open(site).await,
            yielder: Yielder::new(),
            base: None,
            ready: None,
            cores: Cores::default(),
            wanted: None,
            program: None,
        }
    }

    /// For giving way.
    pub fn yielder(&self) -> &Yielder {
        &self.yielder
    }

    /// The session, if one is loaded.
    pub fn answering(&mut self) -> Option<Answering<'_>> {
        let ready = self.ready.as_mut()?;
        Some(answering(ready, self.program.as_ref()?, &self.yielder))
    }

    /// Tests what is loaded.
    pub async fn self_test(&mut self) -> Result<SelfTestReport, SiteError> {
        let (Some(ready), Some(program)) = (self.ready.as_mut(), &self.program) else {
            return Err(SiteError::AnswerFailed { reason: "no adapter is loaded".into() });
        };
        let (loaded, expected) = (ready.loaded.clone(), std::mem::take(&mut ready.expected));
        let answering = answering(ready, program, &self.yielder);
        let report = self_test::self_test(&self.library, &expected, &loaded, answering).await;
        ready.expected = expected;
        report
    }

    /// Runs on `cores` from now on: what is loaded is loaded again.
    pub async fn use_cores(&mut self, cores: Cores) {
        self.cores = cores;
        if self.ready.is_some()
            && let Some(wanted) = self.wanted.clone()
        {
            self.load(wanted).await;
        }
    }

    /// Loads the base with the adapter `wanted` and tells the page how that went.
    pub async fn load(&mut self, wanted: Wanted) {
        let started = scope::now_ms();
        let result = self.try_load(wanted.clone(), started).await;
        match result {
            Ok((loaded, lists)) => {
                self.wanted = Some(wanted);
                scope::post(&ToPage::Ready(Box::new(loaded)));
                if let Err(error) = self.hash_program().await {
                    scope::post(&ToPage::Failed(error));
                }
                self.library.prune(lists.hashes()).await;
            }
            Err(error) if self.ready.is_some() => scope::post(&ToPage::Declined(error)),
            Err(error) => scope::post(&ToPage::Failed(error)),
        }
    }

    /// Which program this is, for the audit log. After the load: nobody waits for it then.
    async fn hash_program(&mut self) -> Result<(), SiteError> {
        if self.program.is_none() {
            let program = scope::program().ok_or_else(|| SiteError::EngineStopped {
                reason: "engine.js has not kept the program for its hash".into(),
            })?;
            let broken = |error| SiteError::Unreachable {
                url: "worker_bg.wasm".into(),
                reason: format!("the connection broke off: {}", fetch::words(&error)),
            };
            let body = program.array_buffer().map_err(broken)?;
            let bytes = JsFuture::from(body).await.map_err(broken)?;
            let sha256 = hasher::sha256(&Uint8Array::new(&bytes)).await?;
            scope::post(&ToPage::Program { sha256: sha256.clone() });
            self.program = Some(sha256);
        }
        Ok(())
    }

    /// On how many cores `base` is to run.
    async fn cores(&self, base: &Listed, progress: &Reporter) -> Result<usize, SiteError> {
        let (offer, sha256) = (scope::offer(), &base.entry.sha256);
        let most = match plan(self.cores, offer, base.entry.size) {
            Plan::Use(cores) => return Ok(cores),
            Plan::Measure { most } => most,
        };
        if let Some(cores) = probe::measured(&self.library, sha256, offer).await {
            return Ok(cores.clamp(1, most));
        }
        progress.stage(Stage::Measuring);
        let cores = probe::measure(&self.library, sha256, offer, most).await?;
        progress.stage(Stage::Loading);
        Ok(cores)
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
        let cores = self.cores(&base, &progress).await?;
        let reads = listed.iter().enumerate().map(|(index, file)| {
            let progress = &progress;
            self.library.read_all(file, move |done, source| progress.advance(index, done, source))
        });
        let (read, mut ranks) = try_join(try_join_all(reads), Ranks::start(cores)).await?;
        for (file, bytes) in listed.iter().zip(read) {
            files.set_listed(file, bytes);
        }
        let adapter = ReadAdapter::parse(&files, version)?;
        if let Some(known) = self.base.as_ref().filter(|known| known.file == base) {
            adapter.check(&known.header)?;
        }

        // Two models at once may be more than fits: from here on the old one cannot be kept.
        self.ready = None;
        let known = self.base.take();
        let parts = AdapterParts {
            name: &adapter.info.version,
            config: &files.config,
            weights: &files.weights,
        };
        let merged =
            merge(&self.library, &base, known, &adapter, parts, &progress, &mut ranks).await?;
        drop(files);
        progress.stage(Stage::Merging);
        let prompt_started = scope::now_ms();
        let header = &merged.base.header;
        let kernels = merged.model.kernels().to_owned();
        let session = session(merged.model, header, &adapter, &ranks).await?;
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
        let cost = LoadCost {
            downloaded_bytes: self.library.downloaded_bytes(),
            total_ms: scope::now_ms() - started,
            merge_ms,
            memory_bytes: scope::memory_bytes() + ranks.memory_bytes(),
        };
        let mut listed = listed;
        listed.push(base);
        let published = version.and_then(|name| lists.digest(name));
        let (mut test, mut answers) = (None, None);
        if let Some(record) = adapter.record {
            (test, answers) = (record.self_test, record.approved_answers);
        }
        let approved = answers.map(|answers| Approved { answers, trie: OnceCell::new() });
        let digest = test.as_ref().map(|test| test.logits_digest.clone()).or(published);
        let loaded =
            Loaded { base: info, adapter: adapter.info, cost, kernels, ranks: ranks.count() };
        self.ready = Some(Ready {
            session,
            ranks,
            guard: adapter.guard,
            approved,
            loaded: loaded.clone(),
            expected: Expected { files: listed, digest, record: test },
        });
        Ok((loaded, lists))
    }
}

fn answering<'a>(ready: &'a mut Ready, program: &str, yielder: &'a Yielder) -> Answering<'a> {
    let Loaded { base, adapter, .. } = &ready.loaded;
    let identity = Identity {
        adapter: AuditAdapter { version: adapter.version.clone(), sha256: adapter.sha256.clone() },
        base_sha256: base.sha256.clone(),
        engine: AuditEngine {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sha256: program.to_owned(),
            ranks: Some(ready.loaded.ranks),
        },
    };
    Answering {
        session: &mut ready.session,
        ranks: &mut ready.ranks,
        safeguards: Safeguards {
            guard: ready.guard.as_ref(),
            undecided: ready.loaded.adapter.undecided.as_ref(),
            approved: None,
        },
        approved: ready.approved.as_ref(),
        yielder,
        identity,
    }
}

/// The session behind the prompt that the adapter was trained with.
async fn session(
    model: Model,
    header: &BaseHeader,
    adapter: &ReadAdapter,
    ranks: &Ranks,
) -> Result<Session<Lead>, SiteError> {
    let bad = |error: Error| bad_adapter(&adapter.info.version, &error);
    let prompt = match &adapter.record {
        Some(record) => header.prompt.with_system(&record.system_prompt).map_err(bad)?,
        None => header.prompt.clone(),
    };
    let mut session = match Session::with_exchange(model, prompt, ranks.lead()) {
        Ok(session) => session,
        Err(error) => return Err(ranks.failure(error, bad).await),
    };
    session
        .set_refusal_bias(adapter.record.as_ref().and_then(|record| record.refusal_bias.as_ref()));
    Ok(session)
}
