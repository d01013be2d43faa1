//! Whether this edge knows what a phone was told last. Pure.
//!
//! ```text
//!  of another edge, or of before a restart ─▶ (unsynced) ─ full state answered ─▶ (telling) ─ told ─▶ (synced)
//!                                                 ▲───────────── lost ────────────────┘
//! ```
//! While it does not, a state of a job may be older than what the phone has of its last edge. Such a job waits for the full state,
//! asked for after it came.

use crate::edge::subscription::outbox::JobKey;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Synced,
    Unsynced,
    Telling,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Sync {
    stage: Stage,
    /// Whether something came that no full state asked for so far covers.
    is_late: bool,
    /// Jobs of that.
    late: Vec<JobKey>,
    /// Jobs that the full state under way covers.
    covered: Vec<JobKey>,
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
        self.late.append(&mut self.covered);
        self.late.extend(jobs);
        *self = Self {
            stage: Stage::Unsynced,
            is_late: true,
            is_outdated: is_asking,
            late: std::mem::take(&mut self.late),
            covered: Vec::new(),
        };
    }

    /// Whether the phone has what is known of it, so that versions can be compared.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.stage != Stage::Unsynced
    }

    /// Whether the full state is to be asked for.
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        self.is_late
    }

    /// A state came that may be old; its job waits.
    pub fn defer(&mut self, job: Option<JobKey>) {
        self.is_late = true;
        self.late.extend(job);
    }

    /// The full state is asked for: its answer is newer than all that came.
    pub fn asked(&mut self) {
        self.is_late = false;
        self.covered.append(&mut self.late);
    }

    /// It is answered, and queued; gives the jobs that are done when it is told.
    #[must_use]
    pub fn answered(&mut self) -> Vec<JobKey> {
        if self.is_outdated {
            return Vec::new();
        }
        if self.stage == Stage::Unsynced {
            self.stage = Stage::Telling;
        }
        std::mem::take(&mut self.covered)
    }

    /// No worker answered: another has to be asked for.
    pub fn failed(&mut self) {
        self.is_late |= !self.covered.is_empty() || self.stage == Stage::Unsynced;
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
        self.stage = match self.stage {
            Stage::Telling if !is_delivered => Stage::Unsynced,
            Stage::Telling if is_all => Stage::Synced,
            stage => stage,
        };
    }

    /// The jobs that wait.
    pub fn jobs(&self) -> impl Iterator<Item = JobKey> {
        self.late.iter().chain(&self.covered).copied()
    }

    /// The subscription ends; gives the jobs that waited.
    pub fn drain(&mut self) -> Vec<JobKey> {
        let Self { mut late, mut covered, .. } = std::mem::take(self);
        late.append(&mut covered);
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_waits_for_a_full_state_that_was_asked_for_after_it_came() {
        let mut sync = Sync::unknown();
        sync.defer(Some(JobKey(1)));
        assert!(!sync.is_known() && sync.is_wanted());
        sync.asked();
        sync.defer(Some(JobKey(2)));
        assert_eq!((sync.answered(), sync.is_wanted()), (vec![JobKey(1)], true));
        sync.asked();
        sync.failed();
        assert!(sync.is_wanted());
        sync.asked();
        assert_eq!((sync.answered(), sync.is_wanted()), (vec![JobKey(2)], false));
    }

    #[test]
    fn what_was_lost_on_the_way_is_not_known() {
        let mut sync = Sync::unknown();
        sync.asked();
        assert!(sync.answered().is_empty() && sync.is_known());
        sync.told(true, false);
        sync.told(false, true);
        assert!(!sync.is_known());
        sync.asked();
        assert!(sync.answered().is_empty());
        sync.told(true, true);
        sync.told(false, true);
        assert!(sync.is_known(), "after that versions are compared as ever");
    }

    #[test]
    fn an_answer_of_before_says_nothing() {
        let mut sync = Sync::default();
        sync.asked();
        sync.lose([JobKey(1)], true);
        assert!(sync.is_outdated() && sync.answered().is_empty() && !sync.is_known());
        sync.query_done();
        sync.asked();
        assert_eq!(sync.answered(), [JobKey(1)]);
        assert!(sync.is_known() && sync.drain().is_empty());
    }
}
