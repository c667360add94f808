//! The benchmark page, `bench.html`: what it measures belongs to a model that computes the native
//! engine's bits.

use serde_json::{Value, json};
use shared::{
    RankSlice, SoloExchange, kernel_names, logits_digest, self_test_tokens, sha256_hex,
    testing::TinyBase,
};

use crate::{site::Site, webdriver::Browser};

/// Opens the page and waits for what it leaves to scripts.
fn result(browser: &Browser, site: &Site, query: &str) -> Value {
    browser.visit(&format!("{}bench.html?{query}", site.url()));
    browser.until("the benchmark ends", || {
        let result = browser.script("return window.benchResult ?? null", vec![]);
        (!result.is_null()).then_some(result)
    })
}

#[test]
fn the_benchmarks_digest_is_the_native_engines() {
    let (site, browser) = (Site::start(), Browser::start());
    let tiny = TinyBase::default();
    let bytes = tiny.gguf().unwrap();
    std::fs::write(site.path("tiny.gguf"), &bytes).unwrap();
    let found =
        result(&browser, &site, "model=tiny.gguf&runs=2&prompt_tokens=70&decode_tokens=5&ranks=1");
    let model = tiny.model(RankSlice::SOLO, None).unwrap();
    let tokens = self_test_tokens(model.config());
    for kernels in kernel_names() {
        let mut model = tiny.model(RankSlice::SOLO, None).unwrap();
        model.use_kernels(kernels).unwrap();
        let digest = logits_digest(&model, &tokens, &mut SoloExchange).unwrap();
        assert_eq!(found["digest"], json!(digest), "{kernels}");
    }
    assert_eq!(found["model_sha256"], json!(sha256_hex(&bytes)));
    assert_eq!(found["packed_bytes"], json!(model.bytes()));
    assert_eq!((&found["ranks"], &found["build"]), (&json!(1), &json!("simd128")));
    let runs = found["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for name in ["prefill_tps", "decode_tps"] {
        assert!(runs.iter().all(|run| run[name].as_f64().unwrap() > 0.0), "{found}");
    }
    for name in ["load_s", "merge_s", "read_gbps", "peak_bytes"] {
        assert!(found[name].as_f64().unwrap() > 0.0, "{name}: {found}");
    }
}

#[test]
fn the_benchmark_merges_an_adapter() {
    let (site, browser) = (Site::start(), Browser::start());
    let (index, current) = (site.index(), site.current());
    let query = format!("adapter=adapters/{current}&runs=1&prompt_tokens=8&decode_tokens=2");
    let found = result(&browser, &site, &query);
    assert_eq!(found["digest"], index.versions[&current].metrics["logits_digest"], "{found}");
}

#[test]
fn the_benchmark_says_in_words_what_it_cannot_measure() {
    let (site, browser) = (Site::start(), Browser::start());
    for (query, words) in [
        ("ranks=0", "ranks: expected a whole number from 1 to 64, found 0"),
        ("model=none.gguf", "The server answered 404 for none.gguf"),
        ("model=index.html", "The base model was refused"),
        ("decode_tokens=100000", "context"),
    ] {
        let found = result(&browser, &site, query);
        assert!(found["error"].as_str().unwrap().contains(words), "{query}: {found}");
    }
}
