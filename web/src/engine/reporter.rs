//! Progress on its way to the page.

use std::cell::{Cell, RefCell};

use super::{library::Listed, scope};
use crate::{
    progress::{Progress, Source, Stage},
    protocol::ToPage,
};

/// Progress is posted at most this often, so that a fast download is not slowed by its display.
const PROGRESS_EVERY_MS: f64 = 30.0;

/// Posts progress, not too often.
pub struct Reporter {
    progress: RefCell<Progress>,
    posted_ms: Cell<f64>,
}

impl Reporter {
    /// Nothing there yet of `files`.
    pub fn new<'a>(files: impl Iterator<Item = &'a Listed>) -> Self {
        let files = files.map(|file| (file.path.clone(), file.entry.size));
        Self { progress: Progress::new(files).into(), posted_ms: f64::NEG_INFINITY.into() }
    }

    /// The last file of the list: the base.
    pub fn last(&self) -> usize {
        self.progress.borrow().files.len() - 1
    }

    /// `done` bytes of file `index` are there.
    pub fn advance(&self, index: usize, done: u64, source: Source) {
        let mut progress = self.progress.borrow_mut();
        progress.advance(index, done, source);
        let now = scope::now_ms();
        if now - self.posted_ms.get() >= PROGRESS_EVERY_MS || progress.current().is_none() {
            self.posted_ms.set(now);
            scope::post(&ToPage::Progress(progress.clone()));
        }
    }

    /// The next stage has begun.
    pub fn stage(&self, stage: Stage) {
        let mut progress = self.progress.borrow_mut();
        progress.stage = stage;
        scope::post(&ToPage::Progress(progress.clone()));
    }
}
