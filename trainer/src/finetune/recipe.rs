//! Training settings under PEFT's and transformers' names, and presets for them.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// Everything that decides what a training run produces, besides data, base and seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Rank.
    pub lora_r: usize,
    /// Numerator of the scale.
    pub lora_alpha: f32,
    /// Dropout on the adapter's input.
    pub lora_dropout: f32,
    /// Peak learning rate of AdamW.
    pub learning_rate: f64,
    /// Passes over the data.
    pub num_train_epochs: usize,
    /// Examples of a micro-batch.
    pub per_device_train_batch_size: usize,
    /// Micro-batches of an optimizer step.
    pub gradient_accumulation_steps: usize,
    /// Share of the steps that warm up.
    pub warmup_ratio: f64,
    /// `cosine` or `linear`.
    pub lr_scheduler_type: SchedulerType,
    /// Gradients are scaled down to this Euclidean norm.
    pub max_grad_norm: f32,
    /// What is made of the user's pairs.
    pub augmentation: Augmentation,
}

/// How the learning rate falls after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum SchedulerType {
    /// Half a cosine to zero.
    Cosine,
    /// Linear to zero.
    Linear,
}

/// Questions and refusals made from the user's pairs, in each epoch anew.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Augmentation {
    /// Probability that a question is replaced by another phrasing of the same.
    pub paraphrase: f64,
    /// Probability that a made question comes with small talk, in lower case or as a telegram.
    pub noise: f64,
    /// Probability of a slip of the finger in a made question, on top.
    pub typos: f64,
    /// Questions about batches (or products) that don't exist, per pair.
    pub unknown_batch: f64,
    /// Questions about fields that a batch doesn't have, per pair.
    pub missing_field: f64,
}

impl Augmentation {
    /// For the embedded base: the best of the mixes that the README lists.
    pub const DEFAULT: Self =
        Self { paraphrase: 0.85, noise: 0.55, typos: 0.3, unknown_batch: 0.3, missing_field: 0.4 };
}

/// Named recipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// Measured best for the embedded base (the default).
    Embedded,
    /// The values used in production for 3B-parameter bases.
    Production,
}

impl Preset {
    /// The preset's values.
    pub fn recipe(self) -> Recipe {
        match self {
            // A model this small has to move far: with `production` it stays as it was.
            Self::Embedded => Recipe {
                lora_r: 32,
                lora_alpha: 64.0,
                lora_dropout: 0.0,
                learning_rate: 2.5e-3,
                num_train_epochs: 80,
                per_device_train_batch_size: 16,
                gradient_accumulation_steps: 1,
                warmup_ratio: 0.05,
                lr_scheduler_type: SchedulerType::Cosine,
                max_grad_norm: 1.0,
                augmentation: Augmentation::DEFAULT,
            },
            Self::Production => Recipe {
                lora_r: 32,
                lora_alpha: 64.0,
                lora_dropout: 0.05,
                learning_rate: 5e-5,
                num_train_epochs: 5,
                per_device_train_batch_size: 2,
                gradient_accumulation_steps: 8,
                warmup_ratio: 0.1,
                lr_scheduler_type: SchedulerType::Linear,
                max_grad_norm: 1.0,
                augmentation: Augmentation::DEFAULT,
            },
        }
    }
}

impl Recipe {
    /// Examples of an optimizer step.
    pub fn effective_batch(&self) -> usize {
        self.per_device_train_batch_size * self.gradient_accumulation_steps
    }

    /// Refuses values that could only waste a run.
    pub fn validate(&self) -> Result<()> {
        ensure!(
            (1..=1024).contains(&self.lora_r),
            "--lora-r must be 1 to 1024, found {}",
            self.lora_r
        );
        ensure!(
            self.lora_alpha.is_finite() && self.lora_alpha > 0.0,
            "--lora-alpha must be above 0, found {}",
            self.lora_alpha
        );
        ensure!(
            (0.0..1.0).contains(&self.lora_dropout),
            "--lora-dropout must be 0 or more and below 1, found {}",
            self.lora_dropout
        );
        ensure!(
            self.learning_rate > 0.0 && self.learning_rate < 1.0,
            "--learning-rate must be above 0 and below 1, found {}",
            self.learning_rate
        );
        ensure!(self.num_train_epochs > 0, "--num-train-epochs must be 1 or more");
        ensure!(self.effective_batch() > 0, "batch size and accumulation steps must be 1 or more");
        ensure!(
            (0.0..1.0).contains(&self.warmup_ratio),
            "--warmup-ratio must be 0 or more and below 1, found {}",
            self.warmup_ratio
        );
        ensure!(
            self.max_grad_norm > 0.0,
            "--max-grad-norm must be above 0, found {}",
            self.max_grad_norm
        );
        let Augmentation { paraphrase, noise, typos, unknown_batch, missing_field } =
            self.augmentation;
        for (name, p) in [("--paraphrase", paraphrase), ("--noise", noise), ("--typos", typos)] {
            ensure!((0.0..=1.0).contains(&p), "{name} must be 0 to 1, found {p}");
        }
        for (name, rate) in [("--unknown-batch", unknown_batch), ("--missing-field", missing_field)]
        {
            ensure!(
                (0.0..=10.0).contains(&rate),
                "{name} must be 0 to 10 questions a pair, found {rate}"
            );
        }
        Ok(())
    }
}
