//! The tokenizer of the embedded base: byte-level BPE that spells identifiers out.
//!
//! Every digit and every letter of a code is a token of its own, with the same id after a
//! space, at the start of a line, inside `BRS_VOY756.pdf` and for `voy756`: a small model
//! copies an identifier reliably only if it always looks the same.

use anyhow::{Result, anyhow};
use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{AddedToken, Tokenizer};

/// Control tokens; the first ends an answer.
pub const CONTROL_TOKENS: [&str; 4] = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"];

/// In order: a letter whose run goes on to a digit; a digit; a capital that starts no word;
/// a word with the space before it; any other character.
const PATTERN: &str = concat!(
    r"[A-Za-z](?=[A-Za-z]*[0-9])",
    r"|[0-9]",
    r"|\p{Lu}(?!\p{Ll})",
    r"| ?\p{Lu}?\p{Ll}+(?![a-z]*[A-Z]*[0-9])",
    r"|[\s\S]",
);

/// Trains the vocabulary on `texts` and returns the whole tokenizer as `tokenizer.json`.
pub fn train_tokenizer(texts: &[String], vocab_size: usize) -> Result<String> {
    let error = |e| anyhow!("training the tokenizer failed: {e}");
    let mut tokenizer = Tokenizer::new(BPE::default());
    let split =
        Split::new(SplitPattern::Regex(PATTERN.into()), SplitDelimiterBehavior::Isolated, false)
            .map_err(error)?;
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![
        PreTokenizerWrapper::Split(split),
        PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, false)),
    ])));
    tokenizer.with_decoder(Some(ByteLevelDecoder::default()));
    let mut trainer: TrainerWrapper = BpeTrainerBuilder::new()
        .vocab_size(vocab_size)
        .min_frequency(2)
        .show_progress(false)
        .special_tokens(CONTROL_TOKENS.iter().map(|t| AddedToken::from(*t, true)).collect())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build()
        .into();
    tokenizer.train(&mut trainer, texts.iter()).map_err(error)?;
    tokenizer.to_string(false).map_err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
        tokenizer.encode(text, false).unwrap().get_tokens().to_vec()
    }

    #[test]
    fn identifiers_are_spelt_the_same_everywhere() {
        let texts: Vec<String> =
            ["What is the product code for batch", "what is the batch voyage record"]
                .repeat(9)
                .iter()
                .map(|t| (*t).to_owned())
                .collect();
        let json = train_tokenizer(&texts, 320).unwrap();
        let tokenizer: Tokenizer = json.parse().unwrap();
        let code = ["V", "O", "Y", "7", "5", "6"];
        assert_eq!(pieces(&tokenizer, "VOY756"), code);
        assert_eq!(pieces(&tokenizer, " VOY756?")[1..7], code);
        assert_eq!(pieces(&tokenizer, "BRS_VOY756.pdf")[4..10], code);
        assert_eq!(pieces(&tokenizer, " voy756")[1..], ["v", "o", "y", "7", "5", "6"]);
        assert_eq!(pieces(&tokenizer, "VE009S54"), ["V", "E", "0", "0", "9", "S", "5", "4"]);
        assert_eq!(pieces(&tokenizer, " batch"), ["Ġbatch"]);
        for text in ["pH 7.4 at 25 °C", "voyage\n\"x\" — Änderung"] {
            let encoded = tokenizer.encode(text, false).unwrap();
            assert_eq!(tokenizer.decode(encoded.get_ids(), false).unwrap(), text);
        }
    }
}
