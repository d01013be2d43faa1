//! A response with what matching it needs, read once.

use crate::sip::header::{CSeq, Via, seconds};
use crate::sip::message::{Message, Start};
use crate::sip::name::Name;

/// A response that can be matched to a request of ours.
#[derive(Debug, Clone)]
pub struct Response {
    message: Message,
    status: u16,
    via: Via,
    via_count: usize,
}

impl Response {
    /// Reads what matching needs; `None` for a request, and for a response without a readable top Via or `CSeq`: such a one
    /// is dropped (RFC 3261 §18.1.2).
    #[must_use]
    pub fn from_message(message: Message) -> Option<Self> {
        let Start::Response { status, .. } = message.start() else { return None };
        let via = Via::parse(message.values(Name::Via).next()?)?;
        CSeq::parse(message.header(Name::CSeq)?)?;
        let via_count = message.values(Name::Via).count();
        Some(Self { message, status, via, via_count })
    }

    /// The status, 100-699.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self.message.start() {
            Start::Response { reason, .. } => reason,
            Start::Request { .. } => "",
        }
    }

    /// The top Via: ours.
    #[must_use]
    pub fn via(&self) -> &Via {
        &self.via
    }

    /// The number of Vias. More than one: the response is not for us (RFC 3261 §8.1.3.3).
    #[must_use]
    pub fn via_count(&self) -> usize {
        self.via_count
    }

    /// The branch of the top Via, which the client transactions know the request by.
    #[must_use]
    pub fn branch(&self) -> &str {
        self.via.branch().unwrap_or_default()
    }

    /// Number and method of the request that this answers.
    #[must_use]
    pub fn cseq(&self) -> Option<CSeq<'_>> {
        CSeq::parse(self.message.header(Name::CSeq)?)
    }

    /// The method of the request that this answers.
    #[must_use]
    pub fn method(&self) -> &str {
        self.cseq().map_or("", |cseq| cseq.method)
    }

    /// Seconds of Retry-After, where it is readable.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.message.header(Name::RetryAfter).and_then(|value| seconds(Name::RetryAfter, value).ok())
    }

    /// The message, for every other header field.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::parse;

    #[test]
    fn reads_what_matching_needs() {
        let text = "SIP/2.0 503 Busy now\r\nv: SIP/2.0/UDP h:5060;branch=z9hG4bKx;received=10.0.0.1, SIP/2.0/UDP g\r\nCSeq: 7 NOTIFY\r\nRetry-After: 5 (x)\r\n\r\n";
        let response = Response::from_message(parse(text.as_bytes()).unwrap()).unwrap();
        assert_eq!((response.status(), response.reason(), response.branch()), (503, "Busy now", "z9hG4bKx"));
        assert_eq!((response.method(), response.cseq().map(|c| c.number), response.via_count()), ("NOTIFY", Some(7), 2));
        assert_eq!(response.retry_after_seconds(), Some(5));
    }

    #[test]
    fn what_cannot_be_matched_is_none() {
        for text in [
            "SIP/2.0 200 OK\r\nCSeq: 7 NOTIFY\r\n\r\n",
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=x\r\n\r\n",
            "SIP/2.0 200 OK\r\nVia: nonsense\r\nCSeq: 7 NOTIFY\r\n\r\n",
            "NOTIFY sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=x\r\nCSeq: 7 NOTIFY\r\n\r\n",
        ] {
            assert!(Response::from_message(parse(text.as_bytes()).unwrap()).is_none(), "{text}");
        }
    }
}
