//! The one place that reads a clock.

use std::time::{Duration, Instant, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The monotonic time. Follows tokio's paused clock in tests.
#[must_use]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The time of day, UTC.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn utc_now() -> SystemTime {
    SystemTime::now()
}

/// RFC 3339 in UTC with milliseconds: `2026-11-23T02:48:40.123Z`.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    let at = OffsetDateTime::from(time);
    let whole_ms = at.replace_nanosecond(at.nanosecond() / 1_000_000 * 1_000_000).unwrap_or(at);
    whole_ms.format(&Rfc3339).unwrap_or_default()
}

/// Reads RFC 3339.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}

/// How far in the future a time of day is; zero when it has passed.
#[must_use]
pub fn until(time: SystemTime) -> Duration {
    time.duration_since(utc_now()).unwrap_or_default()
}
