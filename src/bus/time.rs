//! The time of day as NATS has it: roles on machines whose clocks differ mean the same by a deadline. Pure.
//!
//! Every answer about a stream says what time it is at the server that leads the stream. Half of the question's round trip is
//! the error.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

/// An answer that took longer says too little about the time.
const LONGEST_ROUND_TRIP: Duration = Duration::from_millis(200);
/// How far the server's clock is ahead of ours, in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct ServerClock {
    ahead_ms: AtomicI64,
}

impl ServerClock {
    /// The time at the server when it is `ours` here.
    pub(crate) fn at(&self, ours: SystemTime) -> SystemTime {
        let ahead_ms = self.ahead_ms.load(Ordering::Relaxed);
        let ahead = Duration::from_millis(ahead_ms.unsigned_abs());
        if ahead_ms < 0 { ours.checked_sub(ahead).unwrap_or(ours) } else { ours + ahead }
    }

    /// The server said that it is `theirs`, in the middle between these two times here. Gives how far it is ahead.
    pub(crate) fn compare(&self, theirs: SystemTime, asked_at: SystemTime, answered_at: SystemTime) -> Option<i64> {
        let took = answered_at.duration_since(asked_at).ok().filter(|took| *took <= LONGEST_ROUND_TRIP)?;
        let middle = asked_at + took / 2;
        let ahead_ms = match theirs.duration_since(middle) {
            Ok(ahead) => i64::try_from(ahead.as_millis()).ok()?,
            Err(behind) => -i64::try_from(behind.duration().as_millis()).ok()?,
        };
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
        Some(ahead_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_servers_clock_unless_its_answer_took_long() {
        let clock = ServerClock::default();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let (ms, second) = (Duration::from_millis, Duration::from_secs(1));
        assert_eq!(clock.at(now), now, "nothing is known yet");
        assert_eq!(clock.compare(now + second, now, now + ms(100)), Some(950));
        assert_eq!(clock.at(now), now + ms(950));
        assert_eq!(clock.compare(now, now, now + ms(201)), None);
        assert_eq!(clock.compare(now, now + ms(1), now), None, "our clock was set back");
        assert_eq!(clock.at(now), now + ms(950));
        assert_eq!(clock.compare(now - second * 60, now, now), Some(-60_000));
        assert_eq!(clock.at(now), now - second * 60);
    }
}
