//! The edges, as the bridge sees them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use dfks::bus::message::NotifyJob;
use dfks::bus::{EdgeWatchers, RequestError};
use dfks::feature::{Package, Presentity};
use dfks::mi::Fanout;
use dfks::notify::EdgeJob;

/// Edges that are said to hold watchers, and the jobs that were stored for them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edges {
    pub(crate) watchers: Vec<(&'static str, u64)>,
    pub(crate) failure: Arc<Mutex<Option<RequestError>>>,
    /// Whoever asks for watchers waits for ever.
    pub(crate) is_stuck: bool,
    pub(crate) asked: Arc<AtomicUsize>,
    pub(crate) jobs: Arc<Mutex<Vec<(String, NotifyJob)>>>,
}

impl Edges {
    pub(crate) fn jobs(&self) -> Vec<(String, NotifyJob)> {
        self.jobs.lock().unwrap().clone()
    }

    /// No job can be stored from now on.
    pub(crate) fn fail(&self, error: RequestError) {
        *self.failure.lock().unwrap() = Some(error);
    }

    /// How often somebody asked for watchers.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Fanout for Edges {
    async fn watchers(&self, of: &Presentity, in_these: &[&'static Package], _: Option<&str>) -> Result<Vec<EdgeWatchers>, RequestError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.is_stuck {
            std::future::pending::<()>().await;
        }
        Ok(self.watchers_seen(of, in_these))
    }

    fn watchers_seen(&self, _: &Presentity, _: &[&'static Package]) -> Vec<EdgeWatchers> {
        self.watchers.iter().map(|(edge_id, count)| EdgeWatchers { edge_id: Arc::from(*edge_id), count: *count }).collect()
    }

    async fn holder(&self, _: &str) -> Result<Option<Arc<str>>, RequestError> {
        Ok(None)
    }

    fn edges(&self) -> Vec<Arc<str>> {
        self.watchers.iter().map(|(edge_id, _)| Arc::from(*edge_id)).collect()
    }

    async fn store(&self, jobs: Vec<EdgeJob>) -> Result<(), RequestError> {
        self.failure.lock().unwrap().clone().map_or(Ok(()), Err)?;
        self.jobs.lock().unwrap().extend(jobs.into_iter().map(|job| (job.edge_id.to_string(), job.job)));
        Ok(())
    }
}
