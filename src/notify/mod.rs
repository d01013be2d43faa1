//! NOTIFY jobs: what they are (pure), how they get into the work queue, and how an edge gets them out.
//!
//! ```text
//! mi bridge, edge ─▶ Queue ─▶ dfks.notify.<edge_id> (work queue) ─▶ Jobs ─▶ edge
//!                      └─ WatcherIndex: which edges
//! ```

mod inbox;
pub mod job;
mod queue;

pub use crate::bus::setup::JOB_LIFETIME;
pub use inbox::{CAPACITY, GivenUp, GivenUpHook, Jobs, MAX_ACK_PENDING, WORKING_EVERY};
pub use job::{EdgeJob, Notice};
pub use queue::{FanOut, Queue};
