//! The configuration of the edge, parsed.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::{InitialNotify, PresentityFrom, SubscriptionConfig};
use crate::edge::gate::policy::AuthPolicy;
use crate::edge::gate::rate_limit::RateLimitConfig;
use crate::edge::profile::Profiles;
use crate::sip::flow::Transport;

/// One listener of this edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its transport.
    pub transport: Transport,
    /// `host:port` that phones reach it at: Via sent-by and Contact.
    pub advertised: Box<str>,
    /// Where it is bound.
    pub address: SocketAddr,
}

/// Which of the notifier threads behind the same addresses an edge is.
///
/// The kernel gives a datagram to the thread that its sender's address and port belong to. A response may come from another address
/// than its NOTIFY went to, and to another thread: the branch says whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// From 0.
    pub number: u8,
    /// How many there are.
    pub of: u8,
}

impl Place {
    /// The only one.
    pub const ALONE: Self = Self { number: 0, of: 1 };

    /// The edge id: that of the configuration for the first, `<edge_id>.2` and so on for the others.
    #[must_use]
    pub fn edge_id(self, configured: &str) -> Box<str> {
        if self.number == 0 { configured.into() } else { format!("{configured}.{}", u32::from(self.number) + 1).into() }
    }

    /// A random number for a branch of this one.
    #[must_use]
    pub const fn mark(self, random: u64) -> u64 {
        if self.of == 1 { random } else { random & (u64::MAX >> 8) | (self.number as u64) << 56 }
    }

    /// The other one whose branch has this number.
    #[must_use]
    pub fn other(self, marked: u64) -> Option<u8> {
        let [number, ..] = marked.to_be_bytes();
        (number != self.number && number < self.of).then_some(number)
    }
}

/// Settings of one edge.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// Its stable name.
    pub edge_id: Box<str>,
    /// Its place among the threads behind its addresses.
    pub place: Place,
    /// Its listeners; a [`crate::sip::flow::Flow`] names one by its place here.
    pub listeners: Vec<Listener>,
    /// Served domains, lower case; empty: any.
    pub domains: Vec<Box<str>>,
    /// Where the presentity is named.
    pub presentity_from: PresentityFrom,
    /// How several documents share a NOTIFY.
    pub initial_notify: InitialNotify,
    /// Largest NOTIFY over UDP, in bytes.
    pub udp_notify_limit_bytes: usize,
    /// Over it: 503.
    pub max_subscriptions: usize,
    /// Over it: 403.
    pub max_subscriptions_per_presentity: usize,
    /// Lifetimes.
    pub subscription: SubscriptionConfig,
    /// Who may subscribe.
    pub auth: AuthPolicy,
    /// How much one source may send.
    pub rate_limit: RateLimitConfig,
    /// Whether a body whose root nobody registered goes to the bus as it is, in place of a 400.
    pub passthrough: bool,
    /// What some phones want otherwise.
    pub profiles: Profiles,
    /// How long a store, or a question for an HA1, may take.
    pub store_timeout: Duration,
    /// Without a store for so long, the next SUBSCRIBE in a dialog is stored whatever the stored record covers.
    pub unstored_for: Duration,
    /// How long a get or set route may take: bus and responder together.
    pub route_timeout: Duration,
    /// How long a stop waits for phones that do not answer their NOTIFY.
    pub drain_patience: Duration,
    /// An edge that is not heard for so long is silent.
    pub silent_after: Duration,
}

impl EdgeConfig {
    /// How long a subscription lives past its expiry.
    #[must_use]
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.subscription.grace_seconds.into())
    }

    /// The longest that a record is kept.
    #[must_use]
    pub fn longest_record_ttl(&self) -> Duration {
        // It covers a lifetime and a refresh: see `Subscription::cover_until`.
        Duration::from_secs(self.subscription.max_expires_seconds.into()) * 2 + self.grace()
    }

    /// `host:port` that phones reach a listener at.
    #[must_use]
    pub fn advertised(&self, listener: u16) -> &str {
        self.listeners.get(usize::from(listener)).map_or("invalid", |listener| &listener.advertised)
    }

    /// The listener that a phone is reached from: the one at `address` where it is still there, else the first of the
    /// transport and of the phone's address family.
    #[must_use]
    pub fn listener_of(&self, transport: Transport, address: Option<SocketAddr>, peer: SocketAddr) -> Option<u16> {
        let fits = |listener: &&(u16, &Listener)| listener.1.transport == transport && listener.1.address.is_ipv4() == peer.is_ipv4();
        let all: Vec<(u16, &Listener)> = (0..).zip(&self.listeners).collect();
        let same = all.iter().filter(fits).find(|(_, listener)| Some(listener.address) == address);
        same.or_else(|| all.iter().find(fits)).map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_says_whose_it_is_where_there_are_several() {
        let (first, third) = (Place { number: 0, of: 3 }, Place { number: 2, of: 3 });
        assert_eq!((&*first.edge_id("edge-a"), &*third.edge_id("edge-a")), ("edge-a", "edge-a.3"));
        for random in [0, 7, u64::MAX] {
            assert_eq!((first.other(third.mark(random)), third.other(first.mark(random))), (Some(2), Some(0)));
            assert_eq!((third.other(third.mark(random)), Place::ALONE.other(Place::ALONE.mark(random))), (None, None));
        }
        assert_eq!(first.other(u64::MAX), None, "there is no such place");
    }
}
