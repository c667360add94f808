//! A worker as whoever started it sees it.

use js_sys::{Array, Reflect};
use serde::Serialize;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{ErrorEvent, MessageEvent, Worker, WorkerOptions, WorkerType};

use crate::error::SiteError;

/// A running worker with the handlers that must live as long as it does. It ends with this value.
pub struct RunningWorker {
    worker: Worker,
    _on_message: Closure<dyn Fn(MessageEvent)>,
    _on_error: Closure<dyn Fn(ErrorEvent)>,
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.worker.terminate();
    }
}

impl RunningWorker {
    /// Starts the script at `address` as a module. `receive` gets the worker and each text that it
    /// sends, `lost` the reason should it stop.
    ///
    /// # Errors
    /// The browser starts no worker.
    pub fn start(
        address: &str,
        name: &str,
        receive: impl Fn(&Worker, &str) + 'static,
        lost: impl Fn(&ErrorEvent, SiteError) + 'static,
    ) -> Result<Self, JsValue> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        options.set_name(name);
        let worker = Worker::new_with_options(address, &options)?;

        let speaker = worker.clone();
        let on_message = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
            receive(&speaker, &event.data().as_string().expect("workers send texts"));
        });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));

        let on_error = Closure::<dyn Fn(ErrorEvent)>::new(move |event: ErrorEvent| {
            // A script that cannot be loaded raises a plain event, which has no message.
            let message = Reflect::get(&event, &JsValue::from_str("message"))
                .ok()
                .and_then(|message| message.as_string())
                .unwrap_or_default();
            lost(&event, SiteError::from_script_error(&message));
        });
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));

        Ok(Self { worker, _on_message: on_message, _on_error: on_error })
    }

    /// The worker.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }
}

/// Sends `message` as an array: its JSON text, then what is `attached`.
pub fn send<T: AsRef<JsValue>>(worker: &Worker, message: &impl Serialize, attached: &[T]) {
    let text = serde_json::to_string(message).expect("messages hold no map with odd keys");
    let parts = Array::of1(&JsValue::from_str(&text));
    for part in attached {
        parts.push(part.as_ref());
    }
    worker.post_message(&parts).expect("texts, files, bytes and shared memory can be posted");
}
