//! What phones may not have been told when their edge ended: whoever has them next tells them.
//!
//! ```text
//! SUBSCRIBE ─▶ asked ─▶ … each NOTIFY of the presentity answered ─▶ told     every record says until when all that was asked is told
//! stop:      NOTIFYs without an answer ─▶ stored as untold
//! restart,   untold, or asked after what is told ─▶ the full state, to all watchers of the presentity
//! take-over: the same
//! ```

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use ahash::AHashSet;

use super::{Notifier, Timer};
use crate::edge::subscription::{Phase, Subscription, SubscriptionId};
use crate::feature::Presentity;
use crate::runtime::clock::Now;

/// So long a phone may be without what follows from a SUBSCRIBE: the answer of the workers, tried again, then Timer F (RFC 3261
/// §17.1.2.2). A phone that is told later comes back by itself.
const MAY_TAKE: Duration = Duration::from_mins(2);
/// How often it is looked whether all is told, while something is not.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After a restart phones that come back by themselves, or are told something else, come first.
const AFTER_RESTART: Duration = Duration::from_secs(2);
/// What bounds the load of many at once.
const ONE_EVERY: Duration = Duration::from_millis(2);
/// How many are stored as untold at a stop. The phones of the rest are told when they refresh.
const MAX_STORED: usize = 10_000;

/// Whose phones may still be to be told what a SUBSCRIBE led to.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// When, oldest first.
    waiting: VecDeque<(SystemTime, Presentity)>,
    /// Whose were told last.
    last_told: Option<Presentity>,
    /// Whether [`Timer::Told`] is set.
    is_looked: bool,
}

impl Notifier {
    /// A SUBSCRIBE is being stored: something follows from it.
    pub(super) fn asked(&mut self, presentity: Presentity, now: Now) {
        self.asked.waiting.push_back((now.utc, presentity));
        if !std::mem::replace(&mut self.asked.is_looked, true) {
            self.timers.schedule(now.at + LOOK_EVERY, Timer::Told);
        }
    }

    /// What was asked before this time is told.
    pub(super) fn told_until(&mut self, now: Now) -> SystemTime {
        while let Some((at, presentity)) = self.asked.waiting.front() {
            let is_old = now.utc.duration_since(*at).is_ok_and(|ago| ago > MAY_TAKE);
            let ids = self.watchers.get(presentity).map(smallvec::SmallVec::as_slice).unwrap_or_default();
            if !is_old && ids.iter().filter_map(|id| self.subscriptions.get(id)).any(|one| is_owed_something(one)) {
                return *at;
            }
            self.asked.last_told = self.asked.waiting.pop_front().map(|(_, presentity)| presentity);
        }
        now.utc
    }

    /// Once all is told, and no SUBSCRIBE comes whose record would say so, one of the told does.
    pub(super) fn look_whether_told(&mut self, now: Now) {
        self.told_until(now);
        self.asked.is_looked = !self.asked.waiting.is_empty();
        if self.asked.is_looked {
            return self.timers.schedule(now.at + LOOK_EVERY, Timer::Told);
        }
        let presentity = self.asked.last_told.take();
        let ids = presentity.and_then(|presentity| self.watchers.get(&presentity)).into_iter().flatten();
        let is_free = |one: &Subscription| one.phase == Phase::Live && !one.lane.is_storing();
        let id = ids.copied().find(|id| self.subscriptions.get(id).is_some_and(|one| is_free(one)));
        if let Some(id) = id.filter(|_| self.is_bus_up && self.is_lease_held && self.drains_since.is_none()) {
            self.reserve(id, now);
        }
    }

    /// All that this edge held before is here again: phones that may not have been told something are told the full state.
    pub fn restored(&mut self, now: Now) {
        let told_until = self.was_told_until;
        let is_untold = |one: &&Subscription| one.is_untold || told_until.is_some_and(|told_until| one.asked_at >= told_until);
        let untold = self.subscriptions.values().map(AsRef::as_ref).filter(is_untold);
        let presentities: AHashSet<Presentity> = untold.map(|subscription| subscription.presentity.clone()).collect();
        for presentity in &presentities {
            self.tell_anew(presentity, AFTER_RESTART, now);
        }
    }

    /// A subscription of a silent edge is here now.
    pub(super) fn tell_what_silence_kept(&mut self, id: SubscriptionId, now: Now) {
        if let Some(subscription) = self.subscriptions.get(&id).filter(|subscription| subscription.is_untold) {
            let presentity = subscription.presentity.clone();
            self.tell_anew(&presentity, Duration::ZERO, now);
        }
    }

    /// Has all phones of a presentity here told the full state, one after another.
    fn tell_anew(&mut self, presentity: &Presentity, after: Duration, now: Now) {
        for id in self.watchers.get(presentity).cloned().unwrap_or_default() {
            let Some(subscription) = self.subscriptions.get_mut(&id).filter(|subscription| subscription.phase == Phase::Live) else {
                continue;
            };
            let at = self.tell_next_at.max(now.at + after);
            self.tell_next_at = at + ONE_EVERY;
            subscription.is_untold = false;
            subscription.lane.ask_at(at);
            self.arm(id, now);
        }
    }

    /// Nothing is waited for any more: stores what phones were not told, and that the others were. `true` once that is done.
    pub fn put_down(&mut self, now: Now) -> bool {
        if self.is_put_down || !self.waits.is_empty() || !self.is_waited_enough(now) {
            return self.is_put_down && self.waits.is_empty();
        }
        self.is_put_down = true;
        let live = || self.subscriptions.values().filter(|subscription| subscription.phase == Phase::Live);
        let untold: Vec<SubscriptionId> = live().filter(|one| is_owed_something(one)).map(|one| one.id).take(MAX_STORED).collect();
        let told = live().filter(|one| !is_owed_something(one)).max_by_key(|one| one.asked_at).map(|one| one.id);
        for id in untold.iter().chain(&told) {
            if let Some(subscription) = self.subscriptions.get_mut(id) {
                subscription.is_untold = Some(*id) != told;
            }
            self.store_again(*id, now.utc, now);
        }
        self.waits.is_empty()
    }
}

/// Whether its phone is still to be told something.
fn is_owed_something(subscription: &Subscription) -> bool {
    let Subscription { lane, outbox, in_flight, .. } = subscription;
    in_flight.is_some() || !outbox.is_empty() || lane.is_storing() || lane.retry.is_some() || lane.is_running || !lane.works.is_empty()
}
