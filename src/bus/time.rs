//! The time of day as NATS has it: roles on machines whose clocks differ mean the same by a deadline.
//!
//! Every answer about a stream says what time it is at the server that leads the stream. Half of the question's round trip is
//! the error.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use crate::bus::client::Bus;
use crate::runtime::clock;

/// An answer that took longer says too little about the time.
const LONGEST_ROUND_TRIP: Duration = Duration::from_millis(200);
/// A clock that is this far from the server's is worth a line in the log.
const WORTH_A_LINE_MS: i64 = 1000;

/// How far the server's clock is ahead of ours, in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct ServerClock {
    ahead_ms: AtomicI64,
}

impl ServerClock {
    /// The time at the server when it is `ours` here.
    fn at(&self, ours: SystemTime) -> SystemTime {
        let ahead_ms = self.ahead_ms.load(Ordering::Relaxed);
        let ahead = Duration::from_millis(ahead_ms.unsigned_abs());
        if ahead_ms < 0 { ours.checked_sub(ahead).unwrap_or(ours) } else { ours + ahead }
    }

    /// The server said that it is `theirs`, in the middle between these two times here. Gives how far it is ahead.
    fn compare(&self, theirs: SystemTime, asked_at: SystemTime, answered_at: SystemTime) -> Option<i64> {
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

#[derive(Deserialize)]
struct Answer {
    ts: String,
}

impl Bus {
    /// The time of day at the server, UTC; ours as long as the server's is not known.
    #[must_use]
    pub fn utc_now(&self) -> SystemTime {
        self.server_clock().at(clock::utc_now())
    }

    /// Asks the server what time it is. A failure leaves what is known.
    pub(crate) async fn compare_clocks(&self) {
        let call = format!("STREAM.INFO.{}", self.subjects().stream("EVENTS"));
        let asked_at = clock::utc_now();
        let Ok(answer) = self.api::<Answer>(&call, self.timeout()).await else { return };
        let theirs = clock::parse_rfc3339(&answer.ts);
        let ahead_ms = theirs.and_then(|theirs| self.server_clock().compare(theirs, asked_at, clock::utc_now()));
        if let Some(ahead_ms) = ahead_ms.filter(|ahead_ms| ahead_ms.abs() >= WORTH_A_LINE_MS) {
            tracing::warn!(ahead_ms, "the clock of nats and ours differ: deadlines follow that of nats");
        }
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
