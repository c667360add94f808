//! What the site is for, and what it is not for: always in view.

use yew::prelude::*;

/// The intended use statement.
#[component]
pub fn IntendedUse() -> Html {
    html! {
        <p class="intended-use" role="note" data-testid="intended-use">
            <strong>{ "Intended use. " }</strong>
            { shared::INTENDED_USE }
        </p>
    }
}
