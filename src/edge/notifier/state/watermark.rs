//! Which requests have been told: all that was asked before the mark.
//!
//! ```text
//! SUBSCRIBE ─▶ asked ─▶ … every NOTIFY of the presentity answered ─▶ told     every record says how far this edge has told
//! stop:      NOTIFYs without an answer ─▶ stored as untold
//! restart, take-over: untold, or asked after the mark ─▶ the full state, to all watchers of the presentity
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use ahash::AHashSet;

use crate::edge::notifier::state::registry::Registry;
use crate::edge::notifier::state::{Timer, Timers};
use crate::edge::subscription::{Phase, Subscription, SubscriptionId};
use crate::feature::Presentity;
use crate::runtime::clock::Now;

/// How long a phone may be without what follows from its SUBSCRIBE: the workers' answer, tried again, then Timer F (RFC 3261
/// §17.1.2.2). One that is told later has subscribed again by itself.
const MAY_TAKE: Duration = Duration::from_mins(2);
/// Poll interval while a NOTIFY is still owed.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Pause between two phones that are told anew: bounds the load of many at once.
const ONE_EVERY: Duration = Duration::from_millis(2);
/// How many are stored as untold at a stop. The phones of the rest are told when they refresh.
const MAX_STORED: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Watermark {
    /// SUBSCRIBEs from which something may still follow: when, oldest first, and whose.
    waiting: VecDeque<(SystemTime, Presentity)>,
    /// Whose were told last.
    last_told: Option<Presentity>,
    /// Whether [`Timer::Watermark`] is set.
    is_polling: bool,
    /// The mark of this edge before its restart.
    before_restart: Option<SystemTime>,
    /// When a record with the mark was last stored.
    stored_at: Option<Instant>,
    /// When the next phone is told that is known to have missed something, or may have.
    tell_next_at: Instant,
    /// When the next one is of which nothing is known.
    tell_other_at: Instant,
    /// Whether what was not told when draining ended is stored.
    is_put_down: bool,
}

/// What is stored at a stop.
#[derive(Debug, Default)]
pub(crate) struct PutDown {
    /// Those whose phones are still to be told something.
    pub(crate) untold: Vec<SubscriptionId>,
    /// One of the others, whose record says that they are told.
    pub(crate) told: Option<SubscriptionId>,
}

impl Watermark {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            waiting: VecDeque::new(),
            last_told: None,
            is_polling: false,
            before_restart: None,
            stored_at: None,
            tell_next_at: now,
            tell_other_at: now,
            is_put_down: false,
        }
    }

    /// A SUBSCRIBE is being stored: something follows from it.
    pub(crate) fn asked(&mut self, presentity: Presentity, now: Now, timers: &mut Timers) {
        self.waiting.push_back((now.utc, presentity));
        if !std::mem::replace(&mut self.is_polling, true) {
            timers.schedule(now.at + LOOK_EVERY, Timer::Watermark);
        }
    }

    /// The mark. `in_hand` is the subscription that the present step has, if any.
    pub(crate) fn told_until(&mut self, registry: &Registry, in_hand: Option<&Subscription>, now: Now) -> SystemTime {
        while let Some((at, presentity)) = self.waiting.front() {
            let is_old = now.utc.duration_since(*at).is_ok_and(|ago| ago > MAY_TAKE);
            let mut watchers = in_hand.into_iter().filter(|one| one.phase.is_watching() && one.presentity == *presentity);
            let is_owed =
                watchers.any(Subscription::is_owed_something) || registry.watchers_of(presentity).any(Subscription::is_owed_something);
            if is_owed && !is_old {
                return *at;
            }
            self.last_told = self.waiting.pop_front().map(|(_, presentity)| presentity);
        }
        now.utc
    }

    /// [`Timer::Watermark`] has fired. Once all is told, and no SUBSCRIBE comes whose record would say so, the record of one
    /// that was told does: this one.
    pub(crate) fn poll(&mut self, registry: &Registry, now: Now, timers: &mut Timers) -> Option<SubscriptionId> {
        self.told_until(registry, None, now);
        self.is_polling = !self.waiting.is_empty();
        if self.is_polling {
            timers.schedule(now.at + LOOK_EVERY, Timer::Watermark);
            return None;
        }
        let presentity = self.last_told.take()?;
        let is_free = |one: &&Subscription| one.phase == Phase::Live && !one.lane.is_storing();
        registry.watchers_of(&presentity).find(is_free).map(|one| one.id)
    }

    /// A record with the mark is stored.
    pub(crate) fn stored(&mut self, now: Instant) {
        self.stored_at = Some(now);
    }

    /// Whether one was, within this time.
    pub(crate) fn was_stored_since(&self, now: Instant, within: Duration) -> bool {
        self.stored_at.is_some_and(|at| now.saturating_duration_since(at) < within)
    }

    /// The mark of this edge before its restart.
    pub(crate) const fn before_restart(&self) -> Option<SystemTime> {
        self.before_restart
    }

    /// A record of this edge before its restart had this mark.
    pub(crate) fn was(&mut self, told_until: Option<SystemTime>) {
        self.before_restart = self.before_restart.max(told_until);
    }

    /// Whose phones may not have been told something before the restart.
    pub(crate) fn missed(&self, registry: &Registry) -> AHashSet<Presentity> {
        let is_untold = |one: &&Subscription| one.is_untold || self.before_restart.is_some_and(|until| one.asked_at >= until);
        registry.iter().filter(is_untold).map(|one| one.presentity.clone()).collect()
    }

    /// When the next phone that may have missed something is told: not before `at`.
    pub(crate) fn next_turn(&mut self, at: Instant) -> Instant {
        take_turn(&mut self.tell_next_at, at)
    }

    /// The same of one of which nothing is known. These and the others do not wait for each other.
    pub(crate) fn other_turn(&mut self, at: Instant) -> Instant {
        take_turn(&mut self.tell_other_at, at)
    }

    /// What a stop is to store now that nothing is waited for any more. Nothing, the second time.
    pub(crate) fn put_down(&mut self, registry: &Registry) -> PutDown {
        if std::mem::replace(&mut self.is_put_down, true) {
            return PutDown::default();
        }
        let untold = registry.live().filter(|one| one.is_owed_something()).map(|one| one.id).take(MAX_STORED).collect();
        let told = registry.live().filter(|one| !one.is_owed_something()).max_by_key(|one| one.asked_at).map(|one| one.id);
        PutDown { untold, told }
    }

    pub(crate) const fn is_put_down(&self) -> bool {
        self.is_put_down
    }
}

fn take_turn(next: &mut Instant, at: Instant) -> Instant {
    let at = at.max(*next);
    *next = at + ONE_EVERY;
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::notifier::tests::fixture::live;
    use crate::runtime::clock;

    #[test]
    fn the_mark_stands_at_the_oldest_request_of_which_something_is_owed() {
        let (mut bench, tag, _) = live();
        let mut one = bench.notifier.registry.check_out(tag.parse().unwrap()).unwrap();
        let (mut registry, start) = (Registry::default(), clock::moment());
        let later = |seconds| Now { at: start.at + Duration::from_secs(seconds), utc: start.utc + Duration::from_secs(seconds) };
        let (mut mark, mut timers) = (Watermark::new(start.at), Timers::new(start.at));
        mark.asked(one.presentity.clone(), start, &mut timers);
        mark.asked(Presentity::parse("sip:nobody@h").unwrap(), later(1), &mut timers);
        assert_eq!(timers.len(), 1, "one poll for all");
        one.lane.is_asking = true;
        assert_eq!(mark.told_until(&registry, Some(&one), later(2)), start.utc, "in hand");
        registry.check_in(one);
        assert_eq!(mark.told_until(&registry, None, later(2)), start.utc, "here");
        assert_eq!(mark.poll(&registry, later(2), &mut timers), None);
        assert_eq!(mark.told_until(&registry, None, later(121)), later(121).utc, "its phone has long come back by itself");
    }

    #[test]
    fn phones_are_told_one_after_another_and_a_stop_stores_once() {
        let start = clock::now();
        let mut mark = Watermark::new(start);
        let turns: Vec<_> = (0..3).map(|_| mark.next_turn(start + Duration::from_secs(1)) - start).collect();
        assert_eq!(turns, [1000, 1002, 1004].map(Duration::from_millis));
        assert_eq!(mark.other_turn(start), start, "neither waits for the other");
        assert_eq!(mark.other_turn(start) - start, Duration::from_millis(2));
        let (bench, tag, _) = live();
        assert_eq!(mark.put_down(&bench.notifier.registry).told.map(|id| id.to_string()), Some(tag));
        assert!(mark.put_down(&bench.notifier.registry).told.is_none() && mark.is_put_down());
    }
}
