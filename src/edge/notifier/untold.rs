//! What phones may not have been told when their edge ended: it is kept with the subscription, and told by whoever has it next.
//!
//! ```text
//! stop:      NOTIFYs without an answer ─▶ stored as untold;  the rest ─▶ one record says when the edge was put down
//! restart,   untold, or a SUBSCRIBE shortly before the end ─▶ the full state, to all watchers of the presentity
//! take-over: (a crash says nothing, so that whatever may have been in flight counts)
//! ```

use std::time::{Duration, SystemTime};

use ahash::AHashSet;

use super::{BusRequest, Notifier, Now, Wait};
use crate::bus::trace::Cause;
use crate::edge::record::Record;
use crate::edge::subscription::{Phase, Subscription, SubscriptionId};
use crate::feature::Presentity;

/// So long after a SUBSCRIBE its phone, and the others of the presentity, may be without what follows from it: the answer of
/// the workers, then Timer F (RFC 3261 §17.1.2.2).
const MAY_TAKE: Duration = Duration::from_secs(40);
/// A silent edge has been taken over from by then.
const TAKE_OVER_MAY_TAKE: Duration = Duration::from_mins(1);
/// After a restart phones that come back by themselves, or are told something else, come first.
const AFTER_RESTART: Duration = Duration::from_secs(2);
/// What bounds the load of many at once.
const ONE_EVERY: Duration = Duration::from_millis(2);
/// How many are stored as untold at a stop. The phones of the rest are told when they refresh.
const MAX_STORED: usize = 10_000;

impl Notifier {
    /// All that this edge held before is here again: phones that may not have been told something are told the full state.
    pub fn restored(&mut self, now: Now) {
        let newest = self.subscriptions.values().map(|subscription| subscription.asked_at).max();
        let crashed_after = newest.and_then(|newest| newest.checked_sub(MAY_TAKE));
        let since = crashed_after.max(self.was_put_down_at).unwrap_or(SystemTime::UNIX_EPOCH);
        let is_untold = |subscription: &&Subscription| subscription.is_untold || subscription.asked_at > since;
        let untold = self.subscriptions.values().map(AsRef::as_ref).filter(is_untold);
        let presentities: AHashSet<Presentity> = untold.map(|subscription| subscription.presentity.clone()).collect();
        for presentity in &presentities {
            self.tell_anew(presentity, AFTER_RESTART, now);
        }
    }

    /// A subscription of a silent edge is here now.
    pub(super) fn tell_what_silence_kept(&mut self, id: SubscriptionId, now: Now) {
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        let ago = now.utc.duration_since(subscription.asked_at).unwrap_or_default();
        if subscription.is_untold || ago < MAY_TAKE + self.config.silent_after + TAKE_OVER_MAY_TAKE {
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
        for id in &untold {
            self.store_at_stop(*id, true, now);
        }
        if let Some(id) = told {
            self.store_at_stop(id, false, now);
        }
        self.waits.is_empty()
    }

    fn store_at_stop(&mut self, id: SubscriptionId, is_untold: bool, now: Now) {
        let grace = self.config.grace();
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        subscription.is_untold = is_untold;
        let mut record = Record::of(subscription, &self.config, now.at, now.utc);
        if !is_untold {
            record.put_down_at(now.utc);
        }
        let (ttl, expected_revision, cseq_reserved) = (subscription.record_ttl(now.at, grace), subscription.revision, record.local_cseq);
        let store = BusRequest::Store { id, record: Box::new(record), ttl, expected_revision };
        self.ask(store, Wait::Reserve(id, cseq_reserved), Cause::new(), now);
    }
}

/// Whether its phone is still to be told something.
fn is_owed_something(subscription: &Subscription) -> bool {
    let Subscription { lane, outbox, in_flight, .. } = subscription;
    in_flight.is_some() || !outbox.is_empty() || lane.retry.is_some() || lane.is_running || !lane.works.is_empty()
}
