//! NOTIFY jobs: what they are (pure), how they get into the work queue, and how an edge gets them out.
//!
//! ```text
//! mi bridge, edge ─▶ Queue ─▶ dfks.notify.<edge_id> (work queue) ─▶ Jobs ─▶ edge
//!                      └─ WatcherIndex: which edges
//! ```

mod inbox;
pub(crate) mod job;
mod queue;

pub(crate) use crate::bus::setup::JOB_LIFETIME;
pub(crate) use inbox::{CAPACITY, MAX_ACK_PENDING, WORKING_EVERY};
pub use inbox::{GivenUp, GivenUpHook, Jobs};
pub use job::{EdgeJob, Notice};
pub use queue::{FanOut, Queue};
