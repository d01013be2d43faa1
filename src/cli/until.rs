//! `--until TIME`: a time of day here, a date and a time here, or a time of RFC 3339. Pure.

use jiff::civil::{DateTime, Time};
use jiff::{Timestamp, ToSpan, Zoned};

/// The time that is meant, in RFC 3339 UTC. A time of day is the next one; one that a clock change skips or has twice is taken as
/// it would be without the change.
///
/// # Errors
///
/// What is expected.
pub(super) fn until(text: &str, now: &Zoned) -> Result<String, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at.to_string());
    }
    let expected = |_| format!("--until '{text}': expected a time, e.g. 17:00, 2026-12-24T17:00 or 2026-12-24T17:00:00+01:00");
    let here = now.time_zone();
    if text.len() > "2026-12-24".len()
        && let Ok(at) = text.parse::<DateTime>()
    {
        return at.to_zoned(here.clone()).map(|at| at.timestamp().to_string()).map_err(expected);
    }
    let time: Time = text.parse().map_err(expected)?;
    let of = |date: jiff::civil::Date| date.to_datetime(time).to_zoned(here.clone()).map_err(expected);
    let today = of(now.date())?;
    let at = if today > *now { today } else { of(now.date().checked_add(1.day()).map_err(expected)?)? };
    Ok(at.timestamp().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_that_of_the_place_where_it_is_typed() {
        let amsterdam = jiff::tz::TimeZone::get("Europe/Amsterdam").unwrap();
        let now = "2026-10-24T15:00:00Z".parse::<Timestamp>().unwrap().to_zoned(amsterdam);
        for (text, want) in [
            ("17:30", "2026-10-24T15:30:00Z"),
            ("18", "2026-10-24T16:00:00Z"),
            ("17:00", "2026-10-25T16:00:00Z"),
            ("08:00", "2026-10-25T07:00:00Z"),
            ("08:00:30", "2026-10-25T07:00:30Z"),
            ("2026-12-24T17:00", "2026-12-24T16:00:00Z"),
            ("2026-12-24 17:00", "2026-12-24T16:00:00Z"),
            ("2026-12-24T17:00:00+02:00", "2026-12-24T15:00:00Z"),
            ("2026-12-24T17:00:00Z", "2026-12-24T17:00:00Z"),
        ] {
            assert_eq!(until(text, &now).as_deref(), Ok(want), "{text}");
        }
        for text in ["", "soon", "25:00", "5pm", "2026-12-24"] {
            assert!(until(text, &now).is_err_and(|error| error.contains("expected a time, e.g. 17:00")), "{text}");
        }
    }
}
