//! One message out of a work queue, and what becomes of it.

use std::time::{Duration, SystemTime};

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::{HeaderMap, HeaderValue, Message};
use bytes::Bytes;

use crate::bus::client::Bus;
use crate::bus::error::{PublishError, RequestError};
use crate::bus::subject::Pattern;
use crate::bus::trace::{Cause, TRACEPARENT, TRACESTATE};

/// Redelivery delay of a message that could not be stored as a dead letter.
pub(crate) const BURY_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Header of a dead letter: why it was given up, a word.
pub const DEAD_REASON: &str = "Dfks-Dead-Reason";
/// Header of a dead letter: what was wrong, for people.
pub const DEAD_DETAIL: &str = "Dfks-Dead-Detail";
/// Header of a dead letter: the subject it came on.
pub const DEAD_SUBJECT: &str = "Dfks-Dead-Subject";
/// Header of a dead letter: how often it was delivered.
pub const DEAD_DELIVERIES: &str = "Dfks-Dead-Deliveries";
/// The `Nats-Msg-Id` that its sender gave it.
pub const DEAD_MSG_ID: &str = "Dfks-Msg-Id";

/// How the `Nats-Msg-Id` of a dead letter that is published again begins, whatever its sender called it.
pub(crate) const REPLAYED: &str = "dfks-replay-";

/// One delivery of a message. Dropped unacknowledged, it is delivered again after `ack_wait`.
#[derive(Debug)]
pub struct Delivery {
    pub(super) bus: Bus,
    pub(super) message: Message,
    /// How often the message has been delivered, this time included.
    pub deliveries: u64,
    /// The message's sequence in its stream.
    pub stream_seq: u64,
    /// When the stream took it, in nanoseconds since 1970: with the sequence, the same for each delivery of a message and
    /// for no other message, also when the stream is made anew.
    pub stored_at_nanos: u64,
}

/// A dead letter that is to be stored.
#[derive(Debug)]
pub(crate) struct Letter {
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
}

impl Letter {
    /// Stores it; of a message there is one, however often it is stored.
    ///
    /// # Errors
    ///
    /// [`RequestError`] of the store.
    pub(crate) async fn store(&self, bus: &Bus) -> Result<(), RequestError> {
        bus.store(Pattern::Dead, self.subject.clone(), self.headers.clone(), self.payload.clone()).await.map(drop)
    }
}

impl Delivery {
    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.message.payload
    }

    /// The headers, if there are any.
    #[must_use]
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.message.headers.as_ref()
    }

    /// The subject that it came on.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.message.subject
    }

    /// The time of day at the server that delivered it.
    pub(crate) fn utc_now(&self) -> SystemTime {
        self.bus.utc_now()
    }

    /// An id that each delivery of this message has and no other message: 32 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{:016x}{:016x}", self.stored_at_nanos, self.stream_seq)
    }

    /// The `Nats-Msg-Id` that its sender gave it: of a dead letter that is published again, the first one.
    #[must_use]
    pub fn sender_id(&self) -> Option<&str> {
        let headers = self.headers()?;
        headers.get(DEAD_MSG_ID).or_else(|| headers.get(NATS_MESSAGE_ID)).map(HeaderValue::as_str)
    }

    /// The id of what led to the message: that of its `traceparent`, else its own id, which is the same for each delivery.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.headers().and_then(Cause::told).unwrap_or_else(|| Cause(self.id().into()))
    }

    /// Acknowledges: the message leaves the work queue. Sent without waiting; if it is lost, the message is redelivered.
    ///
    /// # Errors
    ///
    /// [`PublishError`]: the message comes again.
    pub fn ack(self) -> Result<(), PublishError> {
        self.reply("+ACK".into())
    }

    /// Negative acknowledgement: the message is redelivered after `delay`.
    ///
    /// # Errors
    ///
    /// [`PublishError`]: it comes again after `ack_wait`.
    pub fn nak_after(self, delay: Duration) -> Result<(), PublishError> {
        self.reply(format!(r#"-NAK {{"delay": {}}}"#, delay.as_nanos()).into())
    }

    /// In progress: `ack_wait` starts again.
    ///
    /// # Errors
    ///
    /// [`PublishError`]: it goes on as it was.
    pub fn working(&self) -> Result<(), PublishError> {
        self.reply("+WPI".into())
    }

    /// Makes the message a dead letter: stores it as `dfks.dead.<stage>` with the reason in its headers, then acknowledges it.
    ///
    /// # Errors
    ///
    /// [`RequestError`] of the store: the message comes again in a few seconds.
    pub(crate) async fn bury(self, stage: &str, reason: &'static str, detail: &str) -> Result<(), RequestError> {
        match self.letter(stage, reason, detail).store(&self.bus).await {
            Ok(()) => self.terminate().map_err(RequestError::from),
            Err(error) => {
                let _comes_again_anyway = self.nak_after(BURY_AGAIN_AFTER);
                Err(error)
            }
        }
    }

    /// The dead letter of this message. It keeps the message's `traceparent`, or gets one of its [`cause`](Self::cause).
    pub(crate) fn letter(&self, stage: &str, reason: &'static str, detail: &str) -> Letter {
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: &str| {
            // a header ends at a line break
            if let Ok(value) = value.replace(['\r', '\n'], " ").parse::<HeaderValue>() {
                headers.insert(name, value);
            }
        };
        set(DEAD_REASON, reason);
        set(DEAD_DETAIL, detail);
        set(DEAD_SUBJECT, &self.message.subject);
        set(DEAD_DELIVERIES, &self.deliveries.to_string());
        if let Some(id) = self.sender_id().filter(|id| !id.starts_with(REPLAYED)) {
            set(DEAD_MSG_ID, id);
        }
        set(NATS_MESSAGE_ID.as_ref(), &format!("{stage}-{}", self.stream_seq));
        let cause = self.cause();
        let told = self.headers().filter(|headers| Cause::told(headers).is_some()).and_then(|headers| headers.get(TRACEPARENT));
        set(TRACEPARENT, &told.map_or_else(|| cause.traceparent(), |header| header.as_str().to_owned()));
        if let Some(state) = cause.tracestate() {
            set(TRACESTATE, state);
        }
        tracing::warn!(stage, reason, deliveries = self.deliveries, "message given up");
        Letter { subject: self.bus.subjects().dead(stage), headers, payload: self.message.payload.clone() }
    }

    /// Acknowledges a message that was given up.
    ///
    /// # Errors
    ///
    /// [`PublishError`]: the message comes again.
    pub(crate) fn terminate(self) -> Result<(), PublishError> {
        self.reply("+TERM".into())
    }

    /// Negative acknowledgement without delay; confirmed by the server, for this and all sent before, when this returns.
    pub(super) async fn nak_confirmed(self) -> Result<(), RequestError> {
        let (subject, timeout) = (self.reply_subject()?, self.bus.timeout());
        self.bus.request_raw(Pattern::JetStreamApi, subject, HeaderMap::new(), "-NAK".into(), timeout).await.map(drop)
    }

    fn reply_subject(&self) -> Result<String, PublishError> {
        self.message.reply.as_ref().map(ToString::to_string).ok_or(PublishError::Subject)
    }

    fn reply(&self, payload: Bytes) -> Result<(), PublishError> {
        let subject = self.reply_subject()?;
        self.bus.try_publish(Pattern::JetStreamApi, subject, None, HeaderMap::new(), payload)
    }
}
