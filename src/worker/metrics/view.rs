//! Metrics of what this worker knows without a read.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

const ENTRIES: &str = "dfks_worker_view_entries";
const SETS: &str = "dfks_worker_view_sets_total";

/// Handles, looked up once.
#[derive(Debug)]
pub(crate) struct ViewMetrics {
    entries: Gauge,
    held: Counter,
    out_of_date: Counter,
}

impl ViewMetrics {
    /// Made after the recorder is installed: a handle made before it counts nowhere.
    pub(crate) fn new() -> Self {
        describe_gauge!(ENTRIES, "Presentities whose record is known without a read");
        describe_counter!(SETS, "Sets that began from a known record, by outcome");
        let of = |outcome| super::from_zero(counter!(SETS, "outcome" => outcome));
        let metrics = Self { entries: gauge!(ENTRIES), held: of("held"), out_of_date: of("out_of_date") };
        metrics.entries(0);
        metrics
    }

    /// So many records are known.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub(crate) fn entries(&self, count: u64) {
        self.entries.set(count as f64);
    }

    /// A set began from a known record; whether it still held.
    pub(crate) fn tried(&self, has_held: bool) {
        if has_held { self.held.increment(1) } else { self.out_of_date.increment(1) }
    }
}
