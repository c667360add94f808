use std::fs;

use shared::testing::TinyBase;
use shared::{Base, REFUSAL};

use super::*;

fn read(content: impl AsRef<[u8]>) -> Result<PairFile> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pairs.jsonl");
    fs::write(&path, content).unwrap();
    read_pairs(&path)
}

fn reasons(content: impl AsRef<[u8]>) -> Vec<(usize, String)> {
    let error = read(content).unwrap_err();
    let bad = error.downcast_ref::<BadLines>().unwrap_or_else(|| panic!("{error:#}"));
    bad.problems.iter().map(|problem| (problem.line, problem.reason.clone())).collect()
}

/// The one reason why a single line is refused.
fn reason(line: impl AsRef<[u8]>) -> String {
    let mut reasons = reasons(line);
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    reasons.remove(0).1
}

#[test]
fn reads_all_three_forms() {
    let file = read(concat!(
        r#"{"question": " Who? ", "answer": "A. Berg.\n", "batch": "VOY756", "source": "p. 1","#,
        r#" "paraphrases": ["who is it", "Who?", "who is it"], "kind": "short"}"#,
        "\r\n\n  \n",
        r#"{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content":"#,
        r#" "What?"}, {"role": "assistant", "content": "That."}], "batch": null}"#,
        "\n",
        r#"{"prompt": "When?", "completion": null}"#,
    ))
    .unwrap();
    let pair = |question: &str, answer: Option<&str>, line| Pair {
        question: question.into(),
        answer: answer.map(Into::into),
        batch: None,
        source: None,
        paraphrases: Vec::new(),
        kind: None,
        line,
    };
    let first = Pair {
        batch: Some("VOY756".into()),
        source: Some("p. 1".into()),
        paraphrases: vec!["who is it".into()],
        kind: Some("short".into()),
        ..pair("Who?", Some("A. Berg."), 1)
    };
    assert_eq!(file.pairs, [first, pair("What?", Some("That."), 4), pair("When?", None, 5)]);
    assert_eq!(file.notes, ["1 system messages are not used: the base's own system prompt is"]);
}

#[test]
fn a_byte_order_mark_and_unicode_are_fine() {
    let file =
        read("\u{feff}{\"question\": \"Wer prüfte Zürich-7?\", \"answer\": \"Dr. Ö\"}").unwrap();
    assert_eq!(file.pairs[0].question, "Wer prüfte Zürich-7?");
    assert_eq!(file.sha256.len(), 64);
}

#[test]
fn duplicates_are_dropped_with_a_note_and_keep_their_paraphrases() {
    let file = read(concat!(
        r#"{"question": "Q?", "answer": "A", "source": "1", "paraphrases": ["q"]}"#,
        "\n",
        r#"{"question": "Q?", "answer": "A", "source": "2", "paraphrases": ["q", "qq"]}"#,
        "\n",
        r#"{"question": "Q?", "answer": "A", "batch": "B1"}"#,
        "\n",
        r#"{"question": "q", "answer": "A", "page": 3}"#,
    ))
    .unwrap();
    let lines: Vec<usize> = file.pairs.iter().map(|pair| pair.line).collect();
    assert_eq!(lines, [1, 3, 4], "another batch or wording is no duplicate");
    assert_eq!(file.pairs[0].paraphrases, ["q", "qq"]);
    assert_eq!(
        file.notes,
        ["1 pairs repeat an earlier one and are left out", "keys that are not used: page"]
    );
}

#[test]
fn training_shares_paraphrases_and_says_which_it_cannot() {
    let text = concat!(
        r#"{"question": "nD of KTR218?", "answer": "1", "batch": "KTR218", "#,
        r#""paraphrases": ["RI of KTR218", "how does it bend light"]}"#,
        "\n",
        r#"{"question": "nD of VOY756?", "answer": "2", "batch": "VOY756"}"#,
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.jsonl");
    fs::write(&path, text).unwrap();
    let file = read_training_pairs(&path).unwrap();
    assert_eq!(file.pairs[1].paraphrases, ["RI of VOY756"]);
    assert!(file.notes[0].contains("wording: 1."), "{:?}", file.notes);
    assert_eq!(read(text).unwrap().pairs[1].paraphrases, [""; 0]);
}

#[test]
fn questions_are_compared_without_case_and_punctuation() {
    assert_eq!(normalise("  What's the yield, of  BX-40217?! "), "what s the yield of bx-40217");
    assert_eq!(normalise("98.2 %"), "98.2");
    assert_eq!(normalise("..."), "");
    assert_ne!(normalise("VOY-756"), normalise("VOY 756"));
    assert_ne!(normalise("1.5"), normalise("15"));
}

#[test]
fn rejects_contradictions_and_names_both_lines() {
    let found = reasons(concat!(
        r#"{"question": "Who is it?", "answer": "A. Berg"}"#,
        "\n",
        r#"{"question": "Other", "answer": "x"}"#,
        "\n",
        r#"{"question": "who is it", "answer": "B. Alm"}"#,
        "\n",
        r#"{"question": "Whose", "answer": "C", "paraphrases": ["OTHER?"]}"#,
        "\n",
        r#"{"question": "WHO IS IT", "answer": null}"#,
        "\n",
        r#"{"question": "other!", "answer": " x"}"#,
    ));
    let lines: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [3, 4, 5]);
    assert!(found[0].1.contains(r#"answered "B. Alm" here, but "A. Berg" in line 1"#), "{found:?}");
    assert!(found[1].1.contains("in line 2"), "{found:?}");
    assert!(found[2].1.contains("answered null here"), "{found:?}");
}

#[test]
fn rejects_all_bad_lines_at_once() {
    let mut content = String::new();
    for line in 1..=50 {
        content +=
            if line % 2 == 0 { "nonsense\n" } else { "{\"question\": \"Q\", \"answer\": \"A\"}\n" };
    }
    let error = read(&content).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("pairs.jsonl: 25 problems; nothing was used"), "{text}");
    assert!(text.contains("pairs.jsonl:2: not a JSON object"), "{text}");
    assert!(text.contains("pairs.jsonl:40: ") && !text.contains("pairs.jsonl:42: "), "{text}");
    assert!(text.ends_with("and 5 more"), "{text}");
}

#[test]
fn rejects_lines_that_are_no_objects() {
    assert!(reason("{\"question\": \"Q\"").contains("column 16"));
    assert!(reason("[{\"question\": \"Q\", \"answer\": \"A\"}]").contains("one object a line"));
    assert!(reason("\"text\"").contains("an object"));
    assert!(reason("{\"question\": \"Q\", \"answer\": \"A\"} {}").contains("trailing"));
    assert!(
        reason(b"{\"question\": \"Z\xfcrich\", \"answer\": \"A\"}").contains("UTF-8 at byte 16")
    );
    assert!(
        reason("{\"question\": \"a\", \"answer\": \"A\", \"question\": \"b\"}").contains("twice")
    );
    assert!(reason(format!("{}1{}", "[".repeat(30_000), "]".repeat(30_000))).contains("array"));
    assert!(reason(format!("{{\"a\": {}", "[".repeat(60_000))).contains("recursion"));
}

#[test]
fn rejects_missing_and_mistyped_fields() {
    assert!(reason(r#"{"Question": "Q", "Answer": "A"}"#).contains("found only Answer, Question"));
    assert!(reason(r#"{"question": "Q", "anwser": "A"}"#).contains("no answer; write null"));
    assert!(reason(r#"{"prompt": "Q"}"#).contains("no completion"));
    assert!(reason(r#"{"answer": "A"}"#).contains("no question"));
    assert!(reason("{}").contains("empty object"));
    assert!(
        reason(r#"{"question": "Q", "prompt": "Q", "answer": "A"}"#)
            .contains("question and prompt")
    );
    assert!(reason(r#"{"question": 7, "answer": "A"}"#).contains("question should be text"));
    assert!(reason(r#"{"question": "Q", "answer": ["A"]}"#).contains("but is an array"));
    assert!(reason(r#"{"question": null, "answer": "A"}"#).contains("question should be text"));
    assert!(
        reason(r#"{"question": "Q", "answer": "A", "batch": 756}"#)
            .contains("batch should be text")
    );
    assert!(reason(r#"{"question": "Q", "answer": "A", "paraphrases": "q"}"#).contains("an array"));
    assert!(
        reason(r#"{"question": "Q", "answer": "A", "paraphrases": ["q", 1]}"#)
            .contains("paraphrases[1] should be text")
    );
}

#[test]
fn rejects_conversations_of_another_form() {
    let wrap = |messages: &str| reason(format!(r#"{{"messages": {messages}}}"#));
    let user = r#"{"role": "user", "content": "Q"}"#;
    let assistant = r#"{"role": "assistant", "content": "A"}"#;
    assert!(wrap("[]").contains("found none"));
    assert!(wrap(&format!("[{user}]")).ends_with("found user"));
    assert!(wrap(&format!("[{assistant}, {user}]")).ends_with("found assistant, user"));
    assert!(
        wrap(&format!("[{user}, {assistant}, {user}, {assistant}]"))
            .ends_with("found user, assistant, user, assistant")
    );
    assert!(wrap("7").contains("should be an array"));
    assert!(wrap("[7, 8]").contains("messages[0].role should be text"));
    assert!(
        wrap(&format!(r#"[{user}, {{"role": "assistant", "content": null}}]"#))
            .contains("messages[1].content should be text")
    );
}

#[test]
fn rejects_empty_and_oversized_texts() {
    assert!(reason(r#"{"question": " ", "answer": "A"}"#).contains("question is empty"));
    assert!(reason(r#"{"question": "Q", "answer": ""}"#).contains("answer is empty"));
    assert!(reason(r#"{"question": "Q\u0000", "answer": "A"}"#).contains("U+0000"));
    let long = "x".repeat(3_000);
    assert!(reason(format!(r#"{{"question": "{long}", "answer": "A"}}"#)).contains("at most 2000"));
    let line = "x".repeat(70_000);
    assert!(
        reason(format!(r#"{{"question": "{line}", "answer": "A"}}"#)).contains("at most 65536")
    );
    assert!(format!("{:#}", read("").unwrap_err()).contains("no line with a question"));
    assert!(format!("{:#}", read("\n \n").unwrap_err()).contains("no line with a question"));
}

#[test]
fn rejects_what_is_not_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let text = read_pairs(directory.path()).unwrap_err().to_string();
    assert!(text.contains("is a directory: expected a JSONL file"), "{text}");
    let text = read_pairs(&directory.path().join("none.jsonl")).unwrap_err().to_string();
    assert!(text.contains("none.jsonl does not exist"), "{text}");
}

#[test]
fn rejects_pairs_that_the_base_cannot_take() {
    let base = Base::from_bytes(TinyBase::default().gguf().unwrap()).unwrap();
    let long = "x".repeat(200);
    let file = read(format!(
        concat!(
            r#"{{"question": "Fine?", "answer": "Yes."}}"#,
            "\n",
            r#"{{"question": "Bad?", "answer": "A<|end|>"}}"#,
            "\n",
            r#"{{"question": "Long?", "answer": "{}", "paraphrases": ["{}"]}}"#
        ),
        long, long
    ))
    .unwrap();
    assert!(REFUSAL.len() < 200);
    let prefix = base.prompt.prefix_ids().len();
    let bad = file.check(&base.prompt, prefix + 300).unwrap_err();
    let lines: Vec<usize> = bad.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 3]);
    assert!(bad.problems[0].reason.contains("<|end|>"), "{bad}");
    assert!(bad.problems[1].reason.contains("tokens; the base has room for"), "{bad}");
}

#[test]
fn reads_the_sample_data() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let count = |name: &str| read_pairs(&data.join(name)).unwrap();
    let train = count("train.jsonl");
    assert_eq!(train.pairs.len(), 186);
    assert!(train.notes.is_empty(), "{:?}", train.notes);
    assert!(count("heldout.jsonl").pairs.len() >= 400);
    for name in ["unknown.jsonl", "missing.jsonl"] {
        assert!(count(name).pairs.iter().all(|pair| pair.answer.is_none()), "{name}");
    }
}
