//! States on their way into the outboxes of their watchers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bus::message::NotifyJob;
use crate::bus::trace::Cause;
use crate::edge::metrics::JobOutcome;
use crate::edge::notifier::Notifier;
use crate::edge::notifier::io::JobHandle;
use crate::edge::notifier::notify::LONGEST_JOB_WAIT;
use crate::edge::notifier::state::job_table::JobTable;
use crate::edge::subscription::lane::Storing;
use crate::edge::subscription::lane::{Query, Question};
use crate::edge::subscription::outbox::{JobKey, Owed, Update};
use crate::edge::subscription::{Phase, Subscription, SubscriptionId};
use crate::feature::{FeatureState, Presentity};
use crate::runtime::clock::Now;

/// After a restart phones that come back by themselves, or are told something else, come first.
const AFTER_RESTART: Duration = Duration::from_secs(2);

/// Which watchers of a presentity are told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whom<'a> {
    /// All, but for one that knows already.
    AllBut(Option<SubscriptionId>),
    /// Those that were taken over from this edge, but for one that knows already.
    TakenFrom(&'a str, Option<SubscriptionId>),
}

impl Whom<'_> {
    fn skips(self, id: SubscriptionId) -> bool {
        let (Self::AllBut(skip) | Self::TakenFrom(_, skip)) = self;
        Some(id) == skip
    }

    fn has(self, subscription: &Subscription) -> bool {
        match self {
            Self::AllBut(_) => true,
            Self::TakenFrom(edge_id, _) => subscription.taken_from.as_deref() == Some(edge_id),
        }
    }
}

impl Notifier {
    /// A NOTIFY job: tells the watchers here that it concerns, and is settled once they are told.
    pub(super) fn on_job(&mut self, job: &NotifyJob, handle: JobHandle, age: Duration, now: Now) {
        let Ok(presentity) = Presentity::parse(&job.presentity) else {
            return self.output.push_back(self.jobs.done(handle, JobOutcome::Unreadable));
        };
        if self.registry.count_of(&presentity) == 0 {
            // Its watchers may be another edge's by now. One that has been sent on is not sent on again.
            let is_sent_on = job.taken_from.is_some();
            let ended = if is_sent_on { self.jobs.done(handle, JobOutcome::NoWatcher) } else { JobTable::moved(handle) };
            return self.output.push_back(ended);
        }
        let key = self.jobs.open(handle);
        let skip = job.skip.as_deref().and_then(|id| id.parse::<SubscriptionId>().ok());
        let whom = job.taken_from.as_deref().map_or(Whom::AllBut(skip), |edge_id| Whom::TakenFrom(edge_id, skip));
        let since = now.at.checked_sub(age).unwrap_or(now.at);
        let updates = self.shown(&presentity, &job.states, &job.cause, since, Some(key));
        if updates.is_empty() && !job.assigned {
            self.tell_watchers_empty(&presentity, &job.states, &Owed { cause: job.cause.clone(), since, job: Some(key) }, whom, now);
        } else {
            self.tell_watchers(&presentity, &job.states, &updates, whom, now);
        }
        self.settle([key], true);
    }

    /// Has the phone that asked told these states; none is an empty NOTIFY, where one is owed.
    ///
    /// A state that is older than what the phone was told since the workers were asked is left out, and what is not of its package.
    pub(super) fn tell(&mut self, subscription: &mut Subscription, updates: Vec<Arc<Update>>, query: &Query) {
        if subscription.phase == Phase::Over {
            return;
        }
        let is_outdated = subscription.lane.sync.is_outdated();
        let updates: Vec<_> = updates
            .into_iter()
            .filter(|update| !is_outdated && self.table.package_of(&update.state.feature) == subscription.package)
            .collect();
        let versions: Vec<_> = updates.iter().map(|update| (self.table.index_of(&update.state.feature), update.state.version)).collect();
        let mut replaced = Vec::new();
        if updates.is_empty() && query.is_owed {
            replaced.extend(subscription.outbox.owe_empty(query.owed()).and_then(|owed| owed.job));
        }
        for update in updates {
            if matches!(query.what, Question::Missed) && self.has(subscription, &update.state) {
                continue;
            }
            if !subscription.lane.has_overtaken(self.table.index_of(&update.state.feature), update.state.version) {
                replaced.extend(subscription.outbox.queue(update).and_then(|update| update.job));
            }
        }
        if let Some(ending) = query.ends {
            subscription.outbox.end(ending);
        }
        self.settle(replaced, true);
        if query.what.is_whole() {
            let jobs = subscription.lane.sync.answered(versions);
            if subscription.outbox.is_empty() {
                self.settle(jobs, true);
                subscription.lane.sync.told(true, subscription.in_flight.is_none());
            } else {
                subscription.outbox.attach(jobs);
            }
        }
    }

    /// Whether a phone that missed something has this state: it did not miss it, has confirmed it, or is being told it. What was never
    /// changed was not missed.
    fn has(&self, subscription: &Subscription, state: &FeatureState) -> bool {
        let feature = self.table.index_of(&state.feature);
        state.version == 0
            || !subscription.lane.sync.covers(feature)
            || subscription.has_confirmed(feature, state.version)
            || subscription.is_being_told(state)
    }

    /// A state came of which it is not known whether the phone was told a newer one: asks for the full state, if none is asked for.
    pub(super) fn ask_what_was_missed(&mut self, subscription: &mut Subscription, now: Now) {
        if subscription.phase == Phase::Live && subscription.lane.sync.is_wanted() {
            subscription.lane.ask_missed_at(now.at);
            self.arm(subscription, now);
        }
    }

    /// Queues states for every watcher of a presentity here that does not know them; gives the number of watchers that the
    /// features of `states` concern.
    pub(super) fn tell_watchers(
        &mut self,
        presentity: &Presentity,
        states: &[FeatureState],
        updates: &[Arc<Update>],
        whom: Whom<'_>,
        now: Now,
    ) -> u64 {
        self.tell_each(presentity, states, whom, |notifier, subscription| {
            for update in updates {
                notifier.queue_unless_known(subscription, update, now);
            }
            notifier.pump(subscription, now);
        })
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
        self.tell_each(presentity, states, whom, |notifier, subscription| {
            let waits_long = waits_long(subscription, now);
            let job = owed.job.filter(|_| !waits_long);
            let replaced = subscription.outbox.owe_empty(Owed { job, ..owed.clone() });
            notifier.wait_for(owed.job, waits_long);
            notifier.settle(replaced.and_then(|owed| owed.job), true);
            notifier.pump(subscription, now);
        })
    }

    fn tell_each(
        &mut self,
        presentity: &Presentity,
        states: &[FeatureState],
        whom: Whom<'_>,
        mut tell: impl FnMut(&mut Self, &mut Subscription),
    ) -> u64 {
        let ids = self.registry.ids_in(presentity, &self.table.packages_of_states(states));
        for id in ids.iter().filter(|id| !whom.skips(**id)) {
            self.step_of(*id, |notifier, subscription| {
                if whom.has(subscription) {
                    tell(notifier, subscription);
                }
            });
        }
        u64::try_from(ids.len()).unwrap_or(u64::MAX)
    }

    /// A watcher that has a version, or is being told it, is not sent it again: no echo, no second NOTIFY for a job that came twice.
    fn queue_unless_known(&mut self, subscription: &mut Subscription, update: &Arc<Update>, now: Now) {
        let Update { state, job, .. } = &**update;
        if self.table.package_of(&state.feature) != subscription.package {
            return;
        }
        let feature = self.table.index_of(&state.feature);
        let waits_long = waits_long(subscription, now);
        if !subscription.lane.sync.is_known() {
            subscription.lane.sync.defer(Some(feature), job.filter(|_| !waits_long));
            self.wait_for(*job, waits_long);
            return self.ask_what_was_missed(subscription, now);
        }
        if subscription.lane.sync.is_old(feature, state.version) {
            return;
        }
        subscription.lane.overtake(feature, state.version);
        if subscription.knows(feature, state.version) || subscription.is_being_told(state) {
            return;
        }
        let queued = if waits_long { Arc::new(update.without_job()) } else { Arc::clone(update) };
        let replaced = subscription.outbox.queue(queued).and_then(|update| update.job);
        self.wait_for(*job, waits_long);
        self.settle(replaced, true);
    }

    /// A job waits for one more watcher; for one that cannot be told for long it does not, and has failed with it.
    fn wait_for(&mut self, job: Option<JobKey>, waits_long: bool) {
        self.jobs.wait(job);
        if waits_long {
            self.settle(job, false);
        }
    }

    /// The states that phones are shown, of those that changed together.
    pub(super) fn shown(
        &self,
        presentity: &Presentity,
        states: &[FeatureState],
        cause: &Cause,
        since: Instant,
        job: Option<JobKey>,
    ) -> Vec<Arc<Update>> {
        let shown = states.iter().filter(|state| state.assigned && state.notify);
        shown.filter_map(|state| self.update(presentity, state.clone(), cause, since, job)).collect()
    }

    /// A state with its document; `None` for a feature that this edge does not have in its table, and a raw one among others that has no document.
    pub(super) fn update(
        &self,
        presentity: &Presentity,
        state: FeatureState,
        cause: &Cause,
        since: Instant,
        job: Option<JobKey>,
    ) -> Option<Arc<Update>> {
        let mut document = Vec::with_capacity(512);
        let package = self.table.package_of(&state.feature);
        if package.write_event(&self.table, presentity.user(), &state, &mut document).is_err() {
            self.metrics.unknown_feature();
            return None;
        }
        // Beside other features one without a document is not told; where all are raw, an empty body says that there is none.
        if document.is_empty() && package.has_multipart {
            return None;
        }
        Some(Arc::new(Update { state, document: document.into(), cause: cause.clone(), since, job }))
    }

    /// All that this edge held before is here again: phones that may have missed something are told the full state.
    pub(super) fn restored(&mut self, now: Now) {
        for presentity in self.watermark.missed(&self.registry) {
            for id in self.registry.ids_of(&presentity) {
                self.step_of(id, |notifier, subscription| notifier.tell_anew(subscription, AFTER_RESTART, now));
            }
        }
    }

    /// Jobs of these presentities may be lost, gone elsewhere or late: this edge was silent or started anew, or it took over from one
    /// that is. Phones that are here are told what they have missed, one after another.
    pub(super) fn on_missed(&mut self, presentities: Option<Vec<Presentity>>, now: Now) {
        for presentity in presentities.unwrap_or_else(|| self.registry.presentities()) {
            for id in self.registry.ids_of(&presentity) {
                self.step_of(id, |notifier, subscription| {
                    let is_coming = matches!(subscription.lane.storing, Storing::TakenOver);
                    if subscription.phase == Phase::Live || is_coming {
                        subscription.lane.sync.defer(None, None);
                    }
                    if subscription.phase == Phase::Live {
                        subscription.lane.ask_missed_at(notifier.watermark.next_turn(now.at));
                        notifier.arm(subscription, now);
                    }
                });
            }
        }
    }

    /// What phones have changed themselves just before this edge was started again they may not have been told.
    pub(super) fn on_pressed(&mut self, ids: &[SubscriptionId], now: Now) {
        for id in ids {
            // It may be another edge's, or over.
            self.step(*id, |notifier, subscription| notifier.tell_anew(subscription, Duration::ZERO, now));
        }
    }

    /// A subscription of a silent edge is here now. Its phone is told the full state: what it pressed while that edge was cut off may
    /// stand in no record and be no change. Where it is known to have missed something, the presentity's others may have, too.
    pub(super) fn tell_taken(&mut self, subscription: &mut Subscription, now: Now) {
        if !subscription.is_untold {
            subscription.lane.ask_at(self.watermark.other_turn(now.at));
            return self.arm(subscription, now);
        }
        for id in self.registry.ids_of(&subscription.presentity) {
            if id == subscription.id {
                self.tell_anew(subscription, Duration::ZERO, now);
            } else {
                self.step_of(id, |notifier, other| notifier.tell_anew(other, Duration::ZERO, now));
            }
        }
    }

    /// Has a phone told the full state, in its turn.
    pub(super) fn tell_anew(&mut self, subscription: &mut Subscription, after: Duration, now: Now) {
        if subscription.phase == Phase::Live {
            subscription.is_untold = false;
            subscription.lane.ask_at(self.watermark.next_turn(now.at + after));
            self.arm(subscription, now);
        }
    }
}

/// Whether the phone cannot be told anything for so long that no job can wait for it.
fn waits_long(subscription: &Subscription, now: Now) -> bool {
    subscription.outbox.retry_at().is_some_and(|at| at.saturating_duration_since(now.at) > LONGEST_JOB_WAIT)
}
