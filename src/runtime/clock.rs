//! The one place that reads a clock.

use std::time::{Duration, Instant, SystemTime};

use nix::time::ClockId;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The time of one step: monotonic, and of day.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For timers.
    pub at: Instant,
    /// For what others read.
    pub utc: SystemTime,
}

/// Both clocks, read together.
#[must_use]
pub(crate) fn moment() -> Now {
    Now { at: now(), utc: utc_now() }
}

/// The monotonic time. Follows tokio's paused clock in tests.
#[must_use]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Time since the machine has started, also while it, or this process, stood still. Never follows a paused clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SinceBoot(Duration);

impl SinceBoot {
    /// As a span from the start of the machine.
    pub(crate) const fn duration(self) -> Duration {
        self.0
    }
}

impl std::ops::Add<Duration> for SinceBoot {
    type Output = Self;
    fn add(self, more: Duration) -> Self {
        Self(self.0 + more)
    }
}

/// Now, on the clock that stands still for nobody.
#[must_use]
pub fn since_boot() -> SinceBoot {
    #[cfg(feature = "simulate")]
    if let Some(host) = crate::runtime::host::current() {
        return SinceBoot(host.since_boot());
    }
    SinceBoot(ClockId::CLOCK_BOOTTIME.now().map(Duration::from).unwrap_or_default())
}

/// An instant as time of day, by what both clocks show now.
#[must_use]
pub(crate) fn time_of_day(at: Instant, now: Instant, utc: SystemTime) -> SystemTime {
    match at.checked_duration_since(now) {
        Some(left) => utc + left,
        None => utc.checked_sub(now.saturating_duration_since(at)).unwrap_or(utc),
    }
}

/// The time of day, UTC.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn utc_now() -> SystemTime {
    #[cfg(feature = "simulate")]
    if let Some(host) = crate::runtime::host::current() {
        return host.utc_now();
    }
    SystemTime::now()
}

/// Processor time of the calling thread: unlike [`now`], it does not advance while the thread waits.
#[must_use]
pub(crate) fn thread_cpu() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from).unwrap_or_default()
}

/// RFC 3339 in UTC with milliseconds, always 24 characters: `2026-11-23T02:48:40.120Z`.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    let at = OffsetDateTime::from(time);
    let (date, time) = (at.date(), at.time());
    let mut text = String::with_capacity(24);
    // digit by digit: every event and record has two or three of these
    let mut digits = |value: u32, count: u32, end: char| {
        for at in (0..count).rev() {
            text.push(char::from_digit(value / 10_u32.pow(at) % 10, 10).unwrap_or('0'));
        }
        text.push(end);
    };
    digits(date.year().unsigned_abs(), 4, '-');
    digits(u8::from(date.month()).into(), 2, '-');
    digits(date.day().into(), 2, 'T');
    digits(time.hour().into(), 2, ':');
    digits(time.minute().into(), 2, ':');
    digits(time.second().into(), 2, '.');
    digits(time.millisecond().into(), 3, 'Z');
    text
}

#[must_use]
pub(crate) fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}

/// How far in the future a time of day is; zero when it has passed.
#[must_use]
pub fn until(time: SystemTime) -> Duration {
    time.duration_since(utc_now()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_back_to_the_millisecond_it_was_written_with() {
        for text in ["2026-11-23T02:48:40.120Z", "2026-01-01T00:00:00.000Z", "2028-02-29T23:59:59.999Z"] {
            assert_eq!(rfc3339(parse_rfc3339(text).unwrap()), text);
        }
        assert_eq!(rfc3339(parse_rfc3339("2026-01-01T01:00:00+01:00").unwrap()), "2026-01-01T00:00:00.000Z");
    }
}
