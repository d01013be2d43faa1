//! Which way a message came, and goes back.

use std::fmt;
use std::net::SocketAddr;

/// A transport of SIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket (RFC 7118).
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Transport {
    pub(crate) const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    /// The value of a `transport` parameter, a config entry and the metric label: `udp`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// The token of a Via: `UDP`.
    #[must_use]
    pub(crate) const fn via_token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// Reads either spelling, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|transport| transport.as_str().eq_ignore_ascii_case(text))
    }

    /// Whether the transport itself delivers: no retransmissions then (RFC 3261 §17).
    #[must_use]
    pub(crate) const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// The port where none is named. Source: RFC 3261 §18.1.1, RFC 7118 §10 (those of HTTP).
    #[must_use]
    pub(crate) const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One connection of this process; never used again after it closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// The way a message came: an answer, and later a NOTIFY, goes back the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The transport.
    pub transport: Transport,
    /// Index of the listener in `sip.listen`.
    pub listener: u16,
    /// The address of the other end.
    pub peer: SocketAddr,
    /// The connection; `None` for UDP.
    pub connection: Option<ConnectionId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transport_is_read_in_both_its_spellings() {
        for transport in Transport::ALL {
            assert_eq!(Transport::parse(transport.as_str()), Some(transport));
            assert_eq!(Transport::parse(transport.via_token()), Some(transport));
        }
        assert_eq!(Transport::parse("sctp"), None);
    }

    #[test]
    fn only_udp_needs_retransmissions() {
        assert_eq!(Transport::ALL.into_iter().filter(|t| !t.is_reliable()).collect::<Vec<_>>(), [Transport::Udp]);
    }
}
