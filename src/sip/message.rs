//! The tolerant reader of whole messages.
//!
//! Tolerated: any case and the compact forms of names, blanks before the colon, folded lines, bare LF, blank lines before the
//! start-line, text that is no UTF-8, control characters, a missing Content-Length, more bytes than it says. Refused: what
//! would leave it open which message was meant. Source: RFC 3261 §7, §18.3; RFC 4475 for the spirit.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use super::head;
use super::method::Method;
use super::name::Name;
use super::scan;

/// Longest message taken in, in bytes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// Most header lines taken in.
pub(crate) const MAX_HEADER_LINES: usize = 128;
/// Longest Request-URI taken in, in bytes; longer gets 414.
pub(crate) const MAX_URI_BYTES: usize = 1024;

/// A request or response split into lines; [`super::Request`] is the typed form.
///
/// Owns its text (UTF-8, lines unfolded, without control characters) and its body, byte for byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    text: String,
    /// Whether it came in Latin-1.
    is_latin1: bool,
    start: StartLine,
    lines: Vec<Line>,
    body: Box<[u8]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum StartLine {
    Request { method: Method, uri: Range<usize> },
    Response { status: u16, reason: Range<usize> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    known: Option<Name>,
    name: Range<usize>,
    value: Range<usize>,
}

/// The start-line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start<'a> {
    /// `SUBSCRIBE sip:alice@example.com SIP/2.0`
    Request {
        /// The method.
        method: &'a Method,
        /// The Request-URI as it was written.
        uri: &'a str,
    },
    /// `SIP/2.0 200 OK`
    Response {
        /// 100-699.
        status: u16,
        /// The reason phrase.
        reason: &'a str,
    },
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing but line ends: a keep-alive.
    #[error("no message, only line ends")]
    Empty,
    /// Longer than `MAX_MESSAGE_BYTES`.
    #[error("a message has at most {MAX_MESSAGE_BYTES} bytes")]
    TooLarge,
    /// Neither a request-line nor a status-line.
    #[error("unreadable start-line")]
    StartLine,
    /// Another protocol version; answered 505.
    #[error("the version is not SIP/2.0")]
    Version,
    /// Longer than `MAX_URI_BYTES`; answered 414.
    #[error("a request-uri has at most {MAX_URI_BYTES} bytes")]
    UriTooLong,
    /// A header line without a colon or without a name.
    #[error("a header line has no name")]
    HeaderLine,
    /// More than `MAX_HEADER_LINES`.
    #[error("a message has at most {MAX_HEADER_LINES} header lines")]
    TooManyLines,
    /// The head never ends.
    #[error("no blank line after the header")]
    NoBlankLine,
    /// Content-Length is no number, or two differ.
    #[error("unreadable Content-Length")]
    ContentLength,
    /// Content-Length exceeds the bytes received.
    #[error("the body is shorter than Content-Length")]
    BodyTooShort,
}

/// Bytes that are no message. Its text never holds any of them.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct ParseError {
    fault: Fault,
    readable: Option<Box<Message>>,
}

impl ParseError {
    /// What is wrong.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        self.fault
    }

    /// The status of an answer: 400, 414 or 505.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self.fault {
            Fault::UriTooLong => 414,
            Fault::Version => 505,
            _ => 400,
        }
    }

    /// Reason phrase of an answer.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self.fault {
            Fault::Empty | Fault::TooLarge | Fault::StartLine => "Bad Request",
            Fault::Version => "Version Not Supported",
            Fault::UriTooLong => "Request-URI Too Long",
            Fault::HeaderLine => "Malformed Header Line",
            Fault::TooManyLines => "Too Many Header Lines",
            Fault::NoBlankLine => "Missing Blank Line",
            Fault::ContentLength => "Malformed Content-Length",
            Fault::BodyTooShort => "Body Shorter Than Content-Length",
        }
    }

    /// What could be read of a request, if it may be answered at all (a response and an ACK never are): for
    /// [`super::response::to_message`], which knows whether there is enough of it.
    #[must_use]
    pub fn answerable(&self) -> Option<&Message> {
        self.readable.as_deref()
    }
}

/// Reads one datagram, or one message that the framing of a stream cut out.
///
/// # Errors
///
/// [`ParseError`]; answered where it is [`ParseError::answerable`], else dropped.
pub fn parse(packet: &[u8]) -> Result<Message, ParseError> {
    let blank = packet.iter().take_while(|byte| matches!(byte, b'\r' | b'\n' | b'\0' | b' ' | b'\t')).count();
    let packet = packet.get(blank..).unwrap_or_default();
    if packet.is_empty() {
        return Err(ParseError { fault: Fault::Empty, readable: None });
    }
    if packet.len() > MAX_MESSAGE_BYTES {
        return Err(ParseError { fault: Fault::TooLarge, readable: None });
    }
    let end = head::end(packet, 0);
    let (head_end, body_at) = end.unwrap_or((packet.len(), packet.len()));
    let (text, is_latin1) = head::normalise(packet.get(..head_end).unwrap_or_default());
    let rest = packet.get(body_at..).unwrap_or_default();

    let mut fault = end.is_none().then_some(Fault::NoBlankLine);
    let first_line_end = text.find('\n').unwrap_or(text.len());
    let (start, start_fault) = start_line(&text, 0..first_line_end);
    let Some(start) = start else {
        return Err(ParseError { fault: start_fault.unwrap_or(Fault::StartLine), readable: None });
    };
    fault = start_fault.or(fault);
    let (lines, lines_fault) = header_lines(&text, first_line_end + 1);
    fault = fault.or(lines_fault);

    let mut message = Message { text, is_latin1, start, lines, body: Box::default() };
    let length = head::content_length(message.lines(Name::ContentLength));
    let body = match length {
        Ok(Some(length)) => rest.get(..length).unwrap_or_else(|| {
            fault = fault.or(Some(Fault::BodyTooShort));
            rest
        }),
        Ok(None) => rest,
        Err(head::UnreadableLength) => {
            fault = fault.or(Some(Fault::ContentLength));
            rest
        }
    };
    message.body = body.into();
    match fault {
        None => Ok(message),
        Some(fault) => {
            let may_answer = matches!(&message.start, StartLine::Request { method, .. } if !method.is_ack());
            Err(ParseError { fault, readable: may_answer.then(|| Box::new(message)) })
        }
    }
}

/// A span of `text`, blanks at both ends taken off.
fn trimmed(text: &str, span: Range<usize>) -> Range<usize> {
    let Some(part) = text.get(span.clone()) else { return 0..0 };
    let start = span.start + (part.len() - part.trim_ascii_start().len());
    start..start + part.trim_ascii().len()
}

/// The start-line, as far as it can be read: a request's method at least, so that it can be told from a response.
fn start_line(text: &str, span: Range<usize>) -> (Option<StartLine>, Option<Fault>) {
    let span = trimmed(text, span);
    let line = text.get(span.clone()).unwrap_or_default();
    if line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("SIP/")) {
        return status_line(line, span);
    }
    let (method, rest) = line.split_once(' ').unwrap_or((line, ""));
    if !scan::is_token(method) {
        return (None, Some(Fault::StartLine));
    }
    let method_text = method;
    let method = Method::parse(method);
    let broken = |method, fault| (Some(StartLine::Request { method, uri: 0..0 }), Some(fault));
    let Some((uri, version)) = rest.rsplit_once(' ') else {
        return broken(method, Fault::StartLine);
    };
    let uri_at = span.start + method_text.len() + 1;
    let mut uri = trimmed(text, uri_at..uri_at + uri.len());
    let uri_text = text.get(uri.clone()).unwrap_or_default();
    if uri_text.starts_with('<') && uri_text.ends_with('>') && uri_text.len() > 2 {
        uri = trimmed(text, uri.start + 1..uri.end - 1);
    }
    let uri_text = text.get(uri.clone()).unwrap_or_default();
    let is_sip = version.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("SIP/"));
    let fault = if uri_text.is_empty() || uri_text.contains([' ', '<', '>', '"']) || !is_sip {
        Some(Fault::StartLine)
    } else if uri_text.len() > MAX_URI_BYTES {
        Some(Fault::UriTooLong)
    } else {
        (!version.eq_ignore_ascii_case("SIP/2.0")).then_some(Fault::Version)
    };
    (Some(StartLine::Request { method, uri }), fault)
}

fn status_line(line: &str, span: Range<usize>) -> (Option<StartLine>, Option<Fault>) {
    let Some((version, rest)) = line.split_once(' ') else { return (None, Some(Fault::StartLine)) };
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return (None, Some(Fault::Version));
    }
    let rest = rest.trim_start();
    let (digits, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let status = scan::digits(digits).filter(|_| digits.len() == 3).and_then(|number| u16::try_from(number).ok());
    match status.filter(|status| (100..700).contains(status)) {
        Some(status) => (Some(StartLine::Response { status, reason: span.end - reason.trim_start().len()..span.end }), None),
        None => (None, Some(Fault::StartLine)),
    }
}

fn header_lines(text: &str, from: usize) -> (Vec<Line>, Option<Fault>) {
    let mut lines = Vec::with_capacity(16);
    let mut fault = None;
    let mut at = from;
    for line in text.get(from..).unwrap_or_default().split('\n') {
        let line_at = at;
        at += line.len() + 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let Some((name, value)) = head::split_line(line) else {
            fault = fault.or(Some(Fault::HeaderLine));
            continue;
        };
        if lines.len() == MAX_HEADER_LINES {
            fault = fault.or(Some(Fault::TooManyLines));
            break;
        }
        let value = trimmed(text, at - 1 - value.len()..at - 1);
        lines.push(Line { known: Name::parse(name), name: line_at..line_at + name.len(), value });
    }
    (lines, fault)
}

impl Message {
    /// The start-line.
    #[must_use]
    pub fn start(&self) -> Start<'_> {
        match &self.start {
            StartLine::Request { method, uri } => Start::Request { method, uri: self.span(uri) },
            StartLine::Response { status, reason } => Start::Response { status: *status, reason: self.span(reason) },
        }
    }

    /// The value of the first line of this name.
    #[must_use]
    pub fn header(&self, name: Name) -> Option<&str> {
        self.lines(name).next()
    }

    /// The value of each line of this name, in order.
    pub fn lines(&self, name: Name) -> impl Iterator<Item = &str> {
        self.lines.iter().filter(move |line| line.known == Some(name)).map(|line| self.span(&line.value))
    }

    /// The values of this name, in order, whether they share a line or not (RFC 3261 §7.3.1): split at commas outside quotes
    /// and `<…>`, empty ones left out. Not for fields that are no lists, such as From or Authorization.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &str> {
        self.lines(name).flat_map(|line| scan::split_outside(line, b',', true))
    }

    /// The bytes that a part of the head came as.
    #[must_use]
    pub(super) fn as_received<'a>(&self, text: &'a str) -> Cow<'a, [u8]> {
        if self.is_latin1 { text.chars().filter_map(|char| u8::try_from(char).ok()).collect() } else { text.as_bytes().into() }
    }

    /// Every header line as received, in order: name and value, unknown fields included.
    pub fn all_lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().map(|line| (self.span(&line.name), self.span(&line.value)))
    }

    /// The body, byte for byte.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    fn span(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }
}

/// Shows sizes only: a message holds names and secrets.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("start", &self.start)
            .field("lines", &self.lines.len())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
