use super::*;
use crate::Base;
#[cfg(not(target_arch = "wasm32"))]
use crate::exchange::{ThreadExchange, follow};
use crate::model::RankSlice;
use crate::testing::TinyBase;
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
            let mut session = Session::with_exchange(model, base.prompt.clone(), leader).unwrap();
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
