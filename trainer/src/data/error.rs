//! All that is wrong with a file, at once.

use std::fmt;
use std::path::PathBuf;

/// How many problems are spelt out.
const SHOWN: usize = 20;

/// A line that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Why.
    pub reason: String,
}

/// The lines of a file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLines {
    /// The file.
    pub path: PathBuf,
    /// At least one, in the file's order.
    pub problems: Vec<Problem>,
}

impl fmt::Display for BadLines {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let count = self.problems.len();
        let problems = if count == 1 { "problem" } else { "problems" };
        write!(out, "{path}: {count} {problems}; nothing was used")?;
        for Problem { line, reason } in self.problems.iter().take(SHOWN) {
            write!(out, "\n  {path}:{line}: {reason}")?;
        }
        if count > SHOWN {
            write!(out, "\n  and {} more", count - SHOWN)?;
        }
        Ok(())
    }
}

impl std::error::Error for BadLines {}
