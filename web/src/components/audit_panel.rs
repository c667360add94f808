//! The audit log: whether it is kept, where it ends, and the way out of the browser.

use yew::prelude::*;

use super::Confirm;
use crate::{
    app::journal::Command,
    state::{Journal, Log},
};

/// Properties of [`AuditPanel`].
#[derive(Properties, PartialEq)]
pub struct AuditPanelProps {
    /// The journal.
    pub journal: Journal,
    /// Has it do something.
    pub on_command: Callback<Command>,
}

fn state(journal: &Journal) -> String {
    let entries = match journal.head.sequence {
        1 => "1 entry".into(),
        count => format!("{count} entries"),
    };
    match &journal.log {
        Log::Opening => "opening".into(),
        Log::On => entries,
        Log::Off => format!("off, {entries}"),
        Log::Unavailable(_) => "not kept".into(),
    }
}

/// The audit log.
#[component]
pub fn AuditPanel(props: &AuditPanelProps) -> Html {
    let journal = &props.journal;
    let command = |command: Command| {
        let on_command = props.on_command.clone();
        Callback::from(move |_: MouseEvent| on_command.emit(command.clone()))
    };
    let on = journal.log != Log::Off;
    let empty = journal.head.sequence == 0 && !matches!(journal.log, Log::Unavailable(_));
    html! {
        <details class="panel audit-panel" data-testid="audit" data-log={journal.log.code()}
            data-entries={journal.head.sequence.to_string()}>
            <summary>{ "Audit log: " }{ state(journal) }</summary>
            <p>
                { "Every question is kept in this browser with its answer, mark, adapter, engine, \
                   settings and time. Each entry is bound to the one before, so a change shows." }
            </p>
            if let Log::Unavailable(error) = &journal.log {
                <p class="field-error" data-testid="log-unavailable">
                    { error.detail() }{ " " }{ error.next_step() }
                </p>
            }
            if journal.lost > 0 {
                <p class="field-error" data-testid="log-lost">
                    { format!("Answers of this visit that are not in the log: {}.", journal.lost) }
                </p>
            }
            if journal.head.sequence > 0 {
                <dl class="facts-list">
                    <div>
                        <dt>{ "Hash of the last entry" }</dt>
                        <dd><code data-testid="log-head">{ &journal.head.hash }</code></dd>
                    </div>
                </dl>
            }
            { checked(journal) }
            <div class="buttons">
                <button type="button" data-testid="export-log" disabled={empty}
                    onclick={command(Command::ExportLog)}>{ "Export (JSONL)" }</button>
                <button type="button" data-testid="export-table" disabled={empty}
                    onclick={command(Command::ExportTable)}>{ "Export (CSV)" }</button>
                <button type="button" data-testid="check-log" disabled={empty}
                    onclick={command(Command::Check)}>{ "Check" }</button>
                <button type="button" data-testid="switch-log" aria-pressed={on.to_string()}
                    onclick={command(Command::Switch(!on))}>
                    { if on { "Turn off" } else { "Turn on" } }
                </button>
                <Confirm id="clear-log" label="Clear" enabled={!empty}
                    question="Delete every entry for good? Export the log first if it must be kept."
                    on_confirm={props.on_command.reform(|()| Command::ClearLog)} />
            </div>
            <p class="hint" data-testid="log-limits">
                { "Tamper-evident, not tamper-proof: whoever controls this browser can delete the \
                   log or write another. Export it regularly, and note the hash of the last entry \
                   elsewhere: it proves later that nothing before it was changed. Questions asked \
                   while the log is off, and questions that failed, are not in it." }
            </p>
        </details>
    }
}

fn checked(journal: &Journal) -> Html {
    match &journal.checked {
        None => Html::default(),
        Some(Ok(head)) => html! {
            <p class="good" role="status" data-testid="log-checked" data-intact="true">
                { format!("Intact: entries 1 to {} belong together.", head.sequence) }
            </p>
        },
        Some(Err(reason)) => html! {
            <p class="field-error" role="alert" data-testid="log-checked" data-intact="false">
                { "Broken: " }{ reason }
            </p>
        },
    }
}
