//! Whether this edge knows what a phone was told last. Pure.
//!
//! ```text
//!  a new dialog, one of another edge, or of before a restart
//!    └─▶ (unsynced) ─ full state answered ─▶ (telling) ─ told ─▶ (synced)
//!             ▲──────────── lost ────────────────┘
//! ```
//! While it does not, a state of a job may be older than what the phone has of its last edge. Such a job waits for the full state,
//! asked for after it came.

use smallvec::SmallVec;

use crate::edge::subscription::outbox::JobKey;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Synced,
    Unsynced,
    Telling,
}

/// What came and may be old.
#[derive(Debug, Default)]
struct Deferred {
    jobs: Vec<JobKey>,
    /// Of which features, by their place in the table.
    features: SmallVec<[u8; 4]>,
    /// Whether it is not known of which.
    is_of_any: bool,
}

impl Deferred {
    fn append(&mut self, other: &mut Self) {
        self.jobs.append(&mut other.jobs);
        self.features.append(&mut other.features);
        self.is_of_any |= std::mem::take(&mut other.is_of_any);
    }

    fn is_empty(&self) -> bool {
        self.features.is_empty() && !self.is_of_any
    }

    fn is_at_rest(&self) -> bool {
        self.is_empty() && self.jobs.is_empty()
    }
}

#[derive(Debug, Default)]
pub struct Sync {
    stage: Stage,
    /// What no full state asked for so far covers.
    late: Deferred,
    /// What the full state under way covers.
    covered: Deferred,
    /// Versions of the full state: what is older, the phone has or has had.
    floor: Vec<(u8, u64)>,
    /// Whether the query under way is of before another edge had the subscription.
    is_outdated: bool,
}

impl Sync {
    /// Of a subscription whose phone was told things that are not known here.
    #[must_use]
    pub fn unknown() -> Self {
        Self { stage: Stage::Unsynced, ..Self::default() }
    }

    /// Another edge had it meanwhile. These jobs were to tell the phone something.
    pub fn lose(&mut self, jobs: impl IntoIterator<Item = JobKey>, is_asking: bool) {
        let mut late = std::mem::take(&mut self.late);
        late.append(&mut self.covered);
        late.jobs.extend(jobs);
        late.is_of_any = true;
        *self = Self { stage: Stage::Unsynced, late, is_outdated: is_asking, ..Self::default() };
    }

    /// Whether it is as that of a new subscription: all is known, and nothing waits.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let Self { stage, late, covered, floor, is_outdated } = self;
        *stage == Stage::Synced && late.is_at_rest() && covered.is_at_rest() && floor.is_empty() && !is_outdated
    }

    /// Whether the phone has what is known of it, so that versions can be compared.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.stage != Stage::Unsynced
    }

    /// Whether the phone has, or had, a newer version than this.
    #[must_use]
    pub fn is_old(&self, feature: u8, version: u64) -> bool {
        version > 0 && self.floor.iter().any(|(at, newest)| *at == feature && version < *newest)
    }

    /// Whether the full state is to be asked for.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        !self.late.is_empty()
    }

    /// Whether the full state under way is asked for because of this feature.
    #[must_use]
    pub fn covers(&self, feature: u8) -> bool {
        self.covered.is_of_any || self.covered.features.contains(&feature)
    }

    /// A state of this feature came that may be old; its job waits. `None`: something was missed, of any feature.
    pub fn defer(&mut self, feature: Option<u8>, job: Option<JobKey>) {
        match feature {
            Some(feature) if !self.late.features.contains(&feature) => self.late.features.push(feature),
            Some(_) => {}
            None => self.late.is_of_any = true,
        }
        self.late.jobs.extend(job);
    }

    /// The full state is asked for: its answer is newer than all that came.
    pub fn asked(&mut self) {
        self.covered.append(&mut self.late);
    }

    /// It is answered in these versions, and queued; gives the jobs that are done when it is told.
    #[must_use]
    pub fn answered(&mut self, versions: impl IntoIterator<Item = (u8, u64)>) -> Vec<JobKey> {
        if self.is_outdated {
            return Vec::new();
        }
        self.floor.clear();
        if self.stage == Stage::Unsynced {
            self.stage = Stage::Telling;
        }
        if self.stage == Stage::Telling {
            self.floor.extend(versions);
        }
        std::mem::take(&mut self.covered).jobs
    }

    /// No worker answered: another has to be asked for.
    pub fn failed(&mut self) {
        self.late.append(&mut self.covered);
    }

    /// A query is done with.
    pub const fn query_done(&mut self) {
        self.is_outdated = false;
    }

    /// Whether the query under way is of before another edge had the subscription: its answer may be older than what that told.
    #[must_use]
    pub const fn is_outdated(&self) -> bool {
        self.is_outdated
    }

    /// A NOTIFY has ended; `is_all`: nothing is left to be told.
    pub fn told(&mut self, is_delivered: bool, is_all: bool) {
        match self.stage {
            Stage::Telling if !is_delivered => self.stage = Stage::Unsynced,
            // From now on the versions that the phone has confirmed say it.
            Stage::Telling if is_all => (self.stage, self.floor) = (Stage::Synced, Vec::new()),
            _ => {}
        }
    }

    /// The jobs that wait.
    pub fn jobs(&self) -> impl Iterator<Item = JobKey> {
        self.late.jobs.iter().chain(&self.covered.jobs).copied()
    }

    /// The subscription ends; gives the jobs that waited.
    pub fn drain(&mut self) -> Vec<JobKey> {
        let Self { mut late, mut covered, .. } = std::mem::take(self);
        late.append(&mut covered);
        late.jobs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_waits_for_a_full_state_that_was_asked_for_after_it_came() {
        let mut sync = Sync::unknown();
        sync.defer(Some(0), Some(JobKey(1)));
        assert!(!sync.is_known() && sync.is_wanted());
        sync.asked();
        assert!(sync.covers(0) && !sync.covers(1));
        sync.defer(Some(1), Some(JobKey(2)));
        assert_eq!((sync.answered([(0, 7)]), sync.is_wanted()), (vec![JobKey(1)], true));
        sync.asked();
        sync.failed();
        assert!(sync.is_wanted());
        sync.asked();
        assert_eq!((sync.answered([(0, 7)]), sync.is_wanted()), (vec![JobKey(2)], false));
    }

    #[test]
    fn what_was_lost_on_the_way_is_not_known() {
        let mut sync = Sync::unknown();
        sync.asked();
        assert!(sync.answered([(0, 7)]).is_empty() && sync.is_known());
        assert!(sync.is_old(0, 6) && !sync.is_old(0, 7) && !sync.is_old(1, 6) && !sync.is_old(0, 0));
        sync.told(true, false);
        sync.told(false, true);
        assert!(!sync.is_known());
        sync.asked();
        assert!(sync.answered([(0, 7)]).is_empty());
        sync.told(true, true);
        sync.asked();
        assert!(sync.answered([(0, 3)]).is_empty());
        sync.told(false, true);
        assert!(sync.is_known(), "after that versions are compared as ever");
        assert!(!sync.is_old(0, 6), "the phone asked itself: what is there counts");
    }

    #[test]
    fn an_answer_of_before_says_nothing() {
        let mut sync = Sync::default();
        sync.asked();
        sync.lose([JobKey(1)], true);
        assert!(sync.is_outdated() && sync.answered([(0, 7)]).is_empty() && !sync.is_known());
        sync.query_done();
        sync.asked();
        assert_eq!(sync.answered([(0, 7)]), [JobKey(1)]);
        assert!(sync.is_known() && sync.drain().is_empty());
    }
}
