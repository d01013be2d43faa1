//! An edge's side of the work queue: the jobs that are stored for it.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::bus::message::NotifyJob;
use crate::bus::pull::{self, Delivery, EXPIRES, Pull, PullConfig, PullError, REOPEN};
use crate::bus::subject::edge_token;
use crate::bus::{Bus, WatcherIndex};
use crate::notify::job::is_too_late;
use crate::notify::queue::WATCHERS_UP_TO;
use crate::runtime::Tasks;

/// Jobs that wait for the edge to take them.
pub(crate) const CAPACITY: usize = 1024;
/// Time without a keep-alive after which a job is redelivered.
const ACK_WAIT: Duration = Duration::from_secs(15);
/// Interval of the keep-alive of a job in hand.
pub(crate) const WORKING_EVERY: Duration = Duration::from_secs(5);
/// Most unacknowledged jobs of an edge.
pub(crate) const MAX_ACK_PENDING: i64 = 10_000;
/// Deliveries after which a job is given up.
const MAX_DELIVERIES: u64 = 10;
/// The server's bound, in case the edge never gives the job up itself.
const SERVER_MAX_DELIVER: i64 = 20;
/// Time after which the server deletes the consumer of an edge that is gone.
const INACTIVE: Duration = Duration::from_hours(24);
/// How long jobs wait for what this edge does not know yet about its subscriptions: longer than a feed that was lost takes.
const CATCH_UP: Duration = Duration::from_secs(5);
/// `dfks.dead.<stage>`
const STAGE: &str = "notify";

/// Why a job became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// It cannot be read.
    Unreadable,
    /// Its `not_after` has passed.
    Expired,
    /// It was delivered too often without being acknowledged.
    MaxDeliver,
}

impl GivenUp {
    /// Word for the header of the dead letter, the log field and the metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Expired => "expired",
            Self::MaxDeliver => "max_deliver",
        }
    }
}

/// Called for each job that becomes a dead letter.
pub type GivenUpHook = Box<dyn Fn(GivenUp) + Send + Sync>;

/// The jobs of one edge, as they come.
#[derive(Debug)]
pub struct Jobs {
    jobs: mpsc::Receiver<(NotifyJob, Delivery)>,
}

impl Jobs {
    /// Takes the jobs of an edge from the work queue until `tasks` stop, those stored while the edge was away first.
    #[must_use]
    pub fn open(bus: &Bus, tasks: &Tasks, edge_id: &str, given_up: GivenUpHook) -> Self {
        Self::start(bus, tasks, edge_id, None, given_up)
    }

    /// As [`open`](Self::open); a job comes once this index, which tells the edge what it holds, knows all watchers that the job's
    /// sender knew. Otherwise a phone that has moved to another edge a moment ago would be told by both.
    #[must_use]
    pub(crate) fn behind(bus: &Bus, tasks: &Tasks, edge_id: &str, index: WatcherIndex, given_up: GivenUpHook) -> Self {
        Self::start(bus, tasks, edge_id, Some(index), given_up)
    }

    fn start(bus: &Bus, tasks: &Tasks, edge_id: &str, index: Option<WatcherIndex>, given_up: GivenUpHook) -> Self {
        let (sender, jobs) = mpsc::channel(CAPACITY);
        let config = PullConfig {
            stream: bus.subjects().stream("NOTIFY"),
            durable: edge_token(edge_id),
            filter: bus.subjects().notify(edge_id),
            ack_wait: ACK_WAIT,
            max_ack_pending: MAX_ACK_PENDING,
            max_deliver: SERVER_MAX_DELIVER,
            inactive_threshold: INACTIVE,
            expires: EXPIRES,
            exclusive: None,
        };
        let taker = Taker { bus: bus.clone(), config, index, is_behind: false, jobs: sender, given_up };
        tasks.spawn("notify jobs", taker.run(tasks.stopping().clone()));
        Self { jobs }
    }

    /// The next job, to be acknowledged when it is done. It may have come before: a job is delivered at least once. `None`
    /// when the tasks have stopped and no job is left.
    pub async fn recv(&mut self) -> Option<(NotifyJob, Delivery)> {
        self.jobs.recv().await
    }

    /// As [`recv`](Self::recv), for use in `poll`.
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<(NotifyJob, Delivery)>> {
        self.jobs.poll_recv(cx)
    }

    /// Jobs that wait to be received, of `CAPACITY`.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.jobs.len()
    }

    /// Takes no more jobs, and gives those that were not received back to the work queue.
    pub fn give_back(&mut self) {
        self.jobs.close();
        while let Ok((_job, delivery)) = self.jobs.try_recv() {
            let _comes_again_anyway = delivery.nak_after(Duration::ZERO);
        }
    }
}

struct Taker {
    bus: Bus,
    config: PullConfig,
    index: Option<WatcherIndex>,
    /// Whether the index was waited for in vain.
    is_behind: bool,
    jobs: mpsc::Sender<(NotifyJob, Delivery)>,
    given_up: GivenUpHook,
}

impl Taker {
    async fn run(mut self, stopping: CancellationToken) {
        let mut retry = REOPEN;
        // the jobs of another edge are taken while it may be there
        if self.index.is_some() {
            let renewed = async {
                self.bus.connected().await;
                pull::renew(&self.bus, &self.config.stream, &self.config.durable, &self.config.filter).await
            };
            if let Some(Err(error)) = stopping.run_until_cancelled(renewed).await {
                tracing::debug!(%error, "jobs of before come when their time is over");
            }
        }
        loop {
            let opened = async {
                self.bus.connected().await;
                Pull::open(&self.bus, self.config.clone()).await
            };
            let error = match stopping.run_until_cancelled(opened).await {
                None => return,
                Some(Err(error)) => error,
                Some(Ok(mut pull)) => {
                    retry.reset();
                    let ended = stopping.run_until_cancelled(self.take_from(&mut pull)).await;
                    let Some(error) = ended.flatten() else {
                        // we stop, or the edge takes no more
                        pull.give_back(Vec::new()).await;
                        return stopping.cancelled().await;
                    };
                    error
                }
            };
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, cause, "notify jobs interrupted");
            if stopping.run_until_cancelled(tokio::time::sleep(retry.next(rand::random()))).await.is_none() {
                return;
            }
        }
    }

    async fn take_from(&mut self, pull: &mut Pull) -> Option<PullError> {
        loop {
            // room first, so that a job's `ack_wait` does not run out while it waits here
            let permit = self.jobs.reserve().await.ok()?;
            let delivery = match pull.next(self.jobs.capacity() + 1).await {
                Ok(delivery) => delivery,
                Err(error) => return Some(error),
            };
            if delivery.deliveries > MAX_DELIVERIES {
                self.bury(delivery, GivenUp::MaxDeliver, "delivered too often without being acknowledged").await;
                continue;
            }
            match serde_json::from_slice::<NotifyJob>(delivery.payload()) {
                Ok(job) if is_too_late(&job, delivery.utc_now()) => self.bury(delivery, GivenUp::Expired, &job.not_after).await,
                Ok(mut job) => {
                    job.cause = delivery.cause().named_by(job.cause);
                    catch_up(self.index.as_ref(), &mut self.is_behind, &delivery).await;
                    permit.send((job, delivery));
                }
                Err(error) => self.bury(delivery, GivenUp::Unreadable, &error.to_string()).await,
            }
        }
    }

    async fn bury(&self, delivery: Delivery, reason: GivenUp, detail: &str) {
        match delivery.bury(STAGE, reason.as_str(), detail).await {
            Ok(()) => (self.given_up)(reason),
            Err(error) => tracing::warn!(%error, "a notify job cannot be put aside, it comes again"),
        }
    }
}

/// Waits until this edge knows who has moved before the job was made. A phone that hears from two edges takes the NOTIFYs of one, so
/// after a while the others need not wait any longer (`is_behind`).
async fn catch_up(index: Option<&WatcherIndex>, is_behind: &mut bool, delivery: &Delivery) {
    let Some(index) = index else { return };
    let position = delivery.headers().and_then(|headers| headers.get(WATCHERS_UP_TO)?.as_str().parse().ok()).unwrap_or(0);
    if index.position() >= position {
        *is_behind = false;
    } else if !*is_behind {
        *is_behind = tokio::time::timeout(CATCH_UP, index.reached(position)).await.is_err();
    }
}
