//! The transports: UDP sockets, and the connections of TCP, TLS and WebSocket.
//!
//! They carry bytes and know nothing of transactions. Everything is bounded; nothing here waits for a slow peer.
//! ```text
//!  accept ──▶ (tls) ──▶ (websocket) ──▶ Opened ─▶ Message … ─▶ Closed
//!    └──────────┴────────────┴─▶ refused: counted, and not reported otherwise
//! ```

mod accept;
mod connection;
mod limits;
mod shared;
mod stream;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod tls;
mod udp;
mod udp_send;
mod websocket;

pub(crate) use limits::{CloseReason, RefuseReason, StreamLimits};
pub(crate) use stream::{Remote, StreamTransport};
pub(crate) use tls::{ClientTls, Tls, TlsError, TlsFiles};
pub(crate) use udp::Batch;
pub(crate) use udp::UdpListener;
pub(crate) use udp_send::SendQueue;

use bytes::Bytes;

pub(crate) use super::flow::Flow;

/// What a connection brings, in this order: one `Opened`, any number of `Message`, one `Closed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inbound {
    /// A connection is open, accepted or made by us.
    Opened { flow: Flow },
    /// One whole message.
    Message {
        /// The flow it came on.
        flow: Flow,
        packet: Bytes,
    },
    /// The connection is gone, or never came to be.
    Closed { flow: Flow, reason: CloseReason },
}

/// Why a message was not handed to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SendError {
    /// There is no such connection any more.
    #[error("the connection is closed")]
    Closed,
    /// The peer does not read what it is sent.
    #[error("the connection's queue is full")]
    Full,
    /// No more connections are made.
    #[error("too many connections")]
    TooManyConnections,
    /// Connections of this transport are made by the other end only, or TLS is not configured.
    #[error("no connection can be made over this transport")]
    NoWayOut,
}

impl SendError {
    /// Word for the log field and metric label `reason`.
    #[must_use]
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Closed => "connection_closed",
            Self::Full => "connection_full",
            Self::TooManyConnections => "too_many_connections",
            Self::NoWayOut => "no_way_out",
        }
    }
}
