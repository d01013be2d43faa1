//! NOTIFYs in flight, and the connections that they may use.
//!
//! A subscription has one NOTIFY in flight at most. While it has, the NOTIFY has a client transaction or has just lost it, is
//! counted here, and is known to the connection that it went into.

use std::sync::Arc;
use std::time::Instant;

use ahash::{AHashMap, AHashSet};
use bytes::Bytes;

use crate::config::InitialNotify;
use crate::edge::config::EdgeConfig;
use crate::edge::limit::MAX_CLIENT_TRANSACTIONS;
use crate::edge::metrics::{DeliveryOutcome, EdgeMetrics};
use crate::edge::notifier::io::{NotifyId, Output};
use crate::edge::notifier::state::detour::{self, Detour};
use crate::edge::notifier::state::names::{Names, Way};
use crate::edge::subscription::destination::{Destination, Named, NamedWay};
use crate::edge::subscription::next_hop::{Hop, next_hop, over_tcp};
use crate::edge::subscription::outbox::{Grouping, Parcel};
use crate::edge::subscription::write;
use crate::edge::subscription::{InFlight, Subscription, SubscriptionId, TcpWay};
use crate::runtime::clock::Now;
use crate::sip::flow::{ConnectionId, Transport};
use crate::sip::locate::{Candidate, HostName};
use crate::sip::response::Response;
use crate::sip::transaction::{ClientEvent, ClientOutput, ClientTransactions, Timers};

pub(crate) struct Delivery {
    config: Arc<EdgeConfig>,
    metrics: Arc<EdgeMetrics>,
    client: ClientTransactions<SubscriptionId>,
    /// The open connections, each with the subscriptions that have a NOTIFY in flight on it.
    connections: AHashMap<ConnectionId, AHashSet<SubscriptionId>>,
    in_flight: usize,
    detour: Detour,
    /// Where NOTIFYs are written.
    scratch: Vec<u8>,
}

/// A NOTIFY that goes out for the first time.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) output: Output,
    /// Whether more `CSeq` numbers are to be reserved.
    pub(crate) reserves: bool,
    /// Whether it goes over TCP because of its size: it has a time to be taken back at.
    pub(crate) is_detour: bool,
}

/// Why no NOTIFY goes out that is due.
#[derive(Debug)]
pub(crate) enum NotNow {
    /// As many are in flight as may be, or as many names are asked for.
    NoRoom,
    /// The name that it goes to is being located: this is to be asked, where it is not yet.
    Asked(Option<Arc<HostName>>),
}

/// What a timer of a transaction says.
#[derive(Debug)]
pub(crate) enum Due {
    /// The NOTIFY is sent again: Timer E.
    Again(SubscriptionId, Bytes),
    /// Nobody answered: Timer F.
    TimedOut(SubscriptionId),
}

impl Delivery {
    pub(crate) fn new(config: Arc<EdgeConfig>, metrics: Arc<EdgeMetrics>, now: Instant) -> Self {
        Self {
            config,
            metrics,
            client: ClientTransactions::new(MAX_CLIENT_TRANSACTIONS, Timers::default(), now),
            connections: AHashMap::new(),
            in_flight: 0,
            detour: Detour::default(),
            scratch: Vec::with_capacity(4096),
        }
    }

    pub(crate) fn open(&mut self, connection: ConnectionId) {
        self.connections.entry(connection).or_default();
    }

    /// A connection is gone; gives the subscriptions that have a NOTIFY in flight on it.
    pub(crate) fn close(&mut self, connection: ConnectionId) -> AHashSet<SubscriptionId> {
        self.connections.remove(&connection).unwrap_or_default()
    }

    /// Where the next NOTIFY of a subscription goes.
    pub(crate) fn next_hop_of(&self, subscription: &Subscription) -> Hop {
        next_hop(subscription, &self.config, |connection| self.connections.contains_key(&connection))
    }

    /// Whether the connection that the phone subscribed on is gone.
    pub(crate) fn is_connection_lost(&self, subscription: &Subscription) -> bool {
        subscription.flow.connection.is_some_and(|connection| !self.connections.contains_key(&connection))
    }

    /// Puts the next NOTIFY of a subscription in flight, if one is due.
    pub(crate) fn send(&mut self, subscription: &mut Subscription, names: &mut Names, now: Now) -> Result<Option<Sent>, NotNow> {
        let (to, by_name) = match self.next_hop_of(subscription) {
            Hop::To(to) => (to, None),
            Hop::Named(hop) => {
                let (to, way) = self.way_to(&hop, names, subscription.id, now)?;
                (to, Some(NamedWay { named: hop, way }))
            }
        };
        let over_tcp = self.way_over_tcp(subscription, &to, by_name.as_ref(), names, now)?;
        let branch = self.client.next_branch(self.config.place.mark(rand::random())).ok_or(NotNow::NoRoom)?;
        let grouping = grouping(subscription, &to, branch.as_str(), &self.config, now.at);
        let Some(parcel) = subscription.outbox.take(grouping, now.at) else { return Ok(None) };
        let (id, (cseq, reserves)) = (subscription.id, subscription.next_cseq());
        let head = write::Sending { cseq, branch: branch.as_str(), to: &to, config: &self.config };
        let packet = write::notify(subscription, &parcel, &head, now.at, &mut self.scratch);
        let is_large = to.transport() == Transport::Udp && detour::is_large(packet.len(), self.config.udp_notify_limit_bytes);
        // Several documents stand in one datagram where the operator wants it so (`initial_notify`).
        let around = if is_large && parcel.updates.len() <= 1 {
            self.around(subscription, &parcel, (cseq, branch.as_str()), over_tcp, now)
        } else {
            None
        };
        let (to, packet, by_name, detour) = match around {
            Some((to, packet, way)) => (to, packet, None, Some(way)),
            None => (to, packet, by_name.map(Box::new), None),
        };
        let (transport, connection, is_detour) = (to.transport(), to.connection(), detour.is_some());
        let branch_text = branch.as_str().into();
        let in_flight =
            InFlight { parcel, cseq, branch: branch_text, sent_at: now.at, recalled_at: None, transport, connection, by_name, detour };
        subscription.in_flight = Some(Box::new(in_flight));
        if let Some(users) = connection.and_then(|connection| self.connections.get_mut(&connection)) {
            users.insert(id);
        }
        self.in_flight += 1;
        self.metrics.notify_started();
        self.client.start(branch, "NOTIFY", packet.clone(), transport.is_reliable(), id, now.at);
        let output = Output::Send { to, packet, notify: Some(NotifyId { subscription: id, cseq }) };
        Ok(Some(Sent { output, reserves, is_detour }))
    }

    /// The way to a name, with what its records chose; nowhere where it leads nowhere.
    fn way_to(&self, hop: &Named, names: &mut Names, id: SubscriptionId, now: Now) -> Result<(Destination, Option<Candidate>), NotNow> {
        match names.find(hop, id, now.at) {
            Way::To(candidate) => Ok((hop.by(candidate, &self.config), Some(candidate))),
            Way::Nowhere => Ok((hop.nowhere(&self.config), None)),
            Way::Asked(host) => Err(NotNow::Asked(host)),
            Way::NoRoom => Err(NotNow::NoRoom),
        }
    }

    /// The way over TCP of a NOTIFY that may be too large for a datagram.
    fn way_over_tcp(
        &self,
        subscription: &Subscription,
        to: &Destination,
        by_name: Option<&NamedWay>,
        names: &mut Names,
        now: Now,
    ) -> Result<Option<Destination>, NotNow> {
        if to.transport() != Transport::Udp || !detour::may_be_large(subscription.outbox.largest_document()) {
            return Ok(None);
        }
        Ok(match over_tcp(subscription, &self.config, by_name.and_then(|by_name| by_name.way)) {
            Some(Hop::To(to)) => Some(to),
            Some(Hop::Named(hop)) => Some(self.way_to(&hop, names, subscription.id, now)?.0),
            None => None,
        })
    }

    /// What is too large for a datagram goes over TCP, where its phone can be reached so, else in a datagram all the same.
    /// Source: RFC 3261 §18.1.1.
    fn around(
        &mut self,
        subscription: &Subscription,
        parcel: &Parcel,
        (cseq, branch): (u32, &str),
        over_tcp: Option<Destination>,
        now: Now,
    ) -> Option<(Destination, Bytes, TcpWay)> {
        let way = over_tcp.and_then(|to| match to {
            Destination::Host { address, .. } if self.detour.may_try(address, now.at) => Some((address, to)),
            _ => None,
        });
        self.metrics.notify_oversized(if way.is_some() { Transport::Tcp } else { Transport::Udp });
        let (address, to) = way?;
        let head = write::Sending { cseq, branch, to: &to, config: &self.config };
        let packet = write::notify(subscription, parcel, &head, now.at, &mut self.scratch);
        Some((to, packet, TcpWay { address, until: now.at + detour::PATIENCE }))
    }

    /// Where a NOTIFY in flight is sent again: where it was sent to a name, by the way that was chosen then.
    pub(crate) fn same_way_of(&self, subscription: &Subscription) -> Option<Destination> {
        match (subscription.in_flight.as_ref().and_then(|in_flight| in_flight.by_name.as_deref()), self.next_hop_of(subscription)) {
            (Some(NamedWay { named, way }), _) => way.map(|way| named.by(way, &self.config)),
            (None, Hop::To(to)) => Some(to),
            // Its phone has moved meanwhile.
            (None, Hop::Named(_)) => None,
        }
    }

    /// Whether the next NOTIFY of a subscription goes the way that the one in flight went.
    pub(crate) fn is_same_way(&self, subscription: &Subscription, in_flight: &InFlight) -> bool {
        match (self.next_hop_of(subscription), &in_flight.by_name) {
            (Hop::To(to), None) => (in_flight.transport, in_flight.connection) == (to.transport(), to.connection()),
            (Hop::Named(hop), Some(then)) => hop == then.named,
            _ => false,
        }
    }

    /// A phone was not reached over TCP: for a while its NOTIFYs go in datagrams, whatever their size.
    pub(crate) fn detour_failed(&mut self, way: &TcpWay, now: Now) {
        self.detour.failed(way.address, now.at);
    }

    /// What a response is to the NOTIFYs in flight; `None`: it belongs to none.
    pub(crate) fn handle_response(&mut self, response: &Response, now: Instant) -> Option<ClientEvent<SubscriptionId>> {
        self.client.handle_response(response.branch(), response.method(), response.status(), now)
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.client.handle_timeout(now);
    }

    /// What is due of the timers, until `None`.
    pub(crate) fn poll_due(&mut self) -> Option<Due> {
        Some(match self.client.poll_output()? {
            ClientOutput::Retransmit(id, packet) => Due::Again(*id, packet),
            ClientOutput::TimedOut(id) => Due::TimedOut(id),
        })
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.client.poll_timeout()
    }

    /// Takes the NOTIFY in flight of a subscription whose transaction is over.
    pub(crate) fn finish(&mut self, subscription: &mut Subscription) -> Option<InFlight> {
        let in_flight = *subscription.in_flight.take()?;
        if let Some(users) = in_flight.connection.and_then(|connection| self.connections.get_mut(&connection)) {
            users.remove(&subscription.id);
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        self.metrics.notify_landed();
        Some(in_flight)
    }

    /// Takes the NOTIFY in flight and ends its transaction, if it is such a one and has no final response.
    pub(crate) fn take_back(&mut self, subscription: &mut Subscription, is_meant: impl FnOnce(&InFlight) -> bool) -> Option<InFlight> {
        let in_flight = subscription.in_flight.as_ref().filter(|in_flight| is_meant(in_flight))?;
        self.client.cancel(&in_flight.branch)?;
        self.finish(subscription)
    }

    /// Takes the NOTIFY in flight of a subscription that is over, and ends its transaction.
    pub(crate) fn abandon(&mut self, subscription: &mut Subscription) -> Option<InFlight> {
        let in_flight = self.finish(subscription)?;
        let _user = self.client.cancel(&in_flight.branch);
        Some(in_flight)
    }

    pub(crate) fn count_end(&self, in_flight: &InFlight, outcome: DeliveryOutcome, now: Now) {
        self.metrics.notify_ended(in_flight.transport, outcome, now.at.saturating_duration_since(in_flight.sent_at));
    }

    /// Whether this branch is of a NOTIFY without a final response.
    pub(crate) fn has(&self, branch: &str) -> bool {
        self.client.has(branch)
    }

    /// NOTIFYs in flight.
    pub(crate) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether nothing is in flight, here and on any connection.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight == 0 && self.connections.values().all(|users| users.is_empty())
    }

    #[cfg(test)]
    pub(crate) fn has_no_transaction(&self) -> bool {
        self.client.is_empty()
    }
}

/// How documents may share a NOTIFY of this subscription.
fn grouping(subscription: &Subscription, to: &Destination, branch: &str, config: &EdgeConfig, now: Instant) -> Grouping {
    match subscription.quirks.initial_notify.unwrap_or(config.initial_notify) {
        _ if !subscription.accepts_multipart => Grouping::OneByOne,
        InitialNotify::Sequential => Grouping::OneByOne,
        InitialNotify::Auto if to.transport() == Transport::Udp && subscription.outbox.has_several() => {
            let (head, part_overhead) = write::overhead(subscription, to, branch, config, now);
            Grouping::UpTo { bytes: config.udp_notify_limit_bytes.saturating_sub(head), part_overhead }
        }
        InitialNotify::Auto | InitialNotify::Multipart => Grouping::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::trace::Cause;
    use crate::edge::limit::CAPACITIES;
    use crate::edge::notifier::tests::fixture::{config, live};
    use crate::edge::subscription::outbox::Owed;
    use crate::runtime::clock;
    use crate::sip::flow::Flow;

    #[test]
    fn a_notify_in_flight_is_counted_and_known_to_its_connection_until_it_ends() {
        let (mut bench, tag, _) = live();
        let mut one = bench.notifier.registry.check_out(tag.parse().unwrap()).unwrap();
        let (now, connection) = (clock::moment(), ConnectionId(7));
        let metrics = Arc::new(EdgeMetrics::new(&[Transport::Tcp], &CAPACITIES));
        let mut names = Names::new(Arc::new(config()), Arc::clone(&metrics));
        let mut delivery = Delivery::new(Arc::new(config()), metrics, now.at);
        one.flow = Flow { transport: Transport::Tcp, listener: 1, connection: Some(connection), ..one.flow };
        assert!(delivery.is_connection_lost(&one));
        delivery.open(connection);
        assert!(!delivery.is_connection_lost(&one));
        assert!(delivery.send(&mut one, &mut names, now).unwrap().is_none(), "nothing is to be told");
        let owe = |one: &mut Subscription| drop(one.outbox.owe_empty(Owed { cause: Cause::new(), since: now.at, job: None }));
        owe(&mut one);
        assert!(delivery.send(&mut one, &mut names, now).unwrap().is_some());
        owe(&mut one);
        assert!(delivery.send(&mut one, &mut names, now).unwrap().is_none(), "one at a time");
        assert_eq!(delivery.in_flight(), 1);
        assert!(delivery.take_back(&mut one, |in_flight| in_flight.cseq == 0).is_none(), "another is meant");
        assert!(delivery.take_back(&mut one, |in_flight| in_flight.connection == Some(connection)).is_some());
        assert!(delivery.is_empty() && delivery.has_no_transaction() && delivery.finish(&mut one).is_none());
        assert!(delivery.close(connection).is_empty(), "nothing is in flight on it");
    }
}
