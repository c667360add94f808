//! What is measured once, on questions that are no test: how readily the model refuses, from which
//! score on an answer counts, and what an installation has to reproduce.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use shared::{
    AnswerVerdict, ConfidenceScore, GoldenQuestion, RefusalBias, SamplerConfig, SelfTest,
    SoloExchange, StopReason, UndecidedRule, logits_digest, self_test_tokens, sha256_hex,
};

use super::ask::Settings;
use super::bias::{BiasQuality, Chosen, ask_with, choose_bias};
use super::coverage::{CoveragePoint, Scored, auroc, choose, curve, thin};
use super::report::FieldNames;
use crate::adapter_dir::Served;
use crate::data::Pair;
use crate::files::to_jsonl;
use crate::finetune::{Dataset, Example, OWN};

/// The share of wrong answers among those that stand that a threshold is to leave at most.
pub const WRONG_AT_MOST: f64 = 0.003;
/// The share of answers that it has to leave standing even if more of them are wrong, refusals that
/// are left open not counted: the record and the report then say how many.
const LEAST_COVERAGE: f64 = 0.875;
/// Points of a curve that is kept.
pub const CURVE_POINTS: usize = 200;

/// The odds of the question's words that are tried; 1 leaves them out. No more than these, because
/// the validation questions are in the grammar's own words, which flatters whoever reads by those.
const ODDS: [f32; 3] = [1.0, 4.0, 16.0];
/// How often the validation questions are phrased for the bias, each of which asks them all anew, and
/// how often for the threshold: a single one more that is wrong and sure of itself moves it.
const BIAS_DRAWS: u64 = 3;
const DRAWS: u64 = 12;
/// Golden questions of a self-test.
const GOLDEN: usize = 8;

/// The threshold and how it was found.
#[derive(Debug, Clone, Serialize)]
pub struct Calibration {
    /// What the adapter's record keeps of the readiness to refuse.
    pub bias: RefusalBias,
    /// What came of every bias that was tried.
    pub biases: Vec<BiasQuality>,
    /// What the adapter's record keeps.
    pub rule: UndecidedRule,
    /// The share of answers that it had to leave standing.
    pub least_coverage: f64,
    /// The curve of the rule's score over the validation questions.
    pub curve: Vec<CoveragePoint>,
    /// For every score, by itself and with the question's words: how well it tells right from wrong,
    /// and the coverage that it allows.
    pub scores: Vec<ScoreQuality>,
}

/// How good a score is.
#[derive(Debug, Clone, Serialize)]
pub struct ScoreQuality {
    /// The score.
    pub score: ConfidenceScore,
    /// The odds it was weighed with.
    pub evidence_odds: f32,
    /// Area under the ROC curve; none if no answer or every answer was wrong.
    pub auroc: Option<f64>,
    /// Coverage at its best threshold.
    pub coverage: f64,
    /// Share of wrong answers there.
    pub wrong: f64,
}

/// Chooses the refusal bias, then score and threshold, on questions made from the training data in
/// the grammar's held-out wordings, which neither training nor a test uses; several phrasings of
/// each. `None` if `stop` was raised.
///
/// # Errors
/// No question can be made, or the engine fails.
pub fn calibrate(
    served: &Served,
    dataset: &Dataset<'_>,
    seed: u64,
    settings: &Settings,
    stop: &AtomicBool,
) -> Result<Option<Calibration>> {
    let mut seen = HashSet::new();
    let mut phrased = |draws: RangeInclusive<u64>| -> Vec<Example> {
        draws
            // Other seeds than the one whose questions training may have been stopped by.
            .flat_map(|draw| dataset.validation(seed.wrapping_add(draw << 32)))
            .filter(|example| seen.insert(example.question.clone()))
            .collect()
    };
    let mut examples = phrased(1..=BIAS_DRAWS);
    ensure!(!examples.is_empty(), "the training data gives no validation question");
    let questions_sha256 = sha256_hex(to_jsonl(&examples)?.as_bytes());
    let Some((chosen, biases)) = choose_bias(served, &examples, &questions_sha256, settings, stop)?
    else {
        return Ok(None);
    };
    let Chosen { bias, mut replies, mut verdicts } = chosen;
    let more = phrased(BIAS_DRAWS + 1..=DRAWS);
    let Some((more_replies, more_verdicts)) = ask_with(served, &bias, &more, settings, stop)?
    else {
        return Ok(None);
    };
    examples.extend(more);
    replies.extend(more_replies);
    verdicts.extend(more_verdicts);
    let questions_sha256 = sha256_hex(to_jsonl(&examples)?.as_bytes());
    // Of those that a threshold decides on.
    let open = replies.iter().filter(|reply| reply.mark == AnswerVerdict::LeftOpen).count();
    let least_coverage = LEAST_COVERAGE * (1.0 - open as f64 / replies.len() as f64);
    let mut best: Option<(Vec<CoveragePoint>, UndecidedRule)> = None;
    let mut scores = Vec::new();
    let tried = [ConfidenceScore::MinProbability, ConfidenceScore::Product]
        .into_iter()
        .flat_map(|score| ODDS.map(|odds| (score, odds)));
    for (score, odds) in tried {
        let answers: Vec<Scored> =
            replies.iter().zip(&verdicts).map(|(r, v)| Scored::of(r, v, score, odds)).collect();
        let points = curve(&answers);
        let point = choose(&points, WRONG_AT_MOST, least_coverage)
            .context("no answer to choose a threshold by")?;
        let quality = ScoreQuality {
            score,
            evidence_odds: odds,
            auroc: auroc(&answers),
            coverage: point.coverage,
            wrong: point.wrong,
        };
        scores.push(quality);
        let rule = UndecidedRule {
            score,
            evidence_odds: odds,
            below: point.below,
            questions: examples.len() as u64,
            questions_sha256: questions_sha256.clone(),
            coverage: point.coverage,
            wrong: point.wrong,
            wrong_at_most: WRONG_AT_MOST,
        };
        let rank = |rule: &UndecidedRule| match rule.wrong <= WRONG_AT_MOST {
            true => (true, rule.coverage),
            false => (false, -rule.wrong),
        };
        if best.as_ref().is_none_or(|(_, old)| rank(&rule) > rank(old)) {
            best = Some((points, rule));
        }
    }
    Ok(best.map(|(curve, rule)| {
        let curve = thin(curve, CURVE_POINTS);
        Calibration { bias, biases, rule, least_coverage, curve, scores }
    }))
}

/// What an installation has to reproduce: the logits' digest, and the answers to some of the
/// training questions, spread over the file.
///
/// # Errors
/// The engine fails, or an answer does not end.
pub fn self_test(served: &Served, pairs: &[Pair]) -> Result<SelfTest> {
    let tokens = self_test_tokens(served.model.config());
    let digest = logits_digest(&served.model, &tokens, &mut SoloExchange)?;
    let mut session = served.session()?;
    let count = GOLDEN.min(pairs.len());
    let mut questions = Vec::new();
    for index in 0..count {
        let question = pairs[index * pairs.len() / count].question.clone();
        let answer = session
            .answer(&question, SamplerConfig::exact())
            .with_context(|| format!("cannot ask {question:?}"))?;
        ensure!(
            answer.stop == StopReason::EndToken,
            "the answer to {question:?} does not end: it says {:?}; train it longer",
            answer.text
        );
        questions.push(GoldenQuestion { question, answer: answer.text });
    }
    Ok(SelfTest { logits_digest: digest, questions })
}

/// The field of every training answer, by batch and answer.
pub fn field_names(dataset: &Dataset<'_>) -> FieldNames {
    let own = |name: String| name.trim_start_matches(OWN).replace('_', " ");
    dataset
        .fields()
        .map(|(batch, answer, field)| ((batch.to_owned(), answer.to_owned()), own(field)))
        .collect()
}
