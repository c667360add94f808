//! Model files with the exact shape of known models and random weights. Speed does not depend on
//! the weights, and such a file needs no download.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::ValueEnum;
use shared::{CHAT_TEMPLATE, GgmlType, GgufBuilder, Linear, ModelConfig, Rng};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use crate::write_whole;

/// Part of every file's name; another number after every change of what a file holds.
const VERSION: u32 = 1;
/// Where the texts of the control tokens stand in the vocabulary: behind the 256 bytes.
const CONTROL: [&str; 4] = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"];
/// The only merges. llama.cpp refuses a byte-pair tokenizer without any.
const MERGES: [&str; 2] = ["t h", "th e"];
/// `tokenizer.ggml.token_type` of tokens that text produces, of control tokens, and of none.
const NORMAL: i32 = 1;
const CONTROL_TYPE: i32 = 3;
const UNUSED: i32 = 5;

/// A known model's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// SmolLM2-135M: 30 layers of width 576, 9 query heads on 3, vocabulary 49,152, tied.
    #[value(name = "135m")]
    Smol135M,
    /// Llama-3.2-1B: 16 layers of width 2,048, 32 query heads on 8, vocabulary 128,256, tied.
    #[value(name = "1b")]
    Llama1B,
}

/// Type of the matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Type {
    /// 8 bits.
    Q8_0,
    /// 4 bits.
    Q4_0,
}

impl Type {
    fn ggml(self) -> GgmlType {
        match self {
            Self::Q8_0 => GgmlType::Q8_0,
            Self::Q4_0 => GgmlType::Q4_0,
        }
    }

    /// Standard deviation of codes that are uniform over all their values.
    fn code_deviation(self) -> f64 {
        let values = match self {
            Self::Q8_0 => 256.0,
            Self::Q4_0 => 16.0,
        };
        values / f64::sqrt(12.0)
    }
}

impl Shape {
    fn config(self) -> ModelConfig {
        let config = |vocab, hidden, inner, layers, heads, key_value_heads| ModelConfig {
            vocab_size: vocab,
            hidden_size: hidden,
            intermediate_size: inner,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: key_value_heads,
            head_dim: 64,
            rms_norm_eps: 1e-5,
            rope_theta: 1e4,
            context_length: 2048,
            tie_word_embeddings: true,
        };
        match self {
            Self::Smol135M => config(49_152, 576, 1536, 30, 9, 3),
            Self::Llama1B => config(128_256, 2048, 8192, 16, 32, 8),
        }
    }
}

/// The file's name.
pub fn file_name(shape: Shape, ty: Type) -> String {
    let name = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| {
        value().map_or_else(String::new, |value| value.get_name().to_owned())
    };
    let (shape, ty) = (name(&|| shape.to_possible_value()), name(&|| ty.to_possible_value()));
    format!("random-{shape}-{ty}-v{VERSION}.gguf")
}

/// The path of the file in `folder`, written unless it is there.
///
/// # Errors
/// It cannot be written.
pub fn ensure(folder: &Path, shape: Shape, ty: Type) -> Result<PathBuf> {
    let path = folder.join(file_name(shape, ty));
    if !path.is_file() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        write_whole(&path, &gguf(&shape.config(), ty)?)?;
    }
    Ok(path)
}

fn gguf(config: &ModelConfig, ty: Type) -> Result<Vec<u8>> {
    let mut builder = GgufBuilder::new();
    builder.metadata("general.name", "random weights")?;
    builder.config(config)?;
    builder.metadata("general.file_type", if ty == Type::Q8_0 { 7_u32 } else { 2 })?;
    tokenizer(&mut builder, config.vocab_size)?;

    let mut rng = Rng::new(1);
    let (hidden, matrix) = (config.hidden_size, ty.ggml());
    let ones = vec![1.0; hidden];
    let mut put = |builder: &mut GgufBuilder, name: &str, shape: [usize; 2], deviation: f64| {
        let bytes = random_blocks(&mut rng, ty, shape[0] * shape[1], deviation);
        builder.tensor_bytes(name, &shape, matrix, &bytes)
    };
    // A head that is also the embedding: logits of deviation one.
    let deviation = 1.0 / (hidden as f64).sqrt();
    put(&mut builder, "token_embd.weight", [config.vocab_size, hidden], deviation)?;
    builder.tensor("output_norm.weight", &[hidden], GgmlType::F32, &ones)?;
    for layer in 0..config.num_hidden_layers {
        for name in ["attn_norm", "ffn_norm"] {
            let name = format!("blk.{layer}.{name}.weight");
            builder.tensor(&name, &[hidden], GgmlType::F32, &ones)?;
        }
        for linear in Linear::ALL {
            let shape = linear.shape(config);
            let deviation = 1.0 / (shape[1] as f64).sqrt();
            put(&mut builder, &linear.gguf_name(layer), shape, deviation)?;
        }
    }
    Ok(builder.finish())
}

/// Blocks of random codes with one power of two as scale: the nearest to what gives the weights
/// this standard deviation.
fn random_blocks(rng: &mut Rng, ty: Type, elements: usize, deviation: f64) -> Vec<u8> {
    let exponent = (deviation / ty.code_deviation()).log2().round() as i32;
    // The bits of a power of two in f16; 2^-14 is its smallest normal number.
    let scale = ((exponent.max(-14) + 15) as u16) << 10;
    let size = ty.ggml().block_bytes();
    let mut bytes = vec![0; elements / ty.ggml().block_len() * size];
    for block in bytes.chunks_exact_mut(size) {
        let (head, codes) = block.split_at_mut(2);
        head.copy_from_slice(&scale.to_le_bytes());
        for codes in codes.chunks_exact_mut(8) {
            codes.copy_from_slice(&rng.next_u64().to_le_bytes());
        }
    }
    bytes
}

/// A byte-level tokenizer in the tables of llama.cpp's converter. Every byte of a text without
/// "th" is one token; the rest of the vocabulary is there for its size.
fn tokenizer(builder: &mut GgufBuilder, vocab_size: usize) -> Result<()> {
    let mut tokens: Vec<String> = ByteLevel::alphabet().into_iter().map(String::from).collect();
    tokens.sort_unstable();
    tokens.extend(CONTROL.map(str::to_owned));
    let mut types = vec![NORMAL; tokens.len()];
    let end = tokens.len() - CONTROL.len();
    types[end..].fill(CONTROL_TYPE);
    tokens.extend(MERGES.map(|merge| merge.replace(' ', "")));
    types.resize(tokens.len(), NORMAL);
    tokens.extend((tokens.len()..vocab_size).map(|id| format!("<unused {id}>")));
    types.resize(vocab_size, UNUSED);
    builder.metadata("tokenizer.ggml.model", "gpt2")?;
    builder.metadata("tokenizer.ggml.pre", "gpt-2")?;
    builder.metadata("tokenizer.ggml.tokens", tokens)?;
    builder.metadata("tokenizer.ggml.token_type", types)?;
    let merges: Vec<String> = MERGES.map(str::to_owned).into();
    builder.metadata("tokenizer.ggml.merges", merges)?;
    builder.metadata("tokenizer.ggml.eos_token_id", end as u32)?;
    builder.metadata("tokenizer.ggml.add_bos_token", false)?;
    builder.metadata("tokenizer.chat_template", CHAT_TEMPLATE)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use shared::{Base, Model, RankSlice, SoloExchange};

    use super::*;

    fn tiny() -> ModelConfig {
        let big = Shape::Smol135M.config();
        ModelConfig { vocab_size: 300, num_hidden_layers: 2, ..big }
    }

    #[test]
    fn shapes_have_the_published_numbers_of_weights() {
        for (shape, millions) in [(Shape::Smol135M, 134.5), (Shape::Llama1B, 1235.7)] {
            let config = shape.config();
            let layer: usize =
                Linear::ALL.iter().map(|l| l.shape(&config).iter().product::<usize>()).sum();
            let weights = config.vocab_size * config.hidden_size + config.num_hidden_layers * layer;
            assert!((weights as f64 / 1e6 - millions).abs() < 0.1, "{shape:?}: {weights}");
        }
    }

    #[test]
    fn a_file_is_read_and_its_logits_are_of_deviation_one() {
        for ty in [Type::Q8_0, Type::Q4_0] {
            let bytes = gguf(&tiny(), ty).unwrap();
            assert_eq!(bytes, gguf(&tiny(), ty).unwrap(), "not deterministic");
            let base = Base::from_bytes(bytes).unwrap();
            assert_eq!(base.tokenizer.encode("Hello you").unwrap().len(), 9);
            assert_eq!(base.tokenizer.encode("the").unwrap(), [261]);
            let model = Model::load(&base, RankSlice::SOLO).unwrap();
            let mut cache = model.new_cache();
            let logits = model.forward(&mut cache, &[1, 7, 42], &mut SoloExchange).unwrap();
            let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
            let center = mean(&logits);
            let squares: Vec<f32> = logits.iter().map(|x| (x - center) * (x - center)).collect();
            let deviation = mean(&squares).sqrt();
            assert!((0.5..2.0).contains(&deviation), "{ty:?}: {deviation}");
        }
    }
}
