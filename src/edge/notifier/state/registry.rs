//! The subscriptions here, by id and by presentity. Pure.
//!
//! ```text
//!  check_in ─▶ (here) ─ check_out ─▶ (in hand of one step) ─ check_in ─▶ (here), or gone
//! ```
//! A step has its subscription in hand, so that it is looked up once; nobody else changes one. When it comes back, the
//! registry brings its index into step: watchers of a presentity are its subscriptions that are stored for the first time
//! or live, in the order of their coming, and what is over and has nothing left to do is let go of.

use ahash::{AHashMap, AHashSet};
use smallvec::SmallVec;

use crate::edge::subscription::{Phase, Subscription, SubscriptionId};
use crate::feature::{Package, Presentity};

/// Orphans remembered whose store had no answer. One that is forgotten is served all the same, but nothing says where it came from.
const MAX_UNSURE: usize = 65_536;

/// A watcher in the index.
#[derive(Debug, Clone, Copy)]
struct Watcher {
    id: SubscriptionId,
    package: &'static Package,
}

#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// `None`: a step has it in hand.
    by_id: AHashMap<SubscriptionId, Option<Box<Subscription>>>,
    watchers: AHashMap<Presentity, SmallVec<[Watcher; 1]>>,
    /// Orphans that may be ours: the answer to their store was lost.
    unsure: AHashSet<SubscriptionId>,
}

impl Registry {
    /// Hands a subscription to one step, which gives it back with [`Registry::check_in`].
    pub(crate) fn check_out(&mut self, id: SubscriptionId) -> Option<Box<Subscription>> {
        self.by_id.get_mut(&id)?.take()
    }

    /// Takes a new subscription in, or one back after a step.
    pub(crate) fn check_in(&mut self, mut subscription: Box<Subscription>) {
        subscription.rest();
        let Subscription { id, package, .. } = *subscription;
        let is_new = !self.by_id.contains_key(&id);
        if is_new && subscription.phase.is_watching() {
            self.watchers.entry(subscription.presentity.clone()).or_default().push(Watcher { id, package });
        }
        if !is_new && !subscription.phase.is_watching() {
            self.unwatch(&subscription);
        }
        if subscription.is_done() {
            self.by_id.remove(&id);
        } else {
            self.by_id.insert(id, Some(subscription));
        }
    }

    fn unwatch(&mut self, subscription: &Subscription) {
        let Some(watchers) = self.watchers.get_mut(&subscription.presentity) else { return };
        watchers.retain(|watcher| watcher.id != subscription.id);
        if watchers.is_empty() {
            self.watchers.remove(&subscription.presentity);
        }
    }

    /// A subscription that no step has in hand.
    pub(crate) fn get(&self, id: SubscriptionId) -> Option<&Subscription> {
        self.by_id.get(&id)?.as_deref()
    }

    pub(crate) fn contains(&self, id: SubscriptionId) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Those that no step has in hand.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.by_id.values().filter_map(Option::as_deref)
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = &Subscription> {
        self.iter().filter(|subscription| subscription.phase == Phase::Live)
    }

    /// How many watch a presentity.
    pub(crate) fn count_of(&self, presentity: &Presentity) -> usize {
        self.watchers.get(presentity).map_or(0, SmallVec::len)
    }

    /// Those who are watched.
    pub(crate) fn presentities(&self) -> Vec<Presentity> {
        self.watchers.keys().cloned().collect()
    }

    /// The watchers of a presentity.
    pub(crate) fn ids_of(&self, presentity: &Presentity) -> SmallVec<[SubscriptionId; 4]> {
        self.watchers.get(presentity).into_iter().flatten().map(|watcher| watcher.id).collect()
    }

    /// Those of them that watch one of these packages.
    pub(crate) fn ids_in(&self, presentity: &Presentity, packages: &[&'static Package]) -> SmallVec<[SubscriptionId; 4]> {
        let watchers = self.watchers.get(presentity).into_iter().flatten();
        watchers.filter(|watcher| packages.contains(&watcher.package)).map(|watcher| watcher.id).collect()
    }

    /// The watchers of a presentity that no step has in hand.
    pub(crate) fn watchers_of(&self, presentity: &Presentity) -> impl Iterator<Item = &Subscription> {
        self.watchers.get(presentity).into_iter().flatten().filter_map(|watcher| self.get(watcher.id))
    }

    /// The answer to an orphan's store was lost: the bucket will say whose it is.
    pub(crate) fn doubt(&mut self, id: SubscriptionId) {
        if self.unsure.len() >= MAX_UNSURE {
            self.unsure.clear();
        }
        self.unsure.insert(id);
    }

    /// It is known whose an orphan is. `true` when it was not.
    pub(crate) fn resolve(&mut self, id: SubscriptionId) -> bool {
        self.unsure.remove(&id)
    }

    /// Whether nothing at all is held.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty() && self.watchers.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn has_doubts(&self) -> bool {
        !self.unsure.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::notifier::tests::fixture::{Bench, REFRESH, four, live, subscribe};

    /// A live subscription of alice.
    fn subscription() -> Box<Subscription> {
        let (mut bench, tag, _) = live();
        bench.notifier.registry.check_out(tag.parse().unwrap()).unwrap()
    }

    #[test]
    fn the_index_follows_the_phase() {
        let (mut registry, one) = (Registry::default(), subscription());
        let (id, alice) = (one.id, one.presentity.clone());
        registry.check_in(one);
        assert_eq!((registry.len(), registry.count_of(&alice), registry.live().count()), (1, 1, 1));
        let mut one = registry.check_out(id).unwrap();
        assert!(registry.check_out(id).is_none() && registry.get(id).is_none(), "one step at a time");
        assert_eq!((registry.len(), registry.ids_of(&alice).as_slice(), registry.live().count()), (1, &[id][..], 0));
        one.phase = Phase::Ending;
        registry.check_in(one);
        assert_eq!((registry.len(), registry.count_of(&alice)), (1, 0), "no watcher any more, but still here");
        let mut one = registry.check_out(id).unwrap();
        (one.phase, one.lane.is_asking) = (Phase::Over, true);
        registry.check_in(one);
        assert!(registry.contains(id), "the workers have not answered");
        let mut one = registry.check_out(id).unwrap();
        one.lane.query_done();
        registry.check_in(one);
        assert!(registry.is_empty());
    }

    #[test]
    fn a_subscription_that_was_told_all_holds_nothing_of_what_was_under_way() {
        let (mut bench, tag, _) = live();
        let held = |bench: &Bench| {
            let one = bench.notifier.registry.get(tag.parse().unwrap()).unwrap();
            (one.lane.is_held(), one.outbox.is_held())
        };
        assert_eq!(held(&bench), (false, false));
        bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, ""));
        assert_eq!(held(&bench), (true, false), "the full state is asked for");
        bench.ack_store();
        bench.expect_response(200);
        bench.answer_get(four(3).into_iter().take(1).collect());
        let notify = bench.expect_notify();
        assert!(held(&bench).1, "a NOTIFY is under way");
        bench.respond(&notify, 200, "");
        assert_eq!(held(&bench), (false, false));
        assert!(size_of::<Subscription>() <= 512, "the next size of the allocator is 640");
    }

    #[test]
    fn a_fetch_is_no_watcher() {
        let (mut registry, mut one) = (Registry::default(), subscription());
        one.phase = Phase::Ending;
        let (id, alice) = (one.id, one.presentity.clone());
        registry.check_in(one);
        assert_eq!((registry.contains(id), registry.count_of(&alice)), (true, 0));
    }

    #[test]
    fn watchers_are_found_by_package() {
        let (mut registry, one) = (Registry::default(), subscription());
        let (package, alice) = (one.package, one.presentity.clone());
        registry.check_in(one);
        let other = &crate::feature::package::HOTELING;
        assert_eq!((registry.ids_in(&alice, &[package, other]).len(), registry.ids_in(&alice, &[other]).len()), (1, 0));
    }
}
