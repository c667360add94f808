use super::*;
use crate::tokenizer::tests::metadata;
use crate::{CHAT_TEMPLATE, GgmlType, GgufBuilder};

fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: 272,
        hidden_size: 32,
        intermediate_size: 64,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
        rms_norm_eps: 1e-5,
        rope_theta: 1e4,
        context_length: 128,
        tie_word_embeddings: true,
    }
}

/// Every tensor of [`config`] with its shape, the rotary ones with the values to be read back.
fn tensors() -> Vec<(String, Vec<usize>)> {
    let mut tensors = vec![
        ("token_embd.weight".to_owned(), vec![272, 32]),
        ("output_norm.weight".to_owned(), vec![32]),
    ];
    for layer in 0..2 {
        tensors.push((format!("blk.{layer}.attn_norm.weight"), vec![32]));
        tensors.push((format!("blk.{layer}.ffn_norm.weight"), vec![32]));
        for module in Linear::ALL {
            tensors.push((module.gguf_name(layer), module.shape(&config()).to_vec()));
        }
    }
    tensors
}

fn values(shape: &[usize]) -> Vec<f32> {
    (0..shape.iter().product()).map(|k: usize| (k % 251) as f32 - 125.0).collect()
}

/// A base file; `change` may leave tensors out or change their shapes, or add metadata.
fn file(
    change: impl FnOnce(&mut Vec<(String, Vec<usize>)>),
    more: impl FnOnce(&mut GgufBuilder),
) -> Vec<u8> {
    let mut builder = GgufBuilder::new();
    builder.config(&config()).unwrap();
    builder.metadata("general.name", "tiny").unwrap();
    builder.metadata("tokenizer.chat_template", CHAT_TEMPLATE).unwrap();
    metadata(&mut builder, "gpt-2");
    let mut tensors = tensors();
    change(&mut tensors);
    for (name, shape) in tensors {
        let mut values = values(&shape);
        if is_rotary(&name) {
            values = permute(&values, config().head_dim, shape[1]);
        }
        builder.tensor(&name, &shape, GgmlType::F32, &values).unwrap();
    }
    more(&mut builder);
    builder.finish()
}

#[test]
fn a_head_of_four_rows_by_hand() {
    // Two heads of four rows: halves (0 1 | 2 3) become pairs (0 2 | 1 3).
    let hf = [0., 0.5, 1., 1.5, 2., 2.5, 3., 3.5, 10., 10.5, 11., 11.5, 12., 12.5, 13., 13.5];
    let file = [0., 0.5, 2., 2.5, 1., 1.5, 3., 3.5, 10., 10.5, 12., 12.5, 11., 11.5, 13., 13.5];
    assert_eq!(permute(&hf, 4, 2), file);
    assert_eq!(unpermute(&file, 4, 2), hf);
}

#[test]
fn gguf_row_is_a_permutation_within_each_head() {
    for head_dim in [2, 6, 32, 64] {
        let mut rows: Vec<usize> = (0..3 * head_dim).map(|r| gguf_row(r, head_dim)).collect();
        assert!(rows.iter().enumerate().all(|(r, to)| r / head_dim == to / head_dim));
        rows.sort_unstable();
        assert!(rows.into_iter().eq(0..3 * head_dim));
    }
}

#[test]
fn a_base_reads_back_as_it_was_made() {
    let bytes = file(|_| (), |_| ());
    let base = Base::from_bytes(bytes.clone()).unwrap();
    assert_eq!(base.config, config());
    assert_eq!(base.identity.name, "tiny");
    assert_eq!(base.identity.version, "");
    assert_eq!(base.identity.sha256, sha256_hex(&bytes));
    assert_eq!(base.prompt.system_prompt(), SYSTEM_PROMPT);
    for (name, shape) in tensors() {
        assert_eq!(base.dequantize(&name).unwrap(), values(&shape), "{name}");
    }
    assert!(matches!(base.dequantize("output.weight"), Err(Error::MissingTensor { .. })));
}

#[test]
fn the_file_s_own_system_prompt_is_used() {
    let bytes = file(|_| (), |b| b.metadata("lotwise.system_prompt", "Be brief.").unwrap());
    assert_eq!(Base::from_bytes(bytes).unwrap().prompt.system_prompt(), "Be brief.");
}

#[test]
fn rejects_tensors_that_are_missing_misshapen_or_unknown() {
    let missing = Base::from_bytes(file(
        |tensors| {
            tensors.remove(7);
        },
        |_| (),
    ))
    .unwrap_err();
    assert!(matches!(missing, Error::MissingTensor { .. }), "{missing}");
    let shape = Base::from_bytes(file(|tensors| tensors[8].1[0] += 32, |_| ())).unwrap_err();
    assert!(matches!(shape, Error::Shape { .. }), "{shape}");
    let bias = |tensors: &mut Vec<_>| tensors.push(("blk.0.attn_q.bias".into(), vec![32]));
    let error = Base::from_bytes(file(bias, |_| ())).unwrap_err();
    assert!(error.to_string().contains("blk.0.attn_q.bias"), "{error}");
}

#[test]
fn rejects_more_tokens_than_embeddings() {
    let narrow = |tensors: &mut Vec<(String, Vec<usize>)>| tensors[0].1[0] = 264;
    let error = Base::from_bytes(file(narrow, |_| ())).unwrap_err();
    assert!(error.to_string().contains("264"), "{error}");
}

#[test]
fn rejects_weights_that_are_not_finite() {
    let mut bytes = file(|_| (), |_| ());
    let start = Gguf::parse(&bytes).unwrap().tensor("output_norm.weight").unwrap().range.start;
    bytes[start + 8..start + 12].copy_from_slice(&f32::NAN.to_le_bytes());
    let base = Base::from_bytes(bytes).unwrap();
    let error = base.dequantize("output_norm.weight").unwrap_err();
    assert!(matches!(error, Error::NotFinite { index: 2, .. }), "{error}");
}
