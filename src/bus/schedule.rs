//! Timers of features: messages that a stream holds back until their time. No clock of ours runs; what is stored survives. I/O.
//!
//! ```text
//! dfks.timer.at.<presentity>.<Feature>  ─(at its time, by the server)─▶  dfks.timer.due.<presentity>.<Feature>  ─▶ one mi bridge
//! ```
//! One timer for each feature of a presentity: the next one takes its place. Source: ADR-51, nats-server 2.12.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_nats::HeaderValue;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_SCHEDULE, NATS_SCHEDULE_TARGET};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::bus::Bus;
use crate::bus::error::RequestError;
use crate::bus::subject::{Pattern, presentity_key};
use crate::bus::trace::{Cause, headers};
use crate::feature::Presentity;
use crate::runtime::clock;

/// Name of the stream, without its prefix.
pub(crate) const STREAM: &str = "TIMERS";
/// The oldest server that holds messages back.
const SINCE: &str = "2.12";
/// Most attempts at a compare-and-set. Each lost one is another bridge's success.
const MAX_ATTEMPTS: u32 = 8;
/// Timeout of a call that makes or changes the stream.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A feature whose time is over, or will be.
///
/// Shape: `{"presentity":"sip:alice@10.0.0.11","feature":"DoNotDisturb","version":7,"until":"2026-11-28T17:00:00.000Z","attempt":0}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timer {
    /// Whose, canonical.
    pub(crate) presentity: String,
    pub(crate) feature: String,
    /// The version that was set until then: another one, and the timer is nobody's.
    pub(crate) version: u64,
    /// When the feature was to go off: RFC 3339 UTC.
    pub(crate) until: String,
    /// How often it was tried before.
    #[serde(default)]
    pub(crate) attempt: u32,
}

impl Timer {
    /// Grows with each timer of a feature: with the next version, and the next attempt.
    const fn age(&self) -> (u64, u32) {
        (self.version, self.attempt)
    }
}

/// Why there are no timers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoTimers {
    /// The server does not hold messages back.
    #[error("nats-server {0} holds no messages back: that needs {SINCE} or newer")]
    OldServer(String),
    /// The stream cannot be asked for, or made.
    #[error("the stream of timers is away: {0}")]
    Away(#[source] RequestError),
}

/// The stream of timers.
#[derive(Debug)]
pub(crate) struct Schedule {
    bus: Bus,
    /// Whether the stream is known to be there, and to hold messages back.
    is_there: AtomicBool,
}

#[derive(Deserialize)]
struct Info {
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    allow_msg_schedules: bool,
}

impl Schedule {
    pub(crate) const fn new(bus: Bus) -> Self {
        Self { bus, is_there: AtomicBool::new(false) }
    }

    /// Makes sure that the stream is there and holds messages back. One that an older server made, and that is newer now, is changed.
    ///
    /// # Errors
    ///
    /// [`NoTimers`]
    pub(crate) async fn ready(&self) -> Result<(), NoTimers> {
        if self.is_there.load(Ordering::Relaxed) {
            return Ok(());
        }
        let stream = self.bus.subjects().stream(STREAM);
        let wanted = self.config(&stream);
        let found = match self.bus.api::<Info>(&format!("STREAM.INFO.{stream}"), self.bus.timeout()).await {
            Ok(found) if found.config.allow_msg_schedules => Ok(found),
            Ok(_) => self.bus.api_with(&format!("STREAM.UPDATE.{stream}"), &wanted, CALL_TIMEOUT).await,
            Err(RequestError::Stream { code: RequestError::STREAM_NOT_FOUND, .. }) => {
                self.bus.api_with(&format!("STREAM.CREATE.{stream}"), &wanted, CALL_TIMEOUT).await
            }
            Err(error) => Err(error),
        };
        let found: Info = found.map_err(NoTimers::Away)?;
        if !found.config.allow_msg_schedules {
            return Err(NoTimers::OldServer(self.bus.client().server_info().version));
        }
        self.is_there.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn config(&self, stream: &str) -> serde_json::Value {
        json!({
            "name": stream,
            "subjects": [self.bus.subjects().timer(">")],
            "retention": "workqueue",
            "discard": "old",
            // the next timer of a feature takes the place of the last
            "max_msgs_per_subject": 1,
            "max_consumers": -1,
            "max_msgs": -1,
            "max_bytes": -1,
            "storage": "file",
            "num_replicas": self.bus.replicas(),
            "allow_direct": true,
            "allow_msg_schedules": true,
        })
    }

    /// Has the timer come at this time; at once where that is past. One that stands there and is not older stays: a bridge that was slow
    /// does not take the place of what another has stored since.
    ///
    /// # Errors
    ///
    /// [`RequestError`] of the store.
    pub(crate) async fn put(&self, presentity: &Presentity, timer: &Timer, at: SystemTime, cause: &Cause) -> Result<(), RequestError> {
        let of = format!("{}.{}", presentity_key(presentity), timer.feature);
        let [subject, target] = ["at", "due"].map(|when| self.bus.subjects().timer(&format!("{when}.{of}")));
        let payload = Bytes::from(serde_json::to_vec(timer).map_err(crate::bus::answer::unwritable)?);
        let mut headers = headers(cause);
        headers.insert(NATS_SCHEDULE, format!("@at {}", clock::rfc3339(at)));
        headers.insert(NATS_SCHEDULE_TARGET, target);
        let mut over = 0_u64;
        for _ in 0..MAX_ATTEMPTS {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(over));
            match self.bus.store(Pattern::Timer, subject.clone(), headers.clone(), payload.clone()).await {
                Err(error) if error.is_conflict() => {}
                Err(error) => {
                    if matches!(error, RequestError::NoResponders) {
                        self.look_again();
                    }
                    return Err(error);
                }
                Ok(_seq) => return Ok(()),
            }
            over = match self.standing(&subject).await? {
                Some((_, Some(standing))) if standing.age() >= timer.age() => return Ok(()),
                Some((seq, _)) => seq,
                None => 0,
            };
        }
        Err(RequestError::Timeout(self.bus.timeout()))
    }

    /// What stands there, and its sequence; one that cannot be read is older than any.
    async fn standing(&self, subject: &str) -> Result<Option<(u64, Option<Timer>)>, RequestError> {
        let found = self.bus.last_message(&self.bus.subjects().stream(STREAM), subject).await?;
        Ok(found.map(|message| (message.sequence, serde_json::from_slice(&message.payload).ok())))
    }

    /// Somebody may have taken the stream away.
    pub(crate) fn look_again(&self) {
        self.is_there.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::kept::kept;

    #[test]
    fn timers_that_this_version_and_those_before_have_stored_are_read() {
        for kept in kept("timer") {
            let timer: Timer = kept.read();
            let presentity = Presentity::parse(&timer.presentity).unwrap();
            let of = format!("{}.{}", presentity_key(&presentity), timer.feature);
            assert_eq!(kept.message["subject"], format!("dfks.timer.at.{of}"), "{}", kept.file);
            let headers = &kept.message["headers"];
            assert_eq!(headers["Nats-Schedule"], format!("@at {}", timer.until), "{}", kept.file);
            assert_eq!(headers["Nats-Schedule-Target"], format!("dfks.timer.due.{of}"), "{}", kept.file);
        }
    }
}
