//! Requests to services: of what comes on the inbox the first answer is taken, and what is none is passed over. Whoever listens on the
//! subject besides may speak there too, such as a stream that keeps the requests and acknowledges them.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Message, StatusCode};
use bytes::Bytes;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::bus::answer;
use crate::bus::client::Bus;
use crate::bus::error::RequestError;
use crate::bus::subject::Pattern;
use crate::bus::trace::{Cause, headers};

/// What of an inbox is an answer.
#[derive(Debug)]
pub(crate) struct Screen {
    is_answer: fn(&Message) -> bool,
    /// The last message that came, answer or not.
    pub(crate) came: Option<Bytes>,
}

impl Screen {
    const fn new(is_answer: fn(&Message) -> bool) -> Self {
        Self { is_answer, came: None }
    }

    /// Answers of responders.
    pub(crate) const fn of_responders() -> Self {
        Self::new(answer::is_responder_answer)
    }
}

impl Bus {
    /// Sends a request and reads the reply.
    ///
    /// Fails at once while there is no connection or nobody listens, and never waits longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; counted here.
    pub async fn request<M: Serialize, R: DeserializeOwned>(
        &self,
        pattern: Pattern,
        subject: String,
        message: &M,
        cause: &Cause,
        timeout: Duration,
    ) -> Result<R, RequestError> {
        let payload = serde_json::to_vec(message).map_err(answer::unwritable);
        let asked = async {
            let mut screen = Screen::new(answer::is_answer);
            match self.screened(pattern, subject, headers(cause), payload?.into(), timeout, &mut screen).await {
                Ok(reply) => answer::read(&reply),
                // Of what came in place of an answer, that it was no JSON says more than that no answer came.
                Err(error @ RequestError::Timeout(_)) => match screen.came.map(|came| serde_json::from_slice::<IgnoredAny>(&came)) {
                    Some(Err(unreadable)) => Err(RequestError::Unreadable(Arc::new(unreadable))),
                    _ => Err(error),
                },
                Err(error) => Err(error),
            }
        };
        self.measured(pattern, asked).await
    }

    /// Asks a responder, and reads its answer. What else is said meanwhile by whoever listens is passed over; the last of what
    /// came is in `screen`.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub(crate) async fn request_responder<R: DeserializeOwned>(
        &self,
        (pattern, subject): (Pattern, String),
        payload: Bytes,
        cause: &Cause,
        timeout: Duration,
        screen: &mut Screen,
    ) -> Result<R, RequestError> {
        let asked = async {
            let reply = self.screened(pattern, subject, headers(cause), payload, timeout, screen).await?;
            answer::read(&reply)
        };
        self.measured(pattern, asked).await
    }

    /// Sends a request, and waits for the first message that is an answer.
    async fn screened(
        &self,
        pattern: Pattern,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
        timeout: Duration,
        screen: &mut Screen,
    ) -> Result<Message, RequestError> {
        let (mut inbox, reply_to) = self.open_inbox()?;
        self.try_publish(pattern, subject, Some(reply_to), headers, payload)?;
        let answered = async {
            loop {
                match inbox.next().await {
                    None => return Err(RequestError::Disconnected),
                    Some(reply) if reply.status == Some(StatusCode::NO_RESPONDERS) => return Err(RequestError::NoResponders),
                    Some(reply) => {
                        screen.came = Some(reply.payload.clone());
                        if (screen.is_answer)(&reply) {
                            return Ok(reply);
                        }
                    }
                }
            }
        };
        tokio::time::timeout(timeout, answered).await.unwrap_or(Err(RequestError::Timeout(timeout)))
    }
}
