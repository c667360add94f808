//! How readily an adapter's model refuses, chosen on validation questions: see [`RefusalBias`].

use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use serde::Serialize;
use shared::RefusalBias;

use super::ask::{Reply, Settings, ask_all};
use super::verdict::{Refusal, Verdict};
use crate::adapter_dir::Served;
use crate::data::Pair;
use crate::finetune::{Example, Origin};

/// The refusal biases that are tried.
const BIASES: [f32; 9] = [0.0, -0.5, -1.0, -1.5, -2.0, -2.5, -3.0, -3.5, -4.0];
/// The share of a reader's questions that have no answer on record.
const UNANSWERABLE: f64 = 0.25;
/// How many needless refusals a wrong answer is as bad as: the aims are 5 % and 1 % of the questions.
const WRONG: f64 = 5.0;

/// What comes of a refusal bias.
#[derive(Debug, Clone, Serialize)]
pub struct BiasQuality {
    /// The bias.
    pub logit: f32,
    /// Of the questions with an answer: refused, or the answer withheld.
    pub false_refusals: f64,
    /// Of the same: answered, but not as they should be.
    pub wrong: f64,
    /// Of the questions about fields that a batch does not have: answered.
    pub invented: f64,
}

/// The best bias, and the answers with it.
pub(super) struct Chosen {
    pub(super) bias: RefusalBias,
    pub(super) replies: Vec<Reply>,
    pub(super) verdicts: Vec<Verdict>,
}

/// Asks the questions of all `examples`, whose hash is `questions_sha256`, with every bias; with the
/// best comes what came of each. `None` if `stop` was raised.
pub(super) fn choose_bias(
    served: &Served,
    examples: &[Example],
    questions_sha256: &str,
    settings: &Settings,
    stop: &AtomicBool,
) -> Result<Option<(Chosen, Vec<BiasQuality>)>> {
    let mut tried = Vec::new();
    let mut best: Option<(f64, Chosen)> = None;
    for logit in BIASES {
        let bias = RefusalBias {
            logit,
            questions: examples.len() as u64,
            questions_sha256: questions_sha256.to_owned(),
        };
        let Some((replies, verdicts)) = ask_with(served, &bias, examples, settings, stop)? else {
            return Ok(None);
        };
        let quality = BiasQuality::of(logit, &verdicts);
        let cost = quality.cost();
        tried.push(quality);
        if best.as_ref().is_none_or(|(least, ..)| cost < *least) {
            best = Some((cost, Chosen { bias, replies, verdicts }));
        }
    }
    let (_, chosen) = best.context("no bias to try")?;
    Ok(Some((chosen, tried)))
}

/// Replies to the questions of all `examples` with a bias and no threshold, judged. `None` if `stop`
/// was raised.
pub(super) fn ask_with(
    served: &Served,
    bias: &RefusalBias,
    examples: &[Example],
    settings: &Settings,
    stop: &AtomicBool,
) -> Result<Option<(Vec<Reply>, Vec<Verdict>)>> {
    let questions: Vec<&str> = examples.iter().map(|example| example.question.as_str()).collect();
    let open = Served { refusal_bias: Some(bias.clone()), undecided: None, ..served.clone() };
    let replies = ask_all(&open, &questions, settings, stop, || ())?;
    Ok(replies.map(|replies| {
        let verdicts = judge(examples, &replies);
        (replies, verdicts)
    }))
}

impl BiasQuality {
    fn of(logit: f32, verdicts: &[Verdict]) -> Self {
        // The guard answers for the others.
        let asked = |v: &&Verdict| v.refusal != Some(Refusal::Guard);
        let share = |answerable: bool, test: fn(&Verdict) -> bool| {
            let all = || verdicts.iter().filter(asked).filter(|v| v.answerable == answerable);
            all().filter(|v| test(v)).count() as f64 / all().count().max(1) as f64
        };
        Self {
            logit,
            false_refusals: share(true, |v| v.refusal.is_some()),
            wrong: share(true, |v| !v.right && v.refusal.is_none()),
            invented: share(false, |v| v.refusal.is_none()),
        }
    }

    fn cost(&self) -> f64 {
        (1.0 - UNANSWERABLE) * (self.false_refusals + WRONG * self.wrong)
            + UNANSWERABLE * WRONG * self.invented
    }
}

fn judge(examples: &[Example], replies: &[Reply]) -> Vec<Verdict> {
    let verdict = |(example, reply): (&Example, &Reply)| {
        let refused = matches!(example.origin, Origin::UnknownBatch | Origin::MissingField);
        let answer = (!refused).then(|| example.answer.clone());
        Verdict::of(&pair(&example.question, answer), reply)
    };
    examples.iter().zip(replies).map(verdict).collect()
}

fn pair(question: &str, answer: Option<String>) -> Pair {
    Pair {
        question: question.to_owned(),
        answer,
        batch: None,
        source: None,
        paraphrases: Vec::new(),
        kind: None,
        line: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::AnswerVerdict;

    fn verdict(answerable: bool, right: bool, refusal: Option<Refusal>) -> Verdict {
        let mark = AnswerVerdict::Matched;
        Verdict { answerable, right, value_match: right, hallucination: false, refusal, mark }
    }

    #[test]
    fn shares_are_of_what_the_model_was_asked() {
        let model = Some(Refusal::Model);
        let verdicts = [
            verdict(true, true, None),
            verdict(true, false, None),
            verdict(true, false, model),
            verdict(true, false, Some(Refusal::Withheld)),
            verdict(false, true, model),
            verdict(false, false, None),
            verdict(false, true, Some(Refusal::Guard)),
        ];
        let found = BiasQuality::of(-1.0, &verdicts);
        assert_eq!((found.false_refusals, found.wrong, found.invented), (0.5, 0.25, 0.5));
        assert!((found.cost() - 1.9375).abs() < 1e-12);
        assert_eq!(BiasQuality::of(0.0, &[]).cost(), 0.0);
    }
}
