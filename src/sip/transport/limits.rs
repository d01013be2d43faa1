//! The limits of stream connections, why one is refused, and why one ends. Pure.

use std::sync::Arc;
use std::time::Duration;

use crate::sip::flow::Transport;
use crate::sip::framing::FramingError;

/// Limits of all TCP, TLS and WebSocket connections together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamLimits {
    /// Connections at a time; one more is closed as soon as it is accepted.
    pub max_connections: usize,
    /// Connections at a time from one address. Large, because a whole site may share one.
    pub max_connections_per_source: usize,
    /// TLS and WebSocket handshakes at a time. Over it nothing is accepted on their listeners: the rest wait in the kernel.
    pub max_handshakes: usize,
    /// Handshakes at a time from one address: one that stalls its own does not hold up the others'.
    pub max_handshakes_per_source: usize,
    /// Time limit for the TLS and WebSocket handshakes together.
    pub handshake_timeout: Duration,
    /// Messages that may wait to be written to one connection.
    pub queue_messages: usize,
    /// An idle connection is closed after this time; a keep-alive counts as traffic.
    pub idle_timeout: Duration,
    /// Time limit for a whole message, from its first byte.
    pub message_timeout: Duration,
    /// Time limit for writing a message.
    pub write_timeout: Duration,
    /// Time limit for a TCP connection of ours; the TLS handshake has its own.
    pub connect_timeout: Duration,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            max_connections: 120_000,
            max_connections_per_source: 20_000,
            max_handshakes: 2048,
            max_handshakes_per_source: 1024,
            handshake_timeout: Duration::from_secs(5),
            queue_messages: 64,
            // Longer than the default expiry of a subscription: a phone that sends no keep-alives refreshes in time.
            idle_timeout: Duration::from_mins(62),
            message_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
        }
    }
}

/// Why an accepted connection was refused; nothing else is reported of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefuseReason {
    /// Over [`StreamLimits::max_connections`].
    TooManyConnections,
    /// Over [`StreamLimits::max_connections_per_source`].
    TooManyFromSource,
    /// Over [`StreamLimits::max_handshakes_per_source`].
    TooManyHandshakes,
    /// Its handshake was not done within [`StreamLimits::handshake_timeout`].
    HandshakeTimeout,
    /// No TLS, or none that both ends can speak.
    Tls,
    /// A client certificate is asked for, and it had none that our authority has signed.
    ClientCertificate,
    WebSocket,
    /// A WebSocket that does not offer the subprotocol `sip` (RFC 7118 §4.1).
    Subprotocol,
}

impl RefuseReason {
    pub(crate) const ALL: [Self; 8] = [
        Self::TooManyConnections,
        Self::TooManyFromSource,
        Self::TooManyHandshakes,
        Self::HandshakeTimeout,
        Self::Tls,
        Self::ClientCertificate,
        Self::WebSocket,
        Self::Subprotocol,
    ];

    /// Word for the log field and metric label `reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooManyConnections => "too_many_connections",
            Self::TooManyFromSource => "too_many_from_source",
            Self::TooManyHandshakes => "too_many_handshakes",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Tls => "tls",
            Self::ClientCertificate => "client_certificate",
            Self::WebSocket => "websocket",
            Self::Subprotocol => "subprotocol",
        }
    }
}

/// Why a connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer closed it.
    Peer,
    Io,
    /// It brought nothing for [`StreamLimits::idle_timeout`].
    Idle,
    /// A message was not whole within [`StreamLimits::message_timeout`].
    SlowMessage,
    /// The peer did not take a message within [`StreamLimits::write_timeout`].
    SlowPeer,
    /// What it brought was no SIP.
    Framing(FramingError),
    /// What it brought was no WebSocket: an unmasked frame, no UTF-8, and so on.
    WebSocket,
    /// A message in a WebSocket was longer than a head and a body may be.
    MessageTooLong,
    /// It never came to be: there was no [`super::Inbound::Opened`].
    ConnectFailed,
    Local,
}

impl CloseReason {
    /// Word for the log field and metric label `reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Io => "io",
            Self::Idle => "idle",
            Self::SlowMessage => "slow_message",
            Self::SlowPeer => "slow_peer",
            Self::Framing(error) => error.reason(),
            Self::WebSocket => "websocket",
            Self::MessageTooLong => "message_too_long",
            Self::ConnectFailed => "connect_failed",
            Self::Local => "local",
        }
    }
}

/// Told of each connection that is refused, on the task that refuses it.
pub(crate) type OnRefused = Arc<dyn Fn(Transport, RefuseReason) + Send + Sync>;
