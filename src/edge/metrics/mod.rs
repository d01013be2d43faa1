//! The metrics of the edge, of NOTIFYs and of jobs. Each method counts and logs one thing that happens.

pub(crate) mod about;
pub(crate) mod label;
pub(crate) mod names;
pub(crate) mod queue;
pub(crate) mod transport;

use std::error::Error;
use std::time::Duration;

use ahash::AHashMap;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::bus::message::ErrorBody;
use crate::edge::metrics::label::zero;
use crate::edge::metrics::names::NameMetrics;
use crate::edge::metrics::queue::{Capacities, QueueMetrics};
use crate::edge::metrics::transport::TransportMetrics;
use crate::notify::GivenUp;
use crate::sip::flow::Transport;
use crate::telemetry::Pii;

pub use crate::edge::metrics::about::About;
pub use crate::edge::metrics::label::{AuthOutcome, DeliveryOutcome, Direction, DropReason, JobOutcome, TakeOverOutcome};
pub use crate::edge::metrics::names::{FailoverReason, LookupOutcome};

/// Status codes that the edge answers with; README explains each.
const CODES: [u16; 17] = [200, 400, 401, 403, 404, 405, 406, 415, 416, 420, 423, 481, 482, 483, 489, 500, 503];
const FAILURES: [&str; 3] = ["no_responders", "timeout", "not_sent"];

/// Handles of every series, so that the hot path looks none up by text.
pub struct EdgeMetrics {
    requests: AHashMap<(&'static str, Transport, u16), Counter>,
    request_seconds: AHashMap<&'static str, Histogram>,
    active: Gauge,
    grace: Gauge,
    retransmitted_in: Counter,
    retransmitted_out: Counter,
    dropped: AHashMap<DropReason, Counter>,
    auth: AHashMap<AuthOutcome, Counter>,
    /// Of connections, TLS and the mirror.
    pub transports: TransportMetrics,
    /// Of what comes in and waits.
    pub queues: QueueMetrics,
    /// Of host names.
    pub names: NameMetrics,
    store_failures: AHashMap<&'static str, Counter>,
    stores_saved: Counter,
    route_failures: Counter,
    jobs: AHashMap<JobOutcome, Counter>,
    take_overs: AHashMap<TakeOverOutcome, Counter>,
    taken_away: Counter,
    silent_edges: Gauge,
    notify_sent: AHashMap<(Transport, DeliveryOutcome), Counter>,
    notify_seconds: AHashMap<DeliveryOutcome, Histogram>,
    delivery_seconds: Histogram,
    in_flight: Gauge,
    oversized_tcp: Counter,
    oversized_udp: Counter,
}

impl EdgeMetrics {
    /// Registers every series of these transports, at 0.
    #[must_use]
    pub fn new(transports: &[Transport], capacities: &Capacities) -> Self {
        label::describe();
        let by_code = label::METHODS
            .into_iter()
            .flat_map(|method| transports.iter().flat_map(move |transport| CODES.map(|code| (method, *transport, code))));
        let by_outcome = transports.iter().flat_map(|transport| DeliveryOutcome::ALL.map(|outcome| (*transport, outcome)));
        Self {
            requests: by_code
                .map(|(method, transport, code)| ((method, transport, code), request_counter(method, transport, code)))
                .collect(),
            request_seconds: label::METHODS
                .map(|method| (method, histogram!("dfks_edge_request_duration_seconds", "method" => method)))
                .into(),
            active: zero(gauge!("dfks_edge_subscriptions", "state" => "active")),
            grace: zero(gauge!("dfks_edge_subscriptions", "state" => "grace")),
            retransmitted_in: counter!("dfks_edge_retransmissions_total", "direction" => "in"),
            retransmitted_out: counter!("dfks_edge_retransmissions_total", "direction" => "out"),
            dropped: DropReason::ALL.map(|reason| (reason, counter!("dfks_edge_dropped_total", "reason" => reason.as_str()))).into(),
            auth: AuthOutcome::ALL.map(|outcome| (outcome, counter!("dfks_edge_auth_total", "outcome" => outcome.as_str()))).into(),
            transports: TransportMetrics::new(transports),
            queues: QueueMetrics::new(transports, capacities),
            names: NameMetrics::new(),
            store_failures: FAILURES.map(|reason| (reason, counter!("dfks_edge_store_failures_total", "reason" => reason))).into(),
            stores_saved: counter!("dfks_edge_stores_saved_total"),
            route_failures: counter!("dfks_edge_route_failures_total"),
            jobs: JobOutcome::ALL.map(|outcome| (outcome, counter!("dfks_notify_jobs_total", "outcome" => outcome.as_str()))).into(),
            take_overs: TakeOverOutcome::ALL
                .map(|outcome| (outcome, counter!("dfks_edge_takeovers_total", "outcome" => outcome.as_str())))
                .into(),
            taken_away: counter!("dfks_edge_taken_away_total"),
            silent_edges: zero(gauge!("dfks_edge_silent_edges")),
            notify_sent: by_outcome
                .map(|(transport, outcome)| {
                    let counter = counter!("dfks_notify_sent_total", "transport" => transport.as_str(), "outcome" => outcome.as_str());
                    ((transport, outcome), counter)
                })
                .collect(),
            notify_seconds: DeliveryOutcome::ALL
                .map(|outcome| (outcome, histogram!("dfks_notify_duration_seconds", "outcome" => outcome.as_str())))
                .into(),
            delivery_seconds: histogram!("dfks_notify_delivery_seconds"),
            in_flight: zero(gauge!("dfks_notify_in_flight")),
            oversized_tcp: counter!("dfks_notify_oversized_total", "transport" => "tcp"),
            oversized_udp: counter!("dfks_notify_oversized_total", "transport" => "udp"),
        }
    }

    /// A request was answered.
    pub fn request(&self, method: &'static str, transport: Transport, code: u16) {
        match self.requests.get(&(method, transport, code)) {
            Some(counter) => counter.increment(1),
            None => request_counter(method, transport, code).increment(1),
        }
        tracing::debug!(method, transport = transport.as_str(), code, "request answered");
    }

    /// From a request's arrival to its final response.
    pub fn request_took(&self, method: &'static str, took: Duration) {
        if let Some(histogram) = self.request_seconds.get(method) {
            histogram.record(took);
        }
    }

    /// A subscription became live.
    pub fn subscription_began(&self) {
        self.active.increment(1.0);
    }

    /// A live subscription ended.
    pub fn subscription_ended(&self, was_in_grace: bool) {
        if was_in_grace { self.grace.decrement(1.0) } else { self.active.decrement(1.0) }
    }

    /// A subscription expired and lives on in grace.
    pub fn grace_entered(&self) {
        self.active.decrement(1.0);
        self.grace.increment(1.0);
    }

    /// A subscription in grace was refreshed after all.
    pub fn grace_left(&self) {
        self.grace.decrement(1.0);
        self.active.increment(1.0);
    }

    /// A request came again, or a NOTIFY was sent again.
    pub fn retransmitted(&self, direction: Direction) {
        match direction {
            Direction::In => self.retransmitted_in.increment(1),
            Direction::Out => self.retransmitted_out.increment(1),
        }
    }

    /// Something was not handled.
    pub fn dropped(&self, reason: DropReason) {
        if let Some(counter) = self.dropped.get(&reason) {
            counter.increment(1);
        }
        tracing::debug!(reason = reason.as_str(), "dropped");
    }

    /// A SUBSCRIBE was checked for who sent it.
    pub fn authenticated(&self, outcome: AuthOutcome) {
        if let Some(counter) = self.auth.get(&outcome) {
            counter.increment(1);
        }
        tracing::debug!(outcome = outcome.as_str(), "subscriber checked");
    }

    /// The users file is in use, at the start or anew.
    ///
    /// `incomplete` of them have not a line for every algorithm that is offered.
    pub fn users_loaded(&self, users: usize, incomplete: usize) {
        tracing::info!(users, "users file loaded");
        if incomplete > 0 {
            tracing::warn!(users = incomplete, "users without a line for every algorithm that is offered may be refused");
        }
    }

    /// The users file has changed and cannot be used.
    pub fn users_not_loaded(&self, error: &dyn Error) {
        tracing::error!(%error, "users file not loaded, the users of before stay");
    }

    /// A response to nothing that we sent.
    pub fn stray_response(&self) {
        self.dropped(DropReason::StrayResponse);
    }

    /// An answer of the bus came after it was given up.
    pub fn late_reply(&self) {
        self.dropped(DropReason::LateReply);
    }

    /// A worker knows a feature that this edge does not.
    pub fn unknown_feature(&self) {
        self.dropped(DropReason::UnknownFeature);
    }

    /// A subscription could not be stored or looked up.
    pub fn store_failed(&self, reason: &'static str) {
        if let Some(counter) = self.store_failures.get(reason) {
            counter.increment(1);
        }
        tracing::debug!(reason, "subscription not stored");
    }

    /// A SUBSCRIBE in a dialog was accepted that the stored record covers.
    pub fn store_saved(&self) {
        self.stores_saved.increment(1);
        tracing::debug!("store saved, the record covers it");
    }

    /// A step found no subscription where there is always one: a fault of ours.
    pub fn subscription_missing(&self) {
        self.dropped(DropReason::NoSubscription);
    }

    /// No worker answered, or it answered an error.
    pub fn route_failed(&self, error: &ErrorBody) {
        self.route_failures.increment(1);
        tracing::debug!(code = error.code, "route failed");
    }

    /// A NOTIFY job ended.
    pub fn job_ended(&self, outcome: JobOutcome) {
        if let Some(counter) = self.jobs.get(&outcome) {
            counter.increment(1);
        }
        tracing::debug!(outcome = outcome.as_str(), "notify job ended");
    }

    /// A NOTIFY job went to the dead letters.
    pub fn job_given_up(&self, why: GivenUp) {
        self.job_ended(match why {
            GivenUp::Unreadable => JobOutcome::Unreadable,
            GivenUp::Expired => JobOutcome::Expired,
            GivenUp::MaxDeliver => JobOutcome::MaxDeliver,
        });
    }

    /// A silent edge's subscription was to be taken over.
    pub fn take_over_ended(&self, outcome: TakeOverOutcome) {
        if let Some(counter) = self.take_overs.get(&outcome) {
            counter.increment(1);
        }
        tracing::debug!(outcome = outcome.as_str(), "take-over ended");
    }

    /// A subscription of this edge was taken over while it was silent.
    pub fn subscription_lost(&self) {
        self.taken_away.increment(1);
        tracing::debug!("subscription taken away");
    }

    /// Edges that hold subscriptions or have jobs waiting, and are silent.
    pub fn silent_edges(&self, count: u32) {
        self.silent_edges.set(f64::from(count));
    }

    /// An edge counts as gone from now on.
    pub fn edge_silent(&self, edge_id: &str, subscriptions: usize) {
        tracing::warn!(edge_id, subscriptions, "edge is silent, its subscriptions over udp are taken over");
    }

    /// An edge that was silent is heard again.
    pub fn edge_heard_again(&self, edge_id: &str) {
        tracing::info!(edge_id, "edge is heard again");
    }

    /// Whether this edge has shown in time that it lives.
    pub fn lease(&self, is_held: bool) {
        if is_held {
            tracing::info!("this edge is heard again, notifies go on");
        } else {
            tracing::warn!("this edge could not show that it lives, notifies wait until it knows what it still holds");
        }
    }

    /// A NOTIFY went out for the first time.
    pub fn notify_started(&self) {
        self.in_flight.increment(1.0);
    }

    /// A NOTIFY is too large for a datagram, and goes over this transport: TCP where its phone can be reached so.
    pub fn notify_oversized(&self, over: Transport) {
        let counter = if over == Transport::Udp { &self.oversized_udp } else { &self.oversized_tcp };
        counter.increment(1);
        tracing::debug!(transport = over.as_str(), "notify too large for a datagram");
    }

    /// A NOTIFY is no more in flight, however it ended.
    pub fn notify_landed(&self) {
        self.in_flight.decrement(1.0);
    }

    /// A NOTIFY ended.
    pub fn notify_ended(&self, transport: Transport, outcome: DeliveryOutcome, took: Duration) {
        if let Some(counter) = self.notify_sent.get(&(transport, outcome)) {
            counter.increment(1);
        }
        if let Some(histogram) = self.notify_seconds.get(&outcome) {
            histogram.record(took);
        }
        tracing::debug!(transport = transport.as_str(), outcome = outcome.as_str(), "notify ended");
    }

    /// From a change to the 2xx of a phone that was told it.
    pub fn delivered_after(&self, took: Duration) {
        self.delivery_seconds.record(took);
    }
}

/// One line for each thing that happens to somebody.
macro_rules! tell {
    ($about:expr, $($rest:tt)+) => {{
        let About { presentity, watcher, source, call_id } = $about;
        tracing::debug!(presentity = %Pii(presentity), watcher = %Pii(watcher), %source, call_id, $($rest)+)
    }};
}

impl EdgeMetrics {
    /// A subscription is new, was refreshed or ended.
    pub fn subscription_is(&self, about: About<'_>, what: &'static str, reason: Option<&'static str>) {
        tell!(about, what, reason, "subscription changed");
    }

    /// A request was refused.
    pub fn request_refused(&self, about: About<'_>, method: &str, status: u16, reason: &'static str, detail: Option<&str>) {
        tell!(about, method, status, reason, detail, "request refused");
    }

    /// A phone's change was made, changed nothing, or was refused.
    pub fn change_ended(&self, about: About<'_>, feature: &str, outcome: &'static str, reason: Option<&str>) {
        tell!(about, feature, outcome, reason, "change ended");
    }

    /// A NOTIFY was not delivered.
    pub fn notify_failed(&self, about: About<'_>, outcome: &'static str, status: Option<u16>) {
        tell!(about, outcome, status, "notify not delivered");
    }
}

fn request_counter(method: &'static str, transport: Transport, code: u16) -> Counter {
    counter!("dfks_edge_requests_total", "method" => method, "transport" => transport.as_str(), "code" => code.to_string())
}
