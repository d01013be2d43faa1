//! The bucket of responders that were heard: every worker follows it, and writes down whom it hears. I/O.
//!
//! ```text
//! answer ─▶ hear ─▶ first, or an hour ago ─▶ bucket ─▶ every worker: owners
//!                                  bucket gone ─▶ made anew, written again from what the workers know
//! ```

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::bus::kv::{self, Written};
use crate::bus::subject::Pattern as SubjectPattern;
use crate::bus::trace::Cause;
use crate::bus::watchers::{Feed, FeedError, From};
use crate::bus::{Bus, RequestError, setup};
use crate::runtime::{Backoff, clock};
use crate::worker::responder::owners::Owners;
use crate::worker::responder::pattern::Pattern;

/// Waits between attempts to read the bucket.
const RETRY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
/// To begin to read it.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is looked for owners that were heard too long ago.
const SWEEP_EVERY: Duration = Duration::from_hours(1);

/// Who was heard, on all workers.
#[derive(Debug)]
pub(crate) struct Memory {
    bus: Bus,
    owners: RwLock<Owners>,
    is_loaded: watch::Sender<bool>,
}

/// What the bucket holds under a key.
///
/// Shape: `{"last_heard":"2026-11-27T18:00:00.000Z"}`
#[derive(Debug, Serialize, Deserialize)]
struct Heard {
    last_heard: String,
}

/// What became of hearing a responder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Nothing had to be written.
    Known,
    /// It was written: for the first time, or anew.
    Written { is_first: bool },
    /// It could not be written. This worker knows it.
    NotWritten(String),
}

/// The stream below the bucket, as its API describes it.
#[derive(Debug, Deserialize)]
struct Stream {
    created: String,
    state: StreamState,
}

#[derive(Debug, Deserialize)]
struct StreamState {
    last_seq: u64,
}

impl Memory {
    /// Who was heard owns its subject for `days`.
    pub(crate) fn new(bus: Bus, days: u32) -> Self {
        let memory = Duration::from_hours(24) * days;
        Self { bus, owners: RwLock::new(Owners::new(memory)), is_loaded: watch::Sender::new(false) }
    }

    /// Waits until the bucket was read once.
    pub(crate) async fn loaded(&self) {
        let mut is_loaded = self.is_loaded.subscribe();
        // the sender lives in `self`: it cannot be gone
        let _loaded = is_loaded.wait_for(|is_loaded| *is_loaded).await;
    }

    /// When the owner of a subject was heard last; `None`: it has none.
    pub(crate) fn last_heard(&self, subject: &str) -> Option<SystemTime> {
        self.read().last_heard(self.key(subject)?, self.bus.utc_now())
    }

    /// The subject of every owner, and when it was heard last.
    pub(crate) fn all(&self) -> Vec<(String, SystemTime)> {
        let subjects = self.bus.subjects();
        self.read().all(self.bus.utc_now()).map(|(key, heard)| (subjects.responder_of_key(key), heard)).collect()
    }

    /// A responder answers. The first time, and where it is back after it was gone, it is written down before this returns;
    /// then now and again.
    pub(crate) async fn hear(&self, subject: &str, is_back: bool, cause: &Cause) -> Noted {
        let Some(key) = self.key(subject) else { return Noted::Known };
        let now = self.bus.utc_now();
        let Some(due) = self.write().hear(key, is_back, now) else { return Noted::Known };
        let mut stored = self.store(key, now, due.revision, cause).await;
        if matches!(stored, Err(RequestError::NoResponders)) && setup::ensure_responders(&self.bus).await.is_ok() {
            stored = self.store(key, now, 0, cause).await;
        }
        match stored {
            Ok(Written::Stored(revision)) => {
                self.write().written(key, now, revision);
                Noted::Written { is_first: due.is_first }
            }
            // another worker has heard it just now
            Ok(Written::Conflict) => Noted::Known,
            Err(error) => Noted::NotWritten(error.to_string()),
        }
    }

    /// Forgets those that are meant, and returns their subjects.
    ///
    /// # Errors
    ///
    /// [`RequestError`] of the first that could not be taken out of the bucket.
    pub(crate) async fn forget(&self, pattern: &Pattern, cause: &Cause) -> Result<Vec<String>, RequestError> {
        let now = self.bus.utc_now();
        let mut keys: Vec<String> = self.read().all(now).map(|(key, _)| key.to_owned()).filter(|key| pattern.takes(key)).collect();
        keys.sort();
        for key in &keys {
            self.remove(key, kv::forget_headers(cause)).await?;
        }
        Ok(keys.iter().map(|key| self.bus.subjects().responder_of_key(key)).collect())
    }

    /// Follows the bucket until it is dropped.
    pub(crate) async fn follow(&self) {
        let (mut retry, mut created) = (RETRY, None);
        let mut said = String::new();
        loop {
            self.bus.connected().await;
            let error = self.follow_once(&mut created, &mut retry).await;
            if matches!(error, FeedError::Open(RequestError::Stream { code: RequestError::STREAM_NOT_FOUND, .. })) {
                tracing::warn!("the bucket of responders is gone: made anew from what is known");
                let _tried_again = setup::ensure_responders(&self.bus).await;
            }
            let reason = error.to_string();
            if said != reason {
                tracing::info!(%error, "bucket of responders is read anew");
                said = reason;
            }
            tokio::time::sleep(retry.next(rand::random())).await;
        }
    }

    async fn follow_once(&self, created: &mut Option<String>, retry: &mut Backoff) -> FeedError {
        let bucket = self.bus.subjects().responder_bucket();
        let info = self.bus.api::<Stream>(&format!("STREAM.INFO.{}", kv::stream(&bucket)), self.bus.timeout()).await;
        let stream = match info {
            Ok(stream) => stream,
            Err(error) => return FeedError::Open(error),
        };
        let is_other = created.as_ref().is_some_and(|created| *created != stream.created);
        let mut feed = match Feed::open(&self.bus, &bucket, From::Live, OPEN_TIMEOUT).await {
            Ok(feed) => feed,
            Err(error) => return error,
        };
        {
            let mut owners = self.write();
            if is_other {
                owners.lost();
            }
            owners.begin();
        }
        *created = Some(stream.created);
        let mut is_loaded = false;
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        loop {
            if !is_loaded && feed.position().stream_seq >= stream.state.last_seq {
                is_loaded = true;
                self.read_all().await;
                retry.reset();
            }
            tokio::select! {
                biased;
                next = feed.next() => match next {
                    Ok(Some(record)) => {
                        let heard = record.value.as_ref().and_then(heard);
                        self.write().read(&record.key, record.revision, heard);
                    }
                    Ok(None) => {}
                    Err(error) => return error,
                },
                _ = sweep.tick(), if is_loaded => self.drop_stale().await,
            }
        }
    }

    /// All was read. Who is known and not in the bucket is written into it.
    async fn read_all(&self) {
        let now = self.bus.utc_now();
        let unwritten = {
            let mut owners = self.write();
            owners.read_all();
            owners.unwritten(now)
        };
        for (key, heard) in unwritten {
            match self.store(&key, heard, 0, &Cause::new()).await {
                Ok(Written::Stored(revision)) => self.write().written(&key, heard, revision),
                // with the next answer
                Ok(Written::Conflict) | Err(_) => {}
            }
        }
        self.is_loaded.send_replace(true);
    }

    async fn drop_stale(&self) {
        let stale = self.read().stale(self.bus.utc_now());
        for key in stale {
            tracing::info!(subject = self.bus.subjects().responder_of_key(&key), "responder was not heard for too long: forgotten");
            let _next_time = self.remove(&key, kv::forget_headers(&Cause::new())).await;
        }
    }

    async fn store(&self, key: &str, heard: SystemTime, revision: u64, cause: &Cause) -> Result<Written, RequestError> {
        let value = serde_json::to_vec(&Heard { last_heard: clock::rfc3339(heard) }).unwrap_or_default();
        let subject = kv::subject(&self.bus.subjects().responder_bucket(), key);
        let headers = kv::put_headers(revision, None, cause);
        Written::of(self.bus.store(SubjectPattern::ResponderBucket, subject, headers, value.into()).await)
    }

    async fn remove(&self, key: &str, headers: HeaderMap) -> Result<(), RequestError> {
        let subject = kv::subject(&self.bus.subjects().responder_bucket(), key);
        let revision = self.bus.store(SubjectPattern::ResponderBucket, subject, headers, Bytes::new()).await?;
        self.write().read(key, revision, None);
        Ok(())
    }

    fn key<'s>(&self, subject: &'s str) -> Option<&'s str> {
        self.bus.subjects().responder_key(subject)
    }

    fn read(&self) -> RwLockReadGuard<'_, Owners> {
        self.owners.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Owners> {
        self.owners.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a responder was heard; a value that somebody else wrote counts as none.
fn heard(value: &Bytes) -> Option<SystemTime> {
    let heard: Heard = serde_json::from_slice(value).ok()?;
    clock::parse_rfc3339(&heard.last_heard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::kept::kept;

    #[test]
    fn what_this_version_and_those_before_have_heard_is_read() {
        for kept in kept("responder") {
            let Heard { last_heard } = kept.read();
            let value = Bytes::from(kept.message["payload"].to_string());
            assert_eq!(heard(&value).map(clock::rfc3339), Some(last_heard), "{}", kept.file);
        }
    }
}
