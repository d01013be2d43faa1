//! The jobs of one edge, out of the work queue and into a bounded channel. I/O.
//!
//! A job is acknowledged by its edge when its watchers were told; until then it comes again after [`ACK_WAIT`], to the same
//! edge when it is back. What cannot be read, or came too late, goes to `dfks.dead.notify` with the reason.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::bus::message::NotifyJob;
use crate::bus::subject::{Pattern, edge_token};
use crate::runtime::{Backoff, clock};

/// After so long an unacknowledged job comes again: above Timer F of a NOTIFY.
pub const ACK_WAIT: Duration = Duration::from_mins(1);
/// Jobs taken and not acknowledged at a time.
const MAX_ACK_PENDING: i64 = 10_000;
/// Jobs asked for at a time.
const BATCH: usize = 500;
const RETRY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));

/// A job and where its acknowledgement goes.
#[derive(Debug)]
pub struct Received {
    /// The job.
    pub job: NotifyJob,
    /// Reply subject of its message.
    pub handle: Box<str>,
    /// How long it has been stored.
    pub age: Duration,
}

/// Why a job is given up before it reached its edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// It is no job.
    Unreadable,
    /// Its `not_after` has passed.
    Expired,
}

impl GivenUp {
    /// The word in the `Dfks-Reason` header, in logs and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Expired => "expired",
        }
    }
}

/// Takes jobs in until `stop`; `given_up` is told of each that goes to the dead letters.
pub async fn run(bus: Bus, edge_id: Box<str>, jobs: mpsc::Sender<Received>, given_up: impl Fn(GivenUp) + Send, stop: CancellationToken) {
    let mut retry = RETRY;
    while !stop.is_cancelled() {
        let taken = tokio::select! {
            taken = take(&bus, &edge_id, &jobs, &given_up, &mut retry) => taken,
            () = stop.cancelled() => return,
        };
        match taken {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, "notify jobs cannot be read"),
        }
        tokio::select! {
            () = tokio::time::sleep(retry.next(rand::random())) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Reads jobs until the channel is closed.
async fn take(
    bus: &Bus,
    edge_id: &str,
    jobs: &mpsc::Sender<Received>,
    given_up: &(impl Fn(GivenUp) + Send),
    retry: &mut Backoff,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let consumer = consumer(bus, edge_id).await?;
    let mut messages = consumer.stream().max_messages_per_batch(BATCH).messages().await?;
    while let Some(message) = messages.next().await {
        let message = message?;
        retry.reset();
        match read(&message) {
            Ok(received) => {
                if jobs.send(received).await.is_err() {
                    return Ok(());
                }
            }
            Err(reason) => {
                given_up(reason);
                bury(bus, &message, reason).await;
            }
        }
    }
    Err("the consumer's stream has ended".into())
}

async fn consumer(bus: &Bus, edge_id: &str) -> Result<PullConsumer, Box<dyn std::error::Error + Send + Sync>> {
    let stream = bus.jetstream().get_stream(bus.subjects().stream("NOTIFY")).await?;
    let name = format!("edge_{}", edge_token(edge_id));
    let config = pull::Config {
        durable_name: Some(name.clone()),
        filter_subject: bus.subjects().notify(edge_id),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_ack_pending: MAX_ACK_PENDING,
        ..pull::Config::default()
    };
    Ok(stream.get_or_create_consumer(&name, config).await?)
}

fn read(message: &Message) -> Result<Received, GivenUp> {
    let job: NotifyJob = serde_json::from_slice(&message.payload).map_err(|_| GivenUp::Unreadable)?;
    let not_after = clock::parse_rfc3339(&job.not_after).ok_or(GivenUp::Unreadable)?;
    let now = clock::utc_now();
    if not_after < now {
        return Err(GivenUp::Expired);
    }
    let stored_at = message.info().ok().map(|info| std::time::SystemTime::from(info.published));
    let age = stored_at.and_then(|at| now.duration_since(at).ok()).unwrap_or_default();
    let handle = message.reply.as_ref().map(|reply| reply.as_str().into()).ok_or(GivenUp::Unreadable)?;
    Ok(Received { job, handle, age })
}

/// Keeps a job among the dead letters, and takes it out of the queue.
async fn bury(bus: &Bus, message: &Message, reason: GivenUp) {
    let mut headers = HeaderMap::new();
    headers.insert("Dfks-Reason", reason.as_str());
    headers.insert("Dfks-Subject", message.subject.as_str());
    match bus.store(Pattern::Dead, bus.subjects().dead("notify"), headers, message.payload.clone()).await {
        // It comes again, and is tried to be kept again.
        Err(error) => tracing::warn!(%error, "a dead letter could not be kept"),
        Ok(_) => {
            if let Err(error) = message.ack_with(AckKind::Term).await {
                tracing::debug!(%error, "a dead job was not taken out of the queue");
            }
        }
    }
}
