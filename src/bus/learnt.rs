//! What gets learn from responders, as the record of a presentity keeps it: how often, and what is to be told of it. Pure.
//!
//! Who asks is told by the answer; for all others it is a change like any other. The event is published by whoever tells the
//! change: it may be covered up by a later one until then, so the record has both states.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::feature::FeatureState;

/// Changes of one feature that are learnt within a [`WINDOW`]. A responder that says something else whenever it is asked, or two
/// that disagree, would otherwise have a presentity's phones told with each get.
pub(crate) const MAX_LEARNT: u32 = 10;
const WINDOW: Duration = Duration::from_mins(1);

/// How often a feature was learnt since a time, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pace {
    since: u64,
    times: u32,
}

impl Pace {
    /// The pace with one more; `None`: it was learnt often enough for now.
    pub(crate) fn next(before: Option<Self>, now: SystemTime) -> Option<Self> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        match before {
            // A clock that went back begins a new window.
            Some(Self { since, times }) if now.checked_sub(since).is_some_and(|age| age < WINDOW.as_secs()) => {
                (times < MAX_LEARNT).then_some(Self { since, times: times + 1 })
            }
            _ => Some(Self { since: now, times: 1 }),
        }
    }
}

/// One feature that a get learnt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Learnt {
    /// Id of its event: the same, whoever publishes it and however often.
    pub(crate) event: Box<str>,
    /// What was known before.
    pub(crate) old: FeatureState,
    /// What the responder said.
    pub(crate) new: FeatureState,
    /// As the script's get route has phones shown it, where that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shown: Option<FeatureState>,
}

impl Learnt {
    /// The state that phones are told; `None`: they are not told of it.
    pub(crate) fn told(&self) -> Option<&FeatureState> {
        Some(self.shown.as_ref().unwrap_or(&self.new)).filter(|state| state.assigned && state.notify)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    #[test]
    fn a_feature_is_learnt_ten_times_a_minute_at_the_most() {
        let mut pace = None;
        for second in 0..u64::from(MAX_LEARNT) {
            pace = Some(Pace::next(pace, at(second)).unwrap());
        }
        assert_eq!(Pace::next(pace, at(59)), None);
        let anew = Pace::next(pace, at(60)).unwrap();
        assert_eq!(anew.times, 1);
        assert_eq!(Pace::next(Some(anew), at(61)).unwrap().times, 2);
        assert_eq!(Pace::next(pace, at(0) - Duration::from_secs(5)).unwrap().times, 1, "the clock went back");
    }

    #[test]
    fn phones_are_told_what_the_script_shows() {
        let new = FeatureState::new("DoNotDisturb");
        let learnt = |shown| Learnt { event: "e".into(), old: new.clone(), new: new.clone(), shown };
        assert_eq!(learnt(None).told(), Some(&new));
        let shown = FeatureState { version: 7, ..new.clone() };
        assert_eq!(learnt(Some(shown.clone())).told(), Some(&shown));
        assert_eq!(learnt(Some(FeatureState { assigned: false, ..new.clone() })).told(), None);
        assert_eq!(learnt(Some(FeatureState { notify: false, ..new.clone() })).told(), None);
    }
}
