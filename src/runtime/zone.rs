//! Time zones: what a clock on a wall shows, and when it shows it.

use std::fmt;
use std::time::SystemTime;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// A time zone by its IANA name: of the system's database, else of the one that is built in.
#[derive(Debug, Clone)]
pub(crate) struct Zone(TimeZone);

/// What a clock on a wall shows at a moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WallClock(Zoned);

impl Zone {
    pub(crate) fn find(name: &str) -> Option<Self> {
        TimeZone::get(name).ok().filter(|zone| !zone.is_unknown()).map(Self)
    }

    pub(crate) fn wall_clock(&self, time: SystemTime) -> WallClock {
        WallClock(Timestamp::try_from(time).unwrap_or_default().to_zoned(self.0.clone()))
    }

    /// When a clock here shows `text`: RFC 3339 (with an offset), a date and a time, or a time of the day of `now`.
    ///
    /// A time that is skipped when the clocks change is the one that they show instead; of one that comes twice it is the first.
    pub(crate) fn parse(&self, text: &str, now: SystemTime) -> Option<SystemTime> {
        if let Ok(moment) = text.parse::<Timestamp>() {
            return Some(moment.into());
        }
        let today = || self.wall_clock(now).0.date();
        let wall = match (text.parse::<Time>(), text.contains('-')) {
            (Ok(time), false) => today().to_datetime(time),
            _ => text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(DateTime::from)).ok()?,
        };
        self.0.to_timestamp(wall).ok().map(SystemTime::from)
    }
}

impl WallClock {
    pub(crate) fn year(&self) -> i64 {
        self.0.year().into()
    }
    /// 1 to 12.
    pub(crate) fn month(&self) -> i64 {
        self.0.month().into()
    }
    /// 1 to 31.
    pub(crate) fn day(&self) -> i64 {
        self.0.day().into()
    }
    /// 0 to 23.
    pub(crate) fn hour(&self) -> i64 {
        self.0.hour().into()
    }
    /// 0 to 59.
    pub(crate) fn minute(&self) -> i64 {
        self.0.minute().into()
    }
    /// 1 = Monday to 7.
    pub(crate) fn weekday(&self) -> i64 {
        self.0.weekday().to_monday_one_offset().into()
    }
    /// ISO 8601: `2026-12-24`.
    pub(crate) fn date(&self) -> String {
        self.0.date().to_string()
    }
}

/// `2026-12-24T18:30:00+01:00[Europe/Berlin]`, to the second.
impl fmt::Display for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock::parse_rfc3339;

    #[test]
    fn a_wall_clock_shows_what_it_shows_in_that_zone() {
        let summer = parse_rfc3339("2026-06-30T22:30:15.700Z").unwrap();
        let shown = |zone: &str| {
            let clock = Zone::find(zone).unwrap().wall_clock(summer);
            (clock.date(), clock.hour(), clock.minute(), clock.weekday(), clock.to_string())
        };
        assert_eq!(shown("UTC"), ("2026-06-30".into(), 22, 30, 2, "2026-06-30T22:30:15+00:00[UTC]".into()));
        assert_eq!(shown("Europe/Berlin"), ("2026-07-01".into(), 0, 30, 3, "2026-07-01T00:30:15+02:00[Europe/Berlin]".into()));
        let kathmandu = Zone::find("Asia/Kathmandu").unwrap().wall_clock(summer);
        assert_eq!((kathmandu.year(), kathmandu.month(), kathmandu.day(), kathmandu.hour(), kathmandu.minute()), (2026, 7, 1, 4, 15));
        for unknown in ["", "Europe/Entenhausen", "../../etc/passwd", "Etc/Unknown", "/usr/share/zoneinfo/UTC"] {
            assert!(Zone::find(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn a_time_is_read_with_an_offset_or_as_a_wall_clock_shows_it() {
        let now = parse_rfc3339("2026-06-30T22:30:00Z").unwrap();
        let berlin = Zone::find("Europe/Berlin").unwrap();
        for (text, want) in [
            ("2026-12-24T18:30:00Z", Some("2026-12-24T18:30:00Z")),
            ("2026-12-24T18:30:00+09:00", Some("2026-12-24T09:30:00Z")),
            ("2026-12-24T18:30", Some("2026-12-24T17:30:00Z")),
            ("2026-12-24 18:30:05", Some("2026-12-24T17:30:05Z")),
            ("2026-12-24", Some("2026-12-23T23:00:00Z")),
            ("18:30", Some("2026-07-01T16:30:00Z")),
            // the hour that is skipped, and the one that comes twice
            ("2026-03-29 02:30", Some("2026-03-29T01:30:00Z")),
            ("2026-10-25 02:30", Some("2026-10-25T00:30:00Z")),
            ("tomorrow", None),
            ("25:00", None),
            ("2026-13-01", None),
            ("", None),
        ] {
            assert_eq!(berlin.parse(text, now), want.map(|want| parse_rfc3339(want).unwrap()), "{text}");
        }
    }
}
