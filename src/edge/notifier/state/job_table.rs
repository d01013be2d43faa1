//! NOTIFY jobs in hand: each is acknowledged once every watcher that it concerned was told, or is known not to be reachable.

use std::collections::VecDeque;
use std::sync::Arc;

use ahash::AHashMap;

use crate::edge::metrics::{EdgeMetrics, JobOutcome};
use crate::edge::notifier::io::{JobHandle, Output};
use crate::edge::subscription::Subscription;
use crate::edge::subscription::outbox::JobKey;

/// How far a job has come.
#[derive(Debug)]
struct Progress {
    handle: JobHandle,
    /// Watchers that are still to be told.
    outstanding: u32,
    failed: u32,
    /// Whether a subscription that waited for it is another edge's now.
    is_moved: bool,
}

pub(crate) struct JobTable {
    metrics: Arc<EdgeMetrics>,
    jobs: AHashMap<JobKey, Progress>,
    next: u64,
}

impl JobTable {
    pub(crate) fn new(metrics: Arc<EdgeMetrics>) -> Self {
        Self { metrics, jobs: AHashMap::new(), next: 0 }
    }

    /// Takes a job in. It waits for one watcher more than there are, so that it cannot be done before all are found: whoever
    /// took it in settles that one.
    pub(crate) fn open(&mut self, handle: JobHandle) -> JobKey {
        let key = JobKey(self.next);
        self.next += 1;
        self.jobs.insert(key, Progress { handle, outstanding: 1, failed: 0, is_moved: false });
        key
    }

    /// One more watcher is to be told.
    pub(crate) fn wait(&mut self, job: Option<JobKey>) {
        if let Some(progress) = job.and_then(|job| self.jobs.get_mut(&job)) {
            progress.outstanding += 1;
        }
    }

    /// Watchers of these jobs are done with; a job without any left is acknowledged.
    pub(crate) fn settle(&mut self, jobs: impl IntoIterator<Item = JobKey>, is_told: bool, output: &mut VecDeque<Output>) {
        for job in jobs {
            let Some(progress) = self.jobs.get_mut(&job) else { continue };
            progress.outstanding = progress.outstanding.saturating_sub(1);
            progress.failed += u32::from(!is_told);
            if progress.outstanding > 0 {
                continue;
            }
            let Some(progress) = self.jobs.remove(&job) else { continue };
            output.push_back(match progress {
                Progress { is_moved: true, handle, .. } => Self::moved(handle),
                Progress { failed: 0, handle, .. } => self.done(handle, JobOutcome::Done),
                Progress { handle, .. } => self.done(handle, JobOutcome::Failed),
            });
        }
    }

    /// The jobs that wait for this subscription go where it is now, once they are settled here.
    pub(crate) fn move_with(&mut self, subscription: &Subscription) {
        let in_flight = subscription.in_flight.iter().flat_map(|in_flight| in_flight.parcel.jobs());
        for job in subscription.outbox.jobs().chain(in_flight).chain(subscription.lane.sync.jobs()) {
            if let Some(progress) = self.jobs.get_mut(&job) {
                progress.is_moved = true;
            }
        }
    }

    /// A job goes to the edges that hold its watchers.
    pub(crate) const fn moved(handle: JobHandle) -> Output {
        Output::JobMoved(handle)
    }

    /// A job has ended here.
    pub(crate) fn done(&self, handle: JobHandle, outcome: JobOutcome) -> Output {
        self.metrics.job_ended(outcome);
        Output::JobDone(handle)
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::limit::CAPACITIES;

    fn table() -> JobTable {
        JobTable::new(Arc::new(EdgeMetrics::new(&[], &CAPACITIES)))
    }

    #[test]
    fn a_job_is_acknowledged_once_and_only_when_nobody_is_left() {
        let (mut jobs, mut output) = (table(), VecDeque::new());
        let key = jobs.open(JobHandle(7));
        jobs.wait(Some(key));
        jobs.wait(Some(key));
        for _ in 0..2 {
            jobs.settle([key], true, &mut output);
        }
        assert!(output.is_empty() && !jobs.is_empty());
        for _ in 0..3 {
            jobs.settle([key], true, &mut output);
        }
        assert!(matches!(output.make_contiguous(), [Output::JobDone(JobHandle(7))]) && jobs.is_empty());
    }

    #[test]
    fn a_job_without_watchers_is_done_at_once_and_its_neighbour_is_not() {
        let (mut jobs, mut output) = (table(), VecDeque::new());
        let (first, second) = (jobs.open(JobHandle(1)), jobs.open(JobHandle(2)));
        jobs.wait(Some(second));
        jobs.settle([first, second], true, &mut output);
        assert!(matches!(output.make_contiguous(), [Output::JobDone(JobHandle(1))]));
    }
}
