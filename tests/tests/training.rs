//! The trainer's arithmetic against transformers' `Trainer` with a PEFT adapter: gradients, the
//! loss of every update, the adapter at the end.

#![cfg(not(target_arch = "wasm32"))]

use tests::compare::relative_distance;
use tests::golden::{self, Training, Which};
use tests::llama::{attach, llama, lora_params, no_dropout, values};
use trainer::nn::{AdamW, AdamWConfig, Batch, Grads, Llama, Schedule, Segment};

/// Of each tensor's gradient, relative to its own length; measured: 3e-6.
const GRADIENT: f64 = 2e-5;
/// Of each update's loss and gradient norm; measured: 2e-5. Rounding differs in the last bits, and
/// twenty updates at a high learning rate carry it on.
const CURVE: f64 = 2e-4;
/// Of how each tensor has moved from its start, relative to the distance it moved; measured: 7e-6.
const MOVED: f64 = 1e-4;

/// How the examples lie in a batch; the mathematics must not notice.
#[derive(Clone, Copy, Debug)]
enum Packing {
    /// Every example with its whole prompt, as transformers sees it.
    Whole,
    /// The common prefix once, the rest of every example behind it.
    SharedPrefix,
}

fn batch(training: &Training, examples: &[golden::Example], packing: Packing) -> Batch {
    let shared = match packing {
        Packing::Whole => 0,
        Packing::SharedPrefix => training.prefix.len(),
    };
    let segments: Vec<Segment> = examples
        .iter()
        .map(|example| {
            let mut segment = Segment::default();
            segment.push(&example.tokens[shared..example.prompt_length], 0.0);
            segment.push(&example.tokens[example.prompt_length..], 1.0);
            segment
        })
        .collect();
    Batch::pack(&training.prefix[..shared], &segments)
}

/// Mean loss of an update's learned tokens and its gradient, accumulated over micro-batches.
fn loss_and_grads(model: &Llama, micro_batches: &[Batch]) -> (f32, Grads) {
    let total: f32 = micro_batches.iter().map(Batch::weight).sum();
    let (mut loss, mut grads) = (0.0, Grads::new(model.slots));
    for batch in micro_batches {
        let losses =
            model.losses_and_grads(batch, 1.0 / total, &mut no_dropout(), &mut grads).unwrap();
        loss += losses.iter().map(|target| target.loss).sum::<f32>() / total;
    }
    (loss, grads)
}

/// The micro-batches of every update of an epoch.
fn updates(training: &Training, packing: Packing) -> Vec<Vec<Batch>> {
    let recipe = &training.recipe;
    let micro_batches: Vec<Batch> = training
        .examples
        .chunks(recipe.per_device_train_batch_size)
        .map(|examples| batch(training, examples, packing))
        .collect();
    micro_batches.chunks(recipe.gradient_accumulation_steps).map(<[Batch]>::to_vec).collect()
}

fn model() -> Llama {
    let mut model = llama(&golden::config(), &golden::weights());
    attach(&mut model, &golden::adapter(Which::Plain));
    model
}

#[test]
fn lora_gradients_equal_peft() {
    let training = golden::training();
    let expected = golden::gradients();
    for packing in [Packing::Whole, Packing::SharedPrefix] {
        let mut model = model();
        let first = &updates(&training, packing)[0];
        let (loss, grads) = loss_and_grads(&model, first);
        assert!((loss / training.losses[0] - 1.0).abs() < 1e-5, "{packing:?}: {loss}");
        let norm = grads.norm().unwrap();
        assert!((norm / training.grad_norms[0] - 1.0).abs() < 1e-5, "{packing:?}: {norm}");
        let params = lora_params(&mut model);
        assert_eq!(params.len(), expected.len());
        for param in params {
            let expected = &expected[&param.name];
            let found = grads.get(param.slot.unwrap()).unwrap();
            assert_eq!(found.dims(), expected.shape, "{}", param.name);
            let error = relative_distance(&values(found), &expected.values);
            assert!(error <= GRADIENT, "{packing:?}, {}: {error}", param.name);
        }
    }
}

#[test]
fn twenty_updates_equal_the_trainer_of_transformers() {
    let training = golden::training();
    let recipe = &training.recipe;
    assert_eq!(recipe.lr_scheduler_type, "linear");
    let updates = updates(&training, Packing::SharedPrefix);
    let total = updates.len() * recipe.num_train_epochs;
    assert_eq!((total, training.losses.len()), (20, 20));
    let schedule = Schedule::Linear { warmup: recipe.warmup_steps, total };
    let mut model = model();
    let mut adamw =
        AdamW::new(AdamWConfig { weight_decay: recipe.weight_decay, ..AdamWConfig::default() });

    for step in 0..total {
        let (loss, grads) = loss_and_grads(&model, &updates[step % updates.len()]);
        let norm = grads.norm().unwrap();
        for (name, found, expected) in
            [("loss", loss, training.losses[step]), ("norm", norm, training.grad_norms[step])]
        {
            let error = f64::from((found / expected - 1.0).abs());
            assert!(error <= CURVE, "{name} of update {step}: {found}, expected {expected}");
        }
        let learning_rate = recipe.learning_rate * schedule.factor(step);
        let expected = training.learning_rates[step];
        assert!((learning_rate - expected).abs() < 1e-12, "update {step}: {learning_rate}");
        // As torch.nn.utils.clip_grad_norm_ does.
        let clip = (recipe.max_grad_norm / (norm + 1e-6)).min(1.0);
        adamw.begin_step();
        for param in lora_params(&mut model) {
            let grad = grads.get(param.slot.unwrap()).unwrap();
            adamw.update(param, grad, clip, learning_rate).unwrap();
        }
    }

    let tensors = |which| golden::parse_tensors(golden::adapter_files(which).1);
    let (start, end) = (tensors(Which::Plain), tensors(Which::Trained));
    for param in lora_params(&mut model) {
        let (start, end) = (&start[&param.name].values, &end[&param.name].values);
        let moved = |values: &[f32]| -> Vec<f32> {
            values.iter().zip(start).map(|(value, start)| value - start).collect()
        };
        let error = relative_distance(&moved(&values(&param.value)), &moved(end));
        assert!(error <= MOVED, "{}: {error}", param.name);
    }
}
