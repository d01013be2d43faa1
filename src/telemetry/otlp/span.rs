//! One span. Pure.

use std::time::SystemTime;

/// Whose work a span is. Source: opentelemetry/proto/trace/v1, `SpanKind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpanKind {
    /// Work of its own.
    Internal,
    /// A request that was answered.
    Server,
    /// A request that was asked.
    Client,
    /// A message that was stored for somebody.
    Producer,
    /// A message that was taken in hand.
    Consumer,
}

impl SpanKind {
    /// Its number in the protocol.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Server => 2,
            Self::Client => 3,
            Self::Producer => 4,
            Self::Consumer => 5,
        }
    }
}

/// One span that has ended.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) trace_id: u128,
    pub(crate) id: u64,
    /// `None`: the trace begins with it.
    pub(crate) parent: Option<u64>,
    /// `tracestate` of whoever began the trace.
    pub(crate) state: Option<Box<str>>,
    pub(crate) name: &'static str,
    pub(crate) kind: SpanKind,
    pub(crate) began_at: SystemTime,
    pub(crate) ended_at: SystemTime,
    pub(crate) attributes: Vec<(&'static str, String)>,
    /// What went wrong.
    pub(crate) error: Option<String>,
}
