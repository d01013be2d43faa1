//! Host names that NOTIFYs go to: what is known of each, who waits for it, and which of its ways are dead.
//!
//! ```text
//!  (unknown) ── find ──▶ asked ─┬─ located ─────▶ known ── TTL over ──▶ asked
//!                 ▲             └─ not located ─▶ nowhere ── over ────┐
//!                 └──────────────────────────────────────────────────┘
//! ```
//! A name is asked for once at a time, however many wait for it. What is known is used on for a while when DNS has no answer
//! (RFC 8767). Of the questions under way only some are about names that had no answer the last time, so that names which are never
//! answered leave room for the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::{AHashMap, AHashSet};
use smallvec::SmallVec;

use crate::edge::config::EdgeConfig;
use crate::edge::limit::MAX_NAMES_ASKED;
use crate::edge::metrics::names::NameMetrics;
use crate::edge::metrics::{EdgeMetrics, LookupOutcome};
use crate::edge::subscription::SubscriptionId;
use crate::edge::subscription::destination::Named;
use crate::sip::flow::Transport;
use crate::sip::locate::{Candidate, HostName, Location, NotLocated};

/// Of the names that are asked for at a time, those that had no answer the last time.
const MAX_DOUBTFUL: usize = 16;
/// Names remembered.
const MAX_NAMES: usize = 10_000;
/// Dead ways remembered. One more is not: it is tried again with the next NOTIFY.
const MAX_DEAD: usize = 4096;
/// For how long a way that has failed is tried after the others.
pub(crate) const DEAD_FOR: Duration = Duration::from_mins(1);
/// For how long what was known is used on while DNS has no answer, and how long after each try it is asked again.
const STALE_FOR: Duration = Duration::from_hours(1);
const STALE_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// For how long a name that leads nowhere is not asked for again: the first time, doubled each time, at most.
const FIRST_AGAIN_AFTER: Duration = Duration::from_secs(5);
const LAST_AGAIN_AFTER: Duration = Duration::from_mins(5);
/// For how long it is remembered that a name had no answer.
const DOUBT_FOR: Duration = Duration::from_mins(10);

pub(crate) struct Names {
    config: Arc<EdgeConfig>,
    metrics: Arc<EdgeMetrics>,
    known: AHashMap<Arc<HostName>, Name>,
    /// How many are asked for; of those, how many that had no answer the last time.
    asked: usize,
    doubtful: usize,
    /// Until when each counts as dead.
    dead: AHashMap<Candidate, Instant>,
    /// The ways that have failed for the NOTIFY that a subscription is being told now.
    tried: AHashMap<SubscriptionId, SmallVec<[Candidate; 4]>>,
}

struct Name {
    state: State,
    /// What was known last, and until when it may be used.
    last: Option<(Arc<Location>, Instant)>,
    /// How often in a row it led nowhere.
    failures: u32,
}

enum State {
    Asked { waiting: AHashSet<SubscriptionId>, since: Instant, is_doubtful: bool },
    Known { until: Instant },
    Nowhere { until: Instant },
}

/// What is known of the way to a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Way {
    To(Candidate),
    /// The name is to be located: this is to be asked, where it is not yet. The subscription is among those that wait.
    Asked(Option<Arc<HostName>>),
    /// Too many names are asked for.
    NoRoom,
    /// It leads nowhere, or nowhere that has not failed already.
    Nowhere,
}

impl Names {
    pub(crate) fn new(config: Arc<EdgeConfig>, metrics: Arc<EdgeMetrics>) -> Self {
        let (known, dead, tried) = (AHashMap::new(), AHashMap::new(), AHashMap::new());
        Self { config, metrics, known, asked: 0, doubtful: 0, dead, tried }
    }

    /// The way that the next NOTIFY of a subscription takes to its next hop.
    pub(crate) fn find(&mut self, named: &Named, id: SubscriptionId, now: Instant) -> Way {
        match self.known.get_mut(&named.host) {
            Some(Name { state: State::Known { until }, last: Some((location, _)), .. }) if *until > now => {
                let location = Arc::clone(location);
                self.choose(&location, named, id, now).map_or(Way::Nowhere, Way::To)
            }
            Some(Name { state: State::Nowhere { until }, .. }) if *until > now => Way::Nowhere,
            Some(Name { state: State::Asked { waiting, .. }, .. }) => {
                waiting.insert(id);
                Way::Asked(None)
            }
            _ => self.ask(named, id, now),
        }
    }

    fn ask(&mut self, named: &Named, id: SubscriptionId, now: Instant) -> Way {
        let is_doubtful = self.known.get(&named.host).is_some_and(|name| name.failures > 0);
        if self.asked >= MAX_NAMES_ASKED || (is_doubtful && self.doubtful >= MAX_DOUBTFUL) || !self.has_room(named, now) {
            self.metrics.names.ended(LookupOutcome::NoRoom, Duration::ZERO);
            return Way::NoRoom;
        }
        self.asked += 1;
        self.doubtful += usize::from(is_doubtful);
        let host = self.known.get_key_value(&named.host).map_or_else(|| Arc::new(named.host.clone()), |(host, _)| Arc::clone(host));
        let state = State::Asked { waiting: AHashSet::from_iter([id]), since: now, is_doubtful };
        match self.known.get_mut(&host) {
            Some(name) => name.state = state,
            None => drop(self.known.insert(Arc::clone(&host), Name { state, last: None, failures: 0 })),
        }
        Way::Asked(Some(host))
    }

    /// Makes room for one more name: of what is over, else of any that is not asked for.
    fn has_room(&mut self, named: &Named, now: Instant) -> bool {
        if self.known.len() >= MAX_NAMES && !self.known.contains_key(&named.host) {
            self.known.retain(|_, name| name.is_worth_keeping(now));
            let dropped = self.known.iter().find(|(_, name)| !matches!(name.state, State::Asked { .. })).map(|(host, _)| Arc::clone(host));
            if let Some(host) = dropped.filter(|_| self.known.len() >= MAX_NAMES) {
                self.known.remove(&host);
            }
        }
        self.known.len() < MAX_NAMES || self.known.contains_key(&named.host)
    }

    /// A name was asked for; gives the subscriptions that have waited.
    pub(crate) fn located(&mut self, host: &HostName, found: Result<Location, NotLocated>, now: Instant) -> AHashSet<SubscriptionId> {
        let Some(name) = self.known.get_mut(host) else { return AHashSet::new() };
        let State::Asked { waiting, since, is_doubtful } = &mut name.state else { return AHashSet::new() };
        let (waiting, took) = (std::mem::take(waiting), now.saturating_duration_since(*since));
        self.asked = self.asked.saturating_sub(1);
        self.doubtful = self.doubtful.saturating_sub(usize::from(*is_doubtful));
        let config = &self.config;
        let is_reachable = |transport, address: std::net::IpAddr| {
            let listeners = &config.listeners;
            transport != Transport::Udp || listeners.iter().any(|at| at.transport == transport && at.address.is_ipv4() == address.is_ipv4())
        };
        let usable = found.and_then(|mut location| {
            let is_usable = location.retain(is_reachable);
            let ttl = Some(location.ttl);
            if is_usable { Ok(location) } else { Err(NotLocated { is_certain: true, ttl }) }
        });
        let is_known_still = name.last.as_ref().is_some_and(|(_, until)| *until > now);
        match usable {
            Ok(location) => {
                let until = now + location.ttl;
                self.metrics.names.ended(LookupOutcome::Found, took);
                *name = Name { state: State::Known { until }, last: Some((Arc::new(location), until + STALE_FOR)), failures: 0 };
            }
            Err(NotLocated { is_certain: false, .. }) if is_known_still => {
                self.metrics.names.ended(LookupOutcome::Stale, took);
                name.state = State::Known { until: now + STALE_AGAIN_AFTER };
            }
            Err(NotLocated { is_certain, ttl }) => {
                let outcome = if is_certain { LookupOutcome::NotFound } else { LookupOutcome::NoAnswer };
                self.metrics.names.ended(outcome, took);
                let again_after = FIRST_AGAIN_AFTER.saturating_mul(1 << name.failures.min(8));
                let again_after = again_after.max(ttl.unwrap_or_default()).min(LAST_AGAIN_AFTER);
                NameMetrics::leads_nowhere(host.name(), outcome, again_after, name.failures == 0);
                *name = Name { state: State::Nowhere { until: now + again_after }, last: None, failures: name.failures.saturating_add(1) };
            }
        }
        waiting
    }

    /// The first way that has not failed, for this NOTIFY or of late; where all are dead, the one that is dead for longest.
    fn choose(&self, location: &Location, named: &Named, id: SubscriptionId, now: Instant) -> Option<Candidate> {
        let tried = self.tried.get(&id).map_or(&[][..], |tried| tried);
        let candidates = location.candidates(id.seed(), named.prefers_ipv4(&self.config));
        let dead_until = |candidate: &Candidate| self.dead.get(candidate).copied().filter(|until| *until > now);
        let alive = candidates.iter().find(|candidate| !tried.contains(candidate) && dead_until(candidate).is_none());
        let any = || candidates.iter().filter(|_| tried.is_empty()).min_by_key(|candidate| dead_until(candidate));
        alive.or_else(any).copied()
    }

    /// A way has failed for a subscription; whether there is another. For others it comes last for a while.
    pub(crate) fn failed(&mut self, named: &Named, id: SubscriptionId, way: Candidate, dead_for: Duration, now: Instant) -> bool {
        if self.dead.len() >= MAX_DEAD {
            self.dead.retain(|_, until| *until > now);
        }
        if self.dead.len() < MAX_DEAD || self.dead.contains_key(&way) {
            self.dead.insert(way, now + dead_for);
        }
        self.tried.entry(id).or_default().push(way);
        let last = self.known.get(&named.host).and_then(|name| name.last.as_ref()).map(|(location, _)| Arc::clone(location));
        last.is_some_and(|location| self.choose(&location, named, id, now).is_some())
    }

    /// A way has led to an answer.
    pub(crate) fn answered(&mut self, id: SubscriptionId, way: Candidate) {
        if !self.dead.is_empty() {
            self.dead.remove(&way);
        }
        self.forget(id);
    }

    /// What has failed for a subscription may be tried anew, or is not needed any more.
    pub(crate) fn forget(&mut self, id: SubscriptionId) {
        if !self.tried.is_empty() {
            self.tried.remove(&id);
        }
    }

    /// When a NOTIFY that found no way to a name is tried again.
    pub(crate) fn again_at(&self, named: &Named, now: Instant) -> Instant {
        match self.known.get(&named.host) {
            Some(Name { state: State::Nowhere { until }, .. }) => *until,
            _ => now + DEAD_FOR,
        }
    }
}

impl Name {
    fn is_worth_keeping(&self, now: Instant) -> bool {
        match self.state {
            State::Asked { .. } => true,
            State::Known { until } => self.last.as_ref().map_or(until, |(_, until)| *until) > now,
            State::Nowhere { until } => until + DOUBT_FOR > now,
        }
    }
}

#[cfg(test)]
#[path = "../tests/names.rs"]
mod tests;
