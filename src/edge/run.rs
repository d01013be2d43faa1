//! Starts an edge: binds its listeners, restores its subscriptions, and serves.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::bus::queues::{self, QueueName, Watched};
use crate::bus::subject::{Pattern, edge_token};
use crate::bus::trace::Cause;
use crate::bus::watchers::{Change, IndexEvent, SharedIndex, WatcherIndex};
use crate::bus::{Bus, RequestError, kv};
use crate::config::{AuthMode, Cidr, Config};
use crate::edge::config::{EdgeConfig, Listener};
use crate::edge::gate::policy::AuthPolicy;
use crate::edge::gate::rate_limit::RateLimitConfig;
use crate::edge::gate::users::Users;
use crate::edge::io::driver::{Changes, Driver, DriverError, Sources};
use crate::edge::io::fan_out;
use crate::edge::io::mirror::Mirror;
use crate::edge::io::port::Port;
use crate::edge::io::sockets::Sockets;
use crate::edge::io::tls_files;
use crate::edge::io::users_file::{self, UsersFileError};
use crate::edge::io::watchers::Watchers;
use crate::edge::limit::{CAPACITIES, CHANGE_QUEUE, FAN_OUT_QUEUE, STREAM_QUEUE};
use crate::edge::metrics::{DropReason, EdgeMetrics};
use crate::edge::notifier::{Input, Notifier};
use crate::edge::profile::Profiles;
use crate::edge::takeover::TakeOver;
use crate::feature::table::FeatureTable;
use crate::notify::{Jobs, Queue};
use crate::runtime::clock::Now;
use crate::runtime::{FileStamp, Tasks, clock};
use crate::sip::flow::Transport;
use crate::sip::transport::{Inbound, StreamLimits, StreamTransport, Tls, TlsError, UdpListener};

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
    #[error("sip.listen: {transport}:{address}: {source}")]
    Listen {
        /// Its transport.
        transport: Transport,
        /// Its address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
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

/// An edge whose sockets are bound; it serves with [`Edge::run`].
pub struct Edge {
    config: Arc<EdgeConfig>,
    driver: Driver,
    tasks: Tasks,
}

/// The listeners that are bound.
struct Bound {
    listeners: Vec<Listener>,
    udp: Vec<UdpListener>,
    streams: StreamTransport,
}

impl Edge {
    /// Binds the listeners and restores the subscriptions of this edge.
    ///
    /// # Errors
    ///
    /// [`EdgeError`]; nothing is bound then.
    pub async fn start(config: &Config, bus: Bus, index: &SharedIndex, table: Arc<FeatureTable>) -> Result<Self, EdgeError> {
        let tasks = Tasks::new();
        let (inbound, streams) = mpsc::channel(STREAM_QUEUE);
        let metrics = Arc::new(EdgeMetrics::new(&Transport::ALL, &CAPACITIES));
        let tls = tls_files::load(config, &metrics, &tasks)?;
        let bound = bind(config, inbound, tls, &metrics, &tasks)?;
        let trace_hep = config.sip.trace_hep.clone();
        let users_file = users_file(config).map(Path::to_path_buf);
        let config = Arc::new(edge_config(config, bound.listeners)?);
        metrics.queues.subscriptions_limit(config.max_subscriptions);
        let now = clock::moment();
        let mut notifier = Notifier::new(Arc::clone(&config), Arc::clone(&table), Arc::clone(&metrics), now);
        let users = users_file.map(|path| follow_users(path, &tasks, &metrics, &mut notifier)).transpose()?;

        let (index, changes) = follow_bucket(&bus, index, &config.edge_id, &metrics, &mut notifier).await;
        let queue = Queue::new(bus.clone(), index);
        let told_before = notifier.told_before_restart();
        let take_over = TakeOver::start(&bus, queue.clone(), &config, &metrics, told_before, &tasks).await?;
        let counted = Arc::clone(&metrics);
        let watched = Watched { streams: Vec::new(), consumers: vec![(QueueName::Notify, edge_token(&config.edge_id))] };
        tasks.spawn("queues", queues::watch(bus.clone(), watched, tasks.stopping().clone()));
        let jobs = Jobs::behind(&bus, &tasks, &config.edge_id, queue.index().clone(), Box::new(move |why| counted.job_given_up(why)));
        let (fan_outs, to_fan_out) = mpsc::channel(FAN_OUT_QUEUE);
        // Ends when the driver lets go of its sender, so that what it asked for last is still done.
        tasks.spawn_brief("fan-out", fan_out::run(bus.clone(), queue, config.edge_id.clone(), Arc::clone(&metrics), to_fan_out));

        let port = Port::open(bus.clone()).await?;
        let watchers = Watchers::open(bus, &config.edge_id, table, tasks.stopping().clone()).await?;
        let mirror = Mirror::new(&trace_hep, &config, &metrics, &tasks);
        let sockets = Sockets::new(
            bound.udp,
            bound.streams,
            Arc::clone(&config),
            mirror,
            Arc::clone(&metrics),
            tasks.clone(),
            take_over.lease.clone(),
        );
        let driver =
            Driver::new(notifier, port, sockets, Sources { streams, jobs, changes, users, take_over }, watchers, fan_outs, metrics);
        Ok(Self { config, driver, tasks })
    }

    /// Where it listens: `udp:127.0.0.1:5060`, with the real port where 0 was asked for.
    #[must_use]
    pub fn listening(&self) -> Vec<String> {
        self.config.listeners.iter().map(|listener| format!("{}:{}", listener.transport.as_str(), listener.address)).collect()
    }

    /// Serves until `stop`, then finishes what is in hand.
    ///
    /// # Errors
    ///
    /// [`EdgeError`] when it cannot go on.
    pub async fn run(self, stop: CancellationToken) -> Result<(), EdgeError> {
        let served = tokio::select! {
            served = self.driver.run(stop) => served.map_err(EdgeError::from),
            failure = self.tasks.failed() => Err(failure.into()),
        };
        let stopped = self.tasks.stop(TASKS_GRACE).await;
        served.and(stopped.map_err(EdgeError::from))
    }
}

fn bind(
    config: &Config,
    inbound: mpsc::Sender<Inbound>,
    tls: Option<Arc<Tls>>,
    metrics: &Arc<EdgeMetrics>,
    tasks: &Tasks,
) -> Result<Bound, EdgeError> {
    let counted = Arc::clone(metrics);
    let on_refused = Arc::new(move |transport, reason| counted.transports.refused(transport, reason));
    // There also without a listener: a Contact may name TCP.
    let streams = StreamTransport::new(StreamLimits::default(), inbound, tls, on_refused, tasks.clone());
    let mut bound = Bound { listeners: Vec::new(), udp: Vec::new(), streams };
    for (at, listener) in config.sip_listeners().into_iter().enumerate() {
        let failed = |source| EdgeError::Listen { transport: listener.transport, address: listener.addr, source };
        let index = u16::try_from(at).unwrap_or(u16::MAX);
        let address = if listener.transport == Transport::Udp {
            let socket = UdpListener::bind(listener.addr, index).map_err(failed)?;
            let address = socket.local_addr();
            bound.udp.push(socket);
            address
        } else {
            bound.streams.listen(listener.transport, listener.addr, index).map_err(failed)?
        };
        bound.listeners.push(Listener { transport: listener.transport, advertised: advertised(&config.sip.advertise, address), address });
    }
    Ok(bound)
}

/// What phones are told to reach a listener at: `sip.advertise`, with the listener's port where it has none.
fn advertised(advertise: &str, address: SocketAddr) -> Box<str> {
    let has_port = advertise.parse::<SocketAddr>().is_ok()
        || advertise.rsplit_once(':').is_some_and(|(host, port)| !host.contains(':') && port.parse::<u16>().is_ok());
    match advertise {
        "" => SocketAddr::new(reachable(address.ip()), address.port()).to_string().into(),
        _ if has_port => advertise.into(),
        host => format!("{host}:{}", address.port()).into(),
    }
}

/// The address that a wildcard listener is most likely reached at: that of the default route. No packet is sent.
fn reachable(address: IpAddr) -> IpAddr {
    if !address.is_unspecified() {
        return address;
    }
    let (from, towards) = if address.is_ipv4() { ("0.0.0.0:0", "192.0.2.1:9") } else { ("[::]:0", "[2001:db8::1]:9") };
    let local = UdpSocket::bind(from).and_then(|socket| socket.connect(towards).and_then(|()| socket.local_addr()));
    let found = local.map_or(address, |local| local.ip());
    tracing::warn!(address = %found, "sip.advertise is empty and sip.listen is a wildcard: phones are told this address");
    found
}

fn edge_config(config: &Config, listeners: Vec<Listener>) -> Result<EdgeConfig, EdgeError> {
    let store_timeout = Duration::from_millis(config.nats.timeout_ms);
    let auth = &config.sip.auth;
    let trusted = ranges(&auth.trusted);
    Ok(EdgeConfig {
        edge_id: config.edge_id().into(),
        listeners,
        domains: config.sip.domains.iter().map(|domain| domain.to_ascii_lowercase().into()).collect(),
        presentity_from: config.sip.presentity_from,
        initial_notify: config.sip.initial_notify,
        udp_notify_limit_bytes: config.sip.udp_notify_limit_bytes,
        max_subscriptions: config.sip.max_subscriptions,
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

/// Reads the whole bucket, gives the notifier the records of this edge, and follows the changes from there.
async fn follow_bucket(
    bus: &Bus,
    index: &SharedIndex,
    edge_id: &str,
    metrics: &Arc<EdgeMetrics>,
    notifier: &mut Notifier,
) -> (WatcherIndex, Changes) {
    let (later, changes) = mpsc::channel(CHANGE_QUEUE);
    let is_any_lost = Arc::new(AtomicBool::new(false));
    let lost = Arc::clone(&is_any_lost);
    let held = Arc::new(Mutex::new(Some(HashMap::new())));
    let (loading, own, counted, cleaned) = (Arc::clone(&held), edge_id.to_owned(), Arc::clone(metrics), bus.clone());
    let hook = move |event| {
        let mut loading = loading.lock().unwrap_or_else(PoisonError::into_inner);
        let IndexEvent::Changed(change) = event else {
            // A key that is gone was not told.
            return lost.store(loading.is_none(), Ordering::Release);
        };
        if change.has_outlived {
            remove_outlived(&cleaned, &change);
        }
        match loading.as_mut() {
            // As long as the bucket is loaded only the records that are ours at its end matter.
            Some(held) => {
                let is_ours = change.edge_id.as_deref() == Some(&own);
                match change.value {
                    Some(value) if is_ours => held.insert(change.key, (change.revision, value)),
                    _ => held.remove(&change.key),
                };
            }
            // What is lost here is found again when the driver compares all that it holds with the index.
            None if later.try_send(change).is_err() => {
                counted.dropped(DropReason::QueueFull);
                lost.store(true, Ordering::Release);
            }
            None => {}
        }
    };
    let index = index.follow(Box::new(hook)).await;
    index.loaded().await;
    let now = Now { at: clock::now(), utc: bus.utc_now() };
    for (key, (revision, value)) in held.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default() {
        notifier.handle(Input::Record { key: &key, revision, value: &value }, now);
    }
    notifier.handle(Input::Restored, now);
    tracing::info!(subscriptions = notifier.live().count(), "subscriptions of before taken up");
    let changes = Changes { queue: changes, is_any_lost, index: index.clone() };
    (index, changes)
}
