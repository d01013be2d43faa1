//! Who asks a consumer for messages. Pure.

use std::time::Duration;

/// A request that waits for messages.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) reply: String,
    /// Messages still wanted.
    pub(super) left: u64,
    pub(super) has_some: bool,
    pub(super) expires_at: Option<Duration>,
    pub(super) is_no_wait: bool,
    pub(super) heartbeat: Duration,
    pub(super) said_at: Duration,
    pub(super) pin: String,
}

impl Waiting {
    pub(super) fn next_at(&self) -> Option<Duration> {
        let heartbeat = (!self.heartbeat.is_zero()).then(|| self.said_at + self.heartbeat);
        self.expires_at.into_iter().chain(heartbeat).min()
    }
}

/// The client that is pinned.
#[derive(Debug, Clone)]
pub(in crate::simulate::server) struct Pin {
    pub(in crate::simulate::server) id: String,
    /// Since when: nanoseconds since 1970.
    pub(in crate::simulate::server) since: u64,
    pub(super) until: Duration,
}
