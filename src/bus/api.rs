//! Calls of the JetStream API: `$JS.API.<call>`, JSON request and reply. Source: ADR-1, ADR-31.

use std::time::{Duration, SystemTime};

use async_nats::HeaderMap;
use async_nats::jetstream;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::RawMessage;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bus::answer;
use crate::bus::client::Bus;
use crate::bus::error::{PublishError, RequestError};
use crate::bus::subject::Pattern;
use crate::runtime::clock;

/// A difference of the clocks that is worth a line in the log.
const WORTH_A_LINE: Duration = Duration::from_secs(1);
/// Prefix of the API's subjects.
const PREFIX: &str = "$JS.API";

impl Bus {
    /// JetStream as the NATS project's client has it, for what is not here. Its requests have [`timeout`](Self::timeout) too. In
    /// the simulation there is none.
    #[must_use]
    pub fn jetstream(&self) -> Option<jetstream::Context> {
        let client = self.client().nats()?.clone();
        let context = ContextBuilder::new().timeout(self.timeout());
        Some(match self.domain() {
            "" => context.build(client),
            domain => context.domain(domain).build(client),
        })
    }

    /// Calls the API without a request body, e.g. `STREAM.INFO.DFKS_NOTIFY`.
    ///
    /// # Errors
    ///
    /// [`RequestError`], what the API refuses as [`RequestError::Stream`].
    pub(crate) async fn api<R: DeserializeOwned>(&self, call: &str, timeout: Duration) -> Result<R, RequestError> {
        self.api_raw(call, Bytes::new(), timeout).await
    }

    /// Calls the API with a request body.
    ///
    /// # Errors
    ///
    /// [`RequestError`], what the API refuses as [`RequestError::Stream`].
    pub(crate) async fn api_with<B: Serialize, R: DeserializeOwned>(
        &self,
        call: &str,
        body: &B,
        timeout: Duration,
    ) -> Result<R, RequestError> {
        let body = serde_json::to_vec(body).map_err(answer::unwritable)?;
        self.api_raw(call, body.into(), timeout).await
    }

    /// Sequence of the last message of a stream.
    ///
    /// # Errors
    ///
    /// [`RequestError`] of the call.
    pub(crate) async fn last_sequence(&self, stream: &str, timeout: Duration) -> Result<u64, RequestError> {
        #[derive(Deserialize)]
        struct Info {
            state: State,
        }
        #[derive(Deserialize)]
        struct State {
            last_seq: u64,
        }
        let info: Info = self.api(&format!("STREAM.INFO.{stream}"), timeout).await?;
        Ok(info.state.last_seq)
    }

    /// The last message of a subject, as the leader of its stream has it; `None`: there is none.
    ///
    /// # Errors
    ///
    /// [`RequestError`] of the call.
    pub(crate) async fn last_message(&self, stream: &str, subject: &str) -> Result<Option<StreamMessage>, RequestError> {
        #[derive(Deserialize)]
        struct Stored {
            message: RawMessage,
        }
        let body = serde_json::json!({ "last_by_subj": subject });
        match self.api_with::<_, Stored>(&format!("STREAM.MSG.GET.{stream}"), &body, self.timeout()).await {
            Ok(stored) => StreamMessage::try_from(stored.message).map(Some).map_err(answer::unreadable_message),
            Err(RequestError::Stream { code: RequestError::NO_MESSAGE, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The streams that take in a subject, 1,024 at most.
    ///
    /// # Errors
    ///
    /// [`RequestError`] of the call.
    pub(crate) async fn streams_on(&self, subject: &str) -> Result<Vec<String>, RequestError> {
        #[derive(Deserialize)]
        struct Names {
            // absent or null where there is none
            streams: Option<Vec<String>>,
        }
        let body = serde_json::json!({ "subject": subject });
        let found: Names = self.api_with("STREAM.NAMES", &body, self.timeout()).await?;
        Ok(found.streams.unwrap_or_default())
    }

    /// Calls the API without waiting for the reply.
    pub(crate) fn api_forget(&self, call: &str) {
        let _counted = self.try_publish(Pattern::JetStreamApi, format!("{PREFIX}.{call}"), None, HeaderMap::new(), Bytes::new());
    }

    /// Calls the API for what it sends to `inbox`.
    pub(crate) fn api_ask(&self, call: &str, inbox: String, body: Bytes) -> Result<(), PublishError> {
        self.try_publish(Pattern::JetStreamApi, format!("{PREFIX}.{call}"), Some(inbox), HeaderMap::new(), body)
    }

    async fn api_raw<R: DeserializeOwned>(&self, call: &str, body: Bytes, timeout: Duration) -> Result<R, RequestError> {
        let subject = format!("{PREFIX}.{call}");
        let reply = self.request_raw(Pattern::JetStreamApi, subject, HeaderMap::new(), body, timeout).await?;
        let answer = answer::read_api(&reply.payload);
        if matches!(answer, Err(RequestError::Stream { code: RequestError::STREAM_NOT_FOUND, .. })) {
            self.miss_stream();
        }
        answer
    }
}

impl Bus {
    /// The time of day at the server, UTC; ours as long as the server's is not known.
    #[must_use]
    pub fn utc_now(&self) -> SystemTime {
        self.server_clock().at(clock::since_boot(), clock::utc_now)
    }

    /// Asks the server what time it is. A failure leaves what is known.
    pub(crate) async fn compare_clocks(&self) {
        #[derive(Deserialize)]
        struct Answer {
            ts: String,
        }
        let call = format!("STREAM.INFO.{}", self.subjects().stream("EVENTS"));
        let asked_at = clock::since_boot();
        let Ok(answer) = self.api::<Answer>(&call, self.timeout()).await else { return };
        let answered_at = clock::since_boot();
        let Some(theirs) = clock::parse_rfc3339(&answer.ts) else { return };
        if !self.server_clock().compare(theirs, asked_at, answered_at) {
            return;
        }
        let (server, ours) = (self.utc_now(), clock::utc_now());
        let (is_ahead, differs) = match server.duration_since(ours) {
            Ok(ahead) => (true, ahead),
            Err(behind) => (false, behind.duration()),
        };
        if differs >= WORTH_A_LINE {
            let ms = i64::try_from(differs.as_millis()).unwrap_or(i64::MAX);
            let ahead_ms = if is_ahead { ms } else { -ms };
            tracing::warn!(ahead_ms, "the clock of nats and ours differ: deadlines follow that of nats");
        }
    }
}
