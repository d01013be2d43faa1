//! How long to wait before trying again.

use std::time::Duration;

/// Exponential backoff with jitter: `min`, twice that, … up to `max`, each cut by up to half at random.
///
/// The jitter keeps many processes that lost the same server from coming back at the same instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    attempts: u32,
}

impl Backoff {
    /// A backoff that starts at `min` and stays at `max`.
    #[must_use]
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, attempts: 0 }
    }

    /// The next wait. `random` is in `0.0..1.0`.
    pub fn next(&mut self, random: f64) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        self.delay(self.attempts, random)
    }

    /// The wait before attempt `attempt`, counted from 1. `random` is in `0.0..1.0`.
    #[must_use]
    pub fn delay(&self, attempt: u32, random: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let full = self.min.saturating_mul(1 << doublings).min(self.max);
        full.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
    }

    /// What was tried worked: the next wait is short again.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_maximum_and_starts_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let waits: Vec<_> = (0..7).map(|_| backoff.next(0.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 2000, 2000]);
        backoff.reset();
        assert_eq!(backoff.next(0.0), Duration::from_millis(100));
    }

    #[test]
    fn jitter_takes_at_most_half() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        assert_eq!(backoff.delay(1, 1.0), Duration::from_millis(50));
        assert_eq!(backoff.delay(u32::MAX, 0.5), Duration::from_millis(1500));
    }
}
