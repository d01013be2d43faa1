//! A stream: what it takes, what it keeps, what becomes of it in time. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::simulate::server::config::{Retention, StreamConfig};
use crate::simulate::server::consumer::{Consumer, Scene};
use crate::simulate::server::log::{Held, Log};
use crate::simulate::server::{moment, subject, wire};

/// Most times that one visit removes or publishes something, so that no fault of ours can go on for ever.
const MOST_AT_ONCE: usize = 1_000_000;

/// A stream with its consumers.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) config: StreamConfig,
    /// Nanoseconds since 1970.
    pub(super) created: u64,
    pub(super) log: Log,
    pub(super) consumers: BTreeMap<String, Consumer>,
    pub(super) ids: Ids,
    /// When something of it is due, since the server's start.
    due: Option<Duration>,
}

/// The ids of messages that came of late.
#[derive(Debug, Default)]
pub(super) struct Ids {
    by_id: BTreeMap<String, (u64, u64)>,
    in_order: VecDeque<(u64, String)>,
    pub(super) last: String,
}

impl Ids {
    /// The sequence of the message that had this id.
    pub(super) fn seq_of(&mut self, id: &str, wall: u64, window: u64) -> Option<u64> {
        while let Some((at, old)) = self.in_order.front()
            && at + window <= wall
        {
            if self.by_id.get(old).is_some_and(|(_, of)| of == at) {
                self.by_id.remove(old);
            }
            self.in_order.pop_front();
        }
        self.by_id.get(id).map(|(seq, _)| *seq)
    }

    pub(super) fn keep(&mut self, id: &str, seq: u64, at: u64) {
        self.by_id.insert(id.to_owned(), (seq, at));
        self.in_order.push_back((at, id.to_owned()));
        id.clone_into(&mut self.last);
    }
}

impl Ids {
    fn read(log: &Log, wall: u64, window: u64) -> Self {
        let mut ids = Self::default();
        for (seq, held) in log.iter().filter(|(_, held)| held.stored_at + window > wall) {
            if let Some(id) = wire::header(&held.headers, "Nats-Msg-Id") {
                ids.keep(id, seq, held.stored_at);
            }
        }
        ids
    }
}

impl Stream {
    /// What it knows of ids after its server began anew: those of messages that it still has.
    pub(super) fn ids_from_log(&mut self, wall: u64) {
        self.ids = Ids::read(&self.log, wall, self.config.duplicate_window);
    }

    pub(super) fn new(config: StreamConfig, created: u64) -> Self {
        let log = Log::new(config.storage);
        Self { config, created, log, consumers: BTreeMap::new(), ids: Ids::default(), due: None }
    }

    pub(super) fn takes(&self, subject: &str) -> bool {
        self.config.subjects.iter().any(|filter| subject::matches(filter, subject))
    }

    /// Stores a message that was looked at, and makes room for it.
    pub(super) fn append(&mut self, held: Held) -> u64 {
        let subject = held.subject.clone();
        let seq = self.log.append(held);
        for consumer in self.consumers.values_mut() {
            consumer.stored(seq, &subject);
        }
        let most = u64::try_from(self.config.max_msgs_per_subject).ok();
        while most.is_some_and(|most| self.log.count_of(&subject) > most) {
            let Some(first) = self.log.first_of(&subject) else { break };
            self.remove(first);
        }
        self.make_room();
        seq
    }

    /// What is over a limit goes, the oldest first.
    pub(super) fn make_room(&mut self) {
        let (messages, bytes) = (u64::try_from(self.config.max_msgs), u64::try_from(self.config.max_bytes));
        while messages.is_ok_and(|most| self.log.len() > most) || bytes.is_ok_and(|most| self.log.bytes() > most) {
            let Some((first, _)) = self.log.first() else { break };
            self.remove(first);
        }
    }

    /// Takes a message away; its consumers hear of it.
    pub(super) fn remove(&mut self, seq: u64) -> Option<Held> {
        let held = self.log.remove(seq)?;
        for consumer in self.consumers.values_mut() {
            consumer.lost(seq, &held);
        }
        Some(held)
    }

    /// A message of a work queue is done with.
    pub(super) fn done(&mut self, seq: u64) {
        if self.config.retention == Retention::WorkQueue {
            self.remove(seq);
        }
    }

    /// What is due by now: messages that end, messages that are published at their time.
    pub(super) fn advance(&mut self, wall: u64) {
        for _ in 0..MOST_AT_ONCE {
            let by_age = self.log.first().and_then(|(seq, held)| Some((self.ends_by_age(held)?, seq)));
            let by_ttl = self.log.next_expiry();
            let Some((_, seq)) = by_age.into_iter().chain(by_ttl).min().filter(|(at, _)| *at <= wall) else { break };
            self.expire(seq, wall);
        }
        for _ in 0..MOST_AT_ONCE {
            let Some((_, seq)) = self.log.next_due().filter(|(at, _)| *at <= wall) else { break };
            self.publish_due(seq, wall);
        }
    }

    fn ends_by_age(&self, held: &Held) -> Option<u64> {
        (self.config.max_age > 0).then(|| held.stored_at.saturating_add(self.config.max_age))
    }

    /// A message ends; the last of its subject leaves a marker. Source: ADR-43.
    fn expire(&mut self, seq: u64, wall: u64) {
        let Some(gone) = self.remove(seq) else { return };
        let lives = Duration::from_nanos(self.config.subject_delete_marker_ttl);
        let was_marker = wire::header(&gone.headers, "Nats-Marker-Reason").is_some()
            || matches!(wire::header(&gone.headers, "KV-Operation"), Some("DEL" | "PURGE"));
        if lives.is_zero() || was_marker || self.log.count_of(&gone.subject) > 0 {
            return;
        }
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Marker-Reason", "MaxAge");
        headers.insert("Nats-TTL", moment::go_duration(lives).as_str());
        headers.insert("Nats-Rollup", "sub");
        self.append(Held {
            subject: gone.subject,
            headers,
            payload: Bytes::new(),
            stored_at: wall,
            expires_at: Some(wall.saturating_add(moment::nanos(Duration::from_secs(lives.as_secs())))),
            due_at: None,
        });
    }

    /// The time of a message has come: it is published on its target, and gone. Source: ADR-51.
    fn publish_due(&mut self, seq: u64, wall: u64) {
        let Some(timer) = self.remove(seq) else { return };
        let Some(target) = wire::header(&timer.headers, "Nats-Schedule-Target").map(str::to_owned) else { return };
        let mut headers = HeaderMap::new();
        for (name, values) in timer.headers.iter() {
            let text: &str = name.as_ref();
            if text.starts_with("Nats-Schedule")
                || text.starts_with("Nats-Expected-")
                || matches!(text, "Nats-Msg-Id" | "Nats-TTL" | "Nats-Rollup")
            {
                continue;
            }
            for value in values {
                headers.append(name.clone(), value.clone());
            }
        }
        headers.insert("Nats-Scheduler", timer.subject.as_str());
        headers.insert("Nats-Schedule-Next", "purge");
        self.append(Held { subject: target, headers, payload: timer.payload, stored_at: wall, expires_at: None, due_at: None });
    }

    /// When something is due, as it was looked at after the last change.
    pub(super) const fn next_at(&self) -> Option<Duration> {
        self.due
    }

    /// Looks when something is due.
    pub(super) fn look_ahead(&mut self, epoch: u64) {
        let by_age = self.log.first().and_then(|(_, held)| self.ends_by_age(held));
        let (by_ttl, due) = (self.log.next_expiry().map(|(at, _)| at), self.log.next_due().map(|(at, _)| at));
        let of_log = [by_age, by_ttl, due].into_iter().flatten().min().map(|at| Duration::from_nanos(at.saturating_sub(epoch)));
        let of_consumers = self.consumers.values().filter_map(Consumer::next_at).min();
        self.due = [of_log, of_consumers].into_iter().flatten().min();
    }

    /// Has all its consumers do what they can.
    pub(super) fn serve(&mut self, scene: &mut Scene<'_>) {
        let mut done = Vec::new();
        for consumer in self.consumers.values_mut() {
            done.extend(consumer.serve(&self.log, scene));
        }
        self.consumers.retain(|_, consumer| !consumer.is_over(scene));
        for seq in done {
            self.done(seq);
        }
        self.look_ahead(scene.epoch);
    }

    /// As `STREAM.INFO` says it.
    pub(super) fn info(&self, wall: u64) -> Value {
        let at = |at: Option<u64>| at.map_or_else(|| moment::NEVER.to_owned(), moment::rfc3339);
        let first_at = self.log.first().map(|(_, held)| held.stored_at);
        let last_at = Some(self.log.last_at()).filter(|at| *at > 0);
        let mut state = json!({
            "messages": self.log.len(),
            "bytes": self.log.bytes(),
            "first_seq": self.log.first_seq(),
            "first_ts": at(first_at),
            "last_seq": self.log.last_seq(),
            "last_ts": at(last_at),
            "consumer_count": self.consumers.len(),
        });
        let subjects = self.log.subjects().count();
        let span = if self.log.len() == 0 { 0 } else { self.log.last_seq() + 1 - self.log.first_seq() };
        let deleted = span - self.log.len();
        if let Some(fields) = state.as_object_mut() {
            if subjects > 0 {
                fields.insert("num_subjects".to_owned(), subjects.into());
            }
            if deleted > 0 {
                fields.insert("num_deleted".to_owned(), deleted.into());
            }
        }
        json!({ "config": self.config, "created": moment::rfc3339(self.created), "state": state, "ts": moment::rfc3339(wall) })
    }
}
