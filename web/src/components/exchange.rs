//! One question, its answer, and the facts under it.

use yew::prelude::*;

use crate::{
    confidence::Confidence,
    format,
    protocol::{Origin, Summary},
    state::{Exchange, Outcome, ending_words},
};

/// Properties of [`ExchangeView`].
#[derive(Properties, PartialEq)]
pub struct ExchangeViewProps {
    /// The question and what became of it.
    pub exchange: Exchange,
}

/// One question with its answer.
#[component]
pub fn ExchangeView(props: &ExchangeViewProps) -> Html {
    let exchange = &props.exchange;
    let (outcome, text) = match &exchange.outcome {
        Outcome::Streaming(answer) => ("streaming", answer.text.as_str()),
        Outcome::Answered { text, .. } => ("answered", text.as_str()),
        Outcome::NotAsked { .. } => ("not-asked", shared::REFUSAL),
        Outcome::Failed { text, .. } => ("failed", text.as_str()),
    };
    let streaming = outcome == "streaming";
    html! {
        <article class="exchange" data-testid="exchange" data-outcome={outcome}>
            <p class="asked" data-testid="asked">
                <span class="visually-hidden">{ "You asked: " }</span>
                { &exchange.question }
            </p>
            <div class="answered" aria-live="polite" aria-busy={streaming.to_string()}>
                <span class="visually-hidden">{ "Answer: " }</span>
                <p class={classes!("answer", streaming.then_some("streaming"))} data-testid="answer">
                    { text.trim_start() }
                    if outcome == "answered" && text.trim().is_empty() {
                        <span class="no-words">{ "The model gave no words." }</span>
                    }
                </p>
                { below(exchange) }
            </div>
        </article>
    }
}

fn below(exchange: &Exchange) -> Html {
    match &exchange.outcome {
        Outcome::Streaming(_) => Html::default(),
        Outcome::Answered { text, summary } => html! {
            <ul class="facts">
                { confidence(summary, exchange.undecided_below) }
                // A refusal states no value, so there is nothing to verify in it.
                if text.trim() != shared::REFUSAL {
                    { verification(summary) }
                }
                { adapter(exchange) }
                { speed(summary) }
                if let Some(words) = ending_words(summary) {
                    <li class="ending">{ words }</li>
                }
            </ul>
        },
        Outcome::NotAsked { unknown } => html! {
            <ul class="facts">
                <li class="guard-note" data-testid="guard-note">
                    { "Not asked to the model: unknown identifier " }
                    <b>{ unknown.join(", ") }</b>
                </li>
                { adapter(exchange) }
            </ul>
        },
        Outcome::Failed { error, .. } => html! {
            <div class="failure" data-testid="failure" data-error={error.code()}>
                <p><b>{ error.title() }</b>{ ": " }{ error.detail() }</p>
                <p class="next-step">{ error.next_step() }</p>
            </div>
        },
    }
}

fn confidence(summary: &Summary, undecided_below: Option<f32>) -> Html {
    let Some(probability) = summary.min_probability else { return Html::default() };
    let grade = Confidence::grade(probability, undecided_below);
    html! {
        <li class={classes!("confidence", grade.code())} data-testid="answer-confidence"
            data-confidence={grade.code()} data-min-probability={probability.to_string()}
            title="Probability of the least sure token of the answer">
            { format!("{} ({})", grade.words(), format::percent(probability)) }
        </li>
    }
}

fn verification(summary: &Summary) -> Html {
    match summary.unverified.as_deref() {
        None => Html::default(),
        Some([]) => html! {
            <li class="verified" data-testid="answer-verified">{ "No unverified values" }</li>
        },
        Some(values) => html! {
            <li class="unverified" data-testid="answer-unverified">
                { "Not in the records of this batch: " }<b>{ values.join(", ") }</b>
            </li>
        },
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
