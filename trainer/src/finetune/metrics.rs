//! The course of a run, step by step, for people's own tools: `metrics.jsonl`, `metrics.csv`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::files::write_file;

const JSONL: &str = "metrics.jsonl";
const CSV: &str = "metrics.csv";

/// One optimizer step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Finished steps.
    pub step: usize,
    /// Passes over the data so far.
    pub epoch: f64,
    /// Mean loss per answer token of this step, nats, before its update.
    pub loss: f64,
    /// Of this step's update.
    pub learning_rate: f64,
    /// Of this step's gradient, before clipping.
    pub grad_norm: f64,
    /// Tokens that went forward in this step.
    pub tokens: u64,
    /// The same per second of this step.
    pub tokens_per_second: f64,
    /// Share of exact answers to the validation questions after this step, where they were asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_exact_match: Option<f64>,
    /// Their mean loss per answer token, nats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_loss: Option<f32>,
}

/// The rows of a run, kept beside its checkpoint.
#[derive(Debug)]
pub struct Metrics {
    directory: PathBuf,
    rows: Vec<Row>,
}

impl Metrics {
    /// The rows of a run that goes on after `steps` steps; none for 0.
    ///
    /// # Errors
    /// The rows of an interrupted run are not there or can't be read.
    pub fn open(checkpoint: &Path, steps: usize) -> Result<Self> {
        let directory = checkpoint.parent().unwrap_or(Path::new("")).to_owned();
        let mut rows = Vec::new();
        if steps > 0 {
            let path = directory.join(JSONL);
            let text = fs::read_to_string(&path).with_context(|| {
                format!("cannot read {}, which belongs to the checkpoint", path.display())
            })?;
            rows = text
                .lines()
                .take(steps)
                .map(serde_json::from_str)
                .collect::<Result<Vec<Row>, _>>()
                .with_context(|| format!("{} is damaged", path.display()))?;
        }
        Ok(Self { directory, rows })
    }

    /// Adds a step.
    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Writes both files.
    ///
    /// # Errors
    /// One cannot be written.
    pub fn save(&self) -> Result<()> {
        let mut jsonl = String::new();
        let mut csv = "step,epoch,loss,learning_rate,grad_norm,tokens,tokens_per_second,\
                       eval_exact_match,eval_loss\n"
            .to_owned();
        for row in &self.rows {
            jsonl += &serde_json::to_string(row)?;
            jsonl.push('\n');
            let Row { step, epoch, loss, learning_rate, grad_norm, tokens, .. } = row;
            let exact = row.eval_exact_match.map(|share| share.to_string()).unwrap_or_default();
            let eval_loss = row.eval_loss.map(|loss| loss.to_string()).unwrap_or_default();
            writeln!(
                csv,
                "{step},{epoch},{loss},{learning_rate},{grad_norm},{tokens},{},{exact},{eval_loss}",
                row.tokens_per_second
            )?;
        }
        write_file(&self.directory.join(JSONL), jsonl.as_bytes())?;
        write_file(&self.directory.join(CSV), csv.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: usize) -> Row {
        Row {
            step,
            epoch: step as f64 / 8.0,
            loss: 0.5,
            learning_rate: 1e-3,
            grad_norm: 2.0,
            tokens: 100,
            tokens_per_second: 50.0,
            eval_exact_match: (step == 2).then_some(0.75),
            eval_loss: (step == 2).then_some(0.1),
        }
    }

    #[test]
    fn rows_beyond_the_checkpoint_are_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let checkpoint = directory.path().join("checkpoint.safetensors");
        let mut metrics = Metrics::open(&checkpoint, 0).unwrap();
        (1..=3).for_each(|step| metrics.push(row(step)));
        metrics.save().unwrap();
        let mut resumed = Metrics::open(&checkpoint, 2).unwrap();
        assert_eq!(resumed.rows, [row(1), row(2)]);
        resumed.push(row(3));
        resumed.save().unwrap();
        let csv = fs::read_to_string(directory.path().join(CSV)).unwrap();
        assert_eq!(csv.lines().count(), 4);
        assert_eq!(csv.lines().nth(3), Some("3,0.375,0.5,0.001,2,100,50,,"));
        assert_eq!(csv.lines().nth(2), Some("2,0.25,0.5,0.001,2,100,50,0.75,0.1"));
        fs::write(directory.path().join(JSONL), "{\"step\":").unwrap();
        assert!(Metrics::open(&checkpoint, 1).is_err());
        assert!(Metrics::open(&checkpoint, 0).unwrap().rows.is_empty());
    }
}
