//! Which edges are alive, and which of them takes over from one that is silent. Pure.
//!
//! Silence counts only while our own heartbeats come back: after a pause of this process, the network or NATS, every edge has its
//! full time again to be heard.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::bus::message::EdgeAlive;

/// Most edges remembered.
const MAX_EDGES: usize = 10_000;

#[derive(Debug)]
pub(super) struct Membership {
    own: Box<str>,
    own_takes_udp: bool,
    silent_after: Duration,
    heard: BTreeMap<Box<str>, Heard>,
    /// Since when our own beats have come back without a gap.
    listening_since: Option<Instant>,
    /// When our own beat last came back.
    echoed_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    at: Instant,
    takes_udp: bool,
    last_change: Option<u64>,
}

impl Membership {
    /// A membership without other edges.
    #[must_use]
    pub(super) fn new(own: &str, own_takes_udp: bool, silent_after: Duration) -> Self {
        Self { own: own.into(), own_takes_udp, silent_after, heard: BTreeMap::new(), listening_since: None, echoed_at: None }
    }

    /// Interval of the heartbeat.
    #[must_use]
    pub(super) fn beat_every(&self) -> Duration {
        (self.silent_after / 10).clamp(Duration::from_millis(100), Duration::from_secs(3))
    }

    /// Our own beat came back.
    pub(super) fn echoed(&mut self, now: Instant) {
        if !self.is_listening(now) {
            self.listening_since = Some(now);
        }
        self.echoed_at = Some(now);
    }

    /// A beat of another edge came.
    pub(super) fn heard(&mut self, alive: &EdgeAlive, now: Instant) {
        let heard = Heard { at: now, takes_udp: alive.udp, last_change: alive.last_change };
        if let Some(before) = self.heard.get_mut(&*alive.edge_id) {
            *before = heard;
        } else if self.heard.len() < MAX_EDGES {
            self.heard.insert(alive.edge_id.as_str().into(), heard);
        }
    }

    /// The feature state after which an edge may have told its phones nothing, as it said last.
    #[must_use]
    pub(super) fn last_change(&self, edge_id: &str) -> Option<u64> {
        self.heard.get(edge_id)?.last_change
    }

    /// Forgets edges that have been silent for long; they still count as silent.
    pub(super) fn forget_old(&mut self, now: Instant) {
        let kept_for = self.silent_after * 10;
        self.heard.retain(|_, heard| now.saturating_duration_since(heard.at) < kept_for);
    }

    /// Whether an edge has been silent for so long that it loses its subscriptions.
    #[must_use]
    pub(super) fn is_silent(&self, edge_id: &str, now: Instant) -> bool {
        let Some(listening_since) = self.listening_since.filter(|_| self.is_listening(now)) else { return false };
        let since = self.heard.get(edge_id).map_or(listening_since, |heard| heard.at.max(listening_since));
        *edge_id != *self.own && now.saturating_duration_since(since) >= self.silent_after
    }

    /// Our place among the living edges for this item, 0 is first. Edges that hear the same agree on it.
    ///
    /// With `udp`, only edges that can take subscriptions over UDP count.
    #[must_use]
    pub(super) fn place(&self, item: u64, udp: bool, now: Instant) -> usize {
        let ours = weight(&self.own, item);
        if udp && !self.own_takes_udp {
            return usize::MAX;
        }
        let lives = |heard: &Heard| now.saturating_duration_since(heard.at) <= self.longest_gap() && (heard.takes_udp || !udp);
        self.heard.iter().filter(|(edge_id, heard)| lives(heard) && (weight(edge_id, item), &***edge_id) > (ours, &*self.own)).count()
    }

    fn is_listening(&self, now: Instant) -> bool {
        self.echoed_at.is_some_and(|at| now.saturating_duration_since(at) <= self.longest_gap())
    }

    fn longest_gap(&self) -> Duration {
        self.silent_after / 2
    }
}

/// The membership as the tasks of the take-over share it.
#[derive(Debug, Clone)]
pub(super) struct SharedMembership(Arc<Mutex<Membership>>);

impl SharedMembership {
    pub(super) fn new(membership: Membership) -> Self {
        Self(Arc::new(Mutex::new(membership)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Membership> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An edge's bid for an item (rendezvous hashing): shares are even, and the share of a lost edge is spread over the others. FNV-1a
/// and the mixer of `SplitMix64`, since the high bits of FNV are alike; the same on every machine.
fn weight(edge_id: &str, item: u64) -> u64 {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let mut hash = edge_id.bytes().chain(item.to_be_bytes()).fold(0xcbf2_9ce4_8422_2325, fnv);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::message::Kind;
    use crate::runtime::clock;

    const AFTER: Duration = Duration::from_secs(30);

    fn beat(edge_id: &str, udp: bool, last_change: Option<u64>) -> EdgeAlive {
        EdgeAlive { kind: Kind::default(), edge_id: edge_id.to_owned(), instance: "1".into(), beat: 1, udp, last_change }
    }

    /// Everybody speaks every 3 s, as far as `speaks` says, for so long.
    fn listen(membership: &mut Membership, from: Instant, seconds: u64, speaks: &[&str]) -> Instant {
        for step in 0..=seconds / 3 {
            let now = from + Duration::from_secs(3 * step);
            membership.echoed(now);
            for edge in speaks {
                membership.heard(&beat(edge, true, Some(step)), now);
            }
        }
        from + Duration::from_secs(seconds)
    }

    #[test]
    fn an_edge_is_silent_after_its_time_and_never_ourselves() {
        let mut membership = Membership::new("a", true, AFTER);
        assert_eq!(membership.beat_every(), Duration::from_secs(3));
        let start = clock::now();
        assert!(!membership.is_silent("b", start), "nothing is known yet");
        let now = listen(&mut membership, start, 27, &["c"]);
        assert!(!membership.is_silent("b", now), "never heard, but not listened for long enough");
        let now = listen(&mut membership, now, 6, &["c"]);
        assert!(membership.is_silent("b", now) && !membership.is_silent("c", now) && !membership.is_silent("a", now));
        assert_eq!((membership.last_change("c"), membership.last_change("b")), (Some(2), None), "as it said last");
        membership.heard(&beat("b", true, None), now);
        assert!(!membership.is_silent("b", now), "it is back");
        membership.forget_old(now + AFTER * 11);
        assert!(membership.heard.is_empty());
    }

    #[test]
    fn whoever_heard_nothing_at_all_concludes_nothing() {
        let mut membership = Membership::new("a", true, AFTER);
        let now = listen(&mut membership, clock::now(), 60, &["b"]);
        // NATS is away, or this process stood still
        let after = now + Duration::from_mins(5);
        assert!(!membership.is_silent("b", after), "we heard ourselves neither");
        membership.echoed(after);
        assert!(!membership.is_silent("b", after), "it has its full time again");
        let later = listen(&mut membership, after, 27, &[]);
        assert!(!membership.is_silent("b", later));
        let later = listen(&mut membership, later, 6, &[]);
        assert!(membership.is_silent("b", later));
    }

    #[test]
    fn items_are_shared_evenly_and_each_has_one_first() {
        let now = clock::now();
        let names = ["a", "b", "c"];
        let memberships = names.map(|own| {
            let mut membership = Membership::new(own, true, AFTER);
            names.iter().filter(|name| **name != own).for_each(|name| membership.heard(&beat(name, true, None), now));
            membership
        });
        let mut first = [0; 3];
        for item in 0..3000 {
            let mut places = [0, 1, 2].map(|at| memberships[at].place(item, true, now));
            first[places.iter().position(|place| *place == 0).unwrap()] += 1;
            places.sort_unstable();
            assert_eq!(places, [0, 1, 2]);
        }
        assert!(first.iter().all(|count| (900..1100).contains(count)), "{first:?}");
        let later = now + Duration::from_secs(16);
        assert_eq!(memberships[0].place(7, true, later), 0, "who is not heard does not count");
        let mut tcp_only = Membership::new("a", false, AFTER);
        tcp_only.heard(&beat("b", false, None), now);
        assert_eq!(tcp_only.place(7, true, now), usize::MAX);
        assert!(tcp_only.place(7, false, now) <= 1);
    }
}
