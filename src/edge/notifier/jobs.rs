//! NOTIFY jobs: one is acknowledged once every watcher that it concerned was told, or is known not to be reachable.

use std::time::Duration;

use super::{JobHandle, JobProgress, Notifier, Output};
use crate::bus::message::NotifyJob;
use crate::edge::metrics::JobOutcome;
use crate::edge::notifier::tell::Whom;
use crate::edge::subscription::SubscriptionId;
use crate::edge::subscription::outbox::{JobKey, Owed};
use crate::feature::Presentity;
use crate::runtime::clock::Now;

impl Notifier {
    pub(super) fn on_job(&mut self, job: &NotifyJob, handle: JobHandle, age: Duration, now: Now) {
        let Ok(presentity) = Presentity::parse(&job.presentity) else {
            return self.job_done(handle, JobOutcome::Unreadable);
        };
        if !self.watchers.contains_key(&presentity) {
            // Its watchers may be another edge's by now. One that has been sent on is not sent on again.
            return if job.taken_from.is_some() { self.job_done(handle, JobOutcome::NoWatcher) } else { self.job_moved(handle) };
        }
        let key = JobKey(self.next_job);
        self.next_job += 1;
        // One more than there are watchers to wait for, so that it cannot be done before all are asked.
        self.jobs.insert(key, JobProgress { handle, outstanding: 1, failed: 0, is_moved: false });
        let skip = job.skip.as_deref().and_then(|id| id.parse::<SubscriptionId>().ok());
        let whom = job.taken_from.as_deref().map_or(Whom::AllBut(skip), |edge_id| Whom::TakenFrom(edge_id, skip));
        let since = now.at.checked_sub(age).unwrap_or(now.at);
        let changes = self.shown(&presentity, &job.states, &job.cause, since, Some(key));
        if changes.is_empty() && !job.assigned {
            self.tell_watchers_empty(&presentity, &job.states, &Owed { cause: job.cause.clone(), since, job: Some(key) }, whom, now);
        } else {
            self.tell_watchers(&presentity, &job.states, &changes, whom, now);
        }
        self.settle_jobs([key], true);
    }

    /// One more watcher is waited for.
    pub(super) fn job_waits(&mut self, job: Option<JobKey>) {
        if let Some(progress) = job.and_then(|job| self.jobs.get_mut(&job)) {
            progress.outstanding += 1;
        }
    }

    /// Watchers of these jobs are done with; a job without any left is acknowledged.
    pub(super) fn settle_jobs(&mut self, jobs: impl IntoIterator<Item = JobKey>, is_told: bool) {
        for job in jobs {
            let Some(progress) = self.jobs.get_mut(&job) else { continue };
            progress.outstanding = progress.outstanding.saturating_sub(1);
            progress.failed += u32::from(!is_told);
            if progress.outstanding > 0 {
                continue;
            }
            let Some(progress) = self.jobs.remove(&job) else { continue };
            if progress.is_moved {
                self.job_moved(progress.handle);
            } else {
                self.job_done(progress.handle, if progress.failed == 0 { JobOutcome::Done } else { JobOutcome::Failed });
            }
        }
    }

    /// The jobs that wait for a subscription which is another edge's now are to be sent there.
    pub(super) fn move_jobs(&mut self, id: SubscriptionId) {
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        let in_flight = subscription.in_flight.iter().flat_map(|in_flight| in_flight.parcel.jobs());
        for job in subscription.outbox.jobs().chain(in_flight) {
            if let Some(progress) = self.jobs.get_mut(&job) {
                progress.is_moved = true;
            }
        }
    }

    fn job_moved(&mut self, handle: JobHandle) {
        self.output.push_back(Output::JobMoved(handle));
    }

    fn job_done(&mut self, handle: JobHandle, outcome: JobOutcome) {
        self.metrics.job_ended(outcome);
        self.output.push_back(Output::JobDone(handle));
    }
}
