//! Until when no other edge takes over from this one.
//!
//! It is read on a clock that goes on while the process, or the machine, stands still, right before a NOTIFY leaves.

use tokio::sync::watch;

use crate::runtime::clock::{self, SinceBoot};

#[derive(Debug, Clone)]
pub(crate) struct Lease(watch::Receiver<Option<SinceBoot>>);

impl Lease {
    /// A lease, not renewed yet, and what renews it.
    pub(super) fn new() -> (watch::Sender<Option<SinceBoot>>, Self) {
        let (renew, until) = watch::channel(None);
        (renew, Self(until))
    }

    /// Whether it is held. Before it was renewed for the first time it is: at the start nothing can have been taken over that is
    /// not in the bucket.
    #[must_use]
    pub(crate) fn is_held(&self) -> bool {
        self.0.borrow().is_none_or(|until| clock::since_boot() < until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_lease_ends_by_itself() {
        let (renew, lease) = Lease::new();
        assert!(lease.is_held());
        renew.send_replace(Some(clock::since_boot()));
        assert!(!lease.is_held());
        renew.send_replace(Some(clock::since_boot() + Duration::from_mins(1)));
        assert!(lease.is_held());
    }
}
