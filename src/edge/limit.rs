//! How much an edge holds and does at once. What is over a bound is refused or dropped, and counted.

use crate::edge::metrics::queue::Capacities;
use crate::notify;

/// Server transactions kept, answered ones included; over it 503.
pub(crate) const MAX_SERVER_TRANSACTIONS: usize = 1_000_000;
/// NOTIFYs in flight, with those whose response may still come again; over it they wait.
pub(crate) const MAX_CLIENT_TRANSACTIONS: usize = 2_000_000;
/// Bus requests without a reply; over it 503.
pub(crate) const MAX_WAITS: usize = 20_000;
/// Of those, dialogs looked up in the bucket; over it 503, so that made-up dialogs leave room for real ones.
pub(crate) const MAX_LOOKUPS: usize = 2_000;
/// Of those, HA1s asked of responders; over it 503, so that guesses at passwords leave room for known users.
pub(crate) const MAX_AUTH_WAITS: usize = 2_000;
/// Messages of connections that wait for the driver; over it connections are not read.
pub(crate) const STREAM_QUEUE: usize = 4096;
/// Changes of the subscription bucket that wait for the driver.
pub(crate) const CHANGE_QUEUE: usize = 65_536;
/// Fan-outs that wait for their task. The notifier takes no change while half of it is full; what it has begun by then fits
/// the other half.
pub(crate) const FAN_OUT_QUEUE: usize = 2 * MAX_WAITS;
/// Responses that came to another notifier thread; one more is lost, as a datagram may be.
pub(crate) const STRAY_QUEUE: usize = 4096;
/// Host names that a notifier has located at a time.
pub(crate) const MAX_NAMES_ASKED: usize = 64;
/// Host names that wait for the thread that looks them up, of all notifiers; one more has no answer.
pub(crate) const LOOKUP_QUEUE: usize = 4096;
/// Orphans that wait for the notifier.
pub(crate) const ORPHAN_QUEUE: usize = 256;
/// Times of silence whose changes wait for the notifier.
pub(crate) const MISSED_QUEUE: usize = 4;
/// Jobs that wait to be sent on to other edges; one more is delivered again later.
pub(crate) const MOVED_JOB_QUEUE: usize = 1024;

#[expect(clippy::cast_possible_truncation, reason = "a small positive constant")]
const JOBS_IN_HAND: usize = notify::MAX_ACK_PENDING as usize;

/// The queues whose depth is in the metrics.
pub const CAPACITIES: Capacities = Capacities {
    waits: MAX_WAITS,
    connections: STREAM_QUEUE,
    changes: CHANGE_QUEUE,
    fan_outs: FAN_OUT_QUEUE,
    jobs: notify::CAPACITY,
    jobs_in_hand: JOBS_IN_HAND,
};
