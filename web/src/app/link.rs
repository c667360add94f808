//! The page's end of the engine worker: start, post, listen, replace.

use std::{cell::RefCell, rc::Rc};

use js_sys::Array;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{ErrorEvent, File, MessageEvent, Worker, WorkerOptions, WorkerType};

use super::window;
use crate::{
    BUILD,
    error::SiteError,
    protocol::{ToEngine, ToPage},
    state::Action,
};

/// A running worker with the handlers that must live as long as it does.
struct Running {
    worker: Worker,
    _on_message: Closure<dyn Fn(MessageEvent)>,
    _on_error: Closure<dyn Fn(ErrorEvent)>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.worker.terminate();
    }
}

/// The engine worker as the page sees it.
pub struct EngineLink {
    dispatch: Rc<dyn Fn(Action)>,
    running: RefCell<Option<Running>>,
}

impl PartialEq for EngineLink {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl EngineLink {
    /// A link whose events go to `dispatch`. No worker runs yet.
    pub fn new(dispatch: impl Fn(Action) + 'static) -> Self {
        Self { dispatch: Rc::new(dispatch), running: RefCell::new(None) }
    }

    /// Starts a worker in place of the one that runs, if one does, and gives it `first` to do.
    pub fn start(&self, first: ToEngine, files: Vec<File>) {
        let running = match self.spawn(first, files) {
            Ok(running) => Some(running),
            Err(error) => {
                let reason = format!("the browser started no worker: {error:?}");
                (self.dispatch)(Action::EngineLost(SiteError::EngineStopped { reason }));
                None
            }
        };
        self.running.replace(running);
    }

    fn spawn(&self, first: ToEngine, files: Vec<File>) -> Result<Running, JsValue> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        let worker = Worker::new_with_options(&format!("engine.js?build={BUILD}"), &options)?;

        let (dispatch, speaker) = (self.dispatch.clone(), worker.clone());
        let on_message = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
            let text = event.data().as_string().expect("the worker sends texts");
            let message = serde_json::from_str(&text).expect("page and worker are of one build");
            if message == ToPage::Started {
                send(&speaker, &first, &files);
            }
            dispatch(Action::Received { message, at_ms: window::now_ms() });
        });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));

        let dispatch = self.dispatch.clone();
        let on_error = Closure::<dyn Fn(ErrorEvent)>::new(move |event: ErrorEvent| {
            // A script that cannot be loaded raises a plain event, which has no message.
            let message = js_sys::Reflect::get(&event, &JsValue::from_str("message"))
                .ok()
                .and_then(|message| message.as_string())
                .unwrap_or_default();
            dispatch(Action::EngineLost(SiteError::from_script_error(&message)));
        });
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));

        Ok(Running { worker, _on_message: on_message, _on_error: on_error })
    }

    /// Sends `message` with handles of `files`, whose bytes the worker reads. Without a worker
    /// there is nobody to hear it.
    pub fn post(&self, message: &ToEngine, files: &[File]) {
        if let Some(running) = &*self.running.borrow() {
            send(&running.worker, message, files);
        }
    }
}

fn send(worker: &Worker, message: &ToEngine, files: &[File]) {
    let text = serde_json::to_string(message).expect("messages hold no map with odd keys");
    let parts = Array::of1(&JsValue::from_str(&text));
    for file in files {
        parts.push(file);
    }
    worker.post_message(&parts).expect("texts and files can be posted");
}
