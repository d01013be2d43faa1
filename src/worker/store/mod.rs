//! The built-in store: the bucket `dfks-features`, one key a presentity. I/O.
//!
//! A read is one direct get, a change one direct get and one compare-and-set. Written to the wire here rather than through
//! the client's KV type, which asks twice for what these need once.

pub(crate) mod record;

use std::time::Duration;

use async_nats::header::{HeaderValue, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE};
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use async_nats::{HeaderMap, StatusCode};
use bytes::Bytes;

use crate::bus::subject::Pattern;
use crate::bus::trace::Cause;
use crate::bus::{Bus, RequestError, headers};
use crate::feature::Presentity;
use crate::worker::error::{StoreError, WorkerError};
use crate::worker::store::record::Record;

/// Operation of a message in a bucket; there is none in one that puts a value. Source: ADR-8.
const KV_OPERATION: &str = "KV-Operation";
/// Why the server put a marker where a value has expired. Source: ADR-48.
const MARKER_REASON: &str = "Nats-Marker-Reason";
/// Sequence of a message that a direct get brings. Source: ADR-31.
const SEQUENCE: &str = "Nats-Sequence";

/// Most attempts at one compare-and-set. Each that is lost is another worker's that was won.
pub(crate) const MAX_ATTEMPTS: u32 = 64;

/// The bucket of feature states.
#[derive(Debug)]
pub(crate) struct Store {
    bus: Bus,
    stream: Stream<()>,
}

/// A record, and the revision that a change of it must name. 0: there is nothing under that key.
#[derive(Debug, Clone)]
pub(crate) struct Versioned {
    pub(crate) record: Record,
    pub(crate) revision: u64,
}

impl Store {
    /// Opens the bucket that the roles made at start.
    ///
    /// # Errors
    ///
    /// [`WorkerError::Bucket`]: its name cannot be one of a stream.
    pub(crate) async fn open(bus: Bus) -> Result<Self, WorkerError> {
        let name = format!("KV_{}", bus.subjects().feature_bucket());
        let stream = bus.jetstream().get_stream_no_info(name).await.map_err(|error| WorkerError::Bucket(error.into()))?;
        Ok(Self { bus, stream })
    }

    /// The record of a presentity, from any replica of the bucket: on a cluster it may be a moment old.
    ///
    /// # Errors
    ///
    /// [`StoreError::Away`] and [`StoreError::Unreadable`].
    pub(crate) async fn read(&self, presentity: &Presentity) -> Result<Versioned, StoreError> {
        let subject = self.bus.subjects().feature_direct_get(presentity);
        let timeout = self.bus.timeout();
        match self.bus.request_raw(Pattern::FeatureBucket, subject, HeaderMap::new(), Bytes::new(), timeout).await {
            Ok(reply) if reply.status == Some(StatusCode::NOT_FOUND) => Ok(Versioned { record: Record::new(presentity), revision: 0 }),
            Ok(reply) => {
                let headers = reply.headers.unwrap_or_default();
                let revision = headers.get(SEQUENCE).and_then(|text| text.as_str().parse().ok());
                let revision = revision.ok_or_else(|| StoreError::Away("a direct get without Nats-Sequence".to_owned()))?;
                versioned(presentity, &headers, &reply.payload, revision)
            }
            // An operator may have switched direct gets off for the bucket.
            Err(RequestError::NoResponders) => self.read_latest(presentity).await,
            Err(error) => Err(StoreError::Away(error.to_string())),
        }
    }

    /// The record of a presentity as the leader of the bucket has it: for a change that lost a compare-and-set.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(crate) async fn read_latest(&self, presentity: &Presentity) -> Result<Versioned, StoreError> {
        if !self.bus.is_connected() {
            return Err(StoreError::Away(RequestError::Disconnected.to_string()));
        }
        let subject = self.bus.subjects().feature_key(presentity);
        match self.within_timeout(self.stream.get_last_raw_message_by_subject(&subject)).await? {
            Ok(message) => versioned(presentity, &message.headers, &message.payload, message.sequence),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                Ok(Versioned { record: Record::new(presentity), revision: 0 })
            }
            Err(error) => Err(StoreError::Away(error.to_string())),
        }
    }

    /// Writes a record, if nobody else did since `revision`. `false`: somebody did.
    ///
    /// # Errors
    ///
    /// [`StoreError::Away`]; the record may have been written all the same.
    pub(crate) async fn write(&self, presentity: &Presentity, record: &Record, revision: u64, cause: &Cause) -> Result<bool, StoreError> {
        let payload = serde_json::to_vec(record).map_err(StoreError::Unwritable)?;
        let mut headers = headers(cause);
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(revision));
        let subject = self.bus.subjects().feature_key(presentity);
        match self.bus.store(Pattern::FeatureBucket, subject, headers, payload.into()).await {
            Ok(_revision) => Ok(true),
            Err(RequestError::Stream { code: RequestError::WRONG_LAST_SEQUENCE, .. }) => Ok(false),
            Err(error) => Err(StoreError::Away(error.to_string())),
        }
    }

    /// How long a compare-and-set is tried again: `nats.timeout_ms`.
    pub(crate) fn timeout(&self) -> Duration {
        self.bus.timeout()
    }

    /// Waits a moment before the next attempt: up to 1 ms after the first that was lost, up to 8 ms later on.
    pub(crate) async fn pause(&self, attempt: u32) {
        let longest_us = 1000_u64 << attempt.min(3);
        tokio::time::sleep(Duration::from_micros(rand::random_range(0..longest_us))).await;
    }

    async fn within_timeout<T>(&self, work: impl Future<Output = T>) -> Result<T, StoreError> {
        let timeout = self.bus.timeout();
        tokio::time::timeout(timeout, work).await.map_err(|_| StoreError::Away(RequestError::Timeout(timeout).to_string()))
    }
}

/// Reads a message of the bucket; the marker of a deletion or expiry counts as nothing there.
fn versioned(presentity: &Presentity, headers: &HeaderMap, payload: &[u8], revision: u64) -> Result<Versioned, StoreError> {
    let is_marker = headers.get(KV_OPERATION).is_some_and(|operation| matches!(operation.as_str(), "DEL" | "PURGE"))
        || headers.get(MARKER_REASON).is_some()
        || payload.is_empty();
    let record = if is_marker { Record::new(presentity) } else { serde_json::from_slice(payload).map_err(StoreError::Unreadable)? };
    Ok(Versioned { record, revision })
}
