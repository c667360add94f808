//! `trainer export-data`: what a run trains on, for PEFT on a GPU.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::common::{BaseOption, print};
use super::recipe::RecipeOptions;
use super::train::{note_own_wordings, read_data};
use crate::corpus::Grammar;
use crate::export::{BASE_DIR, EXAMPLES_FILE, RECIPE_FILE, export_run};
use crate::finetune::{Dataset, Run};

/// Write what a run trains on, to train with Hugging Face PEFT on a GPU
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Writes to DIR
  train.jsonl   {\"input_ids\": [...], \"labels\": [...]}: the examples of all epochs in the order of
                training, questions rephrased and refusals included; -100 where nothing is learned
  recipe.json   the settings under the names of transformers and PEFT, and hashes of data and base
  base/         the base as transformers loads it: the weights that are served, dequantized to f32
                (4 bytes a parameter), with tokenizer and chat template

trainer/scripts/train_peft.py trains on it, on one GPU, several, or a CPU; copy both to the cluster.
It trains to the last step: the settings of evaluations and early stopping are not for it.
If the base's original weights are there already, name them with --hf-base and base/ is not
written; they must be what --base was converted from: same shape, same tokenizer.

Examples:
  trainer export-data records.jsonl --out runs/gpu
  trainer export-data records.jsonl --out runs/gpu --base base-3b.gguf --preset production \\
      --hf-base /models/base-3b
  accelerate launch trainer/scripts/train_peft.py runs/gpu runs/gpu/adapter
  trainer publish runs/gpu/adapter --data records.jsonl")]
pub struct Args {
    /// Question/answer pairs
    #[arg(value_name = "DATA.jsonl")]
    data: PathBuf,
    #[command(flatten)]
    base: BaseOption,
    /// Directory to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Directory, or name on the Hugging Face hub, of the base's original weights, to train on
    /// those instead of the ones that are served
    #[arg(long, value_name = "NAME")]
    hf_base: Option<String>,
    #[command(flatten)]
    recipe: RecipeOptions,
    /// Seed of the examples, and of the adapter's initialisation
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs the command.
///
/// # Errors
/// Data or base that cannot be used, or a directory that cannot be written.
pub fn run(args: &Args) -> Result<ExitCode> {
    let (data, base) = read_data(&args.data, &args.base)?;
    let recipe = args.recipe.recipe(&base)?;
    let grammar = Grammar::load()?;
    let dataset = Dataset::new(&grammar, &data.pairs)?;
    note_own_wordings(&dataset);
    let run = Run {
        base: &base,
        dataset: &dataset,
        data_sha256: &data.sha256,
        recipe: &recipe,
        seed: args.seed,
        // Nothing is trained here.
        threads: 1,
        checkpoint: Path::new(""),
        resume: false,
        save_seconds: 0,
        approved_answers: false,
    };
    let summary = export_run(&args.out, &run, args.hf_base.as_deref())?;
    let out = args.out.display();
    let trained_on = match &args.hf_base {
        None => format!("{out}/{BASE_DIR}"),
        Some(name) => name.clone(),
    };
    print(format_args!(
        "{} examples, {} tokens (at most {} in one), {} steps in {out}/{EXAMPLES_FILE}; recipe in \
         {out}/{RECIPE_FILE}; base {trained_on}\n",
        summary.examples, summary.tokens, summary.longest, summary.steps
    ))?;
    eprintln!("next: accelerate launch trainer/scripts/train_peft.py {out} {out}/adapter");
    Ok(ExitCode::SUCCESS)
}
