//! The notifier of RFC 6665 as one pure machine: packets, bus replies, jobs and time in; packets, bus requests and events out.
//!
//! ```text
//!  packet ─▶ request ─▶ exchange ─▶ work ─▶ notify ─▶ packet          restore: what the bucket says of our subscriptions
//!            (admit)    (store,200) (routes) (outbox, Timer F)         jobs:    what other stages have us tell
//!             └▶ auth (rate limit, digest) ─▶ 401, 403, 503: answered without keeping anything
//! ```
//! It has no socket, task or clock. [`crate::edge::io::driver`] owns it and carries out its [`Output`]s.

mod auth;
mod backlog;
mod exchange;
mod intake;
mod io;
mod jobs;
mod lifecycle;
mod notify;
mod ownership;
mod removal;
mod reply;
mod route;
mod takeover;
mod tell;
#[cfg(test)]
pub(super) mod tests;
mod untold;
mod view;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ahash::{AHashMap, AHashSet};
use smallvec::SmallVec;

use crate::bus::trace::Cause;
use crate::edge::config::EdgeConfig;
use crate::edge::gate::accounts::Accounts;
use crate::edge::gate::rate_limit::RateLimit;
use crate::edge::limit::{MAX_CLIENT_TRANSACTIONS, MAX_LOOKUPS, MAX_SERVER_TRANSACTIONS, MAX_WAITS};
use crate::edge::metrics::EdgeMetrics;
use crate::edge::subscription::lane::{Exchange, Work};
use crate::edge::subscription::outbox::JobKey;
use crate::edge::subscription::{Subscription, SubscriptionId};
use crate::feature::Presentity;
use crate::feature::table::FeatureTable;
use crate::runtime::clock::Now;
use crate::runtime::wheel::Wheel;
use crate::sip::digest::Nonces;
use crate::sip::flow::ConnectionId;
use crate::sip::transaction::{ClientTransactions, ServerTransactions, Timers};

pub use io::{BusRequest, Event, FanOut, Input, JobHandle, NotifyId, Orphan, Output, Token, Unsent};
pub use reply::{BusReply, ReplyMessage, Unavailable};

/// Something in the timer wheel.
#[derive(Debug, Clone, Copy)]
enum Timer {
    Subscription(SubscriptionId),
    Wait(u64),
    /// An answer of the workers is late: the phone is not to wait for it.
    Patience(u64),
    /// The removal of a key is tried again.
    Removal(SubscriptionId),
    /// It is looked whether all that was asked is told.
    Told,
}

/// Why a bus reply is waited for.
#[derive(Debug)]
enum Wait {
    /// The exchange in the subscription's lane is being stored since then, and with it `CSeq` numbers up to this one are reserved.
    Store(SubscriptionId, u32, Instant),
    /// More `CSeq` numbers are being reserved, up to this one.
    Reserve(SubscriptionId, u32),
    /// A subscription of another edge, or of our past, is looked up for this SUBSCRIBE.
    Lookup(SubscriptionId, Box<Exchange>),
    /// A responder is asked for the HA1 that this SUBSCRIBE is checked against.
    Auth(Box<auth::Unproven>),
    /// A key is being removed that has this revision.
    Remove(SubscriptionId, u64),
    /// An orphan is being stored in our name, and `CSeq` numbers up to this one are reserved.
    TakeOver(SubscriptionId, u32),
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
    /// Whether a subscription that waited for it is another edge's now.
    is_moved: bool,
}

/// See the module.
#[expect(clippy::struct_excessive_bools, reason = "each says one thing of its own, none is a state")]
pub struct Notifier {
    config: Arc<EdgeConfig>,
    table: Arc<FeatureTable>,
    metrics: Arc<EdgeMetrics>,
    server: ServerTransactions,
    client: ClientTransactions<SubscriptionId>,
    subscriptions: AHashMap<SubscriptionId, Box<Subscription>>,
    watchers: AHashMap<Presentity, SmallVec<[SubscriptionId; 2]>>,
    waits: AHashMap<u64, Wait>,
    lookups: usize,
    backlog: backlog::Backlog,
    next_token: u64,
    timers: Wheel<Timer>,
    jobs: AHashMap<JobKey, JobProgress>,
    next_job: u64,
    /// The open connections, each with the subscriptions that have a NOTIFY in flight on it.
    connections: AHashMap<ConnectionId, AHashSet<SubscriptionId>>,
    output: VecDeque<Output>,
    scratch: Vec<u8>,
    in_flight: usize,
    rate_limit: RateLimit,
    nonces: Nonces,
    accounts: Accounts,
    /// Of the waits, those for a responder's HA1.
    auth_waits: usize,
    is_bus_up: bool,
    is_lease_held: bool,
    /// Orphans that may be ours: the answer to their store was lost.
    unsure: AHashSet<SubscriptionId>,
    /// Keys that are still to be removed.
    removals: AHashMap<SubscriptionId, removal::Removal>,
    drains_since: Option<Instant>,
    /// What was asked of this edge before its restart and before this time is told.
    was_told_until: Option<SystemTime>,
    asked: untold::Asked,
    /// Whether what was not told when draining ended is stored.
    is_put_down: bool,
    /// When the next phone of those that may not have been told something is told.
    tell_next_at: Instant,
    is_overloaded: bool,
}

/// How long a phone waits for the workers until it gets the NOTIFY that it is owed without their answer.
const ANSWER_PATIENCE: Duration = Duration::from_millis(800);
/// How often it is looked whether we are heard again.
const LEASE_TURN: Duration = Duration::from_secs(1);

impl Notifier {
    /// A notifier without subscriptions.
    #[must_use]
    pub fn new(config: Arc<EdgeConfig>, table: Arc<FeatureTable>, metrics: Arc<EdgeMetrics>, now: Now) -> Self {
        let mut key = [0; 64];
        rand::fill(&mut key);
        Self {
            rate_limit: RateLimit::new(config.rate_limit.clone(), now.at),
            nonces: Nonces::new(key, now.at),
            accounts: Accounts::default(),
            auth_waits: 0,
            config,
            table,
            metrics,
            server: ServerTransactions::new(MAX_SERVER_TRANSACTIONS, Timers::default(), now.at),
            client: ClientTransactions::new(MAX_CLIENT_TRANSACTIONS, Timers::default(), now.at),
            subscriptions: AHashMap::new(),
            watchers: AHashMap::new(),
            waits: AHashMap::new(),
            lookups: 0,
            backlog: backlog::Backlog::default(),
            next_token: 0,
            timers: Wheel::new(now.at),
            jobs: AHashMap::new(),
            next_job: 0,
            connections: AHashMap::new(),
            output: VecDeque::new(),
            scratch: Vec::with_capacity(4096),
            in_flight: 0,
            is_bus_up: false,
            is_lease_held: true,
            unsure: AHashSet::new(),
            removals: AHashMap::new(),
            drains_since: None,
            was_told_until: None,
            asked: untold::Asked::default(),
            is_put_down: false,
            tell_next_at: now.at,
            is_overloaded: false,
        }
    }

    /// Takes one input; its consequences are then in [`Notifier::poll_output`].
    pub fn handle(&mut self, input: Input<'_>, now: Now) {
        match input {
            Input::Packet { flow, bytes } => self.on_packet(flow, bytes, now),
            Input::Opened(connection) => {
                self.connections.entry(connection).or_default();
            }
            Input::Closed(connection) => self.on_closed(connection, now),
            Input::Undeliverable { notify, why } => self.on_undeliverable(notify, why, now),
            Input::Reply { token, reply } => self.on_reply(token, reply, now),
            Input::Job { job, handle, age } => self.on_job(&job, handle, age, now),
            Input::Change { key, revision, value } => self.on_change(key, revision, value, now),
            Input::Orphan(orphan) => self.on_orphan(*orphan, now),
            Input::Lease { is_held } => self.is_lease_held = is_held,
            Input::Users(users) => self.accounts.use_file(users),
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
        let client = self.client.poll_timeout().filter(|_| self.is_lease_held);
        [self.timers.next_at(), client, self.server.poll_timeout()].into_iter().flatten().min()
    }

    /// Whether no NOTIFY is in flight, or only such as have been sent again and again since draining began.
    fn is_waited_enough(&self, now: Now) -> bool {
        let waited = self.drains_since.map_or(Duration::ZERO, |since| now.at.saturating_duration_since(since));
        (self.in_flight == 0 && self.removals.is_empty()) || waited >= self.config.drain_patience
    }

    /// Tells the notifier whether the stages after it have room for more changes.
    pub fn set_overloaded(&mut self, is_overloaded: bool) {
        self.is_overloaded = is_overloaded;
    }

    fn on_timeout(&mut self, now: Now) {
        self.server.handle_timeout(now.at);
        if self.is_lease_held {
            self.client_timeout(now);
        }
        let mut due = Vec::new();
        self.timers.pop_due(now.at, |timer| due.push(timer));
        for timer in due {
            match timer {
                // What ends here may be served elsewhere.
                Timer::Subscription(id) if !self.is_lease_held => self.timers.schedule(now.at + LEASE_TURN, Timer::Subscription(id)),
                Timer::Subscription(id) => self.subscription_timeout(id, now),
                Timer::Patience(token) => self.on_late_answer(token, now),
                Timer::Removal(id) => self.retry_removal(id, now),
                Timer::Told => self.look_whether_told(now),
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
            BusRequest::Store { .. } | BusRequest::Remove { .. } | BusRequest::Lookup { .. } | BusRequest::Auth { .. } => {
                self.config.store_timeout
            }
        };
        if matches!(request, BusRequest::Get(_) | BusRequest::RouteSet(_)) && timeout > ANSWER_PATIENCE {
            self.timers.schedule(now.at + ANSWER_PATIENCE, Timer::Patience(token));
        }
        self.lookups += usize::from(matches!(wait, Wait::Lookup(..)));
        self.waits.insert(token, wait);
        self.timers.schedule(now.at + timeout, Timer::Wait(token));
        self.output.push_back(Output::Request { token: Token(token), request, cause });
    }
}
