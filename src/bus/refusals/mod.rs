//! The events of refusals, held to one a second for each source and reason. Pure.
//!
//! ```text
//! refusal ─▶ its source and reason were quiet for a second ─▶ event, count 1
//!         └─ they were not ─▶ counted ─(the second is over)─▶ event, count: all that was held back
//! ```
//! The table is small and has a fixed size, so that a flood from made-up addresses costs neither memory nor the event stream
//! its room: what finds no place there is told together, whatever it came from.

mod metrics;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ahash::AHashMap;

use crate::bus::message::{RefusedEvent, RefusedReason};
use crate::bus::refusals::metrics::RefusalMetrics;

/// Pause between two events of one source and reason.
const EVERY: Duration = Duration::from_secs(1);
/// Sources and reasons that are told apart, and so the most events a second, but for those told together.
const MAX_TOLD_APART: usize = 64;

/// Who is refused, as far as events are held back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Refused {
    /// What came from this address.
    Source(IpAddr),
    /// Commands about presentities of this domain; `None`: about none that could be read.
    Domain(Option<Box<str>>),
    /// All that finds no place of its own.
    Others,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Refusals {
    told: AHashMap<(Refused, RefusedReason), Told>,
    /// When the first event that is held back is due, or earlier.
    next_at: Option<Instant>,
    metrics: RefusalMetrics,
}

/// An event that was published, and what came since.
#[derive(Debug)]
struct Told {
    at: Instant,
    held_back: Option<Box<RefusedEvent>>,
}

impl Refusals {
    /// An empty table. Made after the metrics recorder is installed.
    pub(crate) fn new() -> Self {
        Self { told: AHashMap::new(), next_at: None, metrics: RefusalMetrics::new() }
    }

    /// Something was refused. Returns the event that is published now; `event` makes it, and is called for no more than two
    /// refusals a second of one source and reason.
    pub(crate) fn note(
        &mut self,
        refused: Refused,
        reason: RefusedReason,
        now: Instant,
        event: impl FnOnce() -> RefusedEvent,
    ) -> Option<RefusedEvent> {
        self.metrics.refused(reason);
        let key = self.place(refused, reason, now);
        let Some(told) = self.told.get_mut(&key) else {
            self.told.insert(key, Told { at: now, held_back: None });
            return Some(event());
        };
        let is_due = now.saturating_duration_since(told.at) >= EVERY;
        match (&mut told.held_back, is_due) {
            (held_back, true) => {
                let before = held_back.take().map_or(0, |held_back| held_back.count);
                told.at = now;
                let event = event();
                Some(RefusedEvent { count: event.count + before, ..event })
            }
            (Some(held_back), false) => {
                held_back.count += 1;
                None
            }
            (None, false) => {
                let due_at = told.at + EVERY;
                told.held_back = Some(Box::new(event()));
                self.next_at = Some(self.next_at.map_or(due_at, |next_at| next_at.min(due_at)));
                None
            }
        }
    }

    /// The next event that was held back and is due by now.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<RefusedEvent> {
        if self.next_at.is_none_or(|next_at| next_at > now) {
            return None;
        }
        let is_due = |told: &&mut Told| told.held_back.is_some() && told.at + EVERY <= now;
        if let Some(told) = self.told.values_mut().find(is_due) {
            told.at = now;
            return told.held_back.take().map(|event| *event);
        }
        self.next_at = self.told.values().filter(|told| told.held_back.is_some()).map(|told| told.at + EVERY).min();
        None
    }

    /// When [`poll`](Self::poll) has something.
    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.next_at
    }

    /// Where it is counted: with its like, with all others where there is no room.
    fn place(&mut self, refused: Refused, reason: RefusedReason, now: Instant) -> (Refused, RefusedReason) {
        let key = (refused, reason);
        if self.told.len() >= MAX_TOLD_APART && !self.told.contains_key(&key) {
            self.told.retain(|_, told| told.held_back.is_some() || now.saturating_duration_since(told.at) < EVERY);
            if self.told.len() >= MAX_TOLD_APART {
                return (Refused::Others, reason);
            }
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::message::Kind;
    use crate::bus::trace::Cause;
    use crate::runtime::clock;

    fn event(status: u16) -> RefusedEvent {
        RefusedEvent {
            kind: Kind::default(),
            id: "id".into(),
            time: "T".into(),
            cause: Cause("c".into()),
            edge_id: None,
            presentity: None,
            watcher: None,
            actor: None,
            source: None,
            transport: None,
            method: None,
            status,
            reason: RefusedReason::Forbidden,
            detail: None,
            user_agent: None,
            call_id: None,
            count: 1,
        }
    }

    fn source(last: u8) -> Refused {
        Refused::Source([192, 0, 2, last].into())
    }

    fn later(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_second_holds_back_what_its_end_tells() {
        let (mut refusals, start) = (Refusals::new(), clock::now());
        let mut note = |at: u64, reason| refusals.note(source(1), reason, start + later(at), || event(403)).map(|event| event.count);
        assert_eq!(note(0, RefusedReason::Forbidden), Some(1));
        assert_eq!((note(1, RefusedReason::Forbidden), note(999, RefusedReason::Forbidden)), (None, None));
        assert_eq!(note(2, RefusedReason::NotFound), Some(1), "another reason has its own");
        assert_eq!(refusals.poll_timeout(), Some(start + EVERY));
        assert!(refusals.poll(start + later(999)).is_none());
        assert_eq!(refusals.poll(start + EVERY).map(|event| event.count), Some(2));
        assert!(refusals.poll(start + EVERY).is_none() && refusals.poll_timeout().is_none());
        let mut note = |at: u64| refusals.note(source(1), RefusedReason::Forbidden, start + later(at), || event(403));
        assert!(note(1500).is_none(), "the end of the second began another");
        assert_eq!(note(2500).map(|event| event.count), Some(2), "one that nobody polled goes with the next");
        assert_eq!(note(9000).map(|event| event.count), Some(1));
    }

    #[test]
    fn a_flood_from_everywhere_is_told_together() {
        let (mut refusals, start) = (Refusals::new(), clock::now());
        let mut told = 0;
        for at in 0..10_000_u32 {
            let refused = Refused::Source(at.to_be_bytes().into());
            told += u64::from(refusals.note(refused, RefusedReason::Forbidden, start, || event(403)).is_some());
        }
        assert_eq!(told, 65);
        let held_back = std::iter::from_fn(|| refusals.poll(start + EVERY)).map(|event| event.count).sum::<u64>();
        assert_eq!(held_back + told, 10_000, "and nothing is lost");
        assert!(refusals.told.len() <= MAX_TOLD_APART + RefusedReason::ALL.len());
        let fresh = refusals.note(source(1), RefusedReason::Forbidden, start + EVERY * 3, || event(403));
        assert_eq!((fresh.map(|event| event.count), refusals.told.len()), (Some(1), 1), "a quiet second empties the table");
    }
}
