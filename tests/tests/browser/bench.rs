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

/// 9 query heads on 3 key/value heads: 2 and 4 ranks cut through a group.
fn nine_heads() -> TinyBase {
    let mut tiny = TinyBase::default();
    tiny.config.num_attention_heads = 9;
    tiny.config.num_key_value_heads = 3;
    tiny
}

#[test]
fn every_number_of_ranks_computes_the_same_bits_on_its_share_of_the_rows() {
    let (site, browser) = (Site::start_isolated(), Browser::start());
    for (name, tiny) in [("tiny.gguf", TinyBase::default()), ("nine.gguf", nine_heads())] {
        std::fs::write(site.path(name), tiny.gguf().unwrap()).unwrap();
        let model = tiny.model(RankSlice::SOLO, None).unwrap();
        let tokens = self_test_tokens(model.config());
        let digest = logits_digest(&model, &tokens, &mut SoloExchange).unwrap();
        for ranks in [1, 2, 3, 4] {
            let query =
                format!("model={name}&ranks={ranks}&runs=1&prompt_tokens=70&decode_tokens=9");
            let found = result(&browser, &site, &query);
            assert_eq!(
                (&found["ranks"], &found["digest"]),
                (&json!(ranks), &json!(digest)),
                "{found}"
            );
            let slices = (0..ranks).map(|rank| RankSlice::new(rank, ranks).unwrap());
            let bytes: usize = slices.map(|slice| tiny.model(slice, None).unwrap().bytes()).sum();
            assert_eq!(found["packed_bytes"], json!(bytes), "{name}, {ranks} ranks");
        }
    }
}

#[test]
fn ranks_merge_an_adapter_alike() {
    let (site, browser) = (Site::start_isolated(), Browser::start());
    let (index, current) = (site.index(), site.current());
    let query =
        format!("adapter=adapters/{current}&ranks=2&runs=1&prompt_tokens=8&decode_tokens=2");
    let found = result(&browser, &site, &query);
    assert_eq!(found["digest"], index.versions[&current].metrics["logits_digest"], "{found}");
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
        ("ranks=2", "ranks: expected 1, because the server does not isolate this page"),
        ("ranks=0", "ranks: expected a whole number from 1 to 64, found 0"),
        ("model=none.gguf", "The server answered 404 for none.gguf"),
        ("model=index.html", "The base model was refused"),
        ("decode_tokens=100000", "context"),
    ] {
        let found = result(&browser, &site, query);
        assert!(found["error"].as_str().unwrap().contains(words), "{query}: {found}");
    }
}
