//! Whether a stream takes a message, and what it answers. Pure.
//!
//! The order of the checks is that of `processJetStreamMsg` of nats-server 2.15.

use serde_json::json;

use crate::simulate::server::config::{Discard, Storage};
use crate::simulate::server::fault::{self, ApiError};
use crate::simulate::server::log::Held;
use crate::simulate::server::moment::{self, Ttl};
use crate::simulate::server::stream::Stream;
use crate::simulate::server::wire::{self, Publication, header};

/// A message that was taken, or was there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    seq: u64,
    is_duplicate: bool,
}

impl Stream {
    /// Takes a message, and says what is answered.
    pub(super) fn take(&mut self, publication: &Publication, wall: u64, is_full: bool) -> String {
        match self.try_take(publication, wall, is_full) {
            Ok(Taken { seq, is_duplicate: false }) => format!(r#"{{"stream":"{}","seq":{seq}}}"#, self.config.name),
            Ok(Taken { seq, is_duplicate: true }) => format!(r#"{{"stream":"{}","seq":{seq},"duplicate": true}}"#, self.config.name),
            Err(error) => json!({ "error": error.json(), "stream": self.config.name, "seq": 0 }).to_string(),
        }
    }

    fn try_take(&mut self, publication: &Publication, wall: u64, is_full: bool) -> Result<Taken, ApiError> {
        let Publication { subject, headers, payload, .. } = publication;
        let id = header(headers, "Nats-Msg-Id");
        if let Some(stream) = header(headers, "Nats-Expected-Stream")
            && stream != self.config.name
        {
            return Err(fault::STREAM_NOT_MATCH);
        }
        if let Some(id) = id
            && let Some(seq) = self.ids.seq_of(id, wall, self.config.duplicate_window)
        {
            return Ok(Taken { seq, is_duplicate: true });
        }
        self.check_expected(publication)?;
        let expires_at = self.ends_at(publication, wall)?;
        let due_at = self.due_at(publication)?;
        self.check_room(publication, is_full)?;
        let rollup = self.rollup(publication)?.or(due_at.map(|_| Rollup::Subject));
        let mut stored = headers.clone();
        if due_at.is_some() {
            // the server has the next timer take the place of the last
            stored.insert("Nats-Rollup", "sub");
        }
        let held = Held { subject: subject.clone(), headers: stored, payload: payload.clone(), stored_at: wall, expires_at, due_at };
        let seq = self.append(held);
        if let Some(id) = id {
            self.ids.keep(id, seq, wall);
        } else {
            self.ids.last.clear();
        }
        match rollup {
            Some(Rollup::Subject) => {
                for old in self.log.sequences_of(subject).into_iter().filter(|old| *old < seq) {
                    self.remove(old);
                }
            }
            Some(Rollup::All) => {
                let all: Vec<u64> = self.log.iter().map(|(old, _)| old).filter(|old| *old < seq).collect();
                for old in all {
                    self.remove(old);
                }
            }
            None => {}
        }
        Ok(Taken { seq, is_duplicate: false })
    }

    fn check_expected(&self, publication: &Publication) -> Result<(), ApiError> {
        let headers = &publication.headers;
        if let Some(expected) = header(headers, "Nats-Expected-Last-Sequence")
            && expected.parse() != Ok(self.log.last_seq())
        {
            return Err(ApiError::wrong_last_sequence(self.log.last_seq()));
        }
        if let Some(expected) = header(headers, "Nats-Expected-Last-Msg-Id")
            && *expected != self.ids.last
        {
            return Err(ApiError::wrong_last_id(&self.ids.last));
        }
        if let Some(expected) = header(headers, "Nats-Expected-Last-Subject-Sequence") {
            let of = header(headers, "Nats-Expected-Last-Subject-Sequence-Subject").unwrap_or(&publication.subject);
            let last = self.log.last_of(of).map_or(0, |(seq, _)| seq);
            if expected.parse() != Ok(last) {
                return Err(ApiError::wrong_last_sequence(last));
            }
        }
        Ok(())
    }

    /// When it ends by its own TTL.
    fn ends_at(&self, publication: &Publication, wall: u64) -> Result<Option<u64>, ApiError> {
        let Some(text) = header(&publication.headers, "Nats-TTL") else { return Ok(None) };
        let ttl = moment::ttl(text).ok_or(fault::TTL_INVALID)?;
        if !self.config.allow_msg_ttl {
            return Err(fault::TTL_DISABLED);
        }
        match ttl {
            Ttl::Never => Ok(None),
            Ttl::Seconds(seconds) => Ok(Some(wall.saturating_add(seconds.saturating_mul(1_000_000_000)))),
        }
    }

    /// When it is to be published on its target.
    fn due_at(&self, publication: &Publication) -> Result<Option<u64>, ApiError> {
        let headers = &publication.headers;
        let Some(schedule) = header(headers, "Nats-Schedule") else { return Ok(None) };
        if !self.config.allow_msg_schedules {
            return Err(fault::SCHEDULES_DISABLED);
        }
        let at = schedule.strip_prefix("@at ").and_then(moment::parse_rfc3339).ok_or(fault::SCHEDULE_INVALID)?;
        let target = header(headers, "Nats-Schedule-Target").unwrap_or_default();
        if target.is_empty() || target == publication.subject || !self.takes(target) {
            return Err(fault::SCHEDULE_TARGET);
        }
        Ok(Some(at))
    }

    fn check_room(&self, publication: &Publication, is_full: bool) -> Result<(), ApiError> {
        let config = &self.config;
        let size = wire::header_bytes(&publication.headers) + publication.payload.len();
        if usize::try_from(config.max_msg_size).is_ok_and(|most| size > most) {
            return Err(fault::MESSAGE_TOO_LARGE);
        }
        if is_full {
            return Err(if config.max_bytes > 0 { ApiError::not_stored("maximum bytes exceeded") } else { fault::INSUFFICIENT_RESOURCES });
        }
        if config.discard == Discard::New {
            let bytes = self.bytes_of(publication);
            // where a subject is at its limit, its oldest gives way
            let is_at_limit = u64::try_from(config.max_msgs_per_subject).is_ok_and(|most| self.log.count_of(&publication.subject) >= most);
            if !is_at_limit && u64::try_from(config.max_msgs).is_ok_and(|most| self.log.len() >= most) {
                return Err(ApiError::not_stored("maximum messages exceeded"));
            }
            let freed = if is_at_limit { self.oldest_bytes(&publication.subject) } else { 0 };
            if u64::try_from(config.max_bytes).is_ok_and(|most| self.log.bytes() + bytes - freed > most) {
                return Err(ApiError::not_stored("maximum bytes exceeded"));
            }
        }
        Ok(())
    }

    fn bytes_of(&self, publication: &Publication) -> u64 {
        let headers = wire::header_bytes(&publication.headers);
        let own = match (self.log.storage(), headers) {
            (Storage::Memory, _) => 16,
            (Storage::File, 0) => 30,
            (Storage::File, _) => 34,
        };
        u64::try_from(own + publication.subject.len() + headers + publication.payload.len()).unwrap_or(u64::MAX)
    }

    fn oldest_bytes(&self, subject: &str) -> u64 {
        let oldest = self.log.first_of(subject).and_then(|seq| self.log.get(seq));
        oldest.map_or(0, |held| held.bytes(self.log.storage()))
    }

    fn rollup(&self, publication: &Publication) -> Result<Option<Rollup>, ApiError> {
        let Some(rollup) = header(&publication.headers, "Nats-Rollup") else { return Ok(None) };
        if !self.config.allow_rollup_hdrs || self.config.deny_purge {
            return Err(ApiError::rollup("rollup not permitted".to_owned()));
        }
        match rollup {
            "sub" => Ok(Some(Rollup::Subject)),
            "all" => Ok(Some(Rollup::All)),
            other => Err(ApiError::rollup(format!("rollup value invalid: {other:?}"))),
        }
    }
}

/// What a message takes the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rollup {
    Subject,
    All,
}
