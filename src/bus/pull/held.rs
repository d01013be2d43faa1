//! A message in hand: the server is told now and then that it is, so that nobody else gets it.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::bus::pull::delivery::Delivery;
use crate::runtime::clock;

/// A delivery, and when the server was last told that it is in hand.
#[derive(Debug)]
pub struct Held {
    delivery: Delivery,
    tell_every: Duration,
    told_at: Instant,
    tell_at: Instant,
}

impl Held {
    /// `tell_every`: a quarter or a third of the consumer's `ack_wait`.
    #[must_use]
    pub fn new(delivery: Delivery, tell_every: Duration, now: Instant) -> Self {
        Self { delivery, tell_every, told_at: now, tell_at: now + tell_every }
    }

    /// Whether the server cannot have delivered it to anyone else: not so after our process stood still for a while.
    #[must_use]
    pub fn is_ours(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.told_at) < self.tell_every * 3
    }

    /// Tells the server, if it is time.
    pub fn keep(&mut self, now: Instant) {
        if now < self.tell_at {
            return;
        }
        self.tell_at = now + self.tell_every;
        let is_ours = self.is_ours(now);
        // what was lost does not come back by telling
        if self.delivery.working().is_ok() && is_ours {
            self.told_at = now;
        }
    }

    /// Does work while the server is told.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep_until(self.tell_at.into()) => self.keep(clock::now()),
            }
        }
    }

    /// The delivery, for what becomes of it.
    #[must_use]
    pub fn into_delivery(self) -> Delivery {
        self.delivery
    }
}
