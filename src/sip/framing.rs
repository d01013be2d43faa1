//! Messages out of a byte stream (TCP, TLS). Pure.
//!
//! Source: RFC 3261 §18.3 (Content-Length ends a message), RFC 5626 §3.5.1, §4.4.1 (CRLF keep-alive).

use bytes::{Buf, Bytes, BytesMut};

use super::head;

/// Longest head taken in from a stream, in bytes.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Longest body taken in from a stream, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// What a stream is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// One message, from its start-line to the end of its body.
    Message(Bytes),
    /// A double CRLF between messages: answered with `PONG`.
    Ping,
}

/// The answer to [`Frame::Ping`].
pub(crate) const PONG: &[u8] = b"\r\n";

/// Why a stream cannot be read further. The connection is closed, as the start of the next message is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FramingError {
    /// Longer than [`MAX_HEAD_BYTES`].
    #[error("a head has at most {MAX_HEAD_BYTES} bytes")]
    HeadTooLong,
    /// Longer than [`MAX_BODY_BYTES`].
    #[error("a body has at most {MAX_BODY_BYTES} bytes")]
    BodyTooLong,
    /// No number, or two that differ.
    #[error("unreadable Content-Length")]
    ContentLength,
}

impl FramingError {
    /// Word for the log field and metric label `reason`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::HeadTooLong => "head_too_long",
            Self::BodyTooLong => "body_too_long",
            Self::ContentLength => "content_length",
        }
    }
}

/// Takes bytes in as they come and gives whole messages out.
///
/// Holds at most one unfinished message, [`MAX_HEAD_BYTES`] + [`MAX_BODY_BYTES`], beside what one read brought.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    /// Up to here, at a line's start, no blank line was found.
    searched: usize,
    /// The length of the message at the buffer's start, once its head is whole.
    message_bytes: Option<usize>,
    /// Bytes of `\r\n\r\n` seen between messages.
    ping_bytes: usize,
}

impl Framer {
    /// A stream from its beginning.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The buffer that is read into; then [`Self::next_frame`] is drained.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether an unfinished message waits for its rest.
    #[must_use]
    pub(crate) fn is_partial(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Gives the memory back where nothing is in it: an idle connection keeps none.
    pub fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// The next message or ping; `None` until more bytes come.
    ///
    /// # Errors
    ///
    /// [`FramingError`]: the connection is to be closed.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FramingError> {
        if self.message_bytes.is_none() {
            if self.skip_line_ends() {
                return Ok(Some(Frame::Ping));
            }
            self.message_bytes = self.find_message()?;
        }
        let Some(length) = self.message_bytes.filter(|length| *length <= self.buffer.len()) else { return Ok(None) };
        self.message_bytes = None;
        self.searched = 0;
        Ok(Some(Frame::Message(self.buffer.split_to(length).freeze())))
    }

    /// Drops line ends before a message; true when they make up a ping.
    fn skip_line_ends(&mut self) -> bool {
        const PING: &[u8] = b"\r\n\r\n";
        while let Some(byte @ (b'\r' | b'\n')) = self.buffer.first().copied() {
            self.buffer.advance(1);
            let is_next = PING.get(self.ping_bytes) == Some(&byte);
            self.ping_bytes = if is_next { self.ping_bytes + 1 } else { usize::from(byte == b'\r') };
            if self.ping_bytes == PING.len() {
                self.ping_bytes = 0;
                return true;
            }
        }
        if !self.buffer.is_empty() {
            self.ping_bytes = 0;
        }
        false
    }

    /// The length of the message at the buffer's start; `None` until its head is whole.
    fn find_message(&mut self) -> Result<Option<usize>, FramingError> {
        let Some((head_end, body_at)) = head::end(&self.buffer, self.searched) else {
            if self.buffer.len() > MAX_HEAD_BYTES {
                return Err(FramingError::HeadTooLong);
            }
            // The last whole line is searched again: the blank line may follow it.
            self.searched = line_start(&self.buffer);
            return Ok(None);
        };
        if head_end > MAX_HEAD_BYTES {
            return Err(FramingError::HeadTooLong);
        }
        let head = self.buffer.get(..head_end).unwrap_or_default();
        let body_bytes = head::content_length_of(head).map_err(|_| FramingError::ContentLength)?.unwrap_or(0);
        if body_bytes > MAX_BODY_BYTES {
            return Err(FramingError::BodyTooLong);
        }
        Ok(Some(body_at + body_bytes))
    }
}

/// Where the last line that has an end begins.
fn line_start(bytes: &[u8]) -> usize {
    let last_end = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    bytes.get(..last_end).and_then(|before| before.iter().rposition(|byte| *byte == b'\n')).map_or(0, |end| end + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: &[u8] = b"SUBSCRIBE sip:a@h SIP/2.0\r\nVia: x\r\nContent-Length: 5\r\n\r\nab\r\nc";
    const SECOND: &[u8] = b"OPTIONS sip:h SIP/2.0\nl :\n 0\n\n";

    fn frames(chunks: &[&[u8]]) -> (Vec<Frame>, Option<FramingError>) {
        let mut framer = Framer::new();
        let mut seen = Vec::new();
        for chunk in chunks {
            framer.buffer().extend_from_slice(chunk);
            loop {
                match framer.next_frame() {
                    Ok(Some(frame)) => seen.push(frame),
                    Ok(None) => break,
                    Err(error) => return (seen, Some(error)),
                }
            }
        }
        (seen, None)
    }

    fn stream() -> (Vec<u8>, Vec<Frame>) {
        let bytes = [b"\r\n\r\n", FIRST, b"\r\n", SECOND, b"\r\n\r\n\r\n\r\n", FIRST, SECOND].concat();
        let message = |bytes: &'static [u8]| Frame::Message(Bytes::from_static(bytes));
        let want = vec![Frame::Ping, message(FIRST), message(SECOND), Frame::Ping, Frame::Ping, message(FIRST), message(SECOND)];
        (bytes, want)
    }

    #[test]
    fn one_cut_anywhere_changes_nothing() {
        let (bytes, want) = stream();
        for cut in 0..=bytes.len() {
            assert_eq!(frames(&[&bytes[..cut], &bytes[cut..]]), (want.clone(), None), "cut at {cut}");
        }
    }

    #[test]
    fn two_cuts_anywhere_change_nothing() {
        let (bytes, want) = stream();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                assert_eq!(frames(&[&bytes[..first], &bytes[first..second], &bytes[second..]]), (want.clone(), None), "{first}, {second}");
            }
        }
    }

    #[test]
    fn byte_by_byte_changes_nothing() {
        let (bytes, want) = stream();
        assert_eq!(frames(&bytes.chunks(1).collect::<Vec<_>>()), (want, None));
    }

    #[test]
    fn what_cannot_be_framed_is_an_error() {
        let head = |line: &str| format!("OPTIONS sip:h SIP/2.0\r\n{line}\r\n\r\n").into_bytes();
        for (name, bytes, want) in [
            ("no number", head("Content-Length: x"), FramingError::ContentLength),
            ("negative", head("Content-Length: -1"), FramingError::ContentLength),
            ("two that differ", head("Content-Length: 1\r\nl: 2"), FramingError::ContentLength),
            ("a vast body", head("Content-Length: 18446744073709551615"), FramingError::BodyTooLong),
            ("a body over the limit", head("Content-Length: 16385"), FramingError::BodyTooLong),
            ("a head over the limit", head(&format!("X: {}", "x".repeat(MAX_HEAD_BYTES))), FramingError::HeadTooLong),
            ("a head that never ends", vec![b'x'; MAX_HEAD_BYTES + 1], FramingError::HeadTooLong),
        ] {
            assert_eq!(frames(&[&bytes]), (vec![], Some(want)), "{name}");
        }
    }

    #[test]
    fn a_body_at_the_limit_passes_and_no_content_length_means_no_body() {
        let bytes = [format!("OPTIONS sip:h SIP/2.0\r\nl: {MAX_BODY_BYTES}\r\n\r\n").as_bytes(), &[7; MAX_BODY_BYTES]].concat();
        assert_eq!(frames(&[&bytes]), (vec![Frame::Message(bytes.clone().into())], None));
        let without: &[u8] = b"OPTIONS sip:h SIP/2.0\r\n\r\n";
        assert_eq!(frames(&[without]), (vec![Frame::Message(Bytes::from_static(without))], None));
    }

    #[test]
    fn a_slow_head_is_searched_in_linear_time() {
        let mut framer = Framer::new();
        for _ in 0..MAX_HEAD_BYTES / 8 {
            framer.buffer().extend_from_slice(b"X: abc\r\n");
            assert_eq!(framer.next_frame(), Ok(None));
            assert!(framer.buffer.len() - framer.searched <= 16);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_framed_or_refused_without_harm(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
            frames(&chunks.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
    }
}
