//! Non-INVITE transactions. Pure: time and input come in as arguments, output is drained.
//!
//! Each table has one owner, so it needs no lock; no transaction has a task or a timer of its own.

mod branch;
mod client;
mod key;
mod server;

pub(crate) use branch::{Branch, nonce_of};
pub(crate) use client::ClientTransactions;
pub(crate) use client::{ClientEvent, ClientOutput};
pub(crate) use key::TransactionKey;
pub(crate) use server::Begin;
pub(crate) use server::ServerTransactions;

use std::time::Duration;

/// Estimate of the round trip: what is unanswered after it is sent again. Source: RFC 3261 §17.1.1.1.
pub(crate) const T1: Duration = Duration::from_millis(500);

/// The timers' base values. Source: RFC 3261 §17, table 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timers {
    /// Estimate of the round trip.
    pub t1: Duration,
    /// Longest interval between retransmissions.
    pub t2: Duration,
    /// Longest time that a message stays in the network.
    pub t4: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self { t1: T1, t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

impl Timers {
    /// Timers F and J: 64 T1.
    #[must_use]
    pub(crate) fn timeout(&self) -> Duration {
        self.t1.saturating_mul(64)
    }
}
