//! Times as the server writes and reads them. Pure.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What the server writes where there was no time.
pub(super) const NEVER: &str = "0001-01-01T00:00:00Z";

/// Nanoseconds since 1970, in RFC 3339.
pub(super) fn rfc3339(nanos: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos)).ok();
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_else(|| NEVER.to_owned())
}

/// Nanoseconds since 1970; what is before counts as 1970.
pub(super) fn parse_rfc3339(text: &str) -> Option<u64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some(u64::try_from(at.unix_timestamp_nanos()).unwrap_or_default())
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// `1m0s`, as Go prints whole seconds.
pub(super) fn go_duration(time: Duration) -> String {
    let all = time.as_secs();
    match (all / 3600, all / 60 % 60, all % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// `Nats-TTL`: seconds, or as Go reads it: `1h0m5s`. At least a second; `never` is no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ttl {
    Never,
    Seconds(u64),
}

pub(super) fn ttl(text: &str) -> Option<Ttl> {
    if text.eq_ignore_ascii_case("never") {
        return Some(Ttl::Never);
    }
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(if seconds == 0 { Ttl::Never } else { Ttl::Seconds(seconds) });
    }
    let time = parse_go_duration(text)?;
    (time >= Duration::from_secs(1)).then_some(Ttl::Seconds(time.as_secs()))
}

fn parse_go_duration(text: &str) -> Option<Duration> {
    let mut all = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(end)?;
        let number: u32 = number.parse().ok()?;
        let unit_end = tail.find(|letter: char| letter.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_end)?;
        let unit = match unit {
            "h" => Duration::from_hours(1),
            "m" => Duration::from_mins(1),
            "s" => Duration::from_secs(1),
            "ms" => Duration::from_millis(1),
            _ => return None,
        };
        all = all.checked_add(unit.checked_mul(number)?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_lifetime_as_the_server_does() {
        for (text, want) in [
            ("1s", Some(Ttl::Seconds(1))),
            ("60", Some(Ttl::Seconds(60))),
            ("1h0m5s", Some(Ttl::Seconds(3605))),
            ("never", Some(Ttl::Never)),
            ("500ms", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(ttl(text), want, "{text}");
        }
        assert_eq!(go_duration(Duration::from_mins(1)), "1m0s");
    }

    #[test]
    fn writes_times_as_the_server_does() {
        assert_eq!(rfc3339(1_800_000_000_120_000_000), "2027-01-15T08:00:00.12Z");
        assert_eq!(parse_rfc3339("2027-01-15T08:00:00.12Z"), Some(1_800_000_000_120_000_000));
    }
}
