//! A SUBSCRIBE on its way from its arrival to its last NOTIFY, and the lane that keeps one subscription's in order. Pure.
//!
//! ```text
//!  SUBSCRIBE ─▶ waiting ─▶ storing ─(acknowledged)─▶ 200 ─▶ works ─▶ running ─(route answered)─▶ outbox
//!                             └──(late, refused)──▶ 503
//! ```
//! One store and one route run at a time for each subscription, so that two presses of a key cannot overtake each other.
//! The 200 never waits for a route.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::bus::trace::Cause;
use crate::edge::gate::policy::Identity;
use crate::edge::subscribe::Subscribe;
use crate::edge::subscription::outbox::Ending;
use crate::feature::FeatureChange;
use crate::sip::request::Request;
use crate::sip::transaction::TransactionKey;

/// An admitted SUBSCRIBE that has no final response yet.
#[derive(Debug)]
pub struct Exchange {
    /// The request, for its response.
    pub request: Request,
    /// Its server transaction.
    pub transaction: TransactionKey,
    /// What it asks for.
    pub subscribe: Subscribe,
    /// Who sent it.
    pub identity: Identity,
    /// Id of what follows from it.
    pub cause: Cause,
    /// When it arrived.
    pub arrived_at: Instant,
    /// Lifetime of the subscription before it, to go back to when it cannot be stored.
    pub expires_before: Option<Instant>,
    /// Whether its store was tried again after a conflict.
    pub retried: bool,
}

/// What is to be asked of the workers for a subscription.
#[derive(Debug)]
pub struct Work {
    /// What to ask.
    pub task: Task,
    /// Id of what led to it.
    pub cause: Cause,
    /// When that was.
    pub since: Instant,
    /// How the subscription ends with the answer, if it does.
    pub ends: Option<Ending>,
    /// Whether a NOTIFY is owed for it, whatever comes of it. Source: RFC 6665 §4.2.1.2.
    pub is_owed: bool,
}

/// What to ask the workers.
#[derive(Debug)]
pub enum Task {
    /// The full state, to tell it.
    Everything,
    /// One feature's state, to tell the phone how it really is after a change that failed.
    Confirm {
        /// Which feature.
        feature: String,
        /// The change that failed, and why, for the event.
        refused: Option<String>,
    },
    /// A change by the phone.
    Change(FeatureChange),
}

/// The SUBSCRIBE of a lane that the bucket is asked about.
#[derive(Debug, Default)]
pub enum Storing {
    /// There is none.
    #[default]
    Nothing,
    /// Its record is being stored or removed.
    Asked(Box<Exchange>),
    /// None: the subscription is being taken over from a silent edge.
    TakenOver,
    /// Its record met another revision: the key is read, and the SUBSCRIBE waits beside the request for it.
    LookedUp,
}

/// The work of one subscription, in order. Idle, it is a few words.
#[derive(Debug, Default)]
pub struct Lane {
    /// The SUBSCRIBE being stored.
    pub storing: Storing,
    /// SUBSCRIBEs that wait for it.
    pub waiting: VecDeque<Box<Exchange>>,
    /// What is to be asked next.
    pub works: VecDeque<Work>,
    /// Whether the workers have been asked and not answered.
    pub is_running: bool,
    /// Versions that the phone was told of meanwhile, by place in the table: the answer may be older than they are.
    pub overtaken: Vec<(u8, u64)>,
    /// When the full state is asked for again, because no worker answered.
    pub retry: Option<Retry>,
}

/// A full state that is still owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// When to ask.
    pub at: Instant,
    /// How long was waited for this try.
    pub after: Duration,
    /// Whether its phone has no NOTIFY yet for what it is asked for.
    pub is_owed: bool,
}

/// SUBSCRIBEs that may wait behind one store; over it 503.
const MAX_WAITING: usize = 4;
/// Route runs that may wait behind one; over it 503.
const MAX_WORKS: usize = 16;
const FIRST_RETRY_AFTER: Duration = Duration::from_secs(1);
const LAST_RETRY_AFTER: Duration = Duration::from_secs(30);

impl Lane {
    /// Whether another SUBSCRIBE may join.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING && self.works.len() < MAX_WORKS
    }

    /// Whether a SUBSCRIBE is being stored: another waits for it, and nothing else decides over the subscription.
    #[must_use]
    pub fn is_storing(&self) -> bool {
        !matches!(self.storing, Storing::Nothing)
    }

    /// The phone is told this version while the workers are asked.
    pub fn overtake(&mut self, feature: u8, version: u64) {
        if self.is_running {
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
        self.retry = Some(Retry { at, after: FIRST_RETRY_AFTER, is_owed: true });
    }

    /// No worker answered: when to ask again, with growing pauses.
    pub fn retry_later(&mut self, now: Instant) -> Instant {
        let after = self.retry.map_or(FIRST_RETRY_AFTER, |retry| (retry.after * 2).min(LAST_RETRY_AFTER));
        let at = now + after;
        self.retry = Some(Retry { at, after, is_owed: false });
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
        let pauses: Vec<u64> = (0..7).map(|_| (lane.retry_later(now) - now).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    }
}
