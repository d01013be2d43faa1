//! The mi bridge: commands in, a worker's set route asked, NOTIFY jobs and events out.
//!
//! ```text
//! dfks.set ─▶ command ─▶ dfks.route.set (worker) ─▶ plan ─▶ NOTIFY jobs, dfks.event.feature, the reply
//! ```

pub mod bridge;
pub mod command;
pub mod error;
mod metrics;
pub mod plan;
pub mod service;

pub use bridge::{Bridge, Fanout};
pub use command::SetCommand;
pub use error::MiError;
pub use service::run;
