//! The notifier of RFC 6665 as one pure machine: packets, bus replies, jobs and time in; packets, bus requests and events out.
//!
//! ```text
//!  packet ─▶ request ─▶ exchange ─▶ work ─▶ notify ─▶ packet          restore: what the bucket says of our subscriptions
//!            (admit)    (store,200) (routes) (outbox, Timer F)         jobs:    what other stages have us tell
//! ```
//! It has no socket, task or clock. [`crate::edge::driver`] owns it and carries out its [`Output`]s.

mod exchange;
mod jobs;
mod notify;
mod reply;
mod request;
mod restore;
mod work;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ahash::{AHashMap, AHashSet};
use bytes::Bytes;
use smallvec::SmallVec;

use crate::bus::message::{FeatureEvent, GetRequest, NotifyEvent, NotifyJob, RouteSetRequest, SubscriptionEvent};
use crate::bus::trace::Cause;
use crate::edge::config::EdgeConfig;
use crate::edge::exchange::{Exchange, Work};
use crate::edge::metrics::EdgeMetrics;
use crate::edge::outbox::JobKey;
use crate::edge::record::Record;
use crate::edge::subscription::{Phase, Subscription, SubscriptionId};
use crate::edge::write;
use crate::feature::table::FeatureTable;
use crate::feature::{FeatureState, Presentity};
use crate::runtime::wheel::Wheel;
use crate::sip::flow::{ConnectionId, Flow, Transport};
use crate::sip::transaction::{ClientTransactions, ServerTransactions, Timers};
use crate::sip::uri::TargetHost;

pub use reply::{BusReply, ReplyMessage, Unavailable};

/// The time of one step: monotonic, and of day.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For timers.
    pub at: Instant,
    /// For what others read.
    pub utc: SystemTime,
}

/// Names a bus request that waits for its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

/// What happens to the notifier.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram or a framed message arrived.
    Packet {
        /// What it came on.
        flow: Flow,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// A connection was opened.
    Opened(ConnectionId),
    /// A connection is gone.
    Closed(ConnectionId),
    /// A packet could not be sent: no connection, and none could be made.
    Undeliverable {
        /// The subscription whose NOTIFY it is.
        subscription: SubscriptionId,
    },
    /// The answer to an [`Output::Request`].
    Reply {
        /// Which request.
        token: Token,
        /// The answer.
        reply: BusReply,
    },
    /// A NOTIFY job.
    Job {
        /// The job.
        job: Box<NotifyJob>,
        /// Where its acknowledgement goes.
        handle: JobHandle,
        /// How long it has waited.
        age: Duration,
    },
    /// A key of the subscription bucket was written by somebody, or is gone.
    Change {
        /// The key.
        key: &'a str,
        /// Its revision.
        revision: u64,
        /// The record; `None`: the key is gone.
        value: Option<&'a [u8]>,
    },
    /// The bus came up or went away.
    Bus {
        /// Whether it is up.
        is_up: bool,
    },
    /// Time passed: something is due.
    Timeout,
    /// Take in nothing new.
    Drain,
}

/// Names the delivery of a job, for its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobHandle(pub u64);

/// What the notifier wants done.
#[derive(Debug)]
pub enum Output {
    /// Send a packet.
    Send {
        /// To where.
        to: Destination,
        /// What.
        packet: Bytes,
    },
    /// Ask the bus; the answer comes back as [`Input::Reply`].
    Request {
        /// Names the request.
        token: Token,
        /// What to ask.
        request: BusRequest,
        /// Id of what led to it.
        cause: Cause,
    },
    /// Have the other edges tell their watchers.
    FanOut(Box<FanOut>),
    /// Publish an event.
    Event(Box<Event>),
    /// A job is done with.
    JobDone(JobHandle),
}

/// Where a packet goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Back on a flow.
    Flow(Flow),
    /// To a URI's host, over its transport.
    Host {
        /// Name or address.
        host: TargetHost,
        /// Port.
        port: u16,
        /// Transport.
        transport: Transport,
        /// Whose NOTIFY it is, to say that it could not be sent.
        subscription: SubscriptionId,
    },
}

/// What is asked of the bus.
#[derive(Debug)]
pub enum BusRequest {
    /// Store a record under the subscription's key.
    Store {
        /// The key.
        id: SubscriptionId,
        /// The value.
        record: Box<Record>,
        /// How long it is kept.
        ttl: Duration,
        /// Revision that it takes the place of; 0: none.
        expected_revision: u64,
    },
    /// Remove the key.
    Remove {
        /// The key.
        id: SubscriptionId,
        /// Revision that it must have.
        expected_revision: u64,
    },
    /// Read the key.
    Lookup {
        /// The key.
        id: SubscriptionId,
    },
    /// `dfks.get`
    Get(GetRequest),
    /// `dfks.route.set`
    RouteSet(Box<RouteSetRequest>),
}

/// States for the watchers on other edges, and the event about them.
#[derive(Debug)]
pub struct FanOut {
    /// Whose watchers.
    pub presentity: Presentity,
    /// What they are told.
    pub states: Vec<FeatureState>,
    /// `false`: with an empty body.
    pub assigned: bool,
    /// Id of what led to it.
    pub cause: Cause,
    /// To be published with the number of watchers on the other edges added.
    pub events: Vec<FeatureEvent>,
}

/// An event to publish.
#[derive(Debug)]
pub enum Event {
    /// `dfks.event.subscription.<domain>`
    Subscription(Presentity, SubscriptionEvent),
    /// `dfks.event.feature.<domain>.<Feature>`
    Feature(Presentity, FeatureEvent),
    /// `dfks.event.notify.<domain>`
    Notify(Presentity, NotifyEvent),
}

/// Something in the timer wheel.
#[derive(Debug, Clone, Copy)]
enum Timer {
    Subscription(SubscriptionId),
    Wait(u64),
}

/// Why a bus reply is waited for.
#[derive(Debug)]
enum Wait {
    /// The exchange in the subscription's lane is being stored.
    Store(SubscriptionId),
    /// More `CSeq` numbers are being reserved.
    Reserve(SubscriptionId),
    /// A subscription of another edge, or of our past, is looked up for this SUBSCRIBE.
    Lookup(SubscriptionId, Box<Exchange>),
    /// A key is being removed; nothing follows from the answer.
    Remove,
    /// Workers were asked for states.
    Get(SubscriptionId, Work),
    /// Workers were asked for a change.
    Set(SubscriptionId, Work),
}

/// How far a job has come.
#[derive(Debug)]
struct JobProgress {
    handle: JobHandle,
    outstanding: u32,
    failed: u32,
}

/// See the module.
pub struct Notifier {
    config: Arc<EdgeConfig>,
    table: Arc<FeatureTable>,
    metrics: Arc<EdgeMetrics>,
    server: ServerTransactions,
    client: ClientTransactions<SubscriptionId>,
    subscriptions: AHashMap<SubscriptionId, Box<Subscription>>,
    watchers: AHashMap<Presentity, SmallVec<[SubscriptionId; 2]>>,
    waits: AHashMap<u64, Wait>,
    next_token: u64,
    timers: Wheel<Timer>,
    jobs: AHashMap<JobKey, JobProgress>,
    next_job: u64,
    connections: AHashSet<ConnectionId>,
    output: VecDeque<Output>,
    scratch: Vec<u8>,
    in_flight: usize,
    is_bus_up: bool,
    drains_since: Option<Instant>,
    is_overloaded: bool,
}

/// Server transactions kept at once, answered ones included; over it 503.
const MAX_SERVER_TRANSACTIONS: usize = 1_000_000;
/// NOTIFYs in flight at once, those that only absorb copies of their response included; over it they wait.
const MAX_CLIENT_TRANSACTIONS: usize = 2_000_000;
/// How long draining waits for phones: four transmissions of a NOTIFY.
const DRAIN_PATIENCE: Duration = Duration::from_secs(6);
/// Bus requests waited for at once; over it 503.
const MAX_WAITS: usize = 20_000;

impl Notifier {
    /// A notifier without subscriptions.
    #[must_use]
    pub fn new(config: Arc<EdgeConfig>, table: Arc<FeatureTable>, metrics: Arc<EdgeMetrics>, now: Now) -> Self {
        Self {
            config,
            table,
            metrics,
            server: ServerTransactions::new(MAX_SERVER_TRANSACTIONS, Timers::default(), now.at),
            client: ClientTransactions::new(MAX_CLIENT_TRANSACTIONS, Timers::default(), now.at),
            subscriptions: AHashMap::new(),
            watchers: AHashMap::new(),
            waits: AHashMap::new(),
            next_token: 0,
            timers: Wheel::new(now.at),
            jobs: AHashMap::new(),
            next_job: 0,
            connections: AHashSet::new(),
            output: VecDeque::new(),
            scratch: Vec::with_capacity(4096),
            in_flight: 0,
            is_bus_up: false,
            drains_since: None,
            is_overloaded: false,
        }
    }

    /// Takes one input; its consequences are then in [`Notifier::poll_output`].
    pub fn handle(&mut self, input: Input<'_>, now: Now) {
        match input {
            Input::Packet { flow, bytes } => self.on_packet(flow, bytes, now),
            Input::Opened(connection) => {
                self.connections.insert(connection);
            }
            Input::Closed(connection) => {
                self.connections.remove(&connection);
            }
            Input::Undeliverable { subscription } => self.on_undeliverable(subscription, now),
            Input::Reply { token, reply } => self.on_reply(token, reply, now),
            Input::Job { job, handle, age } => self.on_job(*job, handle, age, now),
            Input::Change { key, revision, value } => self.on_change(key, revision, value, now),
            Input::Bus { is_up } => self.is_bus_up = is_up,
            Input::Timeout => self.on_timeout(now),
            Input::Drain => self.drains_since = Some(now.at),
        }
    }

    /// The next thing to do, until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// When [`Input::Timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.timers.next_at(), self.client.poll_timeout(), self.server.poll_timeout()].into_iter().flatten().min()
    }

    /// Whether everything in hand is finished: nothing asked of the bus, and no NOTIFY in flight, or only such as have been
    /// sent again and again since draining began: their phones are gone, and their jobs come again.
    #[must_use]
    pub fn is_idle(&self, now: Now) -> bool {
        let waited = self.drains_since.map_or(Duration::ZERO, |since| now.at.saturating_duration_since(since));
        self.waits.is_empty() && self.output.is_empty() && (self.in_flight == 0 || waited >= DRAIN_PATIENCE)
    }

    /// Tells the notifier whether the stages after it have room for more changes.
    pub fn set_overloaded(&mut self, is_overloaded: bool) {
        self.is_overloaded = is_overloaded;
    }

    /// Live subscriptions, for `dfks.watchers`.
    pub fn live(&self) -> impl Iterator<Item = &Subscription> {
        self.subscriptions.values().map(AsRef::as_ref).filter(|subscription| subscription.phase == Phase::Live)
    }

    /// A live subscription by its id.
    pub fn live_by_id(&self, id: SubscriptionId) -> Option<&Subscription> {
        self.subscriptions.get(&id).map(AsRef::as_ref).filter(|subscription| subscription.phase == Phase::Live)
    }

    /// The live subscriptions of one presentity.
    pub fn live_of(&self, presentity: &Presentity) -> impl Iterator<Item = &Subscription> {
        let ids = self.watchers.get(presentity).map(SmallVec::as_slice).unwrap_or_default();
        ids.iter().filter_map(|id| self.subscriptions.get(id)).map(AsRef::as_ref).filter(|subscription| subscription.phase == Phase::Live)
    }

    fn on_timeout(&mut self, now: Now) {
        self.server.handle_timeout(now.at);
        self.client_timeout(now);
        let mut due = Vec::new();
        self.timers.pop_due(now.at, |timer| due.push(timer));
        for timer in due {
            match timer {
                Timer::Subscription(id) => self.subscription_timeout(id, now),
                Timer::Wait(token) => {
                    if self.waits.contains_key(&token) {
                        self.on_reply(Token(token), BusReply::Unavailable(Unavailable::Timeout), now);
                    }
                }
            }
        }
    }

    /// Asks the bus, and waits for the answer until the request's time is over.
    fn ask(&mut self, request: BusRequest, wait: Wait, cause: Cause, now: Now) {
        let token = self.next_token;
        self.next_token = self.next_token.wrapping_add(1);
        let timeout = match request {
            BusRequest::Get(_) | BusRequest::RouteSet(_) => self.config.route_timeout,
            BusRequest::Store { .. } | BusRequest::Remove { .. } | BusRequest::Lookup { .. } => self.config.store_timeout,
        };
        self.waits.insert(token, wait);
        self.timers.schedule(now.at + timeout, Timer::Wait(token));
        self.output.push_back(Output::Request { token: Token(token), request, cause });
    }

    /// Whether nothing new may be started: draining, the bus away, or queues full.
    fn refuses_new(&self) -> bool {
        self.drains_since.is_some() || !self.is_bus_up || self.is_overloaded || self.waits.len() >= MAX_WAITS
    }

    fn contact_of(&self, flow: Flow, is_sips: bool) -> String {
        format!("<{}>", write::contact(flow.transport, self.advertised(flow), is_sips))
    }

    fn advertised(&self, flow: Flow) -> &str {
        self.config.listeners.get(usize::from(flow.listener)).map_or("invalid", |listener| &listener.advertised)
    }
}
