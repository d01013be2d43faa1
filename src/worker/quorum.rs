//! Whether what the leader of the bucket says is what its quorum has. Pure.
//!
//! A NATS node that is cut off from its peers goes on as the leader for some seconds, and answers a read with what was there
//! before the cut, also in the moment when it is back and another node leads. No other leader is elected sooner than 4 s after the
//! one before has heard of its peers. So for as long as writes of this worker are confirmed without a gap, the leader that answers
//! is the only one.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For so long after it was sent, a write that was confirmed speaks for reads. A read may take as long again.
const SPEAKS_FOR: Duration = Duration::from_secs(1);
/// Between two writes that were sent so far apart, another leader may have been elected.
const GAP: Duration = Duration::from_secs(3);
/// So long after a gap, the leader of before may still answer.
const PROBATION: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
struct Confirmed {
    /// Since when there was no gap.
    since: Instant,
    /// When the latest write that was confirmed was sent.
    sent_at: Instant,
}

/// What this worker's own writes say of the leader.
#[derive(Debug, Default)]
pub(crate) struct Quorum(Mutex<Option<Confirmed>>);

impl Quorum {
    /// A write that was sent then was confirmed.
    pub(crate) fn confirmed(&self, sent_at: Instant) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Some(match *held {
            Some(before) if sent_at <= before.sent_at => before,
            Some(before) if sent_at - before.sent_at < GAP => Confirmed { sent_at, ..before },
            _ => Confirmed { since: sent_at, sent_at },
        });
    }

    /// Whether a read needs no write to confirm it.
    pub(crate) fn is_certain(&self, now: Instant) -> bool {
        let held = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.is_some_and(|held| {
            now.saturating_duration_since(held.sent_at) < SPEAKS_FOR && now.saturating_duration_since(held.since) >= PROBATION
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_certain_after_writes_without_a_gap_and_not_for_long() {
        let (quorum, start) = (Quorum::default(), crate::runtime::clock::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(!quorum.is_certain(at(0)));
        // milliseconds of each confirmed write, then of a read, and whether it is certain
        for (written, read, is_certain) in [
            (0, 10, false),
            (900, 1_000, false),
            (1_900, 1_999, false),
            (1_900, 2_000, true),
            (1_900, 2_899, true),
            (1_900, 2_900, false),
            (4_800, 4_801, true),
            (7_800, 7_801, false),
            (9_000, 9_799, false),
            (9_000, 9_800, true),
            (8_000, 9_999, true),
            (8_000, 10_000, false),
        ] {
            quorum.confirmed(at(written));
            assert_eq!(quorum.is_certain(at(read)), is_certain, "written at {written}, read at {read}");
        }
    }
}
