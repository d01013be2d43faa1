//! The "in progress" keep-alive of a message in hand, so that the server does not deliver it to someone else.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::bus::pull::delivery::Delivery;
use crate::runtime::clock;

/// A delivery with its keep-alive.
#[derive(Debug)]
pub(crate) struct Held {
    delivery: Delivery,
    tell_every: Duration,
    told_at: Instant,
    tell_at: Instant,
}

impl Held {
    /// `tell_every`: a quarter or a third of the consumer's `ack_wait`.
    #[must_use]
    pub(crate) fn new(delivery: Delivery, tell_every: Duration, now: Instant) -> Self {
        Self { delivery, tell_every, told_at: now, tell_at: now + tell_every }
    }

    /// Whether the server cannot have delivered it again. `false` after this process was paused for too long.
    #[must_use]
    pub(crate) fn is_ours(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.told_at) < self.tell_every * 3
    }

    /// Sends the keep-alive, if it is due.
    pub(crate) fn keep(&mut self, now: Instant) {
        if now < self.tell_at {
            return;
        }
        self.tell_at = now + self.tell_every;
        let is_ours = self.is_ours(now);
        // a late keep-alive does not undo a redelivery
        if self.delivery.working().is_ok() && is_ours {
            self.told_at = now;
        }
    }

    /// Runs `work` and sends the keep-alive meanwhile.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep_until(self.tell_at.into()) => self.keep(clock::now()),
            }
        }
    }

    /// What is held.
    pub(crate) const fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// The delivery, to be acknowledged or given back.
    #[must_use]
    pub(crate) fn into_delivery(self) -> Delivery {
        self.delivery
    }
}
