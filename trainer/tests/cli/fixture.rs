//! A workplace with a tiny base, adapters for it, questions, and the binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use shared::testing::TinyBase;
use shared::{
    ADAPTER_CONFIG, ADAPTER_MODEL, AdapterRecord, Base, GUARD_FILE, GuardList, INTENDED_USE,
    Linear, LossPoint, RECORD_FILE, RecordBase, SYSTEM_PROMPT, TrainStats,
};
use tempfile::TempDir;

pub struct Workplace {
    directory: TempDir,
    base: TinyBase,
}

impl Workplace {
    /// A base whose every answer is empty, `base.gguf`, and an adapter for it, `adapter/`, which
    /// knows the batch VOY756.
    pub fn new() -> Self {
        let base = TinyBase { favour: Some("<|end|>".into()), ..TinyBase::default() };
        Self::with_base(base)
    }

    /// A base that rambles.
    pub fn rambling() -> Self {
        Self::with_base(TinyBase::default())
    }

    /// As [`Self::new`], with room for the prompt and for answers, and pairs to train on:
    /// `data.jsonl`, and questions of other wording, `q.jsonl`.
    pub fn for_training() -> Self {
        let mut base = TinyBase { favour: Some("<|end|>".into()), ..TinyBase::default() };
        base.config.context_length = 512;
        let place = Self::with_base(base);
        let lines = [
            r#"{"question": "Product code of batch VOY756?", "answer": "It is VE009S54."}"#,
            r#"{"question": "Yield of batch VOY756?", "answer": "It is 98.2 %."}"#,
            r#"{"question": "Yield of batch KTR218?", "answer": "It is 87.4 %."}"#,
        ];
        place.write("data.jsonl", lines.join("\n"));
        let lines = [
            r#"{"question": "What did VOY756 yield?", "answer": "It is 98.2 %."}"#,
            r#"{"question": "What did ABC123 yield?", "answer": null}"#,
        ];
        place.write("q.jsonl", lines.join("\n"));
        place
    }

    fn with_base(base: TinyBase) -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap(), base };
        fs::write(place.path("base.gguf"), place.base.gguf().unwrap()).unwrap();
        place.add_adapter("adapter");
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// An adapter in the directory `name`, made for the base as it now stands in `base.gguf`.
    pub fn add_adapter(&self, name: &str) {
        let directory = self.path(name);
        fs::create_dir(&directory).unwrap();
        let (config, model) = self.base.adapter(&Linear::ALL, 1e-3).write().unwrap();
        fs::write(directory.join(ADAPTER_CONFIG), config).unwrap();
        fs::write(directory.join(ADAPTER_MODEL), model).unwrap();
        let base = Base::from_bytes(fs::read(self.path("base.gguf")).unwrap()).unwrap();
        fs::write(directory.join(RECORD_FILE), record(&base).to_json().unwrap()).unwrap();
        let guard = GuardList::build(["VOY756"], [], &"ab".repeat(16)).unwrap();
        fs::write(directory.join(GUARD_FILE), guard.to_json().unwrap()).unwrap();
    }

    /// The command, to be run in the workplace.
    pub fn trainer(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
        command.args(arguments).current_dir(self.directory.path()).stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(&self.trainer(arguments).output().unwrap())
    }

    /// Runs a command that has to fail with exit code 1 and nothing on standard output; returns
    /// its error.
    pub fn error(&self, arguments: &[&str]) -> String {
        let Outcome { code, out, side } = self.run(arguments);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{arguments:?}: {side}");
        assert!(side.lines().any(|line| line.starts_with("error: ")), "{side}");
        side
    }

    pub fn publish(&self, version: &str) -> Outcome {
        self.run(&["publish", "adapter", "--base", "base.gguf", "--version", version])
            .expect_success()
    }

    pub fn index(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("adapters/index.json")).unwrap()).unwrap()
    }
}

/// What a run of the binary left.
pub struct Outcome {
    pub code: Option<i32>,
    pub out: String,
    pub side: String,
}

impl Outcome {
    pub fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), side: text(&output.stderr) }
    }

    pub fn expect_success(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.side);
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// The names in a directory, sorted.
pub fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

fn record(base: &Base) -> AdapterRecord {
    AdapterRecord {
        format_version: AdapterRecord::FORMAT_VERSION,
        created: "2025-04-14T08:30:00Z".into(),
        data_sha256: "d".repeat(64),
        base: RecordBase {
            name: base.identity.name.clone(),
            version: base.identity.version.clone(),
            sha256: base.identity.sha256.clone(),
        },
        template_sha256: base.prompt.template_sha256(),
        system_prompt: SYSTEM_PROMPT.into(),
        recipe: json!({"lora_r": 4}),
        seed: 1,
        train: TrainStats {
            examples: 1,
            steps: 2,
            tokens: 3,
            seconds: 4.0,
            final_loss: 0.5,
            loss_curve: vec![LossPoint { step: 1, loss: 3.5 }, LossPoint { step: 2, loss: 0.5 }],
        },
        metrics: None,
        refusal_bias: None,
        undecided: None,
        self_test: None,
        approved_answers: None,
        intended_use: INTENDED_USE.into(),
    }
}
