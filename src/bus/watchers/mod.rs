//! Who watches a presentity, on which edge: an index of the bucket of subscriptions, in memory and linearizable.
//!
//! ```text
//! bucket ─▶ feed ─▶ table ◀─ watchers(presentity)
//!            └─ position ─▶ fence ◀─ "how far is the stream?"
//! ```
//! The feed applies every change to the table. A lookup passes a fence first, so that it sees every subscription whose
//! store was acknowledged before. On any doubt about the feed, such as a lost connection or a gap, all is read anew, and
//! lookups wait for that.

mod feed;
mod fence;
mod metrics;
mod shared;
mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use crate::bus::client::Bus;
use crate::bus::error::RequestError;
use crate::bus::kv;
use crate::bus::subject::{Pattern, edge_token};
use crate::bus::trace::Cause;
pub use crate::bus::watchers::feed::FeedError;
use crate::bus::watchers::feed::Record;
pub(crate) use crate::bus::watchers::feed::{Feed, From, OPEN_TIMEOUT};
use crate::bus::watchers::fence::{Passed, Progress};
use crate::bus::watchers::metrics::IndexMetrics;
pub use crate::bus::watchers::shared::SharedIndex;
pub use crate::bus::watchers::table::EdgeWatchers;
pub(crate) use crate::bus::watchers::table::Held;
use crate::bus::watchers::table::{RecordHead, Table};
use crate::feature::Presentity;
use crate::feature::package::Package;
use crate::runtime::{Backoff, Tasks};

/// Waits between attempts to read the bucket.
const RETRY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// The live subscriptions of all edges. Clones share it.
#[derive(Debug, Clone)]
pub struct WatcherIndex {
    shared: Arc<Shared>,
    fences: mpsc::Sender<oneshot::Sender<Passed>>,
    progress: watch::Receiver<Progress>,
    timeout: Duration,
}

#[derive(Debug)]
struct Shared {
    current: Mutex<Current>,
    is_loaded: watch::Sender<bool>,
}

/// The table, and the number of the feed that fills it.
#[derive(Debug, Default)]
struct Current {
    feed: u64,
    table: Table,
}

/// A change of one key of the bucket, as it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key: the subscription's id.
    pub key: String,
    /// Its revision: the sequence in the bucket's stream.
    pub revision: u64,
    /// The record; `None` where the key was removed or has expired.
    pub value: Option<Bytes>,
    /// It has expired, but the server has brought it back after a crash: somebody must remove it.
    pub has_outlived: bool,
    /// The revision that was removed, where an edge has removed the key: that edge had it then.
    pub removed_over: Option<u64>,
    /// The edge that holds the subscription, or held it before it was removed; `None` where that is not known.
    pub edge_id: Option<Arc<str>>,
}

/// What the index tells a role that follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexEvent {
    /// A key has changed. After a reload: since the load before.
    Changed(Change),
    /// Everything that was stored has been told, for the first time or again. A key that was removed before a reload may
    /// not have been told: see [`WatcherIndex::last_seen`].
    Loaded,
}

/// Called by the index for each event, in the order of the stream. Must not block: lookups wait for it.
pub type IndexHook = Box<dyn FnMut(IndexEvent) + Send>;

impl WatcherIndex {
    /// Starts to read the bucket of subscriptions, and to follow it until `tasks` stop. Every hook is called for each event.
    #[must_use]
    pub fn start(bus: &Bus, tasks: &Tasks, hooks: Vec<IndexHook>) -> Self {
        let bucket = bus.subjects().subscription_bucket();
        let (progress, seen) = watch::channel(Progress::default());
        let (fences, asked) = mpsc::channel(fence::MAX_WAITING);
        let shared = Arc::new(Shared { current: Mutex::default(), is_loaded: watch::Sender::new(false) });
        let index = Self { shared: Arc::clone(&shared), fences, progress: seen.clone(), timeout: bus.timeout() };
        let stopping = tasks.stopping().clone();
        tasks.spawn("watcher fences", fence::run(bus.clone(), kv::stream(&bucket), seen, asked, stopping.clone()));
        let follower = Follower {
            bus: bus.clone(),
            bucket,
            shared,
            fences: index.fences.clone(),
            progress,
            hooks,
            feeds: 0,
            previous: None,
            outlived: 0,
            metrics: IndexMetrics::new(),
        };
        tasks.spawn("watcher index", async move {
            stopping.run_until_cancelled_owned(follower.run()).await;
        });
        index
    }

    /// Waits until everything that was stored before has been read once.
    pub async fn loaded(&self) {
        let mut is_loaded = self.shared.is_loaded.subscribe();
        // the sender lives in `self`: it cannot be gone
        let _loaded = is_loaded.wait_for(|is_loaded| *is_loaded).await;
    }

    /// The edges that hold live subscriptions to a presentity in one of these event packages, with all that were stored
    /// before this call.
    ///
    /// # Errors
    ///
    /// [`RequestError`] when the bus is away, or the index cannot catch up within `nats.timeout_ms`.
    pub async fn watchers(&self, presentity: &Presentity, packages: &[&'static Package]) -> Result<Vec<EdgeWatchers>, RequestError> {
        self.look(|table| table.watchers(presentity.as_str(), packages)).await
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
        self.look(|table| table.watchers_but(presentity.as_str(), packages, but)).await
    }

    /// The edge that holds a live subscription, with all that were stored before this call.
    ///
    /// # Errors
    ///
    /// As [`watchers`](Self::watchers).
    pub(crate) async fn holder(&self, subscription: &str) -> Result<Option<Arc<str>>, RequestError> {
        self.look(|table| table.holder(subscription).map(|(_, edge_id)| edge_id)).await
    }

    /// The edges that hold live subscriptions to a presentity, as far as the index has read.
    #[must_use]
    pub fn watchers_seen(&self, presentity: &Presentity, packages: &[&'static Package]) -> Vec<EdgeWatchers> {
        self.shared.current().table.watchers(presentity.as_str(), packages)
    }

    /// Waits until the index has all that was stored before this call, and has told its follower. What is asked may be answered by a
    /// node of NATS that was cut off from its peers, and knows less than they; so a marker is written with this name, and waited for.
    ///
    /// # Errors
    ///
    /// As [`watchers`](Self::watchers).
    pub(crate) async fn caught_up(&self, bus: &Bus, name: &str) -> Result<(), RequestError> {
        let subject = bus.subjects().subscription_key(&format!("fence-{}", edge_token(name)));
        let written = bus.store(Pattern::SubscriptionBucket, subject, kv::marker_headers(&Cause::new()), Bytes::new()).await?;
        tokio::time::timeout(self.timeout, self.reached(written)).await.map_err(|_elapsed| RequestError::Timeout(self.timeout))
    }

    /// Sequence in the stream of the bucket up to which the index has read; 0 while it reads anew.
    pub(crate) fn position(&self) -> u64 {
        self.progress.borrow().reached()
    }

    /// Waits until the index has read up to this sequence, and has told its follower.
    pub(crate) async fn reached(&self, position: u64) {
        let mut progress = self.progress.clone();
        // the sender ends with the role
        let _ended = progress.wait_for(|progress| progress.reached() >= position).await;
    }

    /// The edges that hold subscriptions, as far as the index has read.
    #[must_use]
    pub fn edges(&self) -> Vec<Arc<str>> {
        self.shared.current().table.edges()
    }

    /// The same, and how many each holds.
    pub(crate) fn holders(&self) -> Vec<(Arc<str>, u64)> {
        self.shared.current().table.holders()
    }

    /// What an edge holds, as far as the index has read. Looks at every subscription of all edges.
    #[must_use]
    pub(crate) fn held_by(&self, edge_id: &str) -> Held {
        self.shared.current().table.held_by(edge_id)
    }

    /// The revision of a subscription and the edge that holds it, as far as the index has read.
    #[must_use]
    pub fn last_seen(&self, subscription: &str) -> Option<(u64, Arc<str>)> {
        self.shared.current().table.holder(subscription)
    }

    /// Live subscriptions on all edges, as far as the index has read.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.current().table.len()
    }

    /// Whether there are none, as far as the index has read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    async fn look<T>(&self, read: impl Fn(&Table) -> T) -> Result<T, RequestError> {
        let looked = async {
            loop {
                let passed = self.fence()?.await.map_err(|_stopped| RequestError::Disconnected)??;
                let current = self.shared.current();
                // the table may have been begun anew since the fence was passed
                if current.feed == passed {
                    return Ok(read(&current.table));
                }
            }
        };
        tokio::time::timeout(self.timeout, looked).await.unwrap_or(Err(RequestError::Timeout(self.timeout)))
    }

    fn fence(&self) -> Result<oneshot::Receiver<Passed>, RequestError> {
        ask(&self.fences)
    }
}

fn ask(fences: &mpsc::Sender<oneshot::Sender<Passed>>) -> Result<oneshot::Receiver<Passed>, RequestError> {
    let (sender, receiver) = oneshot::channel();
    fences.try_send(sender).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => RequestError::Overloaded(fence::MAX_WAITING),
        mpsc::error::TrySendError::Closed(_) => RequestError::Disconnected,
    })?;
    Ok(receiver)
}

impl Shared {
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that fills the table.
struct Follower {
    bus: Bus,
    bucket: String,
    shared: Arc<Shared>,
    fences: mpsc::Sender<oneshot::Sender<Passed>>,
    progress: watch::Sender<Progress>,
    hooks: Vec<IndexHook>,
    feeds: u64,
    /// The last table that was complete, until the new one is.
    previous: Option<Table>,
    /// Records that came back although they have ended, since the last load.
    outlived: usize,
    metrics: IndexMetrics,
}

impl Follower {
    async fn run(mut self) {
        let (mut retry, mut open_timeout) = (RETRY, OPEN_TIMEOUT);
        loop {
            self.bus.connected().await;
            match Feed::open(&self.bus, &self.bucket, From::Live, open_timeout.next(0.0)).await {
                Ok(feed) => {
                    open_timeout.reset();
                    let error = self.follow(feed, &mut retry).await;
                    self.progress.send_modify(|progress| progress.feed = 0);
                    self.metrics.feed_ended(&error);
                }
                Err(error) => self.metrics.feed_ended(&error),
            }
            tokio::time::sleep(retry.next(rand::random())).await;
        }
    }

    /// Applies a feed until it ends.
    async fn follow(&mut self, mut feed: Feed, retry: &mut Backoff) -> FeedError {
        self.begin(&feed);
        let mut loading = ask(&self.fences).ok();
        loop {
            let next = match &mut loading {
                None => feed.next().await,
                Some(fence) => tokio::select! {
                    biased;
                    passed = fence => {
                        if matches!(passed, Ok(Ok(passed)) if passed == self.feeds) {
                            self.loaded();
                            retry.reset();
                            loading = None;
                        } else {
                            loading = ask(&self.fences).ok();
                        }
                        continue;
                    }
                    next = feed.next() => next,
                },
            };
            match next {
                Ok(Some(record)) => self.apply(record),
                Ok(None) => {}
                Err(error) => return error,
            }
            let position = feed.position();
            self.progress.send_modify(|progress| progress.position = position);
        }
    }

    fn begin(&mut self, feed: &Feed) {
        self.feeds += 1;
        let mut current = self.shared.current();
        let fresh = Table::like(&current.table);
        let before = std::mem::replace(&mut current.table, fresh);
        current.feed = self.feeds;
        drop(current);
        // after two interrupted loads, the table from before both is the last one that was told in full
        self.previous.get_or_insert(before);
        self.progress.send_replace(Progress { feed: self.feeds, consumer: feed.consumer().into(), position: feed.position() });
    }

    fn loaded(&mut self) {
        self.previous = None;
        self.metrics.loaded(self.shared.current().table.len(), std::mem::take(&mut self.outlived));
        for hook in &mut self.hooks {
            hook(IndexEvent::Loaded);
        }
        self.shared.is_loaded.send_replace(true);
    }

    fn apply(&mut self, record: Record) {
        let Record { key, revision, value, has_outlived, removed_over } = record;
        self.outlived += usize::from(has_outlived);
        let head = value.as_ref().map(|value| serde_json::from_slice::<RecordHead<'_>>(value));
        let mut current = self.shared.current();
        let edge_id = match &head {
            Some(Ok(head)) => Some(current.table.store(&key, head, revision)),
            Some(Err(error)) => {
                self.metrics.unreadable(error);
                current.table.remove(&key)
            }
            None => current.table.remove(&key),
        };
        self.metrics.entries(current.table.len());
        drop(current);
        let is_told = self.previous.as_ref().is_some_and(|previous| previous.has(&key, revision));
        let Some((last, others)) = self.hooks.split_last_mut().filter(|_| !is_told) else { return };
        let change = Change { key, revision, value, has_outlived, removed_over, edge_id };
        for hook in others {
            hook(IndexEvent::Changed(change.clone()));
        }
        last(IndexEvent::Changed(change));
    }
}
