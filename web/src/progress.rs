//! How much of what must be loaded is there: monotonic, and never more than its total.

use serde::{Deserialize, Serialize};

/// Where a file's bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Downloaded from the server.
    Network,
    /// Read from the copy this browser keeps.
    Kept,
}

/// One file to load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileProgress {
    /// Name shown to the user.
    pub name: String,
    /// Bytes there.
    pub done: u64,
    /// Published size in bytes.
    pub total: u64,
    /// Where the bytes come from; unknown until the first ones arrive.
    pub source: Option<Source>,
}

/// What the engine is doing before it can answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Starting the worker and reading the lists.
    #[default]
    Starting,
    /// Measuring on how many cores the model is quickest.
    Measuring,
    /// Loading and verifying files.
    Loading,
    /// Merging the adapter into the base and reading the prompt once.
    Merging,
}

/// Progress over all files of one load. The set of files is fixed before the first byte, so the
/// total does not move.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Current stage.
    pub stage: Stage,
    /// The files, in loading order.
    pub files: Vec<FileProgress>,
}

impl Progress {
    /// Progress over `files`, given as (name, published size in bytes).
    #[must_use]
    pub fn new(files: impl IntoIterator<Item = (String, u64)>) -> Self {
        let files = files
            .into_iter()
            .map(|(name, total)| FileProgress { name, done: 0, total, source: None })
            .collect();
        Self { stage: Stage::Loading, files }
    }

    /// Records that `done` bytes of file `index` are there. A smaller number than before is
    /// ignored (a file that starts over does not take the bar back), a larger one than the
    /// published size is capped.
    pub fn advance(&mut self, index: usize, done: u64, source: Source) {
        let file = &mut self.files[index];
        file.source = Some(source);
        file.done = done.min(file.total).max(file.done);
    }

    /// Bytes there, over all files.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.files.iter().map(|file| file.done).sum()
    }

    /// Bytes to load, over all files.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.files.iter().map(|file| file.total).sum()
    }

    /// Share done in 0..=1; 0 before the files are known.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        match self.total() {
            0 => 0.0,
            total => self.done() as f64 / total as f64,
        }
    }

    /// The first file that is not complete.
    #[must_use]
    pub fn current(&self) -> Option<&FileProgress> {
        self.files.iter().find(|file| file.done < file.total)
    }

    /// Whether any byte came over the network.
    #[must_use]
    pub fn downloads(&self) -> bool {
        self.files.iter().any(|file| file.source == Some(Source::Network))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_files() -> Progress {
        Progress::new([("base".to_owned(), 100), ("adapter".to_owned(), 50)])
    }

    #[test]
    fn counts_over_all_files() {
        let mut progress = two_files();
        assert_eq!((progress.done(), progress.total()), (0, 150));
        progress.advance(0, 100, Source::Kept);
        progress.advance(1, 25, Source::Network);
        assert_eq!(progress.done(), 125);
        assert!((progress.fraction() - 125.0 / 150.0).abs() < 1e-12);
        assert_eq!(progress.current().unwrap().name, "adapter");
        assert!(progress.downloads());
    }

    #[test]
    fn never_goes_back() {
        let mut progress = two_files();
        let mut last = 0;
        for done in [10, 60, 5, 0, 61, 61, 100] {
            progress.advance(0, done, Source::Network);
            assert!(progress.done() >= last);
            last = progress.done();
        }
        assert_eq!(last, 100);
    }

    #[test]
    fn never_exceeds_its_total() {
        let mut progress = two_files();
        progress.advance(0, u64::MAX, Source::Network);
        progress.advance(1, 51, Source::Network);
        assert_eq!(progress.done(), progress.total());
        assert!(progress.fraction() <= 1.0);
        assert_eq!(progress.current(), None);
    }

    #[test]
    fn an_unknown_set_of_files_is_zero_not_nan() {
        assert_eq!(Progress::default().fraction(), 0.0);
        assert_eq!(Progress::default().stage, Stage::Starting);
    }
}
