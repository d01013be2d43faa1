//! Taking messages out of a work queue: a durable pull consumer, and what becomes of each message.

mod delivery;
mod each;
mod held;
mod renewal;

use std::time::{Duration, Instant};

use async_nats::header::NATS_PIN_ID;
use async_nats::jetstream::consumer::{AckPolicy, IntoConsumerConfig, PriorityPolicy, pull};
use async_nats::{Message, StatusCode};
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::watch;

use crate::bus::answer;
use crate::bus::client::Bus;
use crate::bus::error::{PublishError, RequestError};
use crate::bus::link::LinkStatus;
pub(crate) use crate::bus::pull::delivery::{BURY_AGAIN_AFTER, REPLAYED};
pub use crate::bus::pull::delivery::{DEAD_DELIVERIES, DEAD_DETAIL, DEAD_MSG_ID, DEAD_REASON, DEAD_SUBJECT, Delivery};
pub(crate) use crate::bus::pull::held::Held;
pub(crate) use crate::bus::pull::renewal::renew;
use crate::bus::pull::renewal::{CONSUMER_NOT_FOUND, Found};
use crate::bus::wire::Subscriber;
use crate::runtime::{Backoff, clock};

/// Lifetime of a pull request at the server, unless a consumer says otherwise.
///
/// A request of a connection that is gone with its node, which the other nodes do not know yet, is still handed messages. It is over
/// before the connection counts as lost, and whoever connects anew asks what it missed until then.
pub const EXPIRES: Duration = Duration::from_secs(5);
/// The same at most while somebody listens to everything: the server hands messages to a client that is gone, whose inbox is heard.
const EXPIRES_LOOKED_ON: Duration = Duration::from_millis(900);
/// For what the server has sent by then.
const ON_ITS_WAY: Duration = Duration::from_millis(100);
/// Heartbeat of a pull request: it is lost without a word when the node goes down that leads the consumer.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Heartbeats without which a pull request counts as lost and is sent again.
const MISSED: u32 = 3;
/// Most messages asked for at a time.
const MAX_BATCH: usize = 256;
/// Timeout of creating the consumer. A cluster that has no leader leaves the call unanswered, and it is made again.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// Waits between attempts to open a consumer: what waits in a queue is late by that much when NATS is back.
pub(crate) const REOPEN: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
/// Pull requests that fit into the time after which a silent exclusive client is replaced.
const ASKS_WITHIN_PIN: u32 = 3;
/// Name of the one priority group of a consumer with an exclusive client.
const GROUP: &str = "one";

/// A durable consumer of a work queue. Created when missing; an operator's settings stay, except for the filter.
#[derive(Debug, Clone)]
pub struct PullConfig {
    /// The stream.
    pub stream: String,
    /// Name of the consumer.
    pub durable: String,
    /// Its filter subject.
    pub filter: String,
    /// A message that is not acknowledged within this is delivered again.
    pub ack_wait: Duration,
    /// Most unacknowledged messages.
    pub max_ack_pending: i64,
    /// Most deliveries of a message by the server.
    pub max_deliver: i64,
    /// The server deletes the consumer after so long without a pull request; zero: never.
    pub inactive_threshold: Duration,
    /// Lifetime of a pull request at the server: for so long it hands messages to a client that stands still.
    pub expires: Duration,
    /// Only one client at a time gets messages, the others wait. A client that sends no pull request for so long is replaced;
    /// at least one and a half times `ack_wait`, so that its unacknowledged messages are redelivered first, in order. `None`:
    /// all clients get messages. Source: ADR-42, policy `pinned_client`.
    pub exclusive: Option<Duration>,
}

/// An open consumer.
#[derive(Debug)]
pub struct Pull {
    bus: Bus,
    /// `<stream>.<durable>`
    consumer: String,
    inbox_subject: String,
    inbox: Subscriber,
    link: watch::Receiver<LinkStatus>,
    connection: u64,
    /// Messages still outstanding of the current pull request.
    outstanding: usize,
    /// When the pull request was sent, or the server last said anything.
    heard_at: Instant,
    asked_at: Instant,
    /// Lifetime of the pull request that was sent last.
    asked_for: Duration,
    expires: Duration,
    exclusive: Option<Duration>,
    /// Pin id, while this is the exclusive client.
    pin_id: Option<String>,
}

/// Unacknowledged messages of a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// How many.
    pub count: u64,
    /// Highest stream sequence among them.
    pub up_to_stream_seq: u64,
}

/// Why an open consumer can no longer be used. Opening it again helps in each case.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The consumer cannot be found or made.
    #[error("the consumer cannot be made")]
    Open(#[source] RequestError),
    /// The connection was lost.
    #[error("the connection was lost")]
    LinkLost,
    /// A pull request could not be sent.
    #[error("cannot ask for messages")]
    Ask(#[source] PublishError),
    /// The consumer or its stream is gone.
    #[error("the consumer is gone, status {0}")]
    Gone(u16),
    /// Another client is the exclusive one now and will get what is in hand.
    #[error("another client has taken over")]
    TakenOver,
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

impl Pull {
    /// Opens the consumer.
    ///
    /// # Errors
    ///
    /// [`PullError`]
    pub async fn open(bus: &Bus, config: PullConfig) -> Result<Self, PullError> {
        let mut link = bus.link_status();
        let connection = link.borrow_and_update().connections;
        let PullConfig { stream, durable, filter, expires, exclusive, .. } = config.clone();
        let inbox_subject = bus.client().new_inbox();
        let inbox = bus.client().subscribe(inbox_subject.clone()).await.map_err(|_closed| PullError::Closed)?;
        let found = bus.api::<Found>(&format!("CONSUMER.INFO.{stream}.{durable}"), bus.timeout().min(OPEN_TIMEOUT)).await;
        let body = match found {
            Ok(found) => found.with_filter(&filter).map(|config| {
                tracing::info!(stream, consumer = durable, filter, "consumer has another filter, changing it");
                serde_json::json!({ "stream_name": stream, "config": config, "action": "update" })
            }),
            Err(RequestError::Stream { code: CONSUMER_NOT_FOUND, .. }) => {
                Some(serde_json::json!({ "stream_name": stream, "config": consumer(config).into_consumer_config() }))
            }
            Err(error) => return Err(PullError::Open(error)),
        };
        if let Some(body) = body {
            let call = format!("CONSUMER.CREATE.{stream}.{durable}.{filter}");
            let _info: IgnoredAny = bus.api_with(&call, &body, OPEN_TIMEOUT).await.map_err(PullError::Open)?;
        }
        let consumer = format!("{stream}.{durable}");
        let expires = exclusive.map_or(expires, |silent_for| expires.min(silent_for / ASKS_WITHIN_PIN));
        Ok(Self {
            bus: bus.clone(),
            consumer,
            inbox_subject,
            inbox,
            link,
            connection,
            outstanding: 0,
            heard_at: clock::now(),
            asked_at: clock::now(),
            asked_for: expires,
            expires,
            exclusive,
            pin_id: None,
        })
    }

    /// The next message. Requests up to `room` messages when none are outstanding, so that no more come than fit.
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`PullError`]; open the consumer again then.
    pub async fn next(&mut self, room: usize) -> Result<Delivery, PullError> {
        loop {
            if self.outstanding == 0 {
                self.ask(room.clamp(1, MAX_BATCH))?;
            }
            let next = tokio::select! {
                // what came before the connection was lost is still ours
                biased;
                next = tokio::time::timeout_at((self.heard_at + self.heartbeat() * MISSED).into(), self.inbox.next()) => next,
                changed = self.link.changed() => {
                    let status = *self.link.borrow();
                    match changed {
                        Ok(()) if status.is_up && status.connections == self.connection => continue,
                        _ => return Err(PullError::LinkLost),
                    }
                }
            };
            let Ok(message) = next else {
                self.outstanding = 0;
                continue;
            };
            self.heard_at = clock::now();
            if let Some(delivery) = self.take(message.ok_or(PullError::Closed)?)? {
                return Ok(delivery);
            }
        }
    }

    /// What is delivered, to any client, and not acknowledged.
    ///
    /// # Errors
    ///
    /// [`RequestError`]
    pub async fn pending(&self) -> Result<Pending, RequestError> {
        #[derive(Deserialize)]
        struct Info {
            num_ack_pending: u64,
            delivered: Sequence,
        }
        #[derive(Deserialize)]
        struct Sequence {
            stream_seq: u64,
        }
        let info: Info = self.bus.api(&format!("CONSUMER.INFO.{}", self.consumer), self.bus.timeout()).await?;
        Ok(Pending { count: info.num_ack_pending, up_to_stream_seq: info.delivered.stream_seq })
    }

    /// Stops pulling and gives back what was received but not handed out, and what was not carried out: it is redelivered
    /// at once instead of after `ack_wait`, in stream order. An exclusive client then gives up its pin.
    pub async fn give_back(mut self, mut undone: Vec<Delivery>) {
        if self.bus.presence().is_looked_on() {
            undone.extend(self.until_over().await);
        }
        if self.inbox.drain().await.is_ok() {
            while let Ok(Some(message)) = tokio::time::timeout(self.bus.timeout(), self.inbox.next()).await {
                undone.extend(self.take(message).ok().flatten());
            }
        }
        undone.sort_unstable_by_key(|delivery| delivery.stream_seq);
        let last = undone.pop();
        for delivery in undone {
            let _comes_again_anyway = delivery.nak_after(Duration::ZERO);
        }
        if let Some(last) = last {
            // the server confirms the last one when it has seen to all of them: not before that may another client go on
            let _comes_again_anyway = last.nak_confirmed().await;
        }
        if self.pin_id.is_some() {
            let call = format!("CONSUMER.UNPIN.{}", self.consumer);
            let unpinned = self.bus.api_with::<_, IgnoredAny>(&call, &serde_json::json!({ "group": GROUP }), self.bus.timeout()).await;
            if let Err(error) = unpinned {
                tracing::debug!(%error, "another client takes over after a while only");
            }
        }
    }

    /// What still comes, until the server hands out nothing more: that nobody listens any more would not be seen. A request that was
    /// made before anybody looked on is not waited out: what it is still handed comes again when its time is over.
    async fn until_over(&mut self) -> Vec<Delivery> {
        let (asked_until, at_most) = (self.asked_at + self.asked_for, clock::now() + EXPIRES_LOOKED_ON);
        let (mut come, over_at) = (Vec::new(), asked_until.min(at_most) + ON_ITS_WAY);
        while self.outstanding > 0
            && let Ok(Some(message)) = tokio::time::timeout_at(over_at.into(), self.inbox.next()).await
            && let Ok(delivery) = self.take(message)
        {
            come.extend(delivery);
        }
        come
    }

    fn ask(&mut self, batch: usize) -> Result<(), PullError> {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let expires = if self.bus.presence().is_looked_on() { self.expires.min(EXPIRES_LOOKED_ON) } else { self.expires };
        self.asked_for = expires;
        let mut body = serde_json::json!({
            "batch": batch,
            "expires": nanos(expires),
            "idle_heartbeat": nanos(self.heartbeat()),
        });
        if let (Some(_), Some(fields)) = (self.exclusive, body.as_object_mut()) {
            fields.insert("group".to_owned(), GROUP.into());
            fields.extend(self.pin_id.clone().map(|id| ("id".to_owned(), id.into())));
        }
        let call = format!("CONSUMER.MSG.NEXT.{}", self.consumer);
        self.bus.api_ask(&call, self.inbox_subject.clone(), body.to_string().into()).map_err(PullError::Ask)?;
        self.outstanding = batch;
        self.asked_at = clock::now();
        self.heard_at = self.asked_at;
        Ok(())
    }

    fn heartbeat(&self) -> Duration {
        HEARTBEAT.min(self.asked_for / 3)
    }

    fn take(&mut self, message: Message) -> Result<Option<Delivery>, PullError> {
        match message.status {
            None => {}
            Some(StatusCode::IDLE_HEARTBEAT) => return Ok(None),
            Some(StatusCode::NO_RESPONDERS) => return Err(PullError::Gone(StatusCode::NO_RESPONDERS.into())),
            Some(StatusCode::REQUEST_TERMINATED) if is_gone(message.description.as_deref()) => {
                return Err(PullError::Gone(StatusCode::REQUEST_TERMINATED.into()));
            }
            Some(StatusCode::PIN_ID_MISMATCH) if self.pin_id.is_some() => return Err(PullError::TakenOver),
            // 404, 408, 409: this request is over
            Some(_over) => {
                self.outstanding = 0;
                return Ok(None);
            }
        }
        self.outstanding = self.outstanding.saturating_sub(1);
        if let Some(id) = self.exclusive.and_then(|_| message.headers.as_ref()?.get_last(NATS_PIN_ID)) {
            self.pin_id = Some(id.as_str().to_owned());
        }
        let Some((deliveries, stream_seq, stored_at_nanos)) = message.reply.as_deref().and_then(answer::delivery) else {
            tracing::warn!("a message that no stream delivered");
            return Ok(None);
        };
        Ok(Some(Delivery { bus: self.bus.clone(), message, deliveries, stream_seq, stored_at_nanos }))
    }
}

fn consumer(config: PullConfig) -> pull::Config {
    let (priority_policy, priority_groups, priority_timeout) = match config.exclusive {
        Some(silent_for) => (PriorityPolicy::PinnedClient, vec![GROUP.to_owned()], silent_for),
        None => (PriorityPolicy::None, Vec::new(), Duration::ZERO),
    };
    pull::Config {
        priority_policy,
        priority_groups,
        priority_timeout,
        durable_name: Some(config.durable),
        filter_subject: config.filter,
        ack_policy: AckPolicy::Explicit,
        ack_wait: config.ack_wait,
        max_ack_pending: config.max_ack_pending,
        max_deliver: config.max_deliver,
        inactive_threshold: config.inactive_threshold,
        ..pull::Config::default()
    }
}

/// 409 ends a request for many reasons; these end the consumer.
fn is_gone(description: Option<&str>) -> bool {
    description.is_some_and(|text| text.to_ascii_lowercase().contains("consumer deleted") || text.contains("push based"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_end_of_a_consumer_from_the_end_of_a_request() {
        for (text, want) in [
            (Some("Consumer Deleted"), true),
            (Some("Consumer is push based"), true),
            (Some("Exceeded MaxAckPending"), false),
            (Some("Leadership Change"), false),
            (None, false),
        ] {
            assert_eq!(is_gone(text), want, "{text:?}");
        }
    }
}
