//! Question and answer pairs, one JSON object a line.
//!
//! Three forms are read, also mixed in one file:
//!
//! ```text
//! {"question": "...", "answer": "...", "batch": "...", "source": "...", "paraphrases": ["..."]}
//! {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}
//! {"prompt": "...", "completion": "..."}
//! ```
//!
//! `answer` (or `completion`) may be null: the records cannot answer the question, and the
//! answer expected is [`shared::REFUSAL`]. `batch`, `source`, `paraphrases` and `kind` are optional
//! in every form. A file is read whole or not at all: every line that cannot be used is reported.

mod consistency;
mod error;
mod feedback;
mod line;
mod overlap;
#[cfg(test)]
mod tests;
mod wording;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use shared::{PromptFormat, sha256_hex};

pub use consistency::normalise;
pub use error::{BadLines, Problem};
pub use feedback::{Applied, Change, apply_feedback, pairs_to_jsonl, read_feedback};
pub use overlap::{Overlap, overlaps};
pub use wording::named_batch;
pub(crate) use wording::{find_ignoring_case, replace_ignoring_case};

use crate::input::read_input;
use line::{Line, parse_line};

/// The largest file that is read, bytes.
const MAX_FILE: u64 = 256 << 20;
/// The longest line, bytes.
const MAX_LINE: usize = 64 << 10;
/// The most pairs.
const MAX_PAIRS: usize = 1_000_000;

/// A question and what the records say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The question, without space around it.
    pub question: String,
    /// The answer, without space around it; `None` if the records have none.
    pub answer: Option<String>,
    /// The batch it is about.
    pub batch: Option<String>,
    /// Where the records say so.
    pub source: Option<String>,
    /// Other wordings of the question.
    pub paraphrases: Vec<String>,
    /// A label to group questions by.
    pub kind: Option<String>,
    /// Line in the file, from 1.
    pub line: usize,
}

/// The pairs of one file.
#[derive(Debug, Clone)]
pub struct PairFile {
    /// The file.
    pub path: PathBuf,
    /// Its pairs, in its order, none twice.
    pub pairs: Vec<Pair>,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// What the reader should know although nothing is wrong: dropped duplicates, ignored keys.
    pub notes: Vec<String>,
}

/// Reads a file of pairs.
///
/// Pairs that repeat question, answer and batch of an earlier one are dropped, with a note; their
/// paraphrases are kept.
///
/// # Errors
/// The file cannot be read or is too large, or [`BadLines`]: every line that is not a pair, and
/// every pair of lines that answer the same question (see [`normalise`]) differently.
pub fn read_pairs(path: &Path) -> Result<PairFile> {
    let bytes = read_input(path, "a JSONL file of questions and answers", MAX_FILE)?;
    let mut parsed = Parsed::default();
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        parsed.add(index + 1, line);
    }
    let Parsed { pairs, mut problems, ignored_keys, system_messages } = parsed;
    problems.extend(consistency::contradictions(&pairs));
    if !problems.is_empty() {
        problems.sort_by_key(|problem| problem.line);
        return Err(BadLines { path: path.to_owned(), problems }.into());
    }
    if pairs.is_empty() {
        bail!("{}: the file has no line with a question and an answer", path.display());
    }
    if pairs.len() > MAX_PAIRS {
        bail!("{}: {} pairs; at most {MAX_PAIRS} are read", path.display(), pairs.len());
    }
    let (pairs, duplicates) = consistency::drop_duplicates(pairs);
    let mut notes = Vec::new();
    if duplicates > 0 {
        notes.push(format!("{duplicates} pairs repeat an earlier one and are left out"));
    }
    if !ignored_keys.is_empty() {
        notes.push(format!("keys that are not used: {}", ignored_keys.join(", ")));
    }
    if system_messages > 0 {
        notes.push(format!(
            "{system_messages} system messages are not used: the base's own system prompt is"
        ));
    }
    Ok(PairFile { path: path.to_owned(), pairs, sha256: sha256_hex(&bytes), notes })
}

/// Reads a file of pairs to train on. Pairs that ask in the same words about different batches share
/// their paraphrases.
///
/// # Errors
/// As [`read_pairs`].
pub fn read_training_pairs(path: &Path) -> Result<PairFile> {
    let mut file = read_pairs(path)?;
    let kept = wording::share_paraphrases(&mut file.pairs);
    if kept > 0 {
        file.notes.push(format!(
            "paraphrases that are not shared with the pairs of the same wording: {kept}. They don't \
             name the batch as \"batch\" writes it, name something else as well, or belong to two \
             wordings"
        ));
    }
    Ok(file)
}

impl PairFile {
    /// Checks that every question, paraphrase and answer can be put to a model: no control token
    /// in the text, and prompt and answer (the refusal, where there is none) within
    /// `context_length` tokens.
    ///
    /// # Errors
    /// [`BadLines`], with every line that cannot.
    pub fn check(&self, prompt: &PromptFormat, context_length: usize) -> Result<(), BadLines> {
        let prefix = prompt.prefix_ids().len();
        let mut problems = Vec::new();
        for pair in &self.pairs {
            let answer = pair.answer.as_deref().unwrap_or(shared::REFUSAL);
            for question in std::iter::once(&pair.question).chain(&pair.paraphrases) {
                let reason = match prompt.encode_pair(question, answer) {
                    Err(error) => error.to_string(),
                    Ok(ids) => {
                        let tokens = prefix + ids.question.len() + ids.answer.len();
                        if tokens <= context_length {
                            continue;
                        }
                        format!(
                            "prompt and answer take {tokens} tokens; the base has room for \
                             {context_length}"
                        )
                    }
                };
                problems.push(Problem { line: pair.line, reason });
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(BadLines { path: self.path.clone(), problems })
        }
    }
}

/// What the lines so far have brought.
#[derive(Default)]
struct Parsed {
    pairs: Vec<Pair>,
    problems: Vec<Problem>,
    ignored_keys: Vec<String>,
    system_messages: usize,
}

impl Parsed {
    fn add(&mut self, number: usize, line: &[u8]) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let parsed = if line.len() > MAX_LINE {
            Err(format!("{} bytes in one line; at most {MAX_LINE} are read", line.len()))
        } else {
            parse_line(line, number)
        };
        match parsed {
            Err(reason) => self.problems.push(Problem { line: number, reason }),
            Ok(Line { pair, ignored_keys, system_message }) => {
                for key in ignored_keys {
                    if self.ignored_keys.len() < 20 && !self.ignored_keys.contains(&key) {
                        self.ignored_keys.push(key);
                    }
                }
                self.system_messages += usize::from(system_message);
                self.pairs.push(pair);
            }
        }
    }
}
