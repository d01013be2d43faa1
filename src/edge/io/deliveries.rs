//! NOTIFY jobs in hand, from their delivery to their acknowledgement.

use std::time::{Duration, Instant};

use ahash::AHashMap;

use crate::bus::pull::{Delivery, Held};
use crate::edge::notifier::JobHandle;
use crate::notify::WORKING_EVERY;

/// Deliveries of the jobs that the notifier has in hand.
#[derive(Default)]
pub(crate) struct Deliveries {
    open: AHashMap<JobHandle, Held>,
    taken: u64,
}

impl Deliveries {
    pub(crate) fn open(&mut self, delivery: Delivery, now: Instant) -> JobHandle {
        self.taken += 1;
        let handle = JobHandle(self.taken);
        self.open.insert(handle, Held::new(delivery, WORKING_EVERY, now));
        handle
    }

    pub(crate) fn take(&mut self, handle: JobHandle) -> Option<Delivery> {
        self.open.remove(&handle).map(Held::into_delivery)
    }

    /// How many are in hand.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Sends "in progress" for jobs in hand, so that they are not redelivered.
    pub(crate) fn keep(&mut self, now: Instant) {
        for held in self.open.values_mut() {
            held.keep(now);
        }
    }

    /// Returns all jobs to the work queue, for the next process with this edge id.
    pub(crate) fn give_back(&mut self) {
        for (_, held) in self.open.drain() {
            let _comes_again_anyway = held.into_delivery().nak_after(Duration::ZERO);
        }
    }

    /// Acknowledges a job.
    pub(crate) fn done(&mut self, handle: JobHandle) {
        if let Some(Err(error)) = self.take(handle).map(Delivery::ack) {
            // On redelivery its phones already have the version.
            tracing::debug!(%error, "job not acknowledged");
        }
    }
}
