//! Single messages: read through the API, read directly, deleted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, json};

use crate::simulate::server::api::{Answer, read};
use crate::simulate::server::fault::{self, ApiError};
use crate::simulate::server::jetstream::JetStream;
use crate::simulate::server::log::Held;
use crate::simulate::server::stream::Stream;
use crate::simulate::server::wire::{Out, Publication};
use crate::simulate::server::{moment, wire};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Get {
    seq: u64,
    last_by_subj: String,
    next_by_subj: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delete {
    seq: u64,
}

impl Get {
    fn is_empty(&self) -> bool {
        self.seq == 0 && self.last_by_subj.is_empty() && self.next_by_subj.is_empty()
    }

    fn find<'s>(&self, stream: &'s Stream) -> Option<(u64, &'s Held)> {
        if !self.last_by_subj.is_empty() {
            return stream.log.last_of(&self.last_by_subj);
        }
        if !self.next_by_subj.is_empty() {
            return stream.log.next_from(self.seq, std::slice::from_ref(&self.next_by_subj));
        }
        Some((self.seq, stream.log.get(self.seq)?))
    }
}

impl JetStream {
    pub(super) fn message_call(&mut self, rest: &str, body: &[u8]) -> Option<(&'static str, Answer)> {
        let (verb, name) = rest.split_once('.')?;
        match verb {
            "GET" => Some(("stream_msg_get", self.get_message(name, body))),
            "DELETE" => Some(("stream_msg_delete", self.delete_message(name, body))),
            _ => None,
        }
    }

    fn get_message(&mut self, name: &str, body: &[u8]) -> Answer {
        let get: Get = read(body)?;
        let stream = self.stream(name)?;
        if get.is_empty() || get.seq > 0 && !get.last_by_subj.is_empty() {
            return Err(fault::BAD_REQUEST);
        }
        let (seq, held) = get.find(stream).ok_or(fault::NO_MESSAGE)?;
        let mut message = Map::new();
        message.insert("subject".to_owned(), held.subject.as_str().into());
        message.insert("seq".to_owned(), seq.into());
        if !held.headers.is_empty() {
            message.insert("hdrs".to_owned(), STANDARD.encode(wire::header_text(&held.headers)).into());
        }
        if !held.payload.is_empty() {
            message.insert("data".to_owned(), STANDARD.encode(&held.payload).into());
        }
        message.insert("time".to_owned(), moment::rfc3339(held.stored_at).into());
        Ok(json!({ "message": message }))
    }

    fn delete_message(&mut self, name: &str, body: &[u8]) -> Answer {
        let delete: Delete = read(body)?;
        let stream = self.stream(name)?;
        if stream.config.deny_delete {
            return Err(ApiError::not_deleted("message delete not permitted"));
        }
        if stream.remove(delete.seq).is_none() {
            let is_beyond = delete.seq > stream.log.last_seq();
            return Err(ApiError::not_deleted(if is_beyond { "stream store EOF" } else { "no message found" }));
        }
        Ok(json!({ "success": true }))
    }

    /// Of what follows `$JS.API.DIRECT.GET.`; whether there is such a stream, which is read so. Source: ADR-31.
    pub(in crate::simulate::server) fn direct_get(&mut self, rest: &str, publication: &Publication) -> bool {
        let (name, of) = rest.split_once('.').unwrap_or((rest, ""));
        let Some(stream) = self.streams.get(name).filter(|stream| stream.config.allow_direct) else { return false };
        let Some(reply) = &publication.reply else { return true };
        let get = if of.is_empty() {
            if publication.payload.is_empty() {
                Err("Empty Request")
            } else {
                serde_json::from_slice(&publication.payload).map_err(|_malformed| "Malformed Request")
            }
        } else {
            Ok(Get { last_by_subj: of.to_owned(), ..Get::default() })
        };
        let out = match get {
            Err(why) => Out::status(reply, 408, why),
            Ok(get) if get.is_empty() => Out::status(reply, 408, "Empty Request"),
            Ok(get) => match get.find(stream) {
                None => Out::status(reply, 404, "Message Not Found"),
                Some((seq, held)) => {
                    let out = Out { headers: Some(held.headers.clone()), ..Out::answer(reply, held.payload.clone()) };
                    out.with("Nats-Stream", &name)
                        .with("Nats-Subject", &held.subject)
                        .with("Nats-Sequence", &seq)
                        .with("Nats-Time-Stamp", &moment::rfc3339(held.stored_at))
                }
            },
        };
        self.out.push_back(out);
        true
    }
}
