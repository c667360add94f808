//! The page on several processor cores: the same answers, the setting, the isolation that it needs,
//! and ranks that are lost.

use std::fs;

use serde_json::json;
use shared::{AuditRecord, SamplerConfig, verify_audit};
use web::cores::WORTH_BYTES;

use crate::{
    DEVIATIONS, NO_SUCH_BATCH, PRODUCT_CODE,
    native::Native,
    questions::{recorded, spread},
    site::Site,
    webdriver::Browser,
};

/// Sets the number of cores and waits until it is in use.
fn choose(browser: &Browser, setting: &str, ranks: &str) {
    browser.unfold();
    browser.choose("setting-cores", setting);
    browser.until(&format!("{ranks} ranks answer"), || {
        (browser.root("ranks") == ranks && browser.root("state") == "ready").then_some(())
    });
}

/// Visits a site with two cores set.
fn visit_on_two(browser: &Browser, site: &Site) {
    browser.visit_ready(site.url());
    assert_eq!(browser.root("ranks"), "1", "one core is enough for the embedded base");
    choose(browser, "2", "2");
}

fn digest(browser: &Browser) -> String {
    browser.unfold();
    browser.click("self-test");
    browser.until("the self-test ends", || {
        let digest = browser.data("self-test-result", "digest");
        (!digest.is_empty()).then_some(digest)
    })
}

#[test]
fn two_cores_answer_as_one_does_and_the_setting_is_kept() {
    let (site, browser) = (Site::start_isolated(), Browser::start());
    visit_on_two(&browser, &site);
    let mut native = Native::load(&site, &site.current());
    let mut ask = |questions: &[String]| {
        for question in questions {
            let expected = native.ask(question, SamplerConfig::exact());
            assert_eq!(browser.ask(question), expected, "{question}");
        }
    };
    let asked = spread("heldout.jsonl", 4);
    ask(&asked);
    assert_eq!(digest(&browser), Native::load(&site, &site.current()).digest());
    assert_eq!(browser.data("self-test-result", "outcome"), "passed");
    // The other rank follows again.
    ask(&spread("missing.jsonl", 2));
    for id in ["about", "evidence"] {
        assert!(browser.text(id).contains("2 cores"), "{}", browser.text(id));
    }
    let log = browser.download("export-log");
    verify_audit(&log).unwrap();
    let first = log.split(|&byte| byte == b'\n').next().unwrap();
    assert_eq!(AuditRecord::parse(first).unwrap().event.engine.ranks, Some(2));

    browser.visit_ready(site.url());
    assert_eq!(browser.root("ranks"), "2");
    browser.choose_adapter(&site.previous());
    assert_eq!(browser.root("ranks"), "2");
    let expected = Native::load(&site, &site.previous()).ask(PRODUCT_CODE, SamplerConfig::exact());
    assert_eq!(browser.ask(PRODUCT_CODE), expected);
    choose(&browser, "automatic", "1");
    assert_eq!(browser.root("adapter"), site.previous());
}

/// The server sends no special headers: from the second visit on the service worker isolates.
#[test]
fn a_plain_server_is_enough_from_the_second_visit_on_and_offline() {
    let (mut site, browser) = (Site::start(), Browser::start());
    let isolated = || browser.script("return crossOriginIsolated", vec![]) == json!(true);
    let closed = || {
        browser
            .script("return document.querySelector('[data-testid=setting-cores]').disabled", vec![])
            == json!(true)
    };
    browser.visit_ready(site.url());
    assert!(!isolated() && closed());
    let reason = browser.script("return document.getElementById('cores-hint').textContent", vec![]);
    assert!(reason.as_str().unwrap().contains("Reload"), "{reason}");
    browser
        .until("the page's own files are kept", || browser.keeps("worker_bg.wasm").then_some(()));

    browser.visit_ready(site.url());
    assert!(isolated() && !closed());
    visit_on_two(&browser, &site);
    let shown = browser.ask(PRODUCT_CODE);
    assert_eq!(shown.text, recorded(PRODUCT_CODE));
    site.stop();
    browser.visit_ready(site.url());
    assert!(isolated());
    assert_eq!((browser.root("ranks"), browser.root("downloadedBytes")), ("2".into(), "0".into()));
    assert_eq!(browser.ask(PRODUCT_CODE), shown);
}

/// Makes ranks behave as the file `fault` says, a word and a number: after so many gathers, `crash`,
/// run out of `memory`, or fall into `silence`; or be `slow` from then on.
const FAULTS: &str = r"
const [fault, after] = await fetch('fault').then((reply) => reply.ok ? reply.text() : '')
  .then((text) => text.split(' '));
if (fault && (self.name === 'rank' || fault === 'slow')) {
  const add = Atomics.add;
  let calls = 0;
  Atomics.add = (...words) => {
    if (++calls > Number(after)) {
      if (fault === 'crash') throw new Error('this rank was broken by a test');
      if (fault === 'memory') throw new RangeError('Out of memory');
      const end = performance.now() + 1;
      while (fault === 'silence' || performance.now() < end);
    }
    return add(...words);
  };
}
";

/// A site whose ranks fail as the file `fault` says, visited on two cores.
fn fragile(browser: &Browser) -> Site {
    let site = Site::start_isolated();
    site.change("engine.js", |script| {
        script.splice(..0, FAULTS.bytes());
    });
    visit_on_two(browser, &site);
    site
}

#[test]
fn a_lost_rank_ends_in_words_and_a_restart_answers_again() {
    let browser = Browser::start();
    let site = fragile(&browser);
    for (fault, code, words) in [
        // While the prompt is read, in the middle of an answer.
        ("crash 5", "engine-stopped", "broken by a test"),
        ("crash 150", "engine-stopped", "broken by a test"),
        ("memory 150", "out-of-memory", "Out of memory"),
        ("silence 150", "engine-stopped", "has not answered for"),
    ] {
        fs::write(site.path("fault"), fault).unwrap();
        browser.visit(site.url());
        if !fault.ends_with(" 5") {
            browser.wait_ready();
            browser.type_into("question", &format!("{DEVIATIONS}\n"));
        }
        let panel = browser.panel();
        assert_eq!(panel.code, code, "{fault}: {panel:?}");
        assert!(panel.detail.contains(words), "{fault}: {panel:?}");
        assert_eq!(browser.root("state"), "error");
        assert_eq!(browser.data("exchange", "outcome") == "failed", !fault.ends_with(" 5"));
        fs::remove_file(site.path("fault")).unwrap();
        browser.click("error-action");
        browser.wait_ready();
        assert_eq!(browser.root("ranks"), "2");
        assert_eq!(browser.ask(DEVIATIONS).text, recorded(DEVIATIONS), "{fault}");
    }
}

#[test]
fn stop_ends_the_reading_of_a_question_and_an_answer_on_two_cores() {
    let browser = Browser::start();
    let site = fragile(&browser);
    fs::write(site.path("fault"), "slow 200").unwrap();
    browser.visit_ready(site.url());
    assert_eq!(browser.root("ranks"), "2");
    let limit = site.read_base().config.context_length;
    let long = format!("{PRODUCT_CODE}{}", " VOY756".repeat(limit / 12));
    for (question, sign) in [(long.as_str(), "reading"), (DEVIATIONS, "answer")] {
        // Stops as soon as the page shows that it has begun.
        let watch = "
            window.seen = '';
            new MutationObserver((_, observer) => {
                const all = document.querySelectorAll(`[data-testid=${arguments[0]}]`);
                const text = all[all.length - 1]?.textContent ?? '';
                const exchanges = document.querySelectorAll('[data-testid=exchange]');
                if (exchanges.length <= arguments[1] || !text.trim()) return;
                observer.disconnect();
                window.seen = text;
                document.querySelector('[data-testid=stop]').click();
            }).observe(document.body, { childList: true, characterData: true, subtree: true });";
        browser.script(watch, vec![json!(sign), json!(browser.count("exchange"))]);
        let shown = browser.ask(question);
        let seen = browser.script("return window.seen", vec![]);
        assert_eq!(shown.outcome, "answered", "{shown:?}");
        let facts = browser.script(
            "return [...document.querySelectorAll('[data-testid=exchange]')].at(-1).innerText",
            vec![],
        );
        assert!(facts.as_str().unwrap().contains("stopped by you"), "{facts}");
        if sign == "reading" {
            assert!(seen.as_str().unwrap().contains("Reading the question: 64 of"), "{seen}");
            assert!(!shown.text.contains("VE009S54"), "{shown:?}");
        } else {
            assert_ne!(shown.text, recorded(DEVIATIONS));
        }
    }
    assert_eq!(browser.ask(PRODUCT_CODE).text, recorded(PRODUCT_CODE));
    assert_eq!(browser.ask(NO_SUCH_BATCH).outcome, "not-asked");
}

#[test]
fn cores_are_measured_once_for_a_large_base() {
    let (site, browser) = (Site::start_isolated(), Browser::start());
    site.enlarge(WORTH_BYTES);
    browser.visit_ready(site.url());
    let used = browser.root("ranks");
    let kept = "
        const done = arguments[arguments.length - 1];
        caches.open('lotwise-files').then(async (cache) => {
            const [request] = (await cache.keys()).filter(({ url }) => url.endsWith('cores.json'));
            const measured = await (await cache.match(request)).json();
            const cores = measured.cores;
            await cache.put(request, new Response(JSON.stringify({ ...measured, cores: 3 - cores })));
            done(cores);
        });";
    assert_eq!(browser.async_script(kept).to_string(), used);
    let shown = browser.ask(PRODUCT_CODE);
    assert_eq!(shown.text, recorded(PRODUCT_CODE));
    // What is kept counts, and is not measured again.
    browser.visit_ready(site.url());
    let other = browser.root("ranks");
    assert_eq!(other, if used == "1" { "2" } else { "1" });
    assert_eq!(browser.ask(PRODUCT_CODE), shown);
}
