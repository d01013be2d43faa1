//! Keys that are to be removed from the bucket: tried until the bucket says that they are gone, or that another wrote them.

use std::time::{Duration, Instant};

use super::exchange::StoreOutcome;
use super::{BusRequest, MAX_WAITS, Notifier, Timer, Wait};
use crate::bus::trace::Cause;
use crate::edge::subscription::SubscriptionId;
use crate::runtime::clock::Now;

const FIRST_AGAIN_AFTER: Duration = Duration::from_secs(1);
const LAST_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// A removal that the bucket has not acknowledged.
#[derive(Debug)]
pub(super) struct Removal {
    expected_revision: u64,
    again_after: Duration,
    /// By then the key is gone by itself.
    until: Instant,
}

impl Notifier {
    /// Removes a key that is gone by itself at `until`.
    pub(super) fn remove(&mut self, id: SubscriptionId, expected_revision: u64, until: Instant, cause: Cause, now: Now) {
        self.removals.insert(id, Removal { expected_revision, again_after: FIRST_AGAIN_AFTER, until });
        self.ask(BusRequest::Remove { id, expected_revision }, Wait::Remove(id, expected_revision), cause, now);
    }

    /// Removes a key that nobody serves.
    pub(super) fn remove_key(&mut self, id: SubscriptionId, expected_revision: u64, now: Now) {
        let longest = Duration::from_secs(self.config.subscription.max_expires_seconds.into()) + self.config.grace();
        self.remove(id, expected_revision, now.at + longest, Cause::new(), now);
    }

    pub(super) fn on_removed(&mut self, id: SubscriptionId, revision: u64, outcome: StoreOutcome, now: Now) {
        // A later removal of the key has an answer of its own.
        let Some(removal) = self.removals.get_mut(&id).filter(|removal| removal.expected_revision == revision) else { return };
        let again_at = now.at + removal.again_after;
        let is_lost = matches!(outcome, StoreOutcome::Unavailable(_));
        if let StoreOutcome::Unavailable(why) = outcome {
            self.metrics.store_failed(why.as_str());
        }
        if is_lost && again_at < removal.until {
            removal.again_after = (removal.again_after * 2).min(LAST_AGAIN_AFTER);
            self.timers.schedule(again_at, Timer::Removal(id));
        } else {
            self.removals.remove(&id);
        }
    }

    pub(super) fn retry_removal(&mut self, id: SubscriptionId, now: Now) {
        let Some(removal) = self.removals.get(&id) else { return };
        if !self.is_bus_up || self.waits.len() >= MAX_WAITS / 2 {
            return self.timers.schedule(now.at + FIRST_AGAIN_AFTER, Timer::Removal(id));
        }
        let expected_revision = removal.expected_revision;
        self.ask(BusRequest::Remove { id, expected_revision }, Wait::Remove(id, expected_revision), Cause::new(), now);
    }
}
