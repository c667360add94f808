//! Which base, which adapter, which engine: what an auditor asks first.

use yew::prelude::*;

use crate::{
    BUILD, format,
    protocol::{AdapterInfo, Loaded, Origin},
    state::Metrics,
};

/// Properties of [`About`].
#[derive(Properties, PartialEq)]
pub struct AboutProps {
    /// What answers come from, once loaded.
    pub loaded: Option<Loaded>,
    /// Numbers of this visit.
    pub metrics: Metrics,
    /// SHA-256 of the worker's WebAssembly, once known.
    pub program: Option<String>,
}

/// Identity of everything that takes part in an answer.
#[component]
pub fn About(props: &AboutProps) -> Html {
    html! {
        <details class="panel about" data-testid="about">
            <summary>{ "About" }</summary>
            <dl class="facts-list">
                if let Some(loaded) = &props.loaded {
                    { identity(loaded) }
                }
                <div>
                    <dt>{ "Engine" }</dt>
                    <dd>{ concat!("Lotwise ", env!("CARGO_PKG_VERSION")) }
                        if let Some(loaded) = &props.loaded {
                            { format!(", {} kernels, {}", loaded.kernels, format::cores(loaded.ranks)) }
                        }
                        { hash("build", BUILD) }
                        if let Some(program) = &props.program {
                            { hash("SHA-256", program) }
                        }</dd>
                </div>
                { visit(&props.metrics) }
            </dl>
        </details>
    }
}

fn identity(loaded: &Loaded) -> Html {
    let (base, adapter) = (&loaded.base, &loaded.adapter);
    let origin = match adapter.origin {
        Origin::Published => "published, verified",
        Origin::Local => "local, not verified",
    };
    let guard = if adapter.guarded {
        "Questions about unknown batches are refused, values in answers are held against the records"
    } else {
        "This adapter brings no list of batches and values: its answers are unchecked"
    };
    html! {
        <>
            <div>
                <dt>{ "Base model" }</dt>
                <dd>
                    { format!("{} {}, {}", base.name, base.version, format::bytes(base.size)) }
                    if !base.license.is_empty() {
                        { format!(", licence {}", base.license) }
                    }
                    { hash("SHA-256", &base.sha256) }
                </dd>
            </div>
            <div>
                <dt>{ "Adapter" }</dt>
                <dd>
                    { format!("{} ({origin})", adapter.version) }
                    if !adapter.created.is_empty() {
                        { format!(", trained {}", format::time(&adapter.created)) }
                    }
                    { hash("SHA-256", &adapter.sha256) }
                </dd>
            </div>
            <div><dt>{ "Guard" }</dt><dd>{ guard }</dd></div>
            <div><dt>{ "Undecided" }</dt><dd>{ undecided(adapter) }</dd></div>
        </>
    }
}

fn hash(name: &str, value: &str) -> Html {
    html! {
        <code>{ format!("{name} {value}") }</code>
    }
}

fn undecided(adapter: &AdapterInfo) -> String {
    match &adapter.undecided {
        Some(rule) => format!(
            "Answers with a confidence below {:.4} are marked undecided; chosen on {} questions",
            rule.below, rule.questions
        ),
        None => "This adapter brings no threshold: no answer is marked undecided".into(),
    }
}

fn visit(metrics: &Metrics) -> Html {
    let Some(ready) = metrics.ready_ms else { return Html::default() };
    let downloaded = format::bytes(metrics.downloaded_bytes);
    let memory = format::bytes(metrics.memory_bytes);
    let ready = format::seconds(ready / 1000.0);
    html! {
        <div>
            <dt>{ "This visit" }</dt>
            <dd>{ format!("ready after {ready}, {downloaded} downloaded, {memory} memory") }</dd>
        </div>
    }
}
