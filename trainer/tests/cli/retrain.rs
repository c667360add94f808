//! The monthly update: published when it may be, untouched when not, and killed at any moment.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Instant;

use shared::Rng;

use crate::fixture::{Workplace, names};

/// Learns next to nothing, so that the tiny base goes on answering with an end.
const RETRAIN: &str = "retrain data.jsonl --questions q.jsonl --base base.gguf \
    --num-train-epochs 12 --per-device-train-batch-size 2 --learning-rate 1e-6 --save-seconds 0";

fn retrain(more: &str) -> Vec<&str> {
    RETRAIN.split_whitespace().chain(more.split_whitespace()).collect()
}

const PLAIN: &str = "--out out --min-exact-match 0 --version v1";

#[test]
fn a_retrain_publishes_once_and_refuses_what_got_worse() {
    let place = Workplace::for_training();
    let first = place
        .run(&retrain("--out out --min-exact-match 0 --min-refusal 1 --version v1"))
        .expect_success();
    assert!(first.out.contains("q.jsonl: 2 questions"), "{}", first.out);
    assert!(first.out.contains("refusal         100.0 %   current        -"), "{}", first.out);
    assert!(first.out.contains("published v1"), "{}", first.out);
    assert_eq!(place.index()["versions"]["v1"]["metrics"]["q"]["refusal"], 1.0);

    let record = fs::read_to_string(place.path("adapters/v1/lotwise.json")).unwrap();
    assert!(record.contains("\"undecided\"") && record.contains("\"self_test\""), "{record}");
    assert!(place.path("adapters/v1/report.html").exists());

    let again = place.run(&retrain(PLAIN)).expect_success();
    assert!(again.out.contains("nothing to do: this adapter is the current version, v1"));

    // Another seed, another directory: compared with the first, and held back by a limit.
    let before = fs::read(place.path("adapters/index.json")).unwrap();
    let arguments = retrain("--out out2 --seed 2 --min-exact-match 0.5");
    let refused = place.run(&arguments);
    assert_eq!(refused.code, Some(1), "{}", refused.side);
    assert!(refused.out.contains("current  100.0 %"), "{}", refused.out);
    let reason = "q.jsonl: exact match is 0.0 %, required is at least 50.0 %";
    assert!(refused.side.contains(reason), "{}", refused.side);
    assert_eq!(fs::read(place.path("adapters/index.json")).unwrap(), before);
    assert_eq!(names(&place.path("adapters")), ["index.json", "v1"]);
    assert!(place.path("out2/lotwise.json").exists(), "the adapter stays to be looked at");
}

#[test]
fn rejects_trained_questions_and_foreign_directories() {
    let place = Workplace::for_training();
    place.write("q.jsonl", r#"{"question": "yield of batch KTR218", "answer": "It is 87.4 %."}"#);
    let error = place.error(&retrain(PLAIN));
    assert!(error.contains("q.jsonl asks 1 questions that data.jsonl trains"), "{error}");
    assert!(!place.path("out").exists() && !place.path("adapters").exists());

    let place = Workplace::for_training();
    fs::rename(place.path("adapter"), place.path("out")).unwrap();
    let error = place.error(&retrain(PLAIN));
    assert!(
        error.contains("out holds an adapter of other data, base, seed or settings"),
        "{error}"
    );
    assert_eq!(place.run(&retrain("--out out --allowance 2")).code, Some(2));
}

/// SIGKILL at ten random moments, from the first step to the publication: whatever is published
/// is whole, and in the end the adapter is, bit for bit, that of a run without interruption, the
/// best of its evaluations included.
#[test]
fn killed_retrains_end_with_the_same_adapter() {
    let arguments =
        format!("{PLAIN} --eval-steps 2 --load-best-model-at-end --early-stopping-patience 4");
    let arguments = retrain(&arguments);
    let undisturbed = Workplace::for_training();
    let start = Instant::now();
    undisturbed.run(&arguments).expect_success();
    let whole = start.elapsed();
    let record = fs::read_to_string(undisturbed.path("out/lotwise.json")).unwrap();
    assert!(record.contains("\"adapter_of_step\""), "{record}");
    let expect_the_same = |place: &Workplace| {
        assert_eq!(names(&place.path("adapters")), ["index.json", "v1"]);
        for file in ["adapter_model.safetensors", "adapter_config.json", "guard.json"] {
            let read = |place: &Workplace| fs::read(place.path("adapters/v1").join(file)).unwrap();
            assert_eq!(read(place), read(&undisturbed), "{file}");
        }
        for rest in ["checkpoint.safetensors", "best.safetensors"] {
            assert!(!place.path("out").join(rest).exists(), "{rest}");
        }
    };

    let mut place = Workplace::for_training();
    let mut rng = Rng::new(20_251_124);
    let mut killed = 0;
    while killed < 10 {
        let errors = fs::File::create(place.path("errors")).unwrap();
        let mut child =
            place.trainer(&arguments).stdout(Stdio::null()).stderr(errors).spawn().unwrap();
        thread::sleep(whole.mul_f64(rng.uniform()));
        child.kill().unwrap();
        match child.wait().unwrap().code() {
            None => killed += 1,
            Some(0) => {
                // It was faster. The rest of the ten are for another one.
                expect_the_same(&place);
                place = Workplace::for_training();
            }
            Some(code) => {
                panic!("exit code {code}: {}", fs::read_to_string(place.path("errors")).unwrap())
            }
        }
        if place.path("adapters/index.json").exists() {
            place.run(&["list", "--verify"]).expect_success();
        }
    }
    place.run(&arguments).expect_success();
    expect_the_same(&place);
}

#[test]
fn a_dry_run_says_what_a_run_takes_and_writes_nothing() {
    let place = Workplace::for_training();
    let train = "train data.jsonl --out out --base base.gguf --num-train-epochs 3 \
        --per-device-train-batch-size 2 --threads 1";
    let train: Vec<&str> = train.split_whitespace().collect();
    let dry = place.run(&[&train[..], &["--dry-run"]].concat()).expect_success();
    assert!(!place.path("out").exists());
    for part in ["examples  ", "steps     ", "tokens    ", "minutes expected on 1 threads"] {
        assert!(dry.out.contains(part), "{part}: {}", dry.out);
    }
    place.run(&train).expect_success();
    let metrics = fs::read_to_string(place.path("out/metrics.jsonl")).unwrap();
    let rows: Vec<serde_json::Value> =
        metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let figure = |name: &str| -> u64 {
        let line = dry.out.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    assert_eq!(rows.len() as u64, figure("steps"));
    let tokens: u64 = rows.iter().map(|row| row["tokens"].as_u64().unwrap()).sum();
    assert_eq!(tokens, figure("tokens"), "what was announced is what was done");
    assert!(rows[..rows.len() - 1].iter().all(|row| row["eval_loss"].is_null()));

    let evaluating = ["--eval-steps", "2", "--dry-run", "--out", "out2"];
    let train: Vec<&str> = train.into_iter().filter(|word| !word.contains("out")).collect();
    let dry = place.run(&[&train[..], &evaluating].concat()).expect_success();
    let line = format!("questions {} evaluations", rows.len().div_ceil(2));
    assert!(dry.out.contains(&line), "{}", dry.out);
    place.run(&[&train[..], &["--eval-steps", "2", "--out", "out2"]].concat()).expect_success();
    let metrics = fs::read_to_string(place.path("out2/metrics.jsonl")).unwrap();
    assert_eq!(metrics.matches("eval_exact_match").count(), rows.len().div_ceil(2));
    let adapter = |out: &str| fs::read(place.path(out).join("adapter_model.safetensors")).unwrap();
    assert_eq!(adapter("out2"), adapter("out"), "evaluating changed the adapter");
}

#[test]
fn presets_say_where_their_values_come_from() {
    let place = Workplace::for_training();
    let help = place.run(&["train", "--help"]).expect_success().out;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["- embedded: rank 32", "learning rate 5e-5", "for a 3B model, not measured here"] {
        assert!(help.contains(part), "{part}: {help}");
    }
    let train = ["train", "data.jsonl", "--out", "out", "--base", "base.gguf", "--dry-run"];
    let dry = place.run(&train).expect_success();
    assert!(dry.side.contains("recipe: preset embedded, by the size of the base"), "{}", dry.side);
    let named = place.run(&[&train[..], &["--preset", "production"]].concat()).expect_success();
    assert!(!named.side.contains("by the size of the base"), "{}", named.side);
    let error = place.error(&[&train[..], &["--load-best-model-at-end"]].concat());
    assert!(error.contains("add --eval-steps N"), "{error}");
}
