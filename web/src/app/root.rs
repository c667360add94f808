//! The document's root element: what tests wait for, and the last words of a page that panics.

use wasm_bindgen::JsCast;
use web_sys::{Document, HtmlElement};
use yew::prelude::*;

use crate::{
    protocol::Origin,
    state::{Phase, State},
};

/// The document.
pub fn document() -> Document {
    web_sys::window().and_then(|window| window.document()).expect("a page has a document")
}

/// Sets `data-*` attribute `name` (in camel case) of the root element.
pub fn set(name: &str, value: &str) {
    let root: HtmlElement =
        document().document_element().expect("a document has a root").unchecked_into();
    root.dataset().set(name, value).expect("the name has no forbidden characters");
}

/// Keeps the root element's attributes at `state`.
#[hook]
pub fn use_published(state: &State) {
    use_effect_with(state.clone(), |state| {
        let error = match &state.phase {
            Phase::Failed(error) => error.code(),
            _ => state.notice.as_ref().map_or("", |error| error.code()),
        };
        set("error", error);
        if let Some(loaded) = &state.loaded {
            set("adapter", &loaded.adapter.version);
            let local = loaded.adapter.origin == Origin::Local;
            set("ranks", &loaded.ranks.to_string());
            set("adapterOrigin", if local { "local" } else { "published" });
        }
        for (name, value) in state.metrics.entries() {
            set(name, &value);
        }
        // Last: whoever waits for the state then finds the rest in place.
        set("state", state.label());
    });
}

/// Shows a panic in place of the page. Plain DOM calls: after a panic the app is gone.
pub fn show_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string();
        web_sys::console::error_1(&text.as_str().into());
        let document = document();
        let hide = |id: &str, hidden: bool| {
            if let Some(element) = document.get_element_by_id(id) {
                element.unchecked_into::<HtmlElement>().set_hidden(hidden);
            }
        };
        if let Some(reason) = document.get_element_by_id("page-stopped-reason") {
            reason.set_text_content(Some(&text));
        }
        hide("app", true);
        hide("page-stopped", false);
        set("error", "page-stopped");
        set("state", "error");
    }));
}
