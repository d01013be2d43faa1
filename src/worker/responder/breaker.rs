//! The circuit breaker of a responder subject: a responder that keeps failing is not asked for a while. Pure.
//!
//! ```text
//!            FAILURES in a row              back-off over: one probe
//!  Closed ───────────────────────▶ Open ───────────────────────▶ HalfOpen
//!    ▲                              │ ▲                             │ │
//!    └────────── it answered ───────┘ └── it failed: twice as long ─┘ │
//!    └──────────────────────── it answered ───────────────────────────┘
//! ```

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::worker::metrics::label::{Position, Transition};

/// Consecutive failures that open it.
pub(crate) const FAILURES: u32 = 5;
/// How long it stays open the first time.
pub(crate) const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
/// How long it stays open at most.
pub(crate) const MAX_BACK_OFF: Duration = Duration::from_secs(10);
/// A breaker without input for so long is forgotten.
const IDLE_FOR: Duration = Duration::from_mins(1);
/// Most subjects with a breaker. What does not fit has none, and is asked each time.
const MAX_BREAKERS: usize = 65_536;

/// State of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Requests pass; counts consecutive failures.
    Closed { failures: u32 },
    /// No request passes before `until`.
    Open { until: Instant, back_off: Duration },
    /// One probe is in flight. After `until` another may be sent.
    HalfOpen { until: Instant, back_off: Duration },
}

/// Input of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Somebody wants to ask.
    Ask,
    /// The responder answered in time, or there is none.
    Answered,
    /// The responder was late, or answered what cannot be used.
    Failed,
}

impl State {
    pub(crate) const NEW: Self = Self::Closed { failures: 0 };

    pub(crate) const fn position(self) -> Position {
        match self {
            Self::Closed { .. } => Position::Closed,
            Self::Open { .. } => Position::Open,
            Self::HalfOpen { .. } => Position::HalfOpen,
        }
    }

    /// The state after `input`, and whether a request may pass (of use after [`Input::Ask`]).
    pub(crate) fn after(self, input: Input, now: Instant) -> (Self, bool) {
        match (self, input) {
            (Self::Closed { .. }, Input::Ask) => (self, true),
            (Self::Open { until, back_off } | Self::HalfOpen { until, back_off }, Input::Ask) if now >= until => {
                (Self::HalfOpen { until: now + back_off, back_off }, true)
            }
            // a failure in `Open` is one of the requests that were under way when it opened
            (Self::Open { .. } | Self::HalfOpen { .. }, Input::Ask) | (Self::Open { .. }, Input::Failed) => (self, false),
            (_, Input::Answered) => (Self::NEW, true),
            (Self::Closed { failures }, Input::Failed) if failures + 1 < FAILURES => (Self::Closed { failures: failures + 1 }, true),
            (Self::Closed { .. }, Input::Failed) => (Self::Open { until: now + FIRST_BACK_OFF, back_off: FIRST_BACK_OFF }, false),
            (Self::HalfOpen { back_off, .. }, Input::Failed) => {
                let back_off = (back_off * 2).min(MAX_BACK_OFF);
                (Self::Open { until: now + back_off, back_off }, false)
            }
        }
    }
}

/// The breakers of all subjects, one for each kind, tenant and feature. Only breakers with a failure are stored.
#[derive(Debug)]
pub(crate) struct Breakers {
    capacity: usize,
    known: HashMap<Box<str>, (State, Instant), ahash::RandomState>,
    swept_at: Option<Instant>,
}

impl Breakers {
    pub(crate) fn new() -> Self {
        Self::with_room_for(MAX_BREAKERS)
    }

    fn with_room_for(capacity: usize) -> Self {
        Self { capacity, known: HashMap::default(), swept_at: None }
    }

    /// Feeds `input` to the breaker of `subject`. Returns whether a request may pass, and the transition, if any.
    pub(crate) fn handle(&mut self, subject: &str, input: Input, now: Instant) -> (bool, Option<Transition>) {
        let known = self.known.get(subject).map(|(state, _)| *state);
        let before = known.unwrap_or(State::NEW);
        let (after, may_pass) = before.after(input, now);
        if after == State::NEW {
            self.known.remove(subject);
        } else if known.is_some() || self.known.len() < self.capacity {
            self.known.insert(subject.into(), (after, now));
        } else {
            return (true, None);
        }
        let (from, to) = (before.position(), after.position());
        (may_pass, (from != to).then_some(Transition { from, to }))
    }

    /// Where the breaker of a subject stands.
    pub(crate) fn position(&self, subject: &str) -> Position {
        self.known.get(subject).map_or(Position::Closed, |(state, _)| state.position())
    }

    /// Forgets a subject. Returns the transition, if its breaker was not closed.
    pub(crate) fn forget(&mut self, subject: &str) -> Option<Transition> {
        let (state, _) = self.known.remove(subject)?;
        let from = state.position();
        (from != Position::Closed).then_some(Transition { from, to: Position::Closed })
    }

    /// Drops idle breakers, at most once a minute. Returns a transition for each that was not closed.
    pub(crate) fn sweep(&mut self, now: Instant) -> Vec<Transition> {
        let mut gone = Vec::new();
        if self.swept_at.is_some_and(|at| now.saturating_duration_since(at) < IDLE_FOR) {
            return gone;
        }
        self.swept_at = Some(now);
        self.known.retain(|_, (state, touched_at)| {
            let is_kept = now.saturating_duration_since(*touched_at) < IDLE_FOR;
            if !is_kept && state.position() != Position::Closed {
                gone.push(Transition { from: state.position(), to: Position::Closed });
            }
            is_kept
        });
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn every_state_takes_every_input() {
        let now = clock::now();
        let closed = |failures| State::Closed { failures };
        let open = |until, back_off| State::Open { until: now + until, back_off };
        let half_open = |until, back_off| State::HalfOpen { until: now + until, back_off };
        let (none, one) = (Duration::ZERO, seconds(1));
        for (name, state, input, want, may_pass) in [
            ("closed, ask", closed(0), Input::Ask, closed(0), true),
            ("closed with failures, ask", closed(4), Input::Ask, closed(4), true),
            ("closed, answered", closed(4), Input::Answered, closed(0), true),
            ("closed, first failure", closed(0), Input::Failed, closed(1), true),
            ("closed, last but one", closed(FAILURES - 2), Input::Failed, closed(FAILURES - 1), true),
            ("closed, last failure", closed(FAILURES - 1), Input::Failed, open(one, one), false),
            ("open, ask early", open(one, one), Input::Ask, open(one, one), false),
            ("open, ask in time", open(none, one), Input::Ask, half_open(one, one), true),
            ("open, answered late", open(one, one), Input::Answered, closed(0), true),
            ("open, failed late", open(one, one), Input::Failed, open(one, one), false),
            ("half open, ask", half_open(one, one), Input::Ask, half_open(one, one), false),
            ("half open, probe lost", half_open(none, seconds(2)), Input::Ask, half_open(seconds(2), seconds(2)), true),
            ("half open, answered", half_open(one, one), Input::Answered, closed(0), true),
            ("half open, failed", half_open(one, one), Input::Failed, open(seconds(2), seconds(2)), false),
            ("half open, longest", half_open(one, seconds(8)), Input::Failed, open(MAX_BACK_OFF, MAX_BACK_OFF), false),
        ] {
            assert_eq!(state.after(input, now), (want, may_pass), "{name}");
        }
    }

    #[test]
    fn subjects_do_not_touch_each_other_and_take_no_more_room_than_there_is() {
        let (mut breakers, now) = (Breakers::with_room_for(2), clock::now());
        let opened = Some(Transition { from: Position::Closed, to: Position::Open });
        for at in 1..=FAILURES {
            assert_eq!(breakers.handle("a", Input::Failed, now).1, if at == FAILURES { opened } else { None });
        }
        assert_eq!(breakers.handle("a", Input::Ask, now), (false, None));
        assert_eq!(breakers.handle("b", Input::Ask, now), (true, None), "another tenant");
        assert_eq!(breakers.known.len(), 1, "one that never failed takes no room");
        breakers.handle("b", Input::Failed, now);
        for _ in 0..9 {
            assert_eq!(breakers.handle("c", Input::Failed, now), (true, None), "no room: never open");
        }
        let probe = Transition { from: Position::Open, to: Position::HalfOpen };
        assert_eq!(breakers.handle("a", Input::Ask, now + seconds(1)), (true, Some(probe)));
        assert_eq!(breakers.handle("a", Input::Ask, now + seconds(1)), (false, None), "one probe alone");
        let closed = Transition { from: Position::HalfOpen, to: Position::Closed };
        assert_eq!(breakers.sweep(now + seconds(60)), [], "touched a second later");
        assert_eq!(breakers.known.len(), 1);
        assert_eq!(breakers.sweep(now + seconds(119)), [], "at most once a minute");
        assert_eq!(breakers.sweep(now + seconds(120)), [closed]);
        assert!(breakers.known.is_empty());
    }
}
