//! The mi bridge: commands in, a worker's set route asked, NOTIFY jobs and events out.
//!
//! ```text
//! dfks.set ─▶ command ─▶ dfks.route.set (worker) ─▶ plan ─▶ NOTIFY jobs, dfks.event.feature, the reply
//! ```

pub mod command;
//mod metrics;
pub mod plan;
//pub mod service;

pub use command::SetCommand;
//pub use service::{Fanout, MiError, run};
