//! Spans that leave the house: OTLP over HTTP, in its JSON encoding. Source: OpenTelemetry Protocol 1.7, W3C Trace Context.
//!
//! ```text
//! any stage ─ record ─▶ queue ─▶ exporter ─ POST /v1/traces ─▶ collector
//!                └─(full)─▶ dropped, counted
//! ```
//! One exporter a process, installed at start as the metrics recorder is. Without one nothing is recorded, and whoever asks looks at one
//! number.

mod encode;
mod exporter;
mod span;

pub(crate) use exporter::{describe, install};
pub(crate) use span::{Span, SpanKind};

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

/// Where spans are handed to; `None`: they go nowhere.
static QUEUE: OnceLock<mpsc::Sender<Span>> = OnceLock::new();
/// Of the traces that begin here those are sampled whose random part is below this; 0: none.
static SAMPLED_BELOW: AtomicU64 = AtomicU64::new(0);
/// Random bits of a trace id. Source: W3C Trace Context Level 2 §3.2.2.3.
const RANDOM_BITS: u32 = 56;

/// Whether spans go anywhere.
pub(crate) fn is_on() -> bool {
    QUEUE.get().is_some()
}

/// Whether a trace that begins here is sampled: by its id, so that every process comes to the same.
pub(crate) fn is_sampled(trace_id: u128) -> bool {
    let below = SAMPLED_BELOW.load(Ordering::Relaxed);
    below > 0 && (trace_id & ((1 << RANDOM_BITS) - 1)) < u128::from(below)
}

/// Hands a span to the exporter, or drops and counts it. Never waits.
pub(crate) fn record(span: Span) {
    if let Some(queue) = QUEUE.get()
        && queue.try_send(span).is_err()
    {
        exporter::dropped(1, exporter::QUEUE_FULL);
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
