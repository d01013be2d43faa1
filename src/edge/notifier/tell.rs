//! States on their way into the outboxes of their watchers.

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::Notifier;
use super::notify::LONGEST_JOB_WAIT;
use crate::bus::trace::Cause;
use crate::edge::subscription::lane::Work;
use crate::edge::subscription::outbox::{Change, JobKey, Owed};
use crate::edge::subscription::{Phase, Subscription, SubscriptionId};
use crate::feature::table::FeatureTable;
use crate::feature::{FeatureState, Package, Presentity, package};
use crate::runtime::clock::Now;

/// Which watchers of a presentity are told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whom<'a> {
    /// All, but for one that knows already.
    AllBut(Option<SubscriptionId>),
    /// Those that were taken over from this edge, but for one that knows already.
    TakenFrom(&'a str, Option<SubscriptionId>),
}

impl Whom<'_> {
    fn has(self, subscription: &Subscription) -> bool {
        match self {
            Self::AllBut(skip) => Some(subscription.id) != skip,
            Self::TakenFrom(edge_id, skip) => Some(subscription.id) != skip && subscription.taken_from.as_deref() == Some(edge_id),
        }
    }
}

impl Notifier {
    /// Has the phone that asked told these states; none is an empty NOTIFY, where one is owed.
    ///
    /// A state that is older than what the phone was told since the workers were asked is left out, and what is not of its package.
    pub(super) fn tell(&mut self, id: SubscriptionId, changes: Vec<Arc<Change>>, work: &Work) {
        let Some(subscription) = self.subscriptions.get_mut(&id).filter(|subscription| subscription.phase != Phase::Over) else { return };
        let changes: Vec<_> = changes.into_iter().filter(|change| subscription.package.has(&change.state.feature)).collect();
        let mut replaced = Vec::new();
        if changes.is_empty() && work.is_owed {
            let owed = Owed { cause: work.cause.clone(), since: work.since, job: None };
            replaced.extend(subscription.outbox.owe_empty(owed).and_then(|owed| owed.job));
        }
        for change in changes {
            if !subscription.lane.has_overtaken(feature_index(&self.table, &change.state.feature), change.state.version) {
                replaced.extend(subscription.outbox.queue(change).and_then(|change| change.job));
            }
        }
        if let Some(ending) = work.ends {
            subscription.outbox.end(ending);
        }
        self.settle_jobs(replaced, true);
    }

    /// The watchers here of a presentity's features in these packages.
    fn watchers_of(&self, presentity: &Presentity, packages: &[&'static Package]) -> SmallVec<[SubscriptionId; 4]> {
        let has_package = |id: &SubscriptionId| self.subscriptions.get(id).is_some_and(|watcher| packages.contains(&watcher.package));
        self.watchers.get(presentity).into_iter().flatten().copied().filter(has_package).collect()
    }

    /// Queues states for every watcher of a presentity here that does not know them; gives the number of watchers that the
    /// features of `states` concern.
    pub(super) fn tell_watchers(
        &mut self,
        presentity: &Presentity,
        states: &[FeatureState],
        changes: &[Arc<Change>],
        whom: Whom<'_>,
        now: Now,
    ) -> u64 {
        let ids = self.watchers_of(presentity, &package::of_states(states));
        for id in &ids {
            if !self.subscriptions.get(id).is_some_and(|subscription| whom.has(subscription)) {
                continue;
            }
            for change in changes {
                self.queue_unless_known(*id, change, now);
            }
            self.pump(*id, now);
        }
        u64::try_from(ids.len()).unwrap_or(u64::MAX)
    }

    /// A watcher that has a version, or is being told it, is not sent it again: no echo, no second NOTIFY for a job that came twice.
    fn queue_unless_known(&mut self, id: SubscriptionId, change: &Arc<Change>, now: Now) {
        let feature = feature_index(&self.table, &change.state.feature);
        let subscription = self.subscriptions.get_mut(&id).filter(|subscription| subscription.package.has(&change.state.feature));
        let Some(subscription) = subscription else { return };
        subscription.lane.overtake(feature, change.state.version);
        if subscription.knows(feature, change.state.version) || subscription.is_being_told(&change.state) {
            return;
        }
        let waits_long = waits_long(subscription, now);
        let queued = if waits_long { Arc::new(change.without_job()) } else { Arc::clone(change) };
        let replaced = subscription.outbox.queue(queued).and_then(|change| change.job);
        self.wait_for(change.job, waits_long);
        self.settle_jobs(replaced, true);
    }

    /// Owes every watcher here that the features of `states` concern a NOTIFY with an empty body.
    pub(super) fn tell_watchers_empty(
        &mut self,
        presentity: &Presentity,
        states: &[FeatureState],
        owed: &Owed,
        whom: Whom<'_>,
        now: Now,
    ) -> u64 {
        let ids = self.watchers_of(presentity, &package::of_states(states));
        for id in &ids {
            let Some(subscription) = self.subscriptions.get_mut(id).filter(|subscription| whom.has(subscription)) else { continue };
            let waits_long = waits_long(subscription, now);
            let job = owed.job.filter(|_| !waits_long);
            let replaced = subscription.outbox.owe_empty(Owed { job, ..owed.clone() });
            self.wait_for(owed.job, waits_long);
            self.settle_jobs(replaced.and_then(|owed| owed.job), true);
            self.pump(*id, now);
        }
        u64::try_from(ids.len()).unwrap_or(u64::MAX)
    }

    /// A job waits for one more watcher; for one that cannot be told for long it does not, and has failed with it.
    fn wait_for(&mut self, job: Option<JobKey>, waits_long: bool) {
        self.job_waits(job);
        if waits_long {
            self.settle_jobs(job, false);
        }
    }

    /// The states that phones are shown, of those that changed together.
    pub(super) fn shown(
        &mut self,
        presentity: &Presentity,
        states: &[FeatureState],
        cause: &Cause,
        since: Instant,
        job: Option<JobKey>,
    ) -> Vec<Arc<Change>> {
        let shown = states.iter().filter(|state| state.assigned && state.notify);
        shown.filter_map(|state| self.change(presentity, state.clone(), cause, since, job)).collect()
    }

    /// A state with its document; `None` for a feature that this edge does not have in its table.
    pub(super) fn change(
        &mut self,
        presentity: &Presentity,
        state: FeatureState,
        cause: &Cause,
        since: Instant,
        job: Option<JobKey>,
    ) -> Option<Arc<Change>> {
        let mut document = Vec::with_capacity(512);
        if (package::of(&state.feature).codec.write_event)(&self.table, presentity.user(), &state, &mut document).is_err() {
            self.metrics.unknown_feature();
            return None;
        }
        Some(Arc::new(Change { state, document: document.into(), cause: cause.clone(), since, job }))
    }
}

/// Whether the phone cannot be told anything for so long that no job can wait for it.
fn waits_long(subscription: &Subscription, now: Now) -> bool {
    subscription.outbox.retry_at().is_some_and(|at| at.saturating_duration_since(now.at) > LONGEST_JOB_WAIT)
}

/// Place of a feature in the table, for the versions that a phone has confirmed.
pub(super) fn feature_index(table: &FeatureTable, feature: &str) -> u8 {
    table.names().position(|name| name == feature).and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
}
