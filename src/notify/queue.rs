//! Stores NOTIFY jobs in the work queue, one for each edge that holds a watcher.

use std::sync::Arc;

use async_nats::HeaderValue;
use futures_util::StreamExt;

use crate::bus::span::{SpanKind, name};
use crate::bus::subject::Pattern;
use crate::bus::trace::headers;
use crate::bus::{Bus, EdgeWatchers, RequestError, WatcherIndex};
use crate::feature::{FeatureTable, Package, Presentity};
use crate::notify::job::{self, EdgeJob, Notice};

/// Header of a job: the sequence in the bucket of subscriptions up to which its sender knew the watchers. An edge that knows less
/// might tell a phone that has moved to another one.
pub(super) const WATCHERS_UP_TO: &str = "Dfks-Watchers-Up-To";
/// Most unacknowledged stores of one notice.
const CONCURRENT_STORES: usize = 64;

/// The work queue of NOTIFY jobs, and the index that says which edges get one. Clones share them.
#[derive(Debug, Clone)]
pub struct Queue {
    bus: Bus,
    index: WatcherIndex,
    table: Arc<FeatureTable>,
}

/// Outcome of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FanOut {
    /// Jobs stored.
    pub jobs: u64,
    /// Live subscriptions that they notify.
    pub watchers: u64,
}

impl Queue {
    /// The work queue of this bus, with the edges that the index knows, for the features of this table.
    #[must_use]
    pub fn new(bus: Bus, index: WatcherIndex, table: Arc<FeatureTable>) -> Self {
        Self { bus, index, table }
    }

    /// The features, and the package of each.
    #[must_use]
    pub(crate) fn table(&self) -> &FeatureTable {
        &self.table
    }

    /// The index that says which edges hold watchers.
    #[must_use]
    pub fn index(&self) -> &WatcherIndex {
        &self.index
    }

    /// Has every edge that holds a watcher of the presentity notify it: those of every subscription that was stored before
    /// this call. The jobs are stored when this returns.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: some of the jobs may have been stored. The same notice again stores each of them once.
    pub async fn fan_out(&self, notice: &Notice<'_>) -> Result<FanOut, RequestError> {
        let edges = self.watchers(notice.presentity, &self.table.packages_of_states(notice.states)).await?;
        let jobs = job::jobs(notice, &edges, self.bus.utc_now());
        let watchers = job::watchers(notice, &jobs);
        let jobs = self.store(jobs).await?;
        Ok(FanOut { jobs, watchers })
    }

    /// The edges that hold live subscriptions of a presentity in one of these event packages, those of every subscription that was stored before this call.
    ///
    /// # Errors
    ///
    /// [`RequestError`] when the bus is away or the index cannot catch up in time.
    pub async fn watchers(&self, presentity: &Presentity, packages: &[&'static Package]) -> Result<Vec<EdgeWatchers>, RequestError> {
        self.index.watchers(presentity, packages).await
    }

    /// As [`watchers`](Self::watchers), without one subscription.
    ///
    /// # Errors
    ///
    /// As [`watchers`](Self::watchers).
    pub(crate) async fn watchers_but(
        &self,
        presentity: &Presentity,
        packages: &[&'static Package],
        but: Option<&str>,
    ) -> Result<Vec<EdgeWatchers>, RequestError> {
        self.index.watchers_but(presentity, packages, but).await
    }

    /// Stores jobs and waits for all acknowledgements. Returns how many there are.
    ///
    /// # Errors
    ///
    /// [`RequestError`] of the first that was not acknowledged, after all were tried.
    pub async fn store(&self, jobs: Vec<EdgeJob>) -> Result<u64, RequestError> {
        let stored = futures_util::stream::iter(jobs.into_iter().map(|job| self.store_one(job))).buffer_unordered(CONCURRENT_STORES);
        stored.fold(Ok(0), async |sum: Result<u64, RequestError>, stored| Ok(sum? + stored.map(|_seq| 1)?)).await
    }

    async fn store_one(&self, EdgeJob { edge_id, job, .. }: EdgeJob) -> Result<u64, RequestError> {
        let subject = self.bus.subjects().notify(&edge_id);
        let mut span = job.cause.open(name::JOB, SpanKind::Producer);
        span.tell("messaging.destination.name", || subject.clone());
        let mut headers = headers(span.cause());
        headers.insert(WATCHERS_UP_TO, HeaderValue::from(self.index.position()));
        let stored = self.bus.publish_stored(Pattern::Notify, subject, &job.id, headers, &job).await;
        span.end(stored.as_ref().err());
        stored
    }
}
