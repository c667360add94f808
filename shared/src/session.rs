//! A conversation: question in, answer out, token by token.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::exchange::{Exchange, Pass, SoloExchange};
use crate::model::{KvCache, Model};
use crate::sampler::{Sampler, SamplerConfig};
use crate::{
    AnswerTrie, ConfidenceScore, Error, Guard, PromptFormat, REFUSAL, RefusalBias, Result,
    TokenStream,
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
    pub fn ask_among(
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
    pub fn answer_among(
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

    /// The question to ask once more: what the model has refused although the guard finds it on
    /// record, in the records' own words ([`Guard::second_reading`]). `None` while the answer to
    /// `question` goes on, and where the other question cannot be asked.
    ///
    /// # Errors
    /// The answer's tokens are no text.
    pub fn second_reading(&self, guard: Option<&Guard>, question: &str) -> Result<Option<String>> {
        let stop = self.answering.as_ref().and_then(|answering| answering.stop);
        let Some(guard) = guard.filter(|_| stop == Some(StopReason::EndToken)) else {
            return Ok(None);
        };
        let answer = self.prompt.tokenizer().decode(self.tokens())?;
        let again = guard.second_reading(question, &answer);
        Ok(again.filter(|again| self.question_tokens(again).is_ok()))
    }

    /// Asks a question as [`Self::answer_among`] does, and once more where there is a
    /// [`Self::second_reading`], which then comes with the answer to it.
    ///
    /// # Errors
    /// As [`Self::ask`] and [`Self::step`].
    pub fn answer_guarded(
        &mut self,
        guard: Option<&Guard>,
        question: &str,
        sampler: &SamplerConfig,
        approved: Option<&Arc<AnswerTrie>>,
    ) -> Result<(Answer, Option<String>)> {
        let answer = self.answer_among(question, sampler.clone(), approved.cloned())?;
        let Some(again) = self.second_reading(guard, question)? else {
            return Ok((answer, None));
        };
        let answer = self.answer_among(&again, sampler.clone(), approved.cloned())?;
        Ok((answer, Some(again)))
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
mod tests {
    use super::*;
    #[cfg(not(target_arch = "wasm32"))]
    use crate::exchange::{ThreadExchange, follow};
    use crate::model::RankSlice;
    use crate::testing::TinyBase;
    use crate::{AskingWord, Base, GuardList, KnownField};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn base() -> Base {
        Base::from_bytes(TinyBase::default().gguf().unwrap()).unwrap()
    }

    fn session(base: &Base) -> Session {
        Session::new(Model::load(base, RankSlice::SOLO).unwrap(), base.prompt.clone()).unwrap()
    }

    fn sampling(seed: u64, max_new_tokens: usize) -> SamplerConfig {
        SamplerConfig { temperature: 1.0, seed, max_new_tokens, ..SamplerConfig::exact() }
    }

    #[test]
    fn answers_do_not_depend_on_earlier_questions() {
        let base = base();
        let mut session = session(&base);
        let prefix = session.cache().len();
        assert_eq!(prefix, base.prompt.prefix_ids().len());
        let first = session.answer("What is the yield of VOY756?", sampling(1, 20)).unwrap();
        session.answer("Something else, and longer than that?", sampling(2, 30)).unwrap();
        assert_eq!(session.answer("What is the yield of VOY756?", sampling(1, 20)).unwrap(), first);
        let alone = self::session(&base).answer("What is the yield of VOY756?", sampling(1, 20));
        assert_eq!(alone.unwrap(), first);
    }

    #[test]
    fn follows_the_model_step_by_step() {
        let base = base();
        let model = Model::load(&base, RankSlice::SOLO).unwrap();
        let config = SamplerConfig { max_new_tokens: 12, ..SamplerConfig::exact() };
        let answer = session(&base).answer("Who?", config).unwrap();
        let mut ids = base.prompt.encode("Who?").unwrap();
        let (mut least, mut product) = (1.0_f32, 1.0_f32);
        for token in &answer.tokens {
            let logits = model.forward(&mut model.new_cache(), &ids, &mut SoloExchange).unwrap();
            let mut sampler = Sampler::new(SamplerConfig::exact()).unwrap();
            let choice = sampler.next(&logits).unwrap();
            assert_eq!(choice.token, *token);
            least = least.min(choice.probability);
            product *= choice.probability;
            ids.push(*token);
        }
        assert_eq!(answer.stop, StopReason::MaxTokens);
        assert_eq!(answer.scores, Scores { min_probability: least, product });
        assert_eq!(answer.text, base.tokenizer.decode(&answer.tokens).unwrap());
    }

    /// A model that refuses everything is asked twice where the guard knows better, once elsewhere.
    #[test]
    fn what_the_guard_finds_on_record_is_asked_again() {
        let base = base();
        let mut list = GuardList::build(["VOY756"], [], &"ab".repeat(16)).unwrap();
        let mut field = KnownField::new(AskingWord::Who, ["shift boss"], []);
        field.wording = Some("Who led the shift for {b}?".into());
        let field = list.fields.add(field);
        list.add_recorded("VOY756", field).unwrap();
        let guard = Guard::new(&list).unwrap();
        let refusal =
            Arc::new(AnswerTrie::new(&[REFUSAL.to_owned()].into(), &base.prompt).unwrap());
        let mut session = session(&base);
        let mut ask = |guard, question: &str, approved| {
            let sampler = SamplerConfig { max_new_tokens: 64, ..SamplerConfig::exact() };
            session.answer_guarded(guard, question, &sampler, approved).unwrap()
        };
        let (answer, again) = ask(Some(&guard), "shift boss VOY756", Some(&refusal));
        assert_eq!((answer.text.trim(), answer.stop), (REFUSAL, StopReason::EndToken));
        assert_eq!(again.as_deref(), Some("Who led the shift for VOY756?"));
        assert_eq!(ask(Some(&guard), "yield VOY756", Some(&refusal)).1, None);
        assert_eq!(ask(None, "shift boss VOY756", Some(&refusal)).1, None);
        assert_eq!(ask(Some(&guard), "shift boss VOY756", None).1, None, "it does not refuse");

        // An answer that the limit ends is no refusal, and what cannot be asked is not asked.
        let tokens = answer.tokens.len();
        let sampler = SamplerConfig { max_new_tokens: tokens, ..SamplerConfig::exact() };
        let cut = session
            .answer_guarded(Some(&guard), "shift boss VOY756", &sampler, Some(&refusal))
            .unwrap();
        assert_eq!((cut.0.stop, cut.0.text.trim(), cut.1), (StopReason::MaxTokens, REFUSAL, None));
        list.fields.fields[field].wording = Some("Who led {b}? ".repeat(500));
        let guard = Guard::new(&list).unwrap();
        let kept = session
            .answer_guarded(
                Some(&guard),
                "shift boss VOY756",
                &SamplerConfig::exact(),
                Some(&refusal),
            )
            .unwrap();
        assert_eq!((kept.0.text.trim(), kept.1), (REFUSAL, None));
    }

    /// Strong enough, it makes any model refuse, or begin in another way. Approved answers are
    /// chosen among as before.
    #[test]
    fn a_bias_moves_the_refusal_and_nothing_else() {
        let base = base();
        let ids = base.prompt.encode_pair("", REFUSAL).unwrap().answer;
        let bias = |logit| RefusalBias { logit, questions: 1, questions_sha256: "a".repeat(64) };
        let mut session = session(&base);
        let mut first = |logit| {
            session.set_refusal_bias(Some(&bias(logit)));
            session.answer("Who?", sampling(1, 8)).unwrap()
        };
        assert_eq!(first(20.0).tokens[0], ids[0]);
        let without = first(-20.0);
        assert_ne!(without.tokens[0], ids[0]);
        session.set_refusal_bias(None);
        let plain = session.answer("Who?", sampling(1, 8)).unwrap();
        assert_ne!(plain.tokens[0], ids[0], "the seed's own first token is another one");
        let answers = ["It is 98.2 %.".to_owned()].into();
        let approved = Arc::new(AnswerTrie::new(&answers, &base.prompt).unwrap());
        let among = |session: &mut Session, logit: Option<f32>| {
            session.set_refusal_bias(logit.map(bias).as_ref());
            session.answer_among("Who?", sampling(1, 99), Some(approved.clone())).unwrap()
        };
        assert_eq!(among(&mut session, Some(20.0)), among(&mut session, None));
        assert_eq!(among(&mut session, Some(-20.0)), among(&mut session, None));
    }

    #[test]
    fn text_arrives_in_whole_characters() {
        let base = base();
        let mut session = session(&base);
        for seed in 0..10 {
            session.ask("?", sampling(seed, 40)).unwrap();
            let mut text = String::new();
            while let Step::Token { text: piece, probability } = session.step().unwrap() {
                assert!(probability > 0.0 && probability <= 1.0);
                text += &piece;
            }
            let tokens = session.tokens().to_vec();
            assert_eq!(text, base.tokenizer.decode(&tokens).unwrap(), "seed {seed}");
        }
    }

    /// With the embedding of the end token as the only one left, the model can say nothing else.
    #[test]
    fn stops_at_the_end_token() {
        let tiny = TinyBase { favour: Some("<|end|>".into()), ..TinyBase::default() };
        let base = Base::from_bytes(tiny.gguf().unwrap()).unwrap();
        let mut session = session(&base);
        let answer = session.answer("?", SamplerConfig::exact()).unwrap();
        assert_eq!((answer.text.as_str(), answer.stop), ("", StopReason::EndToken));
        assert!(answer.tokens.is_empty() && answer.scores.min_probability > 0.9);
        assert_eq!(session.step().unwrap(), Step::End(StopReason::EndToken));
    }

    #[test]
    fn stops_when_cancelled() {
        let mut session = session(&base());
        session.ask("?", SamplerConfig::exact()).unwrap();
        session.step().unwrap();
        session.cancel();
        assert_eq!(session.step().unwrap(), Step::End(StopReason::Cancelled));
        assert_eq!(session.tokens().len(), 1);
        session.ask("?", SamplerConfig::exact()).unwrap();
        assert!(matches!(session.step().unwrap(), Step::Token { .. }));
    }

    #[test]
    fn a_long_question_is_read_in_steps_and_can_be_cancelled_in_between() {
        let base = base();
        let mut session = session(&base);
        let question = "x".repeat(2 * QUESTION_STEP);
        let total = base.prompt.encode_question(&question).unwrap().len();
        assert!(total > QUESTION_STEP, "{total} tokens");
        session.ask(&question, SamplerConfig::exact()).unwrap();
        let prefix = session.cache().len();
        assert_eq!(session.step().unwrap(), Step::Question { done: QUESTION_STEP, total });
        assert_eq!(session.cache().len(), prefix + QUESTION_STEP);
        session.cancel();
        assert_eq!(session.step().unwrap(), Step::End(StopReason::Cancelled));
        assert!(session.tokens().is_empty());

        let answer = session.answer(&question, sampling(4, 1)).unwrap();
        let ids = base.prompt.encode(&question).unwrap();
        let model = Model::load(&base, RankSlice::SOLO).unwrap();
        let logits = model.forward(&mut model.new_cache(), &ids, &mut SoloExchange).unwrap();
        let token = Sampler::new(sampling(4, 1)).unwrap().next(&logits).unwrap().token;
        assert_eq!(answer.tokens, [token]);
    }

    #[test]
    fn stops_when_the_context_is_full() {
        let base = base();
        let mut session = session(&base);
        let limit = base.config.context_length;
        let answer = session.answer("?", sampling(5, 10 * limit)).unwrap();
        let prompt = base.prompt.encode("?").unwrap().len();
        if answer.stop == StopReason::Context {
            assert_eq!(answer.tokens.len(), limit - prompt + 1);
        } else {
            assert_eq!(answer.stop, StopReason::EndToken);
        }
        let long = "x".repeat(limit);
        let needed = prompt + limit;
        assert!(matches!(
            session.ask(&long, SamplerConfig::exact()),
            Err(Error::Context { needed: n, limit: l }) if n >= needed - 1 && l == limit
        ));
        assert!(session.answer("?", sampling(5, 3)).is_ok(), "an error leaves the session usable");
    }

    #[test]
    fn rejects_steps_before_a_question() {
        assert!(matches!(session(&base()).step(), Err(Error::Value { .. })));
    }

    #[cfg(not(target_arch = "wasm32"))]
    #[test]
    fn several_ranks_give_the_same_answer() {
        let base = base();
        let expected = session(&base).answer("What is it?", sampling(3, 25)).unwrap();
        for ranks in [2, 3] {
            let models: Vec<Model> = (0..ranks)
                .map(|rank| Model::load(&base, RankSlice::new(rank, ranks).unwrap()).unwrap())
                .collect();
            let mut ends = ThreadExchange::new(ranks, models[0].max_gather_len()).into_iter();
            let mut models = models.into_iter();
            let (leader, model) = (ends.next().unwrap(), models.next().unwrap());
            std::thread::scope(|scope| {
                let followers: Vec<_> = ends
                    .zip(models)
                    .map(|(mut end, model)| {
                        scope.spawn(move || follow(&model, &mut model.new_cache(), &mut end))
                    })
                    .collect();
                let mut session =
                    Session::with_exchange(model, base.prompt.clone(), leader).unwrap();
                session.answer("Another one first?", sampling(4, 9)).unwrap();
                assert_eq!(session.answer("What is it?", sampling(3, 25)).unwrap(), expected);
                drop(session);
                for follower in followers {
                    follower.join().unwrap().unwrap();
                }
            });
        }
    }

    #[test]
    fn rejects_a_tokenizer_of_another_model() {
        let small = Base::from_bytes(TinyBase::default().gguf().unwrap()).unwrap();
        let mut model = small.config.clone();
        model.vocab_size = 64;
        let tiny = TinyBase { config: model, ..TinyBase::default() };
        let model = tiny.model(RankSlice::SOLO, None).unwrap();
        assert!(matches!(Session::new(model, small.prompt), Err(Error::Value { .. })));
    }
}
