//! How often a feature is tried to be ended whose time is over. Pure.

use std::time::Duration;

/// After the first attempts; every hour from then on.
const FIRST: [Duration; 3] = [Duration::from_mins(1), Duration::from_mins(5), Duration::from_mins(15)];
/// So many hours.
const HOURS: u32 = 24;

/// How long to wait before the next attempt, after so many; `None`: that was the last.
pub(super) fn wait(attempts: u32) -> Option<Duration> {
    let first = usize::try_from(attempts).ok().and_then(|at| FIRST.get(at)).copied();
    let most = u32::try_from(FIRST.len()).unwrap_or(0) + HOURS;
    first.or_else(|| (attempts < most).then_some(Duration::from_hours(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_1_5_15_minutes_then_hours_for_a_day() {
        let all: Vec<_> = (0..).map_while(wait).collect();
        assert_eq!(all.len(), 27);
        assert_eq!(all.iter().map(|wait| wait.as_secs() / 60).take(5).collect::<Vec<_>>(), [1, 5, 15, 60, 60]);
        assert_eq!(wait(u32::MAX), None);
    }
}
