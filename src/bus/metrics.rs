//! The bus stage's metrics: every series is there from the start with 0, and nothing else touches them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Unit};

use crate::bus::error::{PublishError, RequestError};
use crate::bus::subject::Pattern;

/// `outcome` of a request that got its answer.
const OK: &str = "ok";

/// Handles of the bus metrics, looked up once.
///
/// Made after the recorder is installed: a handle made before it counts nowhere.
#[derive(Debug)]
pub(crate) struct BusMetrics {
    subjects: Vec<SubjectMetrics>,
    is_connected: Mutex<bool>,
    connected: Gauge,
    reconnects: Counter,
    in_flight: Gauge,
    slow_consumers: Counter,
    permission_violations: Counter,
}

impl Drop for BusMetrics {
    fn drop(&mut self) {
        self.set_connected(false);
        self.connected.set(CLIENTS.count(|clients| clients.all = clients.all.saturating_sub(1)));
    }
}

/// The clients of this process: one, as a rule. One gauge says whether all are connected.
static CLIENTS: Clients = Clients(Mutex::new(Count { all: 0, connected: 0 }));

struct Clients(Mutex<Count>);

struct Count {
    all: usize,
    connected: usize,
}

impl Clients {
    /// The value of the gauge after this step.
    fn count(&self, step: impl FnOnce(&mut Count)) -> f64 {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        step(&mut clients);
        f64::from(u8::from(clients.all > 0 && clients.connected == clients.all))
    }
}

/// The handles of one subject pattern.
#[derive(Debug)]
struct SubjectMetrics {
    published: Counter,
    dropped: Vec<(PublishError, Counter)>,
    requests: Vec<(&'static str, Histogram)>,
}

impl BusMetrics {
    pub(crate) fn new() -> Self {
        describe();
        let bus = Self {
            subjects: Pattern::ALL.into_iter().map(SubjectMetrics::new).collect(),
            is_connected: Mutex::new(false),
            connected: metrics::gauge!("dfks_bus_connected"),
            reconnects: metrics::counter!("dfks_bus_reconnects_total"),
            in_flight: metrics::gauge!("dfks_bus_requests_in_flight"),
            slow_consumers: metrics::counter!("dfks_bus_slow_consumers_total"),
            permission_violations: metrics::counter!("dfks_bus_permission_violations_total"),
        };
        bus.connected.set(CLIENTS.count(|clients| clients.all += 1));
        bus.in_flight.set(0.0);
        for counter in [&bus.reconnects, &bus.slow_consumers, &bus.permission_violations] {
            counter.increment(0);
        }
        bus
    }

    /// A message went to the client's queue.
    pub(crate) fn published(&self, pattern: Pattern) {
        if let Some(subject) = self.of(pattern) {
            subject.published.increment(1);
        }
    }

    /// A message was not sent.
    pub(crate) fn dropped(&self, pattern: Pattern, error: PublishError) {
        if let Some((_, counter)) = self.of(pattern).and_then(|subject| subject.dropped.iter().find(|(reason, _)| *reason == error)) {
            counter.increment(1);
        }
        tracing::debug!(subject = pattern.as_str(), reason = error.reason(), "message not sent");
    }

    /// A request went out; it is in flight until the guard is dropped.
    pub(crate) fn request_started(&self) -> InFlight<'_> {
        self.in_flight.increment(1.0);
        InFlight(&self.in_flight)
    }

    /// A request ended, one way or the other.
    pub(crate) fn request_ended(&self, pattern: Pattern, error: Option<&RequestError>, took: Duration) {
        let outcome = error.map_or(OK, RequestError::reason);
        if let Some((_, histogram)) = self.of(pattern).and_then(|subject| subject.requests.iter().find(|(word, _)| *word == outcome)) {
            histogram.record(took.as_secs_f64());
        }
        if let Some(error) = error {
            tracing::debug!(subject = pattern.as_str(), outcome, %error, "request failed");
        }
    }

    /// The client of this name, `dfks-edge`, has a connection.
    pub(crate) fn connected(&self, name: &str, is_first: bool) {
        self.set_connected(true);
        if is_first {
            tracing::info!(name, "connected to nats");
        } else {
            self.reconnects.increment(1);
            tracing::info!(name, "reconnected to nats");
        }
    }

    /// The client lost its connection.
    pub(crate) fn disconnected(&self) {
        self.set_connected(false);
        tracing::warn!("connection to nats lost, reconnecting");
    }

    /// The client is closed, after a drain.
    pub(crate) fn closed(&self) {
        self.set_connected(false);
        tracing::info!("connection to nats closed");
    }

    /// One of our subscriptions lost messages: we read slower than the server sends.
    pub(crate) fn slow_consumer(&self) {
        self.slow_consumers.increment(1);
        tracing::warn!("a nats subscription lost messages, it was read too slowly");
    }

    /// The server does not let us use a subject. `subject` is cut to what names no presentity.
    pub(crate) fn permission_violation(&self, action: &str, subject: &str) {
        self.permission_violations.increment(1);
        tracing::error!(action, subject, "nats permission missing");
    }

    fn set_connected(&self, is_connected: bool) {
        let was = std::mem::replace(&mut *self.is_connected.lock().unwrap_or_else(PoisonError::into_inner), is_connected);
        let value = CLIENTS.count(|clients| match (was, is_connected) {
            (false, true) => clients.connected += 1,
            (true, false) => clients.connected = clients.connected.saturating_sub(1),
            _ => {}
        });
        self.connected.set(value);
    }

    fn of(&self, pattern: Pattern) -> Option<&SubjectMetrics> {
        self.subjects.get(pattern as usize)
    }
}

/// A request in flight.
#[must_use]
pub(crate) struct InFlight<'a>(&'a Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl SubjectMetrics {
    fn new(pattern: Pattern) -> Self {
        let subject = pattern.as_str();
        let published = metrics::counter!("dfks_bus_published_total", "subject" => subject);
        published.increment(0);
        let dropped = PublishError::ALL.map(|error| {
            let counter = metrics::counter!("dfks_bus_dropped_total", "subject" => subject, "reason" => error.reason());
            counter.increment(0);
            (error, counter)
        });
        let outcomes: &[&[&'static str]] = if is_requested(pattern) { &[&[OK], &RequestError::REASONS] } else { &[] };
        let requests = outcomes.iter().copied().flatten().map(|outcome| {
            let histogram = metrics::histogram!("dfks_bus_request_duration_seconds", "subject" => subject, "outcome" => *outcome);
            (*outcome, histogram)
        });
        Self { published, dropped: dropped.into(), requests: requests.collect() }
    }
}

/// Whether we wait for an answer on these subjects; the others are published and forgotten.
const fn is_requested(pattern: Pattern) -> bool {
    match pattern {
        Pattern::EdgeAlive
        | Pattern::EventSubscription
        | Pattern::EventFeature
        | Pattern::EventNotify
        | Pattern::EventRaw
        | Pattern::EventRefused
        | Pattern::WorkerPing => false,
        Pattern::Responders
        | Pattern::EventHand
        | Pattern::Status
        | Pattern::Log
        | Pattern::RespondersForget
        | Pattern::Set
        | Pattern::Get
        | Pattern::SetDomain
        | Pattern::GetDomain
        | Pattern::RouteSet
        | Pattern::CommandSet
        | Pattern::CommandSetDomain
        | Pattern::ResponderGet
        | Pattern::ResponderSet
        | Pattern::ResponderAuth
        | Pattern::Notify
        | Pattern::Watchers
        | Pattern::Resync
        | Pattern::End
        | Pattern::Why
        | Pattern::Sip
        | Pattern::EdgeResync
        | Pattern::EdgeEnd
        | Pattern::Dead
        | Pattern::Timer
        | Pattern::SubscriptionBucket
        | Pattern::FeatureBucket
        | Pattern::EdgeBucket
        | Pattern::ResponderAnybody
        | Pattern::ResponderBucket
        | Pattern::JetStreamApi => true,
    }
}

fn describe() {
    metrics::describe_counter!("dfks_bus_published_total", "Messages handed to the NATS client, requests included");
    metrics::describe_counter!("dfks_bus_dropped_total", "Messages not sent, by reason");
    metrics::describe_histogram!(
        "dfks_bus_request_duration_seconds",
        Unit::Seconds,
        "From a request or store to its answer or acknowledgement, or to giving up"
    );
    metrics::describe_gauge!("dfks_bus_requests_in_flight", "Requests and stores that wait for their answer");
    metrics::describe_gauge!("dfks_bus_connected", "1 while the process is connected to NATS");
    metrics::describe_counter!("dfks_bus_reconnects_total", "Connections to NATS after the first");
    metrics::describe_counter!("dfks_bus_slow_consumers_total", "Times that a subscription lost messages, being read too slowly");
    metrics::describe_counter!("dfks_bus_permission_violations_total", "Subjects that the server refused us");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_count_as_connected_when_each_is() {
        let clients = Clients(Mutex::new(Count { all: 0, connected: 0 }));
        let values = [
            clients.count(|clients| clients.all += 2),
            clients.count(|clients| clients.connected += 1),
            clients.count(|clients| clients.connected += 1),
            clients.count(|clients| clients.connected -= 1),
            clients.count(|clients| clients.all -= 1),
        ];
        assert_eq!(values.map(|value| value > 0.5), [false, false, true, false, true]);
    }

    #[test]
    fn patterns_are_listed_in_the_order_they_are_looked_up() {
        for (position, pattern) in Pattern::ALL.into_iter().enumerate() {
            assert_eq!(pattern as usize, position, "{}", pattern.as_str());
        }
    }

    #[test]
    fn every_reason_has_its_series() {
        let errors = [
            RequestError::NoResponders,
            RequestError::Timeout(Duration::ZERO),
            RequestError::Disconnected,
            RequestError::NotSent(PublishError::QueueFull),
            RequestError::Overloaded(1),
            RequestError::Refused(crate::bus::message::ErrorBody { code: 400, description: String::new(), field: None }),
            RequestError::Stream { code: 1, description: "".into() },
        ];
        for error in errors {
            assert!(RequestError::REASONS.contains(&error.reason()), "{}", error.reason());
        }
    }
}
