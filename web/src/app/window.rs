//! The browser window: clock, reload, and the Escape key wherever the focus is.

use js_sys::Array;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{Blob, BlobPropertyBag, HtmlAnchorElement, KeyboardEvent, Url, Window};
use yew::prelude::*;

use crate::cores::{Cores, Offer};

fn window() -> Window {
    web_sys::window().expect("the page runs in a window")
}

/// Milliseconds since the page was opened.
pub fn now_ms() -> f64 {
    window().performance().expect("windows have a clock").now()
}

/// How many processors this browser lends.
pub fn offer() -> Offer {
    Offer::of(&window(), window().navigator().hardware_concurrency())
}

/// Name under which the number of cores is kept. Not in the journal's database: the engine is
/// started with it, and does not wait for a database to open.
const CORES: &str = "lotwise-cores";

/// The number of cores that was kept; automatic without one, or where the browser keeps nothing.
pub fn kept_cores() -> Cores {
    let kept = window().local_storage().ok().flatten().and_then(|kept| kept.get(CORES).ok()?);
    kept.and_then(|code| Cores::parse(&code)).unwrap_or_default()
}

/// Keeps the number of cores for later visits.
pub fn keep_cores(cores: Cores) {
    let kept = window().local_storage().and_then(|storage| match storage {
        Some(storage) => storage.set(CORES, &cores.code()),
        None => Ok(()),
    });
    if let Err(error) = kept {
        web_sys::console::warn_2(&"the number of cores is not kept".into(), &error);
    }
}

/// Has the browser save `text` as a file.
pub fn download(name: &str, media_type: &str, text: &str) -> Result<(), JsValue> {
    let options = BlobPropertyBag::new();
    options.set_type(media_type);
    let parts = Array::of1(&JsValue::from_str(text));
    let blob = Blob::new_with_str_sequence_and_options(&parts, &options)?;
    let address = Url::create_object_url_with_blob(&blob)?;
    let document = window().document().expect("a page has a document");
    let link: HtmlAnchorElement = document.create_element("a")?.unchecked_into();
    link.set_href(&address);
    link.set_download(name);
    link.click();
    Url::revoke_object_url(&address)
}

/// Opens the browser's print dialog.
pub fn print() {
    // Refused only inside sandboxed frames, where the browser's own menu remains.
    let _ = window().print();
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
