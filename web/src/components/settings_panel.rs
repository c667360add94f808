//! How tokens are chosen: two presets, and every value of the sampler.

use shared::Decoding;
use web_sys::HtmlInputElement;
use yew::prelude::*;

use crate::state::{Preset, SamplerField, Settings, SettingsChange};

/// Properties of [`SettingsPanel`].
#[derive(Properties, PartialEq)]
pub struct SettingsPanelProps {
    /// The settings in force.
    pub settings: Settings,
    /// Whether the adapter brings its answers, so that no other may be given.
    pub approved_answers: bool,
    /// Changes them.
    pub on_change: Callback<SettingsChange>,
}

/// The sampler settings.
#[component]
pub fn SettingsPanel(props: &SettingsPanelProps) -> Html {
    let refused = use_state(|| None::<SamplerField>);
    let preset = props.settings.preset();
    html! {
        <details class="panel settings-panel">
            <summary>
                { "Answer settings: " }
                { preset.map_or("own values", Preset::label) }
            </summary>
            <div class="presets" role="group" aria-label="Presets">
                { for Preset::ALL.into_iter().map(|choice| {
                    let choose = {
                        let (refused, on_change) = (refused.clone(), props.on_change.clone());
                        Callback::from(move |_: MouseEvent| {
                            refused.set(None);
                            on_change.emit(SettingsChange::Preset(choice));
                        })
                    };
                    html! {
                        <button type="button" class="chip" onclick={choose}
                            data-testid={format!("preset-{}", choice.code())}
                            aria-pressed={(preset == Some(choice)).to_string()}>
                            { choice.label() }
                        </button>
                    }
                }) }
            </div>
            <div class="fields">
                { for SamplerField::ALL.into_iter().map(|field| row(props, field, &refused)) }
            </div>
            { approved(props) }
            <p class="hint">
                { "Exact takes the most probable token every time: the same question gives the same \
                   answer. Production samples as the original system did." }
            </p>
        </details>
    }
}

/// The switch to approved answers. It stays within reach while it is on, whatever the adapter.
fn approved(props: &SettingsPanelProps) -> Html {
    let on = props.settings.decoding == Decoding::Approved;
    let change = props.on_change.reform(|event: Event| {
        let on = event.target_unchecked_into::<HtmlInputElement>().checked();
        SettingsChange::Decoding(if on { Decoding::Approved } else { Decoding::Free })
    });
    html! {
        <label class="check">
            <input type="checkbox" data-testid="setting-approved" checked={on} onchange={change}
                disabled={!props.approved_answers && !on} />
            if props.approved_answers {
                { "Approved answers only: nothing but the answers this adapter was trained on, or \
                   that there is no record" }
            } else {
                { "Approved answers only: this adapter brings none" }
            }
        </label>
    }
}

fn row(
    props: &SettingsPanelProps,
    field: SamplerField,
    refused: &UseStateHandle<Option<SamplerField>>,
) -> Html {
    let change = {
        let (sampler, on_change) = (props.settings.sampler.clone(), props.on_change.clone());
        let refused = refused.clone();
        Callback::from(move |event: Event| {
            let text = event.target_unchecked_into::<HtmlInputElement>().value();
            match field.write(&sampler, &text) {
                Some(sampler) => {
                    refused.set(None);
                    on_change.emit(SettingsChange::Sampler(sampler));
                }
                None => refused.set(Some(field)),
            }
        })
    };
    let (name, (min, max, step)) = (field.name(), field.range());
    let wrong = **refused == Some(field);
    html! {
        <div class="field">
            <label for={name}>{ name }</label>
            <input id={name} data-testid={format!("setting-{name}")} type="number" {min} {max} {step}
                value={field.read(&props.settings.sampler)} aria-invalid={wrong.to_string()}
                onchange={change} />
            if wrong {
                <p class="field-error" role="alert">{ format!("From {min} to {max}.") }</p>
            }
        </div>
    }
}
