//! What `export-data` leaves for PEFT, held against what `train` would train on.

use std::fs;

use serde_json::Value;
use shared::{Base, Tokenizer};

use crate::fixture::{Workplace, names};

const EXPORT: &str = "export-data data.jsonl --base base.gguf --num-train-epochs 2";
const FILES: [&str; 3] = ["base", "recipe.json", "train.jsonl"];

fn export(more: &str) -> Vec<&str> {
    EXPORT.split_whitespace().chain(more.split_whitespace()).collect()
}

fn lines(place: &Workplace, file: &str) -> Vec<Value> {
    let text = fs::read_to_string(place.path(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn base(place: &Workplace) -> Base {
    Base::from_bytes(fs::read(place.path("base.gguf")).unwrap()).unwrap()
}

#[test]
fn the_examples_are_those_of_train() {
    let place = Workplace::for_training();
    let told = place.run(&export("--out e --seed 7")).expect_success();
    let train = "train data.jsonl --base base.gguf --num-train-epochs 2 --out run --seed 7";
    place.run(&train.split(' ').collect::<Vec<_>>()).expect_success();
    let (exported, trained) = (lines(&place, "e/train.jsonl"), lines(&place, "run/examples.jsonl"));
    assert_eq!(exported.len(), trained.len());
    assert!(told.out.contains(&format!("{} examples", trained.len())), "{}", told.out);
    let prompt = base(&place).prompt;
    for (exported, trained) in exported.iter().zip(&trained) {
        let text = |key: &str| trained[key].as_str().unwrap();
        let pair = prompt.encode_pair(text("question"), text("answer")).unwrap();
        let asked = [prompt.prefix_ids(), &pair.question].concat();
        let ids: Vec<i64> = asked.iter().chain(&pair.answer).map(|&id| id.into()).collect();
        let learned = pair.answer.iter().map(|&id| i64::from(id));
        let labels: Vec<i64> = asked.iter().map(|_| -100).chain(learned).collect();
        assert_eq!(exported["input_ids"], Value::from(ids));
        assert_eq!(exported["labels"], Value::from(labels));
    }
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let place = Workplace::for_training();
    for (out, seed) in [("a", "1"), ("b", "1"), ("c", "2")] {
        place.run(&export(&format!("--out {out} --seed {seed}"))).expect_success();
        assert_eq!(names(&place.path(out)), FILES);
    }
    let read = |file: String| fs::read(place.path(&file)).unwrap();
    let base = names(&place.path("a/base")).into_iter().map(|name| format!("base/{name}"));
    for file in ["recipe.json".to_owned(), "train.jsonl".to_owned()].into_iter().chain(base) {
        assert_eq!(read(format!("a/{file}")), read(format!("b/{file}")), "{file}");
    }
    assert_ne!(read("a/train.jsonl".into()), read("c/train.jsonl".into()));
    let recipe: Value = serde_json::from_slice(&read("a/recipe.json".into())).unwrap();
    let sha256 = shared::sha256_hex(&read("a/train.jsonl".into()));
    assert_eq!(recipe["examples"]["sha256"], sha256.as_str());
    assert_eq!(recipe["examples"]["count"], lines(&place, "a/train.jsonl").len());
    assert_eq!(recipe["settings"]["num_train_epochs"], 2);
}

#[test]
fn the_base_is_the_one_that_is_served() {
    let place = Workplace::for_training();
    place.run(&export("--out e")).expect_success();
    let file = fs::read(place.path("e/base/model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let base = base(&place);
    assert_eq!(tensors.len(), base.gguf.tensors().len());
    for (name, gguf_name) in [
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("model.norm.weight", "output_norm.weight"),
        ("model.layers.1.self_attn.q_proj.weight", "blk.1.attn_q.weight"),
        ("model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight"),
        ("model.layers.1.post_attention_layernorm.weight", "blk.1.ffn_norm.weight"),
    ] {
        let values = base.dequantize(gguf_name).unwrap();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let tensor = tensors.tensor(name).unwrap();
        assert_eq!(tensor.data(), bytes, "{name}");
        assert_eq!(tensor.shape(), base.gguf.tensor(gguf_name).unwrap().shape, "{name}");
    }
    let text = "What is the yield of batch VOY756?<|end|>";
    let json = fs::read_to_string(place.path("e/base/tokenizer.json")).unwrap();
    let tokenizer = Tokenizer::from_json(&json, "<|end|>").unwrap();
    assert_eq!(tokenizer.encode(text).unwrap(), base.tokenizer.encode(text).unwrap());
    let read = |file: &str| fs::read(place.path("e/base").join(file)).unwrap();
    let config: Value = serde_json::from_slice(&read("config.json")).unwrap();
    assert_eq!(config["model_type"], "llama");
    assert_eq!(config["eos_token_id"], base.tokenizer.eos_id());
    assert_eq!(config["max_position_embeddings"], 512);
    let config: Value = serde_json::from_slice(&read("tokenizer_config.json")).unwrap();
    assert_eq!(config["chat_template"], base.prompt.template());
}

#[test]
fn a_base_that_is_elsewhere_is_named_and_not_written() {
    let place = Workplace::for_training();
    let told = place.run(&export("--out e --hf-base /models/3b")).expect_success();
    assert!(told.out.contains("base /models/3b"), "{}", told.out);
    assert_eq!(names(&place.path("e")), ["recipe.json", "train.jsonl"]);
    let recipe: Value =
        serde_json::from_slice(&fs::read(place.path("e/recipe.json")).unwrap()).unwrap();
    assert_eq!(recipe["base"]["path"], "/models/3b");
    assert_eq!(recipe["base"]["exported"], false);
    assert_eq!(recipe["base"]["config"]["vocab_size"], base(&place).config.vocab_size);
}

#[test]
fn rejects_what_cannot_be_exported() {
    let place = Workplace::for_training();
    let nothing = export("--out e").into_iter().map(|word| match word {
        "data.jsonl" => "nothing.jsonl",
        word => word,
    });
    let error = place.error(&nothing.collect::<Vec<_>>());
    assert!(error.contains("nothing.jsonl does not exist"), "{error}");
    let error = place.error(&export("--out e --lora-r 0"));
    assert!(error.contains("--lora-r must be 1 to 1024"), "{error}");
    let pair = r#"{"question": "Q?", "answer": "LONG"}"#.replace("LONG", &"x".repeat(600));
    place.write("long.jsonl", pair);
    let error = place.error(&["export-data", "long.jsonl", "--base", "base.gguf", "--out", "e"]);
    assert!(error.contains("long.jsonl:1"), "{error}");
    assert!(!place.path("e").exists(), "nothing is written before the input is known to be good");
}

#[test]
fn a_recipe_never_stands_beside_half_an_export() {
    let place = Workplace::for_training();
    place.run(&export("--out e")).expect_success();
    fs::remove_file(place.path("e/base/config.json")).unwrap();
    fs::create_dir(place.path("e/base/config.json")).unwrap();
    let error = place.error(&export("--out e --seed 2"));
    assert!(error.contains("config.json"), "{error}");
    assert!(!place.path("e/recipe.json").exists());
}
