//! One answer, token by token.

use shared::{Error, GuardVerdict, SamplerConfig, Step, StopReason};

use super::{inbox::Inbox, load::Answering, scope};
use crate::{
    error::SiteError,
    protocol::{Ending, QuestionId, Summary, ToPage},
};

/// Answers `question` and posts everything about it. Between two tokens the worker gives way, so
/// that a Stop in `inbox` ends the answer there.
pub async fn answer(
    answering: Option<Answering<'_>>,
    inbox: &Inbox,
    id: QuestionId,
    question: &str,
    sampler: SamplerConfig,
) {
    let Some(answering) = answering else {
        let error = SiteError::AnswerFailed { reason: "no adapter is loaded".into() };
        scope::post(&ToPage::QuestionFailed { id, error });
        return;
    };
    if let Some(guard) = answering.guard
        && let GuardVerdict::Unknown(unknown) = guard.check(question)
    {
        scope::post(&ToPage::Guarded { id, unknown });
        return;
    }
    let started = scope::now_ms();
    let session = answering.session;
    if let Err(error) = session.ask(question, sampler) {
        scope::post(&ToPage::QuestionFailed { id, error: refused(error) });
        return;
    }
    let mut summary = Summary {
        tokens: 0,
        seconds: 0.0,
        first_token_seconds: 0.0,
        min_probability: None,
        unverified: None,
        ending: Ending::Stopped,
        memory_bytes: 0,
    };
    let mut answer = String::new();
    while !inbox.take_stop(id) {
        match session.step() {
            Ok(Step::Token { text, .. }) => {
                if summary.tokens == 0 {
                    summary.first_token_seconds = (scope::now_ms() - started) / 1000.0;
                }
                summary.tokens += 1;
                answer.push_str(&text);
                scope::post(&ToPage::Token { id, text });
            }
            Ok(Step::End(reason)) => {
                summary.ending = ending(reason);
                break;
            }
            Err(error) => {
                let error = SiteError::AnswerFailed { reason: error.to_string() };
                scope::post(&ToPage::QuestionFailed { id, error });
                return;
            }
        }
        answering.yielder.give_way().await;
    }
    if summary.tokens > 0 || summary.ending == Ending::Complete {
        summary.min_probability = Some(session.scores().min_probability);
    }
    summary.seconds = (scope::now_ms() - started) / 1000.0;
    summary.unverified = answering.guard.map(|guard| guard.unverified(question, &answer));
    summary.memory_bytes = scope::memory_bytes();
    scope::post(&ToPage::Answered { id, summary });
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
