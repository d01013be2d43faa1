//! Where spans wait to be exported, and which traces are recorded at all.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{counter, describe_counter};
use tokio::sync::mpsc;

use super::span::Span;

/// Spans that may wait to be sent; over it they are dropped.
const LENGTH: usize = 8192;
/// Random bits of a trace id. Source: W3C Trace Context Level 2 §3.2.2.3.
const RANDOM_BITS: u32 = 56;
/// Why a span is dropped: too many wait.
const QUEUE_FULL: &str = "queue_full";
/// … the collector has not taken it.
pub(super) const NOT_TAKEN: &str = "not_taken";

/// Where spans are handed to; none: they go nowhere.
static QUEUE: OnceLock<mpsc::Sender<Span>> = OnceLock::new();
/// Of the traces that begin here those are recorded whose random part is below this.
static SAMPLED_BELOW: AtomicU64 = AtomicU64::new(0);

/// Opens the queue, for this share of the traces that begin here; `None`: it is open.
pub(super) fn open(sample: f64) -> Option<mpsc::Receiver<Span>> {
    let (sender, queue) = mpsc::channel(LENGTH);
    SAMPLED_BELOW.store(sampled_below(sample), Ordering::Relaxed);
    QUEUE.set(sender).ok()?;
    Some(queue)
}

/// The metrics, there from the start with 0.
pub(crate) fn describe() {
    describe_counter!("dfks_trace_spans_dropped_total", "Spans that were not exported, by reason");
    for reason in [QUEUE_FULL, NOT_TAKEN] {
        counter!("dfks_trace_spans_dropped_total", "reason" => reason).absolute(0);
    }
}

pub(super) fn dropped(count: usize, reason: &'static str) {
    counter!("dfks_trace_spans_dropped_total", "reason" => reason).increment(u64::try_from(count).unwrap_or(u64::MAX));
}

/// Whether spans go anywhere.
pub(crate) fn is_on() -> bool {
    QUEUE.get().is_some()
}

/// Whether a trace that begins here is recorded: by its id, so that every process comes to the same.
pub(crate) fn is_sampled(trace_id: u128) -> bool {
    trace_id & ((1 << RANDOM_BITS) - 1) < u128::from(SAMPLED_BELOW.load(Ordering::Relaxed))
}

/// Hands a span to the exporter, or drops and counts it. Never waits.
pub(crate) fn record(span: Span) {
    if let Some(queue) = QUEUE.get()
        && queue.try_send(span).is_err()
    {
        dropped(1, QUEUE_FULL);
    }
}

/// `trace.sample` as the bound of the random part.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 2^56")]
fn sampled_below(sample: f64) -> u64 {
    (sample.clamp(0.0, 1.0) * 2_f64.powi(RANDOM_BITS.cast_signed())) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_share_of_the_random_part() {
        assert_eq!([0.0, 0.5, 1.0].map(sampled_below), [0, 1 << 55, 1 << 56]);
    }
}
