//! A model of nats-server: subjects, queue groups, JetStream with streams, buckets and consumers. Pure: time comes in, messages come out.
//!
//! It does what `src` asks of a server, and answers as nats-server 2.15.1 does: `tests/model` runs the same random programs on both.
//! Time stands still unless it is told: [`Server::publish`], [`Server::advance`].

mod api;
mod config;
mod consumer;
mod fault;
mod intake;
mod jetstream;
mod log;
mod moment;
mod plain;
mod stream;
mod subject;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::HeaderMap;
use bytes::Bytes;

pub use self::plain::{ConnectionId, SubscriptionId};
pub use self::wire::{Delivery, Publication};

use self::jetstream::JetStream;
use self::plain::Plain;
use self::wire::Out;

/// One nats-server, or a cluster that behaves as one.
#[derive(Debug)]
pub struct Server {
    plain: Plain,
    jetstream: JetStream,
    deliveries: VecDeque<Delivery>,
}

/// What a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamState {
    /// Messages.
    pub messages: u64,
    /// Their bytes, as the server counts them.
    pub bytes: u64,
    /// The sequence of its last message: how many it has ever had.
    pub last_seq: u64,
    /// Its consumers.
    pub consumers: usize,
    /// Deliveries of all of them that wait for an acknowledgement.
    pub ack_pending: u64,
    /// Requests of all of them that wait for messages.
    pub waiting: u64,
}

/// A stored message.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'s> {
    /// Its sequence.
    pub sequence: u64,
    /// Its subject.
    pub subject: &'s str,
    /// Its headers.
    pub headers: &'s HeaderMap,
    /// Its payload.
    pub payload: &'s Bytes,
    /// When it was stored, since the server's epoch.
    pub stored_at: Duration,
}

impl Server {
    /// A server that shows this time of day when its clock is at zero.
    #[must_use]
    pub fn new(epoch: SystemTime) -> Self {
        Self::with_seed(epoch, 0)
    }

    /// One that chooses among the members of queue groups by a seed.
    #[must_use]
    pub fn with_seed(epoch: SystemTime, seed: u64) -> Self {
        let epoch = moment::nanos(epoch.duration_since(UNIX_EPOCH).unwrap_or_default());
        Self { plain: Plain::of_seed(seed), jetstream: JetStream::new(epoch), deliveries: VecDeque::new() }
    }

    /// A client connects.
    pub fn connect(&mut self) -> ConnectionId {
        self.plain.connect()
    }

    /// A client is gone, with its subscriptions.
    pub fn disconnect(&mut self, connection: ConnectionId) {
        self.plain.disconnect(connection);
        self.deliveries.retain(|delivery| delivery.to != connection);
        self.jetstream.listeners_changed(&self.plain);
        self.flush();
    }

    /// A client listens, as one of a queue group or for itself.
    pub fn subscribe(&mut self, connection: ConnectionId, subscription: SubscriptionId, subject: &str, queue: Option<&str>) {
        self.plain.subscribe(connection, subscription, subject, queue);
        self.jetstream.listeners_changed(&self.plain);
        self.flush();
    }

    /// A client listens no longer.
    pub fn unsubscribe(&mut self, connection: ConnectionId, subscription: SubscriptionId) {
        self.plain.unsubscribe(connection, subscription);
        self.jetstream.listeners_changed(&self.plain);
        self.flush();
    }

    /// A client sends a message. What is due by then happens before.
    pub fn publish(&mut self, from: ConnectionId, publication: Publication, now: Duration) {
        self.advance(now);
        if !self.plain.is_connected(from) {
            return;
        }
        let to = self.plain.route(&publication.subject);
        let is_taken = self.jetstream.take(&self.plain, &publication);
        let Publication { subject, reply, headers, payload } = publication;
        if let Some(reply) = reply.as_ref().filter(|_| to.is_empty() && !is_taken)
            && let Some((connection, subscription)) = self.plain.own(from, reply)
        {
            let message = Out::status(reply, 503, "").with("Nats-Subject", &subject).message();
            self.deliveries.push_back(Delivery { to: connection, subscription, message });
        }
        let headers = Some(headers).filter(|headers| !headers.is_empty());
        for (connection, subscription) in to {
            let message = wire::message(subject.clone(), reply.clone(), None, headers.clone(), payload.clone());
            self.deliveries.push_back(Delivery { to: connection, subscription, message });
        }
        self.flush();
    }

    /// Time has passed.
    pub fn advance(&mut self, now: Duration) {
        while let Some(due) = self.jetstream.next_at().filter(|due| *due < now) {
            self.jetstream.advance(&self.plain, due);
            self.flush();
            if self.jetstream.next_at().is_some_and(|next| next <= due) {
                break;
            }
        }
        self.jetstream.advance(&self.plain, now);
        self.flush();
    }

    /// When [`advance`](Self::advance) has something to do.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        self.jetstream.next_at()
    }

    /// The next message for a client.
    pub fn poll(&mut self) -> Option<Delivery> {
        self.deliveries.pop_front()
    }

    /// Whether a cluster is without a leader: calls of the API, stores and acknowledgements get no answer and change nothing; subjects
    /// work, and direct gets are answered, as followers do.
    pub fn set_leaderless(&mut self, is_leaderless: bool) {
        self.jetstream.is_leaderless = is_leaderless;
        if is_leaderless {
            self.jetstream.forget_waiting();
        }
    }

    /// Whether no stream takes anything.
    pub fn set_full(&mut self, is_full: bool) {
        self.jetstream.is_full = is_full;
    }

    /// The server ends and begins anew: all connections end, consumers in memory are gone, files stay.
    pub fn restart(&mut self, now: Duration) {
        self.advance(now);
        self.plain.disconnect_all();
        self.deliveries.clear();
        self.jetstream.restart(&self.plain);
    }

    /// Another server of the cluster leads.
    pub fn step_down(&mut self, now: Duration) {
        self.advance(now);
        self.jetstream.step_down(&self.plain);
        self.flush();
    }

    /// What each stream holds.
    pub fn streams(&self) -> impl Iterator<Item = (&str, StreamState)> {
        self.jetstream.streams.iter().map(|(name, stream)| {
            let consumers = || stream.consumers.values();
            let state = StreamState {
                messages: stream.log.len(),
                bytes: stream.log.bytes(),
                last_seq: stream.log.last_seq(),
                consumers: stream.consumers.len(),
                ack_pending: consumers().map(consumer::Consumer::ack_pending).sum(),
                waiting: consumers().map(|consumer| u64::try_from(consumer.waiting()).unwrap_or(u64::MAX)).sum(),
            };
            (name.as_str(), state)
        })
    }

    /// The messages of a stream.
    pub fn messages(&self, stream: &str) -> impl Iterator<Item = Stored<'_>> {
        let epoch = self.jetstream.epoch;
        let all = self.jetstream.streams.get(stream).into_iter().flat_map(|stream| stream.log.iter());
        all.map(move |(seq, held)| Stored {
            sequence: seq,
            subject: &held.subject,
            headers: &held.headers,
            payload: &held.payload,
            stored_at: Duration::from_nanos(held.stored_at.saturating_sub(epoch)),
        })
    }

    /// The sequence of a stream's last message; 0: there is none, or no such stream.
    #[must_use]
    pub fn last_sequence(&self, stream: &str) -> u64 {
        self.jetstream.streams.get(stream).map_or(0, |stream| stream.log.last_seq())
    }

    /// What JetStream has said goes to whoever listens.
    fn flush(&mut self) {
        while let Some(out) = self.jetstream.out.pop_front() {
            let to = self.plain.route(&out.to);
            if to.is_empty() {
                continue;
            }
            let message = out.message();
            for (connection, subscription) in to {
                self.deliveries.push_back(Delivery { to: connection, subscription, message: message.clone() });
            }
        }
    }
}
