//! Which subjects are a responder's: those where one was heard, as the bucket says and as this worker heard since. Pure.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

/// A responder that is heard again and again is written down no more often.
const REFRESH: Duration = Duration::from_hours(1);
/// A write that was not acknowledged is tried again with an answer that comes so much later.
const RETRY: Duration = Duration::from_secs(5);

/// Owners by the key of their subject: `<kind>.<domain>.<Feature>`.
#[derive(Debug)]
pub(crate) struct Owners {
    memory: Duration,
    by_key: HashMap<Box<str>, Owner, ahash::RandomState>,
    /// Keys of the reading under way.
    read: HashSet<Box<str>, ahash::RandomState>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Owner {
    /// `None`: it was forgotten.
    heard: Option<SystemTime>,
    /// Of the key; a marker has one too.
    revision: u64,
    /// What the bucket says.
    written: Option<SystemTime>,
    /// When it was last tried to write it down.
    tried: Option<SystemTime>,
}

/// What is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// Over this revision.
    pub(crate) revision: u64,
    /// Nobody has heard it before.
    pub(crate) is_first: bool,
}

impl Owners {
    /// Who was heard is an owner for `memory`.
    pub(crate) fn new(memory: Duration) -> Self {
        Self { memory, by_key: HashMap::default(), read: HashSet::default() }
    }

    /// When the owner of a subject was heard last; `None` where there is none.
    pub(crate) fn last_heard(&self, key: &str, now: SystemTime) -> Option<SystemTime> {
        let heard = self.by_key.get(key)?.heard?;
        // a clock that was put back makes nobody young again
        now.duration_since(heard).map_or(true, |age| age < self.memory).then_some(heard)
    }

    /// It is heard now, or heard again after it was gone. Returns what is to be written, if anything: then this caller writes it.
    pub(crate) fn hear(&mut self, key: &str, is_back: bool, now: SystemTime) -> Option<Due> {
        let is_first = self.last_heard(key, now).is_none();
        let is_older = |at: Option<SystemTime>, than: Duration| at.is_none_or(|at| now.duration_since(at).is_ok_and(|age| age >= than));
        let refresh = REFRESH.min(self.memory / 24);
        if let Some(owner) = self.by_key.get_mut(key) {
            owner.heard = Some(now);
            let is_due = is_back || (is_first || is_older(owner.written, refresh)) && is_older(owner.tried, RETRY);
            return is_due.then(|| {
                owner.tried = Some(now);
                Due { revision: owner.revision, is_first }
            });
        }
        self.by_key.insert(key.into(), Owner { heard: Some(now), tried: Some(now), ..Owner::default() });
        Some(Due { revision: 0, is_first: true })
    }

    /// It was written.
    pub(crate) fn written(&mut self, key: &str, at: SystemTime, revision: u64) {
        if let Some(owner) = self.by_key.get_mut(key) {
            (owner.written, owner.revision) = (Some(at), owner.revision.max(revision));
        }
    }

    /// What the bucket says of a key; `None`: it was forgotten.
    pub(crate) fn read(&mut self, key: &str, revision: u64, heard: Option<SystemTime>) {
        self.read.insert(key.into());
        let owner = self.by_key.entry(key.into()).or_default();
        if revision < owner.revision {
            return;
        }
        owner.revision = revision;
        owner.written = heard;
        owner.heard = heard.map(|heard| owner.heard.map_or(heard, |ours| ours.max(heard)));
        if heard.is_none() {
            owner.tried = None;
        }
    }

    /// All is read from the start.
    pub(crate) fn begin(&mut self) {
        self.read.clear();
    }

    /// All is read: who is not there any more was forgotten meanwhile.
    pub(crate) fn read_all(&mut self) {
        let read = std::mem::take(&mut self.read);
        self.by_key.retain(|key, owner| read.contains(key) || owner.written.is_none() && owner.heard.is_some());
    }

    /// The bucket was made anew: nothing is written there. Who was heard still was.
    pub(crate) fn lost(&mut self) {
        for owner in self.by_key.values_mut() {
            (owner.revision, owner.written, owner.tried) = (0, None, None);
        }
    }

    /// Who was heard and is not written down.
    pub(crate) fn unwritten(&self, now: SystemTime) -> Vec<(Box<str>, SystemTime)> {
        let unwritten = self.by_key.iter().filter(|(_, owner)| owner.written.is_none());
        unwritten.filter_map(|(key, _)| Some((key.clone(), self.last_heard(key, now)?))).collect()
    }

    /// Every owner, by key, and when it was heard.
    pub(crate) fn all(&self, now: SystemTime) -> impl Iterator<Item = (&str, SystemTime)> {
        self.by_key.keys().filter_map(move |key| Some((&**key, self.last_heard(key, now)?)))
    }

    /// Keys of those that were heard too long ago.
    pub(crate) fn stale(&self, now: SystemTime) -> Vec<Box<str>> {
        let is_stale = |key: &str, owner: &Owner| owner.heard.is_some() && self.last_heard(key, now).is_none();
        self.by_key.iter().filter(|(key, owner)| is_stale(key, owner)).map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;

    const KEY: &str = "set.a_example.DoNotDisturb";
    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn who_was_heard_owns_until_it_was_silent_for_too_long_or_is_forgotten() {
        let (mut owners, start) = (Owners::new(30 * DAY), clock::utc_now());
        assert_eq!(owners.last_heard(KEY, start), None);
        assert_eq!(owners.hear(KEY, false, start), Some(Due { revision: 0, is_first: true }));
        assert_eq!(owners.last_heard(KEY, start + 30 * DAY - Duration::from_secs(1)), Some(start));
        assert_eq!(owners.last_heard("get.a_example.DoNotDisturb", start), None, "a get's is another");
        assert_eq!((owners.last_heard(KEY, start + 30 * DAY), owners.stale(start + 30 * DAY).len()), (None, 1));
        owners.written(KEY, start, 7);
        owners.read(KEY, 9, None);
        assert_eq!(owners.last_heard(KEY, start), None, "forgotten");
        assert_eq!(owners.hear(KEY, false, start), Some(Due { revision: 9, is_first: true }), "and heard again");
    }

    #[test]
    fn writes_are_rare() {
        let (mut owners, start) = (Owners::new(30 * DAY), clock::utc_now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(owners.hear(KEY, false, start).is_some());
        assert_eq!(owners.hear(KEY, false, at(1)), None, "the first is being written");
        assert_eq!(owners.hear(KEY, false, at(6)), Some(Due { revision: 0, is_first: false }), "it was not acknowledged");
        owners.written(KEY, at(6), 3);
        for seconds in [7, 60, 3605] {
            assert_eq!(owners.hear(KEY, false, at(seconds)), None, "{seconds}");
        }
        assert_eq!(owners.hear(KEY, false, at(3607)), Some(Due { revision: 3, is_first: false }));
        owners.read(KEY, 4, Some(at(3607)));
        assert_eq!(owners.hear(KEY, false, at(3700)), None, "another worker has written it");
        assert_eq!(owners.last_heard(KEY, at(3700)), Some(at(3700)));
        assert_eq!(owners.hear(KEY, true, at(3701)), Some(Due { revision: 4, is_first: false }), "it was gone");
    }

    #[test]
    fn a_reading_drops_who_is_gone_and_keeps_who_is_not_written_yet() {
        let (mut owners, now) = (Owners::new(DAY), clock::utc_now());
        for (at, key) in ["a", "b", "c"].into_iter().enumerate() {
            owners.hear(key, false, now);
            if key != "c" {
                owners.written(key, now, at as u64 + 1);
            }
        }
        owners.begin();
        owners.read("a", 1, Some(now));
        owners.read_all();
        let mut left: Vec<_> = owners.all(now).map(|(key, _)| key.to_owned()).collect();
        left.sort();
        assert_eq!(left, ["a", "c"]);
        assert_eq!(owners.unwritten(now), [("c".into(), now)]);
        owners.lost();
        assert_eq!(owners.unwritten(now).len(), 2, "nothing of it is in the new bucket");
        owners.read("a", 1, Some(now));
        assert_eq!(owners.hear("a", false, now), None);
    }
}
