//! Wrong input: exit code, and words that name the file, what was expected, and a next step.

use std::fs;

use crate::fixture::{Workplace, names};

const EVAL: [&str; 5] = ["eval", "--base", "base.gguf", "--questions", "q.jsonl"];

fn place() -> Workplace {
    let place = Workplace::new();
    place.write("q.jsonl", "{\"question\": \"Q?\", \"answer\": \"A\"}\n");
    place
}

#[test]
fn rejects_wrong_usage_with_exit_code_2() {
    let place = place();
    for arguments in [&[][..], &["eval"], &["publish"], &["nonsense"], &["list", "--keep", "1"]] {
        let outcome = place.run(arguments);
        assert_eq!(outcome.code, Some(2), "{arguments:?}");
        assert!(outcome.side.contains("Usage:"), "{}", outcome.side);
    }
    let help = place.run(&["--help"]).expect_success().out;
    let commands =
        "train retrain eval publish rollback list chat audit feedback export-data inspect pretrain";
    for command in commands.split(' ') {
        assert!(help.contains(&format!("  {command} ")), "{help}");
        assert!(place.run(&[command, "--help"]).expect_success().out.contains("Example"));
    }
}

#[test]
fn rejects_bases_that_are_none() {
    let place = place();
    let error = place.error(&["eval", "--adapter", "adapter", "--questions", "q.jsonl"]);
    assert!(error.contains("web/models/lotwise-base.gguf does not exist"), "{error}");
    assert!(error.contains("name it with --base"), "{error}");
    let with = |base: &str| {
        place.error(&["eval", "--adapter", "adapter", "--questions", "q.jsonl", "--base", base])
    };
    assert!(with("adapter").contains("adapter is a directory: expected a base model"));
    assert!(with("q.jsonl").contains("expected the magic \"GGUF\""));
    let mut bytes = fs::read(place.path("base.gguf")).unwrap();
    bytes.truncate(bytes.len() / 2);
    place.write("half.gguf", &bytes);
    let error = with("half.gguf");
    assert!(error.contains("half.gguf") && error.contains("cannot be used as a base"), "{error}");
    bytes.truncate(100);
    place.write("short.gguf", &bytes);
    assert!(with("short.gguf").contains("(100 bytes)"));
    assert!(place.error(&["inspect", "half.gguf"]).contains("not a readable GGUF"));
}

#[test]
fn rejects_adapters_of_another_base() {
    let place = place();
    let mut bytes = fs::read(place.path("base.gguf")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    place.write("other.gguf", &bytes);
    for arguments in [
        &["eval", "--adapter", "adapter", "--questions", "q.jsonl", "--base", "other.gguf"][..],
        &["publish", "adapter", "--base", "other.gguf"],
        &["chat", "--adapter", "adapter", "--base", "other.gguf"],
    ] {
        let error = place.error(arguments);
        assert!(error.contains("adapter does not fit the base tiny 1"), "{error}");
        assert!(error.contains("SHA-256 of the base"), "{error}");
    }
    assert!(!place.path("adapters").exists(), "nothing was published");
}

#[test]
fn rejects_damaged_adapters() {
    let damage = |file: &str, change: fn(&mut Vec<u8>), expected: &str| {
        let place = place();
        let path = place.path("adapter").join(file);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let error = place.error(&["publish", "adapter", "--base", "base.gguf"]);
        assert!(error.contains(expected), "{file}: {error}");
        assert!(!place.path("adapters").exists());
    };
    damage("adapter_model.safetensors", |bytes| bytes.truncate(5000), "adapter_model.safetensors");
    damage(
        "adapter_model.safetensors",
        |bytes| bytes[0] ^= 0x40,
        "not an adapter that can be merged",
    );
    damage(
        "adapter_model.safetensors",
        |bytes| {
            let last = bytes.len() - 4;
            bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
        },
        "not a finite number",
    );
    damage("adapter_config.json", |bytes| bytes.truncate(40), "adapter_config.json");
    damage("lotwise.json", |bytes| bytes.truncate(40), "lotwise.json cannot be used");
    damage("guard.json", |bytes| bytes[0] = b'[', "guard.json cannot be used");
}

#[test]
fn rejects_adapters_that_lack_files() {
    let place = place();
    let publish = ["publish", "adapter", "--base", "base.gguf"];
    fs::remove_file(place.path("adapter/guard.json")).unwrap();
    assert!(place.error(&publish).contains("has no guard.json"));
    fs::remove_file(place.path("adapter/lotwise.json")).unwrap();
    assert!(place.error(&publish).contains("has no lotwise.json"));
    let plain = place.run(&[&EVAL[..], &["--adapter", "adapter"]].concat()).expect_success();
    assert!(plain.side.contains("has no guard.json"), "an adapter of PEFT alone can be measured");
    fs::remove_file(place.path("adapter/adapter_model.safetensors")).unwrap();
    assert!(place.error(&publish).contains("adapter_model.safetensors does not exist"));
    assert!(
        place.error(&["publish", "none", "--base", "base.gguf"]).contains("none does not exist")
    );
    assert!(
        place.error(&["publish", "q.jsonl", "--base", "base.gguf"]).contains("q.jsonl is a file")
    );
}

#[test]
fn rejects_adapters_that_never_stop() {
    let place = Workplace::rambling();
    let error = place.error(&["publish", "adapter", "--base", "base.gguf"]);
    assert!(error.contains("does not come to an end"), "{error}");
}

#[test]
fn rejects_bad_questions_all_at_once() {
    let place = place();
    place.write(
        "q.jsonl",
        "{\"question\": \"Q?\"}\nnonsense\n{\"question\": \"<|end|>\", \"answer\": \"A\"}\n",
    );
    let eval = [&EVAL[..], &["--adapter", "adapter", "--json"]].concat();
    let error = place.error(&eval);
    assert!(
        error.contains("q.jsonl:1: no answer") && error.contains("q.jsonl:2: not a JSON"),
        "{error}"
    );
    place.write("q.jsonl", "{\"question\": \"Q?\", \"answer\": \"A\"}\n{\"question\": \"<|end|>\", \"answer\": \"A\"}\n");
    assert!(place.error(&eval).contains("q.jsonl:2: question: expected text without"));
    assert!(
        place.error(&[&eval[..], &["--questions", "q.jsonl"]].concat()).contains("named twice")
    );
}

#[test]
fn rejects_places_where_nothing_is_published() {
    let place = place();
    for command in ["list", "rollback"] {
        let error = place.error(&[command, "--adapters", "nowhere"]);
        assert!(error.contains("nothing is published in nowhere yet"), "{error}");
        assert!(!place.path("nowhere").exists());
    }
    place.publish("v1");
    assert!(place.error(&["rollback"]).contains("no previous version"));
    assert!(
        place
            .error(&["publish", "adapters", "--base", "base.gguf"])
            .contains("published already, as v1")
    );
    let publish = ["publish", "adapter", "--base", "base.gguf", "--version"];
    assert!(place.error(&[&publish[..], &["v1"]].concat()).contains("choose another name"));
    assert!(place.error(&[&publish[..], &["../x"]].concat()).contains("version name"));
    place.write("adapters/index.json", "{}");
    assert!(
        place.error(&["list"]).contains("adapters/index.json is not a valid index; restore it")
    );
    assert_eq!(names(&place.path("adapters")), ["index.json", "v1"]);
}
