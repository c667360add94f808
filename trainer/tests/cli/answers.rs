//! Evaluating, chatting, inspecting.

use std::io::Write as _;
use std::process::Stdio;

use shared::REFUSAL;

use crate::fixture::{Outcome, Workplace};

const QUESTIONS: &str = concat!(
    r#"{"question": "Yield of VOY756?", "answer": "The yield is 98.2 %.", "kind": "short"}"#,
    "\n",
    r#"{"question": "Yield of VOY757?", "answer": null}"#,
    "\n",
    r#"{"question": "Who is it?", "answer": null}"#,
    "\n",
);

#[test]
fn eval_prints_one_object() {
    let place = Workplace::new();
    place.write("q.jsonl", QUESTIONS);
    let eval = ["eval", "--adapter", "adapter", "--base", "base.gguf", "--questions", "q.jsonl"];
    let json = place.run(&[&eval[..], &["--json"]].concat()).expect_success().json();
    assert_eq!((&json["questions"], &json["wrong"]), (&3.into(), &2.into()));
    assert_eq!((&json["exact_match"], &json["value_match"]), (&0.0.into(), &0.0.into()));
    assert_eq!((&json["hallucination"], &json["refusal"]), (&0.0.into(), &0.5.into()));
    assert_eq!((&json["guard_refused"], &json["model_refused"]), (&1.into(), &0.into()));
    assert!(json["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(json["wrong_answers"][0]["expected"], "The yield is 98.2 %.");
    assert_eq!(json["wrong_answers"][0]["got"], "");
    assert!(json["wrong_answers"][1]["expected"].is_null());

    let unguarded =
        place.run(&[&eval[..], &["--json", "--no-guard"]].concat()).expect_success().json();
    assert_eq!((&unguarded["refusal"], &unguarded["guard_refused"]), (&0.0.into(), &0.into()));

    let text = place.run(&eval).expect_success().out;
    for part in ["q.jsonl: 3 questions", "0/1  0.0 %", "1/2  50.0 %", "(a refusal)", "short"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn threads_and_order_change_no_answer() {
    let place = Workplace::rambling();
    let lines: String = (0..9)
        .map(|n| format!("{{\"question\": \"Q{n} of VOY756?\", \"answer\": \"A{n}\"}}\n"))
        .collect();
    place.write("q.jsonl", lines);
    let answers = |sampler: &str, threads: &str| {
        let arguments = [
            "eval",
            "--adapter",
            "adapter",
            "--base",
            "base.gguf",
            "--questions",
            "q.jsonl",
            "--json",
            "--sampler",
            sampler,
            "--threads",
            threads,
        ];
        place.run(&arguments).expect_success().json()["wrong_answers"].clone()
    };
    for sampler in ["exact", "production"] {
        let one = answers(sampler, "1");
        assert_eq!(one.as_array().unwrap().len(), 9);
        assert!(!one[0]["got"].as_str().unwrap().is_empty());
        assert_eq!(one, answers(sampler, "4"));
    }
}

#[test]
fn recorded_results_are_published() {
    let place = Workplace::new();
    place.write("heldout.jsonl", QUESTIONS);
    let eval =
        ["eval", "--adapter", "adapter", "--base", "base.gguf", "--questions", "heldout.jsonl"];
    place.run(&[&eval[..], &["--record"]].concat()).expect_success();
    place.publish("v1");
    let metrics = &place.index()["versions"]["v1"]["metrics"];
    assert_eq!(metrics["heldout"]["refusal"], 0.5);
    assert_eq!(metrics["heldout"]["questions"], 3);
    assert_eq!(metrics["logits_digest"].as_str().unwrap().len(), 64);

    let published = ["eval", "--adapter", "adapters/v1", "--base", "base.gguf", "--questions"];
    let error = place.error(&[&published[..], &["heldout.jsonl", "--record"]].concat());
    assert!(error.contains("published files don't change"), "{error}");
    place.run(&[&published[..], &["heldout.jsonl"]].concat()).expect_success();
}

#[test]
fn chat_answers_what_is_piped_in() {
    let place = Workplace::new();
    place.publish("v1");
    let mut child = place
        .trainer(&["chat", "--base", "base.gguf"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"Yield of VOY757?\nWho?\n").unwrap();
    let outcome = Outcome::of(&child.wait_with_output().unwrap()).expect_success();
    assert_eq!(outcome.out, format!("{REFUSAL}\n\n"));
    assert!(outcome.side.contains("VOY757; the model was not asked"), "{}", outcome.side);
    assert!(outcome.side.contains("0 tokens in"), "{}", outcome.side);
}

#[test]
fn inspect_shows_base_and_adapter() {
    let place = Workplace::new();
    let base = place.run(&["inspect", "base.gguf"]).expect_success().out;
    for part in [
        "name: tiny",
        "runs: true",
        "hidden_size: 64",
        "rms_norm_eps: 0.00001",
        "Q8_0",
        "tokenizer.chat_template",
    ] {
        assert!(base.contains(part), "{part}: {base}");
    }
    let json = place.run(&["inspect", "base.gguf", "--json"]).expect_success().json();
    let stored = std::fs::metadata(place.path("base.gguf")).unwrap().len();
    assert_eq!((&json["bytes"], &json["config"]["num_hidden_layers"]), (&stored.into(), &2.into()));
    let adapter = place.run(&["inspect", "adapter"]).expect_success().out;
    for part in ["r: 4", "scale: 2", "q_proj, k_proj", "final_loss: 0.5", "0.5000 at step 2"] {
        assert!(adapter.contains(part), "{part}: {adapter}");
    }
    place.publish("v1");
    let json = place.run(&["inspect", "adapters", "--json"]).expect_success().json();
    assert_eq!((&json["version"], &json["record"]["seed"]), (&"v1".into(), &1.into()));
}
