//! The strict writer of responses.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;

use bytes::Bytes;

use super::reason_phrase;
use crate::sip::flow::Transport;
use crate::sip::header::{NameAddr, Protocol, Via};
use crate::sip::message::{Message, Start};
use crate::sip::name::Name;
use crate::sip::request::{MAX_HOPS, Request};
use crate::sip::scan::{self, Clean};

/// A response in the making.
///
/// It gives back every Via, From, To, Call-ID and `CSeq` of the request as they came (RFC 3261 §8.2.6.2), each on a line of its
/// own; only the top Via and a To without a tag get what is missing. Nothing that is put into it can end its line.
#[derive(Debug)]
pub struct ResponseWriter<'a> {
    message: &'a Message,
    status: u16,
    reason: &'a str,
    source: SocketAddr,
    top_via: Cow<'a, Via>,
    /// `None`: it could not be read.
    to: Option<Cow<'a, NameAddr>>,
    to_tag: Option<Box<str>>,
    /// Header lines added by the caller.
    lines: Vec<u8>,
    body: Option<(&'a str, &'a [u8])>,
}

/// Begins the response to a request that came from `source`.
#[must_use]
pub fn response(request: &Request, status: u16, source: SocketAddr) -> ResponseWriter<'_> {
    ResponseWriter {
        message: request.message(),
        status,
        reason: reason_phrase(status),
        source,
        top_via: Cow::Borrowed(request.top_via()),
        to: Some(Cow::Borrowed(request.to())),
        to_tag: None,
        lines: Vec::new(),
        body: None,
    }
}

/// Begins the response to a request that is no [`Request`]: what [`crate::sip::ParseError::answerable`] or
/// [`crate::sip::BadRequest`] holds.
///
/// `None` when there is not enough for an answer that its sender could match (a readable top Via, and From, To, Call-ID and
/// `CSeq` in whatever form), when it has more than `MAX_HOPS` of Via, or when it is an ACK or a response.
#[must_use]
pub fn to_message<'a>(message: &'a Message, status: u16, reason: &'a str, source: SocketAddr) -> Option<ResponseWriter<'a>> {
    let Start::Request { method, .. } = message.start() else { return None };
    if method.is_ack() {
        return None;
    }
    let is_there = |name: Name| message.header(name).is_some_and(|value| !value.is_empty());
    let top_via = Via::parse(message.values(Name::Via).next()?)?;
    if message.values(Name::Via).count() > MAX_HOPS {
        return None;
    }
    if ![Name::From, Name::To, Name::CallId, Name::CSeq].into_iter().all(is_there) {
        return None;
    }
    Some(ResponseWriter {
        message,
        status,
        reason,
        source,
        top_via: Cow::Owned(top_via),
        to: message.header(Name::To).and_then(NameAddr::parse).map(Cow::Owned),
        to_tag: None,
        lines: Vec::new(),
        body: None,
    })
}

impl<'a> ResponseWriter<'a> {
    /// Says something else than the status' usual reason phrase.
    pub fn reason(&mut self, reason: &'a str) -> &mut Self {
        self.reason = reason;
        self
    }

    /// The tag that To gets if it has none. Without a call, a final response gets one that is the same for each
    /// retransmission of the request (RFC 3261 §8.2.6.2, §8.2.7).
    pub fn to_tag(&mut self, tag: &str) -> &mut Self {
        self.to_tag = Some(tag.into());
        self
    }

    /// Adds a header line.
    pub fn header(&mut self, name: &str, value: impl fmt::Display) -> &mut Self {
        Clean(&mut self.lines).line(name, value);
        self
    }

    /// Copies the Record-Route of the request, as a response that makes a dialog must (RFC 3261 §12.1.1).
    pub fn copy_record_route(&mut self) -> &mut Self {
        for route in self.message.values(Name::RecordRoute) {
            echo(&mut self.lines, self.message, Name::RecordRoute, route);
        }
        self
    }

    /// Gives the response a body.
    pub fn body(&mut self, content_type: &'a str, body: &'a [u8]) -> &mut Self {
        self.body = Some((content_type, body));
        self
    }

    /// The whole response.
    #[must_use]
    pub fn finish(self) -> Bytes {
        let body = self.body.map_or(&[][..], |(_, body)| body);
        let mut out = Vec::with_capacity(512 + self.lines.len() + body.len());
        let mut clean = Clean(&mut out);
        let _infallible = write!(clean, "SIP/2.0 {} {}", self.status, self.reason);
        clean.0.extend_from_slice(b"\r\n");
        let mut vias = self.message.values(Name::Via);
        let top_via = with_source(vias.next().unwrap_or_default(), &self.top_via, self.source);
        echo(&mut out, self.message, Name::Via, &top_via);
        for via in vias {
            echo(&mut out, self.message, Name::Via, via);
        }
        let first = |name: Name| self.message.header(name).unwrap_or_default();
        echo(&mut out, self.message, Name::From, first(Name::From));
        echo(&mut out, self.message, Name::To, &self.to_text());
        echo(&mut out, self.message, Name::CallId, first(Name::CallId));
        echo(&mut out, self.message, Name::CSeq, first(Name::CSeq));
        out.extend_from_slice(&self.lines);
        let mut clean = Clean(&mut out);
        if let Some((content_type, _)) = self.body {
            clean.line("Content-Type", content_type);
        }
        clean.line("Content-Length", body.len());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        out.into()
    }

    /// The To as it came, with a tag where it has none.
    fn to_text(&self) -> Cow<'a, str> {
        let raw = self.message.header(Name::To).unwrap_or_default();
        let Some(to) = self.to.as_ref().filter(|to| to.tag().is_none() && self.status != 100) else { return raw.into() };
        let tag = match &self.to_tag {
            Some(tag) => Cow::Borrowed(&**tag),
            None => Cow::Owned(stateless_tag(&self.top_via, self.message.header(Name::CallId).unwrap_or_default())),
        };
        if to.params.has("tag") {
            // An empty tag counts as none, and must not remain beside ours.
            let mut to = NameAddr::clone(to);
            to.params.set("tag", &tag);
            return to.to_string().into();
        }
        format!("{};tag={tag}", raw.trim_end_matches([' ', '\t', ';'])).into()
    }
}

/// Gives back a value of the request, byte for byte.
fn echo(out: &mut Vec<u8>, message: &Message, name: Name, value: &str) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    Clean(out).bytes(&message.as_received(value));
    out.extend_from_slice(b"\r\n");
}

/// A stateless tag, equal for every retransmission of a request.
fn stateless_tag(via: &Via, call_id: &str) -> String {
    let mut hasher = ahash::RandomState::with_seeds(0x6466_6b73, 0x7461_6721, 0x7369_7032, 0x3132_3631).build_hasher();
    hasher.write(via.branch().unwrap_or_default().as_bytes());
    hasher.write_u8(0);
    hasher.write(call_id.as_bytes());
    format!("{:016x}", hasher.finish())
}

/// The top Via as it came, with what we know about its sender: `received` when the address differs, is a name, or `rport` was
/// asked for (RFC 3261 §18.2.1, RFC 3581 §4). What the sender itself put there does not count.
fn with_source(raw: &str, via: &Via, source: SocketAddr) -> String {
    let (sent_by, mut rest) = raw.split_at_checked(raw.find(';').unwrap_or(raw.len())).unwrap_or((raw, ""));
    let mut out = String::with_capacity(raw.len() + 40);
    out.push_str(sent_by);
    while let Some(params) = rest.strip_prefix(';') {
        let (param, after) = params.split_at_checked(scan::find_outside(params, b';', false).unwrap_or(params.len())).unwrap_or_default();
        rest = after;
        let name = param.split('=').next().unwrap_or_default().trim();
        if name.eq_ignore_ascii_case("rport") {
            let _infallible = write!(out, ";rport={}", source.port());
        } else if !name.eq_ignore_ascii_case("received") {
            out.push(';');
            out.push_str(param);
        }
    }
    let address = source.ip().to_canonical();
    if via.wants_rport() || via.host_ip().is_none_or(|host| host.to_canonical() != address) {
        let _infallible = write!(out, ";received={address}");
    }
    out
}

/// Where a response that goes over UDP is sent: to the port it came from when `rport` was asked for, else to the port of the
/// sent-by; and always to the address it came from. Neither `maddr` nor a sent-by of another host is followed, so that
/// nobody can have us send to a third.
///
/// Source: RFC 3261 §18.2.2, RFC 3581 §4.
#[must_use]
pub(crate) fn response_destination(via: &Via, source: SocketAddr) -> SocketAddr {
    if via.wants_rport() {
        return source;
    }
    let default_port = match &via.transport {
        Protocol::Known(transport) => transport.default_port(),
        Protocol::Other(_) => Transport::Udp.default_port(),
    };
    SocketAddr::new(source.ip(), via.port.unwrap_or(default_port))
}

#[cfg(test)]
#[path = "tests/writer.rs"]
mod tests;
