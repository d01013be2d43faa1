//! What this worker last read or wrote of presentities: a set begins from that, without a read.
//!
//! Whether it still holds, the write decides: a record that another worker has changed since is refused there, and the set
//! begins anew from what is stored. That costs a round trip more than a read, so while many are out of date none is used, but for
//! one in [`PROBE`] to see whether that has changed. A get never answers from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use moka::sync::Cache;

use crate::worker::metrics::view::ViewMetrics;

/// Most bytes of keys and records.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// What an entry takes beside its key and record.
const ENTRY_BYTES: usize = 256;
/// The most that is gained by records that held. With [`LOST`] a step, records are used while at least four of five hold.
const TRUST: u32 = 8;
/// What one that was out of date costs of it.
const LOST: u32 = 4;
/// While none is trusted, every so many-th is tried.
const PROBE: u32 = 32;

/// Records by presentity, each with its revision.
#[derive(Debug)]
pub(crate) struct View {
    records: Cache<Arc<str>, Kept, ahash::RandomState>,
    trust: AtomicU32,
    passed_over: AtomicU32,
    metrics: ViewMetrics,
}

/// A record as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) revision: u64,
    pub(crate) value: Bytes,
}

impl View {
    /// Knows nothing yet.
    pub(crate) fn new() -> Self {
        let records = Cache::builder()
            .max_capacity(MAX_BYTES)
            .weigher(|key: &Arc<str>, kept: &Kept| u32::try_from(key.len() + kept.value.len() + ENTRY_BYTES).unwrap_or(u32::MAX))
            .build_with_hasher(ahash::RandomState::new());
        Self { records, trust: AtomicU32::new(TRUST), passed_over: AtomicU32::new(0), metrics: ViewMetrics::new() }
    }

    /// What is known of a presentity, where such knowledge has held lately.
    pub(crate) fn known(&self, presentity: &str) -> Option<Kept> {
        let kept = self.records.get(presentity)?;
        let is_trusted = self.trust.load(Ordering::Relaxed) >= LOST;
        (is_trusted || self.passed_over.fetch_add(1, Ordering::Relaxed) % PROBE == PROBE - 1).then_some(kept)
    }

    /// The record has this revision now.
    pub(crate) fn keep(&self, presentity: &str, revision: u64, value: Bytes) {
        self.records.insert(presentity.into(), Kept { revision, value });
        self.metrics.entries(self.records.entry_count());
    }

    /// The record may have another revision now.
    pub(crate) fn forget(&self, presentity: &str) {
        self.records.invalidate(presentity);
    }

    /// A set began from what was known; whether that still held.
    pub(crate) fn tried(&self, has_held: bool) {
        self.metrics.tried(has_held);
        let trust = self.trust.load(Ordering::Relaxed);
        // two at the same time may count as one: it is a tendency
        self.trust.store(if has_held { (trust + 1).min(TRUST) } else { trust.saturating_sub(LOST) }, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "tests/view.rs"]
mod tests;
