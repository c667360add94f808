//! candle-transformers' quantized Llama as an oracle that shares nothing with the engine: it reads
//! the files that our writer wrote, with llama.cpp's row order, by its own reader.

#![cfg(not(target_arch = "wasm32"))]

use std::io::Cursor;

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;
use shared::{GgmlType, Model, RankSlice, SoloExchange};
use tests::compare::{max_relative_error, mean_kl, relative_distance};
use tests::golden;
use tests::llama::values;

fn load(bytes: &[u8]) -> ModelWeights {
    let mut reader = Cursor::new(bytes);
    let content = Content::read(&mut reader).unwrap();
    ModelWeights::from_gguf(content, &mut reader, &Device::Cpu).unwrap()
}

/// Logits after every token, which candle gives for the last of each call only.
fn logits(bytes: &[u8]) -> Vec<f32> {
    let mut model = load(bytes);
    let mut logits = Vec::new();
    for (position, token) in golden::tokens().into_iter().enumerate() {
        let input = Tensor::from_slice(&[token], (1, 1), &Device::Cpu).unwrap();
        logits.extend(values(&model.forward(&input, position).unwrap()));
    }
    logits
}

/// Without rounding, what candle reads is what transformers has: metadata, names, shapes and the
/// order of the query and key rows are right.
#[test]
fn candle_computes_transformers_logits_from_our_f32_file() {
    let expected = &golden::logits()["base"].values;
    // Measured: 2e-6.
    let error = max_relative_error(&logits(&golden::gguf(GgmlType::F32)), expected);
    assert!(error <= 1e-4, "{error}");
}

/// Both round activations to 8 bits, candle with f16 scales; measured: 0.0006 nats per token and a
/// distance of 0.019 relative to the logits' length.
#[test]
fn the_engine_agrees_with_candle_on_our_q8_0_file() {
    let model = Model::load(&golden::base(GgmlType::Q8_0), RankSlice::SOLO).unwrap();
    let mut cache = model.new_cache();
    let found = model.forward_all(&mut cache, &golden::tokens(), &mut SoloExchange).unwrap();
    let candle = logits(&golden::gguf(GgmlType::Q8_0));
    let kl = mean_kl(&found, &candle, model.config().vocab_size);
    let distance = relative_distance(&found, &candle);
    assert!(kl <= 0.001 && distance <= 0.025, "{kl} {distance}");

    // The engine is no further from the truth than an independent implementation of the format.
    let truth = &golden::logits()["base"].values;
    let (engine, candle) = (relative_distance(&found, truth), relative_distance(&candle, truth));
    assert!(engine <= 1.1 * candle, "{engine} {candle}");
}

#[test]
fn candle_prefills_as_it_decodes() {
    let bytes = golden::gguf(GgmlType::F32);
    let tokens = golden::tokens();
    let input = Tensor::from_slice(&tokens, (1, tokens.len()), &Device::Cpu).unwrap();
    let prefilled = values(&load(&bytes).forward(&input, 0).unwrap());
    let all = logits(&bytes);
    let error = max_relative_error(&prefilled, &all[all.len() - prefilled.len()..]);
    assert!(error <= 1e-4, "{error}");
}
