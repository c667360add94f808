//! A button that asks before it destroys.

use yew::prelude::*;

/// Properties of [`Confirm`].
#[derive(Properties, PartialEq)]
pub struct ConfirmProps {
    /// What the button says, and the one that confirms.
    pub label: AttrValue,
    /// What is asked.
    pub question: AttrValue,
    /// `data-testid` of the button; with `-confirm` behind it, of the one that confirms.
    pub id: AttrValue,
    /// Whether there is anything to destroy.
    pub enabled: bool,
    /// Does it.
    pub on_confirm: Callback<()>,
}

/// A button with a second step.
#[component]
pub fn Confirm(props: &ConfirmProps) -> Html {
    let asking = use_state(|| false);
    let set = |value: bool| {
        let asking = asking.clone();
        Callback::from(move |_: MouseEvent| asking.set(value))
    };
    if !*asking {
        return html! {
            <button type="button" data-testid={props.id.clone()} disabled={!props.enabled}
                onclick={set(true)}>
                { &props.label }
            </button>
        };
    }
    let confirmed = {
        let (asking, on_confirm) = (asking.clone(), props.on_confirm.clone());
        Callback::from(move |_: MouseEvent| {
            asking.set(false);
            on_confirm.emit(());
        })
    };
    html! {
        <div class="confirm" role="alertdialog" aria-label={props.label.clone()}>
            <p>{ &props.question }</p>
            <button type="button" class="stop" data-testid={format!("{}-confirm", props.id)}
                onclick={confirmed}>
                { &props.label }
            </button>
            <button type="button" onclick={set(false)}>{ "Keep" }</button>
        </div>
    }
}
