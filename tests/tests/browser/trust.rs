//! What the page shows and keeps as proof: marks, audit log, corrections, self-test.

use std::{fs, path::PathBuf};

use shared::{
    ADAPTER_CONFIG, ADAPTER_MODEL, AdapterRecord, AnswerVerdict, AuditChain, AuditRecord,
    ConfidenceScore, Decoding, FeedbackRecord, GUARD_FILE, GoldenQuestion, GuardList, RECORD_FILE,
    REFUSAL, RefusalBias, SamplerConfig, SelfTest, UndecidedRule, WITHHELD, verify_audit,
};
use web::self_test::{Outcome, SelfTestReport};

use crate::{
    DEVIATIONS, NO_SUCH_BATCH, PRODUCT_CODE,
    native::Native,
    questions::recorded,
    site::Site,
    webdriver::{Browser, Shown},
};

fn entries(browser: &Browser) -> u64 {
    browser.data("audit", "entries").parse().unwrap()
}

fn records(log: &[u8]) -> Vec<AuditRecord> {
    let mut chain = AuditChain::default();
    let lines = log.split_inclusive(|&byte| byte == b'\n');
    lines.map(|line| chain.push(line.strip_suffix(b"\n").unwrap()).unwrap()).collect()
}

#[test]
fn the_log_survives_a_reload_and_says_what_was_answered() {
    let (site, browser) = (Site::start(), Browser::start());
    browser.visit_ready(site.url());
    let mut shown: Vec<Shown> =
        [PRODUCT_CODE, NO_SUCH_BATCH].iter().map(|question| browser.ask(question)).collect();
    browser.visit_ready(site.url());
    browser.until("the log is read", || (entries(&browser) == 2).then_some(()));
    shown.push(browser.ask(DEVIATIONS));
    browser.unfold();

    let log = browser.download("export-log");
    let head = verify_audit(&log).unwrap();
    assert_eq!((head.sequence, head.hash), (3, browser.text("log-head")));
    let mut native = Native::load(&site, &site.current());
    let program = shared::sha256_hex(&fs::read(site.path("worker_bg.wasm")).unwrap());
    for (record, shown) in records(&log).iter().zip(&shown) {
        let event = &record.event;
        assert_eq!(event.answer.trim_start(), shown.text);
        assert_eq!(event.confidence.map(|score| score.to_string()), shown.confidence);
        assert_eq!(event.sampler, SamplerConfig::exact());
        assert_eq!((&event.adapter.version, &event.engine.sha256), (&site.current(), &program));
        assert_eq!(event.adapter.sha256, site.adapter().1.sha256);
        assert_eq!(event.base_sha256, site.base().1.sha256);
        if event.verdict == AnswerVerdict::UnknownBatch {
            assert_eq!((event.answer.as_str(), event.tokens.len()), (REFUSAL, 0));
        } else {
            assert_eq!(event.tokens, native.answer(&event.question).tokens, "{}", event.question);
        }
    }
    let questions: Vec<_> = records(&log).into_iter().map(|record| record.event.question).collect();
    assert_eq!(questions, [PRODUCT_CODE, NO_SUCH_BATCH, DEVIATIONS]);

    let table = String::from_utf8(browser.download("export-table")).unwrap();
    assert_eq!(table.matches("\r\n").count(), 4, "{table}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.jsonl");
    fs::write(&file, &log).unwrap();
    site.audit("verify", &file).unwrap();
    site.audit("replay", &file).unwrap();
    let other = String::from_utf8(log).unwrap().replace(PRODUCT_CODE, DEVIATIONS);
    fs::write(&file, other).unwrap();
    site.audit("verify", &file).unwrap_err();
}

#[test]
fn a_changed_log_is_found_in_the_export_and_in_the_browser() {
    let (site, browser) = (Site::start(), Browser::start());
    browser.visit_ready(site.url());
    for question in [PRODUCT_CODE, NO_SUCH_BATCH, DEVIATIONS] {
        browser.ask(question);
    }
    browser.unfold();
    let log = String::from_utf8(browser.download("export-log")).unwrap();
    browser.until("the log is intact", || {
        (browser.data("log-checked", "intact") == "true").then_some(())
    });
    let changed = log.replacen("unknown_batch", "matched", 1);
    assert_eq!(verify_audit(changed.as_bytes()).unwrap_err().line, 2);
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    let removed = [lines[0], lines[2]].concat();
    assert_eq!(verify_audit(removed.as_bytes()).unwrap_err().line, 2);

    browser.async_script(
        "const done = arguments[arguments.length - 1];
         const opening = indexedDB.open('lotwise-journal');
         opening.onsuccess = () => {
             const database = opening.result;
             const transaction = database.transaction('log', 'readwrite');
             const store = transaction.objectStore('log');
             const reading = store.get(2);
             reading.onsuccess = () =>
                 store.put(reading.result.replace('unknown_batch', 'matched'), 2);
             transaction.oncomplete = () => { database.close(); done(); };
         };",
    );
    browser.click("check-log");
    browser.until("the change is found", || {
        (browser.data("log-checked", "intact") == "false").then_some(())
    });
    assert!(browser.text("log-checked").contains("line 2"), "{}", browser.text("log-checked"));
}

#[test]
fn two_tabs_write_one_chain() {
    const ROUNDS: usize = 4;
    let (site, browser) = (Site::start(), Browser::start());
    browser.visit_ready(site.url());
    let tabs = browser.open_tab();
    browser.visit_ready(site.url());
    for round in 0..ROUNDS {
        for tab in &tabs {
            browser.go_to(tab);
            browser.type_into("question", &format!("{PRODUCT_CODE}\n"));
        }
        for tab in &tabs {
            browser.go_to(tab);
            browser.answer(round, PRODUCT_CODE);
        }
    }
    browser.unfold();
    let log = browser.download("export-log");
    assert_eq!(verify_audit(&log).unwrap().sequence as usize, tabs.len() * ROUNDS);
}

#[test]
fn the_log_can_be_turned_off_and_emptied() {
    let (site, browser) = (Site::start(), Browser::start());
    browser.visit_ready(site.url());
    browser.ask(PRODUCT_CODE);
    browser.unfold();
    let switched = |to: &str| {
        browser.click("switch-log");
        browser.until("the log is switched", || (browser.data("audit", "log") == to).then_some(()));
    };
    switched("off");
    assert_eq!(browser.count("log-note"), 1);
    browser.ask(PRODUCT_CODE);
    assert_eq!(entries(&browser), 1);
    browser.visit_ready(site.url());
    browser.until("it stays off", || (browser.data("audit", "log") == "off").then_some(()));
    browser.unfold();
    switched("on");
    browser.ask(PRODUCT_CODE);
    assert_eq!((entries(&browser), browser.count("log-note")), (2, 0));
    browser.click("clear-log");
    browser.click("clear-log-confirm");
    browser.until("the log is empty", || (entries(&browser) == 0).then_some(()));
    browser.ask(PRODUCT_CODE);
    assert_eq!(verify_audit(&browser.download("export-log")).unwrap().sequence, 1);
}

#[test]
fn a_browser_that_keeps_nothing_is_announced_and_still_answers() {
    let (site, browser) = (Site::start(), Browser::start());
    site.change("boot.js", |script| {
        let refusal = "Object.defineProperty(window, 'indexedDB', { get() { \
                       throw new DOMException('no store here', 'SecurityError'); } });\n";
        script.splice(0..0, refusal.bytes());
    });
    browser.visit_ready(site.url());
    browser.until("it is announced", || (browser.count("log-note") == 1).then_some(()));
    assert_eq!(browser.data("audit", "log"), "unavailable");
    assert!(browser.text("log-unavailable").contains("no store here"));
    assert_eq!(browser.ask(PRODUCT_CODE).text, recorded(PRODUCT_CODE));
    assert!(browser.text("log-lost").contains('1'), "{}", browser.text("log-lost"));
}

/// The current adapter with a changed record or guard list, opened from this computer.
fn open_changed(
    site: &Site,
    browser: &Browser,
    change: impl FnOnce(&mut AdapterRecord),
    guard: Option<GuardList>,
) {
    let path = |name: &str| site.path("adapters").join(site.current()).join(name);
    let folder = tempfile::tempdir().unwrap();
    let mut files: Vec<PathBuf> = vec![path(ADAPTER_CONFIG), path(ADAPTER_MODEL)];
    let mut write = |name: &str, bytes: Vec<u8>| {
        fs::write(folder.path().join(name), bytes).unwrap();
        files.push(folder.path().join(name));
    };
    let mut record = AdapterRecord::parse(&fs::read(path(RECORD_FILE)).unwrap()).unwrap();
    change(&mut record);
    write(RECORD_FILE, record.to_json().unwrap());
    if let Some(guard) = guard {
        write(GUARD_FILE, guard.to_json().unwrap());
    }
    // The same weights have the same name: only a change of adapter shows that one was opened.
    if browser.root("adapter") != site.current() {
        browser.choose_adapter(&site.current());
    }
    browser.open_adapter(&files);
}

/// A rule that no answer is sure enough for.
fn undecided_below_all() -> UndecidedRule {
    UndecidedRule {
        evidence_odds: 1.0,
        score: ConfidenceScore::Product,
        below: 1.0,
        questions: 200,
        questions_sha256: "f".repeat(64),
        coverage: 0.0,
        wrong: 0.0,
        wrong_at_most: 0.003,
    }
}

#[test]
fn every_mark_is_shown_with_its_meaning() {
    let (site, browser) = (Site::start(), Browser::start());
    let expect = |question: &str, verdict: AnswerVerdict, code: &str| {
        let shown = browser.ask(question);
        assert_eq!(shown.verdict, code, "{question}");
        let read = "const all = document.querySelectorAll('[data-testid=answer-mark]');
                    const mark = all[all.length - 1];
                    return [mark.open, mark.querySelector('p').textContent];";
        let mark = browser.script(read, vec![]);
        assert_eq!(mark[0], !verdict.stands(), "{code}: warnings are unfolded");
        let meaning = mark[1].as_str().unwrap();
        assert!(verdict.explanation().ends_with(&meaning[1..]), "{meaning}");
        shown
    };
    let guard = fs::read(site.path("adapters").join(site.current()).join(GUARD_FILE)).unwrap();
    let guard = GuardList::parse(&guard).unwrap();

    browser.visit_ready(site.url());
    expect(PRODUCT_CODE, AnswerVerdict::Matched, "matched");
    expect(NO_SUCH_BATCH, AnswerVerdict::UnknownBatch, "unknown-batch");

    let strict = |record: &mut AdapterRecord| record.undecided = Some(undecided_below_all());
    open_changed(&site, &browser, strict, Some(guard.clone()));
    expect(PRODUCT_CODE, AnswerVerdict::Undecided, "undecided");

    let without_facts = GuardList { facts: Default::default(), ..guard };
    open_changed(&site, &browser, |record| record.undecided = None, Some(without_facts.clone()));
    let shown = expect(PRODUCT_CODE, AnswerVerdict::Unverified, "unverified");
    assert_eq!(shown.unverified, "VE009S54");
    assert_eq!(shown.text, WITHHELD);
    assert!(browser.text("withheld").ends_with(&recorded(PRODUCT_CODE)));
    let code = PRODUCT_CODE.replace("What is the", "I need the");
    expect(&code, AnswerVerdict::Unverified, "unverified");
    assert_eq!(
        browser.text("asked-again"),
        format!("No answer at first, then read as “{PRODUCT_CODE}”")
    );

    let mut lacking = without_facts.clone();
    lacking.fields.recorded.clear();
    open_changed(&site, &browser, |record| record.undecided = None, Some(lacking));
    let shown = expect(PRODUCT_CODE, AnswerVerdict::LacksField, "lacks-field");
    assert_eq!(shown.text, REFUSAL);

    open_changed(&site, &browser, |record| record.undecided = None, None);
    expect(PRODUCT_CODE, AnswerVerdict::Unchecked, "unchecked");
}

#[test]
fn a_slip_of_the_finger_is_mended_and_shown() {
    let (site, browser) = (Site::start(), Browser::start());
    browser.visit_ready(site.url());
    let misspelt = PRODUCT_CODE.replace("product", "prodcut");
    assert_ne!(misspelt, PRODUCT_CODE);
    assert_eq!(browser.ask(&misspelt).text, recorded(PRODUCT_CODE));
    assert_eq!(browser.text("read-as"), "Read “prodcut” as “product”.");
    browser.unfold();
    let log = records(&browser.download("export-log"));
    assert_eq!(log[0].event.question, misspelt, "the log keeps what was typed");
}

#[test]
fn a_product_is_read_as_its_batch_and_shown() {
    let (site, browser) = (Site::start(), Browser::start());
    browser.visit_ready(site.url());
    let product = "Nitroso Aryl Piperazine Quetiapine";
    let by_product = PRODUCT_CODE.replace("batch VOY756", product);
    assert_eq!(browser.ask(&by_product).text, recorded(PRODUCT_CODE));
    assert_eq!(browser.text("read-as"), format!("Read “{product}” as “VOY756”."));
}

#[test]
fn what_is_refused_although_it_is_on_record_is_read_again_and_shown() {
    let (site, browser) = (Site::start(), Browser::start());
    let guard = fs::read(site.path("adapters").join(site.current()).join(GUARD_FILE)).unwrap();
    let guard = GuardList::parse(&guard).unwrap();
    browser.visit_ready(site.url());
    let refuse_all = |record: &mut AdapterRecord| {
        let questions_sha256 = "f".repeat(64);
        record.refusal_bias = Some(RefusalBias { logit: 20.0, questions: 1, questions_sha256 });
    };
    open_changed(&site, &browser, refuse_all, Some(guard.clone()));
    assert_eq!(browser.ask("voy756: product code").text, REFUSAL);
    let read_as = format!("No answer at first, then read as “{PRODUCT_CODE}”");
    assert_eq!(browser.text("asked-again"), read_as);
    assert_eq!(browser.ask("voy756: date of the moon landing").text, REFUSAL);
    assert_eq!(browser.count("asked-again"), 1, "only where a record has it");
    // What the records do answer is offered.
    let offered = "return [...document.querySelectorAll('[data-testid=exchange]:last-child \
                   [data-testid=on-record] button')]";
    let questions = browser.script(&format!("{offered}.map((b) => b.textContent)"), vec![]);
    let questions = questions.as_array().unwrap();
    let at = questions.iter().position(|question| question == PRODUCT_CODE).unwrap();
    assert!(
        questions.len() > 5
            && questions.iter().all(|question| question.to_string().contains("VOY756"))
    );
    browser.script(&format!("{offered}[{at}].click()"), vec![]);
    assert_eq!(browser.answer(2, PRODUCT_CODE).text, REFUSAL);
    browser.unfold();
    let log = records(&browser.download("export-log"));
    let read_as: Vec<Option<&str>> =
        log.iter().map(|record| record.event.read_as.as_deref()).collect();
    assert_eq!(read_as, [Some(PRODUCT_CODE), None, None]);
    assert_eq!(log[2].event.question, PRODUCT_CODE);
    assert_eq!(browser.count("likeliest"), 0, "these refusals stand");

    // A refusal that does not stand, of a question that is most likely about one thing on record.
    let unsure = |record: &mut AdapterRecord| {
        refuse_all(record);
        record.undecided = Some(undecided_below_all());
    };
    open_changed(&site, &browser, unsure, Some(guard));
    let asked = "To fill in the label request I'm still missing the product code of VOY756.";
    assert_eq!(browser.ask(asked).verdict, "undecided");
    assert_eq!(browser.text("likeliest"), format!("Did you mean: {PRODUCT_CODE}"));
}

#[test]
fn approved_answers_are_the_only_ones() {
    let (site, browser) = (Site::start(), Browser::start());
    browser.visit_ready(site.url());
    let approved = "Ask the QA office.";
    let only = |record: &mut AdapterRecord| {
        record.approved_answers = Some([approved.to_owned()].into());
    };
    open_changed(&site, &browser, only, None);
    let switch = "document.querySelector('[data-testid=setting-approved]').click()";
    browser.script(switch, vec![]);
    let shown = browser.ask(PRODUCT_CODE);
    assert!([approved, REFUSAL].contains(&shown.text.as_str()), "{}", shown.text);
    open_changed(&site, &browser, |record| record.approved_answers = None, None);
    let refused = browser.ask(PRODUCT_CODE);
    assert_eq!(refused.outcome, "failed", "no silent way back to any answer");
    browser.script(switch, vec![]);
    assert_eq!(browser.ask(PRODUCT_CODE).text, recorded(PRODUCT_CODE));
    browser.unfold();
    let decodings: Vec<Decoding> = records(&browser.download("export-log"))
        .into_iter()
        .map(|record| record.event.decoding)
        .collect();
    assert_eq!(decodings, [Decoding::Approved, Decoding::Free]);
}

#[test]
fn an_unknown_batch_is_asked_again_by_a_click() {
    let (site, browser) = (Site::start(), Browser::start());
    browser.visit_ready(site.url());
    assert_eq!(browser.ask(NO_SUCH_BATCH).outcome, "not-asked");
    let known = PRODUCT_CODE.split(' ').next_back().unwrap();
    let all = "[...document.querySelectorAll('[data-testid=suggestion]')]";
    let offered =
        browser.script(&format!("return {all}.map((button) => button.textContent)"), vec![]);
    let offered: Vec<&str> = offered.as_array().unwrap().iter().flat_map(|o| o.as_str()).collect();
    assert!(offered.contains(&known), "{offered:?} lacks {known}");
    let click = format!("{all}.find((button) => button.textContent === arguments[0]).click()");
    browser.script(&click, vec![known.into()]);
    assert_eq!(browser.answer(1, PRODUCT_CODE).text, recorded(PRODUCT_CODE));
}

#[test]
fn a_correction_is_kept_exported_and_deleted() {
    let (site, browser) = (Site::start(), Browser::start());
    browser.visit_ready(site.url());
    let given = browser.ask(PRODUCT_CODE).text;
    browser.click("correct");
    browser.type_into("right-answer", "The product code for batch VOY756 is VE009S55.");
    browser.type_into("reviewer", "M. Lindqvist");
    browser.click("save-correction");
    let kept = |count: &str| (browser.data("corrections", "count") == count).then_some(());
    browser.until("the correction is kept", || kept("1"));
    assert_eq!(browser.count("corrected"), 1);

    browser.visit_ready(site.url());
    browser.until("the correction is still there", || kept("1"));
    browser.ask(NO_SUCH_BATCH);
    browser.ask(PRODUCT_CODE);
    assert_eq!(browser.count("corrected"), 1, "the same answer is known to be corrected");
    browser.unfold();
    let exported = String::from_utf8(browser.download("export-corrections")).unwrap();
    let record = FeedbackRecord::parse(exported.strip_suffix('\n').unwrap().as_bytes()).unwrap();
    assert_eq!(record.question, PRODUCT_CODE);
    assert_eq!(record.answer_given.trim(), given);
    let right = record.right_answer.as_deref();
    assert_eq!(right, Some("The product code for batch VOY756 is VE009S55."));
    assert_eq!(record.reviewer, "M. Lindqvist");
    assert_eq!(record.adapter.sha256, site.adapter().1.sha256);

    browser.click("delete-correction");
    browser.until("the correction is deleted", || kept("0"));
    browser.visit_ready(site.url());
    browser.until("it stays deleted", || kept("0"));
}

#[test]
fn the_self_test_repeats_the_trainers_answers_and_finds_a_difference() {
    let (site, browser) = (Site::start(), Browser::start());
    let current = site.current();
    let mut native = Native::load(&site, &current);
    let asked = [PRODUCT_CODE, DEVIATIONS];
    let questions = asked.map(|question| GoldenQuestion {
        question: question.into(),
        answer: native.answer(question).text,
    });
    let test = SelfTest { logits_digest: native.digest(), questions: questions.into() };
    let mut wrong = test.clone();
    wrong.questions[1].answer.push('!');

    for (name, test, expected) in
        [("right", test, Outcome::Passed), ("wrong", wrong, Outcome::Failed)]
    {
        let folder = tempfile::tempdir().unwrap();
        for file in [ADAPTER_CONFIG, ADAPTER_MODEL, GUARD_FILE, RECORD_FILE] {
            let published = site.path("adapters").join(&current).join(file);
            fs::copy(published, folder.path().join(file)).unwrap();
        }
        let path = folder.path().join(RECORD_FILE);
        let mut record = AdapterRecord::parse(&fs::read(&path).unwrap()).unwrap();
        record.self_test = Some(test);
        fs::write(&path, record.to_json().unwrap()).unwrap();
        site.publish(folder.path(), name);

        browser.visit_ready(site.url());
        assert_eq!(browser.root("adapter"), name);
        browser.unfold();
        browser.click("self-test");
        browser.until("the self-test ends", || {
            (browser.data("self-test-result", "outcome") == expected.code()).then_some(())
        });
        let report: SelfTestReport =
            serde_json::from_slice(&browser.download("self-test-download")).unwrap();
        assert_eq!(report.outcome, expected, "{name}");
        assert_eq!((report.files.len(), report.golden.len()), (5, 2));
        assert!(report.files.iter().all(|check| check.outcome == Outcome::Passed));
        assert_eq!(report.digest.outcome, Outcome::Passed);
        assert_eq!(report.golden[1].outcome, expected);
        let program = fs::read(site.path("worker_bg.wasm")).unwrap();
        assert_eq!(report.engine.sha256, shared::sha256_hex(&program));
        assert!(browser.text("evidence").contains(report.words()), "the printed report");
    }
}
