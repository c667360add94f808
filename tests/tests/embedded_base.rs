//! What 8-bit arithmetic costs the embedded base, on text of the kind that it answers.

#![cfg(not(target_arch = "wasm32"))]

use std::{fs, path::Path};

use serde_json::Value;
use shared::{Base, Model, RankSlice, SoloExchange};
use tests::compare::mean_kl;
use tests::llama::{no_dropout, values};
use trainer::finetune::{Storage, llama_from_base};
use trainer::nn::{Batch, Segment};

/// In nats per token; measured: 0.00036.
const KL: f64 = 0.01;
/// Every so many of the sample's questions are asked.
const STEP: usize = 9;

fn read(path: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The engine's distance from the training forward pass in f32 with the same, dequantized weights.
#[test]
fn the_engine_is_close_to_f32_on_questions_and_answers() {
    let base = Base::from_bytes(read("web/models/lotwise-base.gguf")).unwrap();
    let exact = llama_from_base(&base, Storage::F32).unwrap();
    let engine = Model::load(&base, RankSlice::SOLO).unwrap();
    let pairs = String::from_utf8(read("trainer/data/train.jsonl")).unwrap();
    let (mut sum, mut tokens) = (0.0, 0);
    for line in pairs.lines().step_by(STEP) {
        let pair: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| pair[key].as_str().unwrap();
        let pair = base.prompt.encode_pair(text("question"), text("answer")).unwrap();
        let ids = [base.prompt.prefix_ids(), &pair.question, &pair.answer].concat();
        let mut segment = Segment::default();
        segment.push(&ids, 1.0);
        let batch = Batch::pack(&[], &[segment]);
        let expected = values(&exact.logits(&batch, &mut no_dropout()).unwrap());
        let mut cache = engine.new_cache();
        let found = engine.forward_all(&mut cache, &ids, &mut SoloExchange).unwrap();
        sum += mean_kl(&found, &expected, base.config.vocab_size) * ids.len() as f64;
        tokens += ids.len();
    }
    let kl = sum / tokens as f64;
    assert!(tokens > 1000 && kl > 0.0 && kl <= KL, "{kl} over {tokens} tokens");
}
