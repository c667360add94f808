//! Approved-answers mode: the model may only say what somebody has approved.
//!
//! The adapter brings its own training answers, and decoding is restricted to them and to the
//! refusal by a trie over tokens: at every step the model chooses among the tokens that continue
//! one of the answers. It can still choose the wrong answer; it can't word or compute one.

use std::collections::{BTreeMap, BTreeSet};

use crate::{PromptFormat, REFUSAL, Result};

/// The answers that may be given, as a trie over their tokens, the end token included.
#[derive(Debug, Clone)]
pub struct AnswerTrie {
    /// By node: the node that each possible token leads to. The first is the start.
    nodes: Vec<BTreeMap<u32, usize>>,
}

impl AnswerTrie {
    /// The trie of `answers` and the refusal, as tokens of `prompt`.
    ///
    /// # Errors
    /// As [`PromptFormat::encode_pair`].
    pub fn new(answers: &BTreeSet<String>, prompt: &PromptFormat) -> Result<Self> {
        let mut trie = Self { nodes: vec![BTreeMap::new()] };
        for answer in answers.iter().map(String::as_str).chain([REFUSAL]) {
            let mut node = 0;
            for token in prompt.encode_pair("", answer)?.answer {
                let next = trie.nodes.len();
                node = *trie.nodes[node].entry(token).or_insert(next);
                if node == next {
                    trie.nodes.push(BTreeMap::new());
                }
            }
        }
        Ok(trie)
    }

    /// The tokens that may follow `said`, in ascending order; none where nothing may.
    pub fn next(&self, said: &[u32]) -> Vec<u32> {
        let mut node = &self.nodes[0];
        for token in said {
            match node.get(token) {
                Some(&next) => node = &self.nodes[next],
                None => return Vec::new(),
            }
        }
        node.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::TinyBase;
    use crate::{Base, Model, RankSlice, SamplerConfig, Session, StopReason};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn base() -> Base {
        Base::from_bytes(TinyBase::default().gguf().unwrap()).unwrap()
    }

    fn answers() -> BTreeSet<String> {
        ["The yield is 98.2 %.", "The yield is 98.", "Ana Sousa."].map(str::to_owned).into()
    }

    #[test]
    fn every_answer_is_a_way_to_an_end_and_nothing_else_is() {
        let base = base();
        let trie = AnswerTrie::new(&answers(), &base.prompt).unwrap();
        let all = answers().into_iter().chain([REFUSAL.to_owned()]);
        for answer in all {
            let ids = base.prompt.encode_pair("", &answer).unwrap().answer;
            for (at, id) in ids.iter().enumerate() {
                assert!(trie.next(&ids[..at]).contains(id), "{answer}");
            }
            assert!(trie.next(&ids).is_empty());
        }
        assert!(trie.next(&[base.tokenizer.eos_id()]).is_empty());
    }

    /// A model with random weights says nothing that makes sense, unless it has no choice.
    #[test]
    fn whatever_the_model_would_say_the_answer_is_an_approved_one() {
        let base = base();
        let trie = Arc::new(AnswerTrie::new(&answers(), &base.prompt).unwrap());
        let model = Model::load(&base, RankSlice::SOLO).unwrap();
        let mut session = Session::new(model, base.prompt.clone()).unwrap();
        for seed in 0..20 {
            let sampler = SamplerConfig {
                temperature: 1.0,
                top_k: 3,
                seed,
                max_new_tokens: 200,
                ..SamplerConfig::exact()
            };
            let answer = session.answer_among("?", sampler, Some(trie.clone())).unwrap();
            assert_eq!(answer.stop, StopReason::EndToken);
            assert!(answers().contains(&answer.text) || answer.text == REFUSAL, "{}", answer.text);
        }
    }
}
