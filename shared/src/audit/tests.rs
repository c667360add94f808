use super::*;
use crate::{AnswerVerdict, SamplerConfig, StopReason};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn event(question: &str) -> AuditEvent {
    AuditEvent {
        time: "2025-04-14T08:30:00Z".into(),
        question: question.into(),
        read_as: None,
        withdrawn: None,
        answer: "The \"yield\" of VOY756 is 98.2 %.\n".into(),
        tokens: vec![5, 0, u32::MAX],
        verdict: AnswerVerdict::Matched,
        confidence: Some(0.1),
        stop: Some(StopReason::EndToken),
        adapter: AuditAdapter { version: "2025-04".into(), sha256: "a".repeat(64) },
        base_sha256: "b".repeat(64),
        engine: AuditEngine { version: "0.1.0".into(), sha256: "c".repeat(64), ranks: None },
        sampler: SamplerConfig { seed: u64::MAX, ..SamplerConfig::production() },
        decoding: Decoding::Free,
    }
}

fn lines() -> Vec<String> {
    let mut head = AuditHead::default();
    ["yield?", "ärger 🦀", "who?"]
        .into_iter()
        .map(|question| {
            let record = AuditRecord::after(&head, event(question)).unwrap();
            head = record.head();
            record.to_line().unwrap()
        })
        .collect()
}

fn log(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect()
}

/// The line at which a log breaks, and why.
fn broken(lines: &[String]) -> (usize, String) {
    let found = verify_audit(&log(lines)).unwrap_err();
    (found.line, found.to_string())
}

#[test]
fn a_log_round_trips_and_holds() {
    let lines = lines();
    let head = verify_audit(&log(&lines)).unwrap();
    assert_eq!(head.sequence, 3);
    let last = AuditRecord::parse(lines[2].as_bytes()).unwrap();
    assert_eq!(last.head(), head);
    assert_eq!(last.event, event("who?"));
    assert_eq!(verify_audit(b"").unwrap(), AuditHead::default());
    assert_eq!(verify_audit(log(&lines).strip_suffix(b"\n").unwrap()).unwrap(), head);
}

#[test]
fn the_number_of_ranks_is_bound_like_the_rest() {
    let mut event = event("who?");
    event.engine.ranks = Some(2);
    let record = AuditRecord::after(&AuditHead::default(), event.clone()).unwrap();
    let line = record.to_line().unwrap();
    assert_eq!(AuditRecord::parse(line.as_bytes()).unwrap().event, event);
    for other in ["", ",\"ranks\":3"] {
        let changed = line.replace(",\"ranks\":2", other);
        assert!(changed != line && AuditRecord::parse(changed.as_bytes()).is_err(), "{changed}");
    }
}

/// The format is a promise to logs that exist already: this line must stay readable and be written
/// the same. The hash is what `hashlib` of Python makes of the line without it.
#[test]
fn the_spelling_does_not_change() {
    let unasked = AuditEvent {
        tokens: Vec::new(),
        verdict: AnswerVerdict::UnknownBatch,
        confidence: None,
        stop: None,
        sampler: SamplerConfig::exact(),
        ..event("yield?")
    };
    let line = AuditRecord::after(&AuditHead::default(), unasked).unwrap().to_line().unwrap();
    let expected = format!(
        concat!(
            r#"{{"format_version":1,"sequence":1,"event":{{"time":"2025-04-14T08:30:00Z","#,
            r#""question":"yield?","answer":"The \"yield\" of VOY756 is 98.2 %.\n","tokens":[],"#,
            r#""verdict":"unknown_batch","confidence":null,"stop":null,"#,
            r#""adapter":{{"version":"2025-04","sha256":"{a}"}},"base_sha256":"{b}","#,
            r#""engine":{{"version":"0.1.0","sha256":"{c}"}},"sampler":{{"temperature":0.0,"#,
            r#""top_p":1.0,"top_k":0,"max_new_tokens":150,"no_repeat_ngram_size":0,"seed":0}},"#,
            r#""decoding":"free"}},"previous":"{zero}","hash":"{hash}"}}"#
        ),
        a = "a".repeat(64),
        b = "b".repeat(64),
        c = "c".repeat(64),
        zero = "0".repeat(64),
        hash = "3b5897c6030352dc413426e54093b85855f88888d1279874849024a10995f144",
    );
    assert_eq!(line, expected);
}

#[test]
fn rejects_a_changed_line() {
    let mut changed = lines();
    changed[1] = changed[1].replace("98.2", "98.3");
    let (line, reason) = broken(&changed);
    assert_eq!(line, 2);
    assert!(reason.contains("hash: expected"), "{reason}");
}

#[test]
fn rejects_a_changed_line_with_a_new_hash() {
    let mut changed = lines();
    let first = AuditRecord::parse(changed[0].as_bytes()).unwrap();
    let forged = AuditRecord::after(&first.head(), event("another question")).unwrap();
    changed[1] = forged.to_line().unwrap();
    let (line, reason) = broken(&changed);
    assert_eq!(line, 3);
    assert!(reason.contains("previous: expected"), "{reason}");
}

#[test]
fn rejects_missing_inserted_and_swapped_lines() {
    let whole = lines();
    for (order, line) in
        [(&[1, 2][..], 1), (&[0, 2], 2), (&[0, 1, 1, 2], 3), (&[0, 2, 1], 2), (&[1, 0, 2], 1)]
    {
        let spoiled: Vec<String> = order.iter().map(|&at| whole[at].clone()).collect();
        let (found, reason) = broken(&spoiled);
        assert_eq!(found, line, "{order:?}");
        assert!(reason.contains("sequence: expected"), "{reason}");
    }
}

#[test]
fn rejects_other_spellings() {
    let whole = lines();
    for line in [
        whole[0].replace(":1,", ": 1,"),
        whole[0].replace("yield?", "yield\\u003f"),
        format!("{}\r", whole[0]),
        whole[0].replace(r#""sequence":1,"#, r#""sequence":1,"sequence":1,"#),
        whole[0].replace(r#""sequence":1,"#, r#""sequence":1,"note":"","#),
        whole[0].replace(r#""confidence":0.1"#, r#""confidence":0.10"#),
        String::new(),
        "{}".into(),
        "[".repeat(10_000),
    ] {
        let (found, _) = broken(&[line.clone(), whole[1].clone()]);
        assert_eq!(found, 1, "{line:.80}");
    }
    assert_eq!(verify_audit(b"\n\n").unwrap_err().line, 1);
}

#[test]
fn rejects_events_that_prove_nothing() {
    let spoil = |change: fn(&mut AuditEvent), field: &str| {
        let mut event = event("?");
        change(&mut event);
        let error = AuditRecord::after(&AuditHead::default(), event).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    };
    spoil(|event| event.time = "today".into(), "time");
    spoil(|event| event.confidence = Some(f32::NAN), "confidence");
    spoil(|event| event.confidence = Some(1.1), "confidence");
    spoil(|event| event.adapter.sha256.clear(), "adapter.sha256");
    spoil(|event| event.adapter.version.clear(), "adapter.version");
    spoil(|event| event.base_sha256 = "B".repeat(64), "base_sha256");
    spoil(|event| event.engine.sha256.push('0'), "engine.sha256");
    spoil(|event| event.engine.version = "x".repeat(201), "engine.version");
    spoil(|event| event.sampler.temperature = -1.0, "temperature");
    spoil(|event| event.question = "x".repeat(MAX_AUDIT_LINE), "at most");
    let long = vec![b' '; MAX_AUDIT_LINE + 1];
    assert!(AuditRecord::parse(&long).unwrap_err().to_string().contains("at most"));
}
