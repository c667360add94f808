//! An adapter's directory: read whole, checked against a base, made ready to answer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use shared::{
    ADAPTER_CONFIG, ADAPTER_MODEL, Adapter, AdapterRecord, AnswerTrie, Base, GUARD_FILE, Guard,
    GuardList, INDEX_FILE, Model, PromptFormat, RECORD_FILE, REPORT_FILE, REPORT_JSON_FILE,
    RankSlice, RefusalBias, Safeguards, Session, UndecidedRule,
};

use crate::input::read_input;
use crate::publish::Store;

/// The largest JSON file of an adapter, bytes.
const MAX_JSON: u64 = 64 << 20;
/// The largest file of tensors, bytes.
const MAX_TENSORS: u64 = 4 << 30;

/// An adapter in memory.
#[derive(Debug)]
pub struct AdapterDir {
    /// Where it was read from.
    pub path: PathBuf,
    /// Its published name, if it was named through the directory of published adapters.
    pub version: Option<String>,
    /// The update.
    pub adapter: Adapter,
    /// Where it comes from; `None` for an adapter that the trainer did not make.
    pub record: Option<AdapterRecord>,
    /// The batches it knows; `None` as for `record`.
    pub guard: Option<Guard>,
    /// Every file as read, by name.
    pub files: Vec<(&'static str, Vec<u8>)>,
}

/// An adapter merged into its base: what answers questions.
#[derive(Debug, Clone)]
pub struct Served {
    /// Base and adapter, quantized as the browser does it.
    pub model: Arc<Model>,
    /// The prompt the adapter was trained with.
    pub prompt: PromptFormat,
    /// The guard in front of the model.
    pub guard: Option<Guard>,
    /// How readily the model refuses.
    pub refusal_bias: Option<RefusalBias>,
    /// When an answer is undecided.
    pub undecided: Option<UndecidedRule>,
    /// The answers of approved-answers mode, where the adapter permits it.
    pub approved: Option<Arc<AnswerTrie>>,
}

impl Served {
    /// A session that answers as the page does.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn session(&self) -> Result<Session> {
        let mut session = Session::new(self.model.clone(), self.prompt.clone())?;
        session.set_refusal_bias(self.refusal_bias.as_ref());
        Ok(session)
    }

    /// What its questions and answers are held against; with `approved`, in approved-answers mode,
    /// where the adapter permits it.
    pub fn safeguards(&self, approved: bool) -> Safeguards<'_> {
        Safeguards {
            guard: self.guard.as_ref(),
            undecided: self.undecided.as_ref(),
            approved: self.approved.as_ref().filter(|_| approved),
        }
    }
}

impl AdapterDir {
    /// Reads an adapter's directory, or the current version of a directory of published
    /// adapters, whose files are held against their published hashes.
    ///
    /// # Errors
    /// A file is missing or not what its format promises.
    pub fn open(path: &Path) -> Result<Self> {
        if path.join(INDEX_FILE).exists() && !path.join(ADAPTER_CONFIG).exists() {
            let store = Store::new(path);
            let index = store.load()?;
            let (version, entry) = index.current_version()?;
            store.verify(version, entry)?;
            let opened = Self::read(&path.join(version))?;
            return Ok(Self { version: Some(version.to_owned()), ..opened });
        }
        Self::read(path)
    }

    fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        if !path.is_dir() {
            let found = if path.exists() { "is a file" } else { "does not exist" };
            bail!(
                "{shown} {found}: expected an adapter's directory, with {ADAPTER_CONFIG} and \
                 {ADAPTER_MODEL} (trainer train makes one)"
            );
        }
        let mut files = Vec::new();
        for (name, what, limit, required) in [
            (ADAPTER_CONFIG, "the configuration of a PEFT adapter", MAX_JSON, true),
            (ADAPTER_MODEL, "the tensors of a PEFT adapter", MAX_TENSORS, true),
            (RECORD_FILE, "the training record", MAX_JSON, false),
            (GUARD_FILE, "the list of known batches", MAX_JSON, false),
            (REPORT_FILE, "the validation report", MAX_JSON, false),
            (REPORT_JSON_FILE, "the validation report's figures", MAX_JSON, false),
        ] {
            let file = path.join(name);
            if required || file.exists() {
                files.push((name, read_input(&file, what, limit)?));
            }
        }
        let bytes = |wanted| files.iter().find(|(name, _)| *name == wanted).map(|(_, bytes)| bytes);
        let unusable = |name: &str| format!("{} cannot be used", path.join(name).display());
        let adapter = Adapter::parse(&files[0].1, &files[1].1)
            .with_context(|| format!("{shown} is not an adapter that can be merged"))?;
        let record = bytes(RECORD_FILE)
            .map(|json| AdapterRecord::parse(json))
            .transpose()
            .with_context(|| unusable(RECORD_FILE))?;
        let guard = bytes(GUARD_FILE)
            .map(|json| GuardList::parse(json).and_then(|list| Guard::new(&list)))
            .transpose()
            .with_context(|| unusable(GUARD_FILE))?;
        Ok(Self { path: path.to_owned(), version: None, adapter, record, guard, files })
    }

    /// Checks that the adapter was made for `base`: the same file by its hash and the same
    /// template where there is a record, the same shapes in any case.
    ///
    /// # Errors
    /// What differs.
    pub fn check(&self, base: &Base) -> Result<()> {
        let checked = match &self.record {
            Some(record) => record.check(&base.identity, &base.prompt),
            None => Ok(()),
        };
        checked.and_then(|()| self.adapter.check(&base.config)).with_context(|| {
            let (name, version) = (&base.identity.name, &base.identity.version);
            let made_for = match &self.record {
                Some(record) => {
                    format!("; it was trained on {} {}", record.base.name, record.base.version)
                }
                None => String::new(),
            };
            format!("{} does not fit the base {name} {version}{made_for}", self.path.display())
        })
    }

    /// Checks the adapter and merges it, as the browser does.
    ///
    /// # Errors
    /// As [`Self::check`] and [`Model::load_merged`].
    pub fn serve(self, base: &Base) -> Result<Served> {
        self.check(base)?;
        let model = Model::load_merged(base, RankSlice::SOLO, &self.adapter)
            .with_context(|| format!("{} cannot be merged", self.path.display()))?;
        let prompt = match &self.record {
            Some(record) => base.prompt.with_system(&record.system_prompt)?,
            None => base.prompt.clone(),
        };
        let (mut refusal_bias, mut undecided, mut answers) = (None, None, None);
        if let Some(record) = self.record {
            refusal_bias = record.refusal_bias;
            (undecided, answers) = (record.undecided, record.approved_answers);
        }
        let approved = answers
            .map(|answers| AnswerTrie::new(&answers, &prompt).map(Arc::new))
            .transpose()
            .with_context(|| format!("the approved answers of {}", self.path.display()))?;
        let guard = self.guard;
        Ok(Served { model: Arc::new(model), prompt, guard, refusal_bias, undecided, approved })
    }

    /// How a report names it.
    pub fn name(&self) -> String {
        match &self.version {
            Some(version) => format!("{version} ({})", self.path.display()),
            None => self.path.display().to_string(),
        }
    }
}
