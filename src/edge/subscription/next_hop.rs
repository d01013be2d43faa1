//! Where a NOTIFY goes, over what, and from which listener. Pure.
//!
//! | the SUBSCRIBE came | the NOTIFY goes |
//! |---|---|
//! | with Record-Route | to the first Route; over the connection it came on, while that is open |
//! | with one Via: straight from the phone | back on the flow it came on |
//! | by a proxy that did not record-route | to the Contact |
//! | from an unauthenticated source, with a Route or Contact elsewhere | back to the source, so the edge is no amplifier |
//! | with a Route or Contact that is a name | where NAPTR, SRV and address records lead: see `sip::locate` |
//! | on a connection that is gone | to the first Route or the Contact, which may be reachable anew |
//! | over UDP, and the NOTIFY is too large for a datagram | over TCP to the first Route or the Contact, where it can be reached |

use std::net::SocketAddr;

use smallvec::SmallVec;

use crate::edge::config::EdgeConfig;
use crate::edge::subscription::Subscription;
use crate::sip::flow::{ConnectionId, Flow, Transport};
use crate::sip::locate::{Candidate, HostName};
use crate::sip::uri::{self, Target, TargetHost};

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

/// The next hop: known, or a name that is to be located first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hop {
    To(Destination),
    Named(Named),
}

/// A next hop that is a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) host: HostName,
    /// The listener of the SUBSCRIBE.
    listener: u16,
}

impl Named {
    /// The host of a URI, for a phone that subscribed over this transport.
    #[cfg(test)]
    pub(crate) fn of(uri: &str, known: Transport, config: &EdgeConfig) -> Self {
        let target = uri::target(&uri::parse(uri).unwrap()).unwrap();
        let TargetHost::Name(name) = &target.host else { panic!("{uri} is no name") };
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

/// Where the next NOTIFY of a subscription goes.
#[must_use]
pub(crate) fn next_hop(subscription: &Subscription, config: &EdgeConfig, is_open: impl FnOnce(ConnectionId) -> bool) -> Hop {
    let flow = subscription.flow;
    let is_flow_usable = match flow.connection {
        Some(connection) => is_open(connection),
        None => !flow.transport.is_reliable(),
    };
    let hop = match subscription.dialog.routes.first() {
        // The connection that the proxy keeps to us is the one to its own Route.
        Some(_) if flow.transport.is_reliable() && is_flow_usable => return Hop::To(Destination::Flow(flow)),
        Some(route) => uri::of_name_addr(route),
        None if subscription.is_direct && is_flow_usable => return Hop::To(Destination::Flow(flow)),
        None => &subscription.dialog.target,
    };
    let back = Destination::Flow(Flow { connection: flow.connection.filter(|_| is_flow_usable), ..flow });
    let Some(target) = uri::parse(hop).ok().and_then(|hop| uri::target(&hop)) else { return Hop::To(back) };
    if !may_lead_to(subscription, &target.host) {
        return Hop::To(back);
    }
    hop_to(&target, flow, target.transport_after(flow.transport), config)
}

/// The way over TCP to where a NOTIFY would go in a datagram, its first Route, else the Contact. `None`: this edge speaks no TCP
/// there, the dialog is `sips`, or its sender may not direct our NOTIFYs to that host, as behind a NAT.
///
/// Where the name of the hop is located already, it is the same address.
#[must_use]
pub(crate) fn over_tcp(subscription: &Subscription, config: &EdgeConfig, located: Option<Candidate>) -> Option<Hop> {
    let dialog = &subscription.dialog;
    let hop = dialog.routes.first().map_or(&*dialog.target, |route| uri::of_name_addr(route));
    let target = uri::parse(hop).ok().and_then(|hop| uri::target(&hop)).filter(|target| !target.is_sips)?;
    let target = match located {
        Some(Candidate { address, .. }) => Target { host: TargetHost::Ip(address.ip()), port: Some(address.port()), ..target },
        None => target,
    };
    if located.is_none() && !may_lead_to(subscription, &target.host) {
        return None;
    }
    let target = Target { transport: Some(Transport::Tcp), ..target };
    let is_spoken = |listener: u16| config.listeners.get(usize::from(listener)).is_some_and(|at| at.transport == Transport::Tcp);
    match hop_to(&target, subscription.flow, Transport::Tcp, config) {
        Hop::To(to) => is_spoken(to.listener()).then_some(Hop::To(to)),
        Hop::Named(named) => spoken(config).contains(&Transport::Tcp).then_some(Hop::Named(named)),
    }
}

/// Whoever may be anyone has us send nowhere but to itself.
fn may_lead_to(subscription: &Subscription, host: &TargetHost) -> bool {
    let source = subscription.flow.peer.ip().to_canonical();
    subscription.is_trusted || matches!(host, TargetHost::Ip(address) if *address == source)
}

fn hop_to(target: &Target, flow: Flow, transport: Transport, config: &EdgeConfig) -> Hop {
    match &target.host {
        TargetHost::Ip(address) => {
            let address = SocketAddr::new(*address, target.port.unwrap_or(transport.default_port()));
            let listener = listener_towards(config, flow.listener, transport, address);
            Hop::To(Destination::Host { address, name: None, transport, listener })
        }
        // A browser's Contact is a made-up name, and only the browser opens the connection (RFC 7118 §5.2.3, §3).
        TargetHost::Name(_) if matches!(transport, Transport::Ws | Transport::Wss) => {
            Hop::To(Destination::Nowhere { transport, listener: flow.listener })
        }
        TargetHost::Name(name) => {
            Hop::Named(Named { host: HostName::of(name, target, flow.transport, &spoken(config)), listener: flow.listener })
        }
    }
}

/// The transports that this edge has a listener of, and opens connections over.
fn spoken(config: &EdgeConfig) -> SmallVec<[Transport; 3]> {
    let has = |transport: &Transport| config.listeners.iter().any(|listener| listener.transport == *transport);
    [Transport::Udp, Transport::Tcp, Transport::Tls].into_iter().filter(has).collect()
}

/// The listener to send from: that of the SUBSCRIBE where it can reach the address, else the first that can.
fn listener_towards(config: &EdgeConfig, known: u16, transport: Transport, address: SocketAddr) -> u16 {
    let fits = |at: u16| {
        let listener = config.listeners.get(usize::from(at));
        listener.is_some_and(|listener| listener.transport == transport && listener.address.is_ipv4() == address.is_ipv4())
    };
    let mut all = std::iter::once(known).chain((0..).take(config.listeners.len()));
    all.find(|at| fits(*at)).unwrap_or(known)
}
