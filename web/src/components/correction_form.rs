//! Where a reader says that an answer is wrong, and what is right.

use shared::{AuditAdapter, FeedbackRecord};
use web_sys::{HtmlInputElement, HtmlTextAreaElement};
use yew::prelude::*;

use crate::state::Exchange;

/// Properties of [`CorrectionForm`].
#[derive(Properties, PartialEq)]
pub struct CorrectionFormProps {
    /// The question with the adapter that answered.
    pub exchange: Exchange,
    /// The answer that is wrong.
    pub given: String,
    /// Name to start with.
    pub reviewer: String,
    /// Keeps the correction.
    pub on_save: Callback<FeedbackRecord>,
    /// Closes the form.
    pub on_close: Callback<()>,
}

/// The form for a correction.
#[component]
pub fn CorrectionForm(props: &CorrectionFormProps) -> Html {
    let (right, reviewer) = (use_node_ref(), use_node_ref());
    let no_record = use_state(|| false);
    let refused = use_state(|| None::<String>);
    use_effect_with((), {
        let right = right.clone();
        move |()| {
            if let Some(field) = right.cast::<HtmlTextAreaElement>() {
                // A field that cannot take the focus is still there to be clicked.
                let _ = field.focus();
            }
        }
    });
    let on_submit = {
        let (right, reviewer, refused) = (right.clone(), reviewer.clone(), refused.clone());
        let (exchange, given) = (props.exchange.clone(), props.given.clone());
        let (on_save, on_close) = (props.on_save.clone(), props.on_close.clone());
        let no_record = *no_record;
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let answer = right.cast::<HtmlTextAreaElement>().map(|field| field.value());
            let name = reviewer.cast::<HtmlInputElement>().map(|field| field.value());
            let record = FeedbackRecord {
                format_version: FeedbackRecord::FORMAT_VERSION,
                time: crate::now::utc_time(),
                reviewer: name.unwrap_or_default().trim().to_owned(),
                question: exchange.question.clone(),
                answer_given: given.clone(),
                right_answer: answer.filter(|_| !no_record).map(|text| text.trim().to_owned()),
                adapter: AuditAdapter {
                    version: exchange.adapter.clone(),
                    sha256: exchange.adapter_sha256.clone(),
                },
            };
            match record.validate() {
                Ok(()) => {
                    on_save.emit(record);
                    on_close.emit(());
                }
                Err(error) => refused.set(Some(error.to_string())),
            }
        })
    };
    let on_no_record = {
        let no_record = no_record.clone();
        Callback::from(move |event: Event| {
            no_record.set(event.target_unchecked_into::<HtmlInputElement>().checked());
        })
    };
    let id = |part: &str| format!("{part}-{}", props.exchange.id);
    html! {
        // It stands in a region whose changes are read out; typing is not to be.
        <form class="correction-form" data-testid="correction-form" aria-live="off"
            onsubmit={on_submit}>
            <label for={id("right")}>{ "Right answer, as the batch record has it" }</label>
            <textarea id={id("right")} ref={right} rows="2" data-testid="right-answer"
                maxlength="8000" required={!*no_record} disabled={*no_record} />
            <label class="check" for={id("none")}>
                <input id={id("none")} type="checkbox" data-testid="no-record"
                    checked={*no_record} onchange={on_no_record} />
                { "The records do not say" }
            </label>
            <label for={id("reviewer")}>{ "Your name" }</label>
            <input id={id("reviewer")} ref={reviewer} data-testid="reviewer" maxlength="200"
                autocomplete="name" required=true value={props.reviewer.clone()} />
            if let Some(reason) = &*refused {
                <p class="field-error" role="alert">{ reason }</p>
            }
            <div class="buttons">
                <button type="submit" class="primary" data-testid="save-correction">
                    { "Keep correction" }
                </button>
                <button type="button" onclick={props.on_close.reform(|_: MouseEvent| ())}>
                    { "Cancel" }
                </button>
            </div>
            <p class="hint">
                { "Kept in this browser until you export it for the next training." }
            </p>
        </form>
    }
}
