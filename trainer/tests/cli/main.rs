//! The `trainer` binary as its users meet it, on a tiny base with random weights.

mod answers;
mod fixture;
mod publishing;
mod wrong_input;
