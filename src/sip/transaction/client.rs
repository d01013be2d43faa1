//! The non-INVITE client transactions.
//!
//! ```text
//!          start          1xx                 final (reliable: Timer K = 0)
//!  user ─────────▶ Trying ────▶ Proceeding ──────────────────────────────▶ gone
//!                   │  │          │   │  └ Timer E: Retransmit, E = T2
//!                   │  └ Timer E: Retransmit, E = min(2 E, T2)
//!                   │             │   │ final (UDP: Timer K = T4)
//!                   │  final (UDP)▼   ▼
//!                   ├──────────▶ Completed ── any response: Absorbed
//!                   │             │ Timer K
//!                   │ Timer F     ▼
//!                   └────────▶ gone        (Timer F in Proceeding: the same)
//! ```
//! Source: RFC 3261 §17.1.2.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use ahash::RandomState;
use bytes::Bytes;

use super::Timers;
use super::branch::Branch;
use crate::runtime::room;
use crate::runtime::wheel::Wheel;

/// Every non-INVITE client transaction of an edge. `U` is what its user keeps with each.
#[derive(Debug)]
pub(crate) struct ClientTransactions<U> {
    transactions: HashMap<u64, Transaction<U>, RandomState>,
    last_key: u64,
    wheel: Wheel<u64>,
    due: Vec<u64>,
    output: VecDeque<Pending<U>>,
    capacity: usize,
    timers: Timers,
}

#[derive(Debug)]
struct Transaction<U> {
    nonce: u64,
    method: Box<str>,
    state: State<U>,
}

#[derive(Debug)]
enum State<U> {
    /// Trying or Proceeding.
    Calling(Calling<U>),
    /// The user has the final response. Until Timer K, copies of it are absorbed.
    Completed { ends_at: Instant },
}

#[derive(Debug)]
struct Calling<U> {
    phase: Phase,
    packet: Bytes,
    user: U,
    /// Timer E: when, and the interval that led there. `None` on a reliable transport.
    retransmit: Option<(Instant, Duration)>,
    times_out_at: Instant,
}

/// What decides the pace of Timer E.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Trying,
    Proceeding,
}

#[derive(Debug)]
enum Pending<U> {
    Retransmit(u64),
    TimedOut(U),
}

/// What a response is to its transaction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ClientEvent<U> {
    /// Provisional: keep waiting.
    Proceeding,
    /// Final: the transaction is the user's no more.
    Completed(U),
    /// A copy of the final response.
    Absorbed,
}

/// What is to be done when a timer fired.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ClientOutput<'a, U> {
    /// The request is sent once more.
    Retransmit(&'a U, Bytes),
    /// Nobody answered (Timer F): to the user as a 408 (RFC 3261 §8.1.3.1).
    TimedOut(U),
}

impl<U> ClientTransactions<U> {
    /// An empty table for at most so many transactions at a time.
    #[must_use]
    pub(crate) fn new(capacity: usize, timers: Timers, now: Instant) -> Self {
        Self {
            transactions: HashMap::default(),
            last_key: 0,
            wheel: Wheel::new(now),
            due: Vec::new(),
            output: VecDeque::new(),
            capacity,
            timers,
        }
    }

    /// A branch for one more request; `None` when there is no room. `nonce` is random.
    pub(crate) fn next_branch(&mut self, nonce: u64) -> Option<Branch> {
        if self.transactions.len() >= self.capacity {
            return None;
        }
        self.last_key = self.last_key.wrapping_add(1);
        Some(Branch::new(self.last_key, nonce))
    }

    /// Starts the transaction of a request that has just been sent with this branch.
    #[expect(clippy::needless_pass_by_value, reason = "the branch is used up")]
    pub(crate) fn start(&mut self, branch: Branch, method: &str, packet: Bytes, is_reliable: bool, user: U, now: Instant) {
        let Branch { key, nonce, .. } = branch;
        let calling = Calling {
            phase: Phase::Trying,
            packet,
            user,
            retransmit: (!is_reliable).then(|| (now + self.timers.t1, self.timers.t1)),
            times_out_at: now + self.timers.timeout(),
        };
        self.wheel.schedule(calling.due_at(), key);
        self.transactions.insert(key, Transaction { nonce, method: method.into(), state: State::Calling(calling) });
    }

    /// Takes a response in; `None` when it belongs to no transaction (RFC 3261 §17.1.3: branch and `CSeq` method), and is dropped.
    pub(crate) fn handle_response(&mut self, branch: &str, method: &str, status: u16, now: Instant) -> Option<ClientEvent<U>> {
        let (key, nonce) = Branch::read(branch)?;
        let transaction = self.transactions.get_mut(&key)?;
        if transaction.nonce != nonce || *transaction.method != *method {
            return None;
        }
        let calling = match &mut transaction.state {
            State::Completed { .. } => return Some(ClientEvent::Absorbed),
            State::Calling(calling) if status < 200 => {
                calling.phase = Phase::Proceeding;
                return Some(ClientEvent::Proceeding);
            }
            State::Calling(calling) => calling,
        };
        // Timer K: nothing can come again over a reliable transport.
        let ends_at = calling.retransmit.is_some().then(|| now + self.timers.t4);
        let Transaction { nonce, method, state } = self.transactions.remove(&key)?;
        if let Some(ends_at) = ends_at {
            self.transactions.insert(key, Transaction { nonce, method, state: State::Completed { ends_at } });
            self.wheel.schedule(ends_at, key);
        }
        match state {
            State::Calling(calling) => Some(ClientEvent::Completed(calling.user)),
            State::Completed { .. } => Some(ClientEvent::Absorbed),
        }
    }

    /// Whether a transaction of this branch is here: the request that has it is one of ours.
    #[must_use]
    pub(crate) fn has(&self, branch: &str) -> bool {
        Branch::read(branch).is_some_and(|(key, nonce)| self.transactions.get(&key).is_some_and(|transaction| transaction.nonce == nonce))
    }

    /// Ends a transaction that waits for its final response; gives its user back.
    pub(crate) fn cancel(&mut self, branch: &str) -> Option<U> {
        let (key, nonce) = Branch::read(branch)?;
        self.transactions.get(&key).filter(|transaction| transaction.nonce == nonce)?;
        self.transactions.remove(&key).and_then(Transaction::into_user)
    }

    /// Fires the timers that are due; then [`Self::poll_output`] is drained.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.wheel.pop_due(now, |key| self.due.push(key));
        while let Some(key) = self.due.pop() {
            self.fire(key, now);
        }
        room::shrink(&mut self.transactions);
        self.due.shrink_to(room::KEPT);
    }

    fn fire(&mut self, key: u64, now: Instant) {
        let Some(transaction) = self.transactions.get_mut(&key) else { return };
        let next_at = match &mut transaction.state {
            State::Completed { ends_at } if *ends_at > now => return,
            State::Completed { .. } => None,
            State::Calling(calling) if calling.times_out_at <= now => None,
            State::Calling(calling) => {
                if let Some((at, interval)) = calling.retransmit.filter(|(at, _)| *at <= now) {
                    self.output.push_back(Pending::Retransmit(key));
                    let interval = match calling.phase {
                        Phase::Trying => (interval * 2).min(self.timers.t2),
                        Phase::Proceeding => self.timers.t2,
                    };
                    // From the deadline, so that lateness does not add up; but what was missed altogether is not made up for.
                    let next = Some(at + interval).filter(|next| *next > now).unwrap_or(now + interval);
                    calling.retransmit = Some((next, interval));
                }
                Some(calling.due_at())
            }
        };
        if let Some(at) = next_at {
            self.wheel.schedule(at, key);
        } else {
            let user = self.transactions.remove(&key).and_then(Transaction::into_user);
            self.output.extend(user.map(Pending::TimedOut));
        }
    }

    /// What the timers want done, until `None`.
    pub(crate) fn poll_output(&mut self) -> Option<ClientOutput<'_, U>> {
        loop {
            match self.output.pop_front()? {
                Pending::TimedOut(user) => return Some(ClientOutput::TimedOut(user)),
                // Looked up twice: see ServerTransactions::begin. One that was answered meanwhile is not sent again.
                Pending::Retransmit(key) if self.is_calling(key) => {
                    return self.transactions.get(&key).and_then(|transaction| match &transaction.state {
                        State::Calling(calling) => Some(ClientOutput::Retransmit(&calling.user, calling.packet.clone())),
                        State::Completed { .. } => None,
                    });
                }
                Pending::Retransmit(_) => {}
            }
        }
    }

    /// When `Self::handle_timeout` is due.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.wheel.next_at()
    }

    /// How many transactions there are, those that only absorb included.
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

    fn is_calling(&self, key: u64) -> bool {
        self.transactions.get(&key).is_some_and(|transaction| matches!(transaction.state, State::Calling(_)))
    }
}

impl<U> Calling<U> {
    /// The earlier of Timers E and F.
    fn due_at(&self) -> Instant {
        self.retransmit.map_or(self.times_out_at, |(at, _)| at.min(self.times_out_at))
    }
}

impl<U> Transaction<U> {
    fn into_user(self) -> Option<U> {
        match self.state {
            State::Calling(calling) => Some(calling.user),
            State::Completed { .. } => None,
        }
    }
}

#[cfg(test)]
#[path = "tests/client.rs"]
mod tests;
