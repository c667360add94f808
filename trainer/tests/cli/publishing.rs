//! Publishing, listing, rolling back, and being killed while at it.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::fixture::{Workplace, names};

const FILES: [&str; 4] =
    ["adapter_config.json", "adapter_model.safetensors", "guard.json", "lotwise.json"];

#[test]
fn publish_list_and_roll_back() {
    let place = Workplace::new();
    let first = place.publish("v1");
    assert!(first.out.contains("published v1") && first.side.contains("--record"), "{}", first.out);
    let second = place.publish("v2");
    assert!(second.out.contains("trainer rollback returns to v1"), "{}", second.out);
    assert_eq!(names(&place.path("adapters")), ["index.json", "v1", "v2"]);
    assert_eq!(names(&place.path("adapters/v1")), FILES);
    for file in FILES {
        let read = |name: &str| fs::read(place.path(name).join(file)).unwrap();
        assert_eq!(read("adapters/v2"), read("adapter"), "{file}");
    }
    let json = place.run(&["list", "--json", "--verify"]).expect_success().json();
    assert_eq!((&json["current"], &json["previous"]), (&"v2".into(), &"v1".into()));
    assert_eq!(json["problems"], serde_json::json!([]));

    place.run(&["rollback"]).expect_success();
    assert_eq!(place.index()["current"], "v1");
    place.run(&["rollback"]).expect_success();
    assert_eq!(place.index()["current"], "v2");
    place.publish("v3");
    place.run(&["rollback", "--to", "v1"]).expect_success();
    assert_eq!(
        (&place.index()["current"], &place.index()["previous"]),
        (&"v1".into(), &"v3".into())
    );
    let list = place.run(&["list", "--verify"]).expect_success().out;
    assert!(list.contains("v1 ") && list.contains("all files are as published"), "{list}");
    assert!(place.error(&["rollback", "--to", "v9"]).contains("there are: v1, v2, v3"));
}

#[test]
fn versions_are_named_by_date_and_old_ones_go_when_told_to() {
    let place = Workplace::new();
    for _ in 0..3 {
        place.run(&["publish", "adapter", "--base", "base.gguf"]).expect_success();
    }
    let versions = place.index()["versions"].as_object().unwrap().len();
    assert_eq!(versions, 3);
    let current = place.index()["current"].as_str().unwrap().to_owned();
    assert!(current.starts_with("20") && current.ends_with("-3"), "{current}");
    let kept =
        place.run(&["publish", "adapter", "--base", "base.gguf", "--keep", "2"]).expect_success();
    assert_eq!(kept.out.matches("removed ").count(), 2, "{}", kept.out);
    assert_eq!(place.index()["versions"].as_object().unwrap().len(), 2);
    assert_eq!(names(&place.path("adapters")).len(), 3);
}

#[test]
fn a_changed_file_is_found_and_not_rolled_back_to() {
    let place = Workplace::new();
    place.publish("v1");
    place.publish("v2");
    let path = place.path("adapters/v1/adapter_model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let outcome = place.run(&["list", "--verify"]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.side.contains("v1/adapter_model.safetensors is not what was published"));
    assert!(place.error(&["rollback"]).contains("expected SHA-256"));
    assert_eq!(place.index()["current"], "v2");
    bytes.truncate(1000);
    fs::write(&path, &bytes).unwrap();
    assert!(place.error(&["rollback"]).contains("bytes, found 1000"));
}

/// SIGKILL at moments spread over a whole publication: whatever is current afterwards has all its
/// files, unchanged, and the next publication succeeds and leaves nothing of the killed one.
#[test]
fn killed_publications_lose_nothing() {
    let place = Workplace::new();
    place.publish("v0");
    let start = Instant::now();
    place.publish("v1");
    let whole = start.elapsed();
    let mut killed = 0;
    for round in 0..24_u32 {
        let name = format!("k{round}");
        let mut child = place
            .trainer(&[
                "publish",
                "adapter",
                "--base",
                "base.gguf",
                "--version",
                &name,
                "--keep",
                "3",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(whole.mul_f64(f64::from(round) / 20.0).max(Duration::from_micros(100)));
        child.kill().unwrap();
        killed += usize::from(!child.wait().unwrap().success());
        place.run(&["list", "--verify"]).expect_success();
    }
    assert!(killed > 0, "the kills came too late to prove anything");
    place.publish("last");
    let index = place.index();
    let mut expected: Vec<&str> =
        index["versions"].as_object().unwrap().keys().map(String::as_str).collect();
    expected.push("index.json");
    expected.sort_unstable();
    assert_eq!(names(&place.path("adapters")), expected);
    assert_eq!(index["current"], "last");
}

/// As PEFT leaves it: two files, one of its modules only.
#[test]
fn an_adapter_of_peft_is_published_with_the_data_that_it_was_trained_on() {
    let place = Workplace::for_training();
    for file in ["lotwise.json", "guard.json"] {
        fs::remove_file(place.path("adapter").join(file)).unwrap();
    }
    let publish = ["publish", "adapter", "--base", "base.gguf", "--version"];
    let error = place.error(&[&publish[..], &["v1"]].concat());
    assert!(error.contains("no lotwise.json") && error.contains("--data FILE.jsonl"), "{error}");
    assert!(!place.path("adapters").exists());

    place.run(&[&publish[..], &["v1", "--data", "data.jsonl"]].concat()).expect_success();
    assert_eq!(names(&place.path("adapters/v1")), FILES);
    assert_eq!(names(&place.path("adapter")).len(), 2, "the adapter's own directory is left alone");
    place.run(&["list", "--verify"]).expect_success();
    let record = fs::read_to_string(place.path("adapters/v1/lotwise.json")).unwrap();
    assert!(record.contains("elsewhere") && record.contains("not_recorded"), "{record}");
    let eval = ["eval", "--adapter", "adapters", "--base", "base.gguf", "--questions", "q.jsonl"];
    let json = place.run(&[&eval[..], &["--json"]].concat()).expect_success().json();
    assert_eq!(json["guard_refused"], 1, "the guard knows the data's batches");

    place.write("plain.jsonl", r#"{"question": "Who are you?", "answer": "A model."}"#);
    let error = place.error(&[&publish[..], &["v2", "--data", "plain.jsonl"]].concat());
    assert!(error.contains("no pair names its batch"), "{error}");
    let error = place.error(&[&publish[..], &["v3", "--data", "nothing.jsonl"]].concat());
    assert!(error.contains("nothing.jsonl does not exist"), "{error}");
    place.add_adapter("own");
    let own = ["publish", "own", "--base", "base.gguf", "--data", "data.jsonl"];
    assert!(place.error(&own).contains("leave --data out"));
}
