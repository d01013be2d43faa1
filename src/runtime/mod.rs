//! What every role runs on: the clock, tasks, signals, backoff, timers and file stamps.

pub mod backoff;
pub mod clock;
pub mod signal;
pub mod stamp;
pub mod tasks;
pub mod wheel;

pub use backoff::Backoff;
pub use signal::StopSignals;
pub use stamp::FileStamp;
pub use tasks::{TaskError, Tasks};
pub use wheel::Wheel;
