//! The worker's global scope: posting, listening, the clock, memory, and giving way.

use js_sys::{Array, Promise, Reflect};
use serde::Serialize;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{DedicatedWorkerGlobalScope, File, MessageChannel, MessageEvent, Response};

use crate::{
    cores::Offer,
    protocol::{ToEngine, ToPage},
};

/// The scope this code runs in.
pub fn global() -> DedicatedWorkerGlobalScope {
    js_sys::global().unchecked_into()
}

/// Sends `message` to the page.
pub fn post(message: &ToPage) {
    post_json(message);
}

/// Sends `message` to whoever started this worker.
pub fn post_json(message: &impl Serialize) {
    let text = serde_json::to_string(message).expect("messages hold no map with odd keys");
    // Fails only for values that cannot be cloned; a text can.
    global().post_message(&JsValue::from_str(&text)).expect("a text can be posted");
}

/// Hands every message of the page to `receive`, with the `File`s that travel beside it.
/// A message is an array: its JSON text, then the files.
pub fn listen(receive: impl Fn(ToEngine, Vec<File>) + 'static) {
    let handler = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
        let parts: Array = event.data().unchecked_into();
        let text = parts.get(0).as_string().expect("a message begins with its text");
        let message = serde_json::from_str(&text).expect("page and worker are of one build");
        receive(message, parts.iter().skip(1).map(JsCast::unchecked_into).collect());
    });
    global().set_onmessage(Some(handler.as_ref().unchecked_ref()));
    handler.forget();
}

/// Address of the site's folder, with a slash at its end: the worker's script lies directly in it.
pub fn site_address() -> String {
    let script = global().location().href();
    let path = script.split(['?', '#']).next().unwrap_or_default();
    let end = path.rfind('/').expect("an address has a path");
    path[..=end].to_owned()
}

/// The WebAssembly that runs here, as `engine.js` received it. Its body can be read once.
pub fn program() -> Option<Response> {
    Reflect::get(&global(), &JsValue::from_str("program")).ok()?.dyn_into().ok()
}

/// The browser, as it names itself.
pub fn browser() -> String {
    global().navigator().user_agent().unwrap_or_default()
}

/// How many processors this browser lends.
pub fn offer() -> Offer {
    Offer::of(&global(), global().navigator().hardware_concurrency())
}

/// Resolves after `ms` milliseconds.
pub async fn pause(ms: i32) {
    let promise = Promise::new(&mut |resolve, _| {
        global()
            .set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, ms)
            .expect("workers have timers");
    });
    JsFuture::from(promise).await.expect("this promise is never rejected");
}

/// Milliseconds since the worker started.
pub fn now_ms() -> f64 {
    global().performance().expect("workers have a clock").now()
}

/// Size of this worker's WebAssembly memory, in bytes.
pub fn memory_bytes() -> u64 {
    let memory: js_sys::WebAssembly::Memory = wasm_bindgen::memory().unchecked_into();
    let buffer: js_sys::ArrayBuffer = memory.buffer().unchecked_into();
    u64::from(buffer.byte_length())
}

/// Lets waiting messages of the page in, then goes on. A message to oneself, because timers are
/// held back to 4 ms each.
pub struct Yielder {
    channel: MessageChannel,
}

impl Yielder {
    /// A channel to oneself.
    pub fn new() -> Self {
        Self { channel: MessageChannel::new().expect("workers have message channels") }
    }

    /// Resolves after the messages that wait now have been handled.
    pub async fn give_way(&self) {
        let promise = Promise::new(&mut |resolve, _| {
            self.channel.port1().set_onmessage(Some(&resolve));
        });
        self.channel.port2().post_message(&JsValue::NULL).expect("a null can be posted");
        JsFuture::from(promise).await.expect("this promise is never rejected");
    }
}
