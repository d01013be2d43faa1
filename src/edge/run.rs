//! Starts one notifier thread of an edge: binds its listeners, restores its subscriptions, and serves.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::bus::queues::{self, QueueName, Watched};
use crate::bus::subject::{Pattern, edge_token};
use crate::bus::trace::Cause;
use crate::bus::watchers::{Change, IndexEvent, SharedIndex, WatcherIndex};
use crate::bus::{Bus, RequestError, kv};
use crate::config::{AuthMode, Cidr, Config};
use crate::edge::config::{EdgeConfig, Listener, Place};
use crate::edge::gate::policy::AuthPolicy;
use crate::edge::gate::rate_limit::RateLimitConfig;
use crate::edge::gate::users::Users;
use crate::edge::io::bind::{BindError, Bound, bind};
use crate::edge::io::changes::{self, Changes};
use crate::edge::io::dns::{Lookups, Resolver};
use crate::edge::io::driver::{Driver, DriverError, Sources};
use crate::edge::io::fan_out::FanOuts;
use crate::edge::io::mirror::Mirror;
use crate::edge::io::port::Port;
use crate::edge::io::seat::Seat;
use crate::edge::io::service::EdgeService;
use crate::edge::io::sockets::Sockets;
use crate::edge::io::tls_files;
use crate::edge::io::users_file::{self, UsersFileError};
use crate::edge::limit::STREAM_QUEUE;
use crate::edge::metrics::{DropReason, EdgeMetrics};
use crate::edge::notifier::{Input, Notifier};
use crate::edge::profile::Profiles;
use crate::edge::takeover::TakeOver;
use crate::feature::table::FeatureTable;
use crate::notify::{Jobs, Queue};
use crate::runtime::clock::Now;
use crate::runtime::{FileStamp, Tasks, clock};
use crate::sip::transport::{Inbound, StreamTransport, TlsError, UdpListener};

/// How long a stop waits for phones at most: four transmissions of a NOTIFY.
const LONGEST_DRAIN_PATIENCE: Duration = Duration::from_secs(6);
/// Records say how far the edge has told: one is stored at least this often while it is asked anything.
const UNSTORED_FOR: Duration = Duration::from_secs(5);
/// How long tasks of the edge have after the driver has ended.
const TASKS_GRACE: Duration = Duration::from_secs(2);

/// Why an edge does not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EdgeError {
    /// A listener cannot be bound.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// A notifier thread cannot be started, or has ended without a word.
    #[error("a thread of sip.threads cannot run")]
    Thread(#[source] Option<io::Error>),
    /// The users file cannot be used.
    #[error(transparent)]
    Users(#[from] UsersFileError),
    /// A profile's User-Agent is no regular expression; a checked configuration has none.
    #[error("profile: {0}")]
    Profile(#[from] regex::Error),
    /// The files of `sip.tls` cannot be used.
    #[error("sip.tls: {0}")]
    Tls(#[from] TlsError),
    /// The bus client is closed.
    #[error("the bus client is closed")]
    Bus(#[from] async_nats::SubscribeError),
    /// The jobs and subscriptions cannot be reached.
    #[error("the bus cannot be asked")]
    Request(#[from] RequestError),
    /// It served, and cannot go on.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// One of its tasks failed.
    #[error(transparent)]
    Task(#[from] crate::runtime::TaskError),
}

/// One notifier thread of an edge, whose sockets are bound.
pub(crate) struct BoundThread {
    source: Arc<Config>,
    config: Arc<EdgeConfig>,
    udp: Vec<UdpListener>,
    streams: StreamTransport,
    inbound: mpsc::Receiver<Inbound>,
    seat: Seat,
    metrics: Arc<EdgeMetrics>,
    tasks: Tasks,
}

/// One notifier thread of an edge; it serves with [`EdgeThread::run`].
pub(crate) struct EdgeThread {
    driver: Driver,
    tasks: Tasks,
}

impl BoundThread {
    /// Binds the listeners of one thread: those of the configuration for the first, `at` these addresses for the others.
    ///
    /// # Errors
    ///
    /// [`EdgeError`]; nothing is bound then.
    pub(crate) fn bind(source: &Arc<Config>, seat: Seat, at: &[SocketAddr], metrics: &Arc<EdgeMetrics>) -> Result<Self, EdgeError> {
        let tasks = Tasks::new();
        let (sender, inbound) = mpsc::channel(STREAM_QUEUE);
        let tls = tls_files::load(source, metrics, &tasks)?;
        let Bound { listeners, udp, streams } = bind(source, (seat.place(), at), sender, tls, metrics, &tasks)?;
        let config = Arc::new(edge_config(source, seat.place(), listeners)?);
        Ok(Self { source: Arc::clone(source), config, udp, streams, inbound, seat, metrics: Arc::clone(metrics), tasks })
    }

    /// The listeners, with the real port where 0 was asked for.
    pub(crate) fn listeners(&self) -> &[Listener] {
        &self.config.listeners
    }

    /// Restores the subscriptions of this thread.
    ///
    /// # Errors
    ///
    /// [`EdgeError`]
    pub(crate) async fn start(
        self,
        bus: Bus,
        index: &SharedIndex,
        table: Arc<FeatureTable>,
        resolver: Resolver,
    ) -> Result<EdgeThread, EdgeError> {
        let Self { source, config, udp, streams, inbound, seat, metrics, tasks } = self;
        let now = clock::moment();
        let mut notifier = Notifier::new(Arc::clone(&config), Arc::clone(&table), Arc::clone(&metrics), now);
        let users_file = users_file(&source).map(Path::to_path_buf);
        let users = users_file.map(|path| follow_users(path, &tasks, &metrics, &mut notifier)).transpose()?;

        let (index, changes) = follow_bucket(&bus, index, &config.edge_id, &metrics, &mut notifier).await;
        let queue = Queue::new(bus.clone(), index, Arc::clone(&table));
        let told_before = notifier.told_before_restart();
        let take_over = TakeOver::start(&bus, queue.clone(), &config, &metrics, told_before, &tasks).await?;
        let counted = Arc::clone(&metrics);
        if config.place.number == 0 {
            let durables = (0..config.place.of).map(|number| edge_token(&Place { number, ..config.place }.edge_id(&config.edge_id)));
            let watched = Watched { streams: Vec::new(), consumers: vec![(QueueName::Notify, durables.collect())] };
            tasks.spawn("queues", queues::watch(bus.clone(), watched, tasks.stopping().clone()));
        }
        let jobs = Jobs::behind(&bus, &tasks, &config.edge_id, queue.index().clone(), Box::new(move |why| counted.job_given_up(why)));
        let fan_outs = FanOuts::start(&bus, queue, &config.edge_id, &metrics, &tasks);

        let port = Port::open(bus.clone()).await?;
        let mirror = Mirror::new(&source, &config, &metrics, &tasks);
        let service = EdgeService::open(bus, &config.edge_id, table, mirror.clone(), tasks.stopping().clone()).await?;
        let sockets = Sockets::new(udp, streams, config, mirror, Arc::clone(&metrics), take_over.lease.clone());
        let lookups = Lookups::new(resolver);
        let sources = Sources { streams: inbound, jobs, lookups, changes, users, seat, take_over };
        let driver = Driver::new(notifier, port, sockets, sources, service, fan_outs, metrics);
        Ok(EdgeThread { driver, tasks })
    }
}

impl EdgeThread {
    /// Serves until `stop`, then finishes what is in hand.
    ///
    /// # Errors
    ///
    /// [`EdgeError`] when it cannot go on.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), EdgeError> {
        let served = tokio::select! {
            served = self.driver.run(stop) => served.map_err(EdgeError::from),
            failure = self.tasks.failed() => Err(failure.into()),
        };
        let stopped = self.tasks.stop(TASKS_GRACE).await;
        served.and(stopped.map_err(EdgeError::from))
    }
}

fn edge_config(config: &Config, place: Place, listeners: Vec<Listener>) -> Result<EdgeConfig, EdgeError> {
    let store_timeout = Duration::from_millis(config.nats.timeout_ms);
    let auth = &config.sip.auth;
    let trusted = ranges(&auth.trusted);
    Ok(EdgeConfig {
        edge_id: place.edge_id(&config.edge_id()),
        place,
        listeners,
        domains: config.sip.domains.iter().map(|domain| domain.to_ascii_lowercase().into()).collect(),
        presentity_from: config.sip.presentity_from,
        initial_notify: config.sip.initial_notify,
        udp_notify_limit_bytes: config.sip.udp_notify_limit_bytes,
        max_subscriptions: config.sip.max_subscriptions.div_ceil(place.of.into()),
        max_subscriptions_per_presentity: config.sip.max_subscriptions_per_presentity,
        subscription: config.subscription.clone(),
        rate_limit: RateLimitConfig {
            per_second: config.sip.rate_limit_per_source,
            exempt: ranges(&config.sip.rate_limit_exempt).into_iter().chain(trusted.iter().copied()).collect(),
        },
        auth: AuthPolicy {
            mode: auth.mode,
            realm: auth.realm.as_str().into(),
            trusted,
            allow_other_presentities: auth.allow_other_presentities,
        },
        passthrough: config.features.passthrough,
        profiles: Profiles::new(&config.profile)?,
        store_timeout,
        unstored_for: UNSTORED_FOR,
        route_timeout: store_timeout + Duration::from_millis(config.routes.responder_timeout_ms),
        drain_patience: LONGEST_DRAIN_PATIENCE.min(Duration::from_secs(config.run.shutdown_grace_seconds) / 2),
        silent_after: Duration::from_secs(config.sip.takeover_seconds),
    })
}

/// Ranges of a checked configuration: each can be read.
fn ranges(texts: &[String]) -> Vec<Cidr> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// The users file, where one is needed.
fn users_file(config: &Config) -> Option<&Path> {
    let auth = &config.sip.auth;
    (auth.mode == AuthMode::Digest && !auth.users.as_os_str().is_empty()).then_some(&*auth.users)
}

/// Gives the notifier the users of the file, and follows its changes from there.
fn follow_users(
    path: PathBuf,
    tasks: &Tasks,
    metrics: &Arc<EdgeMetrics>,
    notifier: &mut Notifier,
) -> Result<mpsc::Receiver<Arc<Users>>, UsersFileError> {
    // Before the file is read: a change in between is then seen as one.
    let stamp = FileStamp::of(&path);
    let users = users_file::load(&path)?;
    metrics.users_loaded(users.len(), users.incomplete());
    notifier.handle(Input::Users(Arc::new(users)), clock::moment());
    let (changed, users) = mpsc::channel(1);
    tasks.spawn("users file", users_file::watch(path, stamp, changed, Arc::clone(metrics), tasks.stopping().clone()));
    Ok(users)
}

/// Removes a record that NATS has brought back. Its edge may be gone for good, so each edge does; one is first. What is not sent is
/// removed when the bucket is read the next time.
fn remove_outlived(bus: &Bus, change: &Change) {
    let removal = kv::removal_headers(change.revision, Duration::ZERO, &Cause::new());
    let _counted = bus.try_publish(Pattern::SubscriptionBucket, bus.subjects().subscription_key(&change.key), None, removal, Bytes::new());
}

/// Reads the whole bucket, gives the notifier the records of this edge as they come, and follows the changes from there.
async fn follow_bucket(
    bus: &Bus,
    index: &SharedIndex,
    edge_id: &str,
    metrics: &Arc<EdgeMetrics>,
    notifier: &mut Notifier,
) -> (WatcherIndex, Changes) {
    let (later, changes) = changes::queue(edge_id);
    let arrivals = Arc::new(Arrivals::default());
    let (arriving, own, counted, cleaned) = (Arc::clone(&arrivals), edge_id.to_owned(), Arc::clone(metrics), bus.clone());
    let hook = move |event| {
        let IndexEvent::Changed(change) = event else {
            // A key that is gone was not told.
            return later.lost(!arriving.is_loading());
        };
        if change.has_outlived {
            remove_outlived(&cleaned, &change);
        }
        let Some(change) = arriving.take(change, &own) else { return };
        if !later.send(change) {
            counted.dropped(DropReason::QueueFull);
        }
    };
    let index = index.follow(Box::new(hook)).await;
    restore(&index, &arrivals, bus, notifier).await;
    tracing::info!(subscriptions = notifier.live().count(), "subscriptions of before taken up");
    let changes = changes.of(index.clone());
    (index, changes)
}

/// Records on their way from the index, which must not wait, to the thread that takes them up while the rest is being read.
struct Arrivals {
    /// `None`: all is read.
    records: Mutex<Option<Vec<Change>>>,
    come: Notify,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self { records: Mutex::new(Some(Vec::new())), come: Notify::new() }
    }
}

impl Arrivals {
    fn records(&self) -> MutexGuard<'_, Option<Vec<Change>>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_loading(&self) -> bool {
        self.records().is_some()
    }

    /// Takes a change as long as the bucket is loaded, else gives it back. Of a record of another edge only the key is kept: it may
    /// have been ours when it was read before.
    fn take(&self, change: Change, own: &str) -> Option<Change> {
        let mut records = self.records();
        let Some(arrived) = records.as_mut() else { return Some(change) };
        let value = change.value.filter(|_| change.edge_id.as_deref() == Some(own));
        arrived.push(Change { value, edge_id: None, ..change });
        if arrived.len() == 1 {
            self.come.notify_one();
        }
        None
    }
}

/// Gives the notifier what comes, until all is loaded.
async fn restore(index: &WatcherIndex, arrivals: &Arrivals, bus: &Bus, notifier: &mut Notifier) {
    let mut loaded = std::pin::pin!(index.loaded());
    let mut is_loading = true;
    while is_loading {
        tokio::select! {
            () = arrivals.come.notified() => {}
            () = &mut loaded => is_loading = false,
        }
        let arrived = {
            let mut records = arrivals.records();
            if is_loading { records.as_mut().map(std::mem::take) } else { records.take() }
        };
        let now = Now { at: clock::now(), utc: bus.utc_now() };
        for Change { key, revision, value, .. } in arrived.unwrap_or_default() {
            notifier.handle(Input::Record { key: &key, revision, value: value.as_deref() }, now);
        }
    }
    notifier.handle(Input::Restored, Now { at: clock::now(), utc: bus.utc_now() });
}
