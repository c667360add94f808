//! Logits of the trainer's forward pass and of the engine against transformers and PEFT.

#![cfg(not(target_arch = "wasm32"))]

use shared::{GgmlType, Linear, Model, RankSlice, SoloExchange};
use tests::compare::{max_relative_error, mean_kl, relative_distance};
use tests::golden::{self, Which};
use tests::llama::{attach, llama, no_dropout, values};
use trainer::finetune::{Storage, llama_from_base};
use trainer::nn::{Batch, Llama, Segment};

/// Of the training forward pass, largest relative error of a logit; measured: 8e-6.
const F32: f64 = 1e-4;

/// What rounding weights and activations to 8 bits may cost, in nats per token and as a distance
/// relative to the logits' own length; measured: up to 0.007 and 0.067, on random weights, where
/// nothing averages out, and no more than candle's quantized Llama (see `candle.rs`). The engine's
/// bits are the same everywhere, so that the bounds need no room for the machine.
const QUANTIZED_KL: f64 = 0.01;
const QUANTIZED_DISTANCE: f64 = 0.07;

fn training_logits(model: &Llama) -> Vec<f32> {
    let mut segment = Segment::default();
    segment.push(&golden::tokens(), 1.0);
    let batch = Batch::pack(&[], [&segment]);
    values(&model.logits(&batch, &mut no_dropout()).unwrap())
}

fn engine_logits(model: &Model) -> Vec<f32> {
    let mut cache = model.new_cache();
    model.forward_all(&mut cache, &golden::tokens(), &mut SoloExchange).unwrap()
}

/// `(KL, relative distance)` of the engine from transformers.
fn engine_error(model: &Model, expected: &[f32]) -> (f64, f64) {
    let found = engine_logits(model);
    let kl = mean_kl(&found, expected, model.config().vocab_size);
    (kl, relative_distance(&found, expected))
}

fn expected(name: &str) -> Vec<f32> {
    golden::logits()[name].values.clone()
}

const ADAPTERS: [(Which, &str); 2] =
    [(Which::Plain, "adapter"), (Which::RankStabilised, "adapter_rslora")];

#[test]
fn training_forward_equals_transformers() {
    let model = llama(&golden::config(), &golden::weights());
    let error = max_relative_error(&training_logits(&model), &expected("base"));
    assert!(error <= F32, "{error}");
}

#[test]
fn training_forward_with_lora_equals_peft_merged() {
    for (which, name) in ADAPTERS {
        let mut model = llama(&golden::config(), &golden::weights());
        attach(&mut model, &golden::adapter(which));
        let error = max_relative_error(&training_logits(&model), &expected(name));
        assert!(error <= F32, "{name}: {error}");
    }
}

/// The trainer's own way in: the GGUF file's weights, q and k rows un-permuted.
#[test]
fn the_base_that_is_trained_is_the_file() {
    let mut from_file = llama_from_base(&golden::base(GgmlType::F32), Storage::F32).unwrap();
    let mut from_golden = llama(&golden::config(), &golden::weights());
    let (found, expected) = (from_file.params_mut(), from_golden.params_mut());
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.into_iter().zip(expected) {
        assert_eq!(found.name, expected.name);
        assert_eq!(values(&found.value), values(&expected.value), "{}", found.name);
    }
}

/// The heads' rows lie in another order in the file.
#[test]
fn a_base_held_in_the_files_types_is_the_one_in_f32() {
    for ty in [GgmlType::F32, GgmlType::Q8_0] {
        let base = golden::base(ty);
        let [plain, packed] = [Storage::F32, Storage::File]
            .map(|storage| training_logits(&llama_from_base(&base, storage).unwrap()));
        assert_eq!(plain, packed);
    }
}

#[test]
fn engine_agrees_with_transformers() {
    for ty in [GgmlType::F32, GgmlType::Q8_0] {
        let model = Model::load(&golden::base(ty), RankSlice::SOLO).unwrap();
        let (kl, distance) = engine_error(&model, &expected("base"));
        assert!(kl <= QUANTIZED_KL && distance <= QUANTIZED_DISTANCE, "{ty:?}: {kl} {distance}");
    }
}

#[test]
fn engine_with_merged_adapter_agrees_with_peft_merged() {
    for ty in [GgmlType::F32, GgmlType::Q8_0] {
        let base = golden::base(ty);
        for (which, name) in ADAPTERS {
            let adapter = golden::adapter(which);
            let model = Model::load_merged(&base, RankSlice::SOLO, &adapter).unwrap();
            let (kl, distance) = engine_error(&model, &expected(name));
            let found = format!("{ty:?}, {name}: {kl} {distance}");
            assert!(kl <= QUANTIZED_KL && distance <= QUANTIZED_DISTANCE, "{found}");
        }
    }
}

/// What one mistake costs is far above the bounds: the adapter left out, its scale wrong, or one of
/// its fourteen updates missing.
#[test]
fn the_bounds_notice_mistakes() {
    let base = golden::base(GgmlType::F32);
    let adapter = golden::adapter(Which::Plain);
    let mut rescaled = adapter.clone();
    rescaled.config.use_rslora = true;
    let mut without_one = adapter.clone();
    without_one.pairs.get_mut(&(1, Linear::Key)).unwrap().b.fill(0.0);
    let wrong = [
        Model::load(&base, RankSlice::SOLO),
        Model::load_merged(&base, RankSlice::SOLO, &rescaled),
        Model::load_merged(&base, RankSlice::SOLO, &without_one),
    ];
    for (index, model) in wrong.into_iter().enumerate() {
        let (kl, distance) = engine_error(&model.unwrap(), &expected("adapter"));
        let noticed = kl > 2.0 * QUANTIZED_KL && distance > 2.0 * QUANTIZED_DISTANCE;
        assert!(noticed, "mistake {index}: {kl} {distance}");
    }
}
