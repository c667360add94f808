//! The options that make up a training recipe, shared by the commands that train.

use std::path::Path;

use anyhow::Result;
use clap::Args;
use shared::Base;

use crate::data::PairFile;
use crate::finetune::{Dataset, Preset, Recipe, Run, SchedulerType};

/// How a run is done.
#[derive(Debug, Clone, Args)]
pub(super) struct RunOptions {
    #[command(flatten)]
    pub(super) recipe: RecipeOptions,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads; 0 for one per core (doesn't change the result)
    #[arg(long, default_value_t = 0)]
    pub(super) threads: usize,
    /// Seconds between checkpoints; 0 for one after every step (doesn't change the result)
    #[arg(long, value_name = "S", default_value_t = 10)]
    save_seconds: u64,
    /// Keep the answers with the adapter, in clear: the page can then be set to give no other
    /// ("approved answers only")
    #[arg(long)]
    approved_answers: bool,
}

impl RunOptions {
    /// The run of `recipe` on `dataset`, which was made of `data`.
    pub(super) fn run<'a>(
        &self,
        recipe: &'a Recipe,
        base: &'a Base,
        data: &'a PairFile,
        dataset: &'a Dataset<'a>,
        checkpoint: &'a Path,
        resume: bool,
    ) -> Run<'a> {
        Run {
            base,
            dataset,
            data_sha256: &data.sha256,
            recipe,
            seed: self.seed,
            threads: self.threads,
            checkpoint,
            resume,
            save_seconds: self.save_seconds,
            approved_answers: self.approved_answers,
        }
    }
}

/// A preset and what is changed of it.
#[derive(Debug, Clone, Args)]
pub(super) struct RecipeOptions {
    /// Recipe to start from, by default the base's; the options below change single values of it
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    /// Rank of the adapter
    #[arg(long)]
    lora_r: Option<usize>,
    /// Numerator of the adapter's scale, lora_alpha / r
    #[arg(long)]
    lora_alpha: Option<f32>,
    /// Dropout on the adapter's input
    #[arg(long)]
    lora_dropout: Option<f32>,
    /// Peak learning rate of AdamW
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Passes over the data
    #[arg(long)]
    num_train_epochs: Option<usize>,
    /// Examples of a micro-batch
    #[arg(long)]
    per_device_train_batch_size: Option<usize>,
    /// Micro-batches of an optimizer step
    #[arg(long)]
    gradient_accumulation_steps: Option<usize>,
    /// Share of the steps that warm up
    #[arg(long)]
    warmup_ratio: Option<f64>,
    /// Course of the learning rate after the warm-up
    #[arg(long, value_enum)]
    lr_scheduler_type: Option<SchedulerType>,
    /// Norm that gradients are scaled down to
    #[arg(long)]
    max_grad_norm: Option<f32>,
    /// Ask the validation questions every N steps; 0 for at the end only
    #[arg(long, value_name = "N")]
    eval_steps: Option<usize>,
    /// Stop after K evaluations without a new best; 0 for never
    #[arg(long, value_name = "K")]
    early_stopping_patience: Option<usize>,
    /// Keep the adapter of the best evaluation, not of the last step
    #[arg(long)]
    load_best_model_at_end: bool,
    /// Probability that a question is asked in another phrasing
    #[arg(long)]
    paraphrase: Option<f64>,
    /// Probability that such a question comes in lower case, as a telegram or with small talk
    #[arg(long)]
    noise: Option<f64>,
    /// Probability of a slip of the finger in such a question, on top
    #[arg(long)]
    typos: Option<f64>,
    /// Made-up questions about unknown batches, per pair
    #[arg(long)]
    unknown_batch: Option<f64>,
    /// Made-up questions about missing fields, per pair
    #[arg(long)]
    missing_field: Option<f64>,
}

impl RecipeOptions {
    /// The recipe for `base`.
    ///
    /// # Errors
    /// A value that could only waste a run.
    pub(super) fn recipe(&self, base: &Base) -> Result<Recipe> {
        fn set<T: Copy>(value: &mut T, option: Option<T>) {
            if let Some(option) = option {
                *value = option;
            }
        }
        let preset = self.preset.unwrap_or_else(|| {
            let preset = Preset::for_base(base);
            eprintln!(
                "recipe: preset {preset}, by the size of the base (--preset chooses another)"
            );
            preset
        });
        let mut recipe = preset.recipe();
        set(&mut recipe.lora_r, self.lora_r);
        set(&mut recipe.lora_alpha, self.lora_alpha);
        set(&mut recipe.lora_dropout, self.lora_dropout);
        set(&mut recipe.learning_rate, self.learning_rate);
        set(&mut recipe.num_train_epochs, self.num_train_epochs);
        set(&mut recipe.per_device_train_batch_size, self.per_device_train_batch_size);
        set(&mut recipe.gradient_accumulation_steps, self.gradient_accumulation_steps);
        set(&mut recipe.warmup_ratio, self.warmup_ratio);
        set(&mut recipe.lr_scheduler_type, self.lr_scheduler_type);
        set(&mut recipe.max_grad_norm, self.max_grad_norm);
        set(&mut recipe.eval_steps, self.eval_steps);
        set(&mut recipe.early_stopping_patience, self.early_stopping_patience);
        recipe.load_best_model_at_end |= self.load_best_model_at_end;
        set(&mut recipe.augmentation.paraphrase, self.paraphrase);
        set(&mut recipe.augmentation.noise, self.noise);
        set(&mut recipe.augmentation.typos, self.typos);
        set(&mut recipe.augmentation.unknown_batch, self.unknown_batch);
        set(&mut recipe.augmentation.missing_field, self.missing_field);
        recipe.validate()?;
        Ok(recipe)
    }
}
