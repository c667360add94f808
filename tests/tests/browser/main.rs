//! The built site in a real browser, from a plain static file server.
//!
//! Each test opens a fresh headless Chromium (one of them Firefox) on its own copy of `web/dist`
//! (see `cargo xtask dist`; the variable `LOTWISE_DIST` names another built site). What the page
//! shows is compared with the recorded answers of `trainer/data`, and with what the native engine
//! computes from the same files. A missing browser is a failure.

#![cfg(not(target_arch = "wasm32"))]

mod bench;
mod cores;
mod firefox;
mod kept;
mod native;
mod questions;
mod site;
mod trust;
mod webdriver;

use std::{fs, path::PathBuf};

use shared::{
    ADAPTER_CONFIG, ADAPTER_MODEL, AdapterRecord, Error, GUARD_FILE, Linear, RECORD_FILE, REFUSAL,
    SamplerConfig, sha256_hex, testing::TinyBase,
};
use web::error::SiteError;

use native::Native;
use questions::{recorded, spread};
use site::Site;
use webdriver::{Browser, Panel};

const PRODUCT_CODE: &str = "What is the product code for batch VOY756?";
const BATCH_NUMBER: &str = "What is the batch number for Nitroso Aryl Piperazine Quetiapine?";
const DEVIATIONS: &str = "What deviations were reported for batch VOY756?";
/// One character off a batch that exists.
const NO_SUCH_BATCH: &str = "What is the product code for batch VOY757?";

#[test]
fn recorded_questions_are_answered_in_the_records_words() {
    let (site, browser) = (Site::start(), Browser::start());
    browser.visit_ready(site.url());
    assert_eq!(browser.root("adapter"), site.current());
    for question in [PRODUCT_CODE, BATCH_NUMBER, DEVIATIONS] {
        let shown = browser.ask(question);
        assert_eq!(shown.text, recorded(question));
        assert_eq!(shown.outcome, "answered");
        assert_eq!(shown.adapter, format!("Adapter {}", site.current()));
        assert_eq!(shown.verdict, "matched", "{question}");
    }
}

#[test]
fn a_question_longer_than_the_context_is_refused_with_the_numbers() {
    let (site, browser) = (Site::start(), Browser::start());
    browser.visit_ready(site.url());
    let limit = site.read_base().config.context_length;
    let question = format!("{PRODUCT_CODE}{}", " VOY756".repeat(limit / 5));
    assert_eq!(browser.ask(&question).outcome, "failed");
    assert_eq!(browser.data("failure", "error"), "question-too-long");
    let text = browser.text("failure");
    assert!(text.contains(&format!("tokens and the model can hold {limit}")), "{text}");
    assert_eq!(browser.ask(PRODUCT_CODE).text, recorded(PRODUCT_CODE));
}

#[test]
fn an_unknown_batch_is_refused_without_asking_the_model() {
    let (site, browser) = (Site::start(), Browser::start());
    browser.visit_ready(site.url());
    let shown = browser.ask(NO_SUCH_BATCH);
    assert_eq!((shown.text.as_str(), shown.outcome.as_str()), (REFUSAL, "not-asked"));
    assert_eq!(browser.count("guard-note"), 1);
}

#[test]
fn every_answer_is_the_native_engines_to_the_last_bit() {
    let (site, browser) = (Site::start(), Browser::start());
    browser.visit_ready(site.url());
    let mut native = Native::load(&site, &site.current());
    let groups = [("heldout.jsonl", 8), ("unknown.jsonl", 4), ("missing.jsonl", 4)];
    let asked: Vec<_> = groups.iter().flat_map(|(file, count)| spread(file, *count)).collect();
    for question in &asked {
        assert_eq!(
            browser.ask(question),
            native.ask(question, SamplerConfig::exact()),
            "{question}"
        );
    }
    browser.script("document.querySelector('.settings-panel').open = true", vec![]);
    browser.click("preset-production");
    for question in &asked[..4] {
        let drawn = native.ask(question, SamplerConfig::production());
        assert_eq!(browser.ask(question), drawn, "{question}");
    }
}

#[test]
fn the_self_test_finds_the_published_digest() {
    let (site, browser) = (Site::start(), Browser::start());
    browser.visit_ready(site.url());
    browser.unfold();
    browser.click("self-test");
    let read =
        "return document.querySelector('[data-testid=self-test-result]')?.dataset.digest ?? ''";
    let found = browser.until("the self-test ends", || {
        let digest = browser.script(read, vec![]);
        digest.as_str().filter(|digest| !digest.is_empty()).map(str::to_owned)
    });
    let index = site.index();
    let (name, version) = index.current_version().unwrap();
    assert_eq!(version.metrics["logits_digest"], found.as_str());
    assert_eq!(Native::load(&site, name).digest(), found);
}

#[test]
fn the_previous_version_answers_when_chosen_and_back() {
    let (site, browser) = (Site::start(), Browser::start());
    browser.visit_ready(site.url());
    let (current, previous) = (site.current(), site.previous());
    for version in [&previous, &current] {
        browser.choose_adapter(version);
        assert_eq!(browser.root("adapterOrigin"), "published");
        let expected = Native::load(&site, version).ask(PRODUCT_CODE, SamplerConfig::exact());
        let shown = browser.ask(PRODUCT_CODE);
        assert_eq!(shown, expected, "{version}");
        assert_eq!(shown.adapter, format!("Adapter {version}"));
    }
}

#[test]
fn a_newly_published_adapter_answers_after_a_reload() {
    let (site, browser) = (Site::start(), Browser::start());
    let (current, previous) = (site.current(), site.previous());
    let retrained = site.withdraw(&current);
    browser.visit_ready(site.url());
    assert_eq!(browser.root("adapter"), previous);

    site.publish(retrained.path(), "retrained");
    browser.visit_ready(site.url());
    assert_eq!(browser.root("adapter"), "retrained");
    let shown = browser.ask(PRODUCT_CODE);
    assert_eq!(shown.text, recorded(PRODUCT_CODE));
    assert_eq!(shown.adapter, "Adapter retrained");
    browser.choose_adapter(&previous);
}

#[test]
fn an_adapter_of_this_computer_answers_at_once_and_is_marked() {
    let (site, browser) = (Site::start(), Browser::start());
    let retrained = site.withdraw(&site.current());
    browser.visit_ready(site.url());
    browser.open_adapter(
        &[ADAPTER_CONFIG, ADAPTER_MODEL, RECORD_FILE, GUARD_FILE]
            .map(|file| retrained.path().join(file)),
    );
    assert_eq!(browser.root("adapterOrigin"), "local");
    let shown = browser.ask(PRODUCT_CODE);
    assert_eq!(shown.text, recorded(PRODUCT_CODE));
    assert!(shown.adapter.ends_with("local"), "{}", shown.adapter);
    assert_eq!(browser.ask(NO_SUCH_BATCH).outcome, "not-asked");
}

#[test]
fn the_second_visit_needs_no_server() {
    let (mut site, browser) = (Site::start(), Browser::start());
    browser.visit_ready(site.url());
    let first = browser.ask(PRODUCT_CODE);
    // The last one that the page asks its service worker to keep.
    browser
        .until("the page's own files are kept", || browser.keeps("worker_bg.wasm").then_some(()));
    site.stop();
    browser.visit_ready(site.url());
    assert_eq!(browser.root("downloadedBytes"), "0");
    assert_eq!(browser.ask(PRODUCT_CODE), first);
}

/// Visits a site on which something is wrong, and expects exactly this error.
fn expect_error(site: &Site, browser: &Browser, error: &SiteError) {
    browser.visit(site.url());
    assert_eq!(browser.panel(), panel(error));
    assert_eq!(
        (browser.root("state"), browser.root("error")),
        ("error".into(), error.code().into())
    );
}

fn panel(error: &SiteError) -> Panel {
    Panel {
        code: error.code().into(),
        title: error.title().into(),
        detail: error.detail(),
        next_step: error.next_step().into(),
    }
}

fn damaged(file: &str, expected: String, found: String) -> SiteError {
    SiteError::Corrupted { file: file.into(), expected, found }
}

#[test]
fn one_wrong_byte_is_found_and_a_repair_is_enough() {
    let (site, browser) = (Site::start(), Browser::start());
    for (file, entry) in [site.base(), site.adapter()] {
        let right = fs::read(site.path(&file)).unwrap();
        // In the header, and in the weights.
        for place in [20, right.len() / 2] {
            let found = site.change(&file, |bytes| bytes[place] ^= 1);
            let digests = (format!("SHA-256 {}", entry.sha256), format!("SHA-256 {found}"));
            expect_error(&site, &browser, &damaged(&file, digests.0, digests.1));
            fs::write(site.path(&file), &right).unwrap();
        }
        browser.click("error-action");
        browser.wait_ready();
        browser.forget();
    }
}

#[test]
fn a_cut_file_is_found() {
    let (site, browser) = (Site::start(), Browser::start());
    for (file, entry) in [site.base(), site.adapter()] {
        let right = fs::read(site.path(&file)).unwrap();
        site.change(&file, |bytes| bytes.truncate(bytes.len() / 3));
        let lengths = (format!("{} bytes", right.len()), format!("{} bytes", right.len() / 3));
        assert_eq!(entry.size, right.len() as u64);
        expect_error(&site, &browser, &damaged(&file, lengths.0, lengths.1));
        fs::write(site.path(&file), &right).unwrap();
        browser.forget();
    }
}

#[test]
fn a_missing_file_is_named() {
    let (site, browser) = (Site::start(), Browser::start());
    let lists = ["models/index.json".to_owned(), "adapters/index.json".to_owned()];
    for file in [site.base().0, site.adapter().0].into_iter().chain(lists) {
        let right = fs::read(site.path(&file)).unwrap();
        fs::remove_file(site.path(&file)).unwrap();
        let url = format!("{}{file}", site.url());
        expect_error(&site, &browser, &SiteError::FileMissing { url, status: 404 });
        fs::write(site.path(&file), &right).unwrap();
        browser.forget();
    }
}

#[test]
fn an_adapter_for_another_base_is_refused() {
    let (site, browser) = (Site::start(), Browser::start());
    let (_, base) = site.base();
    let (current, right) = (site.current(), site.index());
    let other = "0123456789abcdef".repeat(4);
    let mut index = right.clone();
    index.versions.get_mut(&current).unwrap().base_sha256.clone_from(&other);
    site.write_index(&index);
    expect_error(
        &site,
        &browser,
        &SiteError::OtherBase {
            adapter: current.clone(),
            needs: format!("the base with SHA-256 {other}"),
            have: base.sha256,
        },
    );
    site.write_index(&right);
    browser.click("error-action");
    browser.wait_ready();

    let refused = |files: &[PathBuf], error: &SiteError| {
        browser.open_adapter(files);
        assert_eq!(browser.panel(), panel(error));
        browser.click("error-action");
        // The adapter before still answers.
        assert_eq!(browser.root("adapter"), current);
        assert_eq!(browser.ask(PRODUCT_CODE).text, recorded(PRODUCT_CODE));
    };
    // From this computer, where the record speaks of another base.
    let path = |name: &str| site.path("adapters").join(&current).join(name);
    let mut record = AdapterRecord::parse(&fs::read(path(RECORD_FILE)).unwrap()).unwrap();
    record.base.sha256 = other;
    let folder = tempfile::tempdir().unwrap();
    let changed = folder.path().join(RECORD_FILE);
    fs::write(&changed, record.to_json().unwrap()).unwrap();
    let base = site.read_base();
    let error = record.check(&base.identity, &base.prompt).unwrap_err();
    let Error::AdapterMismatch { what, expected, found } = error else { panic!("{error}") };
    let adapter = site.adapter().1.sha256[..8].to_owned();
    refused(
        &[path(ADAPTER_CONFIG), path(ADAPTER_MODEL), changed],
        &SiteError::OtherBase { adapter, needs: format!("{what} to be {found}"), have: expected },
    );

    // Without a record, and not even of the base's shape.
    let adapter = TinyBase::default().adapter(&Linear::ALL, 0.1);
    let (config, weights) = adapter.write().unwrap();
    let error = SiteError::BadAdapter {
        adapter: sha256_hex(&weights)[..8].to_owned(),
        reason: adapter.check(&base.config).unwrap_err().to_string(),
    };
    let files = [(ADAPTER_CONFIG, config), (ADAPTER_MODEL, weights)].map(|(name, bytes)| {
        fs::write(folder.path().join(name), bytes).unwrap();
        folder.path().join(name)
    });
    refused(&files, &error);
}
