//! The self-test on paper: what is printed in place of the page once there is a report.

use yew::prelude::*;

use crate::{
    format,
    self_test::{Check, SelfTestReport},
};

/// Properties of [`Evidence`].
#[derive(Properties, PartialEq)]
pub struct EvidenceProps {
    /// The report.
    pub report: SelfTestReport,
}

/// The printed report.
#[component]
pub fn Evidence(props: &EvidenceProps) -> Html {
    let report = &props.report;
    let (base, adapter) = (&report.base, &report.adapter);
    html! {
        <section class="evidence" data-testid="evidence" aria-hidden="true">
            <h1>{ "Lotwise: self-test of an installation" }</h1>
            <p><b>{ report.words() }</b></p>
            <table>
                { fact("Ended", format::time(&report.time)) }
                { fact("Site", report.site.clone()) }
                { fact("Browser", report.browser.clone()) }
                { fact("Engine", format!("Lotwise {}, {} kernels, {}, build {}", report.engine.version,
                    report.kernels, format::cores(report.engine.ranks.unwrap_or(1)), report.build)) }
                { fact("Engine, SHA-256", report.engine.sha256.clone()) }
                { fact("Base model", format!("{} {}", base.name, base.version)) }
                { fact("Base model, SHA-256", base.sha256.clone()) }
                { fact("Adapter", adapter.version.clone()) }
                { fact("Adapter, SHA-256", adapter.sha256.clone()) }
            </table>
            { checks("Files, read again", &report.files) }
            { checks("Digest of the logits over a fixed prompt", std::slice::from_ref(&report.digest)) }
            { checks("Golden questions of the adapter", &report.golden) }
            <p>{ "Intended use: " }{ shared::INTENDED_USE }</p>
            <p class="signature">{ "Performed by, date, signature:" }</p>
            <p class="signature">{ "Reviewed by, date, signature:" }</p>
        </section>
    }
}

fn fact(name: &str, value: String) -> Html {
    html! { <tr><th scope="row">{ name }</th><td>{ value }</td></tr> }
}

fn checks(name: &str, checks: &[Check]) -> Html {
    html! {
        <>
            <h2>{ name }</h2>
            <table>
                <thead>
                    <tr>
                        <th scope="col">{ "Check" }</th>
                        <th scope="col">{ "Expected" }</th>
                        <th scope="col">{ "Found" }</th>
                        <th scope="col">{ "Result" }</th>
                    </tr>
                </thead>
                <tbody>
                    { for checks.iter().map(|check| html! {
                        <tr>
                            <td>{ &check.what }</td>
                            <td>{ check.expected.as_deref().unwrap_or("not recorded") }</td>
                            <td>{ &check.found }</td>
                            <td>{ check.outcome.words() }</td>
                        </tr>
                    }) }
                    if checks.is_empty() {
                        <tr><td colspan="4">{ "None recorded with this adapter." }</td></tr>
                    }
                </tbody>
            </table>
        </>
    }
}
