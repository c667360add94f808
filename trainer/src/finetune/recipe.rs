//! Training settings under PEFT's and transformers' names, and presets for them.

use std::fmt;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde::{Deserialize, Serialize};
use shared::Base;

use super::lora::Storage;

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
    /// Steps between evaluations on the validation questions; 0 for none before the end.
    #[serde(default)]
    pub eval_steps: usize,
    /// Evaluations without a new best after which training stops; 0 for never.
    #[serde(default)]
    pub early_stopping_patience: usize,
    /// Whether the adapter is that of the best evaluation instead of the last step.
    #[serde(default)]
    pub load_best_model_at_end: bool,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// For the embedded base.
    Embedded,
    /// For general bases of billions of parameters.
    Production,
}

impl Preset {
    const ALL: [Self; 2] = [Self::Embedded, Self::Production];

    /// The one to start from where none is named.
    pub fn for_base(base: &Base) -> Self {
        match Storage::for_base(base) {
            Storage::F32 => Self::Embedded,
            Storage::File => Self::Production,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Production => "production",
        }
    }

    /// Where the values come from.
    fn source(self) -> &'static str {
        match self {
            Self::Embedded => {
                "for the embedded base and others of up to 16 million parameters; measured with \
                 the sample data on the embedded base, see the README"
            }
            Self::Production => {
                "for larger bases; the production values of the user for a 3B model, not measured \
                 here"
            }
        }
    }

    /// The preset's values.
    pub fn recipe(self) -> Recipe {
        match self {
            // A model this small has to move far: with `production` it stays as it was.
            Self::Embedded => Recipe {
                lora_r: 32,
                lora_alpha: 64.0,
                lora_dropout: 0.0,
                learning_rate: 2.5e-3,
                num_train_epochs: 60,
                per_device_train_batch_size: 16,
                gradient_accumulation_steps: 1,
                warmup_ratio: 0.05,
                lr_scheduler_type: SchedulerType::Cosine,
                max_grad_norm: 1.0,
                eval_steps: 0,
                early_stopping_patience: 0,
                load_best_model_at_end: false,
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
                eval_steps: 0,
                early_stopping_patience: 0,
                load_best_model_at_end: false,
                augmentation: Augmentation::DEFAULT,
            },
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `--help` lists the presets with their values and where those come from.
impl ValueEnum for Preset {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let Recipe {
            lora_r,
            lora_alpha,
            lora_dropout,
            learning_rate,
            num_train_epochs,
            per_device_train_batch_size,
            gradient_accumulation_steps,
            warmup_ratio,
            lr_scheduler_type,
            max_grad_norm,
            ..
        } = self.recipe();
        let scheduler = format!("{lr_scheduler_type:?}").to_lowercase();
        let values = format!(
            "rank {lora_r}, alpha {lora_alpha}, dropout {lora_dropout}, learning rate \
             {learning_rate:e} ({scheduler}, {warmup_ratio} of the steps to warm up), \
             {num_train_epochs} epochs, batches of {per_device_train_batch_size} x \
             {gradient_accumulation_steps}, gradients clipped at {max_grad_norm}"
        );
        Some(PossibleValue::new(self.name()).help(format!("{values}: {}", self.source())))
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
        for (name, used) in [
            ("--early-stopping-patience", self.early_stopping_patience > 0),
            ("--load-best-model-at-end", self.load_best_model_at_end),
        ] {
            ensure!(
                !used || self.eval_steps > 0,
                "{name} needs evaluations to choose by: add --eval-steps N"
            );
        }
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

#[cfg(test)]
mod tests {
    use shared::testing::TinyBase;

    use super::*;

    #[test]
    fn the_base_chooses_the_preset() {
        let mut tiny = TinyBase::default();
        let base = |tiny: &TinyBase| Base::from_bytes(tiny.gguf().unwrap()).unwrap();
        assert_eq!(Preset::for_base(&base(&tiny)), Preset::Embedded);
        // 2 x 3 x 640 x 4608 = 17.7 million parameters in the feed-forward networks alone.
        (tiny.config.hidden_size, tiny.config.intermediate_size) = (640, 4608);
        assert_eq!(Preset::for_base(&base(&tiny)), Preset::Production);
    }

    #[test]
    fn rejects_choosing_without_evaluations() {
        for preset in Preset::ALL {
            let recipe = preset.recipe();
            recipe.validate().unwrap();
            let stopping = Recipe { early_stopping_patience: 2, ..recipe.clone() };
            assert!(stopping.validate().unwrap_err().to_string().contains("--eval-steps"));
            let choosing = Recipe { load_best_model_at_end: true, ..recipe };
            assert!(choosing.validate().unwrap_err().to_string().contains("--eval-steps"));
            Recipe { eval_steps: 10, ..choosing }.validate().unwrap();
        }
    }
}
