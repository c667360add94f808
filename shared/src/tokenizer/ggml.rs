//! Byte-level BPE from the tables that llama.cpp's converter writes (`tokenizer.ggml.*`).

use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{AddedToken, Tokenizer, normalizers};

use super::{failed, problem};
use crate::{Error, Gguf, Result, Value, ValueArray};

/// `tokenizer.ggml.token_type` of tokens that text never produces.
const CONTROL: i64 = 3;
/// `tokenizer.ggml.token_type` of tokens matched in text before BPE.
const USER_DEFINED: i64 = 4;

/// Splitting rule of Llama 3, from its `tokenizer.json`.
const LLAMA3_SPLIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Splitting rule of Qwen 2, from its `tokenizer.json`.
const QWEN2_SPLIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// How text is cut into words before BPE: `tokenizer.ggml.pre`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pre {
    Gpt2,
    Llama3,
    SmolLm,
    Qwen2,
}

impl Pre {
    fn from_name(name: &str) -> Result<Self> {
        match name {
            "gpt-2" => Ok(Self::Gpt2),
            "llama-bpe" => Ok(Self::Llama3),
            "smollm" => Ok(Self::SmolLm),
            "qwen2" => Ok(Self::Qwen2),
            other => Err(Error::Value {
                name: "tokenizer.ggml.pre".into(),
                expected: "gpt-2, llama-bpe, smollm or qwen2, or a tokenizer.huggingface.json"
                    .into(),
                found: other.into(),
            }),
        }
    }

    fn pre_tokenizer(self) -> Result<PreTokenizerWrapper> {
        let split = |pattern: &str| -> Result<PreTokenizerWrapper> {
            let pattern = SplitPattern::Regex(pattern.to_owned());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
                .map_err(|source| failed("the splitting rule does not compile", source))?;
            Ok(Sequence::new(vec![split.into(), ByteLevel::new(false, true, false).into()]).into())
        };
        let gpt2 = ByteLevel::new(false, true, true);
        match self {
            Self::Gpt2 => Ok(gpt2.into()),
            Self::SmolLm => Ok(Sequence::new(vec![Digits::new(true).into(), gpt2.into()]).into()),
            Self::Llama3 => split(LLAMA3_SPLIT),
            Self::Qwen2 => split(QWEN2_SPLIT),
        }
    }
}

/// Builds the tokenizer that Hugging Face would load for the same model.
///
/// # Errors
/// Another tokenizer model than `gpt2`, an unknown `pre`, or tables that contradict each other.
pub(crate) fn build(gguf: &Gguf) -> Result<Tokenizer> {
    let model = gguf.str("tokenizer.ggml.model")?;
    if model != "gpt2" {
        return Err(Error::Value {
            name: "tokenizer.ggml.model".into(),
            expected: "gpt2 (byte-level BPE), or a tokenizer.huggingface.json".into(),
            found: model.into(),
        });
    }
    let pre = Pre::from_name(gguf.str("tokenizer.ggml.pre")?)?;
    let tokens = gguf.strings("tokenizer.ggml.tokens")?;
    let bpe = BPE::builder()
        .vocab_and_merges(vocabulary(tokens)?, merges(gguf.strings("tokenizer.ggml.merges")?)?)
        .ignore_merges(pre == Pre::Llama3)
        .build()
        .map_err(|source| failed("tokens and merges do not fit each other", source))?;
    let mut tokenizer = Tokenizer::new(bpe);
    if pre == Pre::Qwen2 {
        tokenizer
            .with_normalizer(Some(normalizers::unicode::NFC))
            .map_err(|source| failed("the normalizer cannot be set", source))?;
    }
    tokenizer.with_pre_tokenizer(Some(pre.pre_tokenizer()?));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let added = added_tokens(gguf, tokens)?;
    tokenizer
        .add_tokens(added)
        .map_err(|source| failed("the control tokens cannot be added", source))?;
    Ok(tokenizer)
}

fn vocabulary(tokens: &[String]) -> Result<Vocab> {
    let mut vocabulary = Vocab::default();
    for (id, token) in (0_u32..).zip(tokens) {
        if let Some(earlier) = vocabulary.insert(token.clone(), id) {
            return Err(problem(format!("token {token:?} has the ids {earlier} and {id}")));
        }
    }
    Ok(vocabulary)
}

fn merges(lines: &[String]) -> Result<Merges> {
    lines
        .iter()
        .map(|line| match line.split_once(' ') {
            Some((left, right)) if !left.is_empty() && !right.is_empty() => {
                Ok((left.to_owned(), right.to_owned()))
            }
            _ => Err(problem(format!("merge {line:?} is not two parts with a space between"))),
        })
        .collect()
}

fn added_tokens(gguf: &Gguf, tokens: &[String]) -> Result<Vec<AddedToken>> {
    let types = token_types(gguf)?;
    if types.len() != tokens.len() {
        return Err(Error::Length {
            name: "tokenizer.ggml.token_type".into(),
            expected: tokens.len(),
            found: types.len(),
        });
    }
    let added = tokens.iter().zip(types).filter_map(|(token, ty)| match ty {
        CONTROL => Some(AddedToken::from(token.clone(), true).normalized(false)),
        USER_DEFINED => Some(AddedToken::from(token.clone(), false).normalized(false)),
        _ => None,
    });
    Ok(added.collect())
}

fn token_types(gguf: &Gguf) -> Result<Vec<i64>> {
    let key = "tokenizer.ggml.token_type";
    match gguf.value(key)? {
        Value::Array(ValueArray::I32(types)) => Ok(types.iter().map(|&ty| ty.into()).collect()),
        Value::Array(ValueArray::U32(types)) => Ok(types.iter().map(|&ty| ty.into()).collect()),
        other => Err(Error::KeyType {
            key: key.into(),
            expected: "array of i32",
            found: other.type_name(),
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    use super::*;
    use crate::GgufBuilder;

    /// Control tokens of [`metadata`], behind 256 bytes and the merges.
    pub(crate) const CONTROL_TOKENS: [&str; 4] =
        ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"];
    const MERGES: [&str; 5] = ["a t", "b at", "c h", "bat ch", "Ġ batch"];

    /// The metadata of a byte-level BPE tokenizer that knows five merges up to " batch".
    pub(crate) fn metadata(builder: &mut GgufBuilder, pre: &str) {
        let mut tokens: Vec<String> = ByteLevel::alphabet().into_iter().map(String::from).collect();
        tokens.sort_unstable();
        tokens.extend(MERGES.iter().map(|merge| merge.replace(' ', "")));
        let mut types = vec![1_i32; tokens.len()];
        tokens.extend(CONTROL_TOKENS.iter().map(|token| (*token).to_owned()));
        types.extend([3; CONTROL_TOKENS.len()]);
        builder.metadata("tokenizer.ggml.eos_token_id", tokens.len() as u32 - 4).unwrap();
        builder.metadata("tokenizer.ggml.model", "gpt2").unwrap();
        builder.metadata("tokenizer.ggml.pre", pre).unwrap();
        builder.metadata("tokenizer.ggml.tokens", tokens).unwrap();
        builder.metadata("tokenizer.ggml.token_type", types).unwrap();
        let merges: Vec<String> = MERGES.iter().map(|merge| (*merge).to_owned()).collect();
        builder.metadata("tokenizer.ggml.merges", merges).unwrap();
    }

    fn splits(pre: Pre, text: &str) -> Vec<String> {
        let mut pieces = PreTokenizedString::from(text);
        pre.pre_tokenizer().unwrap().pre_tokenize(&mut pieces).unwrap();
        pieces
            .get_splits(OffsetReferential::Original, OffsetType::Byte)
            .into_iter()
            .map(|(_, (start, end), _)| text[start..end].to_owned())
            .collect()
    }

    /// Expected pieces: the published regular expressions, run by Python's `regex`.
    #[test]
    fn splits_as_the_models_were_trained() {
        let text = "It's 20250  lots!\n\n  VOY'S";
        let gpt2 = ["It", "'s", " 20250", " ", " lots", "!", "\n\n ", " VOY", "'", "S"];
        assert_eq!(splits(Pre::Gpt2, text), gpt2);
        let smollm = [
            "It", "'s", " ", "2", "0", "2", "5", "0", " ", " lots", "!", "\n\n ", " VOY", "'", "S",
        ];
        assert_eq!(splits(Pre::SmolLm, text), smollm);
        let llama3 = ["It", "'s", " ", "202", "50", " ", " lots", "!\n\n", " ", " VOY", "'S"];
        assert_eq!(splits(Pre::Llama3, text), llama3);
        let qwen2 =
            ["It", "'s", " ", "2", "0", "2", "5", "0", " ", " lots", "!\n\n", " ", " VOY", "'S"];
        assert_eq!(splits(Pre::Qwen2, text), qwen2);
    }

    fn refused(change: impl Fn(&mut GgufBuilder)) -> String {
        let mut builder = GgufBuilder::new();
        change(&mut builder);
        build(&Gguf::parse(&builder.finish()).unwrap()).unwrap_err().to_string()
    }

    fn tables(builder: &mut GgufBuilder, tokens: &[&str], types: &[i32], merges: &[&str]) {
        let strings = |items: &[&str]| items.iter().map(|i| (*i).to_owned()).collect::<Vec<_>>();
        builder.metadata("tokenizer.ggml.model", "gpt2").unwrap();
        builder.metadata("tokenizer.ggml.pre", "gpt-2").unwrap();
        builder.metadata("tokenizer.ggml.tokens", strings(tokens)).unwrap();
        builder.metadata("tokenizer.ggml.token_type", types.to_vec()).unwrap();
        builder.metadata("tokenizer.ggml.merges", strings(merges)).unwrap();
    }

    #[test]
    fn rejects_tokenizers_it_would_imitate_badly() {
        assert!(refused(|builder| metadata(builder, "deepseek-llm")).contains("deepseek-llm"));
        let other = refused(|builder| builder.metadata("tokenizer.ggml.model", "llama").unwrap());
        assert!(other.contains("llama"), "{other}");
    }

    #[test]
    fn rejects_tables_that_contradict_each_other() {
        let error = refused(|b| tables(b, &["a", "b", "a"], &[1, 1, 1], &[]));
        assert!(error.contains("ids 0 and 2"), "{error}");
        let error = refused(|b| tables(b, &["a", "b"], &[1], &[]));
        assert!(error.contains("token_type"), "{error}");
        for merge in ["a", "a ", " b", "a c", "b a"] {
            let error = refused(|b| tables(b, &["a", "b", "ab"], &[1, 1, 1], &[merge]));
            assert!(error.contains("tokenizer:"), "{merge}: {error}");
        }
    }
}
