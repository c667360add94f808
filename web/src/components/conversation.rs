//! The chat, kept scrolled to its end while an answer grows.

use web_sys::HtmlElement;
use yew::prelude::*;

use super::exchange::ExchangeView;
use crate::state::Exchange;

/// Properties of [`Conversation`].
#[derive(Properties, PartialEq)]
pub struct ConversationProps {
    /// Questions and answers, oldest first.
    pub exchanges: Vec<Exchange>,
    /// Shown above them: the invitation of an empty chat.
    #[prop_or_default]
    pub children: Html,
}

/// The chat.
#[component]
pub fn Conversation(props: &ConversationProps) -> Html {
    let list = use_node_ref();
    use_effect_with(props.exchanges.clone(), {
        let list = list.clone();
        move |_| {
            if let Some(list) = list.cast::<HtmlElement>() {
                list.set_scroll_top(list.scroll_height());
            }
        }
    });
    html! {
        <div class="chat" ref={list} tabindex="0" role="region" aria-label="Chat">
            { props.children.clone() }
            { for props.exchanges.iter().map(|exchange| html! {
                <ExchangeView key={exchange.id} exchange={exchange.clone()} />
            }) }
        </div>
    }
}
