//! Metrics of what is kept in NATS: every series of a stream that is watched is there from the start with 0.

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

use crate::bus::queues::state::{ConsumerState, QueueName, StreamName, StreamState};
use crate::runtime::as_f64;

/// Handles of one stream.
#[derive(Debug)]
pub(super) struct StreamMetrics {
    messages: Gauge,
    bytes: Gauge,
    limit_bytes: Gauge,
    oldest_seconds: Gauge,
}

impl StreamMetrics {
    pub(super) fn new(name: StreamName) -> Self {
        let stream = name.as_str();
        let metrics = Self {
            messages: gauge!("dfks_bus_stream_messages", "stream" => stream),
            bytes: gauge!("dfks_bus_stream_bytes", "stream" => stream),
            limit_bytes: gauge!("dfks_bus_stream_limit_bytes", "stream" => stream),
            oldest_seconds: gauge!("dfks_bus_stream_oldest_age_seconds", "stream" => stream),
        };
        metrics.is(&StreamState::default());
        metrics
    }

    pub(super) fn is(&self, state: &StreamState) {
        self.messages.set(as_f64(state.messages));
        self.bytes.set(as_f64(state.bytes));
        self.limit_bytes.set(as_f64(state.limit_bytes));
        self.oldest_seconds.set(state.oldest_age.as_secs_f64());
    }
}

/// Handles of one consumer.
#[derive(Debug)]
pub(super) struct ConsumerMetrics {
    pending: Gauge,
    ack_pending: Gauge,
    redelivered: Gauge,
    waiting: Gauge,
}

impl ConsumerMetrics {
    pub(super) fn new(name: QueueName) -> Self {
        let consumer = name.as_str();
        let metrics = Self {
            pending: gauge!("dfks_bus_consumer_pending", "consumer" => consumer),
            ack_pending: gauge!("dfks_bus_consumer_ack_pending", "consumer" => consumer),
            redelivered: gauge!("dfks_bus_consumer_redelivered", "consumer" => consumer),
            waiting: gauge!("dfks_bus_consumer_waiting", "consumer" => consumer),
        };
        metrics.is(&ConsumerState::default());
        metrics
    }

    pub(super) fn is(&self, state: &ConsumerState) {
        self.pending.set(as_f64(state.pending));
        self.ack_pending.set(as_f64(state.ack_pending));
        self.redelivered.set(as_f64(state.redelivered));
        self.waiting.set(as_f64(state.waiting));
    }
}

/// Handles of the polls themselves.
#[derive(Debug)]
pub(super) struct LookMetrics {
    ok: Counter,
    failed: Counter,
}

impl LookMetrics {
    pub(super) fn new() -> Self {
        describe();
        let looks = Self {
            ok: counter!("dfks_bus_queue_looks_total", "outcome" => "ok"),
            failed: counter!("dfks_bus_queue_looks_total", "outcome" => "failed"),
        };
        looks.ok.increment(0);
        looks.failed.increment(0);
        looks
    }

    /// A poll was answered.
    pub(super) fn seen(&self) {
        self.ok.increment(1);
    }

    /// A poll failed: the gauges keep their values.
    pub(super) fn not_seen(&self, name: &'static str, reason: &'static str) {
        self.failed.increment(1);
        tracing::debug!(name, reason, "queue not seen");
    }
}

fn describe() {
    describe_gauge!("dfks_bus_stream_messages", "Messages in a stream or bucket of JetStream; every mi role shows the same");
    describe_gauge!("dfks_bus_stream_bytes", Unit::Bytes, "Bytes of a stream or bucket");
    describe_gauge!("dfks_bus_stream_limit_bytes", Unit::Bytes, "Most bytes that a stream holds; 0: no limit");
    describe_gauge!("dfks_bus_stream_oldest_age_seconds", Unit::Seconds, "Age of the oldest message in a stream; 0: none");
    describe_gauge!("dfks_bus_consumer_pending", "Messages of a work queue that were not delivered yet; notify: those for this edge");
    describe_gauge!("dfks_bus_consumer_ack_pending", "Messages delivered and not acknowledged");
    describe_gauge!("dfks_bus_consumer_redelivered", "Messages delivered more than once and not acknowledged");
    describe_gauge!("dfks_bus_consumer_waiting", "Requests for messages that wait; 0 for long: nobody takes any");
    describe_counter!("dfks_bus_queue_looks_total", "Times that a stream or consumer was asked how it is, by outcome");
}
