//! The way of a job into the work queue. I/O.

use futures_util::future::try_join_all;

use crate::bus::subject::Pattern;
use crate::bus::watchers::WatcherIndex;
use crate::bus::{Bus, EdgeWatchers, RequestError};
use crate::feature::Presentity;
use crate::notify::job::{self, EdgeJob, News};
use crate::runtime::clock;

/// Finds the edges that hold watchers, and stores their jobs. Clones share the index.
#[derive(Debug, Clone)]
pub struct Queue {
    bus: Bus,
    index: WatcherIndex,
}

impl Queue {
    /// A queue over this bus.
    #[must_use]
    pub fn new(bus: Bus, index: WatcherIndex) -> Self {
        Self { bus, index }
    }

    /// The edges that hold live subscriptions of a presentity, those included that were stored just before the call.
    ///
    /// # Errors
    ///
    /// [`RequestError`] when the bus is away or the index cannot catch up in time.
    pub async fn watchers(&self, presentity: &Presentity) -> Result<Vec<EdgeWatchers>, RequestError> {
        self.index.watchers(presentity).await
    }

    /// Stores jobs, each for its edge; done when all are acknowledged. Storing a job twice stores it once: its id is its
    /// `Nats-Msg-Id`.
    ///
    /// # Errors
    ///
    /// [`RequestError`] of the first that was not acknowledged; others may be stored.
    pub async fn store(&self, jobs: &[EdgeJob]) -> Result<(), RequestError> {
        let stores = jobs.iter().map(|EdgeJob { edge_id, job }| {
            let subject = self.bus.subjects().notify(edge_id);
            self.bus.publish_stored(Pattern::Notify, subject, &job.id, job, &job.cause)
        });
        try_join_all(stores).await.map(drop)
    }

    /// Has the watchers on every edge but `except` told; gives their number.
    ///
    /// # Errors
    ///
    /// [`RequestError`] when they cannot be looked up, or a job cannot be stored: then it may be tried again as a whole, for
    /// an edge that is told twice finds that it knows.
    pub async fn fan_out(&self, news: News<'_>, except: &str) -> Result<u64, RequestError> {
        let mut edges = self.watchers(news.presentity).await?;
        edges.retain(|edge| *edge.edge_id != *except);
        self.store(&job::plan(news, &edges, clock::utc_now(), crate::bus::trace::new_id)).await?;
        Ok(edges.iter().map(|edge| edge.count).sum())
    }
}
