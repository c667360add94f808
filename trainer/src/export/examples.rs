//! Examples and recipe of a run.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;
use shared::sha256_hex;

use super::transformers::{write_base, write_tokenizer};
use crate::files::{read_file, replace_file, write_file};
use crate::finetune::Run;

/// The examples of all epochs, one a line, in the order of training.
pub const EXAMPLES_FILE: &str = "train.jsonl";
/// Hyper-parameters, provenance, and where the base is.
pub const RECIPE_FILE: &str = "recipe.json";
/// The base in transformers' layout.
pub const BASE_DIR: &str = "base";

/// Label of a token that is not learned, as PyTorch's cross-entropy and transformers have it.
const NOT_LEARNED: i64 = -100;

/// A line of [`EXAMPLES_FILE`].
#[derive(Serialize)]
struct Line {
    /// The whole sequence: prompt, answer, end token.
    input_ids: Vec<u32>,
    /// The same ids, with [`NOT_LEARNED`] for the prompt.
    labels: Vec<i64>,
}

/// What was exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Examples of all epochs.
    pub examples: usize,
    /// Optimizer steps.
    pub steps: usize,
    /// Tokens of all examples, prompts included.
    pub tokens: usize,
    /// Tokens of the longest example.
    pub longest: usize,
}

/// Writes what `run` would train on to `directory`, and the base, unless `original` names one of
/// Hugging Face's. The recipe comes last and goes first, so that a directory with a recipe is whole.
/// The same run gives the same bytes.
///
/// # Errors
/// An example that does not fit the model's context, weights that are not finite, or a file that
/// cannot be written.
pub fn export_run(directory: &Path, run: &Run<'_>, original: Option<&str>) -> Result<Summary> {
    let recipe_file = directory.join(RECIPE_FILE);
    if recipe_file.exists() {
        fs::remove_file(&recipe_file)
            .with_context(|| format!("cannot remove {}", recipe_file.display()))?;
    }
    let examples = run.examples();
    let segments = run.segments(&examples)?;
    let prefix = run.base.prompt.prefix_ids();
    let lengths = segments.iter().map(|segment| prefix.len() + segment.tokens.len());
    let summary = Summary {
        examples: examples.len(),
        steps: run.steps(&examples),
        tokens: lengths.clone().sum(),
        longest: lengths.max().unwrap_or(0),
    };
    let path = directory.join(EXAMPLES_FILE);
    replace_file(&path, |temporary| {
        let mut file = BufWriter::new(File::create(temporary)?);
        for segment in &segments {
            let learned = segment
                .tokens
                .iter()
                .zip(&segment.weights)
                .map(|(&id, &weight)| if weight > 0.0 { i64::from(id) } else { NOT_LEARNED });
            let line = Line {
                input_ids: [prefix, &segment.tokens].concat(),
                labels: prefix.iter().map(|_| NOT_LEARNED).chain(learned).collect(),
            };
            serde_json::to_writer(&mut file, &line)?;
            file.write_all(b"\n")?;
        }
        Ok(file.flush()?)
    })?;
    if original.is_none() {
        write_base(run.base, &directory.join(BASE_DIR))?;
        write_tokenizer(run.base, &directory.join(BASE_DIR))?;
    }
    let mut json = serde_json::to_vec_pretty(&recipe(run, original, &summary, &path)?)?;
    json.push(b'\n');
    write_file(&recipe_file, &json)?;
    Ok(summary)
}

fn recipe(
    run: &Run<'_>,
    original: Option<&str>,
    summary: &Summary,
    examples: &Path,
) -> Result<serde_json::Value> {
    let identity = &run.base.identity;
    Ok(json!({
        "format_version": 1,
        "base": {
            "path": original.unwrap_or(BASE_DIR),
            // A name of Hugging Face's is not a directory beside this file.
            "exported": original.is_none(),
            "name": identity.name,
            "version": identity.version,
            "sha256": identity.sha256,
            "config": run.base.config,
        },
        "prompt": {
            "system_prompt": run.base.prompt.system_prompt(),
            "template_sha256": run.base.prompt.template_sha256(),
        },
        "data_sha256": run.data_sha256,
        "examples": {
            "file": EXAMPLES_FILE,
            "sha256": sha256_hex(&read_file(examples)?),
            "count": summary.examples,
            "steps": summary.steps,
            "tokens": summary.tokens,
            "longest": summary.longest,
        },
        "seed": run.seed,
        "settings": run.recipe,
    }))
}
