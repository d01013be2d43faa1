//! The bucket's messages in the order of its stream, from a consumer that says when it has missed one.
//!
//! An ordered push consumer (ADR-17), read without the client's own wrapper: that one hides the heartbeats, which tell how
//! far the consumer has come when the last messages of the stream are gone, and makes itself anew without a word, so that
//! keys which expired meanwhile would stay. Here every doubt ends the feed, and a new one starts with what is live then.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::jetstream::consumer::push;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, IntoConsumerConfig};
use async_nats::{HeaderMap, HeaderValue, Message, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::sync::watch;

use crate::bus::answer::{self, Delivered};
use crate::bus::client::Bus;
use crate::bus::error::RequestError;
use crate::bus::kv;
use crate::bus::link::LinkStatus;
use crate::bus::subject::Pattern;
use crate::bus::wire::Subscriber;
use crate::runtime::{Backoff, clock};

/// How often the server tells an idle consumer that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Without a word for so long, the consumer counts as lost.
const SILENCE: Duration = Duration::from_secs(3);
/// After so long without an answer, the call that makes the consumer is made again.
const MADE_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long the server keeps a consumer that nobody listens to.
const INACTIVE: Duration = Duration::from_secs(30);
/// Timeout of making the consumer, longer with each attempt: with a million keys the server takes a while to list them.
pub(crate) const OPEN_TIMEOUT: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));

/// One consumer of a bucket, from its making to the first doubt.
#[derive(Debug)]
pub(crate) struct Feed {
    bus: Bus,
    stream: String,
    consumer: String,
    bucket: String,
    inbox: Subscriber,
    link: watch::Receiver<LinkStatus>,
    connection: u64,
    position: Position,
    /// Records that the server has beyond the position, as it said last; `None`: it has said nothing yet.
    left: Option<u64>,
}

/// What a feed begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Live,
    /// What was stored from this sequence on, without its values.
    Sequence(u64),
    /// What was stored from this time on.
    Time(SystemTime),
}

/// How far a feed has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    /// Messages delivered by the consumer.
    pub(crate) consumer_seq: u64,
    /// All that was stored up to here has been delivered, or is gone.
    pub(crate) stream_seq: u64,
}

/// A key's newest change.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) revision: u64,
    /// `None`: removed or expired.
    pub(crate) value: Option<Bytes>,
    /// Its time is over, but the server has brought it back after a crash, and keeps it.
    pub(crate) has_outlived: bool,
    /// The revision that was removed, where somebody has removed it.
    pub(crate) removed_over: Option<u64>,
}

/// Why a feed ended. A new one heals each of these.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The consumer cannot be made.
    #[error("the consumer cannot be made")]
    Open(#[source] RequestError),
    /// The connection to NATS was lost.
    #[error("the connection was lost")]
    LinkLost,
    /// A message is missing.
    #[error("message {got} came in place of message {want}")]
    Gap {
        /// The sequence that was expected.
        want: u64,
        /// The one that came.
        got: u64,
    },
    /// Not even a heartbeat came.
    #[error("no word from the consumer for {SILENCE:?}")]
    Silent,
    /// The server ended the consumer, with this status.
    #[error("the consumer was ended with status {0}")]
    Ended(u16),
    /// What came is no delivery of a stream.
    #[error("a message of the consumer has no delivery information")]
    Foreign,
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

impl Feed {
    /// A feed of all keys: what it begins with, then every change. `timeout`: see [`OPEN_TIMEOUT`].
    pub(crate) async fn open(bus: &Bus, bucket: &str, from: From, timeout: Duration) -> Result<Self, FeedError> {
        let mut link = bus.link_status();
        let connection = link.borrow_and_update().connections;
        let stream = kv::stream(bucket);
        let filter_subject = kv::subject(bucket, ">");
        let consumer = format!("watchers-{:016x}", rand::random::<u64>());
        let deliver_subject = bus.client().new_inbox();
        let inbox = bus.client().subscribe(deliver_subject.clone()).await.map_err(|_closed| FeedError::Closed)?;
        let config = push::Config {
            deliver_subject,
            name: Some(consumer.clone()),
            filter_subject: filter_subject.clone(),
            deliver_policy: match from {
                From::Live => DeliverPolicy::LastPerSubject,
                From::Sequence(start_sequence) => DeliverPolicy::ByStartSequence { start_sequence },
                From::Time(start) => DeliverPolicy::ByStartTime { start_time: start.into() },
            },
            headers_only: matches!(from, From::Sequence(_)),
            ack_policy: AckPolicy::None,
            max_deliver: 1,
            flow_control: true,
            idle_heartbeat: HEARTBEAT,
            inactive_threshold: INACTIVE,
            memory_storage: true,
            num_replicas: 1,
            ..push::Config::default()
        };
        let body = serde_json::json!({ "stream_name": stream, "config": config.into_consumer_config() });
        let call = format!("CONSUMER.CREATE.{stream}.{consumer}.{filter_subject}");
        make(bus, &call, &body, timeout).await.map_err(FeedError::Open)?;
        let (bus, bucket, position) = (bus.clone(), bucket.to_owned(), Position::default());
        Ok(Self { bus, consumer, bucket, stream, inbox, link, connection, position, left: None })
    }

    /// The consumer's name.
    pub(crate) fn consumer(&self) -> &str {
        &self.consumer
    }

    /// How far the feed has come: all records up to there have been handed out.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Whether each key that was stored before `sequence` came, as it is now: one that is stored anew while the feed is read goes to its
    /// end, beyond what its end was at first.
    pub(crate) fn has_all_before(&self, sequence: u64) -> bool {
        self.position.stream_seq >= sequence && self.left == Some(0)
    }

    /// The next record; `None` when only the position moved. Safe to drop while it waits.
    ///
    /// # Errors
    ///
    /// [`FeedError`]; this feed is over then.
    pub(crate) async fn next(&mut self) -> Result<Option<Record>, FeedError> {
        let next = tokio::select! {
            biased;
            changed = self.link.changed() => {
                let status = *self.link.borrow();
                return match changed {
                    Ok(()) if status.is_up && status.connections == self.connection => Ok(None),
                    _ => Err(FeedError::LinkLost),
                };
            }
            next = tokio::time::timeout(SILENCE, self.inbox.next()) => next,
        };
        let message = next.map_err(|_elapsed| FeedError::Silent)?.ok_or(FeedError::Closed)?;
        match message.status {
            None => self.record(message).map(Some),
            Some(StatusCode::IDLE_HEARTBEAT) => self.control(&message).map(|()| None),
            Some(status) => Err(FeedError::Ended(status.into())),
        }
    }

    fn record(&mut self, message: Message) -> Result<Record, FeedError> {
        let delivered = message.reply.as_deref().and_then(answer::delivered).ok_or(FeedError::Foreign)?;
        let Delivered { stream_seq, consumer_seq, stored_at, left } = delivered;
        let want = self.position.consumer_seq + 1;
        if consumer_seq != want {
            return Err(FeedError::Gap { want, got: consumer_seq });
        }
        (self.position, self.left) = (Position { consumer_seq, stream_seq }, Some(left));
        let key = kv::key(&self.bucket, &message.subject).ok_or(FeedError::Foreign)?.to_owned();
        let stored_at = Some(UNIX_EPOCH + Duration::from_nanos(stored_at));
        let is_marker = message.headers.as_ref().is_some_and(kv::is_marker);
        let now = self.bus.utc_now();
        let has_outlived = !is_marker && message.headers.as_ref().is_some_and(|headers| kv::has_outlived(headers, stored_at, now));
        let value = (!is_marker && !has_outlived).then_some(message.payload);
        let removed_over = message.headers.as_ref().and_then(kv::removed_over);
        Ok(Record { key, revision: stream_seq, value, has_outlived, removed_over })
    }

    /// A heartbeat, or the server's question whether we keep up (flow control): both come in order with the records.
    fn control(&mut self, message: &Message) -> Result<(), FeedError> {
        let number = |name: &str| -> Option<u64> { header(message, name)?.parse().ok() };
        let stalled = header(message, "Nats-Consumer-Stalled").map(str::to_owned);
        let waits_for_us = stalled.is_some();
        if let Some(subject) = message.reply.as_ref().map(ToString::to_string).or(stalled) {
            // lost, it is asked for again in the next heartbeat
            let _counted = self.bus.try_publish(Pattern::JetStreamApi, subject, None, HeaderMap::new(), Bytes::new());
        }
        if let (Some(got), Some(stream_seq)) = (number("Nats-Last-Consumer"), number("Nats-Last-Stream")) {
            if got != self.position.consumer_seq {
                return Err(FeedError::Gap { want: self.position.consumer_seq, got });
            }
            self.position.stream_seq = self.position.stream_seq.max(stream_seq);
            // Otherwise it has nothing more to say.
            if !waits_for_us {
                self.left = Some(0);
            }
        }
        Ok(())
    }
}

/// Makes the consumer. The call is made again while it is unanswered, since a cluster without a leader drops it: the same name
/// and configuration make one consumer.
async fn make(bus: &Bus, call: &str, body: &Value, timeout: Duration) -> Result<(), RequestError> {
    let until = clock::now() + timeout;
    let mut calls = FuturesUnordered::new();
    loop {
        let left = until.saturating_duration_since(clock::now());
        calls.push(bus.api_with::<_, IgnoredAny>(call, body, left));
        tokio::select! {
            Some(made) = calls.next() => return made.map(|_info| ()),
            () = tokio::time::sleep(MADE_AGAIN_AFTER), if left > MADE_AGAIN_AFTER => {}
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if self.bus.is_connected() {
            self.bus.api_forget(&format!("CONSUMER.DELETE.{}.{}", self.stream, self.consumer));
        }
    }
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.headers.as_ref()?.get(name).map(HeaderValue::as_str)
}
