//! Which base, which adapter, which engine: what an auditor asks first.

use yew::prelude::*;

use crate::{
    BUILD, format,
    protocol::{Loaded, Origin},
    state::Metrics,
};

/// Properties of [`About`].
#[derive(Properties, PartialEq)]
pub struct AboutProps {
    /// What answers come from, once loaded.
    pub loaded: Option<Loaded>,
    /// Numbers of this visit.
    pub metrics: Metrics,
    /// Digest of the merged model, once its self-test has run.
    pub digest: Option<String>,
    /// The digest when the adapter was evaluated, if it was recorded.
    pub recorded_digest: Option<String>,
    /// Whether the self-test can run now.
    pub can_test: bool,
    /// Runs it.
    pub on_self_test: Callback<()>,
}

/// Identity of everything that takes part in an answer.
#[component]
pub fn About(props: &AboutProps) -> Html {
    html! {
        <details class="panel about" data-testid="about" open=true>
            <summary>{ "About" }</summary>
            <dl class="facts-list">
                if let Some(loaded) = &props.loaded {
                    { identity(loaded) }
                }
                <div>
                    <dt>{ "Engine" }</dt>
                    <dd>{ concat!("Lotwise ", env!("CARGO_PKG_VERSION")) }
                        if let Some(loaded) = &props.loaded {
                            { format!(", {} kernels", loaded.kernels) }
                        }
                        { hash("build", BUILD) }</dd>
                </div>
                { visit(&props.metrics) }
                { self_test(props) }
            </dl>
            <button type="button" data-testid="self-test" disabled={!props.can_test}
                title="Computes a fixed prompt: the same base and adapter give the same digest on every machine"
                onclick={props.on_self_test.reform(|_: MouseEvent| ())}>
                { "Run self-test" }
            </button>
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
        "Questions about unknown identifiers are refused"
    } else {
        "No list of identifiers with this adapter"
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
        </>
    }
}

fn hash(name: &str, value: &str) -> Html {
    html! {
        <code>{ format!("{name} {value}") }</code>
    }
}

fn self_test(props: &AboutProps) -> Html {
    let Some(digest) = &props.digest else { return Html::default() };
    let (class, verdict) = match &props.recorded_digest {
        None => ("", "No digest was recorded to compare with"),
        Some(recorded) if recorded == digest => {
            ("passed", "Passed: same digest as when this adapter was evaluated")
        }
        Some(_) => (
            "differs",
            "Failed: another digest than when this adapter was evaluated. Do not use the answers.",
        ),
    };
    html! {
        <div role="status">
            <dt>{ "Self-test" }</dt>
            <dd {class} data-testid="self-test-result" data-digest={digest.clone()}>
                { verdict }{ hash("digest", digest) }
            </dd>
        </div>
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
