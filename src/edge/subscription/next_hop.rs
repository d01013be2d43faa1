//! Where a NOTIFY goes, over what, and from which listener. Pure.
//!
//! | the SUBSCRIBE came | the NOTIFY goes |
//! |---|---|
//! | with Record-Route | to the first Route; over the connection it came on, while that is open |
//! | with one Via: straight from the phone | back on the flow it came on |
//! | by a proxy that did not record-route | to the Contact |
//! | from an unauthenticated source, with a Route or Contact elsewhere | back to the source, so the edge is no amplifier |
//! | on a connection that is gone | to the first Route or the Contact, which may be reachable anew |
//! | over UDP, and the NOTIFY is too large for a datagram | over TCP to the first Route or the Contact, where it can be reached |

use crate::edge::config::EdgeConfig;
use crate::edge::subscription::Subscription;
use crate::sip::flow::{ConnectionId, Flow, Transport};
use crate::sip::uri::{self, TargetHost};

/// Where a packet goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    Flow(Flow),
    /// To a URI's host, over its transport.
    Host {
        host: TargetHost,
        port: u16,
        transport: Transport,
        /// The listener that it is sent from, or as whose connection.
        listener: u16,
    },
}

impl Destination {
    #[must_use]
    pub const fn transport(&self) -> Transport {
        match self {
            Self::Flow(flow) => flow.transport,
            Self::Host { transport, .. } => *transport,
        }
    }

    /// The listener that our side is: it stands in the Via.
    #[must_use]
    pub const fn listener(&self) -> u16 {
        match self {
            Self::Flow(flow) => flow.listener,
            Self::Host { listener, .. } => *listener,
        }
    }

    /// The open connection that it uses.
    #[must_use]
    pub const fn connection(&self) -> Option<ConnectionId> {
        match self {
            Self::Flow(flow) => flow.connection,
            Self::Host { .. } => None,
        }
    }
}

/// Where the next NOTIFY of a subscription goes.
#[must_use]
pub(crate) fn next_hop(subscription: &Subscription, config: &EdgeConfig, is_open: impl FnOnce(ConnectionId) -> bool) -> Destination {
    let flow = subscription.flow;
    let is_flow_usable = match flow.connection {
        Some(connection) => is_open(connection),
        None => !flow.transport.is_reliable(),
    };
    let hop = match subscription.dialog.routes.first() {
        // The connection that the proxy keeps to us is the one to its own Route.
        Some(_) if flow.transport.is_reliable() && is_flow_usable => return Destination::Flow(flow),
        Some(route) => uri::of_name_addr(route),
        None if subscription.is_direct && is_flow_usable => return Destination::Flow(flow),
        None => &subscription.dialog.target,
    };
    let back = Destination::Flow(Flow { connection: flow.connection.filter(|_| is_flow_usable), ..flow });
    let Some(target) = uri::parse(hop).ok().and_then(|hop| uri::target(&hop)) else { return back };
    if !subscription.is_trusted && !matches!(target.host, TargetHost::Ip(address) if address == flow.peer.ip().to_canonical()) {
        return back;
    }
    let transport = target.transport_after(flow.transport);
    let listener = listener_towards(config, flow.listener, transport, &target.host);
    Destination::Host { host: target.host, port: target.port.unwrap_or(transport.default_port()), transport, listener }
}

/// The way over TCP to where a NOTIFY would go in a datagram: its first Route, else the Contact. `None`: this edge speaks no TCP
/// there, the dialog is `sips`, or its sender may not direct our NOTIFYs to that host, as behind a NAT.
#[must_use]
pub(crate) fn over_tcp(subscription: &Subscription, config: &EdgeConfig) -> Option<(TargetHost, u16, u16)> {
    let dialog = &subscription.dialog;
    let hop = dialog.routes.first().map_or(&*dialog.target, |route| uri::of_name_addr(route));
    let target = uri::parse(hop).ok().and_then(|hop| uri::target(&hop)).filter(|target| !target.is_sips)?;
    if !subscription.is_trusted && !matches!(target.host, TargetHost::Ip(address) if address == subscription.flow.peer.ip().to_canonical())
    {
        return None;
    }
    let listener = listener_towards(config, subscription.flow.listener, Transport::Tcp, &target.host);
    let is_spoken = config.listeners.get(usize::from(listener)).is_some_and(|listener| listener.transport == Transport::Tcp);
    is_spoken.then(|| (target.host, target.port.unwrap_or(Transport::Tcp.default_port()), listener))
}

/// The listener to send from: that of the SUBSCRIBE where it can reach the host, else the first that can.
fn listener_towards(config: &EdgeConfig, known: u16, transport: Transport, host: &TargetHost) -> u16 {
    let fits = |at: u16| {
        config.listeners.get(usize::from(at)).is_some_and(|listener| {
            let is_same_family = match host {
                TargetHost::Ip(address) => address.is_ipv4() == listener.address.is_ipv4(),
                TargetHost::Name(_) => true,
            };
            listener.transport == transport && is_same_family
        })
    };
    let mut all = std::iter::once(known).chain((0..).take(config.listeners.len()));
    all.find(|at| fits(*at)).unwrap_or(known)
}
