//! What the bus answers, and which wait it ends.

use bytes::Bytes;
use serde::Deserialize;

use super::exchange::StoreOutcome;
use super::{Notifier, Token, Wait};
use crate::bus::message::{ErrorBody, GetResponse, RouteSetResponse, read_reply};
use crate::edge::subscription::record::Record;
use crate::runtime::clock::Now;

/// The answer to a bus request.
#[derive(Debug)]
pub enum BusReply {
    /// A message came back.
    Message(ReplyMessage),
    /// None did.
    Unavailable(Unavailable),
}

/// What the notifier reads of a reply.
#[derive(Debug)]
pub struct ReplyMessage {
    /// Status of the server in place of a payload: 404 no such key, 503 no responders.
    pub status: Option<u16>,
    /// `Nats-Sequence` of a direct get.
    pub sequence: Option<u64>,
    /// Whether it is a deletion marker of the bucket.
    pub is_deleted: bool,
    /// Its payload.
    pub payload: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// Nobody listens.
    NoResponders,
    /// None came in time.
    Timeout,
    /// The request could not be sent.
    NotSent,
}

impl Unavailable {
    /// The word for logs and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoResponders => "no_responders",
            Self::Timeout => "timeout",
            Self::NotSent => "not_sent",
        }
    }
}

/// Acknowledgement of a JetStream publish: `{"stream":"KV_…","seq":7}` or `{"error":{"err_code":10071,…}}`.
#[derive(Deserialize)]
struct PublishAck {
    #[serde(default)]
    seq: u64,
    error: Option<PublishError>,
}

#[derive(Deserialize)]
struct PublishError {
    #[serde(default)]
    err_code: u32,
}

/// `err_code`s of a revision that was not the expected one.
const WRONG_LAST_SEQUENCE: [u32; 2] = [10071, 10164];

/// Status of a reply that says that nobody listens.
const NO_RESPONDERS: u16 = 503;
const NO_MESSAGE: u16 = 404;

impl Notifier {
    pub(super) fn on_reply(&mut self, token: Token, reply: BusReply, now: Now) {
        // A reply that comes after its time was given up already.
        let Some(wait) = self.waits.remove(&token.0) else { return self.metrics.late_reply() };
        let message = match reply {
            BusReply::Message(message) if message.status == Some(NO_RESPONDERS) => Err(Unavailable::NoResponders),
            BusReply::Message(message) => Ok(message),
            BusReply::Unavailable(why) => Err(why),
        };
        match wait {
            Wait::Store(id, cseq_reserved, asked_at) => {
                self.backlog.answered(asked_at, now.at);
                self.on_stored(id, cseq_reserved, store_outcome(message), now);
            }
            Wait::Reserve(id, cseq_reserved) => self.on_reserved(id, cseq_reserved, store_outcome(message)),
            Wait::Lookup(id, exchange) => {
                self.lookups = self.lookups.saturating_sub(1);
                let found = message.and_then(|message| read_record(&message));
                self.on_looked_up(id, exchange, found, now);
            }
            Wait::Auth(unproven) => self.on_account(*unproven, read_from("responder", message), now),
            Wait::Remove(id, revision) => self.on_removed(id, revision, store_outcome(message), now),
            Wait::TakeOver(id, cseq_reserved) => self.on_taken_over(id, cseq_reserved, store_outcome(message), now),
            Wait::Get(id, work) => self.on_states(id, &work, read_from::<GetResponse>("worker", message), now),
            Wait::Set(id, work) => self.on_route_set(id, work, read_from::<RouteSetResponse>("worker", message), now),
        }
    }
}

fn store_outcome(message: Result<ReplyMessage, Unavailable>) -> StoreOutcome {
    let message = match message {
        Ok(message) => message,
        Err(why) => return StoreOutcome::Unavailable(why),
    };
    match serde_json::from_slice::<PublishAck>(&message.payload) {
        Ok(PublishAck { error: None, seq }) if seq > 0 => StoreOutcome::Stored(seq),
        Ok(PublishAck { error: Some(error), .. }) if WRONG_LAST_SEQUENCE.contains(&error.err_code) => StoreOutcome::Conflict,
        _ => StoreOutcome::Unavailable(Unavailable::NotSent),
    }
}

/// What is under a key of the bucket.
#[derive(Debug)]
pub(super) enum Found {
    /// A record and its revision.
    Record(Box<Record>, u64),
    /// None that we could read; the revision is that of what is there in its place, 0: nothing.
    Gone(u64),
}

fn read_record(message: &ReplyMessage) -> Result<Found, Unavailable> {
    let revision = message.sequence.unwrap_or_default();
    match message.status {
        Some(NO_MESSAGE) => Ok(Found::Gone(0)),
        // Any other status says that the server could not look.
        Some(_) => Err(Unavailable::NotSent),
        None if message.is_deleted => Ok(Found::Gone(revision)),
        None => Ok(serde_json::from_slice(&message.payload).map_or(Found::Gone(revision), |record| Found::Record(record, revision))),
    }
}

/// The answer of a worker or responder, or why there is none: the code and text of its error, 503 where nobody answered.
fn read_from<M: serde::de::DeserializeOwned>(whom: &str, message: Result<ReplyMessage, Unavailable>) -> Result<M, ErrorBody> {
    match message {
        Ok(message) => read_reply(&message.payload),
        Err(why) => Err(ErrorBody { code: 503, description: format!("no {whom} answered: {}", why.as_str()), field: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &str) -> ReplyMessage {
        ReplyMessage { status: None, sequence: None, is_deleted: false, payload: Bytes::copy_from_slice(payload.as_bytes()) }
    }

    #[test]
    fn tells_an_acknowledgement_from_a_conflict_and_from_a_failure() {
        for (payload, want) in [
            (r#"{"stream":"KV_dfks-subscriptions","seq":7}"#, StoreOutcome::Stored(7)),
            (
                r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"},"stream":"s","seq":0}"#,
                StoreOutcome::Conflict,
            ),
            (
                r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}"#,
                StoreOutcome::Unavailable(Unavailable::NotSent),
            ),
            ("garbage", StoreOutcome::Unavailable(Unavailable::NotSent)),
        ] {
            assert_eq!(store_outcome(Ok(message(payload))), want, "{payload}");
        }
        assert_eq!(store_outcome(Err(Unavailable::Timeout)), StoreOutcome::Unavailable(Unavailable::Timeout));
    }
}
