//! Which adapter answers: a published version, or one from this computer.

use web_sys::{File, HtmlInputElement, HtmlSelectElement};
use yew::prelude::*;

use crate::{
    format,
    protocol::{Catalog, Loaded, Origin, VersionInfo},
};

/// Properties of [`AdapterPanel`].
#[derive(Properties, PartialEq)]
pub struct AdapterPanelProps {
    /// The published versions.
    pub catalog: Catalog,
    /// What answers come from, once loaded.
    pub loaded: Option<Loaded>,
    /// Whether another adapter can be chosen now.
    pub enabled: bool,
    /// Chooses a published version.
    pub on_version: Callback<String>,
    /// Chooses an adapter of this computer.
    pub on_files: Callback<Vec<File>>,
}

/// Value of the list's entry for an adapter of this computer; no version has it.
const LOCAL: &str = "";

fn label(catalog: &Catalog, version: &str) -> String {
    let is = |other: &Option<String>| other.as_deref() == Some(version);
    if is(&catalog.current) {
        format!("{version} (current)")
    } else if is(&catalog.previous) {
        format!("{version} (previous)")
    } else {
        version.to_owned()
    }
}

/// The choice of adapter.
#[component]
pub fn AdapterPanel(props: &AdapterPanelProps) -> Html {
    let in_use = props.loaded.as_ref().map(|loaded| &loaded.adapter);
    let local = in_use.filter(|adapter| adapter.origin == Origin::Local);
    let selected = in_use.filter(|_| local.is_none()).map(|adapter| adapter.version.as_str());
    let chosen = {
        let on_version = props.on_version.clone();
        Callback::from(move |event: Event| {
            let version = event.target_unchecked_into::<HtmlSelectElement>().value();
            if version != LOCAL {
                on_version.emit(version);
            }
        })
    };
    let opened = {
        let on_files = props.on_files.clone();
        Callback::from(move |event: Event| {
            let input = event.target_unchecked_into::<HtmlInputElement>();
            let files = input.files().map(|list| {
                (0..list.length()).filter_map(|index| list.get(index)).collect::<Vec<File>>()
            });
            on_files.emit(files.unwrap_or_default());
            // So that choosing the same files again is a change.
            input.set_value("");
        })
    };
    let shown = props.catalog.versions.iter().find(|version| Some(&*version.version) == selected);
    html! {
        <section class="panel adapter-panel" aria-labelledby="adapter-title">
            <h2 id="adapter-title">{ "Adapter" }</h2>
            <label for="adapter">{ "Version" }</label>
            <select id="adapter" data-testid="adapter-select" onchange={chosen}
                disabled={!props.enabled}>
                if let Some(local) = local {
                    <option value={LOCAL} selected=true>{ format!("{} (local)", local.version) }</option>
                }
                { for props.catalog.versions.iter().map(|version| html! {
                    <option value={version.version.clone()}
                        selected={Some(&*version.version) == selected}>
                        { label(&props.catalog, &version.version) }
                    </option>
                }) }
            </select>
            if props.catalog.offline {
                <p class="hint">{ "Offline: this list is from the last visit." }</p>
            }
            if let Some(version) = shown {
                { facts(version) }
                if !version.metrics.is_empty() {
                    { evaluation(version) }
                }
                if let Some(report) = &version.report {
                    <p><a href={report.clone()} target="_blank" data-testid="report">
                        { "Validation report" }
                    </a></p>
                }
            }
            <label class={classes!("file-button", (!props.enabled).then_some("disabled"))}
                for="adapter-files">
                { "Open from this computer" }
            </label>
            <input id="adapter-files" class="visually-hidden" data-testid="adapter-files" type="file"
                multiple=true accept=".json,.safetensors" disabled={!props.enabled}
                onchange={opened} />
            <p class="hint">
                { "Choose adapter_config.json and adapter_model.safetensors (with guard.json and \
                   lotwise.json where they exist), or drop their folder on this page." }
            </p>
        </section>
    }
}

fn facts(version: &VersionInfo) -> Html {
    html! {
        <dl class="facts-list">
            if !version.created.is_empty() {
                <div><dt>{ "Published" }</dt><dd>{ format::time(&version.created) }</dd></div>
            }
        </dl>
    }
}

fn evaluation(version: &VersionInfo) -> Html {
    html! {
        <details class="evaluation" data-testid="evaluation">
            <summary>{ "Evaluation" }</summary>
            { for version.metrics.iter().map(|group| html! {
                <>
                    if !group.name.is_empty() {
                        <h3>
                            { &group.name }
                            if let Some(questions) = group.questions {
                                <span>{ format!(" ({questions} questions)") }</span>
                            }
                        </h3>
                    }
                    <dl class="facts-list">
                        { for group.values.iter().map(|(what, value)| html! {
                            <div><dt>{ what }</dt><dd>{ value }</dd></div>
                        }) }
                    </dl>
                </>
            }) }
        </details>
    }
}
