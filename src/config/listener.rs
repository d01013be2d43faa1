//! What `sip.listen` and the like mean: typed accessors. Pure but for the hostname.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::Config;
use crate::sip::Transport;

/// One entry of `sip.listen`: `udp:127.0.0.1:5060`, `tcp:[::1]:5060`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listener {
    /// How SIP travels.
    pub transport: Transport,
    /// Where we listen; port 0 is any free one.
    pub addr: SocketAddr,
}

/// The text is no listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("udp:ADDRESS:PORT, or the same with tcp, tls, ws or wss, the address in numbers, one of IPv6 in brackets")]
pub struct ListenerError;

impl FromStr for Listener {
    type Err = ListenerError;

    fn from_str(text: &str) -> Result<Self, ListenerError> {
        let (transport, addr) = text.split_once(':').ok_or(ListenerError)?;
        let transport = Transport::ALL.into_iter().find(|t| t.as_str() == transport).ok_or(ListenerError)?;
        Ok(Self { transport, addr: addr.parse().map_err(|_| ListenerError)? })
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport.as_str(), self.addr)
    }
}

impl Config {
    /// `sip.listen`, typed. Of a loaded configuration, each entry is there.
    #[must_use]
    pub(crate) fn sip_listeners(&self) -> Vec<Listener> {
        self.sip.listen.iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// `sip.edge_id`, or the hostname where it is empty.
    #[must_use]
    pub fn edge_id(&self) -> String {
        if !self.sip.edge_id.is_empty() {
            return self.sip.edge_id.clone();
        }
        let hostname = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
        if hostname.is_empty() { "edge".to_owned() } else { hostname }
    }

    /// `http.listen`; none where it is empty.
    #[must_use]
    pub(crate) fn http_listener(&self) -> Option<SocketAddr> {
        self.http.listen.parse().ok()
    }

    /// `mi.http`; none where it is empty.
    #[must_use]
    pub(crate) fn mi_listener(&self) -> Option<SocketAddr> {
        self.mi.http.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_listeners() {
        for text in
            ["udp:127.0.0.1:5060", "tcp:0.0.0.0:0", "udp:[::1]:5060", "tls:[2001:db8::1]:5061", "ws:127.0.0.1:80", "wss:127.0.0.1:443"]
        {
            assert_eq!(text.parse::<Listener>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "udp",
            "udp:",
            "udp:127.0.0.1",
            "UDP:127.0.0.1:5060",
            "sctp:127.0.0.1:5060",
            "udp:::1:5060",
            "udp:localhost:5060",
            "127.0.0.1:5060",
        ] {
            assert_eq!(text.parse::<Listener>(), Err(ListenerError), "{text}");
        }
    }

    #[test]
    fn an_edge_always_has_an_id() {
        let mut config = Config::default();
        assert!(!config.edge_id().is_empty());
        config.sip.edge_id = "edge-7".into();
        assert_eq!(config.edge_id(), "edge-7");
    }
}
