//! The empty chat: what to ask, with the adapter's own examples.

use yew::prelude::*;

/// Properties of [`Examples`].
#[derive(Properties, PartialEq)]
pub struct ExamplesProps {
    /// Questions from the adapter's record.
    pub examples: Vec<String>,
    /// Asks one.
    pub on_ask: Callback<String>,
}

/// The invitation of an empty chat.
#[component]
pub fn Examples(props: &ExamplesProps) -> Html {
    html! {
        <section class="welcome" aria-label="Examples">
            <h2>{ "Ask about a batch" }</h2>
            <p>
                { "Name the batch and what you want to know. Each question is answered on its own; \
                   nothing leaves this device." }
            </p>
            if !props.examples.is_empty() {
                <ul class="examples">
                    { for props.examples.iter().map(|example| {
                        let question = example.clone();
                        let ask = props.on_ask.reform(move |_: MouseEvent| question.clone());
                        html! {
                            <li>
                                <button type="button" class="chip" data-testid="example" onclick={ask}>
                                    { example }
                                </button>
                            </li>
                        }
                    }) }
                </ul>
            }
        </section>
    }
}
