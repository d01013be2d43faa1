//! `Via`.

use std::fmt;
use std::net::IpAddr;

use super::Params;
use crate::sip::flow::Transport;
use crate::sip::scan;

/// The transport that a Via names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// One of ours.
    Known(Transport),
    /// Another token (`SCTP`).
    Other(Box<str>),
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Known(transport) => transport.via_token(),
            Self::Other(token) => token,
        })
    }
}

/// One hop of a request.
///
/// Shape: `SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKnashds7;rport`. Source: RFC 3261 §20.42, RFC 3581.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Via {
    /// The transport.
    pub transport: Protocol,
    /// Host of the sent-by, IPv6 in brackets.
    pub host: Box<str>,
    /// Port of the sent-by.
    pub port: Option<u16>,
    /// The parameters.
    pub params: Params,
}

impl Via {
    /// Reads one value, blanks wherever the grammar has them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (protocol, rest) = text.split_once('/')?;
        let (version, rest) = rest.split_once('/')?;
        if !protocol.trim().eq_ignore_ascii_case("SIP") || version.trim() != "2.0" {
            return None;
        }
        let (transport, rest) = rest.trim_start().split_once(' ')?;
        let transport = match Transport::parse(transport) {
            Some(known) => Protocol::Known(known),
            None => Protocol::Other(scan::is_token(transport).then_some(transport)?.into()),
        };
        let (sent_by, params) = rest.split_at_checked(rest.find(';').unwrap_or(rest.len()))?;
        let (host, port) = scan::host_and_port(sent_by)?;
        Some(Self { transport, host, port, params: Params::parse(params)? })
    }

    /// The `branch` parameter; `None` when it is missing or empty.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        self.params.get("branch").filter(|branch| !branch.is_empty() && *branch != "\"\"")
    }

    /// Whether a port was asked for (RFC 3581 §4), with or without a value.
    #[must_use]
    pub fn wants_rport(&self) -> bool {
        self.params.has("rport")
    }

    /// The value of `rport`, where it has one.
    #[must_use]
    pub fn rport(&self) -> Option<u16> {
        self.params.get("rport").and_then(scan::port)
    }

    /// The address in `received`.
    #[must_use]
    pub fn received(&self) -> Option<IpAddr> {
        self.params.get("received").and_then(parse_ip)
    }

    /// The sent-by's address; `None` for a domain name.
    #[must_use]
    pub fn host_ip(&self) -> Option<IpAddr> {
        parse_ip(&self.host)
    }
}

fn parse_ip(text: &str) -> Option<IpAddr> {
    text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text).parse().ok()
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} {}", self.transport, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        fmt::Display::fmt(&self.params, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_phones_send_and_writes_it_strictly() {
        for (text, want) in [
            ("SIP/2.0/UDP h:5060;branch=z9hG4bKx", Some("SIP/2.0/UDP h:5060;branch=z9hG4bKx")),
            ("SIP / 2.0 / udp  h : 5060 ; branch = x ; rport", Some("SIP/2.0/UDP h:5060;branch=x;rport")),
            ("sip/2.0/TLS [2001:db8::1]:5061;branch=x", Some("SIP/2.0/TLS [2001:db8::1]:5061;branch=x")),
            ("SIP/2.0/UDP 2001:db8::1;branch=x", Some("SIP/2.0/UDP [2001:db8::1];branch=x")),
            ("SIP/2.0/SCTP h", Some("SIP/2.0/SCTP h")),
            ("SIP/2.0/UDP my_phone.local;rport=;branch=x", Some("SIP/2.0/UDP my_phone.local;rport;branch=x")),
            ("SIP/3.0/UDP h;branch=x", None),
            ("HTTP/2.0/UDP h", None),
            ("SIP/2.0/UDP", None),
            ("SIP/2.0/UDP ;branch=x", None),
            ("SIP/2.0/UDP h:99999;branch=x", None),
            ("SIP/2.0/UDP h:;branch=x", None),
            ("SIP/2.0/U(D)P h", None),
            ("SIP/2.0/UDP a b;branch=x", None),
            ("SIP/2.0 UDP h", None),
            ("", None),
        ] {
            assert_eq!(Via::parse(text).map(|via| via.to_string()).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn gives_its_parts() {
        let via = Via::parse("SIP/2.0/UDP [::1]:5070;received=2001:db8::2;rport=5071;branch=z9hG4bKy").unwrap();
        assert_eq!((via.host_ip(), via.port), (Some("::1".parse().unwrap()), Some(5070)));
        assert_eq!((via.received(), via.rport()), (Some("2001:db8::2".parse().unwrap()), Some(5071)));
        assert_eq!((via.branch(), via.wants_rport()), (Some("z9hG4bKy"), true));
        assert_eq!(Via::parse("SIP/2.0/UDP h;branch=").unwrap().branch(), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_the_same(
            transport in "UDP|TCP|TLS|WS|WSS|SCTP",
            host in "[a-z0-9][a-z0-9._-]{0,20}|\\[2001:db8::[0-9a-f]{1,4}\\]|[1-9][0-9]?\\.0\\.0\\.1",
            port in prop::option::of(1_u16..),
            params in "(;[a-z]{1,6}(=[a-zA-Z0-9.:-]{1,8})?){0,3}",
        ) {
            let transport = Transport::parse(&transport).map_or_else(|| Protocol::Other(transport.as_str().into()), Protocol::Known);
            let via = Via { transport, host: host.into(), port, params: Params::parse(&params).unwrap() };
            prop_assert_eq!(Via::parse(&via.to_string()), Some(via));
        }

        #[test]
        fn anything_that_is_read_is_written_readably(text in "SIP ?/2.0/ ?[A-Z]{1,4} .{0,40}") {
            if let Some(via) = Via::parse(&text) {
                prop_assert_eq!(Via::parse(&via.to_string()), Some(via));
            }
        }
    }
}
