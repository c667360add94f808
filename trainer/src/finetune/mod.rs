//! Fine-tuning: a LoRA adapter for the embedded base from a plant's question/answer pairs.

mod augment;
mod checkpoint;
mod classifier;
mod facts;
mod guard_list;
mod lora;
mod metrics;
mod output;
mod probe;
mod recipe;
mod recognise;
mod run;
mod step;
mod validation;

pub use augment::{Dataset, Example, Origin};
pub use lora::{LoraShape, Storage, adapter_of, attach_lora, llama_from_base};
pub use output::{VALIDATION_CURVE, is_record_of, salt, write_outcome};
pub use probe::{Probe, probe};
pub use recipe::{Augmentation, Preset, Recipe, SchedulerType};
pub(crate) use recognise::OWN;
pub use run::{CurvePoint, Outcome, Run};
pub use step::{SHARDS, Stepped, Stepper};
pub use validation::{KindScore, ValidationPoint};
