//! Name of the site, adapter in use, and the two buttons that are always there.

use yew::prelude::*;

use crate::protocol::{Loaded, Origin};

/// Properties of [`Header`].
#[derive(Properties, PartialEq)]
pub struct HeaderProps {
    /// What answers come from, once loaded.
    pub loaded: Option<Loaded>,
    /// Whether the side panel is open (narrow screens only; wide ones always show it).
    pub panel_open: bool,
    /// Opens or closes the side panel.
    pub on_toggle_panel: Callback<()>,
    /// Clears the chat.
    pub on_new_chat: Callback<()>,
}

/// The top of the page.
#[component]
pub fn Header(props: &HeaderProps) -> Html {
    let toggle = props.on_toggle_panel.reform(|_: MouseEvent| ());
    let new_chat = props.on_new_chat.reform(|_: MouseEvent| ());
    html! {
        <header class="top">
            <div class="brand">
                <h1>{ "Lotwise" }</h1>
                <p>{ "Batch records, answered on this device" }</p>
            </div>
            if let Some(loaded) = &props.loaded {
                <p class="in-use" title="Adapter that answers now">
                    <span class="dot" aria-hidden="true"></span>
                    <span class="visually-hidden">{ "Adapter in use: " }</span>
                    { &loaded.adapter.version }
                    if loaded.adapter.origin == Origin::Local {
                        <span class="tag">{ "local" }</span>
                    }
                </p>
            }
            <nav class="top-actions" aria-label="Chat">
                <button type="button" class="quiet" data-testid="new-chat" onclick={new_chat}>
                    { "New chat" }
                </button>
                <button type="button" class="quiet panel-toggle" onclick={toggle}
                    aria-expanded={props.panel_open.to_string()} aria-controls="side">
                    { if props.panel_open { "Close" } else { "Details" } }
                </button>
            </nav>
        </header>
    }
}
