//! Where a packet goes: a flow, or a host with its address, which a name may have led to. Pure.

use std::net::SocketAddr;

use smallvec::SmallVec;

use crate::edge::config::EdgeConfig;
use crate::sip::flow::{ConnectionId, Flow, Transport};
use crate::sip::locate::{Candidate, HostName};

/// Where a packet goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    Flow(Flow),
    /// To a URI's host, over its transport.
    Host {
        address: SocketAddr,
        /// The name that the URI has: the other end's certificate is to show it.
        name: Option<Box<str>>,
        transport: Transport,
        /// The listener that it is sent from, or as whose connection.
        listener: u16,
    },
    /// There is no way over this transport.
    Nowhere {
        transport: Transport,
        listener: u16,
    },
}

impl Destination {
    #[must_use]
    pub const fn transport(&self) -> Transport {
        match self {
            Self::Flow(flow) => flow.transport,
            Self::Host { transport, .. } | Self::Nowhere { transport, .. } => *transport,
        }
    }

    /// The listener that our side is: it stands in the Via.
    #[must_use]
    pub const fn listener(&self) -> u16 {
        match self {
            Self::Flow(flow) => flow.listener,
            Self::Host { listener, .. } | Self::Nowhere { listener, .. } => *listener,
        }
    }

    /// The open connection that it uses.
    #[must_use]
    pub const fn connection(&self) -> Option<ConnectionId> {
        match self {
            Self::Flow(flow) => flow.connection,
            Self::Host { .. } | Self::Nowhere { .. } => None,
        }
    }
}

/// A next hop that is a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) host: HostName,
    /// The listener of the SUBSCRIBE.
    pub(crate) listener: u16,
}

impl Named {
    /// The host of a URI, for a phone that subscribed over this transport.
    #[cfg(test)]
    pub(crate) fn of(uri: &str, known: Transport, config: &EdgeConfig) -> Self {
        let target = crate::sip::uri::target(&crate::sip::uri::parse(uri).unwrap()).unwrap();
        let crate::sip::uri::TargetHost::Name(name) = &target.host else { panic!("{uri} is no name") };
        Self { host: HostName::of(name, &target, known, &spoken(config)), listener: 0 }
    }

    /// One of the ways there.
    #[must_use]
    pub(crate) fn by(&self, candidate: Candidate, config: &EdgeConfig) -> Destination {
        let Candidate { address, transport } = candidate;
        let listener = listener_towards(config, self.listener, transport, address);
        Destination::Host { address, name: Some(self.host.name().into()), transport, listener }
    }

    /// What stands in for a way where there is none.
    #[must_use]
    pub(crate) fn nowhere(&self, config: &EdgeConfig) -> Destination {
        let transport = self.host.transport();
        let all = (0..).zip(&config.listeners);
        let of_transport = all.filter(|(_, listener)| listener.transport == transport).map(|(at, _)| at);
        let same = of_transport.clone().find(|at| *at == self.listener);
        Destination::Nowhere { transport, listener: same.or(of_transport.min()).unwrap_or(self.listener) }
    }

    /// Whether addresses of IPv4 come first: those of the listener's family.
    #[must_use]
    pub(crate) fn prefers_ipv4(&self, config: &EdgeConfig) -> bool {
        config.listeners.get(usize::from(self.listener)).is_none_or(|listener| listener.address.is_ipv4())
    }
}

/// A way to a next hop that is a name; none where it leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedWay {
    pub(crate) named: Named,
    pub(crate) way: Option<Candidate>,
}

/// The transports that this edge has a listener of, and opens connections over.
pub(crate) fn spoken(config: &EdgeConfig) -> SmallVec<[Transport; 3]> {
    let has = |transport: &Transport| config.listeners.iter().any(|listener| listener.transport == *transport);
    [Transport::Udp, Transport::Tcp, Transport::Tls].into_iter().filter(has).collect()
}

/// The listener to send from: that of the SUBSCRIBE where it can reach the address, else the first that can.
pub(crate) fn listener_towards(config: &EdgeConfig, known: u16, transport: Transport, address: SocketAddr) -> u16 {
    let fits = |at: u16| {
        let listener = config.listeners.get(usize::from(at));
        listener.is_some_and(|listener| listener.transport == transport && listener.address.is_ipv4() == address.is_ipv4())
    };
    let mut all = std::iter::once(known).chain((0..).take(config.listeners.len()));
    all.find(|at| fits(*at)).unwrap_or(known)
}
