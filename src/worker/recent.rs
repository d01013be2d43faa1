//! A bounded set of names with a time to live, such as subjects where nobody listened. Pure.

use std::time::{Duration, Instant};

/// Names with a time to live. What does not fit is dropped.
#[derive(Debug)]
pub(crate) struct Recent {
    ttl: Duration,
    capacity: usize,
    entries: std::collections::HashMap<Box<str>, Instant, ahash::RandomState>,
    swept_at: Option<Instant>,
}

impl Recent {
    /// Remembers at most `capacity` names, each for `ttl`.
    pub(crate) fn new(capacity: usize, ttl: Duration) -> Self {
        Self { ttl, capacity, entries: std::collections::HashMap::default(), swept_at: None }
    }

    /// Whether `name` was noticed within the last `ttl`.
    pub(crate) fn contains(&self, name: &str, now: Instant) -> bool {
        self.entries.get(name).is_some_and(|at| self.is_fresh(*at, now))
    }

    /// As [`contains`](Self::contains), but only the first caller after expiry gets `false`.
    pub(crate) fn contains_or_claim(&mut self, name: &str, now: Instant) -> bool {
        let ttl = self.ttl;
        self.entries.get_mut(name).is_some_and(|at| {
            let is_fresh = now.saturating_duration_since(*at) < ttl;
            if !is_fresh {
                *at = now;
            }
            is_fresh
        })
    }

    /// Forgets `name`.
    pub(crate) fn remove(&mut self, name: &str) {
        self.entries.remove(name);
    }

    /// Remembers `name` from now on.
    pub(crate) fn insert(&mut self, name: &str, now: Instant) {
        if let Some(at) = self.entries.get_mut(name) {
            *at = now;
            return;
        }
        if self.entries.len() >= self.capacity {
            self.sweep(now);
        }
        if self.entries.len() < self.capacity {
            self.entries.insert(name.into(), now);
        }
    }

    /// Forgets what is old, at most once a `ttl`: sweeping costs time for each entry.
    fn sweep(&mut self, now: Instant) {
        if self.swept_at.is_some_and(|at| self.is_fresh(at, now)) {
            return;
        }
        let ttl = self.ttl;
        self.entries.retain(|_, at| now.saturating_duration_since(*at) < ttl);
        self.swept_at = Some(now);
    }

    fn is_fresh(&self, at: Instant, now: Instant) -> bool {
        now.saturating_duration_since(at) < self.ttl
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;

    #[test]
    fn remembers_for_the_time_to_live_and_no_more_than_fits() {
        let (start, ttl) = (clock::now(), Duration::from_secs(5));
        let mut recent = Recent::new(2, ttl);
        recent.insert("a", start);
        recent.insert("b", start + Duration::from_secs(4));
        recent.insert("c", start + Duration::from_secs(4));
        for (name, after, want) in [("a", 0, true), ("a", 4, true), ("a", 5, false), ("b", 5, true), ("c", 4, false)] {
            assert_eq!(recent.contains(name, start + Duration::from_secs(after)), want, "{name} after {after} s");
        }
        recent.insert("c", start + Duration::from_secs(10));
        assert!(recent.contains("c", start + Duration::from_secs(10)), "the old ones made room");
        assert!(!recent.contains_or_claim("c", start + Duration::from_secs(15)), "old: the first is to look");
        assert!(recent.contains_or_claim("c", start + Duration::from_secs(15)), "and the others need not");
        recent.remove("c");
        assert!(!recent.contains_or_claim("c", start + Duration::from_secs(15)));
        recent.insert("c", start + Duration::from_secs(14));
        assert!(recent.contains("c", start + Duration::from_secs(18)), "noticed again, remembered on");
    }
}
