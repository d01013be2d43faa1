//! Requests to the bus that have no reply yet, and what a reply says.
//!
//! Each has a token, one timer and one end: its reply, or its time. A reply after its time belongs to nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::AHashMap;

use crate::bus::kv::{self, Entry, Written};
use crate::bus::trace::Cause;
use crate::edge::config::EdgeConfig;
use crate::edge::limit::{MAX_AUTH_WAITS, MAX_LOOKUPS, MAX_WAITS};
use crate::edge::notifier::io::{BusRequest, Output, ReplyMessage, Token, Unavailable};
use crate::edge::notifier::state::backlog::Backlog;
use crate::edge::notifier::state::{Timer, Timers};
use crate::edge::subscription::SubscriptionId;
use crate::edge::subscription::cover::Cover;
use crate::edge::subscription::lane::{Arrival, Exchange, Query};
use crate::edge::subscription::outbox::Owed;
use crate::edge::subscription::record::Record;
use crate::feature::Presentity;
use crate::runtime::room;
use crate::sip::digest::Credentials;

/// How long a phone waits for the workers until it gets the NOTIFY that it is owed without their answer.
const ANSWER_PATIENCE: Duration = Duration::from_millis(800);

/// Why a bus reply is waited for.
#[derive(Debug)]
pub(crate) enum Wait {
    /// The exchange in the subscription's lane is being stored, in a record that covers this.
    Store(SubscriptionId, Cover, Instant),
    /// A record is being stored that covers this: more `CSeq` numbers, mostly.
    Reserve(SubscriptionId, Cover),
    /// A reservation met another revision: whose the subscription is.
    Holder(SubscriptionId),
    /// A subscription of another edge, or of our past, is looked up for this SUBSCRIBE.
    Lookup(SubscriptionId, Box<Exchange>),
    /// A responder is asked for the HA1 that this SUBSCRIBE is checked against.
    Auth(Box<Unproven>),
    /// A key is being removed that has this revision.
    Remove(SubscriptionId, u64),
    /// An orphan is being stored in our name, in a record that covers this.
    TakeOver(SubscriptionId, Cover),
    /// Workers were asked for states.
    Get(SubscriptionId, Query),
    /// Workers were asked for a change.
    Set(SubscriptionId, Query),
}

/// A SUBSCRIBE whose digest waits for the HA1 that it is checked against.
#[derive(Debug)]
pub(crate) struct Unproven {
    pub(crate) arrival: Arrival,
    pub(crate) presentity: Presentity,
    pub(crate) credentials: Credentials,
}

/// How the bucket answered a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreOutcome {
    /// Acknowledged, at this revision.
    Stored(u64),
    /// The key has another revision than expected.
    Conflict,
    /// No acknowledgement.
    Unavailable(Unavailable),
}

pub(crate) struct BusRequests {
    config: Arc<EdgeConfig>,
    waits: AHashMap<u64, Wait>,
    next_token: u64,
    /// Of the waits, those for a key of the bucket.
    lookups: usize,
    /// Of the waits, those for a responder's HA1.
    auth_waits: usize,
    backlog: Backlog,
}

impl BusRequests {
    pub(crate) fn new(config: Arc<EdgeConfig>) -> Self {
        Self { config, waits: AHashMap::new(), next_token: 0, lookups: 0, auth_waits: 0, backlog: Backlog::default() }
    }

    /// Asks the bus, and waits for the answer until the request's time is over.
    pub(crate) fn ask(&mut self, request: BusRequest, wait: Wait, cause: Cause, now: Instant, timers: &mut Timers) -> Output {
        let token = self.next_token;
        self.next_token = self.next_token.wrapping_add(1);
        let is_query = matches!(wait, Wait::Get(..) | Wait::Set(..));
        let timeout = if is_query { self.config.route_timeout } else { self.config.store_timeout };
        if is_query && timeout > ANSWER_PATIENCE {
            timers.schedule(now + ANSWER_PATIENCE, Timer::Patience(token));
        }
        timers.schedule(now + timeout, Timer::Wait(token));
        match &wait {
            Wait::Lookup(..) => self.lookups += 1,
            Wait::Auth(_) => self.auth_waits += 1,
            Wait::Store(..) => self.backlog.asked(),
            Wait::Reserve(..) | Wait::Holder(_) | Wait::Remove(..) | Wait::TakeOver(..) | Wait::Get(..) | Wait::Set(..) => {}
        }
        self.waits.insert(token, wait);
        Output::Request { token: Token(token), request, cause }
    }

    /// Ends a wait; `None`: it has ended already.
    pub(crate) fn end(&mut self, Token(token): Token, now: Instant) -> Option<Wait> {
        let wait = self.waits.remove(&token)?;
        match &wait {
            Wait::Lookup(..) => self.lookups -= 1,
            Wait::Auth(_) => self.auth_waits -= 1,
            Wait::Store(_, _, asked_at) => self.backlog.answered(*asked_at, now),
            Wait::Reserve(..) | Wait::Holder(_) | Wait::Remove(..) | Wait::TakeOver(..) | Wait::Get(..) | Wait::Set(..) => {}
        }
        Some(wait)
    }

    /// Gives back the memory of a burst that is over.
    pub(crate) fn shrink(&mut self) {
        room::shrink(&mut self.waits);
    }

    pub(crate) fn is_waiting(&self, Token(token): Token) -> bool {
        self.waits.contains_key(&token)
    }

    /// The workers' answer is late: the NOTIFY that is owed for their query, if it is owed without the answer. It is owed no
    /// more then.
    pub(crate) fn take_owed(&mut self, Token(token): Token) -> Option<(SubscriptionId, Owed)> {
        let (Wait::Get(id, query) | Wait::Set(id, query)) = self.waits.get_mut(&token)? else { return None };
        // The last NOTIFY says what it can, and waits for that.
        let is_owed = query.ends.is_none() && std::mem::replace(&mut query.is_owed, false);
        is_owed.then(|| (*id, query.owed()))
    }

    pub(crate) fn len(&self) -> usize {
        self.waits.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waits.len() >= MAX_WAITS
    }

    /// Whether there is room for what nobody waits for.
    pub(crate) fn is_half_empty(&self) -> bool {
        self.waits.len() < MAX_WAITS / 2
    }

    pub(crate) const fn has_room_for_lookup(&self) -> bool {
        self.lookups < MAX_LOOKUPS
    }

    pub(crate) const fn has_room_for_auth(&self) -> bool {
        self.auth_waits < MAX_AUTH_WAITS
    }

    /// Whether a store that begins now would wait long.
    pub(crate) const fn is_backlog_long(&self) -> bool {
        self.backlog.is_long()
    }

    #[cfg(test)]
    pub(crate) const fn lookups(&self) -> usize {
        self.lookups
    }

    #[cfg(test)]
    pub(crate) const fn auth_waits_mut(&mut self) -> &mut usize {
        &mut self.auth_waits
    }
}

pub(crate) fn store_outcome(message: Result<ReplyMessage, Unavailable>) -> StoreOutcome {
    let message = match message {
        Ok(message) => message,
        Err(why) => return StoreOutcome::Unavailable(why),
    };
    match Written::read(&message.payload) {
        Ok(Written::Stored(revision)) if revision > 0 => StoreOutcome::Stored(revision),
        Ok(Written::Conflict) => StoreOutcome::Conflict,
        Ok(Written::Stored(_)) | Err(_) => StoreOutcome::Unavailable(Unavailable::NotSent),
    }
}

/// What is under a key of the bucket.
#[derive(Debug)]
pub(crate) enum Found {
    /// A record and its revision.
    Record(Box<Record>, u64),
    /// None that we could read.
    Gone {
        /// Of what is there in its place, 0: nothing.
        revision: u64,
        /// The revision that was removed, where an edge has removed it.
        removed_over: Option<u64>,
    },
}

pub(crate) fn read_record(message: &ReplyMessage) -> Result<Found, Unavailable> {
    let entry = kv::entry(message.status, message.sequence, message.is_deleted, message.payload.clone());
    let gone = |revision| Found::Gone { revision, removed_over: message.removed_over };
    Ok(match entry.map_err(|_| Unavailable::NotSent)? {
        Entry::Absent(revision) => gone(revision),
        Entry::Value(revision, value) => {
            serde_json::from_slice(&value).map_or_else(|_| gone(revision), |record| Found::Record(record, revision))
        }
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::edge::notifier::tests::fixture::config;
    use crate::edge::subscription::lane::Question;
    use crate::runtime::clock;

    fn query(now: Instant, is_owed: bool) -> Query {
        Query { what: Question::FullState, cause: Cause::new(), since: now, ends: None, is_owed }
    }

    #[test]
    fn a_request_ends_once_and_has_one_timer_or_two() {
        let (now, id) = (clock::now(), SubscriptionId::random());
        let (mut requests, mut timers) = (BusRequests::new(Arc::new(config())), Timers::new(now));
        let mut ask = |request, wait| match requests.ask(request, wait, Cause::new(), now, &mut timers) {
            Output::Request { token, .. } => token,
            other => panic!("{other:?}"),
        };
        let removal = ask(BusRequest::Remove { id, expected_revision: 7, covers: Duration::ZERO }, Wait::Remove(id, 7));
        let get = ask(BusRequest::Lookup { id }, Wait::Get(id, query(now, true)));
        assert_eq!((timers.len(), requests.len()), (3, 2), "a query has patience too");
        assert!(requests.is_waiting(removal) && requests.take_owed(removal).is_none(), "no NOTIFY is owed for it");
        assert!(requests.take_owed(get).is_some() && requests.take_owed(get).is_none(), "owed once");
        assert!(matches!(requests.end(removal, now), Some(Wait::Remove(_, 7))));
        assert!(requests.end(removal, now).is_none() && !requests.is_waiting(removal));
        assert!(matches!(requests.end(get, now), Some(Wait::Get(_, Query { is_owed: false, .. }))));
        assert!(requests.is_empty() && requests.is_half_empty() && !requests.is_full());
    }

    fn message(payload: &str) -> ReplyMessage {
        ReplyMessage {
            status: None,
            sequence: None,
            is_deleted: false,
            removed_over: None,
            payload: Bytes::copy_from_slice(payload.as_bytes()),
        }
    }

    #[test]
    fn tells_an_acknowledgement_from_a_conflict_and_from_a_failure() {
        for (payload, want) in [
            (r#"{"stream":"KV_dfks-subscriptions","seq":7}"#, StoreOutcome::Stored(7)),
            (
                r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"},"stream":"s","seq":0}"#,
                StoreOutcome::Conflict,
            ),
            (
                r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}"#,
                StoreOutcome::Unavailable(Unavailable::NotSent),
            ),
            ("garbage", StoreOutcome::Unavailable(Unavailable::NotSent)),
        ] {
            assert_eq!(store_outcome(Ok(message(payload))), want, "{payload}");
        }
        assert_eq!(store_outcome(Err(Unavailable::Timeout)), StoreOutcome::Unavailable(Unavailable::Timeout));
    }
}
