//! One question, its answer, its mark, and the facts under it.

use shared::AnswerVerdict;
use yew::prelude::*;

use super::{correction_form::CorrectionForm, mark::Mark};
use crate::{
    app::journal::Command,
    format,
    protocol::{Origin, Suggestion, Summary},
    state::{Exchange, Outcome, ending_words},
};

/// Properties of [`ExchangeView`].
#[derive(Properties, PartialEq)]
pub struct ExchangeViewProps {
    /// The question and what became of it.
    pub exchange: Exchange,
    /// Whether a correction of this answer is kept.
    pub corrected: bool,
    /// Name of the latest reviewer.
    pub reviewer: String,
    /// Whether a question can be sent now.
    pub can_ask: bool,
    /// Sends a question.
    pub on_ask: Callback<String>,
    /// Has the journal do something.
    pub on_journal: Callback<Command>,
}

/// One question with its answer.
#[component]
pub fn ExchangeView(props: &ExchangeViewProps) -> Html {
    let correcting = use_state(|| false);
    let exchange = &props.exchange;
    let (outcome, text) = match &exchange.outcome {
        Outcome::Streaming(answer) => ("streaming", answer.text.as_str()),
        Outcome::Answered { text, .. } => ("answered", text.as_str()),
        Outcome::NotAsked { .. } => ("not-asked", shared::REFUSAL),
        Outcome::Failed { text, .. } => ("failed", text.as_str()),
    };
    let streaming = outcome == "streaming";
    let toggle = {
        let correcting = correcting.clone();
        Callback::from(move |()| correcting.set(!*correcting))
    };
    html! {
        <article class="exchange" data-testid="exchange" data-outcome={outcome}>
            <p class="asked" data-testid="asked">
                <span class="visually-hidden">{ "You asked: " }</span>
                { &exchange.question }
            </p>
            <div class="answered" aria-live="polite" aria-busy={streaming.to_string()}>
                <span class="visually-hidden">{ "Answer: " }</span>
                <p class={classes!("answer", streaming.then_some("streaming"))} data-testid="answer">
                    { exchange.outcome.instead().unwrap_or(text.trim_start()) }
                    if outcome == "answered" && text.trim().is_empty() {
                        <span class="no-words">{ "The model gave no words." }</span>
                    }
                </p>
                if exchange.outcome.instead().is_some() {
                    <details class="withheld" data-testid="withheld">
                        <summary>{ "Show what the model wrote" }</summary>
                        <p>{ text.trim_start() }</p>
                    </details>
                }
                { below(props, correction(props, *correcting, &toggle)) }
                if let (true, Some(given)) = (*correcting, exchange.outcome.given()) {
                    <CorrectionForm exchange={exchange.clone()} given={given.to_owned()}
                        reviewer={props.reviewer.clone()} on_close={toggle}
                        on_save={props.on_journal.reform(Command::Correct)} />
                }
            </div>
        </article>
    }
}

fn below(props: &ExchangeViewProps, correction: Html) -> Html {
    let exchange = &props.exchange;
    match &exchange.outcome {
        Outcome::Streaming(answer) => match answer.reading {
            Some((done, total)) => html! {
                <p class="reading" data-testid="reading">
                    { format!("Reading the question: {done} of {total} tokens") }
                </p>
            },
            None => Html::default(),
        },
        Outcome::Answered { summary, .. } => html! {
            <>
                { for summary.corrections.iter().map(|correction| html! {
                    <p class="read-as" data-testid="read-as">
                        { "Read “" }{ &correction.written }{ "” as “" }{ &correction.read }{ "”." }
                    </p>
                }) }
                if let Some(question) = &summary.read_as {
                    <p class="read-as" data-testid="asked-again">
                        { "No answer at first, then read as “" }{ question }{ "”" }
                    </p>
                }
                <Mark verdict={summary.verdict} />
                if !summary.unverified.is_empty() && !summary.verdict.stands() {
                    <p class="unverified" data-testid="answer-unverified">
                        { "Not on record for this batch: " }<b>{ summary.unverified.join(", ") }</b>
                    </p>
                }
                { on_record(props, summary) }
                <ul class="facts">
                    { confidence(summary) }
                    { adapter(exchange) }
                    { speed(summary) }
                    if let Some(words) = ending_words(summary) {
                        <li class="ending">{ words }</li>
                    }
                    { correction }
                </ul>
            </>
        },
        Outcome::NotAsked { unknown, suggestions } => html! {
            <>
                <Mark verdict={AnswerVerdict::UnknownBatch} />
                <p class="guard-note" data-testid="guard-note">
                    if unknown.is_empty() {
                        { "The question names no batch or product." }
                    } else {
                        { "No record has " }<b>{ unknown.join(", ") }</b>{ "." }
                    }
                </p>
                { did_you_mean(props, suggestions) }
                <ul class="facts">{ adapter(exchange) }{ correction }</ul>
            </>
        },
        Outcome::Failed { error, .. } => html! {
            <div class="failure" data-testid="failure" data-error={error.code()}>
                <p><b>{ error.title() }</b>{ ": " }{ error.detail() }</p>
                <p class="next-step">{ error.next_step() }</p>
            </div>
        },
    }
}

/// Buttons that ask the question again about a batch that there is.
fn did_you_mean(props: &ExchangeViewProps, suggestions: &[Suggestion]) -> Html {
    let reworded: Vec<(&str, String)> = suggestions
        .iter()
        .filter_map(|suggestion| {
            Some((suggestion.batch.as_str(), props.exchange.reworded(suggestion)?))
        })
        .collect();
    if reworded.is_empty() {
        return Html::default();
    }
    html! {
        <p class="did-you-mean">
            { "Did you mean" }
            { for reworded.into_iter().map(|(batch, question)| {
                let label = format!("Ask again: {question}");
                let ask = props.on_ask.reform(move |_: MouseEvent| question.clone());
                html! {
                    <button type="button" class="chip" data-testid="suggestion" onclick={ask}
                        disabled={!props.can_ask} aria-label={label}>{ batch }{ "?" }</button>
                }
            }) }
        </p>
    }
}

/// Buttons that ask what the records do answer about a batch. Where no answer stands, the one that is
/// most likely meant comes before the others and is not folded away.
fn on_record(props: &ExchangeViewProps, summary: &Summary) -> Html {
    if summary.on_record.is_empty() {
        return Html::default();
    }
    let button = |question: &String| {
        let asked = question.clone();
        let ask = props.on_ask.reform(move |_: MouseEvent| asked.clone());
        html! {
            <button type="button" class="link" onclick={ask} disabled={!props.can_ask}>
                { question }
            </button>
        }
    };
    let likeliest = summary.likeliest.as_ref().filter(|_| !summary.verdict.stands());
    let others = || summary.on_record.iter().filter(|question| Some(*question) != likeliest);
    html! {
        <div class="on-record" data-testid="on-record">
            if let Some(question) = likeliest {
                <p data-testid="likeliest">{ "Did you mean: " }{ button(question) }</p>
            }
            if others().next().is_some() {
                <details>
                    <summary>
                        { "On record in other words? The records of this batch answer:" }
                    </summary>
                    <ul>{ for others().map(|question| html! { <li>{ button(question) }</li> }) }</ul>
                </details>
            }
        </div>
    }
}

fn correction(props: &ExchangeViewProps, open: bool, toggle: &Callback<()>) -> Html {
    html! {
        <li class="correction">
            if props.corrected {
                <span data-testid="corrected">{ "Correction kept" }</span>
            } else {
                <button type="button" class="link" data-testid="correct"
                    aria-expanded={open.to_string()}
                    onclick={toggle.reform(|_: MouseEvent| ())}>
                    { "Wrong answer?" }
                </button>
            }
        </li>
    }
}

fn confidence(summary: &Summary) -> Html {
    let Some(score) = summary.confidence else { return Html::default() };
    html! {
        <li data-testid="answer-confidence" data-confidence={score.to_string()}>
            { format!("Confidence {}", format::percent(score)) }
        </li>
    }
}

fn adapter(exchange: &Exchange) -> Html {
    html! {
        <li data-testid="answer-adapter">
            { "Adapter " }{ &exchange.adapter }
            if exchange.origin == Origin::Local {
                <span class="tag">{ "local" }</span>
            }
        </li>
    }
}

fn speed(summary: &Summary) -> Html {
    let time = format::seconds(summary.seconds);
    let speed = summary.tokens_per_second();
    html! {
        <li data-testid="answer-speed" data-seconds={summary.seconds.to_string()}
            data-tokens={summary.tokens.to_string()}>
            { format!("{} tokens in {time}, {speed:.0} tokens/s", summary.tokens) }
        </li>
    }
}
