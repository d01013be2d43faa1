//! NOTIFY jobs: how a change that happened elsewhere reaches the edges that hold watchers.
//!
//! ```text
//!  mi bridge ─┐                        ┌─ watcher index: which edges hold watchers
//!             ├─▶ queue ─▶ plan (job) ─┤
//!  edge ──────┘                        └─▶ DFKS_NOTIFY (work queue) ─▶ intake of each edge ─▶ its notifier
//! ```

pub mod intake;
pub mod job;
pub mod queue;
