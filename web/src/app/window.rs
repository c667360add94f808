//! The browser window: clock, reload, and the Escape key wherever the focus is.

use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{KeyboardEvent, Window};
use yew::prelude::*;

fn window() -> Window {
    web_sys::window().expect("the page runs in a window")
}

/// Milliseconds since the page was opened.
pub fn now_ms() -> f64 {
    window().performance().expect("windows have a clock").now()
}

/// Loads the page again.
pub fn reload() {
    // Refused only inside sandboxed frames, where the user's own reload button remains.
    let _ = window().location().reload();
}

/// Whether the focus may be taken: no element has it, and giving it to a text field opens no
/// on-screen keyboard.
pub fn focus_is_free() -> bool {
    let document = window().document().expect("a page has a document");
    let idle = document.active_element().is_none_or(|element| element.tag_name() == "BODY");
    let mouse = window().match_media("(pointer: fine)").ok().flatten();
    idle && mouse.is_some_and(|query| query.matches())
}

/// Calls `on_escape` whenever Escape is pressed.
#[hook]
pub fn use_escape(on_escape: Callback<()>) {
    use_effect_with(on_escape, |on_escape| {
        let on_escape = on_escape.clone();
        let listener = Closure::<dyn Fn(KeyboardEvent)>::new(move |event: KeyboardEvent| {
            if event.key() == "Escape" {
                on_escape.emit(());
            }
        });
        let listen = listener.as_ref().unchecked_ref();
        window().add_event_listener_with_callback("keydown", listen).expect("windows hear keys");
        move || {
            let listen = listener.as_ref().unchecked_ref();
            window()
                .remove_event_listener_with_callback("keydown", listen)
                .expect("windows hear keys");
        }
    });
}
