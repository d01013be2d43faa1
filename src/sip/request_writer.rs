//! The strict writer of requests.

use std::fmt::{self, Write};

use super::flow::Transport;
use super::scan::Clean;

/// The head that every request has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestHead<'a> {
    pub method: &'a str,
    /// The Request-URI: the remote target, in a dialog.
    pub uri: &'a str,
    /// The route set, each `<sip:proxy;lr>`.
    pub routes: &'a [Box<str>],
    /// The transport that goes into the Via.
    pub transport: Transport,
    /// `host[:port]` that goes into the Via.
    pub sent_by: &'a str,
    /// The branch: [`super::transaction::Branch::as_str`].
    pub branch: &'a str,
    pub from: Party<'a>,
    pub to: Party<'a>,
    pub call_id: &'a str,
    /// The number of the `CSeq`.
    pub cseq: u32,
    /// Our URI, without `<>`, for the Contact.
    pub contact: &'a str,
}

/// From or To of a request.
///
/// Shape: `<sip:alice@example.com>;tag=1928301774`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Party<'a> {
    /// The URI, without `<>`.
    pub uri: &'a str,
    /// The tag, where there is one.
    pub tag: Option<&'a str>,
}

impl fmt::Display for Party<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.uri)?;
        self.tag.map_or(Ok(()), |tag| write!(f, ";tag={tag}"))
    }
}

/// A request in the making, at the end of a buffer that can be used again. Nothing that is put into it can end its line.
#[derive(Debug)]
pub(crate) struct RequestWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> RequestWriter<'a> {
    /// Writes the request-line and the mandatory header fields (RFC 3261 §8.1.1), asking for `rport` (RFC 3581 §3).
    pub(crate) fn new(out: &'a mut Vec<u8>, head: &RequestHead<'_>) -> Self {
        let mut clean = Clean(out);
        let _infallible = write!(clean, "{} {} SIP/2.0", head.method, head.uri);
        clean.0.extend_from_slice(b"\r\n");
        clean.line("Via", format_args!("SIP/2.0/{} {};branch={};rport", head.transport.via_token(), head.sent_by, head.branch));
        for route in head.routes {
            clean.line("Route", route);
        }
        clean.line("Max-Forwards", 70);
        clean.line("From", head.from);
        clean.line("To", head.to);
        clean.line("Call-ID", head.call_id);
        clean.line("CSeq", format_args!("{} {}", head.cseq, head.method));
        clean.line("Contact", format_args!("<{}>", head.contact));
        Self { out }
    }

    /// Adds a header line.
    pub(crate) fn header(&mut self, name: &str, value: impl fmt::Display) -> &mut Self {
        Clean(self.out).line(name, value);
        self
    }

    /// Ends the request with a body.
    pub(crate) fn body(self, content_type: &str, body: &[u8]) {
        let mut clean = Clean(self.out);
        clean.line("Content-Type", content_type);
        clean.line("Content-Length", body.len());
        self.out.extend_from_slice(b"\r\n");
        self.out.extend_from_slice(body);
    }

    /// Ends the request without one.
    pub(crate) fn no_body(self) {
        self.out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    }
}
