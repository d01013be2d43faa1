//! Keys to be removed from the bucket: tried until the bucket says that they are gone, or that another wrote them. Pure.
//!
//! A store that was given up on may come through long after. Its record is removed where its subscription ended here, or was
//! refused; any other is served, for its phone may have a 200 of another edge.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ahash::{AHashMap, AHashSet};

use crate::edge::notifier::state::bus_requests::StoreOutcome;
use crate::edge::subscription::SubscriptionId;

pub(crate) const FIRST_AGAIN_AFTER: Duration = Duration::from_secs(1);
const LAST_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Subscriptions remembered that ended here. A record of one more that comes late is served, until its phone answers 481.
const MAX_ENDED: usize = 65_536;

/// A removal that the bucket has not acknowledged.
#[derive(Debug)]
struct Removal {
    expected_revision: u64,
    again_after: Duration,
    /// By then the key is gone by itself.
    until: Instant,
}

/// What becomes of a removal that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// A later removal of the key has taken its place.
    Superseded,
    /// It is tried again.
    Again(Instant),
    Done,
}

#[derive(Debug, Default)]
pub(crate) struct Removals {
    under_way: AHashMap<SubscriptionId, Removal>,
    ended: AHashSet<SubscriptionId>,
    /// In the order of their ends.
    endings: VecDeque<SubscriptionId>,
}

impl Removals {
    /// A key is being removed that is gone by itself at `until`.
    pub(crate) fn begin(&mut self, id: SubscriptionId, expected_revision: u64, until: Instant) {
        self.under_way.insert(id, Removal { expected_revision, again_after: FIRST_AGAIN_AFTER, until });
        self.end(id);
    }

    /// A subscription has ended here, or was refused before it was one.
    pub(crate) fn end(&mut self, id: SubscriptionId) {
        if !self.ended.insert(id) {
            return;
        }
        if self.endings.len() >= MAX_ENDED
            && let Some(oldest) = self.endings.pop_front()
        {
            self.ended.remove(&oldest);
        }
        self.endings.push_back(id);
    }

    /// It lives again: its phone has come once more, and the bucket still had it.
    pub(crate) fn revive(&mut self, id: SubscriptionId) {
        self.ended.remove(&id);
    }

    /// Whether it ended here, as far back as is remembered.
    pub(crate) fn has_ended(&self, id: SubscriptionId) -> bool {
        self.ended.contains(&id)
    }

    /// The bucket has answered the removal of this revision, or not.
    pub(crate) fn answered(&mut self, id: SubscriptionId, revision: u64, outcome: StoreOutcome, now: Instant) -> Next {
        let Some(removal) = self.under_way.get_mut(&id).filter(|removal| removal.expected_revision == revision) else {
            return Next::Superseded;
        };
        let again_at = now + removal.again_after;
        if matches!(outcome, StoreOutcome::Unavailable(_)) && again_at < removal.until {
            removal.again_after = (removal.again_after * 2).min(LAST_AGAIN_AFTER);
            return Next::Again(again_at);
        }
        self.under_way.remove(&id);
        Next::Done
    }

    /// The revision that a key must have to be removed, while it is to be, and when it is gone by itself.
    pub(crate) fn under_way(&self, id: SubscriptionId) -> Option<(u64, Instant)> {
        self.under_way.get(&id).map(|removal| (removal.expected_revision, removal.until))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::notifier::io::Unavailable;
    use crate::runtime::clock;

    #[test]
    fn a_lost_answer_is_waited_for_with_growing_pauses_until_the_key_is_gone_by_itself() {
        let (start, id) = (clock::now(), SubscriptionId::random());
        let lost = StoreOutcome::Unavailable(Unavailable::Timeout);
        let mut removals = Removals::default();
        removals.begin(id, 7, start + Duration::from_secs(10));
        let mut now = start;
        let mut pauses = Vec::new();
        while let Next::Again(at) = removals.answered(id, 7, lost, now) {
            pauses.push((at - now).as_secs());
            now = at;
        }
        assert_eq!((pauses, removals.is_empty()), (vec![1, 2, 4], true));
    }

    #[test]
    fn the_last_that_ended_are_remembered() {
        let mut removals = Removals::default();
        let ids: Vec<_> = (0..=MAX_ENDED).map(|_| SubscriptionId::random()).collect();
        for id in &ids {
            removals.end(*id);
        }
        removals.end(ids[1]);
        assert!(!removals.has_ended(ids[0]) && removals.has_ended(ids[1]) && removals.has_ended(ids[MAX_ENDED]));
        assert_eq!((removals.ended.len(), removals.endings.len()), (MAX_ENDED, MAX_ENDED));
        removals.revive(ids[1]);
        assert!(!removals.has_ended(ids[1]));
    }

    #[test]
    fn an_answer_ends_only_the_removal_that_it_is_for() {
        let (now, id) = (clock::now(), SubscriptionId::random());
        let mut removals = Removals::default();
        removals.begin(id, 7, now + Duration::from_hours(1));
        removals.begin(id, 9, now + Duration::from_hours(1));
        assert_eq!(removals.answered(id, 7, StoreOutcome::Stored(8), now), Next::Superseded);
        assert_eq!(removals.under_way(id), Some((9, now + Duration::from_hours(1))));
        assert_eq!(removals.answered(id, 9, StoreOutcome::Conflict, now), Next::Done, "another wrote it");
        assert_eq!((removals.under_way(id), removals.is_empty()), (None, true));
    }
}
