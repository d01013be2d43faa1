//! The id of what led to a message, and its W3C `traceparent` header.

use std::fmt;

use async_nats::{HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The id of what led to a message: made where a SUBSCRIBE or a command enters the system, carried by all that follows.
///
/// Shape: opaque; what we make is 32 hexadecimal digits, and so is the trace id of its `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Cause(pub Box<str>);

/// Name of the trace header. Source: W3C Trace Context §3.2.
pub const TRACEPARENT: &str = "traceparent";

impl Cause {
    /// A new id, for what enters the system.
    #[must_use]
    pub fn new() -> Self {
        Self(format!("{:032x}", rand::random::<u128>() | 1).into())
    }

    /// The id in a `traceparent` header; a new one where it is unreadable.
    #[must_use]
    pub fn of_traceparent(header: Option<&str>) -> Self {
        let trace_id = header.and_then(|h| h.split('-').nth(1)).filter(|id| is_trace_id(id));
        trace_id.map_or_else(Self::new, |id| Self(id.into()))
    }

    /// The id in a message's headers; a new one where there is none.
    #[must_use]
    pub fn of_headers(headers: Option<&HeaderMap>) -> Self {
        Self::of_traceparent(headers.and_then(|headers| headers.get(TRACEPARENT)).map(HeaderValue::as_str))
    }

    /// The header for one more message of this cause: the same trace, a new span.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let span = rand::random::<u64>() | 1;
        if is_trace_id(&self.0) {
            format!("00-{}-{span:016x}-01", self.0)
        } else {
            use std::hash::{BuildHasher, Hasher};
            let mut hasher = ahash::RandomState::with_seeds(1, 2, 3, 4).build_hasher();
            hasher.write(self.0.as_bytes());
            let id = hasher.finish() | 1;
            format!("00-{id:016x}{id:016x}-{span:016x}-01")
        }
    }
}

/// The headers of a message that `cause` led to: `traceparent`.
#[must_use]
pub fn headers(cause: &Cause) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(traceparent) = cause.traceparent().parse::<HeaderValue>() {
        headers.insert(TRACEPARENT, traceparent);
    }
    headers
}

fn is_trace_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f')) && id.bytes().any(|b| b != b'0')
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A new opaque id, for events and jobs: 32 hexadecimal digits.
#[must_use]
pub fn new_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_goes_on_as_the_trace_id() {
        let cause = Cause::new();
        assert_eq!(Cause::of_traceparent(Some(&cause.traceparent())), cause);
        assert_ne!(Cause::of_traceparent(Some("00-00000000000000000000000000000000-1-01")).0.as_ref(), "00000000000000000000000000000000");
        let foreign = Cause("ticket 4711".into()).traceparent();
        assert_eq!(foreign.split('-').map(str::len).collect::<Vec<_>>(), [2, 32, 16, 2]);
    }
}
