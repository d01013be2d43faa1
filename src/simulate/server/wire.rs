//! What goes over the wire to clients, and how many bytes it takes. Pure.

use std::fmt;

use async_nats::header::{HeaderName, HeaderValue};
use async_nats::{HeaderMap, Message, StatusCode};
use bytes::Bytes;

use crate::simulate::server::plain::{ConnectionId, SubscriptionId};

/// A message that a client sends.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Where it goes.
    pub subject: String,
    /// Where its answer goes.
    pub reply: Option<String>,
    /// Empty: none.
    pub headers: HeaderMap,
    /// What it says.
    pub payload: Bytes,
}

/// A message that a client gets.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The client.
    pub to: ConnectionId,
    /// Of its subscriptions.
    pub subscription: SubscriptionId,
    /// As async-nats has it.
    pub message: Message,
}

/// A message of the server itself, or of a stream.
#[derive(Debug, Clone)]
pub(super) struct Out {
    /// Where it goes.
    pub(super) to: String,
    /// The subject that it shows: of a message of a stream its own.
    pub(super) subject: Option<String>,
    pub(super) reply: Option<String>,
    pub(super) status: Option<(u16, String)>,
    pub(super) headers: Option<HeaderMap>,
    pub(super) payload: Bytes,
}

impl Out {
    pub(super) fn answer(to: &str, payload: impl Into<Bytes>) -> Self {
        Self { to: to.to_owned(), subject: None, reply: None, status: None, headers: None, payload: payload.into() }
    }

    pub(super) fn status(to: &str, status: u16, description: impl Into<String>) -> Self {
        let status = Some((status, description.into()));
        Self { to: to.to_owned(), subject: None, reply: None, status, headers: Some(HeaderMap::new()), payload: Bytes::new() }
    }

    pub(super) fn with(mut self, name: &'static str, value: &dyn fmt::Display) -> Self {
        let headers = self.headers.get_or_insert_default();
        headers.insert(name, value.to_string().as_str());
        self
    }

    pub(super) fn message(self) -> Message {
        let subject = self.subject.unwrap_or(self.to);
        message(subject, self.reply, self.status, self.headers, self.payload)
    }
}

pub(super) fn message(
    subject: String,
    reply: Option<String>,
    status: Option<(u16, String)>,
    headers: Option<HeaderMap>,
    payload: Bytes,
) -> Message {
    let (status, description) = match status {
        Some((status, description)) => (StatusCode::from_u16(status).ok(), Some(description).filter(|description| !description.is_empty())),
        None => (None, None),
    };
    let header_bytes = headers.as_ref().map_or(0, header_bytes);
    let length = subject.len() + reply.as_ref().map_or(0, String::len) + header_bytes + payload.len();
    Message { subject: subject.into(), reply: reply.map(Into::into), payload, headers, status, description, length }
}

/// Bytes of the headers of a message that a client sends: none where there are none.
pub(super) fn header_bytes(headers: &HeaderMap) -> usize {
    if headers.is_empty() {
        return 0;
    }
    let lines = headers.iter().flat_map(|(name, values)| values.iter().map(move |value| name_of(name).len() + value.as_str().len() + 4));
    "NATS/1.0\r\n\r\n".len() + lines.sum::<usize>()
}

/// As they go over the wire; the order of the names is that of the alphabet, since the map has none.
pub(super) fn header_text(headers: &HeaderMap) -> String {
    let mut lines: Vec<String> = headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| format!("{}: {}\r\n", name_of(name), value.as_str())))
        .collect();
    lines.sort();
    format!("NATS/1.0\r\n{}\r\n", lines.concat())
}

fn name_of(name: &HeaderName) -> &str {
    name.as_ref()
}

/// A header; only its first value counts.
pub(super) fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).map(HeaderValue::as_str)
}
