//! The golden model's logits have the same bits on every platform: this file is compiled and run
//! natively and, by `wasm.rs`, in WebAssembly, and both have to meet the same constants.

use shared::{Base, GgmlType, Model, RankSlice, SoloExchange, kernel_names, logits_digest};
use tests::golden::{self, Which};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Change only together with the numeric contract.
const BASE: &str = "5902ade06c8e45453bb27b9c260e2a5e06c77ccf3a9b5e098e924ae7487e5adf";
const MERGED: &str = "7fba8b7821e52f09b80446310c65aae91380b1a9a3520530b9a5e4afd8b663f8";

fn digest(mut model: Model, kernels: &str) -> String {
    model.use_kernels(kernels).unwrap();
    logits_digest(&model, &golden::tokens(), &mut SoloExchange).unwrap()
}

fn base() -> Base {
    golden::base(GgmlType::Q8_0)
}

#[test]
fn base_logits_have_the_pinned_digest() {
    for kernels in kernel_names() {
        let model = Model::load(&base(), RankSlice::SOLO).unwrap();
        assert_eq!(digest(model, kernels), BASE, "{kernels}");
    }
}

#[test]
fn merged_logits_have_the_pinned_digest() {
    for kernels in kernel_names() {
        let adapter = golden::adapter(Which::Trained);
        let model = Model::load_merged(&base(), RankSlice::SOLO, &adapter).unwrap();
        assert_eq!(digest(model, kernels), MERGED, "{kernels}");
    }
}

/// A build without simd128 would pass the tests above on scalar kernels alone.
#[cfg(target_arch = "wasm32")]
#[test]
fn the_simd_kernels_ran() {
    let model = Model::load(&base(), RankSlice::SOLO).unwrap();
    assert_eq!(model.kernels(), "simd128");
}
