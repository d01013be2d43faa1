//! For how long a command sets a feature. Pure.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use crate::bus::message::ErrorBody;
use crate::runtime::clock;

/// Longest time that a feature can be set for.
const LONGEST: Duration = Duration::from_hours(24 * 366);

/// How long what a command switches on stays on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lasts {
    /// Until something changes it.
    #[default]
    Always,
    /// So long after the command was sent.
    For(Duration),
    /// Until this time.
    Until(SystemTime),
}

impl Lasts {
    /// Reads `until` or `for_seconds`.
    ///
    /// # Errors
    ///
    /// An [`ErrorBody`] of code 400: both, or what is no such time.
    pub(crate) fn read(fields: &Map<String, Value>) -> Result<Self, ErrorBody> {
        let given = |field: &str| fields.get(field).filter(|value| !value.is_null());
        match (given("until"), given("for_seconds")) {
            (None, None) => Ok(Self::Always),
            (Some(_), Some(_)) => {
                Err(ErrorBody::bad(Some("until"), "until and for_seconds are both given: expected one of them".to_owned()))
            }
            (Some(until), None) => {
                let at = until.as_str().and_then(clock::parse_rfc3339);
                let expected = "a time of RFC 3339, such as 2026-11-28T17:00:00Z";
                at.map(Self::Until).ok_or_else(|| ErrorBody::invalid("until", until, expected))
            }
            (None, Some(seconds)) => {
                let fits = seconds.as_u64().filter(|seconds| (1..=LONGEST.as_secs()).contains(seconds));
                let expected = format!("whole seconds from 1 to {}", LONGEST.as_secs());
                let lasts = fits.map(|seconds| Self::For(Duration::from_secs(seconds)));
                lasts.ok_or_else(|| ErrorBody::invalid("for_seconds", seconds, &expected))
            }
        }
    }

    /// When a feature goes off that is set now, with a command that was sent at `sent_at`; `None`: it stays.
    ///
    /// # Errors
    ///
    /// An [`ErrorBody`] of code 400: that time is past, or too far away.
    pub(crate) fn ends_at(self, sent_at: SystemTime, now: SystemTime) -> Result<Option<SystemTime>, ErrorBody> {
        let (field, at) = match self {
            Self::Always => return Ok(None),
            Self::For(duration) => ("for_seconds", sent_at.checked_add(duration)),
            Self::Until(at) => ("until", Some(at)),
        };
        match at {
            Some(at) if at <= now => {
                Err(ErrorBody::bad(Some(field), format!("{} is in the past: it is {} now", clock::rfc3339(at), clock::rfc3339(now))))
            }
            Some(at) if at.duration_since(now).is_ok_and(|ahead| ahead <= LONGEST) => Ok(Some(at)),
            _ => Err(ErrorBody::bad(Some(field), format!("{field} is too far away: expected at most {} days", LONGEST.as_secs() / 86400))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Duration = Duration::from_hours(500_000);

    fn read(fields: &Value) -> Result<Lasts, ErrorBody> {
        Lasts::read(fields.as_object().unwrap())
    }

    #[test]
    fn a_time_is_read_and_everything_else_refused() {
        let at = |text: &str| Lasts::Until(clock::parse_rfc3339(text).unwrap());
        for (fields, want) in [
            (json!({}), Lasts::Always),
            (json!({"until": null, "for_seconds": null}), Lasts::Always),
            (json!({"until": "2026-11-28T17:00:00Z"}), at("2026-11-28T17:00:00Z")),
            (json!({"until": "2026-11-28T18:00:00+01:00"}), at("2026-11-28T17:00:00Z")),
            (json!({"for_seconds": 7200}), Lasts::For(Duration::from_hours(2))),
        ] {
            assert_eq!(read(&fields), Ok(want), "{fields}");
        }
        for (fields, field) in [
            (json!({"until": "17:00"}), "until"),
            (json!({"until": 1_800_000_000}), "until"),
            (json!({"until": "2026-11-28T17:00:00"}), "until"),
            (json!({"for_seconds": 0}), "for_seconds"),
            (json!({"for_seconds": -1}), "for_seconds"),
            (json!({"for_seconds": 1.5}), "for_seconds"),
            (json!({"for_seconds": "60"}), "for_seconds"),
            (json!({"for_seconds": 31_622_401}), "for_seconds"),
            (json!({"until": "2026-11-28T17:00:00Z", "for_seconds": 1}), "until"),
        ] {
            let error = read(&fields).unwrap_err();
            assert_eq!((error.code, error.field.as_deref()), (400, Some(field)), "{fields}");
        }
    }

    #[test]
    fn what_is_past_or_too_far_away_is_refused() {
        let now = SystemTime::UNIX_EPOCH + NOW;
        let hour = Duration::from_hours(1);
        assert_eq!(Lasts::Always.ends_at(now, now), Ok(None));
        assert_eq!(Lasts::For(hour).ends_at(now - hour / 2, now), Ok(Some(now + hour / 2)));
        assert_eq!(Lasts::Until(now + hour).ends_at(now - hour * 2, now), Ok(Some(now + hour)));
        for (lasts, sent_at, text) in [
            (Lasts::For(hour), now - hour * 2, "is in the past: it is "),
            (Lasts::Until(now), now, "is in the past"),
            (Lasts::Until(now + Duration::from_hours(24 * 400)), now, "until is too far away: expected at most 366 days"),
        ] {
            let error = lasts.ends_at(sent_at, now).unwrap_err();
            assert!(error.code == 400 && error.description.contains(text), "{error}");
        }
    }
}
