//! The time of day as NATS has it: roles on machines whose clocks differ mean the same by a deadline. Pure.
//!
//! Every answer about a stream says what time it is at the server that leads the stream. Half of the question's round trip is
//! the error. Between two answers it goes on with the clock that nobody sets: where somebody sets the clock of this machine, or it
//! stood still, nothing changes here. A subscription that looks expired is removed, so a clock that jumps must not make one so.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::runtime::clock::SinceBoot;

/// An answer that took longer says too little about the time, where more is known.
const LONGEST_ROUND_TRIP: Duration = Duration::from_millis(200);
/// The server's time when this machine started is not known.
const UNKNOWN: i64 = i64::MIN;

/// When this machine started by the server's clock, in nanoseconds since 1970: what is said in instants of this machine must read the same each
/// time that it is said.
#[derive(Debug)]
pub(crate) struct ServerClock {
    started_ns: AtomicI64,
}

impl Default for ServerClock {
    fn default() -> Self {
        Self { started_ns: AtomicI64::new(UNKNOWN) }
    }
}

impl ServerClock {
    /// The time at the server. As long as it is not known: `ours`.
    pub(crate) fn at(&self, now: SinceBoot, ours: impl FnOnce() -> SystemTime) -> SystemTime {
        match self.started_ns.load(Ordering::Relaxed) {
            UNKNOWN => ours(),
            started_ns => later(later(UNIX_EPOCH, started_ns), nanos(now)),
        }
    }

    /// The server said that it is `theirs`, in the middle between these two times here. Says whether that is believed.
    ///
    /// An answer that took long is, where it is further from what was known than its error.
    pub(crate) fn compare(&self, theirs: SystemTime, asked_at: SinceBoot, answered_at: SinceBoot) -> bool {
        let took = nanos(answered_at) - nanos(asked_at);
        let Ok(theirs) = theirs.duration_since(UNIX_EPOCH) else { return false };
        let started_ns = i64::try_from(theirs.as_nanos()).unwrap_or(i64::MAX) - (nanos(asked_at) + took / 2);
        let known = self.started_ns.load(Ordering::Relaxed);
        let is_short = Duration::from_nanos(took.unsigned_abs()) <= LONGEST_ROUND_TRIP;
        let is_believed = is_short || known == UNKNOWN || started_ns.abs_diff(known) > took.unsigned_abs();
        if is_believed {
            self.started_ns.store(started_ns, Ordering::Relaxed);
        }
        is_believed
    }
}

fn nanos(time: SinceBoot) -> i64 {
    i64::try_from(time.duration().as_nanos()).unwrap_or(i64::MAX)
}

fn later(time: SystemTime, ns: i64) -> SystemTime {
    let by = Duration::from_nanos(ns.unsigned_abs());
    if ns < 0 { time.checked_sub(by).unwrap_or(time) } else { time + by }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;

    #[test]
    fn follows_the_servers_clock_whatever_is_done_to_ours() {
        let clock = ServerClock::default();
        let (ms, boot) = (Duration::from_millis, clock::since_boot());
        let utc = |seconds: u64| UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds);
        let ours = || utc(7);
        assert_eq!(clock.at(boot, ours), utc(7), "nothing is known yet");
        assert!(clock.compare(utc(1), boot, boot + ms(100)));
        assert_eq!(clock.at(boot, ours), utc(1) - ms(50), "ours is not asked for");
        assert_eq!(clock.at(boot + ms(2050), ours), utc(3));
        // within the error of the answer
        assert!(!clock.compare(utc(1), boot, boot + ms(400)));
        assert_eq!(clock.at(boot + ms(50), ours), utc(1));
        // the server's clock was set back
        assert!(clock.compare(utc(0), boot, boot));
        assert_eq!(clock.at(boot, ours), utc(0));
        // as was that of the next server, and the answer took long: what was known is further off than that
        assert!(clock.compare(utc(600), boot, boot + ms(1000)));
        assert_eq!(clock.at(boot + ms(500), ours), utc(600));
    }

    #[test]
    fn what_took_long_is_better_than_nothing() {
        let (clock, boot) = (ServerClock::default(), clock::since_boot());
        let theirs = UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert!(clock.compare(theirs, boot, boot + Duration::from_secs(4)));
        assert_eq!(clock.at(boot + Duration::from_secs(2), || UNIX_EPOCH), theirs);
    }
}
