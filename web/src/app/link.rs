//! The page's end of the engine worker: start, post, listen, replace.

use std::{cell::RefCell, rc::Rc};

use wasm_bindgen::JsValue;
use web_sys::{ErrorEvent, File, Worker};

use super::window;
use crate::{
    BUILD,
    cores::Cores,
    error::SiteError,
    protocol::{ToEngine, ToPage},
    state::Action,
    worker::{RunningWorker, send},
};

/// The engine worker as the page sees it.
pub struct EngineLink {
    dispatch: Rc<dyn Fn(Action)>,
    running: RefCell<Option<RunningWorker>>,
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

    /// Starts a worker in place of the one that runs, if one does, and gives it `first` to do, on
    /// `cores`.
    pub fn start(&self, cores: Cores, first: ToEngine, files: Vec<File>) {
        let running = match self.spawn(cores, first, files) {
            Ok(running) => Some(running),
            Err(error) => {
                let reason = format!("the browser started no worker: {error:?}");
                (self.dispatch)(Action::EngineLost(SiteError::EngineStopped { reason }));
                None
            }
        };
        self.running.replace(running);
    }

    fn spawn(
        &self,
        cores: Cores,
        first: ToEngine,
        files: Vec<File>,
    ) -> Result<RunningWorker, JsValue> {
        let dispatch = self.dispatch.clone();
        let receive = move |speaker: &Worker, text: &str| {
            let message = serde_json::from_str(text).expect("page and worker are of one build");
            if message == ToPage::Started {
                send(speaker, &ToEngine::UseCores { cores }, &[] as &[File]);
                send(speaker, &first, &files);
            }
            dispatch(Action::Received { message, at_ms: window::now_ms() });
        };
        let dispatch = self.dispatch.clone();
        let lost = move |_: &ErrorEvent, error| dispatch(Action::EngineLost(error));
        RunningWorker::start(&format!("engine.js?build={BUILD}"), "", receive, lost)
    }

    /// Sends `message` with handles of `files`, whose bytes the worker reads. Without a worker
    /// there is nobody to hear it.
    pub fn post(&self, message: &ToEngine, files: &[File]) {
        if let Some(running) = &*self.running.borrow() {
            send(running.worker(), message, files);
        }
    }
}
