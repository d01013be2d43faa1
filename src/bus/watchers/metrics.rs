//! The watcher index's metrics: every series is there from the start with 0, and nothing else touches them.

use std::error::Error;

use metrics::{Counter, Gauge};

use crate::runtime::as_f64;

/// Handles of the metrics of the watcher index, looked up once.
#[derive(Debug)]
pub(super) struct IndexMetrics {
    entries: Gauge,
    loads: Counter,
    interruptions: Counter,
    unreadable: Counter,
}

impl IndexMetrics {
    pub(super) fn new() -> Self {
        metrics::describe_gauge!("dfks_bus_index_subscriptions", "Live subscriptions of all edges, as the watcher index knows them");
        metrics::describe_counter!("dfks_bus_index_loads_total", "Times that the watcher index read all subscriptions");
        metrics::describe_counter!("dfks_bus_index_interruptions_total", "Times that the watcher index lost what it reads from");
        metrics::describe_counter!("dfks_bus_index_unreadable_total", "Subscription records that name no presentity and edge");
        let index = Self {
            entries: metrics::gauge!("dfks_bus_index_subscriptions"),
            loads: metrics::counter!("dfks_bus_index_loads_total"),
            interruptions: metrics::counter!("dfks_bus_index_interruptions_total"),
            unreadable: metrics::counter!("dfks_bus_index_unreadable_total"),
        };
        index.entries.set(0.0);
        for counter in [&index.loads, &index.interruptions, &index.unreadable] {
            counter.increment(0);
        }
        index
    }

    /// Number of subscriptions in the index.
    pub(super) fn entries(&self, subscriptions: usize) {
        self.entries.set(as_f64(subscriptions as u64));
    }

    /// All subscriptions have been read.
    ///
    /// `outlived`: those that have ended, and that the server has brought back after a crash. They are none.
    pub(super) fn loaded(&self, subscriptions: usize, outlived: usize) {
        self.loads.increment(1);
        self.entries(subscriptions);
        if outlived > 0 {
            tracing::info!(outlived, "NATS brought back subscriptions that have ended, they are passed over and removed");
        }
        tracing::info!(subscriptions, "watcher index loaded");
    }

    /// The feed ended; the index reads everything again.
    pub(super) fn feed_ended(&self, error: &dyn Error) {
        self.interruptions.increment(1);
        let cause = error.source().map(ToString::to_string);
        tracing::warn!(%error, cause, "watcher index interrupted, reading all subscriptions again");
    }

    /// A record in the bucket is not one of ours.
    pub(super) fn unreadable(&self, error: &serde_json::Error) {
        self.unreadable.increment(1);
        tracing::error!(%error, "unreadable subscription record");
    }
}
