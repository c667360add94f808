//! One answer, token by token.

use shared::{
    AnswerVerdict, Assessment, AuditEvent, ConfidenceScore, Decoding, Error, Guard, GuardVerdict,
    REFUSAL, SamplerConfig, Step, StopReason,
};

use super::{
    inbox::Inbox,
    load::{Answering, Identity},
    ranks::answer_failed,
    scope,
};
use crate::{
    error::SiteError,
    protocol::{Ending, QuestionId, Suggestion, Summary, ToPage},
};

/// How a question is to be answered.
pub struct How {
    /// How tokens are chosen.
    pub sampler: SamplerConfig,
    /// What answers are possible.
    pub decoding: Decoding,
}

/// Answers the question `asked` and posts everything about it. Between two tokens the worker gives way, so
/// that a Stop in `inbox` ends the answer there.
pub async fn answer(
    answering: Option<Answering<'_>>,
    inbox: &Inbox,
    id: QuestionId,
    asked: &str,
    how: How,
) {
    let Some(answering) = answering else {
        let error = SiteError::AnswerFailed { reason: "no adapter is loaded".into() };
        scope::post(&ToPage::QuestionFailed { id, error });
        return;
    };
    let reading = answering.guard.map(|guard| guard.read(asked));
    let question = reading.as_ref().map_or(asked, |reading| &reading.question);
    if let Some(guard) = answering.guard
        && let GuardVerdict::Unknown(unknown) = guard.check(question)
    {
        let event = Box::new(guarded(answering.identity, asked, how));
        let suggestions = unknown.iter().flat_map(|word| suggestions(guard, word)).collect();
        scope::post(&ToPage::Guarded { id, unknown, suggestions, event });
        return;
    }
    let started = scope::now_ms();
    let session = answering.session;
    let approved = match how.decoding {
        Decoding::Free => None,
        Decoding::Approved if answering.approved.is_none() => {
            let reason = "this adapter brings no approved answers: switch to any answer in the \
                          answer settings"
                .into();
            scope::post(&ToPage::QuestionFailed {
                id,
                error: SiteError::QuestionRefused { reason },
            });
            return;
        }
        Decoding::Approved => answering.approved,
    };
    if let Err(error) = session.ask_among(question, how.sampler.clone(), approved) {
        scope::post(&ToPage::QuestionFailed { id, error: refused(error) });
        return;
    }
    let mut stop = StopReason::Cancelled;
    let (mut answer, mut tokens, mut first_token_seconds) = (String::new(), 0, 0.0);
    while !inbox.take_stop(id) {
        match session.step() {
            Ok(Step::Token { text, .. }) => {
                if tokens == 0 {
                    first_token_seconds = (scope::now_ms() - started) / 1000.0;
                }
                tokens += 1;
                answer.push_str(&text);
                scope::post(&ToPage::Token { id, text });
            }
            Ok(Step::Question { done, total }) => {
                scope::post(&ToPage::Reading { id, done, total });
            }
            Ok(Step::End(reason)) => {
                stop = reason;
                break;
            }
            // Without all its ranks the engine cannot go on.
            Err(error @ Error::Exchange { .. }) => {
                let error = answering.ranks.failure(error, answer_failed).await;
                scope::post(&ToPage::Failed(error));
                return;
            }
            Err(error) => {
                scope::post(&ToPage::QuestionFailed { id, error: answer_failed(error) });
                return;
            }
        }
        answering.yielder.give_way().await;
    }
    let seconds = (scope::now_ms() - started) / 1000.0;
    let scores = session.scores();
    let assessment = Assessment::of(answering.guard, answering.rule, question, &answer, scores);
    let score = answering.rule.map_or(ConfidenceScore::MinProbability, |rule| rule.score);
    let said = tokens > 0 || stop == StopReason::EndToken;
    let summary = Summary {
        tokens,
        seconds,
        first_token_seconds,
        verdict: assessment.verdict,
        confidence: said.then(|| scores.get(score)),
        unverified: assessment.unverified,
        corrections: reading.map_or_else(Vec::new, |reading| reading.corrections),
        ending: ending(stop),
        memory_bytes: scope::memory_bytes() + answering.ranks.memory_bytes(),
    };
    let event = Box::new(AuditEvent {
        answer,
        tokens: session.tokens().to_vec(),
        verdict: summary.verdict,
        confidence: summary.confidence,
        stop: Some(stop),
        ..guarded(answering.identity, asked, how)
    });
    scope::post(&ToPage::Answered { id, summary, event });
}

fn suggestions(guard: &Guard, word: &str) -> impl Iterator<Item = Suggestion> {
    let known = guard.nearest(word).into_iter();
    known.map(|batch| Suggestion { instead_of: word.to_owned(), batch })
}

/// The event of a question that was not asked to the model.
fn guarded(identity: Identity, question: &str, how: How) -> AuditEvent {
    AuditEvent {
        time: crate::now::utc_time(),
        question: question.to_owned(),
        answer: REFUSAL.to_owned(),
        tokens: Vec::new(),
        verdict: AnswerVerdict::UnknownBatch,
        confidence: None,
        stop: None,
        adapter: identity.adapter,
        base_sha256: identity.base_sha256,
        engine: identity.engine,
        sampler: how.sampler,
        decoding: how.decoding,
    }
}

fn ending(reason: StopReason) -> Ending {
    match reason {
        StopReason::EndToken => Ending::Complete,
        StopReason::MaxTokens => Ending::TokenLimit,
        StopReason::Context => Ending::ContextFull,
        StopReason::Cancelled => Ending::Stopped,
    }
}

fn refused(error: Error) -> SiteError {
    match error {
        Error::Context { needed, limit } => SiteError::QuestionTooLong { tokens: needed, limit },
        _ => SiteError::QuestionRefused { reason: error.to_string() },
    }
}
