//! Whether the bucket keeps up: new subscriptions are turned away before those that are being stored have to wait long. Pure.

use std::time::{Duration, Instant};

/// How long a store may take while many others wait: a phone has its answer before it sends its request again (T1, 500 ms).
const LONG: Duration = Duration::from_millis(400);
/// So many stores under way are no backlog, however long they take: one lost answer turns nobody away.
const FEW: usize = 128;

/// The stores under way.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    under_way: usize,
    /// How long the last one that was answered took.
    took: Duration,
}

impl Backlog {
    /// One more is under way.
    pub(crate) fn asked(&mut self) {
        self.under_way += 1;
    }

    /// One was answered, or given up.
    pub(crate) fn answered(&mut self, asked_at: Instant, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        self.took = now.saturating_duration_since(asked_at);
    }

    /// Whether whoever comes now would wait long.
    pub(crate) const fn is_long(&self) -> bool {
        self.under_way > FEW && self.took.as_millis() > LONG.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;

    #[test]
    fn is_long_while_many_take_long() {
        let now = clock::now();
        let mut backlog = Backlog::default();
        for _ in 0..=FEW {
            backlog.asked();
        }
        assert!(!backlog.is_long(), "nothing is known yet");
        backlog.asked();
        backlog.answered(now, now + LONG);
        assert!(!backlog.is_long());
        backlog.asked();
        backlog.answered(now, now + LONG + Duration::from_millis(1));
        assert!(backlog.is_long());
        backlog.answered(now, now + Duration::from_secs(1));
        assert!(!backlog.is_long(), "few are left");
        backlog.asked();
        backlog.asked();
        assert!(backlog.is_long());
        backlog.answered(now, now + Duration::from_millis(1));
        assert!(!backlog.is_long(), "they are answered quickly again");
    }
}
