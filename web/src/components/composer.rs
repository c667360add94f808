//! Where questions are written. Enter sends, Shift+Enter breaks the line, Escape stops.

use web_sys::HtmlTextAreaElement;
use yew::prelude::*;

use crate::{
    app::window,
    state::{MAX_QUESTION_CHARS, State},
};

/// Properties of [`Composer`].
#[derive(Properties, PartialEq)]
pub struct ComposerProps {
    /// The question field.
    pub field: NodeRef,
    /// Whether a question can be sent now.
    pub can_ask: bool,
    /// Whether an answer is running.
    pub answering: bool,
    /// Sends a question.
    pub on_ask: Callback<String>,
    /// Stops the answer.
    pub on_stop: Callback<()>,
}

/// The question field with its button.
#[component]
pub fn Composer(props: &ComposerProps) -> Html {
    let field = props.field.clone();
    // A keyboard user finds the focus here whenever nothing else has it.
    use_effect_with(props.can_ask, {
        let field = field.clone();
        move |can_ask| {
            if let (true, Some(field)) = (*can_ask, field.cast::<HtmlTextAreaElement>())
                && window::focus_is_free()
            {
                // A field that cannot take the focus is still there to be clicked.
                let _ = field.focus();
            }
        }
    });
    let send = {
        let (field, can_ask, on_ask) = (field.clone(), props.can_ask, props.on_ask.clone());
        Callback::from(move |()| {
            let Some(field) = field.cast::<HtmlTextAreaElement>() else { return };
            if let (true, Some(question)) = (can_ask, State::accept_question(&field.value())) {
                field.set_value("");
                on_ask.emit(question);
            }
        })
    };
    let on_submit = {
        let send = send.clone();
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            send.emit(());
        })
    };
    let on_key = Callback::from(move |event: KeyboardEvent| {
        // Enter that ends a composition (Japanese, Chinese, ...) is not a command.
        if event.key() == "Enter" && !event.shift_key() && !event.is_composing() {
            event.prevent_default();
            send.emit(());
        }
    });
    html! {
        <form class="composer" onsubmit={on_submit}>
            <label class="visually-hidden" for="question">{ "Question" }</label>
            <textarea id="question" data-testid="question" ref={field} rows="1"
                maxlength={MAX_QUESTION_CHARS.to_string()} autocomplete="off" spellcheck="false"
                placeholder="Ask about a batch" onkeydown={on_key} />
            if props.answering {
                <button type="button" class="stop" data-testid="stop"
                    onclick={props.on_stop.reform(|_: MouseEvent| ())}>
                    { "Stop" }
                </button>
            } else {
                <button type="submit" class="primary" data-testid="send" disabled={!props.can_ask}>
                    { "Send" }
                </button>
            }
        </form>
    }
}
