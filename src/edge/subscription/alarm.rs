//! Which timers of a subscription are set in the wheel. Pure.

use std::time::Instant;

/// The timers of a subscription in the wheel: the next one, and the one that it was set before. Known, none is set twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Alarm {
    next_at: Option<Instant>,
    later_at: Option<Instant>,
}

impl Alarm {
    /// Whether a timer is to be set for `at`; it then counts as set.
    pub fn set(&mut self, at: Instant) -> bool {
        let is_new = self.next_at.is_none_or(|next_at| at < next_at);
        if is_new {
            self.later_at = self.next_at.replace(at).or(self.later_at);
        }
        is_new
    }

    /// Whether a timer that fired is a current one.
    pub fn fire(&mut self, now: Instant) -> bool {
        let is_due = self.next_at.is_some_and(|at| at <= now);
        if is_due {
            self.next_at = self.later_at.take().filter(|at| *at > now);
        }
        is_due
    }
}
