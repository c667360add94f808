//! The self-test: run it, read its result, keep or print the evidence.

use yew::prelude::*;

use crate::{
    self_test::{Check, Outcome, SelfTestReport},
    state::SelfTesting,
};

/// Properties of [`SelfTestPanel`].
#[derive(Properties, PartialEq)]
pub struct SelfTestPanelProps {
    /// Where it stands.
    pub self_test: SelfTesting,
    /// Whether it can run now.
    pub can_test: bool,
    /// Runs it.
    pub on_run: Callback<()>,
    /// Downloads the evidence.
    pub on_download: Callback<()>,
    /// Prints the evidence.
    pub on_print: Callback<()>,
}

/// The self-test with its result.
#[component]
pub fn SelfTestPanel(props: &SelfTestPanelProps) -> Html {
    let click = |callback: &Callback<()>| callback.reform(|_: MouseEvent| ());
    let running = props.self_test == SelfTesting::Running;
    let state = match &props.self_test {
        SelfTesting::NotRun => "not run".to_owned(),
        SelfTesting::Running => "running".to_owned(),
        SelfTesting::Ended(report) => report.outcome.words().to_lowercase(),
    };
    html! {
        <details class="panel self-test-panel" data-testid="self-test-panel">
            <summary>{ "Self-test: " }{ state }</summary>
            <p>
                { "Reads base and adapter again, computes a fixed prompt and asks the adapter's own \
                   test questions: all must come out as they did for the trainer." }
            </p>
            <button type="button" data-testid="self-test" disabled={!props.can_test}
                onclick={click(&props.on_run)}>
                { if running { "Running\u{2026}" } else { "Run self-test" } }
            </button>
            if let SelfTesting::Ended(report) = &props.self_test {
                { result(report) }
                <div class="buttons">
                    <button type="button" data-testid="self-test-download"
                        onclick={click(&props.on_download)}>{ "Download (JSON)" }</button>
                    <button type="button" data-testid="self-test-print"
                        onclick={click(&props.on_print)}>{ "Print" }</button>
                </div>
            }
        </details>
    }
}

fn result(report: &SelfTestReport) -> Html {
    let digest = std::slice::from_ref(&report.digest);
    html! {
        <div role="status" data-testid="self-test-result" data-outcome={report.outcome.code()}
            data-digest={report.digest.found.clone()}>
            <p class={classes!("verdict-line", report.outcome.code())}>{ report.words() }</p>
            <ul class="checks">
                { group("Files, by SHA-256", &report.files) }
                { group("Digest of the logits", digest) }
                { group("Golden questions", &report.golden) }
            </ul>
        </div>
    }
}

/// One line for several checks, with those that failed.
fn group(name: &str, checks: &[Check]) -> Html {
    let outcome = Outcome::of(checks.iter().map(|check| check.outcome));
    let passed = checks.iter().filter(|check| check.outcome == Outcome::Passed).count();
    html! {
        <li class={outcome.code()}>
            { format!("{name}: ") }
            <b>
                { match checks.len() {
                    0 => "none recorded".to_owned(),
                    1 => outcome.words().to_lowercase(),
                    all => format!("{passed} of {all} passed"),
                } }
            </b>
            { for checks.iter().filter(|check| check.outcome == Outcome::Failed).map(|check| html! {
                <p>
                    { &check.what }{ ": expected " }
                    <q>{ check.expected.as_deref().unwrap_or_default() }</q>
                    { ", found " }<q>{ &check.found }</q>
                </p>
            }) }
        </li>
    }
}
