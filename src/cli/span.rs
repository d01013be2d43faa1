//! Spans of time on the command line: `90s`, `10m`, `2h`, `7d`. Pure.

use std::time::Duration;

/// Longest span that is read: ten years.
const LONGEST: u64 = 10 * 365 * 86_400;

/// `90s`, `10m`, `2h`, `7d`, or seconds without a unit.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let expected = || "expected a span of time, e.g. 90s, 10m, 2h or 7d".to_owned();
    let (number, unit) = match text.char_indices().next_back() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => (text.get(..at).unwrap_or_default(), unit),
        _ => (text, 's'),
    };
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(expected()),
    };
    if number.is_empty() || !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(expected());
    }
    let span = number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds));
    match span.filter(|span| (1..=LONGEST).contains(span)) {
        Some(span) => Ok(Duration::from_secs(span)),
        None => Err(expected()),
    }
}

/// `12 s`, `3 min`, `5 h`, `2 days`.
pub(super) fn shown(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_a_unit_or_is_in_seconds() {
        for (text, want) in [("90s", Some(90)), ("10m", Some(600)), ("2h", Some(7200)), ("7d", Some(604_800)), ("5", Some(5))] {
            assert_eq!(span(text).ok().map(|span| span.as_secs()), want, "{text}");
        }
        for text in ["", "m", "0", "0s", "-1s", "1.5h", "2w", "1 h", "10é", "99999999999999999999s", "9999999d"] {
            assert!(span(text).is_err(), "{text}");
        }
        assert_eq!([5, 600, 90_000, 604_800].map(|seconds| shown(Duration::from_secs(seconds))), ["5 s", "10 min", "25 h", "7 days"]);
    }
}
