//! Metrics of host names that NOTIFYs go to.

use std::time::Duration;

use ahash::AHashMap;
use metrics::{Counter, Histogram, counter, histogram};

use crate::sip::locate::Candidate;

/// What came of looking a name up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LookupOutcome {
    /// It leads somewhere.
    Found,
    /// It does not exist, or leads nowhere that this edge reaches.
    NotFound,
    /// No server answered, or none could.
    NoAnswer,
    /// The same, and what was known before is used on.
    Stale,
    /// Too many names were looked up: it was not.
    NoRoom,
}

impl LookupOutcome {
    /// All of them, to have every series from the start.
    pub const ALL: [Self; 5] = [Self::Found, Self::NotFound, Self::NoAnswer, Self::Stale, Self::NoRoom];

    /// The label `outcome`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::NotFound => "not_found",
            Self::NoAnswer => "no_answer",
            Self::Stale => "stale",
            Self::NoRoom => "no_room",
        }
    }
}

/// Why a NOTIFY went to the next server of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailoverReason {
    /// No connection could be made.
    NoConnection,
    /// No response came: Timer F.
    Timeout,
    /// 503.
    Unavailable,
}

impl FailoverReason {
    /// All of them, to have every series from the start.
    pub const ALL: [Self; 3] = [Self::NoConnection, Self::Timeout, Self::Unavailable];

    /// The label `reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoConnection => "no_connection",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Handles of every series.
pub struct NameMetrics {
    lookups: AHashMap<LookupOutcome, Counter>,
    seconds: Histogram,
    failovers: AHashMap<FailoverReason, Counter>,
}

impl NameMetrics {
    /// Registers every series, at 0.
    #[must_use]
    pub fn new() -> Self {
        metrics::describe_counter!("dfks_edge_lookups_total", "Host names of Routes and Contacts that were looked up, by outcome");
        metrics::describe_histogram!(
            "dfks_edge_lookup_duration_seconds",
            metrics::Unit::Seconds,
            "From the question where a host name leads to its answer, NAPTR, SRV and address records together"
        );
        metrics::describe_counter!("dfks_notify_failovers_total", "NOTIFYs that went to the next server of a host name, by reason");
        let lookups = |outcome: LookupOutcome| (outcome, counter!("dfks_edge_lookups_total", "outcome" => outcome.as_str()));
        let failovers = |reason: FailoverReason| (reason, counter!("dfks_notify_failovers_total", "reason" => reason.as_str()));
        Self {
            lookups: LookupOutcome::ALL.map(lookups).into(),
            seconds: histogram!("dfks_edge_lookup_duration_seconds"),
            failovers: FailoverReason::ALL.map(failovers).into(),
        }
    }

    /// A name was looked up, or could not be.
    pub fn ended(&self, outcome: LookupOutcome, took: Duration) {
        if let Some(counter) = self.lookups.get(&outcome) {
            counter.increment(1);
        }
        if outcome != LookupOutcome::NoRoom {
            self.seconds.record(took);
        }
        tracing::debug!(outcome = outcome.as_str(), "name looked up");
    }

    /// A name leads nowhere, and is asked for again only after a while. The first time in a row it is told aloud.
    pub fn leads_nowhere(name: &str, outcome: LookupOutcome, again_after: Duration, is_first: bool) {
        let (outcome, again_after_seconds) = (outcome.as_str(), again_after.as_secs());
        if is_first {
            tracing::warn!(name, outcome, again_after_seconds, "host name leads nowhere, what is to be told there waits");
        } else {
            tracing::debug!(name, outcome, again_after_seconds, "host name leads nowhere still");
        }
    }

    /// A NOTIFY goes to the next server of its name.
    pub fn failed_over(&self, reason: FailoverReason, way: Candidate) {
        if let Some(counter) = self.failovers.get(&reason) {
            counter.increment(1);
        }
        let (address, transport) = (way.address, way.transport.as_str());
        tracing::debug!(reason = reason.as_str(), %address, transport, "notify goes to the next server");
    }
}
