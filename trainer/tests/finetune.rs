//! A training run from end to end on a tiny model: it learns, it repeats, it resumes.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

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
        self.try_train(checkpoint, threads, seed, resume).unwrap()
    }

    fn resume_error(&self, checkpoint: &Path) -> String {
        format!("{:#}", self.try_train(checkpoint, 1, 1, true).err().unwrap())
    }

    fn try_train(
        &self,
        checkpoint: &Path,
        threads: usize,
        seed: u64,
        resume: bool,
    ) -> anyhow::Result<Option<Outcome>> {
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
        run.train(&examples)
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

    a_stopped_run_keeps_its_best_adapter_whatever_interrupts_it(&stop);
}

/// At this learning rate the tiny model is worse after four steps than after two.
fn a_stopped_run_keeps_its_best_adapter_whatever_interrupts_it(stop: &AtomicBool) {
    let mut setting = Setting::new();
    setting.recipe.learning_rate = 0.3;
    setting.recipe.num_train_epochs = 12;
    let directory = tempfile::tempdir().unwrap();
    let checkpoint = directory.path().join("checkpoint.safetensors");
    setting.recipe.eval_steps = 2;
    let plain = setting.train(&checkpoint, 1, 1, false).unwrap();
    setting.recipe.early_stopping_patience = 1;
    let last = setting.train(&checkpoint, 1, 1, false).unwrap();
    setting.recipe.load_best_model_at_end = true;
    let best = setting.train(&checkpoint, 3, 1, false).unwrap();

    // Evaluating changes nothing, stopping ends what was planned, choosing takes the best.
    assert_eq!(plain.evaluations.len(), plain.steps.div_ceil(2));
    assert_eq!(plain.evaluations[..last.evaluations.len()], last.evaluations);
    assert!(last.steps < plain.steps, "it did not stop");
    assert_eq!(best.evaluations, last.evaluations);
    let kept = best.kept.unwrap();
    let order: Vec<_> = best.evaluations.iter().map(|p| (p.exact(), -p.loss)).collect();
    assert!(order.iter().all(|point| *point <= (kept.exact(), -kept.loss)));
    assert_eq!(kept.step + 2, best.steps);
    assert_eq!(last.kept.unwrap().step, last.steps);
    assert_ne!(bits(&best.adapter), bits(&last.adapter));

    // Interrupted after every step.
    stop.store(true, Ordering::Relaxed);
    let mut interruptions = 0;
    let resumed = loop {
        match setting.train(&checkpoint, 1, 1, interruptions > 0) {
            Some(outcome) => break outcome,
            None => interruptions += 1,
        }
    };
    stop.store(false, Ordering::Relaxed);
    assert_eq!(interruptions, best.steps - 1);
    assert_eq!(bits(&resumed.adapter), bits(&best.adapter), "resuming chose another adapter");
    assert_eq!(resumed.evaluations, best.evaluations);

    // The checkpoint is from before the last step: without the best adapter there is no way on.
    let best_file = directory.path().join("best.safetensors");
    std::fs::copy(&checkpoint, &best_file).unwrap();
    let error = setting.resume_error(&checkpoint);
    assert!(error.contains("best.safetensors does not hold the best adapter"), "{error}");
    std::fs::remove_file(&best_file).unwrap();
    assert!(setting.resume_error(&checkpoint).contains("best.safetensors"));
    setting.recipe.early_stopping_patience = 2;
    assert!(setting.resume_error(&checkpoint).contains("other data, base, seed or settings"));
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let mut setting = Setting::new();
    setting.recipe.num_train_epochs = 1;
    let directory = tempfile::tempdir().unwrap();
    let checkpoint = directory.path().join("checkpoint.safetensors");
    std::fs::write(&checkpoint, b"not a checkpoint").unwrap();
    let error = setting.resume_error(&checkpoint);
    assert!(error.starts_with("cannot resume from"), "{error}");
}
