//! The empty chat: what to ask, as questions that lack only their batch.

use yew::prelude::*;

/// Beginnings that fit any plant's records; the reader adds the batch.
const STARTERS: [&str; 5] = [
    "What is the product code for batch ",
    "What is the expiry date of batch ",
    "Who approved batch ",
    "What was the yield of batch ",
    "Which deviations were reported for batch ",
];

/// Properties of [`Starters`].
#[derive(Properties, PartialEq)]
pub struct StartersProps {
    /// Takes the beginning of a question.
    pub on_choose: Callback<String>,
}

/// The invitation of an empty chat.
#[component]
pub fn Starters(props: &StartersProps) -> Html {
    html! {
        <section class="welcome" aria-label="How to ask">
            <h2>{ "Ask about a batch" }</h2>
            <p>
                { "Name the batch and what you want to know. Each question is answered on its own; \
                   nothing leaves this device." }
            </p>
            <ul class="starters">
                { for STARTERS.iter().map(|starter| html! {
                    <li>
                        <button type="button" class="chip" data-testid="starter"
                            onclick={props.on_choose.reform(|_: MouseEvent| (*starter).to_owned())}>
                            { starter.trim_end() }{ "\u{2026}" }
                        </button>
                    </li>
                }) }
            </ul>
        </section>
    }
}
