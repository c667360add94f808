//! Asking many questions on all cores.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result};
use shared::{
    AnswerVerdict, FieldEvidence, Inquiry, Outcome, Safeguards, SamplerConfig, Scores, Session,
};

use crate::adapter_dir::Served;

/// How questions are asked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Sampler of every answer; each starts anew from its seed.
    pub sampler: SamplerConfig,
    /// Whether the guard stands in front of the model.
    pub guard: bool,
    /// Whether only approved answers are given; the adapter must bring them.
    pub approved: bool,
    /// Threads; they change nothing but the time.
    pub threads: usize,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The answer.
    pub text: String,
    /// The unknown identifiers for which the guard refused.
    pub guarded: Vec<String>,
    /// How sure the model was; all 1 if the guard refused.
    pub scores: Scores,
    /// How the page would mark it.
    pub mark: AnswerVerdict,
    /// Tokens that the model generated.
    pub tokens: usize,
    /// Values of the answer that no record states for the batch, as the page would mark them.
    pub unverified: Vec<String>,
    /// What the question's words say to the answer.
    pub evidence: FieldEvidence,
}

/// Asks every question; the replies are in the questions' order. `done` is called after each.
/// `None` if `stop` was raised before the last.
///
/// # Errors
/// The first question that the model cannot be asked, or that fails.
pub fn ask_all(
    served: &Served,
    questions: &[&str],
    settings: &Settings,
    stop: &AtomicBool,
    done: impl Fn() + Sync,
) -> Result<Option<Vec<Reply>>> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let work = || -> Result<Vec<(usize, Reply)>> {
        let mut session = served.session()?;
        let mut replies = Vec::new();
        while !stop.load(Ordering::Relaxed) && !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(question) = questions.get(index) else {
                break;
            };
            let reply = ask(served, &mut session, question, settings)
                .with_context(|| format!("cannot ask {question:?}"))?;
            replies.push((index, reply));
            done();
        }
        Ok(replies)
    };
    let threads = settings.threads.clamp(1, questions.len().max(1));
    let results: Vec<Result<Vec<(usize, Reply)>>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let result = work();
                    // The others need not go on when the whole is lost.
                    failed.fetch_or(result.is_err(), Ordering::Relaxed);
                    result
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    });
    let mut replies = Vec::with_capacity(questions.len());
    for result in results {
        replies.extend(result?);
    }
    if replies.len() < questions.len() {
        return Ok(None);
    }
    replies.sort_unstable_by_key(|(index, _)| *index);
    Ok(Some(replies.into_iter().map(|(_, reply)| reply).collect()))
}

fn ask(
    served: &Served,
    session: &mut Session,
    question: &str,
    settings: &Settings,
) -> Result<Reply> {
    let safeguards = Safeguards {
        guard: served.guard.as_ref().filter(|_| settings.guard),
        ..served.safeguards(settings.approved)
    };
    let inquiry = Inquiry::new(session, safeguards, question, settings.sampler.clone())?;
    let Outcome { answer, unknown, scores, tokens, assessment, .. } = inquiry.finish()?;
    Ok(Reply {
        text: answer,
        guarded: unknown,
        scores,
        mark: assessment.verdict,
        tokens: tokens.len(),
        unverified: assessment.unverified,
        evidence: assessment.evidence,
    })
}
