//! How answers are made: two presets and every value of the sampler, approved answers, cores.

use shared::Decoding;
use web_sys::{HtmlInputElement, HtmlSelectElement};
use yew::prelude::*;

use crate::{
    cores::{Cores, MOST_CORES, Offer},
    state::{Preset, SamplerField, Settings, SettingsChange},
};

/// Properties of [`SettingsPanel`].
#[derive(Properties, PartialEq)]
pub struct SettingsPanelProps {
    /// The settings in force.
    pub settings: Settings,
    /// Whether the adapter brings its answers, so that no other may be given.
    pub approved_answers: bool,
    /// How many processors the browser lends.
    pub offer: Offer,
    /// Whether the engine can be given no other number of cores now.
    pub busy: bool,
    /// Changes them.
    pub on_change: Callback<SettingsChange>,
}

/// The answer settings.
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
            { cores(props) }
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

/// The number of processor cores, with the reason where there is nothing to choose.
fn cores(props: &SettingsPanelProps) -> Html {
    let (offer, set) = (props.offer, props.settings.cores);
    let most = offer.most();
    let change = props.on_change.reform(|event: Event| {
        let code = event.target_unchecked_into::<HtmlSelectElement>().value();
        SettingsChange::Cores(Cores::parse(&code).unwrap_or_default())
    });
    let words = if most > 1 {
        "How many work on an answer, which is the same with any number. Automatic measures what is \
         quickest; for a small model that is one."
    } else if offer.isolated {
        "This computer has one."
    } else {
        "One: the browser lends more only to a page that is isolated from other sites. Reload the \
         page; if that changes nothing, its server has to isolate it."
    };
    let choices = (1..=MOST_CORES).map(Cores::Exactly);
    html! {
        <div class="field cores">
            <label for="cores">{ "Processor cores" }</label>
            <select id="cores" data-testid="setting-cores" onchange={change}
                disabled={most == 1 || props.busy} aria-describedby="cores-hint">
                { for std::iter::once(Cores::Automatic).chain(choices).map(|choice| {
                    let (label, possible) = match choice {
                        Cores::Automatic => ("Automatic".to_owned(), true),
                        Cores::Exactly(cores) => (cores.to_string(), cores <= most),
                    };
                    html! {
                        <option value={choice.code()} selected={choice == set}
                            disabled={!possible}>{ label }</option>
                    }
                }) }
            </select>
            <p id="cores-hint" class="hint">{ words }</p>
        </div>
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
