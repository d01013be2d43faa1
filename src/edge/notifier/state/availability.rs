//! Whether the edge may begin something new, and go on with what it has. Pure.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Availability {
    is_bus_up: bool,
    is_lease_held: bool,
    is_overloaded: bool,
    draining_since: Option<Instant>,
    drain_patience: Duration,
}

impl Availability {
    /// Without the bus, until it is said to be up.
    pub(crate) const fn new(drain_patience: Duration) -> Self {
        Self { is_bus_up: false, is_lease_held: true, is_overloaded: false, draining_since: None, drain_patience }
    }

    pub(crate) const fn set_bus(&mut self, is_up: bool) {
        self.is_bus_up = is_up;
    }

    pub(crate) const fn set_lease(&mut self, is_held: bool) {
        self.is_lease_held = is_held;
    }

    pub(crate) const fn set_overloaded(&mut self, is_overloaded: bool) {
        self.is_overloaded = is_overloaded;
    }

    pub(crate) fn drain(&mut self, now: Instant) {
        self.draining_since.get_or_insert(now);
    }

    pub(crate) const fn is_bus_up(&self) -> bool {
        self.is_bus_up
    }

    /// Whether what is held here is surely ours: without the lease another edge may serve it, and no NOTIFY goes out.
    pub(crate) const fn is_lease_held(&self) -> bool {
        self.is_lease_held
    }

    pub(crate) const fn is_draining(&self) -> bool {
        self.draining_since.is_some()
    }

    /// Whether nothing new may begin.
    pub(crate) const fn refuses_new(&self) -> bool {
        self.is_draining() || !self.is_bus_up || self.is_overloaded
    }

    /// Whether the edge may store or ask something that nobody waits for.
    pub(crate) const fn may_ask_unasked(&self) -> bool {
        self.is_bus_up && self.is_lease_held && !self.is_draining()
    }

    /// Whether a stop has waited for phones as long as it may.
    pub(crate) fn is_patience_over(&self, now: Instant) -> bool {
        let waited = self.draining_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        waited >= self.drain_patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;

    #[test]
    fn nothing_new_begins_unless_all_is_there() {
        let now = clock::now();
        let mut availability = Availability::new(Duration::from_secs(6));
        assert!(availability.refuses_new(), "nothing is known of the bus");
        availability.set_bus(true);
        assert!(!availability.refuses_new() && availability.may_ask_unasked());
        availability.set_overloaded(true);
        assert!(availability.refuses_new());
        availability.set_overloaded(false);
        availability.set_lease(false);
        assert!(!availability.refuses_new() && !availability.may_ask_unasked(), "who asks is answered, nothing else is done");
        availability.set_lease(true);
        availability.drain(now);
        availability.drain(now + Duration::from_secs(5));
        assert!(availability.refuses_new() && !availability.may_ask_unasked());
        assert!(!availability.is_patience_over(now + Duration::from_secs(5)));
        assert!(availability.is_patience_over(now + Duration::from_secs(6)), "since it was first asked to stop");
    }
}
