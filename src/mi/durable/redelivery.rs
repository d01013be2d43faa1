//! Holds commands back until everything that the last active bridge had in flight is redelivered, so that order is kept. Pure.

use std::collections::BTreeMap;

use crate::bus::pull::Pending;

/// What has come so far, in the order of the stream.
#[derive(Debug)]
pub(crate) struct Redelivery<T> {
    /// What was unacknowledged at the start; `None` if that is not known.
    pending: Option<Pending>,
    come: BTreeMap<u64, T>,
}

impl<T> Redelivery<T> {
    pub(crate) fn new(pending: Option<Pending>) -> Self {
        Self { pending, come: BTreeMap::new() }
    }

    /// Adds a delivery; it replaces an earlier one of the same message.
    pub(crate) fn add(&mut self, stream_seq: u64, what: T) {
        self.come.insert(stream_seq, what);
    }

    /// Whether everything that was pending has come.
    pub(crate) fn is_complete(&self) -> bool {
        self.pending.is_some_and(|pending| {
            let come = self.come.range(..=pending.up_to_stream_seq).count();
            u64::try_from(come).is_ok_and(|come| come >= pending.count)
        })
    }

    /// Calls `act` on each.
    pub(crate) fn each(&mut self, act: impl FnMut(&mut T)) {
        self.come.values_mut().for_each(act);
    }

    /// All that has come, in the order of the stream.
    pub(crate) fn in_order(self) -> impl Iterator<Item = T> {
        self.come.into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_all_that_was_pending_and_for_nothing_new() {
        let mut come = Redelivery::new(Some(Pending { count: 3, up_to_stream_seq: 7 }));
        for (seq, is_complete) in [(7, false), (9, false), (7, false), (3, false), (12, false), (4, true)] {
            come.add(seq, seq);
            assert_eq!(come.is_complete(), is_complete, "{seq}");
        }
        assert!(come.in_order().eq([3, 4, 7, 9, 12]));
    }

    #[test]
    fn one_that_does_not_know_what_is_pending_is_never_complete() {
        let mut come = Redelivery::new(None);
        come.add(1, ());
        assert!(!come.is_complete());
        assert!(Redelivery::<()>::new(Some(Pending { count: 0, up_to_stream_seq: 0 })).is_complete());
    }
}
