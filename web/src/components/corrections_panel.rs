//! What readers said about answers, until it is exported for the next training.

use yew::prelude::*;

use super::Confirm;
use crate::{app::journal::Command, format, state::Correction};

/// Properties of [`CorrectionsPanel`].
#[derive(Properties, PartialEq)]
pub struct CorrectionsPanelProps {
    /// Corrections, oldest first.
    pub corrections: Vec<Correction>,
    /// Has the journal do something.
    pub on_command: Callback<Command>,
}

/// The corrections of this browser.
#[component]
pub fn CorrectionsPanel(props: &CorrectionsPanelProps) -> Html {
    let count = props.corrections.len();
    let export = props.on_command.reform(|_: MouseEvent| Command::ExportCorrections);
    html! {
        <details class="panel corrections-panel" data-testid="corrections"
            data-count={count.to_string()}>
            <summary>{ format!("Corrections: {count}") }</summary>
            <p>
                { "Choose \u{201c}Wrong answer?\u{201d} under an answer to say what is right. \
                   Exported corrections are read by the next training." }
            </p>
            <ul class="corrections">
                { for props.corrections.iter().rev().map(|correction| entry(props, correction)) }
            </ul>
            <div class="buttons">
                <button type="button" data-testid="export-corrections" disabled={count == 0}
                    onclick={export}>{ "Export (JSONL)" }</button>
                <Confirm id="clear-corrections" label="Clear" enabled={count > 0}
                    question="Delete all corrections for good? Export them first if they are needed."
                    on_confirm={props.on_command.reform(|()| Command::ClearCorrections)} />
            </div>
        </details>
    }
}

fn entry(props: &CorrectionsPanelProps, Correction { key, record }: &Correction) -> Html {
    let key = *key;
    let delete = props.on_command.reform(move |_: MouseEvent| Command::DeleteCorrection(key));
    html! {
        <li {key} data-testid="correction">
            <p class="hint">{ format!("{}, {}", record.reviewer, format::time(&record.time)) }</p>
            <p>{ &record.question }</p>
            <p><del>{ record.answer_given.trim() }</del></p>
            <p><ins>
                { record.right_answer.as_deref().unwrap_or("The records do not say.") }
            </ins></p>
            <button type="button" class="link" data-testid="delete-correction"
                aria-label={format!("Delete the correction of: {}", record.question)}
                onclick={delete}>
                { "Delete" }
            </button>
        </li>
    }
}
