//! Text to token ids and back.

mod ggml;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Error, Gguf, Result};

/// Metadata key under which a GGUF file carries its whole `tokenizer.json`.
const HUGGING_FACE_KEY: &str = "tokenizer.huggingface.json";

/// A Hugging Face tokenizer with the ids that a chat needs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tokenizer: tokenizers::Tokenizer,
    eos_id: u32,
    eos_token: String,
    bos_token: Option<String>,
    /// Texts that are encoded as one control token wherever they stand.
    control: BTreeMap<String, u32>,
    id_limit: usize,
}

impl Tokenizer {
    /// Reads the tokenizer of a GGUF file: its `tokenizer.huggingface.json` where it has one,
    /// else byte-level BPE from `tokenizer.ggml.*`.
    ///
    /// # Errors
    /// A tokenizer model or pre-tokenizer that is not implemented, inconsistent tables, or no
    /// end token.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let tokenizer = match gguf.optional_str(HUGGING_FACE_KEY)? {
            Some(json) => parse(json)?,
            None => ggml::build(gguf)?,
        };
        let eos_id = gguf.u32("tokenizer.ggml.eos_token_id")?;
        let bos_id = gguf.optional_u32("tokenizer.ggml.bos_token_id")?;
        Self::new(tokenizer, eos_id, bos_id)
    }

    /// Reads a `tokenizer.json`; `eos` is the text of the token that ends an answer.
    ///
    /// # Errors
    /// The JSON is not a tokenizer, or `eos` is not one of its tokens.
    pub fn from_json(json: &str, eos: &str) -> Result<Self> {
        let tokenizer = parse(json)?;
        let eos_id = tokenizer
            .token_to_id(eos)
            .ok_or_else(|| problem(format!("the end token {eos:?} is not in the vocabulary")))?;
        Self::new(tokenizer, eos_id, None)
    }

    fn new(mut tokenizer: tokenizers::Tokenizer, eos_id: u32, bos_id: Option<u32>) -> Result<Self> {
        // A saved tokenizer.json may carry the padding of some training run.
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|source| failed("truncation cannot be switched off", source))?;
        let text_of = |name: &str, id: u32| {
            tokenizer
                .id_to_token(id)
                .ok_or_else(|| problem(format!("the {name} token {id} is not in the vocabulary")))
        };
        let eos_token = text_of("end", eos_id)?;
        let bos_token = bos_id.map(|id| text_of("begin", id)).transpose()?;
        let control = tokenizer
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(_, token)| token.special)
            .map(|(id, token)| (token.content, id))
            .collect();
        let id_limit =
            tokenizer.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1);
        Ok(Self {
            inner: Arc::new(Inner { tokenizer, eos_id, eos_token, bos_token, control, id_limit }),
        })
    }

    /// The whole tokenizer, as [`Self::from_json`] and Hugging Face's libraries read it.
    ///
    /// # Errors
    /// Should serialization fail.
    pub fn to_json(&self) -> Result<String> {
        self.inner
            .tokenizer
            .to_string(false)
            .map_err(|source| failed("the tokenizer cannot be written", source))
    }

    /// The ids of `text`. Control tokens written in it become their ids; none is added.
    ///
    /// # Errors
    /// The text has a character that the vocabulary cannot express (never with byte-level BPE).
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.inner
            .tokenizer
            .encode_fast(text, false)
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|source| failed("the text cannot be encoded", source))
    }

    /// The text of `ids`, control tokens left out; broken UTF-8 becomes U+FFFD.
    ///
    /// # Errors
    /// The decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.inner
            .tokenizer
            .decode(ids, true)
            .map_err(|source| failed("the ids cannot be decoded", source))
    }

    /// A decoder for ids that arrive one at a time.
    pub fn token_stream(&self) -> TokenStream {
        TokenStream { tokenizer: self.clone(), ids: Vec::new(), read: 0 }
    }

    /// Id of the token that ends an answer.
    pub fn eos_id(&self) -> u32 {
        self.inner.eos_id
    }

    /// Text of the token that ends an answer.
    pub fn eos_token(&self) -> &str {
        &self.inner.eos_token
    }

    /// Text of the token that begins a sequence, where the model names one.
    pub fn bos_token(&self) -> Option<&str> {
        self.inner.bos_token.as_deref()
    }

    /// Id of a token, given its text in the vocabulary.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.tokenizer.token_to_id(token)
    }

    /// One more than the largest id.
    pub fn id_limit(&self) -> usize {
        self.inner.id_limit
    }

    /// The control tokens, which text is searched for, with their ids.
    pub fn control_tokens(&self) -> &BTreeMap<String, u32> {
        &self.inner.control
    }
}

/// Decodes ids one at a time, holding back text until its characters are complete.
#[derive(Debug, Clone)]
pub struct TokenStream {
    tokenizer: Tokenizer,
    /// The last ids whose text was given out, as context, and those after them.
    ids: Vec<u32>,
    /// Number of `ids` whose text was given out.
    read: usize,
}

impl TokenStream {
    /// The text that `id` completes; empty while a character is incomplete.
    ///
    /// # Errors
    /// The decoder fails, or it is not one that extends its text.
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.ids.push(id);
        let text = self.pending()?;
        if text.is_empty() || text.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(String::new());
        }
        self.ids.drain(..self.read);
        self.read = self.ids.len();
        Ok(text)
    }

    /// What was held back, with U+FFFD for characters that never became complete.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish(&mut self) -> Result<String> {
        let text = self.pending()?;
        self.ids.clear();
        self.read = 0;
        Ok(text)
    }

    /// Decoders may treat the first token specially (a leading space), hence the context.
    fn pending(&self) -> Result<String> {
        let given = self.tokenizer.decode(&self.ids[..self.read])?;
        let all = self.tokenizer.decode(&self.ids)?;
        match all.strip_prefix(&given) {
            Some(rest) => Ok(rest.to_owned()),
            None => Err(problem(format!("{given:?} became {all:?}: it cannot be streamed"))),
        }
    }
}

fn parse(json: &str) -> Result<tokenizers::Tokenizer> {
    tokenizers::Tokenizer::from_bytes(json)
        .map_err(|source| failed("tokenizer.json cannot be read", source))
}

pub(crate) fn problem(problem: String) -> Error {
    Error::Tokenizer { problem, source: None }
}

pub(crate) fn failed(problem: &str, source: tokenizers::Error) -> Error {
    Error::Tokenizer { problem: format!("{problem}: {source}"), source: Some(source) }
}
