//! A base so large that its kept copy is verified by its pieces.

use std::fs;

use serde_json::json;
use shared::{SamplerConfig, sha256_hex};

use crate::{PRODUCT_CODE, native::Native, site::Site, webdriver::Browser};

/// What the page calls large, and some bytes more: the last piece is shorter.
pub const SIZE: u64 = (18 << 20) + 1000;
const PIECE: usize = 1 << 20;

/// Runs `change` on the one entry of the page's store whose address contains `part`: it gets the
/// content as bytes and returns what is to be kept instead. Returns what was kept, as text.
fn kept(browser: &Browser, part: &str, change: &str) -> String {
    let script = format!(
        "const done = arguments[arguments.length - 1];
         caches.open('lotwise-files').then(async (cache) => {{
             const keys = (await cache.keys()).filter(({{ url }}) => url.includes('{part}'));
             if (keys.length !== 1) return done(`${{keys.length}} entries`);
             const bytes = new Uint8Array(await (await cache.match(keys[0])).arrayBuffer());
             const text = bytes.length < 100000 ? new TextDecoder().decode(bytes) : '';
             const changed = (({change}))(bytes);
             if (changed) await cache.put(keys[0], new Response(changed));
             done(text);
         }});"
    );
    browser.async_script(&script).as_str().expect("a text").to_owned()
}

#[test]
fn a_large_kept_base_is_verified_by_its_pieces() {
    let (mut site, browser) = (Site::start_isolated(), Browser::start());
    site.enlarge(SIZE);
    let (path, entry) = site.base();
    let file = fs::read(site.path(&path)).unwrap();
    let pieces = file.chunks(PIECE).map(sha256_hex).collect::<Vec<_>>().join("\n");
    let in_store = format!("kept/sha256/{}", entry.sha256);
    let expected = Native::load(&site, &site.current()).ask(PRODUCT_CODE, SamplerConfig::exact());
    let visit = |downloaded: u64, what: &str| {
        browser.visit_ready(site.url());
        assert_eq!(browser.root("downloadedBytes"), downloaded.to_string(), "{what}");
        assert_eq!(browser.ask(PRODUCT_CODE), expected, "{what}");
    };
    let list = |change: &str| kept(&browser, "kept/pieces/", change);

    browser.visit_ready(site.url());
    assert_eq!(list("() => null"), pieces);
    let lists: u64 = ["models/index.json", "adapters/index.json"]
        .map(|list| fs::metadata(site.path(list)).unwrap().len())
        .iter()
        .sum();
    visit(lists, "all is kept");

    // The list counts: a wrong one is found, the whole copy hashed, and the list made anew.
    list("(bytes) => { bytes[0] = 103; return bytes; }");
    visit(lists, "a wrong list of pieces");
    assert_eq!(list("() => null"), pieces);

    // A byte that no tensor uses, in the last piece.
    kept(&browser, &in_store, "(bytes) => { bytes[bytes.length - 1] ^= 1; return bytes; }");
    visit(lists + SIZE, "a damaged copy");
    assert_eq!(list("() => null"), pieces);

    // Whoever changes copy and list alike is not found on a visit, because the pieces are all that
    // is looked at, but by the self-test. The next visit fetches the base.
    let mut changed = file.clone();
    *changed.last_mut().unwrap() ^= 1;
    let last = sha256_hex(changed.chunks(PIECE).last().unwrap());
    kept(&browser, &in_store, "(bytes) => { bytes[bytes.length - 1] ^= 1; return bytes; }");
    let rest = pieces.rsplit_once('\n').unwrap().0;
    list(&format!("() => `{}\\n{last}`", rest.replace('\n', "\\n")));
    visit(lists, "copy and list changed alike");
    browser.unfold();
    browser.click("self-test");
    browser.until("the self-test fails", || {
        (browser.data("self-test-result", "outcome") == "failed").then_some(())
    });
    visit(lists + SIZE, "fetched again");

    // Another base takes the place of this one, list and all.
    site.enlarge(SIZE + 1);
    browser.visit_ready(site.url());
    browser.until("the old base is removed", || (!browser.keeps(&in_store)).then_some(()));
    assert!(list("() => null").lines().count() == pieces.lines().count());
    browser
        .until("the page's own files are kept", || browser.keeps("worker_bg.wasm").then_some(()));
    site.stop();
    browser.visit_ready(site.url());
    let isolated = browser.script("return crossOriginIsolated", vec![]);
    assert_eq!((isolated, browser.root("downloadedBytes")), (json!(true), "0".into()));
}
