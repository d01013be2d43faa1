//! A SUBSCRIBE from its arrival to its last NOTIFY, and the lane that keeps those of one subscription in order. Pure.
//!
//! ```text
//!  SUBSCRIBE ─▶ waiting ─▶ storing ─(acknowledged)─▶ 200 ─▶ queries ─▶ asking ─(worker answered)─▶ outbox
//!                             └──(late, refused)──▶ 503
//! ```
//! A subscription has one store and one query under way at a time, so that two presses of a key cannot overtake each other.
//! The 200 never waits for a worker.

use std::collections::VecDeque;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::bus::message::Asked;
use crate::bus::trace::Cause;
use crate::edge::gate::policy::Identity;
use crate::edge::subscribe::Subscribe;
use crate::edge::subscription::outbox::{Ending, Owed};
use crate::edge::subscription::sync::Sync;
use crate::edge::subscription::underway::Resting;
use crate::feature::FeatureChange;
use crate::sip::flow::Flow;
use crate::sip::request::Request;
use crate::sip::transaction::TransactionKey;

/// A request, and what its response needs.
#[derive(Debug)]
pub struct Arrival {
    pub request: Request,
    /// Its server transaction.
    pub key: TransactionKey,
    pub flow: Flow,
    pub at: Instant,
    /// Id of what follows from it.
    pub cause: Cause,
}

/// An admitted SUBSCRIBE that has no final response yet.
#[derive(Debug)]
pub struct Exchange {
    pub arrival: Arrival,
    /// What it asks for.
    pub subscribe: Subscribe,
    pub identity: Identity,
    /// Whether its `CSeq` is the one after that of the last SUBSCRIBE accepted here.
    pub is_next: bool,
    /// The subscription's expiry before it, to go back to when it cannot be stored.
    pub expires_before: Option<Instant>,
    /// Whether its store was tried again after a conflict.
    pub retried: bool,
    /// Whether the record that it takes the place of is another edge's.
    pub is_moving: bool,
}

impl Exchange {
    /// An exchange that was not stored yet.
    #[must_use]
    pub fn new(arrival: Arrival, subscribe: Subscribe, identity: Identity) -> Self {
        Self { arrival, subscribe, identity, is_next: false, expires_before: None, retried: false, is_moving: false }
    }
}

/// What is to be asked of the workers for a subscription.
#[derive(Debug)]
pub struct Query {
    pub what: Question,
    /// Id of what led to it.
    pub cause: Cause,
    pub since: Instant,
    /// How the subscription ends with the answer, if it does.
    pub ends: Option<Ending>,
    /// Whether a NOTIFY is owed for it, whatever comes of it. Source: RFC 6665 §4.2.1.2.
    pub is_owed: bool,
}

impl Query {
    /// The NOTIFY that is owed for it.
    #[must_use]
    pub fn owed(&self) -> Owed {
        Owed { cause: self.cause.clone(), since: self.since, job: None }
    }
}

/// What to ask the workers.
#[derive(Debug)]
pub enum Question {
    FullState,
    /// The full state, of which the phone is told what it has not confirmed.
    Missed,
    /// One feature's state, to tell the phone how it really is after a change that failed.
    Confirm {
        feature: String,
        /// Why the change failed, for the event; `None`: it was refused before a worker saw it.
        refused: Option<Box<Refused>>,
    },
    /// A change by the phone.
    Change(FeatureChange),
}

/// A change that failed, for its event.
#[derive(Debug)]
pub struct Refused {
    pub reason: String,
    pub asked: Asked,
}

impl Question {
    /// The change that it asks for.
    #[must_use]
    pub const fn change(&self) -> Option<&FeatureChange> {
        if let Self::Change(change) = self { Some(change) } else { None }
    }

    /// Whether the answer says all there is to say.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        matches!(self, Self::FullState | Self::Missed)
    }
}

/// What the bucket is asked for the subscription.
#[derive(Debug, Default)]
pub enum Storing {
    #[default]
    Nothing,
    /// To store or remove the record for this SUBSCRIBE.
    UnderWay(Box<Exchange>),
    /// To store the record in our name: the subscription is taken over from a silent edge.
    TakenOver,
    /// To read the key, whose revision was another than expected; the SUBSCRIBE waits beside the request.
    LookedUp,
}

/// The stores and queries of one subscription, in order.
#[derive(Debug, Default)]
pub struct Lane {
    /// The store under way.
    pub storing: Storing,
    /// SUBSCRIBEs that wait for it.
    pub waiting: VecDeque<Box<Exchange>>,
    /// What is to be asked of the workers next.
    pub queries: VecDeque<Query>,
    /// Whether a query is under way.
    pub is_asking: bool,
    /// Versions that the phone was told meanwhile, by place in the table: the answer may be older than they are.
    pub overtaken: Vec<(u8, u64)>,
    /// When the full state is asked for again, because no worker answered.
    pub retry: Option<Retry>,
    /// When the full state is asked for, to tell what the phone has missed.
    pub missed_at: Option<Instant>,
    /// Whether what the phone was told last is known here, and what waits until it is.
    pub sync: Sync,
    /// The newest record of it that was seen in the bucket while one was being stored.
    pub seen: Option<Seen>,
    /// While a NOTIFY waits for a `CSeq` that is reserved: when one is asked for again.
    pub reserve_again_at: Option<Instant>,
}

/// A record of a subscription that was seen in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its revision.
    pub revision: u64,
    /// Whether it is in the name of this edge.
    pub is_ours: bool,
}

/// A full state that is still owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    pub at: Instant,
    /// The pause before this try.
    pub after: Duration,
    /// Whether its phone has no NOTIFY yet for what it is asked for.
    pub is_owed: bool,
    /// Whether the phone is told only what it has not confirmed.
    pub is_missed: bool,
}

/// SUBSCRIBEs that may wait behind one store; over it 503.
const MAX_WAITING: usize = 4;
/// Queries that may wait behind one; over it 503.
const MAX_QUERIES: usize = 16;
const FIRST_RETRY_AFTER: Duration = Duration::from_secs(1);

static NOTHING_UNDER_WAY: LazyLock<Lane> = LazyLock::new(Lane::default);

impl Resting for Lane {
    fn at_rest() -> &'static Self {
        &NOTHING_UNDER_WAY
    }

    fn is_at_rest(&self) -> bool {
        let Self { storing, waiting, queries, is_asking, overtaken, retry, missed_at, sync, seen, reserve_again_at } = self;
        let is_empty = waiting.is_empty() && queries.is_empty() && overtaken.is_empty();
        let is_idle = matches!(storing, Storing::Nothing) && !is_asking && seen.is_none() && sync.is_at_rest();
        is_empty && is_idle && retry.is_none() && missed_at.is_none() && reserve_again_at.is_none()
    }
}

impl Lane {
    /// Whether another SUBSCRIBE may join.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING && self.queries.len() < MAX_QUERIES
    }

    /// Whether a store is under way: until it is answered, nothing else decides about the subscription.
    #[must_use]
    pub fn is_storing(&self) -> bool {
        !matches!(self.storing, Storing::Nothing)
    }

    /// Whether the workers have nothing left to answer.
    #[must_use]
    pub fn has_no_query(&self) -> bool {
        !self.is_asking && self.queries.is_empty()
    }

    /// Whether a query for the full state waits, so that a NOTIFY about one feature now would only be one more.
    #[must_use]
    pub fn asks_for_full_state(&self) -> bool {
        self.queries.iter().any(|query| query.what.is_whole())
    }

    /// The next query, if none is under way. It is under way then until [`Lane::query_done`].
    pub fn next_query(&mut self) -> Option<Query> {
        let query = if self.is_asking { None } else { self.queries.pop_front() };
        self.is_asking |= query.is_some();
        if query.as_ref().is_some_and(|query| query.what.is_whole()) {
            self.sync.asked();
        }
        query
    }

    /// The query under way is answered.
    pub fn query_done(&mut self) {
        self.is_asking = false;
        self.sync.query_done();
        self.overtaken = Vec::new();
    }

    /// The phone is told this version while the workers are asked.
    pub fn overtake(&mut self, feature: u8, version: u64) {
        if self.is_asking {
            self.overtaken.push((feature, version));
        }
    }

    /// Whether the phone was told a newer version since the workers were asked.
    #[must_use]
    pub fn has_overtaken(&self, feature: u8, version: u64) -> bool {
        self.overtaken.iter().any(|(at, told)| *at == feature && *told > version)
    }

    /// The full state is asked for at this time.
    pub fn ask_at(&mut self, at: Instant) {
        self.retry = Some(Retry { at, after: FIRST_RETRY_AFTER, is_owed: true, is_missed: false });
    }

    /// The full state is asked for at this time, and the phone told what it has missed of it; unless it is asked for anyway.
    pub fn ask_missed_at(&mut self, at: Instant) {
        let is_coming = self.asks_for_full_state() || self.retry.is_some_and(|retry| retry.is_missed);
        if !is_coming && self.missed_at.is_none_or(|before| at < before) {
            self.missed_at = Some(at);
        }
    }

    /// Whether the full state is to be asked for at some time.
    #[must_use]
    pub const fn is_asked_for(&self) -> bool {
        self.retry.is_some() || self.missed_at.is_some()
    }

    /// No worker answered: when to ask again, with pauses that grow up to the `longest`.
    ///
    /// What a phone has missed comes with the full state, where that is owed anyway.
    pub fn retry_later(&mut self, now: Instant, longest: Duration, is_missed: bool) -> Instant {
        if let Some(retry) = self.retry.as_mut().filter(|retry| is_missed && !retry.is_missed) {
            retry.at = retry.at.min(now + FIRST_RETRY_AFTER);
            return retry.at;
        }
        let after = self.retry.map_or(FIRST_RETRY_AFTER, |retry| (retry.after * 2).min(longest));
        let at = now + after;
        self.retry = Some(Retry { at, after, is_owed: false, is_missed });
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_again_with_growing_pauses() {
        let now = crate::runtime::clock::now();
        let mut lane = Lane::default();
        let pauses: Vec<u64> = (0..7).map(|_| (lane.retry_later(now, Duration::from_secs(30), false) - now).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(lane.retry_later(now, Duration::from_secs(2), false) - now, Duration::from_secs(2));
    }

    #[test]
    fn one_query_is_under_way_at_a_time() {
        let now = crate::runtime::clock::now();
        let query = || Query { what: Question::FullState, cause: Cause::new(), since: now, ends: None, is_owed: true };
        let mut lane = Lane { queries: [query(), query()].into(), ..Lane::default() };
        assert!(lane.next_query().is_some() && lane.next_query().is_none() && lane.asks_for_full_state());
        lane.overtake(1, 7);
        assert!(lane.has_overtaken(1, 6) && !lane.has_overtaken(1, 7) && !lane.has_overtaken(2, 6));
        lane.query_done();
        assert!(!lane.has_overtaken(1, 6), "the next answer is newer");
        assert!(lane.next_query().is_some() && !lane.asks_for_full_state() && !lane.has_no_query());
        lane.query_done();
        assert!(lane.has_no_query());
    }
}
