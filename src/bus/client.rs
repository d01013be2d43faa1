//! The client that all roles speak to the bus through.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::header::{HeaderMap, HeaderValue, NATS_MESSAGE_ID};
use async_nats::{Message, PublishErrorKind, StatusCode};
use bytes::Bytes;
use futures_util::FutureExt;
use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::bus::answer;
use crate::bus::attempts::Failed;
use crate::bus::domain::Domain;
use crate::bus::error::{BusError, PublishError, RequestError};
use crate::bus::link::{self, Link, LinkStatus};
use crate::bus::local::Local;
use crate::bus::login::{self, Arrival};
use crate::bus::message::RefusedEvent;
use crate::bus::replies::Inbox;
use crate::bus::standing::Presence;
use crate::bus::subject::{Pattern, Subjects};
use crate::bus::time::ServerClock;
use crate::bus::trace::{Cause, headers};
use crate::bus::wire::Client;
#[cfg(feature = "simulate")]
use crate::bus::wire::Connection;
use crate::config::NatsConfig;
use crate::feature::Presentity;
use crate::runtime::{clock, tasks};

/// A connection to NATS with the names of this deployment. Clones share it.
///
/// Nothing here blocks without a bound: what cannot be sent at once is an error.
#[derive(Debug, Clone)]
pub struct Bus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    subjects: Subjects,
    domain: Domain,
    timeout: Duration,
    replicas: usize,
    inbox: String,
    link: Arc<Link>,
    clock: ServerClock,
    local: Local,
    presence: Presence,
    /// A stream seems to be gone.
    missed: Notify,
    _replies: AbortOnDropHandle<()>,
}

impl Bus {
    /// A client of the servers of `nats.url`, called `name` (`dfks-edge`) there, with inboxes below `_INBOX_edge`. The one of several
    /// roles, `dfks-edge+worker+mi`, has those of the first.
    ///
    /// Connects in the background, for as long as it takes; [`connected`](Self::connected) waits for it.
    ///
    /// # Errors
    ///
    /// [`BusError`] for a configuration that cannot work: a bad URL, a file that is not there.
    pub async fn connect(config: &NatsConfig, name: &str) -> Result<Self, BusError> {
        let role: String = name.rsplit('-').next().unwrap_or(name).chars().take_while(char::is_ascii_alphanumeric).collect();
        Self::arrive(config, name, Arrival { login: None, inbox_prefix: format!("_INBOX_{role}"), is_tls_first: false }).await
    }

    /// As [`connect`](Self::connect), for a client that says for itself how it arrives.
    ///
    /// # Errors
    ///
    /// [`BusError`]
    pub(crate) async fn arrive(config: &NatsConfig, name: &str, arrival: Arrival) -> Result<Self, BusError> {
        // the process may have installed one already
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let servers = login::servers(&config.url)?;
        let link = Arc::new(Link::new(name, &servers));
        let options = link::options(config, name, arrival, Arc::clone(&link)).await?;
        tracing::info!(servers = link::describe(&servers), name, "connecting to nats");
        Self::over(config, Client::of_nats(options.connect(servers).await?), link).await
    }

    /// A client in the simulation, and its link, which is told what happens to the connection.
    ///
    /// # Errors
    ///
    /// [`BusError`]
    #[cfg(feature = "simulate")]
    pub(crate) async fn in_model(config: &NatsConfig, model: Arc<dyn Connection>, link: Arc<Link>) -> Result<Self, BusError> {
        Self::over(config, Client::of_model(model), link).await
    }

    async fn over(config: &NatsConfig, client: Client, link: Arc<Link>) -> Result<Self, BusError> {
        let inbox = client.new_inbox();
        let replies = client.subscribe(format!("{inbox}.*")).await?;
        let timeout = Duration::from_millis(config.timeout_ms);
        Ok(Self {
            shared: Arc::new(Shared {
                domain: Domain::new(&config.domain),
                subjects: Subjects::new(&config.prefix),
                timeout,
                replicas: config.replicas,
                inbox,
                _replies: tasks::spawn_owned(link.replies.clone().deliver(replies)),
                link,
                clock: ServerClock::default(),
                local: Local::default(),
                presence: Presence::default(),
                missed: Notify::new(),
                client,
            }),
        })
    }

    /// The NATS client, for subscriptions and services.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// The names on the bus.
    #[must_use]
    pub fn subjects(&self) -> &Subjects {
        &self.shared.subjects
    }

    /// `nats.domain`
    pub(crate) fn domain(&self) -> &str {
        self.shared.domain.name()
    }

    /// `nats.timeout_ms`: past it the bus counts as away.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.shared.timeout
    }

    /// `nats.replicas`
    pub(crate) fn replicas(&self) -> usize {
        self.shared.replicas
    }

    /// Whether there is a connection now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared.client.is_connected() && !self.shared.link.status().is_closed
    }

    /// Counts a request that its caller sent with [`try_publish`](Self::try_publish) and matched to its reply itself.
    pub(crate) fn request_ended(&self, pattern: Pattern, error: Option<&RequestError>, took: Duration) {
        self.shared.link.metrics.request_ended(pattern, error, took);
    }

    /// Counts a reply that was not sent, because the request named a subject that is no inbox.
    pub(crate) fn reply_refused(&self, pattern: Pattern) {
        self.shared.link.metrics.dropped(pattern, PublishError::Subject);
    }

    /// Waits for a connection.
    pub async fn connected(&self) {
        let mut status = self.shared.link.watch();
        // the event follows the client's own state, but may be dropped: do not wait for it for long
        let mut patience = 10;
        while !self.is_connected() || (!status.borrow_and_update().is_up && patience > 0) {
            if self.is_connected() {
                patience -= 1;
            }
            let _hurried = tokio::time::timeout(Duration::from_millis(10), status.changed()).await;
        }
    }

    /// Waits for a permission error other than `known`, and returns the server's text: `Permissions Violation for Publish to "dfks.set"`.
    pub(crate) async fn denied(&self, known: Option<&str>) -> String {
        let mut denied = self.shared.link.watch_denied();
        match denied.wait_for(|text| text.is_some() && text.as_deref() != known).await {
            Ok(text) => text.clone().unwrap_or_default(),
            Err(_gone) => std::future::pending().await,
        }
    }

    /// Why there is no connection yet, as far as the client knows.
    pub(crate) fn why_not_connected(&self) -> Option<Failed> {
        self.shared.link.why_not_connected()
    }

    /// The worker of this process, for requests that need not go over NATS.
    pub(crate) fn local(&self) -> &Local {
        &self.shared.local
    }

    /// What is known of the workers, where NATS does not say it.
    pub(crate) fn presence(&self) -> &Presence {
        &self.shared.presence
    }

    /// Whether the server refused to take something on this subject, on this connection.
    pub(crate) fn is_refused(&self, subject: &str) -> bool {
        self.shared.link.is_refused(subject)
    }

    pub(crate) fn server_clock(&self) -> &ServerClock {
        &self.shared.clock
    }

    /// Changes with each connection that comes and goes.
    pub(crate) fn link_status(&self) -> tokio::sync::watch::Receiver<LinkStatus> {
        self.shared.link.watch()
    }

    /// Publishes without ever waiting: the message is in the client's queue afterwards, or it is not sent.
    ///
    /// What is in the queue when the connection is lost may be lost with it.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; counted here, so that the caller need not.
    pub fn try_publish(
        &self,
        pattern: Pattern,
        subject: String,
        reply: Option<String>,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        let sent = self.enqueue(subject, reply, headers, payload);
        match sent {
            Ok(()) => self.shared.link.metrics.published(pattern),
            Err(error) => self.shared.link.metrics.dropped(pattern, error),
        }
        sent
    }

    fn enqueue(&self, subject: String, reply: Option<String>, headers: HeaderMap, payload: Bytes) -> Result<(), PublishError> {
        if !self.is_connected() {
            return Err(PublishError::Disconnected);
        }
        let subject = self.shared.domain.subject(subject);
        // unconstrained: a task out of its cooperative budget would see a queue with room as full
        match tokio::task::unconstrained(self.shared.client.send(subject, reply, headers, payload)).now_or_never() {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(match error.kind() {
                PublishErrorKind::MaxPayloadExceeded => PublishError::TooLarge,
                PublishErrorKind::InvalidSubject => PublishError::Subject,
                PublishErrorKind::Send => PublishError::Disconnected,
            }),
            None => Err(PublishError::QueueFull),
        }
    }

    /// Publishes an event, best effort: one that is not sent is counted and lost.
    pub(crate) fn publish_event<M: Serialize>(&self, pattern: Pattern, subject: String, message: &M, cause: &Cause) {
        self.publish_event_with(pattern, subject, message, headers(cause));
    }

    /// As [`publish_event`](Self::publish_event), for an event that several may publish: the stream keeps one of those with this
    /// id within its duplicate window.
    pub(crate) fn publish_event_once<M: Serialize>(&self, pattern: Pattern, subject: String, id: &str, message: &M, cause: &Cause) {
        let mut headers = headers(cause);
        headers.insert(NATS_MESSAGE_ID, id);
        self.publish_event_with(pattern, subject, message, headers);
    }

    fn publish_event_with<M: Serialize>(&self, pattern: Pattern, subject: String, message: &M, headers: HeaderMap) {
        let mut payload = Vec::with_capacity(1024); // most fit in
        match serde_json::to_writer(&mut payload, message) {
            Ok(()) => {
                let _counted = self.try_publish(pattern, subject, None, headers, payload.into());
            }
            Err(error) => tracing::error!(subject = pattern.as_str(), %error, "unwritable event"),
        }
    }

    /// Publishes the event of a refusal, best effort.
    pub(crate) fn publish_refused(&self, event: &RefusedEvent) {
        let presentity = event.presentity.as_deref().and_then(|presentity| Presentity::parse(presentity).ok());
        let domain = presentity.map(|presentity| presentity.domain_token());
        let subject = self.subjects().event_refused(domain.as_deref());
        self.publish_event(Pattern::EventRefused, subject, event, &event.cause);
    }

    /// Sends a request and returns the reply unread.
    ///
    /// # Errors
    ///
    /// [`RequestError`], but never that the answer refuses or cannot be read; counted here.
    pub(crate) async fn request_raw(
        &self,
        pattern: Pattern,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Message, RequestError> {
        self.measured(pattern, self.exchange(pattern, subject, headers, payload, timeout)).await
    }

    /// Stores a message in the stream that holds `subject`, once for each `msg_id` within the stream's duplicate window,
    /// and returns its sequence in the stream.
    ///
    /// # Errors
    ///
    /// [`RequestError`]. After a timeout or a lost connection the message may have been stored: the same `msg_id` again
    /// makes it certain.
    pub async fn publish_stored<M: Serialize>(
        &self,
        pattern: Pattern,
        subject: String,
        msg_id: &str,
        mut headers: HeaderMap,
        message: &M,
    ) -> Result<u64, RequestError> {
        let id: HeaderValue = msg_id.parse().map_err(|_| RequestError::NotSent(PublishError::Header))?;
        headers.insert(NATS_MESSAGE_ID, id);
        let payload = serde_json::to_vec(message).map_err(answer::unwritable)?;
        self.store(pattern, subject, headers, payload.into()).await
    }

    /// Stores a message with headers of its own (`Nats-TTL`, `Nats-Expected-Last-Subject-Sequence`, …) in the stream that
    /// holds `subject`, and returns its sequence there.
    ///
    /// # Errors
    ///
    /// [`RequestError`], a lost compare-and-set as [`RequestError::Stream`]. After a timeout or a lost connection the
    /// message may have been stored.
    pub async fn store(&self, pattern: Pattern, subject: String, headers: HeaderMap, payload: Bytes) -> Result<u64, RequestError> {
        let stored = async {
            let reply = self.exchange(pattern, subject, headers, payload, self.timeout()).await?;
            answer::read_store(&reply.payload)
        };
        let stored = self.measured(pattern, stored).await;
        if matches!(stored, Err(RequestError::NoResponders)) {
            self.miss_stream();
        }
        stored
    }

    /// A stream seems to be gone: whoever keeps them looks.
    pub(crate) fn miss_stream(&self) {
        self.shared.missed.notify_one();
    }

    /// Waits until a stream seems to be gone.
    pub(crate) async fn stream_missed(&self) {
        self.shared.missed.notified().await;
    }

    async fn exchange(
        &self,
        pattern: Pattern,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Message, RequestError> {
        let mut slot = self.shared.link.replies.open()?;
        self.try_publish(pattern, subject, Some(slot.subject(&self.shared.inbox)), headers, payload)?;
        match tokio::time::timeout(timeout, slot.reply()).await {
            Err(_elapsed) => Err(RequestError::Timeout(timeout)),
            Ok(None) => Err(RequestError::Disconnected),
            Ok(Some(reply)) if reply.status == Some(StatusCode::NO_RESPONDERS) => Err(RequestError::NoResponders),
            Ok(Some(reply)) => Ok(reply),
        }
    }

    /// An inbox for one request, of which every message is looked at, and its subject.
    ///
    /// # Errors
    ///
    /// [`RequestError::Overloaded`]
    pub(crate) fn open_inbox(&self) -> Result<(Inbox, String), RequestError> {
        let inbox = self.shared.link.replies.open_inbox()?;
        let subject = inbox.subject(&self.shared.inbox);
        Ok((inbox, subject))
    }

    /// Counts a request and how long it takes.
    pub(crate) async fn measured<T>(
        &self,
        pattern: Pattern,
        work: impl Future<Output = Result<T, RequestError>>,
    ) -> Result<T, RequestError> {
        let metrics = &self.shared.link.metrics;
        let _in_flight = metrics.request_started();
        let started_at = clock::now();
        let result = work.await;
        metrics.request_ended(pattern, result.as_ref().err(), clock::now().saturating_duration_since(started_at));
        result
    }
}
