//! The non-INVITE server transactions.
//!
//! ```text
//!            begin (New)          complete (reliable: Timer J = 0)
//!  request ─────────────▶ Trying ───────────────────────────────▶ gone
//!                           │  ▲│ begin: Retransmission(None)
//!                           │  └┘
//!                           │ complete (UDP: Timer J = 64 T1)
//!                           ▼
//!                       Completed ─┐ begin: Retransmission(response)
//!                           │  ▲   │
//!                           │  └───┘
//!                           ▼ Timer J
//!                         gone
//! ```
//! Trying ends after 64 T1 as well: the sender has given up by then (its Timer F). There is no Proceeding:
//! provisional responses to non-INVITE requests do more harm than good (RFC 4320 §4.1).
//! Source: RFC 3261 §17.2.2.

use std::collections::HashMap;
use std::time::Instant;

use ahash::RandomState;
use bytes::Bytes;

use super::Timers;
use super::key::{KeyMaker, TransactionKey};
use crate::runtime::room;
use crate::runtime::wheel::Wheel;
use crate::sip::request::Request;

/// Every non-INVITE server transaction of an edge.
#[derive(Debug)]
pub(crate) struct ServerTransactions {
    keys: KeyMaker,
    transactions: HashMap<u128, Transaction, RandomState>,
    /// From the copies of a request to the transaction of the one that came first.
    merges: HashMap<u128, u128, RandomState>,
    wheel: Wheel<Deadline>,
    due: Vec<Deadline>,
    last_serial: u64,
    capacity: usize,
    timers: Timers,
}

/// A deadline counts for the transaction that set it, not for a later one of the same key.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    key: u128,
    serial: u64,
}

#[derive(Debug)]
struct Transaction {
    serial: u64,
    state: State,
    merge: Option<u128>,
    ends_at: Instant,
}

#[derive(Debug)]
enum State {
    Trying,
    Completed(Bytes),
}

/// What a request is to its transaction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Begin<'a> {
    /// The first of its transaction: to be handled, and [`ServerTransactions::complete`]d.
    New,
    /// The same again: its response is sent again, if there is one yet; else it is dropped.
    Retransmission(Option<&'a Bytes>),
    /// A copy of a request that came on another path: answered 482 (RFC 3261 §8.2.2.2), without a transaction.
    Merged,
    /// No room: answered 503 at once, without a transaction.
    Full,
}

impl ServerTransactions {
    /// An empty table for at most so many transactions at a time.
    #[must_use]
    pub(crate) fn new(capacity: usize, timers: Timers, now: Instant) -> Self {
        Self {
            keys: KeyMaker::new(),
            transactions: HashMap::default(),
            merges: HashMap::default(),
            wheel: Wheel::new(now),
            due: Vec::new(),
            last_serial: 0,
            capacity,
            timers,
        }
    }

    /// The key of a request.
    #[must_use]
    pub(crate) fn key(&self, request: &Request) -> TransactionKey {
        self.keys.key(request)
    }

    /// What a request is to its transaction, without beginning one: to answer it without state (RFC 3261 §8.2.7).
    #[must_use]
    pub(crate) fn look(&self, key: TransactionKey) -> Begin<'_> {
        if let Some(transaction) = self.transactions.get(&key.transaction) {
            return Begin::Retransmission(transaction.response());
        }
        if key.merge.is_some_and(|merge| self.merges.contains_key(&merge)) {
            return Begin::Merged;
        }
        if self.transactions.len() >= self.capacity { Begin::Full } else { Begin::New }
    }

    /// Takes a request in.
    pub(crate) fn begin(&mut self, key: TransactionKey, now: Instant) -> Begin<'_> {
        if self.look(key) != Begin::New {
            return self.look(key);
        }
        let ends_at = now + self.timers.timeout();
        self.last_serial = self.last_serial.wrapping_add(1);
        let serial = self.last_serial;
        self.transactions.insert(key.transaction, Transaction { serial, state: State::Trying, merge: key.merge, ends_at });
        if let Some(merge) = key.merge {
            self.merges.insert(merge, key.transaction);
        }
        self.wheel.schedule(ends_at, Deadline { key: key.transaction, serial });
        Begin::New
    }

    /// Gives a transaction its final response. Over a reliable transport there are no retransmissions, so it ends at once;
    /// else it is kept until Timer J, in no more room than it takes: that is 32 s of all that is answered. A transaction that has
    /// ended or has its response stays as it is.
    pub(crate) fn complete(&mut self, key: TransactionKey, response: &[u8], is_reliable: bool, now: Instant) {
        if is_reliable {
            self.remove(key.transaction);
            return;
        }
        if let Some(transaction) = self.transactions.get_mut(&key.transaction)
            && matches!(transaction.state, State::Trying)
        {
            transaction.state = State::Completed(Bytes::copy_from_slice(response));
            transaction.ends_at = now + self.timers.timeout();
        }
    }

    /// Ends a transaction without a trace: its request is answered as if none had begun.
    pub(crate) fn forget(&mut self, key: TransactionKey) {
        self.remove(key.transaction);
    }

    /// Ends what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.wheel.pop_due(now, |deadline| self.due.push(deadline));
        while let Some(deadline) = self.due.pop() {
            let transaction = self.transactions.get(&deadline.key).filter(|transaction| transaction.serial == deadline.serial);
            match transaction.map(|transaction| transaction.ends_at) {
                // Completed since its deadline was set: Timer J runs from then.
                Some(ends_at) if ends_at > now => self.wheel.schedule(ends_at, deadline),
                Some(_) => self.remove(deadline.key),
                None => {}
            }
        }
        room::shrink(&mut self.transactions);
        room::shrink(&mut self.merges);
        self.due.shrink_to(room::KEPT);
    }

    /// When `Self::handle_timeout` is due.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.wheel.next_at()
    }

    /// How many transactions there are.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.transactions.len()
    }

    /// Whether there is none.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    fn remove(&mut self, key: u128) {
        if let Some(merge) = self.transactions.remove(&key).and_then(|transaction| transaction.merge) {
            self.merges.remove(&merge);
        }
    }
}

impl Transaction {
    fn response(&self) -> Option<&Bytes> {
        match &self.state {
            State::Trying => None,
            State::Completed(response) => Some(response),
        }
    }
}

#[cfg(test)]
#[path = "tests/server.rs"]
mod tests;
