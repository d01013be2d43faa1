//! Simulated time: that of tokio's paused clock, counted from the beginning of the run.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::runtime::clock;

/// When a world begins: 2026-01-01T00:00:00Z.
const EPOCH: Duration = Duration::from_hours(490_896);

/// The time of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time {
    started_at: Instant,
}

impl Time {
    /// It begins now.
    pub(crate) fn new() -> Self {
        Self { started_at: clock::now() }
    }

    /// Since it began.
    pub(crate) fn elapsed(self) -> Duration {
        clock::now().saturating_duration_since(self.started_at)
    }

    /// The true time of day when it began.
    pub(crate) fn epoch() -> SystemTime {
        UNIX_EPOCH + EPOCH
    }

    /// The true time of day. Each machine has its own opinion of it.
    pub(crate) fn utc_now(self) -> SystemTime {
        Self::epoch() + self.elapsed()
    }

    /// A moment as the clock of the runtime shows it.
    pub(crate) fn instant(self, at: Duration) -> Instant {
        self.started_at + at
    }
}
