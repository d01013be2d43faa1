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
use crate::sip::scan::Clean;

/// A response in the making.
///
/// It copies every Via, From, To, Call-ID and `CSeq` of the request (RFC 3261 §8.2.6.2) in strict form, whatever form they came
/// in. Nothing that is put into it can end its line.
#[derive(Debug)]
pub struct ResponseWriter<'a> {
    message: &'a Message,
    status: u16,
    reason: &'a str,
    source: SocketAddr,
    top_via: Cow<'a, Via>,
    from: Party<'a>,
    to: Party<'a>,
    to_tag: Option<Box<str>>,
    /// Header lines added by the caller.
    lines: Vec<u8>,
    body: Option<(&'a str, &'a [u8])>,
}

/// From or To: typed, or as received when unreadable.
#[derive(Debug)]
enum Party<'a> {
    Typed(Cow<'a, NameAddr>),
    Raw(&'a str),
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
        from: Party::Typed(Cow::Borrowed(request.from())),
        to: Party::Typed(Cow::Borrowed(request.to())),
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
    let party = |name: Name| {
        let value = message.header(name).unwrap_or_default();
        NameAddr::parse(value).map_or(Party::Raw(value), |value| Party::Typed(Cow::Owned(value)))
    };
    Some(ResponseWriter {
        message,
        status,
        reason,
        source,
        top_via: Cow::Owned(top_via),
        from: party(Name::From),
        to: party(Name::To),
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
            match NameAddr::parse(route) {
                Some(route) => Clean(&mut self.lines).line(Name::RecordRoute.as_str(), route),
                None => Clean(&mut self.lines).line(Name::RecordRoute.as_str(), route),
            }
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
        clean.line("Via", TopVia { via: &self.top_via, source: self.source });
        for via in self.message.values(Name::Via).skip(1) {
            match Via::parse(via) {
                Some(via) => clean.line("Via", via),
                None => clean.line("Via", via),
            }
        }
        clean.line("From", &self.from);
        clean.line("To", WithTag { party: &self.to, tag: self.new_to_tag().as_deref() });
        clean.line("Call-ID", self.message.header(Name::CallId).unwrap_or_default());
        clean.line("CSeq", CSeqText(self.message.header(Name::CSeq).unwrap_or_default()));
        clean.0.extend_from_slice(&self.lines);
        if let Some((content_type, _)) = self.body {
            clean.line("Content-Type", content_type);
        }
        clean.line("Content-Length", body.len());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        out.into()
    }

    /// The tag to add to To; `None` where it has one, and in a 100.
    fn new_to_tag(&self) -> Option<Cow<'_, str>> {
        let has_tag = match &self.to {
            Party::Typed(to) => to.tag().is_some(),
            Party::Raw(_) => true,
        };
        if has_tag || self.status == 100 {
            return None;
        }
        Some(match &self.to_tag {
            Some(tag) => Cow::Borrowed(tag),
            None => Cow::Owned(stateless_tag(&self.top_via, self.message.header(Name::CallId).unwrap_or_default())),
        })
    }
}

/// A stateless tag, equal for every retransmission of a request.
fn stateless_tag(via: &Via, call_id: &str) -> String {
    let mut hasher = ahash::RandomState::with_seeds(0x6466_6b73, 0x7461_6721, 0x7369_7032, 0x3132_3631).build_hasher();
    hasher.write(via.branch().unwrap_or_default().as_bytes());
    hasher.write_u8(0);
    hasher.write(call_id.as_bytes());
    format!("{:016x}", hasher.finish())
}

impl fmt::Display for Party<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Typed(value) => value.fmt(f),
            Self::Raw(text) => f.write_str(text),
        }
    }
}

struct WithTag<'a> {
    party: &'a Party<'a>,
    tag: Option<&'a str>,
}

impl fmt::Display for WithTag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.party, self.tag) {
            (Party::Typed(value), Some(tag)) => {
                // An empty tag counts as none, and must not remain beside ours.
                let mut value = NameAddr::clone(value);
                value.params.set("tag", tag);
                value.fmt(f)
            }
            (party, _) => party.fmt(f),
        }
    }
}

/// `CSeq` in strict form if readable, else as received.
struct CSeqText<'a>(&'a str);

impl fmt::Display for CSeqText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match crate::sip::header::CSeq::parse(self.0) {
            Some(cseq) => cseq.fmt(f),
            None => f.write_str(self.0),
        }
    }
}

/// The top Via with what we know about its sender: `received` when the address differs, is a name, or `rport` was asked for
/// (RFC 3261 §18.2.1, RFC 3581 §4). What the sender itself put there does not count.
struct TopVia<'a> {
    via: &'a Via,
    source: SocketAddr,
}

impl fmt::Display for TopVia<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { via, source } = self;
        write!(f, "SIP/2.0/{} {}", via.transport, via.host)?;
        if let Some(port) = via.port {
            write!(f, ":{port}")?;
        }
        for (name, value) in via.params.iter() {
            if name.eq_ignore_ascii_case("received") {
                continue;
            }
            if name.eq_ignore_ascii_case("rport") {
                write!(f, ";rport={}", source.port())?;
                continue;
            }
            write!(f, ";{name}")?;
            if let Some(value) = value {
                write!(f, "={value}")?;
            }
        }
        let address = source.ip().to_canonical();
        if via.wants_rport() || via.host_ip().is_none_or(|host| host.to_canonical() != address) {
            write!(f, ";received={address}")?;
        }
        Ok(())
    }
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
