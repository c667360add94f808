//! How good an adapter is: its answers to questions whose answers are known.
//!
//! The answers come from the engine, weights and sampler that the browser uses, bit for bit, so
//! that what is measured here is what is served. What counts:
//!
//! * **exact match**: of the questions with an answer, those answered in the very words of the
//!   reference;
//! * **value match**: of the same, those whose answer states every [value](values_of) of the
//!   reference;
//! * **hallucination**: of all questions, those whose answer states a value that is neither in
//!   the reference nor in the question;
//! * **refusal**: of the questions without an answer, those that were refused.

mod ask;
mod bias;
mod bounds;
mod calibrate;
mod coverage;
mod curve;
mod evidence;
mod html;
mod metrics;
mod report;
mod values;
mod verdict;

pub use ask::{Reply, Settings, ask_all};
pub use bias::BiasQuality;
pub use bounds::{at_least, at_most};
pub use calibrate::{
    CURVE_POINTS, Calibration, ScoreQuality, WRONG_AT_MOST, calibrate, field_names, self_test,
};
pub use coverage::{CoveragePoint, Scored, auroc, choose, curve, thin};
pub use evidence::{Evidence, FileHash, Program};
pub use metrics::{Bounds, Metrics};
pub use report::{FieldNames, FileReport, Report, WrongAnswer};
pub use values::{Value, values_of};
pub use verdict::{Refusal, Verdict};
