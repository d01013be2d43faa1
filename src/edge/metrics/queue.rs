//! Metrics of the edge's bounded queues, and of what is received.

use ahash::AHashMap;
use metrics::{Counter, Gauge, counter, gauge};

use crate::runtime::as_f64;
use crate::sip::flow::Transport;
use crate::telemetry::depth::{QueueGauges, QueueStage};

/// How much each queue holds.
#[derive(Debug, Clone, Copy)]
pub struct Capacities {
    /// Bus requests without a reply.
    pub waits: usize,
    /// Messages of connections.
    pub connections: usize,
    /// Changes of the subscription bucket.
    pub changes: usize,
    /// Changes for watchers on other edges.
    pub fan_outs: usize,
    /// Jobs that the edge has not taken yet.
    pub jobs: usize,
    /// Jobs whose phones are being told.
    pub jobs_in_hand: usize,
}

impl Capacities {
    /// Of so many edges in one process.
    #[must_use]
    pub const fn times(self, edges: usize) -> Self {
        Self {
            waits: self.waits * edges,
            connections: self.connections * edges,
            changes: self.changes * edges,
            fan_outs: self.fan_outs * edges,
            jobs: self.jobs * edges,
            jobs_in_hand: self.jobs_in_hand * edges,
        }
    }
}

/// Handles of every series.
pub struct QueueMetrics {
    received: AHashMap<Transport, Counter>,
    jobs_received: Counter,
    limit: Gauge,
    /// Requests to the bus that are waited for: what the edge has in hand.
    pub waits: QueueGauges,
    /// Messages of connections.
    pub connections: QueueGauges,
    /// Changes of the subscription bucket.
    pub changes: QueueGauges,
    /// Changes that watchers on other edges are to be told.
    pub fan_outs: QueueGauges,
    /// Jobs that the edge has not taken yet.
    pub jobs: QueueGauges,
    /// Jobs whose phones are being told.
    pub jobs_in_hand: QueueGauges,
}

impl QueueMetrics {
    /// Registers every series of these transports, at 0.
    #[must_use]
    pub fn new(transports: &[Transport], capacities: &Capacities) -> Self {
        let edge = |queue, capacity| QueueGauges::new(QueueStage::Edge, queue, capacity);
        let notify = |queue, capacity| QueueGauges::new(QueueStage::Notify, queue, capacity);
        let limit = gauge!("dfks_edge_subscriptions_limit");
        limit.set(0.0);
        Self {
            received: transports
                .iter()
                .map(|transport| (*transport, counter!("dfks_edge_received_total", "transport" => transport.as_str())))
                .collect(),
            jobs_received: counter!("dfks_notify_received_total"),
            limit,
            waits: edge("bus_replies", capacities.waits),
            connections: edge("connections", capacities.connections),
            changes: edge("changes", capacities.changes),
            fan_outs: edge("fan_out", capacities.fan_outs),
            jobs: notify("jobs", capacities.jobs),
            jobs_in_hand: notify("in_hand", capacities.jobs_in_hand),
        }
    }

    /// `sip.max_subscriptions`.
    pub fn subscriptions_limit(&self, limit: usize) {
        self.limit.set(as_f64(limit as u64));
    }

    /// A SIP message came in.
    pub fn received(&self, transport: Transport) {
        if let Some(counter) = self.received.get(&transport) {
            counter.increment(1);
        }
    }

    /// A NOTIFY job came out of the work queue.
    pub fn job_received(&self) {
        self.jobs_received.increment(1);
    }
}
