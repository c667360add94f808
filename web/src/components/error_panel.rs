//! An error in words, with its next step.

use web_sys::HtmlElement;
use yew::prelude::*;

use crate::error::{Recovery, SiteError};

/// Properties of [`ErrorPanel`].
#[derive(Properties, PartialEq)]
pub struct ErrorPanelProps {
    /// What went wrong.
    pub error: SiteError,
    /// What the button does.
    pub recovery: Recovery,
    /// Does it.
    pub on_recover: Callback<Recovery>,
}

/// An error panel. It takes the focus to its button when it appears.
#[component]
pub fn ErrorPanel(props: &ErrorPanelProps) -> Html {
    let button = use_node_ref();
    use_effect_with(props.error.clone(), {
        let button = button.clone();
        move |_| {
            if let Some(button) = button.cast::<HtmlElement>() {
                // A button that cannot take the focus is still there to be clicked.
                let _ = button.focus();
            }
        }
    });
    let recovery = props.recovery;
    let label = match recovery {
        Recovery::RestartEngine => "Retry",
        Recovery::ReloadPage => "Reload",
        Recovery::Dismiss => "Close",
    };
    html! {
        <section class="panel error-panel" role="alert" data-testid="error-panel"
            data-error={props.error.code()}>
            <h2 data-testid="error-title">{ props.error.title() }</h2>
            <p class="facts-text" data-testid="error-detail">{ props.error.detail() }</p>
            <p class="next-step">{ props.error.next_step() }</p>
            <button type="button" class="primary" data-testid="error-action" ref={button}
                onclick={props.on_recover.reform(move |_: MouseEvent| recovery)}>
                { label }
            </button>
        </section>
    }
}
