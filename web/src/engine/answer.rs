//! One answer, token by token.

use std::sync::Arc;

use shared::{
    AnswerTrie, Assessment, AuditEvent, Decoding, Error, Guard, Inquiry, Progress, Safeguards,
    SamplerConfig, StopReason,
};

use super::{inbox::Inbox, load::Answering, ranks::answer_failed, scope};
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

/// Answers the question `asked` and posts everything about it. Between two tokens the worker gives
/// way, so that a Stop in `inbox` ends the answer there.
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
    let started = scope::now_ms();
    let approved = match how.decoding {
        Decoding::Free => Ok(None),
        Decoding::Approved => approved(&answering).map(Some),
    };
    let safeguards = match approved {
        Ok(approved) => Safeguards { approved, ..answering.safeguards },
        Err(reason) => {
            let error = SiteError::QuestionRefused { reason };
            scope::post(&ToPage::QuestionFailed { id, error });
            return;
        }
    };
    let passed = || (scope::now_ms() - started) / 1000.0;
    let sampler = how.sampler.clone();
    let mut inquiry = match Inquiry::new(answering.session, safeguards, asked, sampler) {
        Ok(inquiry) => inquiry,
        Err(error) => {
            scope::post(&ToPage::QuestionFailed { id, error: refused(error) });
            return;
        }
    };
    // Those of a first reading among them.
    let mut tokens = 0;
    let mut first_token_seconds = None;
    let outcome = loop {
        if inbox.take_stop(id) {
            inquiry.cancel();
        }
        match inquiry.step() {
            Ok(Progress::Token { text }) => {
                tokens += 1;
                first_token_seconds.get_or_insert_with(passed);
                show(id, text);
            }
            Ok(Progress::Question { done, total }) => {
                scope::post(&ToPage::Reading { id, done, total });
            }
            Ok(Progress::ReadAs(_)) => scope::post(&ToPage::AskedAgain { id }),
            Ok(Progress::End(outcome)) => break *outcome,
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
    };
    let seconds = passed();
    let confidence = outcome.confidence;
    let Assessment { verdict, unverified, .. } = outcome.assessment;
    let event = Box::new(AuditEvent {
        time: crate::now::utc_time(),
        question: asked.to_owned(),
        read_as: outcome.read_as.clone(),
        withdrawn: outcome.withdrawn,
        answer: outcome.answer,
        tokens: outcome.tokens,
        verdict,
        confidence,
        stop: outcome.stop,
        adapter: answering.identity.adapter,
        base_sha256: answering.identity.base_sha256,
        engine: answering.identity.engine,
        sampler: how.sampler,
        decoding: how.decoding,
    });
    let Some(stop) = outcome.stop else {
        let unknown = outcome.unknown;
        let guard = safeguards.guard;
        let suggestions = unknown.iter().flat_map(|word| suggestions(guard, word)).collect();
        scope::post(&ToPage::Guarded { id, unknown, suggestions, event });
        return;
    };
    show(id, outcome.held_back);
    let summary = Summary {
        tokens,
        seconds,
        first_token_seconds: first_token_seconds.unwrap_or(0.0),
        verdict,
        confidence,
        unverified,
        corrections: outcome.corrections,
        read_as: outcome.read_as,
        on_record: outcome.on_record,
        likeliest: outcome.likeliest,
        ending: ending(stop),
        memory_bytes: scope::memory_bytes() + answering.ranks.memory_bytes(),
    };
    scope::post(&ToPage::Answered { id, summary, event });
}

/// The only possible answers, or why there are none.
fn approved<'a>(answering: &Answering<'a>) -> Result<&'a Arc<AnswerTrie>, String> {
    let Some(approved) = answering.approved else {
        return Err("this adapter brings no approved answers: switch to any answer in the answer \
                    settings"
            .into());
    };
    approved.trie(answering.session.prompt()).map_err(|error| error.to_string())
}

fn show(id: QuestionId, text: String) {
    if !text.is_empty() {
        scope::post(&ToPage::Token { id, text });
    }
}

fn suggestions(guard: Option<&Guard>, word: &str) -> Vec<Suggestion> {
    let known = guard.map_or_else(Vec::new, |guard| guard.nearest(word));
    known.into_iter().map(|batch| Suggestion { instead_of: word.to_owned(), batch }).collect()
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
