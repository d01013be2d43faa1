//! Where a NOTIFY goes, over what, and from which listener. Pure.
//!
//! | the SUBSCRIBE came | the NOTIFY goes |
//! |---|---|
//! | with Record-Route | to the first Route; over the connection it came on, while that is open |
//! | with one Via: straight from the phone | back on the flow it came on |
//! | the same, with `ob` in the Contact | on that flow or not at all (RFC 5626) |
//! | by a proxy that did not record-route | to the Contact |
//! | from an unauthenticated source, with a Route or Contact elsewhere | back to the source, so the edge is no amplifier |
//! | with a Route or Contact that is a name | where NAPTR, SRV and address records lead: see `sip::locate` |
//! | on a connection that is gone | to the first Route or the Contact, which may be reachable anew |
//! | over UDP, and the NOTIFY is too large for a datagram | over TCP to the first Route or the Contact, where it can be reached |

use std::net::SocketAddr;

use crate::edge::config::EdgeConfig;
use crate::edge::subscription::Subscription;
use crate::edge::subscription::destination::{Destination, Named, listener_towards, spoken};
use crate::sip::flow::{ConnectionId, Flow, Transport};
use crate::sip::locate::{Candidate, HostName};
use crate::sip::uri::{self, Target, TargetHost};

/// The next hop: known, or a name that is to be located first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hop {
    To(Destination),
    Named(Named),
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
        // It asked for that flow alone: what its Contact names may be another's by now (RFC 5626 §5.3.1).
        None if is_bound_to_flow(subscription) => {
            return Hop::To(Destination::Nowhere { transport: flow.transport, listener: flow.listener });
        }
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
    if is_bound_to_flow(subscription) {
        return None;
    }
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

/// Whether a phone without a proxy that record-routes wants its NOTIFYs on the flow that it subscribed on: `ob` in its Contact.
fn is_bound_to_flow(subscription: &Subscription) -> bool {
    let Subscription { dialog, is_direct, .. } = subscription;
    *is_direct && dialog.routes.is_empty() && uri::is_outbound(&dialog.target)
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
