//! What the phone of one subscription is still to be told, and how that is grouped into NOTIFYs. Pure.
//!
//! One NOTIFY is in flight at a time. What changes meanwhile is queued, one entry a feature, the newest state in the place
//! of an older one:
//! ```text
//!            queue / owe_empty / end                 take                  settle
//!  (idle) ───────────────────────▶ (something due) ───────▶ (in flight) ─────────▶ (idle) or (something due)
//!                                          ▲                    │ postpone (Retry-After)
//!                                          └────────────────────┘
//! ```

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::bus::trace::Cause;
use crate::edge::subscription::underway::Resting;
use crate::feature::FeatureState;

/// A NOTIFY job in hand: its number in the edge's job table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobKey(pub u64);

/// One feature's state on its way to phones, with the XML document that says it: the same for every watcher.
#[derive(Debug)]
pub struct Update {
    pub state: FeatureState,
    /// Its event document.
    pub document: Bytes,
    pub cause: Cause,
    pub since: Instant,
    /// The job that waits for it to be told.
    pub job: Option<JobKey>,
}

impl Update {
    /// The same, with no job that waits for it.
    #[must_use]
    pub fn without_job(&self) -> Self {
        Self { state: self.state.clone(), document: self.document.clone(), cause: self.cause.clone(), since: self.since, job: None }
    }
}

/// Why a NOTIFY is owed even if it says nothing.
#[derive(Debug, Clone)]
pub struct Owed {
    pub cause: Cause,
    pub since: Instant,
    /// The job that waits for it.
    pub job: Option<JobKey>,
}

/// What one NOTIFY says.
#[derive(Debug)]
pub struct Parcel {
    /// The states in its body; none is an empty body.
    pub updates: SmallVec<[Arc<Update>; 4]>,
    /// What an empty one is owed for.
    pub owed: Option<Owed>,
    /// More jobs that are done with it: of what is told no more, because the subscription is over, or of what newer states cover.
    pub untold: SmallVec<[JobKey; 1]>,
    /// Whether it ends the subscription.
    pub is_last: bool,
}

impl Parcel {
    /// The same, with no job that waits for it: what is put off for long is no job's any more.
    #[must_use]
    pub fn without_jobs(self) -> Self {
        let updates = self.updates.iter().map(|update| Arc::new(update.without_job())).collect();
        Self { updates, owed: self.owed.map(|owed| Owed { job: None, ..owed }), untold: SmallVec::new(), is_last: self.is_last }
    }

    /// What led to it: the cause of the newest thing it says.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.newest().map(|update| update.cause.clone()).or_else(|| self.owed.as_ref().map(|owed| owed.cause.clone())).unwrap_or_default()
    }

    /// Since when the oldest thing that it says has waited.
    #[must_use]
    pub fn since(&self) -> Option<Instant> {
        self.updates.iter().map(|update| update.since).chain(self.owed.as_ref().map(|owed| owed.since)).min()
    }

    /// The jobs that wait for it.
    pub fn jobs(&self) -> impl Iterator<Item = JobKey> {
        let told = self.updates.iter().filter_map(|update| update.job).chain(self.owed.as_ref().and_then(|owed| owed.job));
        told.chain(self.untold.iter().copied())
    }

    fn newest(&self) -> Option<&Arc<Update>> {
        self.updates.iter().max_by_key(|update| update.since)
    }
}

/// How several documents may share a NOTIFY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// All in one multipart body.
    Whole,
    OneByOne,
    /// All in one when they fit, else one a NOTIFY.
    UpTo {
        /// Bytes that the documents may have together, with what multipart adds for each.
        bytes: usize,
        /// What it adds for each.
        part_overhead: usize,
    },
}

impl Grouping {
    fn takes_all(self, updates: &[Arc<Update>]) -> bool {
        match self {
            Self::Whole => true,
            Self::OneByOne => updates.len() <= 1,
            Self::UpTo { bytes, part_overhead } => {
                updates.len() <= 1 || updates.iter().map(|update| update.document.len() + part_overhead).sum::<usize>() <= bytes
            }
        }
    }
}

/// How the subscription's last NOTIFY is formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// One NOTIFY, with the states when they may share it, else empty: unsubscribe and expiry.
    AtOnce,
    /// Everything is told, and the last NOTIFY ends it: fetch.
    AfterAll,
}

#[derive(Debug, Default)]
pub struct Outbox {
    queued: SmallVec<[Arc<Update>; 4]>,
    owed: Option<Owed>,
    ending: Option<Ending>,
    in_flight: bool,
    retry_at: Option<Instant>,
    put_offs: u8,
    /// Whether what is queued did not fit one NOTIFY: each then carries one document, until all are sent.
    is_split: bool,
    /// Jobs that are done when all that is queued is told.
    attached: SmallVec<[JobKey; 1]>,
}

static EMPTY: LazyLock<Outbox> = LazyLock::new(Outbox::default);

impl Resting for Outbox {
    fn at_rest() -> &'static Self {
        &EMPTY
    }

    fn is_at_rest(&self) -> bool {
        let Self { queued, owed, ending, in_flight, retry_at, put_offs, is_split, attached } = self;
        let is_empty = queued.is_empty() && owed.is_none() && ending.is_none() && attached.is_empty();
        is_empty && !in_flight && retry_at.is_none() && *put_offs == 0 && !is_split
    }
}

impl Outbox {
    /// Queues a state; gives back the entries it takes the place of.
    ///
    /// A state older than the one queued for the feature is not taken: it comes back itself.
    pub fn queue(&mut self, update: Arc<Update>) -> Option<Arc<Update>> {
        match self.queued.iter_mut().find(|queued| queued.state.feature == update.state.feature) {
            Some(queued) if update.state.version < queued.state.version => Some(update),
            Some(queued) => Some(std::mem::replace(queued, update)),
            None => {
                self.queued.push(update);
                None
            }
        }
    }

    /// These jobs are done when all that is queued is told.
    pub fn attach(&mut self, jobs: impl IntoIterator<Item = JobKey>) {
        self.attached.extend(jobs);
    }

    /// A NOTIFY is owed, with an empty body if nothing else is to be said; gives back what it was owed for before.
    #[must_use]
    pub fn owe_empty(&mut self, owed: Owed) -> Option<Owed> {
        self.owed.replace(owed)
    }

    /// The next NOTIFY, or the one after all that is queued, ends the subscription.
    pub fn end(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
    }

    /// Whether nothing is to be told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queued.is_empty() && self.owed.is_none() && self.ending.is_none()
    }

    /// Whether more than one state is queued.
    #[must_use]
    pub fn has_several(&self) -> bool {
        self.queued.len() > 1
    }

    /// Bytes of the largest document that is queued.
    #[must_use]
    pub fn largest_document(&self) -> usize {
        self.queued.iter().map(|update| update.document.len()).max().unwrap_or_default()
    }

    /// When the NOTIFY that was put off is due.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether [`Outbox::take`] would give a NOTIFY now.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        !self.is_empty() && !self.in_flight && self.retry_at.is_none_or(|at| at <= now)
    }

    /// The next NOTIFY, if one is due and none is in flight. It then is in flight until [`Outbox::settle`] or [`Outbox::postpone`].
    pub fn take(&mut self, grouping: Grouping, now: Instant) -> Option<Parcel> {
        if !self.is_due(now) {
            return None;
        }
        let mut parcel = self.parcel(grouping)?;
        if self.queued.is_empty() {
            parcel.untold.append(&mut self.attached);
        }
        self.in_flight = true;
        self.retry_at = None;
        Some(parcel)
    }

    fn parcel(&mut self, grouping: Grouping) -> Option<Parcel> {
        self.is_split = self.queued.len() > 1 && (self.is_split || !grouping.takes_all(&self.queued));
        let takes_all = !self.is_split;
        if self.ending == Some(Ending::AtOnce) {
            // What does not fit is dropped: the subscription is over, and a new one starts with the full state.
            let queued = std::mem::take(&mut self.queued);
            let owed = self.owed.take();
            if takes_all {
                return Some(Parcel { updates: queued, owed, untold: SmallVec::new(), is_last: true });
            }
            let newest = queued.first().map(|update| Owed { cause: update.cause.clone(), since: update.since, job: None });
            let untold = queued.iter().filter_map(|update| update.job).collect();
            return Some(Parcel { updates: SmallVec::new(), owed: owed.or(newest), untold, is_last: true });
        }
        if self.queued.is_empty() {
            let is_last = self.ending.is_some();
            let owed = self.owed.take();
            return (owed.is_some() || is_last).then(|| Parcel { updates: SmallVec::new(), owed, untold: SmallVec::new(), is_last });
        }
        let updates = if takes_all { std::mem::take(&mut self.queued) } else { SmallVec::from_iter([self.queued.remove(0)]) };
        let is_last = self.ending.is_some() && self.queued.is_empty();
        // Any NOTIFY settles what was owed.
        Some(Parcel { updates, owed: self.owed.take(), untold: SmallVec::new(), is_last })
    }

    /// The NOTIFY in flight is done, delivered or not.
    pub fn settle(&mut self) {
        self.in_flight = false;
        self.put_offs = 0;
    }

    /// The NOTIFY in flight is to be tried again at `at`; what it said is queued again unless something newer is.
    /// Returns the jobs of what has been replaced by something newer.
    #[must_use]
    pub fn postpone(&mut self, parcel: Parcel, at: Instant) -> SmallVec<[JobKey; 4]> {
        self.in_flight = false;
        self.retry_at = Some(at);
        self.put_offs = self.put_offs.saturating_add(1);
        let mut stale: SmallVec<[JobKey; 4]> = SmallVec::new();
        if parcel.is_last {
            stale.extend(parcel.untold);
        } else {
            self.attached.extend(parcel.untold);
        }
        match (&self.owed, parcel.owed) {
            (Some(_), Some(before)) => stale.extend(before.job),
            (None, before) => self.owed = before,
            (Some(_), None) => {}
        }
        for update in parcel.updates.into_iter().rev() {
            if self.queued.iter().any(|queued| queued.state.feature == update.state.feature) {
                stale.extend(update.job);
            } else {
                self.queued.insert(0, update);
            }
        }
        stale
    }

    /// No NOTIFY goes before `at`.
    pub fn hold(&mut self, at: Instant) {
        self.retry_at = Some(at);
    }

    /// How often the present NOTIFY was put off.
    #[must_use]
    pub fn put_offs(&self) -> u8 {
        self.put_offs
    }

    /// A NOTIFY that was put off may go now.
    pub fn unpark(&mut self) {
        self.retry_at = None;
    }

    /// The jobs that wait for what is still to be told.
    pub fn jobs(&self) -> impl Iterator<Item = JobKey> {
        let queued = self.queued.iter().filter_map(|update| update.job).chain(self.owed.as_ref().and_then(|owed| owed.job));
        queued.chain(self.attached.iter().copied())
    }

    /// The features that wait.
    pub(crate) fn features(&self) -> impl Iterator<Item = &str> {
        self.queued.iter().map(|update| update.state.feature.as_str())
    }

    /// Empties the outbox when the subscription ends; returns the jobs that waited.
    pub fn drain(&mut self) -> impl Iterator<Item = JobKey> {
        let Self { queued, owed, attached, .. } = std::mem::take(self);
        let owed = owed.and_then(|owed| owed.job);
        queued.into_iter().filter_map(|update| update.job).chain(owed).chain(attached)
    }
}

#[cfg(test)]
#[path = "tests/outbox.rs"]
mod tests;
