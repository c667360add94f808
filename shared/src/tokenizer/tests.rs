use super::ggml::tests::CONTROL_TOKENS;
pub(crate) use super::ggml::tests::metadata;
use super::*;
use crate::GgufBuilder;

/// A byte-level tokenizer with the control tokens of our own base.
pub(crate) fn tiny() -> Tokenizer {
    let mut builder = GgufBuilder::new();
    metadata(&mut builder, "gpt-2");
    Tokenizer::from_gguf(&Gguf::parse(&builder.finish()).unwrap()).unwrap()
}

#[test]
fn merges_apply_and_control_tokens_are_found() {
    let tokenizer = tiny();
    let id = |token: &str| tokenizer.token_to_id(token).unwrap();
    let ids = tokenizer.encode("a batch<|end|>batch").unwrap();
    assert_eq!(ids, [id("a"), id("Ġbatch"), id("<|end|>"), id("batch")]);
    assert_eq!(tokenizer.decode(&ids).unwrap(), "a batchbatch");
    assert_eq!(tokenizer.eos_id(), id("<|end|>"));
    assert_eq!(tokenizer.eos_token(), "<|end|>");
    assert_eq!(tokenizer.bos_token(), None);
    assert_eq!(tokenizer.id_limit(), 256 + 5 + 4);
    assert!(
        tokenizer.control_tokens().keys().all(|token| CONTROL_TOKENS.contains(&token.as_str()))
    );
    assert_eq!(tokenizer.control_tokens().len(), 4);
}

#[test]
fn every_text_survives() {
    let tokenizer = tiny();
    for text in ["", " ", "\n\n x", "µg ≤ 5 %", "🦀 e\u{301}", "\0\u{7f}", "batch batch  batch"]
    {
        assert_eq!(tokenizer.decode(&tokenizer.encode(text).unwrap()).unwrap(), text);
    }
}

#[test]
fn streaming_gives_the_same_text_in_whole_characters() {
    let tokenizer = tiny();
    let text = "5 µg ≤ 🦀 batch\u{FFFD}!";
    let ids = tokenizer.encode(text).unwrap();
    let mut stream = tokenizer.token_stream();
    let pieces: Vec<String> = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
    assert_eq!(pieces.concat() + &stream.finish().unwrap(), text);
    let crab = tokenizer.encode("🦀").unwrap();
    let mut stream = tokenizer.token_stream();
    let pieces: Vec<String> = crab.iter().map(|&id| stream.push(id).unwrap()).collect();
    assert_eq!(pieces, ["", "", "", "🦀"]);
    assert_eq!(stream.finish().unwrap(), "");
}

#[test]
fn streaming_leaves_control_tokens_out_and_shows_broken_text_at_the_end() {
    let tokenizer = tiny();
    let mut stream = tokenizer.token_stream();
    assert_eq!(stream.push(tokenizer.token_to_id("batch").unwrap()).unwrap(), "batch");
    assert_eq!(stream.push(tokenizer.eos_id()).unwrap(), "");
    let half = &tokenizer.encode("é").unwrap()[..1];
    assert_eq!(stream.push(half[0]).unwrap(), "");
    assert_eq!(stream.finish().unwrap(), "\u{FFFD}");
    assert_eq!(stream.push(tokenizer.token_to_id("batch").unwrap()).unwrap(), "batch");
}

#[test]
fn a_tokenizer_json_in_the_metadata_wins() {
    let json = tiny().inner.tokenizer.to_string(false).unwrap();
    let again = Tokenizer::from_json(&json, "<|end|>").unwrap();
    assert_eq!(again.encode("a batch<|end|>").unwrap(), tiny().encode("a batch<|end|>").unwrap());
    let mut builder = GgufBuilder::new();
    builder.metadata("tokenizer.ggml.eos_token_id", again.eos_id()).unwrap();
    builder
        .metadata("tokenizer.ggml.bos_token_id", again.token_to_id("<|system|>").unwrap())
        .unwrap();
    builder.metadata(HUGGING_FACE_KEY, json).unwrap();
    let read = Tokenizer::from_gguf(&Gguf::parse(&builder.finish()).unwrap()).unwrap();
    assert_eq!(read.control_tokens(), again.control_tokens());
    assert_eq!(read.bos_token(), Some("<|system|>"));
}

#[test]
fn rejects_what_cannot_end_an_answer() {
    let json = tiny().inner.tokenizer.to_string(false).unwrap();
    assert!(Tokenizer::from_json(&json, "<|stop|>").is_err());
    assert!(Tokenizer::from_json("{}", "<|end|>").is_err());
    let mut builder = GgufBuilder::new();
    builder.metadata(HUGGING_FACE_KEY, json.clone()).unwrap();
    let error = Tokenizer::from_gguf(&Gguf::parse(&builder.finish()).unwrap()).unwrap_err();
    assert!(error.to_string().contains("eos_token_id"), "{error}");
    let mut builder = GgufBuilder::new();
    builder.metadata(HUGGING_FACE_KEY, json).unwrap();
    builder.metadata("tokenizer.ggml.eos_token_id", 100_000_u32).unwrap();
    let error = Tokenizer::from_gguf(&Gguf::parse(&builder.finish()).unwrap()).unwrap_err();
    assert!(error.to_string().contains("100000"), "{error}");
}
