//! The connection to NATS that everything else of the bus speaks through: the client of the NATS project, and in the simulation a
//! model in its place.

use std::pin::Pin;
#[cfg(feature = "simulate")]
use std::sync::Arc;
use std::task::{Context, Poll};

use async_nats::client::{DrainError, FlushError};
use async_nats::connection::State;
use async_nats::subject::ToSubject;
use async_nats::{HeaderMap, Message, PublishError, ServerInfo, SubscribeError, UnsubscribeError};
use bytes::Bytes;
use futures_util::Stream;
#[cfg(feature = "simulate")]
use tokio::sync::mpsc;

/// A connection. Clones share it.
#[derive(Debug, Clone)]
pub struct Client(Below);

#[derive(Debug, Clone)]
enum Below {
    Nats(async_nats::Client),
    #[cfg(feature = "simulate")]
    Model(Arc<dyn Connection>),
}

/// What a model in place of NATS does. Nothing waits.
#[cfg(feature = "simulate")]
pub(crate) trait Connection: std::fmt::Debug + Send + Sync {
    /// A subject that nobody else has.
    fn new_inbox(&self) -> String;
    /// Subscribes; the number ends it again.
    fn subscribe(&self, subject: String, queue: Option<String>) -> (u64, mpsc::Receiver<Message>);
    /// Ends a subscription at once.
    fn unsubscribe(&self, subscription: u64);
    /// Ends a subscription after what is on its way.
    fn drain(&self, subscription: u64);
    fn publish(&self, subject: String, reply: Option<String>, headers: HeaderMap, payload: Bytes);
    fn is_connected(&self) -> bool;
    /// Ends the connection for good, after what was published.
    fn close(&self);
}

/// Messages of one subscription, which ends with it.
#[derive(Debug)]
pub struct Subscriber(Messages);

#[derive(Debug)]
enum Messages {
    Nats(async_nats::Subscriber),
    #[cfg(feature = "simulate")]
    Model {
        id: u64,
        messages: mpsc::Receiver<Message>,
        of: Arc<dyn Connection>,
    },
}

impl Client {
    pub(super) const fn of_nats(client: async_nats::Client) -> Self {
        Self(Below::Nats(client))
    }

    #[cfg(feature = "simulate")]
    pub(super) fn of_model(model: Arc<dyn Connection>) -> Self {
        Self(Below::Model(model))
    }

    /// The client of the NATS project; the simulation has none.
    #[cfg_attr(not(feature = "simulate"), expect(clippy::unnecessary_wraps, reason = "the simulation has none"))]
    pub(super) const fn nats(&self) -> Option<&async_nats::Client> {
        match &self.0 {
            Below::Nats(client) => Some(client),
            #[cfg(feature = "simulate")]
            Below::Model(_) => None,
        }
    }

    /// A subject that nobody else has.
    #[must_use]
    pub fn new_inbox(&self) -> String {
        match &self.0 {
            Below::Nats(client) => client.new_inbox(),
            #[cfg(feature = "simulate")]
            Below::Model(model) => model.new_inbox(),
        }
    }

    /// Subscribes to a subject.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`]: the client is closed, or the subject cannot be one.
    pub async fn subscribe(&self, subject: impl ToSubject) -> Result<Subscriber, SubscribeError> {
        Ok(Subscriber(match &self.0 {
            Below::Nats(client) => Messages::Nats(client.subscribe(subject).await?),
            #[cfg(feature = "simulate")]
            Below::Model(model) => Messages::of(model, model.subscribe(subject.to_subject().into_string(), None)),
        }))
    }

    /// Subscribes to a subject, of which each message goes to one of its `group`.
    ///
    /// # Errors
    ///
    /// As [`subscribe`](Self::subscribe).
    pub async fn queue_subscribe(&self, subject: impl ToSubject, group: String) -> Result<Subscriber, SubscribeError> {
        Ok(Subscriber(match &self.0 {
            Below::Nats(client) => Messages::Nats(client.queue_subscribe(subject, group).await?),
            #[cfg(feature = "simulate")]
            Below::Model(model) => Messages::of(model, model.subscribe(subject.to_subject().into_string(), Some(group))),
        }))
    }

    /// Publishes. Waits for room in the queue of the connection.
    ///
    /// # Errors
    ///
    /// [`PublishError`]: too large, no subject, or the client is closed.
    pub async fn publish(&self, subject: impl ToSubject, payload: Bytes) -> Result<(), PublishError> {
        self.send(subject, None::<String>, HeaderMap::new(), payload).await
    }

    /// As [`publish`](Self::publish), with an address for answers and with headers, where there are any.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub async fn send(
        &self,
        subject: impl ToSubject,
        reply: Option<impl ToSubject>,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        match &self.0 {
            Below::Nats(client) => match (reply, headers.is_empty()) {
                (None, true) => client.publish(subject, payload).await,
                (None, false) => client.publish_with_headers(subject, headers, payload).await,
                (Some(reply), true) => client.publish_with_reply(subject, reply, payload).await,
                (Some(reply), false) => client.publish_with_reply_and_headers(subject, reply, headers, payload).await,
            },
            #[cfg(feature = "simulate")]
            Below::Model(model) => {
                let reply = reply.map(|reply| reply.to_subject().into_string());
                model.publish(subject.to_subject().into_string(), reply, headers, payload);
                Ok(())
            }
        }
    }

    /// Whether there is a connection now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        match &self.0 {
            Below::Nats(client) => client.connection_state() == State::Connected,
            #[cfg(feature = "simulate")]
            Below::Model(model) => model.is_connected(),
        }
    }

    /// What the server said of itself when it took the connection.
    #[must_use]
    pub fn server_info(&self) -> ServerInfo {
        self.nats().map(async_nats::Client::server_info).unwrap_or_default()
    }

    /// Waits until what is queued is written.
    ///
    /// # Errors
    ///
    /// [`FlushError`]: the client is closed.
    pub async fn flush(&self) -> Result<(), FlushError> {
        match self.nats() {
            Some(client) => client.flush().await,
            None => Ok(()),
        }
    }

    /// Ends all subscriptions, and then the connection.
    ///
    /// # Errors
    ///
    /// [`DrainError`]: the client is closed.
    pub async fn drain(&self) -> Result<(), DrainError> {
        match &self.0 {
            Below::Nats(client) => client.drain().await,
            #[cfg(feature = "simulate")]
            Below::Model(model) => {
                model.close();
                Ok(())
            }
        }
    }
}

#[cfg(feature = "simulate")]
impl Messages {
    fn of(model: &Arc<dyn Connection>, (id, messages): (u64, mpsc::Receiver<Message>)) -> Self {
        Self::Model { id, messages, of: Arc::clone(model) }
    }
}

impl Stream for Subscriber {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        match &mut self.0 {
            Messages::Nats(messages) => Pin::new(messages).poll_next(cx),
            #[cfg(feature = "simulate")]
            Messages::Model { messages, .. } => messages.poll_recv(cx),
        }
    }
}

impl Subscriber {
    /// Ends the subscription at the server: what is on its way still comes, and then the stream ends.
    ///
    /// # Errors
    ///
    /// The client is closed.
    pub async fn drain(&mut self) -> Result<(), UnsubscribeError> {
        match &mut self.0 {
            Messages::Nats(messages) => messages.drain().await,
            #[cfg(feature = "simulate")]
            Messages::Model { id, of, .. } => {
                of.drain(*id);
                Ok(())
            }
        }
    }
}

#[cfg(feature = "simulate")]
impl Drop for Subscriber {
    fn drop(&mut self) {
        if let Messages::Model { id, of, .. } = &self.0 {
            of.unsubscribe(*id);
        }
    }
}
