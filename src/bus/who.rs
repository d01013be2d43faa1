//! Which NATS services listen on which subjects, and how much they have done, by their answers to `$SRV.INFO` and `$SRV.STATS` (ADR-32). I/O.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::bus::client::Bus;
use crate::bus::error::{PublishError, RequestError};
use crate::bus::token::takes;

/// Silence after which all count as having answered.
const SILENCE: Duration = Duration::from_millis(300);
/// Most instances that are listed.
const MAX_INSTANCES: usize = 4096;

/// An instance of a service, as it says of itself.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Instance {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default)]
    endpoints: Vec<Listening>,
}

#[derive(Debug, Clone, Deserialize)]
struct Listening {
    subject: String,
}

/// An instance of a service, and how often it was asked.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Tallied {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) endpoints: Vec<Tally>,
}

/// How often an endpoint was asked.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Tally {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) num_requests: u64,
    #[serde(default)]
    pub(crate) num_errors: u64,
}

impl Instance {
    /// Whether it says that it listens on this subject.
    pub(crate) fn listens_on(&self, subject: &str) -> bool {
        self.subjects().any(|filter| takes(filter, subject))
    }

    /// Where it says that it listens: wildcards and all.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &str> {
        self.endpoints.iter().map(|endpoint| &*endpoint.subject)
    }
}

/// Every instance that answers. Ends when nobody has said anything for a moment.
///
/// # Errors
///
/// [`RequestError`] when the request was not sent. No answer at all is not an error.
pub(crate) async fn instances(bus: &Bus, timeout: Duration) -> Result<Vec<Instance>, RequestError> {
    answers(bus, "$SRV.INFO", timeout).await
}

/// What every instance that answers has done so far. Ends as [`instances`] does.
///
/// # Errors
///
/// As [`instances`].
pub(crate) async fn tallies(bus: &Bus, timeout: Duration) -> Result<Vec<Tallied>, RequestError> {
    answers(bus, "$SRV.STATS", timeout).await
}

async fn answers<A: DeserializeOwned>(bus: &Bus, subject: &'static str, timeout: Duration) -> Result<Vec<A>, RequestError> {
    let client = bus.client();
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|_closed| PublishError::Disconnected)?;
    client.send(subject, Some(inbox), HeaderMap::new(), Bytes::new()).await.map_err(|_closed| PublishError::Disconnected)?;
    let mut instances = Vec::new();
    let mut patience = timeout;
    while instances.len() < MAX_INSTANCES {
        let Ok(Some(answer)) = tokio::time::timeout(patience, answers.next()).await else { break };
        if answer.status.is_some() {
            break;
        }
        if let Ok(instance) = serde_json::from_slice::<A>(&answer.payload) {
            instances.push(instance);
            patience = SILENCE.min(timeout);
        }
    }
    Ok(instances)
}
