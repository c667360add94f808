//! A conversation: question in, answer out, token by token.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::exchange::{Exchange, Pass, SoloExchange};
use crate::model::{KvCache, Model};
use crate::sampler::{Sampler, SamplerConfig};
use crate::{
    AnswerTrie, ConfidenceScore, Error, PromptFormat, REFUSAL, RefusalBias, Result, TokenStream,
};

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The model ended it.
    EndToken,
    /// It reached [`SamplerConfig::max_new_tokens`].
    MaxTokens,
    /// The model's context is full.
    Context,
    /// [`Session::cancel`] was called.
    Cancelled,
}

/// What a step brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A token.
    Token {
        /// The text that it completes: whole characters, empty while one is incomplete.
        text: String,
        /// What the model gave the token, see [`crate::Choice::probability`].
        probability: f32,
    },
    /// A part of a long question has been read; its answer has not begun.
    Question {
        /// Tokens read.
        done: usize,
        /// Tokens of the question.
        total: usize,
    },
    /// Nothing more comes.
    End(StopReason),
}

/// Most tokens of a question that one step reads, so that whoever runs the session can cancel in
/// between.
const QUESTION_STEP: usize = 64;

/// How sure the model was of the tokens of an answer, the end token included; all 1 before the
/// first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// See [`ConfidenceScore::MinProbability`].
    pub min_probability: f32,
    /// See [`ConfidenceScore::Product`].
    pub product: f32,
}

impl Scores {
    /// Those of an answer without tokens.
    pub const NOTHING_SAID: Self = Self { min_probability: 1.0, product: 1.0 };

    /// One of them.
    pub fn get(self, score: ConfidenceScore) -> f32 {
        match score {
            ConfidenceScore::MinProbability => self.min_probability,
            ConfidenceScore::Product => self.product,
        }
    }

    fn add(&mut self, probability: f32) {
        self.min_probability = self.min_probability.min(probability);
        self.product *= probability;
    }
}

/// A finished answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// The tokens, without the end token.
    pub tokens: Vec<u32>,
    /// How sure the model was.
    pub scores: Scores,
    /// Why it ended.
    pub stop: StopReason,
}

/// Answers questions, one after the other, each behind the same prompt prefix, whose keys and
/// values are computed once.
///
/// A question does not see earlier ones. With several ranks this is rank 0; the others
/// [`follow`](crate::follow).
#[derive(Debug)]
pub struct Session<E: Exchange = SoloExchange> {
    model: Arc<Model>,
    prompt: PromptFormat,
    exchange: E,
    cache: KvCache,
    prefix_len: usize,
    /// The refusal's first token, and what is added to its logit.
    refusal: (u32, f32),
    answering: Option<Answering>,
}

/// An answer under way.
#[derive(Debug)]
struct Answering {
    sampler: Sampler,
    /// The only possible answers, if there are such.
    approved: Option<Arc<AnswerTrie>>,
    stream: TokenStream,
    /// The question's tokens, and how many of them the model has read.
    question: Vec<u32>,
    read: usize,
    tokens: Vec<u32>,
    scores: Scores,
    stop: Option<StopReason>,
}

impl Session {
    /// A session in a single rank; computes the prompt's prefix.
    ///
    /// # Errors
    /// As [`Model::forward`], and [`Error::Value`] where model and tokenizer don't fit.
    pub fn new(model: impl Into<Arc<Model>>, prompt: PromptFormat) -> Result<Self> {
        Self::with_exchange(model, prompt, SoloExchange)
    }
}

impl<E: Exchange> Session<E> {
    /// A session whose model is rank 0 of several.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn with_exchange(
        model: impl Into<Arc<Model>>,
        prompt: PromptFormat,
        exchange: E,
    ) -> Result<Self> {
        let model = model.into();
        let (ids, vocab) = (prompt.tokenizer().id_limit(), model.config().vocab_size);
        if ids > vocab {
            return Err(Error::Value {
                name: "tokenizer".into(),
                expected: format!("at most the {vocab} tokens that the model has"),
                found: ids.to_string(),
            });
        }
        let cache = model.new_cache();
        let refusal = prompt.encode_pair("", REFUSAL)?.answer[0];
        let mut session = Self {
            model,
            prompt,
            exchange,
            cache,
            prefix_len: 0,
            refusal: (refusal, 0.0),
            answering: None,
        };
        let prefix = session.prompt.prefix_ids().to_vec();
        if !prefix.is_empty() {
            session.forward(&prefix)?;
        }
        session.prefix_len = session.cache.len();
        Ok(session)
    }

    /// Answers with an adapter's [`RefusalBias`] from now on, or without one.
    pub fn set_refusal_bias(&mut self, bias: Option<&RefusalBias>) {
        self.refusal.1 = bias.map_or(0.0, |bias| bias.logit);
    }

    /// Asks a question; what was left of the answer before it is dropped.
    ///
    /// # Errors
    /// [`Error::Context`] if the question leaves no room for an answer; what
    /// [`PromptFormat::encode_question`] and [`SamplerConfig::validate`] refuse.
    pub fn ask(&mut self, question: &str, sampler: SamplerConfig) -> Result<()> {
        self.ask_among(question, sampler, None)
    }

    /// Asks a question as [`Self::ask`] does, with the answers of `approved` as the only possible
    /// ones if it is given.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) fn ask_among(
        &mut self,
        question: &str,
        sampler: SamplerConfig,
        approved: Option<Arc<AnswerTrie>>,
    ) -> Result<()> {
        self.answering = None;
        let sampler = Sampler::new(sampler)?;
        let tokens = self.question_tokens(question)?;
        self.cache.truncate(self.prefix_len);
        self.answering = Some(Answering {
            sampler,
            approved,
            stream: self.prompt.tokenizer().token_stream(),
            question: tokens,
            read: 0,
            tokens: Vec::new(),
            scores: Scores::NOTHING_SAID,
            stop: None,
        });
        Ok(())
    }

    /// A question's tokens, if they leave room for an answer.
    fn question_tokens(&self, question: &str) -> Result<Vec<u32>> {
        let tokens = self.prompt.encode_question(question)?;
        let (needed, limit) =
            (self.prefix_len + tokens.len() + 1, self.model.config().context_length);
        if needed > limit {
            return Err(Error::Context { needed, limit });
        }
        Ok(tokens)
    }

    /// Whether [`Self::ask`] takes a question.
    pub(crate) fn can_be_asked(&self, question: &str) -> bool {
        self.question_tokens(question).is_ok()
    }

    /// Reads the question, a long one in several steps, and generates the next token. After the end
    /// it says so again.
    ///
    /// # Errors
    /// As [`Model::forward`]; [`Error::Value`] if nothing was asked.
    pub fn step(&mut self) -> Result<Step> {
        let Some(mut answering) = self.answering.take() else {
            return Err(Error::Value {
                name: "session".into(),
                expected: "a question before its answer".into(),
                found: "none".into(),
            });
        };
        let step = self.advance(&mut answering)?;
        self.answering = Some(answering);
        Ok(step)
    }

    fn advance(&mut self, answering: &mut Answering) -> Result<Step> {
        if let Some(stop) = answering.stop {
            return Ok(Step::End(stop));
        }
        let mut logits = match answering.tokens.last() {
            Some(&token) => self.forward(&[token])?,
            None => {
                let total = answering.question.len();
                let done = total.min(answering.read + QUESTION_STEP);
                let logits = self.forward(&answering.question[answering.read..done])?;
                answering.read = done;
                if done < total {
                    return Ok(Step::Question { done, total });
                }
                logits
            }
        };
        // Chosen for free answers; among approved ones it was not measured to help.
        if answering.tokens.is_empty() && answering.approved.is_none() {
            let (token, bias) = self.refusal;
            logits[token as usize] += bias;
        }
        let allowed = answering.approved.as_ref().map(|trie| trie.next(&answering.tokens));
        let choice = answering.sampler.next_among(&logits, allowed.as_deref())?;
        let probability = choice.probability;
        answering.scores.add(probability);
        if choice.token == self.prompt.tokenizer().eos_id() {
            answering.stop = Some(StopReason::EndToken);
            let text = answering.stream.finish()?;
            return Ok(if text.is_empty() {
                Step::End(StopReason::EndToken)
            } else {
                Step::Token { text, probability }
            });
        }
        answering.tokens.push(choice.token);
        let mut text = answering.stream.push(choice.token)?;
        if answering.tokens.len() >= answering.sampler.config().max_new_tokens {
            answering.stop = Some(StopReason::MaxTokens);
        } else if self.cache.len() >= self.model.config().context_length {
            answering.stop = Some(StopReason::Context);
        }
        if answering.stop.is_some() {
            text += &answering.stream.finish()?;
        }
        Ok(Step::Token { text, probability })
    }

    /// Ends the answer under way: the next step says [`StopReason::Cancelled`].
    pub fn cancel(&mut self) {
        if let Some(answering) = &mut self.answering {
            answering.stop.get_or_insert(StopReason::Cancelled);
        }
    }

    /// Asks a question and steps to the end.
    ///
    /// # Errors
    /// As [`Self::ask`] and [`Self::step`].
    pub fn answer(&mut self, question: &str, sampler: SamplerConfig) -> Result<Answer> {
        self.answer_among(question, sampler, None)
    }

    /// Asks a question as [`Self::ask_among`] does and steps to the end.
    ///
    /// # Errors
    /// As [`Self::ask`] and [`Self::step`].
    pub(crate) fn answer_among(
        &mut self,
        question: &str,
        sampler: SamplerConfig,
        approved: Option<Arc<AnswerTrie>>,
    ) -> Result<Answer> {
        self.ask_among(question, sampler, approved)?;
        let mut answer = String::new();
        loop {
            match self.step()? {
                Step::Token { text, .. } => answer += &text,
                Step::Question { .. } => {}
                Step::End(stop) => {
                    return Ok(Answer {
                        text: answer,
                        tokens: self.tokens().to_vec(),
                        scores: self.scores(),
                        stop,
                    });
                }
            }
        }
    }

    /// The tokens of the answer so far, without the end token.
    pub fn tokens(&self) -> &[u32] {
        self.answering.as_ref().map_or(&[], |answering| &answering.tokens)
    }

    /// How sure the model was of the answer so far.
    pub fn scores(&self) -> Scores {
        self.answering.as_ref().map_or(Scores::NOTHING_SAID, |answering| answering.scores)
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The prompt format.
    pub fn prompt(&self) -> &PromptFormat {
        &self.prompt
    }

    /// The key/value cache; its length is the number of positions in use.
    pub fn cache(&self) -> &KvCache {
        &self.cache
    }

    /// Runs a pass on all ranks, after everything that can be refused without them.
    fn forward(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        self.model.check(&self.cache, tokens, &self.exchange)?;
        self.exchange.announce(Pass { keep: self.cache.len(), tokens })?;
        self.model.forward(&mut self.cache, tokens, &mut self.exchange)
    }
}

#[cfg(test)]
mod tests;
