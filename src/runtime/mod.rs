//! What every role runs on: the clock, tasks and signals.

pub mod clock;
pub mod wheel;
