//! The messages of a stream. Pure.

use std::collections::{BTreeMap, BTreeSet};

use async_nats::HeaderMap;
use bytes::Bytes;

use crate::simulate::server::config::Storage;
use crate::simulate::server::{subject, wire};

/// A stored message.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) subject: String,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
    /// Nanoseconds since 1970, as are all times here.
    pub(super) stored_at: u64,
    /// When its own TTL is over.
    pub(super) expires_at: Option<u64>,
    /// When it is to be published on its target.
    pub(super) due_at: Option<u64>,
}

impl Held {
    /// Bytes that the store counts for it. Source: `fileStoreMsgSizeRaw`, `memStoreMsgSizeRaw` of nats-server.
    pub(super) fn bytes(&self, storage: Storage) -> u64 {
        let headers = wire::header_bytes(&self.headers);
        let own = match (storage, headers) {
            (Storage::Memory, _) => 16,
            (Storage::File, 0) => 30,
            (Storage::File, _) => 34,
        };
        u64::try_from(own + self.subject.len() + headers + self.payload.len()).unwrap_or(u64::MAX)
    }
}

/// Messages by sequence, by subject, and by the time that they end.
#[derive(Debug, Default)]
pub(super) struct Log {
    storage: Storage,
    messages: BTreeMap<u64, Held>,
    by_subject: BTreeMap<String, BTreeSet<u64>>,
    expiring: BTreeSet<(u64, u64)>,
    scheduled: BTreeSet<(u64, u64)>,
    last_seq: u64,
    last_at: u64,
    is_purged: bool,
    bytes: u64,
}

impl Log {
    pub(super) fn new(storage: Storage) -> Self {
        Self { storage, ..Self::default() }
    }

    pub(super) fn append(&mut self, held: Held) -> u64 {
        self.last_seq += 1;
        let seq = self.last_seq;
        self.last_at = held.stored_at;
        self.bytes += held.bytes(self.storage);
        self.by_subject.entry(held.subject.clone()).or_default().insert(seq);
        self.expiring.extend(held.expires_at.map(|at| (at, seq)));
        self.scheduled.extend(held.due_at.map(|at| (at, seq)));
        self.messages.insert(seq, held);
        seq
    }

    pub(super) fn remove(&mut self, seq: u64) -> Option<Held> {
        let held = self.messages.remove(&seq)?;
        self.bytes -= held.bytes(self.storage);
        if let Some(all) = self.by_subject.get_mut(&held.subject) {
            all.remove(&seq);
            if all.is_empty() {
                self.by_subject.remove(&held.subject);
            }
        }
        if let Some(at) = held.expires_at {
            self.expiring.remove(&(at, seq));
        }
        if let Some(at) = held.due_at {
            self.scheduled.remove(&(at, seq));
        }
        Some(held)
    }

    /// What is before this sequence was purged, so that the next message has at least it; 0: all.
    pub(super) fn purged(&mut self, seq: u64) {
        self.is_purged = true;
        self.last_seq = self.last_seq.max(seq.saturating_sub(1));
    }

    pub(super) fn get(&self, seq: u64) -> Option<&Held> {
        self.messages.get(&seq)
    }

    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.messages.len()).unwrap_or(u64::MAX)
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn storage(&self) -> Storage {
        self.storage
    }

    pub(super) const fn last_seq(&self) -> u64 {
        self.last_seq
    }

    pub(super) const fn last_at(&self) -> u64 {
        self.last_at
    }

    pub(super) fn first(&self) -> Option<(u64, &Held)> {
        self.messages.first_key_value().map(|(seq, held)| (*seq, held))
    }

    /// As `STREAM.INFO` says it: 0 before the first message, the next one's where all are gone.
    pub(super) fn first_seq(&self) -> u64 {
        match self.messages.first_key_value() {
            Some((seq, _)) => *seq,
            None if self.last_seq == 0 && !self.is_purged => 0,
            None => self.last_seq + 1,
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &Held)> {
        self.messages.iter().map(|(seq, held)| (*seq, held))
    }

    pub(super) fn subjects(&self) -> impl Iterator<Item = (&str, u64)> {
        self.by_subject.iter().map(|(subject, all)| (subject.as_str(), u64::try_from(all.len()).unwrap_or(u64::MAX)))
    }

    /// The first of these subjects from a sequence on.
    pub(super) fn next_from(&self, seq: u64, filters: &[String]) -> Option<(u64, &Held)> {
        if let [filter] = filters
            && subject::is_literal(filter)
        {
            let seq = *self.by_subject.get(filter)?.range(seq..).next()?;
            return Some((seq, self.messages.get(&seq)?));
        }
        let mut later = self.messages.range(seq..);
        later.find(|(_, held)| subject::any_matches(filters, &held.subject)).map(|(seq, held)| (*seq, held))
    }

    /// The last of a subject, which may have wildcards.
    pub(super) fn last_of(&self, filter: &str) -> Option<(u64, &Held)> {
        let seq = if subject::is_literal(filter) {
            *self.by_subject.get(filter)?.last()?
        } else {
            let fit = self.by_subject.iter().filter(|(subject, _)| subject::matches(filter, subject));
            fit.filter_map(|(_, all)| all.last().copied()).max()?
        };
        Some((seq, self.messages.get(&seq)?))
    }

    pub(super) fn first_of(&self, subject: &str) -> Option<u64> {
        self.by_subject.get(subject)?.first().copied()
    }

    pub(super) fn count_of(&self, subject: &str) -> u64 {
        self.by_subject.get(subject).map_or(0, |all| u64::try_from(all.len()).unwrap_or(u64::MAX))
    }

    /// All of these subjects, or of all, from a sequence on.
    pub(super) fn count_from(&self, seq: u64, filters: &[String]) -> u64 {
        let later = self.messages.range(seq..).filter(|(_, held)| subject::any_matches(filters, &held.subject));
        u64::try_from(later.count()).unwrap_or(u64::MAX)
    }

    /// The last of each subject that fits, in order.
    pub(super) fn last_of_each(&self, filters: &[String]) -> BTreeSet<u64> {
        let fit = self.by_subject.iter().filter(|(subject, _)| subject::any_matches(filters, subject));
        fit.filter_map(|(_, all)| all.last().copied()).collect()
    }

    pub(super) fn sequences_of(&self, filter: &str) -> Vec<u64> {
        let fit = self.by_subject.iter().filter(|(subject, _)| subject::matches(filter, subject));
        let all: BTreeSet<u64> = fit.flat_map(|(_, all)| all.iter().copied()).collect();
        all.into_iter().collect()
    }

    /// When the next message ends by its own TTL, and which.
    pub(super) fn next_expiry(&self) -> Option<(u64, u64)> {
        self.expiring.first().copied()
    }

    /// When the next message is to be published, and which.
    pub(super) fn next_due(&self) -> Option<(u64, u64)> {
        self.scheduled.first().copied()
    }
}
