//! What was refused, counted.

use metrics::Counter;

use crate::bus::message::RefusedReason;

/// One counter for each reason, there from the start.
pub(super) struct RefusalMetrics {
    refused: [Counter; RefusedReason::ALL.len()],
}

impl std::fmt::Debug for RefusalMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RefusalMetrics").finish_non_exhaustive()
    }
}

impl RefusalMetrics {
    pub(super) fn new() -> Self {
        metrics::describe_counter!(
            "dfks_events_refused_total",
            "What dfks.event.refused tells of: requests of phones and commands that were refused, by reason; each counts, also where one event stands for many"
        );
        let refused = RefusedReason::ALL.map(|reason| metrics::counter!("dfks_events_refused_total", "reason" => reason.as_str()));
        for counter in &refused {
            counter.increment(0);
        }
        Self { refused }
    }

    /// Something was refused.
    pub(super) fn refused(&self, reason: RefusedReason) {
        if let Some(counter) = self.refused.get(reason as usize) {
            counter.increment(1);
        }
    }
}
