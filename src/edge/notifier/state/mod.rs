//! What the notifier knows, in parts. Each has private fields and keeps one invariant.
//!
//! | part | holds | always |
//! |---|---|---|
//! | `registry` | subscriptions | by id and by presentity say the same |
//! | `delivery` | NOTIFYs in flight, open connections | a NOTIFY in flight has one transaction, and is known to its connection |
//! | `detour` | phones that cannot be reached over TCP | none is tried again before its time; bounded |
//! | `names` | host names that NOTIFYs go to | each is asked for once at a time; what is dead is tried last; bounded |
//! | `bus_requests` | requests to the bus without a reply | each has one timer, and ends once |
//! | `responses` | server transactions | a response is counted, kept for copies of its request, and sent |
//! | `job_table` | NOTIFY jobs in hand | each is acknowledged once, when nobody is left to be told |
//! | `watermark` | SUBSCRIBEs of which something may still be owed | what was asked before the mark is told |
//! | `unanswered` | whose full state no worker gave | exactly those with a retry |
//! | `removals` | keys to be removed from the bucket | each is tried until it is answered or gone by itself |
//! | `resyncs` | phones to be told anew because somebody asked for it | each waits once; one timer for all |
//! | `availability` | bus, lease, room, stop | nothing new begins without all of them |
//!
//! A part takes the time, a subscription or another part as an argument. What it wants done it returns.

pub(super) mod availability;
mod backlog;
pub(super) mod bus_requests;
pub(super) mod delivery;
mod detour;
pub(super) mod job_table;
pub(super) mod names;
pub(super) mod registry;
pub(super) mod removals;
pub(super) mod responses;
pub(super) mod resyncs;
pub(super) mod unanswered;
pub(super) mod watermark;

use crate::edge::subscription::SubscriptionId;
use crate::runtime::wheel::Wheel;

/// Something in the timer wheel. Timers are never cancelled: whoever set one looks whether it still means something.
#[derive(Debug, Clone, Copy)]
pub(super) enum Timer {
    /// Something of a subscription is due.
    Subscription(SubscriptionId),
    /// A bus request has waited long enough.
    Wait(u64),
    /// The workers' answer is late: the phone gets the NOTIFY that it is owed without it.
    Patience(u64),
    /// The removal of a key is tried again.
    Removal(SubscriptionId),
    /// Time to check whether every request has been told.
    Watermark,
    /// The next phone is told anew.
    Resync,
}

pub(super) type Timers = Wheel<Timer>;
