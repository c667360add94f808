//! The chat, kept scrolled to its end while an answer grows.

use web_sys::HtmlElement;
use yew::prelude::*;

use super::exchange::ExchangeView;
use crate::{
    app::journal::Command,
    state::{Exchange, Journal},
};

/// Properties of [`Conversation`].
#[derive(Properties, PartialEq)]
pub struct ConversationProps {
    /// Questions and answers, oldest first.
    pub exchanges: Vec<Exchange>,
    /// Corrections, and who wrote the latest.
    pub journal: Journal,
    /// Whether a question can be sent now.
    pub can_ask: bool,
    /// Sends a question.
    pub on_ask: Callback<String>,
    /// Has the journal do something.
    pub on_journal: Callback<Command>,
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
                <ExchangeView key={exchange.id} exchange={exchange.clone()}
                    corrected={corrected(&props.journal, exchange)}
                    reviewer={props.journal.reviewer.clone()}
                    can_ask={props.can_ask} on_ask={props.on_ask.clone()}
                    on_journal={props.on_journal.clone()} />
            }) }
        </div>
    }
}

fn corrected(journal: &Journal, exchange: &Exchange) -> bool {
    exchange.outcome.given().is_some_and(|given| journal.corrects(&exchange.question, given))
}
