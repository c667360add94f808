//! The forward pass against an independent reference, and against itself on every path.

use super::*;
use crate::exchange::SoloExchange;
use crate::testing::TinyBase;
use crate::{Adapter, Base, GgmlType, Linear};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn tiny(ty: GgmlType) -> TinyBase {
    TinyBase { ty, ..TinyBase::default() }
}

fn tokens(model: &Model, count: u32) -> Vec<u32> {
    (0..count).map(|k| k.wrapping_mul(2_654_435_761) % model.config.vocab_size as u32).collect()
}

/// Llama in f64 on dequantized weights, one token at a time, written from the paper's formulas
/// and sharing nothing with the engine but the weights.
struct Reference {
    base: Base,
    updated: std::collections::BTreeMap<String, Vec<f64>>,
    keys: Vec<Vec<Vec<f64>>>,
    values: Vec<Vec<Vec<f64>>>,
}

impl Reference {
    fn new(base: Base, adapter: Option<&Adapter>) -> Self {
        let layers = base.config.num_hidden_layers;
        let mut updated = std::collections::BTreeMap::new();
        for name in base.gguf.tensors().keys() {
            let values = base.dequantize(name).unwrap();
            updated.insert(name.clone(), values.into_iter().map(f64::from).collect::<Vec<_>>());
        }
        for ((layer, linear), pair) in adapter.iter().flat_map(|adapter| &adapter.pairs) {
            let (adapter, weights) =
                (adapter.unwrap(), updated.get_mut(&linear.gguf_name(*layer)).unwrap());
            let r = adapter.config.r;
            for row in 0..pair.out_features {
                for column in 0..pair.in_features {
                    let sum: f64 = (0..r)
                        .map(|k| {
                            f64::from(pair.b[row * r + k])
                                * f64::from(pair.a[k * pair.in_features + column])
                        })
                        .sum();
                    weights[row * pair.in_features + column] += sum * f64::from(adapter.scale());
                }
            }
        }
        Self { base, updated, keys: vec![Vec::new(); layers], values: vec![Vec::new(); layers] }
    }

    fn norm(&self, x: &[f64], name: &str) -> Vec<f64> {
        let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        let root = (mean + f64::from(self.base.config.rms_norm_eps)).sqrt();
        x.iter().zip(&self.updated[name]).map(|(x, w)| x / root * w).collect()
    }

    fn product(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let rows = self.updated[name].chunks_exact(x.len());
        rows.map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
    }

    fn rotate(&self, heads: &mut [f64], position: usize) {
        let width = self.base.config.head_dim;
        for head in heads.chunks_exact_mut(width) {
            let before = head.to_vec();
            for i in 0..width / 2 {
                let exponent = -2.0 * i as f64 / width as f64;
                let angle =
                    position as f64 * libm::pow(f64::from(self.base.config.rope_theta), exponent);
                let (sine, cosine) = (libm::sin(angle), libm::cos(angle));
                let (x, y) = (before[i], before[i + width / 2]);
                head[i] = x * cosine - y * sine;
                head[i + width / 2] = y * cosine + x * sine;
            }
        }
    }

    fn step(&mut self, token: u32) -> Vec<f64> {
        let config = self.base.config.clone();
        let (hidden, width) = (config.hidden_size, config.head_dim);
        let mut x = self.updated["token_embd.weight"][token as usize * hidden..][..hidden].to_vec();
        for layer in 0..config.num_hidden_layers {
            let normed = self.norm(&x, &format!("blk.{layer}.attn_norm.weight"));
            let mut query = self.product(&Linear::Query.gguf_name(layer), &normed);
            let mut key = self.product(&Linear::Key.gguf_name(layer), &normed);
            let value = self.product(&Linear::Value.gguf_name(layer), &normed);
            let position = self.keys[layer].len();
            self.rotate(&mut query, position);
            self.rotate(&mut key, position);
            self.keys[layer].push(key);
            self.values[layer].push(value);
            let mut attended = Vec::new();
            for head in 0..config.num_attention_heads {
                let start =
                    head / (config.num_attention_heads / config.num_key_value_heads) * width;
                let query = &query[head * width..][..width];
                let weights: Vec<f64> = self.keys[layer]
                    .iter()
                    .map(|key| {
                        let dot: f64 =
                            query.iter().zip(&key[start..][..width]).map(|(q, k)| q * k).sum();
                        libm::exp(dot / (width as f64).sqrt())
                    })
                    .collect();
                let total: f64 = weights.iter().sum();
                for d in 0..width {
                    let sum: f64 = weights
                        .iter()
                        .zip(&self.values[layer])
                        .map(|(weight, value)| weight * value[start + d])
                        .sum();
                    attended.push(sum / total);
                }
            }
            let output = self.product(&Linear::Output.gguf_name(layer), &attended);
            x.iter_mut().zip(output).for_each(|(x, y)| *x += y);
            let normed = self.norm(&x, &format!("blk.{layer}.ffn_norm.weight"));
            let gate = self.product(&Linear::Gate.gguf_name(layer), &normed);
            let up = self.product(&Linear::Up.gguf_name(layer), &normed);
            let inner: Vec<f64> =
                gate.iter().zip(up).map(|(g, u)| g / (1.0 + libm::exp(-g)) * u).collect();
            let down = self.product(&Linear::Down.gguf_name(layer), &inner);
            x.iter_mut().zip(down).for_each(|(x, y)| *x += y);
        }
        let normed = self.norm(&x, "output_norm.weight");
        let head = if config.tie_word_embeddings { "token_embd.weight" } else { "output.weight" };
        self.product(head, &normed)
    }
}

/// Root-mean-square difference, relative to the reference's own size.
fn distance(found: &[f32], expected: &[f64]) -> f64 {
    let error: f64 = found.iter().zip(expected).map(|(f, e)| (f64::from(*f) - e).powi(2)).sum();
    (error / expected.iter().map(|e| e * e).sum::<f64>()).sqrt()
}

/// The mean distance over 40 tokens.
fn mean_distance(model: &Model, mut reference: Reference) -> f64 {
    let tokens = tokens(model, 40);
    let mut cache = model.new_cache();
    let logits = model.forward_all(&mut cache, &tokens, &mut SoloExchange).unwrap();
    let rows = logits.chunks_exact(model.config.vocab_size);
    tokens.iter().zip(rows).map(|(token, row)| distance(row, &reference.step(*token))).sum::<f64>()
        / tokens.len() as f64
}

fn base(tiny: &TinyBase) -> Base {
    Base::from_bytes(tiny.gguf().unwrap()).unwrap()
}

/// More than rounding activations (and F16 weights) to 8 bits costs on random weights, where
/// nothing averages out; a mistake in the formulas costs ten times as much (see
/// `the_distance_notices_mistakes`).
const ROUNDING: f64 = 0.03;

#[test]
fn agrees_with_the_formulas() {
    for ty in [GgmlType::Q8_0, GgmlType::Q4_0] {
        let base = base(&tiny(ty));
        let model = Model::load(&base, RankSlice::SOLO).unwrap();
        let distance = mean_distance(&model, Reference::new(base, None));
        assert!(distance < ROUNDING, "{ty:?}: {distance}");
    }
    let mut untied = tiny(GgmlType::F16);
    untied.config.tie_word_embeddings = false;
    let base = base(&untied);
    let model = Model::load(&base, RankSlice::SOLO).unwrap();
    let distance = mean_distance(&model, Reference::new(base, None));
    assert!(distance < ROUNDING, "untied, rounded to 8 bits: {distance}");
}

#[test]
fn the_distance_notices_mistakes() {
    let base = base(&tiny(GgmlType::Q8_0));
    let model = Model::load(&base, RankSlice::SOLO).unwrap();
    let mut other_theta = base.clone();
    other_theta.config.rope_theta = 1e5;
    assert!(mean_distance(&model, Reference::new(other_theta, None)) > 6.0 * ROUNDING);
    let mut swapped = Reference::new(base, None);
    let key = Linear::Key.gguf_name(0);
    let permuted = crate::permute(&swapped.base.dequantize(&key).unwrap(), 32, 64);
    swapped.updated.insert(key, permuted.into_iter().map(f64::from).collect());
    assert!(mean_distance(&model, swapped) > 6.0 * ROUNDING);
}

#[test]
fn merging_equals_adding_the_update() {
    let recipe = tiny(GgmlType::Q8_0);
    let adapter = recipe.adapter(&Linear::ALL, 0.15);
    let base = base(&recipe);
    let merged = Model::load_merged(&base, RankSlice::SOLO, &adapter).unwrap();
    let with = mean_distance(&merged, Reference::new(base.clone(), Some(&adapter)));
    let without = mean_distance(&merged, Reference::new(base, None));
    assert!(with < ROUNDING && without > 10.0 * ROUNDING, "{with} {without}");
}

/// Digests of the self-test, with the model's bytes, for every way to compute it.
fn digests(tiny: &TinyBase, adapter: Option<&Adapter>) -> Vec<(String, String)> {
    let mut digests = Vec::new();
    for kernels in kernel_names() {
        let mut model = tiny.model(RankSlice::SOLO, adapter).unwrap();
        model.use_kernels(kernels).unwrap();
        let tokens = self_test_tokens(&model.config);
        let digest = logits_digest(&model, &tokens, &mut SoloExchange).unwrap();
        digests.push((kernels.to_owned(), digest));
    }
    digests
}

fn assert_all(digests: &[(String, String)], expected: &str) {
    for (path, digest) in digests {
        assert_eq!(digest, expected, "{path}");
    }
}

/// The same constants hold natively and in WebAssembly: they were computed by the scalar kernels
/// on x86-64, and must change only together with the numeric contract.
#[test]
fn digests_are_the_same_everywhere() {
    let adapter = tiny(GgmlType::Q8_0).adapter(&Linear::ALL, 0.1);
    let cases = [
        (GgmlType::Q8_0, None, "3082b7c7c9a4e3329b65ddf14bfaf81ae7ef14b27d043518edec6d7575196c64"),
        (GgmlType::Q4_0, None, "6a0f3ffffe461767d6be456df475758f65f18067b8c6cae4036f5de86deaf828"),
        (
            GgmlType::Q8_0,
            Some(&adapter),
            "28f5b9c1de5e673557efb949761a59d205c8d011ab06e7c1181d0f71288df0f0",
        ),
        (
            GgmlType::Q4_0,
            Some(&adapter),
            "cf33c0f7dd21acecf2b1bf4e4375aae12e78b7552712338cf3fa6744556173ae",
        ),
    ];
    for (ty, adapter, expected) in cases {
        assert_all(&digests(&tiny(ty), adapter), expected);
    }
}

#[test]
fn a_zero_adapter_changes_no_bit() {
    for ty in [GgmlType::Q8_0, GgmlType::Q4_0] {
        let mut adapter = tiny(ty).adapter(&Linear::ALL, 1.0);
        for pair in adapter.pairs.values_mut() {
            pair.b.fill(0.0);
        }
        let plain = digests(&tiny(ty), None);
        assert_eq!(digests(&tiny(ty), Some(&adapter)), plain, "{ty:?}");
        adapter.pairs.values_mut().for_each(|pair| pair.b[0] = 0.01);
        assert_ne!(digests(&tiny(ty), Some(&adapter)), plain, "{ty:?}");
    }
}

#[test]
fn the_bits_do_not_depend_on_how_a_sequence_is_cut() {
    let model = tiny(GgmlType::Q8_0).model(RankSlice::SOLO, None).unwrap();
    let tokens = tokens(&model, 2 * CHUNK as u32 + 3);
    let whole = model.forward_all(&mut model.new_cache(), &tokens, &mut SoloExchange).unwrap();
    let vocab = model.config.vocab_size;
    for size in [1, 2, 3, 4, 5, 7, 63, 64, 65, 100] {
        let mut cache = model.new_cache();
        for (index, chunk) in tokens.chunks(size).enumerate() {
            let last = model.forward(&mut cache, chunk, &mut SoloExchange).unwrap();
            let position = index * size + chunk.len() - 1;
            assert_eq!(last, whole[position * vocab..][..vocab], "pieces of {size}");
        }
        assert_eq!(cache.len(), tokens.len());
    }
}

#[test]
fn a_truncated_cache_forgets() {
    let model = tiny(GgmlType::Q8_0).model(RankSlice::SOLO, None).unwrap();
    let tokens = tokens(&model, 90);
    let mut cache = model.new_cache();
    let expected = model.forward(&mut cache, &tokens[..70], &mut SoloExchange).unwrap();
    model.forward(&mut cache, &tokens[70..], &mut SoloExchange).unwrap();
    cache.truncate(50);
    assert_eq!(cache.len(), 50);
    cache.truncate(60);
    assert_eq!(cache.len(), 50, "truncating never lengthens");
    let again = model.forward(&mut cache, &tokens[50..70], &mut SoloExchange).unwrap();
    assert_eq!(again, expected);
}

#[cfg(not(target_arch = "wasm32"))]
#[test]
fn the_bits_do_not_depend_on_the_number_of_ranks() {
    use crate::exchange::ThreadExchange;
    let mut untied = tiny(GgmlType::Q4_0);
    untied.config.tie_word_embeddings = false;
    let mut more_heads = tiny(GgmlType::Q8_0);
    more_heads.config.num_key_value_heads = 3;
    for recipe in [tiny(GgmlType::Q8_0), untied, more_heads] {
        let adapter = recipe.adapter(&[Linear::Key, Linear::Down], 0.1);
        let solo = recipe.model(RankSlice::SOLO, Some(&adapter)).unwrap();
        let tokens = self_test_tokens(&solo.config);
        let expected = logits_digest(&solo, &tokens, &mut SoloExchange).unwrap();
        // 6 query heads over 2 key/value heads: evenly, unevenly, and more ranks than heads.
        for ranks in [2, 3, 4, 5, 7] {
            let ends = ThreadExchange::new(ranks, solo.max_gather_len());
            std::thread::scope(|scope| {
                for (rank, mut end) in ends.into_iter().enumerate() {
                    let (recipe, adapter, tokens) = (&recipe, &adapter, &tokens);
                    let expected = &expected;
                    scope.spawn(move || {
                        let slice = RankSlice::new(rank, ranks).unwrap();
                        let model = recipe.model(slice, Some(adapter)).unwrap();
                        let digest = logits_digest(&model, tokens, &mut end).unwrap();
                        assert_eq!(&digest, expected, "rank {rank} of {ranks}");
                    });
                }
            });
        }
    }
}

#[test]
fn packed_weights_stay_close_to_the_file() {
    for ty in [GgmlType::Q8_0, GgmlType::Q4_0] {
        let base = base(&tiny(ty));
        let model = Model::load(&base, RankSlice::SOLO).unwrap();
        let matrices = base.gguf.tensors().values().filter(|info| info.shape.len() == 2);
        let file: usize = matrices.map(|info| info.range.len()).sum();
        assert!(model.bytes() as f64 <= 1.15 * file as f64, "{ty:?}: {} {file}", model.bytes());
    }
}

#[test]
fn rejects_calls_that_cannot_work() {
    let model = tiny(GgmlType::Q8_0).model(RankSlice::SOLO, None).unwrap();
    let mut cache = model.new_cache();
    let mut run = |tokens: &[u32]| model.forward(&mut cache, tokens, &mut SoloExchange);
    assert!(matches!(run(&[]), Err(Error::Length { .. })));
    assert!(matches!(run(&[0, 264]), Err(Error::Token { token: 264, vocab_size: 264 })));
    assert!(matches!(run(&[0; 385]), Err(Error::Context { needed: 385, limit: 384 })));
    run(&[0; 384]).unwrap();
    assert!(matches!(run(&[0]), Err(Error::Context { needed: 385, limit: 384 })));

    let half = tiny(GgmlType::Q8_0).model(RankSlice::new(1, 2).unwrap(), None).unwrap();
    let result = half.forward(&mut half.new_cache(), &[1], &mut SoloExchange);
    assert!(matches!(result, Err(Error::Value { .. })));
    let mut other = TinyBase::default();
    other.config.num_hidden_layers = 1;
    let mut cache = other.model(RankSlice::SOLO, None).unwrap().new_cache();
    let result = model.forward(&mut cache, &[1], &mut SoloExchange);
    assert!(matches!(result, Err(Error::Value { .. })));
}

/// A file in which one tensor is changed.
fn load_changed(name: &str, change: impl Fn(&mut Vec<f32>)) -> Result<Model> {
    let base = base(&tiny(GgmlType::F32));
    let mut builder = ModelBuilder::new(&base.config, RankSlice::SOLO, None)?;
    for (tensor, info) in base.gguf.tensors() {
        let bytes = base.gguf.tensor_bytes(base.bytes(), tensor)?;
        if tensor != name {
            builder.tensor(tensor, info, bytes)?;
            continue;
        }
        let mut values = vec![0.0; info.elements()];
        crate::quant::dequantize(info.ty, bytes, &mut values)?;
        change(&mut values);
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        builder.tensor(tensor, info, &bytes)?;
    }
    builder.finish()
}

#[test]
fn rejects_weights_that_are_not_finite() {
    for name in ["blk.1.ffn_up.weight", "token_embd.weight", "output_norm.weight"] {
        for bad in [f32::NAN, f32::INFINITY] {
            let result = load_changed(name, |values| values[37] = bad);
            let error = result.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(name) && error.contains("finite"), "{name}: {error}");
        }
    }
}

#[test]
fn logits_that_are_not_finite_are_an_error() {
    let model = load_changed("output_norm.weight", |values| values.fill(3e38)).unwrap();
    let mut cache = model.new_cache();
    let result = model.forward(&mut cache, &[1, 2], &mut SoloExchange);
    assert!(matches!(result, Err(Error::NotFinite { .. })), "{result:?}");
    assert!(cache.is_empty(), "an error leaves the cache as it was");
}

#[test]
fn rejects_files_of_another_model() {
    let base = base(&tiny(GgmlType::Q8_0));
    let bytes_of = |name: &str| base.gguf.tensor_bytes(base.bytes(), name).unwrap();
    let name = "blk.0.attn_q.weight";
    let info = base.gguf.tensor(name).unwrap();
    let new = || ModelBuilder::new(&base.config, RankSlice::SOLO, None).unwrap();

    let mut builder = new();
    builder.tensor(name, info, bytes_of(name)).unwrap();
    let twice = builder.tensor(name, info, bytes_of(name));
    assert!(matches!(twice, Err(Error::UnusedTensor { .. })));
    assert!(matches!(builder.finish(), Err(Error::MissingTensor { .. })));
    let foreign = new().tensor("blk.0.attn_q.bias", info, bytes_of(name));
    assert!(matches!(foreign, Err(Error::UnusedTensor { .. })));
    let short = new().tensor(name, info, &bytes_of(name)[1..]);
    assert!(matches!(short, Err(Error::Length { .. })));
    let other = base.gguf.tensor("blk.0.attn_k.weight").unwrap();
    let shape = new().tensor(name, other, bytes_of("blk.0.attn_k.weight"));
    assert!(matches!(shape, Err(Error::Shape { .. })));

    let mut config = base.config.clone();
    config.hidden_size = 48;
    assert!(matches!(ModelBuilder::new(&config, RankSlice::SOLO, None), Err(Error::Value { .. })));
    let mut adapter = tiny(GgmlType::Q8_0).adapter(&[Linear::Up], 1.0);
    adapter.pairs.remove(&(1, Linear::Up));
    assert!(Model::load_merged(&base, RankSlice::SOLO, &adapter).is_err());
}

/// The header alone describes a file; its tensors may come in any order.
#[test]
fn tensors_may_come_in_any_order() {
    let base = base(&tiny(GgmlType::Q8_0));
    let mut builder = ModelBuilder::new(&base.config, RankSlice::SOLO, None).unwrap();
    for (name, info) in base.gguf.tensors().iter().rev() {
        let bytes = base.gguf.tensor_bytes(base.bytes(), name).unwrap();
        builder.tensor(name, info, bytes).unwrap();
    }
    let reversed = builder.finish().unwrap();
    let tokens = self_test_tokens(&base.config);
    let digest = |model: &Model| logits_digest(model, &tokens, &mut SoloExchange).unwrap();
    assert_eq!(digest(&reversed), digest(&Model::load(&base, RankSlice::SOLO).unwrap()));
}
