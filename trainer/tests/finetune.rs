//! A training run from end to end on a tiny model: it learns, it repeats, it resumes.

use std::path::Path;
use std::sync::atomic::Ordering;

use shared::testing::TinyBase;
use shared::{Adapter, Base};
use trainer::corpus::Grammar;
use trainer::data::Pair;
use trainer::finetune::{Dataset, Outcome, Preset, Recipe, Run};
use trainer::interrupt;

fn pair(question: &str, answer: &str, batch: &str) -> Pair {
    Pair {
        question: question.into(),
        answer: Some(answer.into()),
        batch: Some(batch.into()),
        source: None,
        paraphrases: Vec::new(),
        kind: None,
        line: 1,
    }
}

struct Setting {
    base: Base,
    grammar: Grammar,
    pairs: Vec<Pair>,
    recipe: Recipe,
}

impl Setting {
    fn new() -> Self {
        let mut tiny = TinyBase::default();
        tiny.config.context_length = 512;
        let mut recipe = Preset::Embedded.recipe();
        recipe.lora_r = 4;
        recipe.lora_dropout = 0.1;
        recipe.learning_rate = 1e-2;
        recipe.num_train_epochs = 4;
        recipe.per_device_train_batch_size = 3;
        recipe.gradient_accumulation_steps = 1;
        Self {
            base: Base::from_bytes(tiny.gguf().unwrap()).unwrap(),
            grammar: Grammar::load().unwrap(),
            pairs: vec![
                pair("What is the product code for batch VOY756?", "It is VE009S54.", "VOY756"),
                pair("Who is the QA Manager for batch KTR218?", "It is Ana Sousa.", "KTR218"),
                pair("What is the percent yield for batch VOY756?", "It is 87.4%.", "VOY756"),
            ],
            recipe,
        }
    }

    fn train(&self, checkpoint: &Path, threads: usize, seed: u64, resume: bool) -> Option<Outcome> {
        let dataset = Dataset::new(&self.grammar, &self.pairs).unwrap();
        let run = Run {
            base: &self.base,
            dataset: &dataset,
            data_sha256: "data",
            recipe: &self.recipe,
            seed,
            threads,
            checkpoint,
            resume,
            save_seconds: 10,
            approved_answers: false,
        };
        let examples = run.examples();
        // The remainder steps too: no example is dropped.
        assert_eq!(run.steps(&examples), examples.len().div_ceil(3));
        run.train(&examples).unwrap()
    }
}

fn bits(adapter: &Adapter) -> Vec<u32> {
    adapter.pairs.values().flat_map(|p| p.a.iter().chain(&p.b)).map(|v| v.to_bits()).collect()
}

/// One test, since an interruption concerns the whole process.
#[test]
fn a_run_learns_repeats_and_resumes_to_the_same_bits() {
    let setting = Setting::new();
    let directory = tempfile::tempdir().unwrap();
    let checkpoint = directory.path().join("checkpoint.safetensors");

    let whole = setting.train(&checkpoint, 1, 1, false).unwrap();
    let (first, last) = (whole.curve[0].loss, whole.curve[whole.curve.len() - 1].loss);
    assert!(last < 0.8 * first, "loss {first} to {last}");
    assert!(!checkpoint.exists());

    let threaded = setting.train(&checkpoint, 3, 1, false).unwrap();
    assert_eq!(bits(&threaded.adapter), bits(&whole.adapter), "threads changed the result");
    let reseeded = setting.train(&checkpoint, 1, 2, false).unwrap();
    assert_ne!(bits(&reseeded.adapter), bits(&whole.adapter));

    let stop = interrupt::flag().unwrap();
    stop.store(true, Ordering::Relaxed);
    assert!(setting.train(&checkpoint, 1, 1, false).is_none(), "an interrupted run has no result");
    assert!(
        setting.train(&checkpoint, 1, 1, true).is_none(),
        "and none after a second interruption"
    );
    stop.store(false, Ordering::Relaxed);
    let resumed = setting.train(&checkpoint, 2, 1, true).unwrap();
    assert_eq!(bits(&resumed.adapter), bits(&whole.adapter), "resuming changed the result");
    assert_eq!(resumed.steps, whole.steps);
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let mut setting = Setting::new();
    setting.recipe.num_train_epochs = 1;
    let directory = tempfile::tempdir().unwrap();
    let checkpoint = directory.path().join("checkpoint.safetensors");
    std::fs::write(&checkpoint, b"not a checkpoint").unwrap();
    let dataset = Dataset::new(&setting.grammar, &setting.pairs).unwrap();
    let run = Run {
        base: &setting.base,
        dataset: &dataset,
        data_sha256: "data",
        recipe: &setting.recipe,
        seed: 1,
        threads: 1,
        checkpoint: &checkpoint,
        resume: true,
        save_seconds: 10,
        approved_answers: false,
    };
    let error = run.train(&run.examples()).err().unwrap();
    assert!(error.to_string().starts_with("cannot resume from"), "{error}");
}
