//! The built-in store: the bucket `dfks-features`, one key a presentity. I/O.
//!
//! A read is one direct get, a change one direct get and one compare-and-set. Where the bucket has replicas, a read is of its
//! leader, and confirmed by a write when [`Quorum`] cannot say that this leader is the only one. Not through the client's KV type, which takes two
//! round trips for each.

use std::time::{Duration, SystemTime};

use async_nats::HeaderMap;
use bytes::Bytes;

use crate::bus::feature_record::FeatureRecord;
use crate::bus::kv::{self, Entry, Written};
use crate::bus::span::{SpanKind, name};
use crate::bus::subject::Pattern;
use crate::bus::trace::Cause;
use crate::bus::{Bus, RequestError};
use crate::feature::Presentity;
use crate::runtime::clock;
use crate::worker::error::StoreError;
use crate::worker::quorum::Quorum;
use crate::worker::view::{Kept, View};

/// Most attempts at one compare-and-set. Each lost attempt is another worker's success.
pub(crate) const MAX_ATTEMPTS: u32 = 64;

/// The bucket of feature states.
#[derive(Debug)]
pub(crate) struct Store {
    bus: Bus,
    /// Of the bucket.
    stream: String,
    quorum: Quorum,
    /// Key that confirms reads.
    fence: String,
    view: View,
}

/// A record and the revision that a write must name; 0: no such key.
#[derive(Debug, Clone)]
pub(crate) struct Versioned {
    pub(crate) record: FeatureRecord,
    pub(crate) revision: u64,
    /// It is what this worker knew of it, and may have changed since: nothing but a write over its revision makes it true.
    pub(crate) is_known_only: bool,
}

impl Store {
    /// The bucket that the roles made at start.
    pub(crate) fn new(bus: Bus) -> Self {
        let (stream, fence) = (kv::stream(&bus.subjects().feature_bucket()), bus.subjects().feature_fence());
        Self { bus, stream, quorum: Quorum::default(), fence, view: View::new() }
    }

    /// The record as this worker knew it last, to begin a set from.
    pub(crate) fn known(&self, presentity: &Presentity) -> Option<Versioned> {
        let Kept { revision, value } = self.view.known(presentity.as_str())?;
        let record = serde_json::from_slice(&value).ok()?;
        Some(Versioned { record, revision, is_known_only: true })
    }

    /// A set began from what was [`known`](Self::known); whether that was still so.
    pub(crate) fn tried_known(&self, has_held: bool) {
        self.view.tried(has_held);
    }

    /// The record of a presentity. Where the bucket has replicas, from its leader: another may be a moment behind, and what
    /// a phone was told already would be taken back. `is_strict`: nothing that is not in the bucket any more, whoever leads it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Away`], [`StoreError::Unreadable`] and [`StoreError::Conflict`].
    pub(crate) async fn read(&self, presentity: &Presentity, is_strict: bool) -> Result<Versioned, StoreError> {
        if self.bus.replicas() > 1 {
            return if is_strict || !self.quorum.is_certain(clock::now()) {
                Box::pin(self.read_confirmed(presentity)).await
            } else {
                Box::pin(self.read_latest(presentity)).await
            };
        }
        match self.read_direct(presentity).await {
            Ok(entry) => self.versioned(presentity, entry),
            // An operator may have switched direct gets off for the bucket.
            Err(StoreError::Away(RequestError::NoResponders)) => Box::pin(self.read_latest(presentity)).await,
            Err(error) => Err(error),
        }
    }

    async fn read_direct(&self, presentity: &Presentity) -> Result<Entry, StoreError> {
        let subject = self.bus.subjects().feature_direct_get(presentity);
        let timeout = self.bus.timeout();
        let reply = self.bus.request_raw(Pattern::FeatureBucket, subject, HeaderMap::new(), Bytes::new(), timeout).await;
        kv::read(reply.map_err(StoreError::Away)?, self.bus.utc_now()).map_err(StoreError::Read)
    }

    /// Whether what is [`known`](Self::known) is what is stored.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(crate) async fn is_known_still_so(&self, presentity: &Presentity, revision: u64) -> Result<bool, StoreError> {
        if self.bus.replicas() > 1 {
            return self.is_latest(presentity, revision).await;
        }
        match self.read_direct(presentity).await {
            Ok(Entry::Value(stored, _) | Entry::Absent(stored)) => Ok(stored == revision),
            Err(StoreError::Away(RequestError::NoResponders)) => Ok(self.read_latest(presentity).await?.revision == revision),
            Err(error) => Err(error),
        }
    }

    /// The record of a presentity as the leader of the bucket has it: for a change that lost a compare-and-set.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(crate) async fn read_latest(&self, presentity: &Presentity) -> Result<Versioned, StoreError> {
        if !self.bus.is_connected() {
            return Err(StoreError::Away(RequestError::Disconnected));
        }
        let subject = self.bus.subjects().feature_key(presentity);
        match self.bus.last_message(&self.stream, &subject).await.map_err(StoreError::Away)? {
            Some(message) => {
                let is_marker = kv::is_marker(&message.headers);
                let entry = kv::entry(None, Some(message.sequence), is_marker, message.payload).map_err(StoreError::Read)?;
                self.versioned(presentity, entry)
            }
            None => self.versioned(presentity, Entry::Absent(0)),
        }
    }

    async fn read_confirmed(&self, presentity: &Presentity) -> Result<Versioned, StoreError> {
        let started_at = clock::now();
        for attempt in 0..MAX_ATTEMPTS {
            let stored = self.read_latest(presentity).await?;
            if self.is_latest(presentity, stored.revision).await? {
                return Ok(stored);
            }
            if clock::now().saturating_duration_since(started_at) >= self.timeout() {
                return Err(StoreError::Conflict(attempt + 1));
            }
            self.pause(attempt).await;
        }
        Err(StoreError::Conflict(MAX_ATTEMPTS))
    }

    /// Whether the record has this revision, by a quorum of the bucket; without replicas there is nobody else to ask.
    /// Also `false` where somebody else is writing it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Away`]
    pub(crate) async fn is_latest(&self, presentity: &Presentity, revision: u64) -> Result<bool, StoreError> {
        if self.bus.replicas() <= 1 {
            return Ok(true);
        }
        let headers = kv::fence_headers(&self.bus.subjects().feature_key(presentity), revision, &Cause::new());
        let sent_at = clock::now();
        let stored = self.bus.store(Pattern::FeatureBucket, self.fence.clone(), headers, Bytes::new()).await;
        let is_latest = Written::of(stored).map_err(StoreError::Away)? != Written::Conflict;
        if is_latest {
            self.quorum.confirmed(sent_at);
        }
        Ok(is_latest)
    }

    /// Writes a record over `revision`. `false`: the key has another revision by now.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unconfirmed`]: the record may be written all the same; [`StoreError::Away`]: it is not.
    pub(crate) async fn write(
        &self,
        presentity: &Presentity,
        record: &FeatureRecord,
        revision: u64,
        cause: &Cause,
    ) -> Result<bool, StoreError> {
        let payload = Bytes::from(serde_json::to_vec(record).map_err(StoreError::Unwritable)?);
        let subject = self.bus.subjects().feature_key(presentity);
        let sent_at = clock::now();
        let span = cause.open(name::STORE, SpanKind::Producer);
        let stored = self.bus.store(Pattern::FeatureBucket, subject, kv::put_headers(revision, None, span.cause()), payload.clone()).await;
        span.end(stored.as_ref().err());
        let written = Written::of(stored);
        match &written {
            Ok(Written::Stored(revision)) => self.view.keep(presentity.as_str(), *revision, payload),
            _ => self.view.forget(presentity.as_str()),
        }
        match written {
            Ok(Written::Conflict) => Ok(false),
            Ok(Written::Stored(_)) => {
                self.quorum.confirmed(sent_at);
                Ok(true)
            }
            Err(lost @ (RequestError::Timeout(_) | RequestError::Disconnected)) => Err(StoreError::Unconfirmed(lost)),
            Err(error) => Err(StoreError::Away(error)),
        }
    }

    /// The time of day at the store, UTC.
    pub(crate) fn utc_now(&self) -> SystemTime {
        self.bus.utc_now()
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

    /// Reads what the bucket holds; an empty value counts as none.
    fn versioned(&self, presentity: &Presentity, entry: Entry) -> Result<Versioned, StoreError> {
        match entry {
            Entry::Value(revision, value) if !value.is_empty() => {
                let record = serde_json::from_slice(&value).map_err(StoreError::Unreadable)?;
                self.view.keep(presentity.as_str(), revision, value);
                Ok(Versioned { record, revision, is_known_only: false })
            }
            Entry::Value(revision, _) | Entry::Absent(revision) => {
                Ok(Versioned { record: FeatureRecord::new(presentity), revision, is_known_only: false })
            }
        }
    }
}
