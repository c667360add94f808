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
    let mut streamed = Streamed { holds_back: answering.guard.is_some(), ..Streamed::default() };
    let mut read_as: Option<String> = None;
    let stop = loop {
        let question = read_as.as_deref().unwrap_or(question);
        if let Err(error) = session.ask_among(question, how.sampler.clone(), approved.clone()) {
            scope::post(&ToPage::QuestionFailed { id, error: refused(error) });
            return;
        }
        let stop = loop {
            if inbox.take_stop(id) {
                break StopReason::Cancelled;
            }
            match session.step() {
                Ok(Step::Token { text, .. }) => streamed.add(id, &text, started),
                Ok(Step::Question { done, total }) => {
                    scope::post(&ToPage::Reading { id, done, total });
                }
                Ok(Step::End(reason)) => break reason,
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
        let guard = answering.guard.filter(|_| read_as.is_none());
        match session.second_reading(guard, question) {
            Ok(Some(again)) => {
                read_as = Some(again);
                streamed.begin_anew();
            }
            Ok(None) => break stop,
            Err(error) => {
                scope::post(&ToPage::QuestionFailed { id, error: answer_failed(error) });
                return;
            }
        }
    };
    streamed.show(id);
    let Streamed { answer, tokens, first_token_seconds, .. } = streamed;
    let seconds = (scope::now_ms() - started) / 1000.0;
    let scores = session.scores();
    let assessment = Assessment::of(
        answering.guard,
        answering.rule,
        question,
        read_as.as_deref(),
        &answer,
        scores,
    );
    let score = answering.rule.map_or(ConfidenceScore::MinProbability, |rule| rule.score);
    let said = tokens > 0 || stop == StopReason::EndToken;
    let summary = Summary {
        tokens,
        seconds,
        first_token_seconds: first_token_seconds.unwrap_or(0.0),
        verdict: assessment.verdict,
        confidence: said.then(|| scores.get(score)),
        unverified: assessment.unverified,
        corrections: reading.map_or_else(Vec::new, |reading| reading.corrections),
        read_as: read_as.clone(),
        ending: ending(stop),
        memory_bytes: scope::memory_bytes() + answering.ranks.memory_bytes(),
    };
    let event = Box::new(AuditEvent {
        read_as,
        answer,
        tokens: session.tokens().to_vec(),
        verdict: summary.verdict,
        confidence: summary.confidence,
        stop: Some(stop),
        ..guarded(answering.identity, asked, how)
    });
    scope::post(&ToPage::Answered { id, summary, event });
}

/// An answer as far as it has come.
#[derive(Default)]
struct Streamed {
    answer: String,
    /// How much of it the page shows.
    shown: usize,
    /// Tokens so far, those of a first reading among them.
    tokens: u32,
    first_token_seconds: Option<f64>,
    /// Whether the question may have to be read once more: what may become the refusal is then not
    /// shown before its end.
    holds_back: bool,
}

impl Streamed {
    fn add(&mut self, id: QuestionId, text: &str, started: f64) {
        self.first_token_seconds.get_or_insert_with(|| (scope::now_ms() - started) / 1000.0);
        self.tokens += 1;
        self.answer.push_str(text);
        if !self.holds_back || !REFUSAL.starts_with(self.answer.trim()) {
            self.show(id);
        }
    }

    fn show(&mut self, id: QuestionId) {
        if self.shown < self.answer.len() {
            scope::post(&ToPage::Token { id, text: self.answer[self.shown..].to_owned() });
            self.shown = self.answer.len();
        }
    }

    /// The answer to the question as it is read once more comes next.
    fn begin_anew(&mut self) {
        self.answer.clear();
        self.shown = 0;
        self.holds_back = false;
    }
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
        read_as: None,
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
