//! One subscription: dialog, lifetime, and what its phone was told. Pure.

pub(crate) mod alarm;
pub(crate) mod cover;
pub(crate) mod destination;
pub(crate) mod lane;
pub(crate) mod next_hop;
pub(crate) mod outbox;
pub mod record;
pub(crate) mod sync;
pub(crate) mod underway;
pub(crate) mod verdict;
pub(crate) mod write;

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::{Instant, SystemTime};

use smallvec::SmallVec;

use crate::bus::message::Dismissal;
use crate::edge::metrics::About;
use crate::edge::profile::Quirks;
use crate::edge::subscribe::Subscribe;
use crate::edge::subscription::alarm::Alarm;
use crate::edge::subscription::destination::NamedWay;
use crate::edge::subscription::lane::Lane;
use crate::edge::subscription::outbox::{Outbox, Parcel};
use crate::edge::subscription::sync::Sync;
use crate::edge::subscription::underway::Underway;
use crate::feature::{FeatureState, Package, Presentity};
use crate::runtime::clock;
use crate::sip::flow::{ConnectionId, Flow, Transport};
use crate::sip::header::Event;
use crate::sip::uri;

/// Names a subscription: our tag in its dialog, and its key in the bucket.
///
/// Shape: 24 hexadecimal digits, unguessable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId([u8; 12]);

impl SubscriptionId {
    /// A number that is its own, where chance is to fall the same each time.
    #[must_use]
    pub(crate) fn seed(self) -> u64 {
        self.0.iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte))
    }

    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // in one piece: it stands in every key, tag, event and record
        let mut text = [0_u8; 24];
        for (digits, byte) in text.chunks_exact_mut(2).zip(self.0) {
            digits.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

const fn hex_digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

/// A tag or key that names no subscription of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a subscription id is 24 hexadecimal digits")]
pub struct SubscriptionIdError;

impl FromStr for SubscriptionId {
    type Err = SubscriptionIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_ours = text.len() == 24 && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
        let number = is_ours.then(|| u128::from_str_radix(text, 16).ok()).flatten().ok_or(SubscriptionIdError)?;
        let [_, _, _, _, id @ ..] = number.to_be_bytes();
        Ok(Self(id))
    }
}

/// The dialog as the notifier keeps it. Source: RFC 3261 §12.1.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: Box<str>,
    /// The phone's tag.
    pub remote_tag: Box<str>,
    /// Our side's URI: the From of our NOTIFYs.
    pub local: Box<str>,
    /// The phone's URI: the To of our NOTIFYs.
    pub remote: Box<str>,
    /// The phone's Contact URI: the Request-URI of our NOTIFYs.
    pub target: Box<str>,
    /// Route headers of our NOTIFYs, in order.
    pub routes: Vec<Box<str>>,
    /// The phone's Event as it was written, echoed; `None` where it is the name of the package alone.
    pub event: Option<Box<str>>,
    /// Highest `CSeq` that the phone has used.
    pub remote_cseq: u32,
    /// `CSeq` of our last NOTIFY; 0 before the first.
    pub local_cseq: u32,
}

impl Dialog {
    /// The `id` of the phone's Event.
    #[must_use]
    pub fn event_id(&self) -> Option<&str> {
        self.event.as_deref().and_then(Event::parse).and_then(|event| event.id)
    }

    /// Whether it is one over TLS from end to end: `sips` in the phone's Contact or the first Route. Source: RFC 3261 §12.1.1.
    #[must_use]
    pub fn is_sips(&self) -> bool {
        let hop = self.routes.first().map_or(&*self.target, |route| uri::of_name_addr(route));
        uri::is_sips(&self.target) || uri::is_sips(hop)
    }
}

/// Where a subscription stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Being stored for the first time; the phone has no answer yet.
    Storing,
    /// The phone has its 200.
    Live,
    /// Its last NOTIFY is asked for or in flight; nothing else is taken.
    Ending,
    /// Nothing more is sent; it is here until what its phone asked for, and has a 200 for, is carried out.
    Over,
}

impl Phase {
    /// Whether it counts as a watcher of its presentity.
    #[must_use]
    pub const fn is_watching(self) -> bool {
        matches!(self, Self::Storing | Self::Live)
    }
}

/// One subscription.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says one thing of its own, none is a state")]
pub struct Subscription {
    /// Its name.
    pub id: SubscriptionId,
    /// Whose features it watches.
    pub presentity: Presentity,
    /// Which of them: those of this event package.
    pub package: &'static Package,
    /// URI of the phone's user.
    pub watcher: Box<str>,
    /// Its dialog.
    pub dialog: Dialog,
    /// The flow of the last SUBSCRIBE.
    pub flow: Flow,
    /// Whether the last SUBSCRIBE had one Via: it came straight from the phone.
    pub is_direct: bool,
    /// Whether its sender may direct our NOTIFYs to another address than its own.
    pub is_trusted: bool,
    /// User-Agent of the phone; empty where it sends none.
    pub user_agent: Box<str>,
    /// Differences for the phone's model.
    pub quirks: Quirks,
    /// Whether its Accept allows `multipart/mixed`.
    pub accepts_multipart: bool,
    /// When it expires.
    pub expires_at: Instant,
    /// Until when its stored records are kept, the longest of them.
    pub kept_until: Instant,
    /// Where it stands.
    pub phase: Phase,
    /// Last `CSeq` that the stored record covers.
    pub cseq_reserved: u32,
    /// Until when the stored record has it live: longer than its phone was told, so that the next refresh is within it.
    pub covered_until: Instant,
    /// Whether it is as a record has it, and no SUBSCRIBE was accepted here since: its edge may have granted more, up to `covered_until`.
    pub is_as_recorded: bool,
    /// Whether no record of it is in the bucket, nor will be: its `CSeq` numbers are nobody else's then.
    pub is_unrecorded: bool,
    /// Revision of its key in the bucket; 0 before the first store.
    pub revision: u64,
    /// Version of each feature that the phone has confirmed.
    pub versions: SmallVec<[(u8, u64); 5]>,
    /// What the phone is still to be told.
    pub outbox: Underway<Outbox>,
    /// The NOTIFY in flight.
    pub in_flight: Option<Box<InFlight>>,
    /// Stores and queries under way or waiting.
    pub lane: Underway<Lane>,
    /// Its timers in the wheel.
    pub alarm: Alarm,
    /// Whether it counts as in grace in the metrics.
    pub counted_in_grace: bool,
    /// The silent edge that it was taken over from.
    pub taken_from: Option<Box<str>>,
    /// When its last SUBSCRIBE was stored.
    pub asked_at: SystemTime,
    /// How somebody has ended it.
    pub dismissed: Option<Dismissal>,
    /// Whether a NOTIFY was still owed when its edge stopped.
    pub is_untold: bool,
    /// Whether it was restored and no SUBSCRIBE came since: the last one may have got no answer, and come once more.
    pub is_restored: bool,
}

/// The NOTIFY that waits for its final response.
#[derive(Debug)]
pub struct InFlight {
    /// What it says.
    pub parcel: Parcel,
    /// Its `CSeq`.
    pub cseq: u32,
    /// Branch of its transaction.
    pub branch: Box<str>,
    /// When it was first sent.
    pub sent_at: Instant,
    /// Once the phone has sent a SUBSCRIBE since: when it is taken back. It ends nothing then.
    pub recalled_at: Option<Instant>,
    /// The transport that it went over.
    pub transport: Transport,
    /// The connection that it went into, of a stream transport.
    pub connection: Option<ConnectionId>,
    /// Where its next hop is a name: which, and the way that was chosen to it.
    pub(crate) by_name: Option<Box<NamedWay>>,
    /// Where it was too large for a datagram, and went over TCP.
    pub detour: Option<TcpWay>,
}

/// A NOTIFY's way over TCP in place of UDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpWay {
    /// To whom.
    pub address: SocketAddr,
    /// Without a final response by then, it goes in a datagram all the same.
    pub until: Instant,
}

impl Subscription {
    /// Whose it is, for the log.
    pub(crate) fn about(&self) -> About<'_> {
        About { presentity: self.presentity.as_str(), watcher: &self.watcher, source: self.flow.peer, call_id: &self.dialog.call_id }
    }

    /// A new subscription for an admitted SUBSCRIBE; nothing is stored or answered yet.
    #[must_use]
    pub fn new(id: SubscriptionId, presentity: Presentity, dialog: Dialog, subscribe: &Subscribe, expires_at: Instant) -> Self {
        Self {
            id,
            presentity,
            package: subscribe.package,
            watcher: subscribe.watcher.clone(),
            dialog,
            flow: subscribe.flow,
            is_direct: subscribe.is_direct,
            is_trusted: subscribe.is_trusted,
            user_agent: subscribe.user_agent.clone(),
            quirks: subscribe.quirks,
            accepts_multipart: subscribe.accepts_multipart.unwrap_or(true),
            expires_at,
            kept_until: expires_at,
            phase: Phase::Storing,
            cseq_reserved: 0,
            covered_until: expires_at,
            is_as_recorded: false,
            is_unrecorded: false,
            revision: 0,
            versions: SmallVec::new(),
            outbox: Underway::default(),
            in_flight: None,
            // What its phone was told in a dialog of before is not known.
            lane: Underway::of(Lane { sync: Sync::unknown(), ..Lane::default() }),
            alarm: Alarm::default(),
            counted_in_grace: false,
            taken_from: None,
            asked_at: SystemTime::UNIX_EPOCH,
            dismissed: None,
            is_untold: false,
            is_restored: false,
        }
    }

    /// Why its last NOTIFY says that it is over. Source: RFC 6665 §4.1.3.
    #[must_use]
    pub fn final_reason(&self) -> &'static str {
        self.dismissed.map_or("timeout", Dismissal::as_str)
    }

    /// Seconds of life left, rounded up, as `Subscription-State: active;expires=` says it; 0 in grace.
    #[must_use]
    pub fn expires_in(&self, now: Instant) -> u32 {
        let left = self.expires_at.saturating_duration_since(now);
        u32::try_from(left.as_secs() + u64::from(left.subsec_nanos() > 0)).unwrap_or(u32::MAX)
    }

    /// When it expires, as time of day.
    #[must_use]
    pub fn expires_at_utc(&self, now: Instant, utc: SystemTime) -> SystemTime {
        clock::time_of_day(self.expires_at, now, utc)
    }

    /// Applies a refresh: Contact, flow, lifetime, `Accept`. Source: the target refresh of RFC 6665 §4.4.1.
    pub fn refresh(&mut self, subscribe: &Subscribe, expires_at: Instant) {
        if let Some(contact) = &subscribe.contact {
            self.dialog.target.clone_from(contact);
        }
        self.flow = subscribe.flow;
        // Without a Contact, nothing new is known of where it listens.
        self.is_direct = subscribe.is_direct && (subscribe.contact.is_some() || self.is_direct);
        self.is_trusted = subscribe.is_trusted;
        // What a refresh leaves out stays as it was.
        self.accepts_multipart = subscribe.accepts_multipart.unwrap_or(self.accepts_multipart);
        self.expires_at = expires_at;
        if !subscribe.user_agent.is_empty() {
            self.user_agent.clone_from(&subscribe.user_agent);
            self.quirks = subscribe.quirks;
        }
    }

    /// Revision of our newest record that is known: one that was seen in the bucket may not be acknowledged yet.
    #[must_use]
    pub fn newest_revision(&self) -> u64 {
        let seen = self.lane.seen.filter(|seen| seen.is_ours).map(|seen| seen.revision);
        self.revision.max(seen.unwrap_or_default())
    }

    /// Whether the newest record that was seen in the bucket is another edge's.
    #[must_use]
    pub fn is_seen_elsewhere(&self) -> bool {
        self.lane.seen.is_some_and(|seen| !seen.is_ours && seen.revision > self.revision)
    }

    /// The phone has confirmed this version of the feature at this place of the table.
    pub fn confirm(&mut self, feature: u8, version: u64) {
        match self.versions.iter_mut().find(|(at, _)| *at == feature) {
            Some((_, known)) => *known = version,
            None => self.versions.push((feature, version)),
        }
    }

    /// Whether its phone is still to be told something.
    #[must_use]
    pub fn is_owed_something(&self) -> bool {
        let Self { lane, outbox, in_flight, .. } = self;
        in_flight.is_some() || !outbox.is_empty() || lane.is_storing() || lane.is_asked_for() || !lane.has_no_query()
    }

    /// Lets go of what holds memory only while something is under way.
    pub fn rest(&mut self) {
        self.lane.rest();
        self.outbox.rest();
    }

    /// Whether nothing of it is left to do.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Over && self.lane.has_no_query()
    }

    /// Whether the phone has confirmed this version of late, and no other.
    #[must_use]
    pub fn has_confirmed(&self, feature: u8, version: u64) -> bool {
        self.versions.contains(&(feature, version))
    }

    /// Whether the NOTIFY in flight says this version of the feature, or a newer one.
    #[must_use]
    pub fn is_being_told(&self, state: &FeatureState) -> bool {
        let told = self.in_flight.iter().flat_map(|in_flight| &in_flight.parcel.updates);
        state.version > 0 && told.map(|change| &change.state).any(|told| told.feature == state.feature && told.version >= state.version)
    }

    /// Whether the phone has confirmed this version, or a newer one.
    #[must_use]
    pub fn knows(&self, feature: u8, version: u64) -> bool {
        version > 0 && self.versions.iter().any(|(at, known)| *at == feature && *known >= version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_own_text() {
        let id = SubscriptionId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        for foreign in ["", "abc", "00000000000000000000000g", "0123456789ABCDEF01234567", "+23456789012345678901234"] {
            assert_eq!(foreign.parse::<SubscriptionId>(), Err(SubscriptionIdError), "{foreign}");
        }
    }
}
