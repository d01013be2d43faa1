//! Bounded queues inside a process: how much is in them, against how much fits.

use crate::runtime::as_f64;
use metrics::{Gauge, gauge};

/// The two gauges of one queue, `<stage>_queue_depth` and `<stage>_queue_capacity`.
#[derive(Debug)]
pub struct QueueGauges {
    depth: Gauge,
    capacity: Gauge,
}

/// The stages that have bounded queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueStage {
    /// What the edge's loop reads from.
    Edge,
    /// Requests to a worker.
    Worker,
    /// Commands.
    Mi,
    /// NOTIFY jobs of an edge.
    Notify,
}

impl QueueStage {
    /// The names of depth and capacity.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Edge => ("dfks_edge_queue_depth", "dfks_edge_queue_capacity"),
            Self::Worker => ("dfks_worker_queue_depth", "dfks_worker_queue_capacity"),
            Self::Mi => ("dfks_mi_queue_depth", "dfks_mi_queue_capacity"),
            Self::Notify => ("dfks_notify_queue_depth", "dfks_notify_queue_capacity"),
        }
    }
}

impl QueueGauges {
    /// The gauges of a queue, empty; `queue` is the value of the label.
    #[must_use]
    pub fn new(stage: QueueStage, queue: &'static str, capacity: usize) -> Self {
        let (depth_name, capacity_name) = stage.names();
        metrics::describe_gauge!(depth_name, "What waits or is in hand in a bounded queue of this process");
        metrics::describe_gauge!(capacity_name, "How much fits into that queue; over it work is turned away or not read");
        let gauges = Self { depth: gauge!(depth_name, "queue" => queue), capacity: gauge!(capacity_name, "queue" => queue) };
        gauges.depth.set(0.0);
        gauges.capacity.set(as_f64(capacity as u64));
        gauges
    }

    /// So much is in it now.
    pub fn set(&self, depth: usize) {
        self.depth.set(as_f64(depth as u64));
    }

    /// So much is in one of several queues of this name now, in place of what it had before.
    pub(crate) fn moved(&self, before: &mut usize, depth: usize) {
        self.depth.increment(as_f64(depth as u64) - as_f64(*before as u64));
        *before = depth;
    }

    /// One more is in it.
    pub(crate) fn entered(&self) {
        self.depth.increment(1.0);
    }

    /// One less is in it.
    pub fn left(&self) {
        self.depth.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_there_from_the_start_with_its_capacity() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            drop(QueueGauges::new(QueueStage::Edge, "jobs", 8));
            QueueGauges::new(QueueStage::Worker, "get", 1024).set(3);
            let (several, mut one, mut other) = (QueueGauges::new(QueueStage::Edge, "changes", 16), 0, 0);
            several.moved(&mut one, 5);
            several.moved(&mut other, 4);
            several.moved(&mut one, 2);
        });
        let text = recorder.handle().render();
        for line in [
            "dfks_edge_queue_depth{queue=\"jobs\"} 0",
            "dfks_edge_queue_capacity{queue=\"jobs\"} 8",
            "dfks_worker_queue_depth{queue=\"get\"} 3",
            "dfks_edge_queue_depth{queue=\"changes\"} 6",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
