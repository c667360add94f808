//! The `trainer` binary as its users meet it, on a tiny base with random weights.

mod answers;
mod exporting;
mod fixture;
mod publishing;
mod retrain;
mod wrong_input;
