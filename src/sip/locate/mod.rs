//! Where a request to a host name goes: which transports, addresses and ports, in which order. Pure.
//!
//! ```text
//!  name ─┬─ nothing else ─────────▶ NAPTR ─┬─▶ SRV ─┬─▶ A, AAAA of each target ─▶ Location ─ candidates ─▶ one after another
//!        ├─ transport ─────────────────────┘        │                                        (RFC 2782)
//!        └─ port ───────────────────────────────────┘
//! ```
//! Source: RFC 3263 §4.

mod order;
mod search;

pub(crate) use search::{Answer, NaptrRecord, Question, Records, Search, SrvRecord};

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use smallvec::SmallVec;

use super::flow::Transport;
use super::uri::Target;

/// Ways to a name that are kept, best first; a request is sent to a few of them at most.
const MAX_CANDIDATES: usize = 16;

/// A host name of a URI, with what decides how it is located.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName {
    /// In lower case.
    name: Box<str>,
    port: Option<u16>,
    /// The transports that may be used, best first: one alone where the URI names it, or is `sips`.
    transports: SmallVec<[Transport; 3]>,
    /// What NAPTR records may choose from; empty: they are not asked for.
    choice: SmallVec<[Transport; 3]>,
    is_sips: bool,
}

impl HostName {
    /// The host of a target whose requests come over `known`, for a sender that speaks `spoken`.
    ///
    /// Where the URI names no transport, what the other end has used is the first choice, and nothing less private than that is any.
    #[must_use]
    pub(crate) fn of(name: &str, target: &Target, known: Transport, spoken: &[Transport]) -> Self {
        let first = target.transport_after(known);
        let is_open = target.transport.is_none() && target.port.is_none();
        let others = [Transport::Udp, Transport::Tcp].into_iter().filter(|other| *other != first && spoken.contains(other));
        let transports: SmallVec<[_; 3]> = match first {
            Transport::Udp | Transport::Tcp if is_open => std::iter::once(first).chain(others).collect(),
            _ => SmallVec::from_iter([first]),
        };
        let choice = match first {
            Transport::Tls if is_open => transports.clone(),
            _ if is_open => transports.iter().copied().chain(spoken.contains(&Transport::Tls).then_some(Transport::Tls)).collect(),
            _ => SmallVec::new(),
        };
        Self {
            name: name.trim_end_matches('.').to_ascii_lowercase().into(),
            port: target.port,
            transports,
            choice,
            is_sips: target.is_sips,
        }
    }

    /// The name, in lower case.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The transport that is used where no record says another.
    #[must_use]
    pub(crate) fn transport(&self) -> Transport {
        self.transports.first().copied().unwrap_or(Transport::Udp)
    }
}

/// One way to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Where to.
    pub address: SocketAddr,
    /// Over what.
    pub transport: Transport,
}

/// Every way to a host name that its records offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Best first.
    services: Vec<Service>,
    /// For how long that may be relied on.
    pub(crate) ttl: Duration,
}

/// Why a name leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotLocated {
    /// Whether DNS has said so. Else there was no answer, or no use of it.
    pub is_certain: bool,
    /// For how long that may be relied on, where DNS has said it.
    pub ttl: Option<Duration>,
}

impl NotLocated {
    /// There was no answer.
    pub(crate) const NO_ANSWER: Self = Self { is_certain: false, ttl: None };
}

/// The servers of one transport.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Service {
    transport: Transport,
    servers: Vec<Server>,
}

/// One SRV record, or a host without any.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    priority: u16,
    weight: u16,
    port: u16,
    addresses: Vec<IpAddr>,
}

impl Location {
    /// Servers of one transport, each after the one before, for a minute.
    #[cfg(test)]
    pub(crate) fn of(transport: Transport, servers: &[&str]) -> Self {
        let server = |(priority, text): (u16, &&str)| {
            let address: SocketAddr = text.parse().unwrap();
            Server { priority, weight: 0, port: address.port(), addresses: vec![address.ip()] }
        };
        Self { services: vec![Service { transport, servers: (0..).zip(servers).map(server).collect() }], ttl: Duration::from_mins(1) }
    }

    /// The same, for so long.
    #[cfg(test)]
    pub(crate) fn lasting(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// Leaves out what cannot be reached from here; `false`: nothing is left.
    pub(crate) fn retain(&mut self, is_reachable: impl Fn(Transport, IpAddr) -> bool) -> bool {
        for service in &mut self.services {
            for server in &mut service.servers {
                server.addresses.retain(|address| is_reachable(service.transport, *address));
            }
            service.servers.retain(|server| !server.addresses.is_empty());
        }
        self.services.retain(|service| !service.servers.is_empty());
        !self.services.is_empty()
    }

    /// The ways in the order in which they are tried. Whoever has the same seed has the same order; seeds together share the load by
    /// the weights.
    #[must_use]
    pub(crate) fn candidates(&self, seed: u64, prefers_ipv4: bool) -> SmallVec<[Candidate; 4]> {
        let mut dice = order::Dice::new(seed);
        let mut candidates = SmallVec::new();
        for Service { transport, servers } in &self.services {
            for server in order::by_priority_and_weight(servers, |server| (server.priority, server.weight), &mut dice) {
                let mut addresses: SmallVec<[IpAddr; 4]> = server.addresses.iter().copied().collect();
                let turn = dice.below(addresses.len());
                addresses.rotate_left(turn);
                addresses.sort_by_key(|address| address.is_ipv4() != prefers_ipv4);
                let with_port = |address| Candidate { address: SocketAddr::new(address, server.port), transport: *transport };
                candidates.extend(addresses.into_iter().map(with_port));
            }
        }
        candidates.truncate(MAX_CANDIDATES);
        candidates
    }
}

#[cfg(test)]
#[path = "tests/locate.rs"]
mod tests;
