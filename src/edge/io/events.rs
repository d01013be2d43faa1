//! Events on their way out: they leave with what is sent next, or soon after. Pure.
//!
//! To hand something to another thread that sleeps costs as much as making the event does. Nobody waits for an event, so it need
//! wake nobody for itself.

use std::time::{Duration, Instant};

/// How long an event waits for something to leave with.
const LEAVES_WITHIN: Duration = Duration::from_millis(2);
/// Most that wait.
const MAX_WAITING: usize = 64;

/// Events that wait, in their order.
#[derive(Debug)]
pub(super) struct Events<E> {
    waiting: Vec<E>,
    leave_at: Option<Instant>,
}

impl<E> Default for Events<E> {
    fn default() -> Self {
        Self { waiting: Vec::new(), leave_at: None }
    }
}

impl<E> Events<E> {
    pub(super) fn push(&mut self, event: E, now: Instant) {
        self.leave_at.get_or_insert(now + LEAVES_WITHIN);
        self.waiting.push(event);
    }

    /// When they leave at the latest; `None`: there are none.
    pub(super) fn leave_at(&self) -> Option<Instant> {
        self.leave_at
    }

    /// Those that leave now. `has_company`: something else was sent.
    pub(super) fn leaving(&mut self, has_company: bool, now: Instant) -> impl Iterator<Item = E> {
        let is_time = self.leave_at.is_some_and(|leave_at| has_company || now >= leave_at || self.waiting.len() >= MAX_WAITING);
        if is_time {
            self.leave_at = None;
        }
        self.waiting.drain(..if is_time { self.waiting.len() } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;

    #[test]
    fn leave_in_company_or_when_it_is_time_or_when_they_are_many() {
        let (mut events, now) = (Events::default(), clock::now());
        let all = |events: &mut Events<usize>, has_company, now| events.leaving(has_company, now).collect::<Vec<_>>();
        assert_eq!((all(&mut events, true, now), events.leave_at()), (Vec::new(), None));
        let soon = now + LEAVES_WITHIN / 2;
        events.push(1, now);
        events.push(2, soon);
        assert_eq!(events.leave_at(), Some(now + LEAVES_WITHIN), "the first one's time");
        assert!(all(&mut events, false, soon).is_empty());
        assert_eq!((all(&mut events, true, soon), events.leave_at()), (vec![1, 2], None));
        events.push(3, now);
        assert_eq!(all(&mut events, false, now + LEAVES_WITHIN), [3]);
        for event in 0..MAX_WAITING {
            assert!(all(&mut events, false, now).is_empty());
            events.push(event, now);
        }
        assert_eq!(all(&mut events, false, now).len(), MAX_WAITING);
        assert_eq!(events.leave_at(), None);
    }
}
