//! Subscriptions and who gets a message: NATS without JetStream. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::simulate::server::subject;

/// One client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A subscription, by the number that its client gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub u64);

type Key = (ConnectionId, SubscriptionId);

#[derive(Debug)]
struct Subscription {
    subject: String,
    queue: Option<String>,
}

/// All subscriptions.
#[derive(Debug, Default)]
pub(super) struct Plain {
    connections: BTreeSet<ConnectionId>,
    last: u64,
    subscriptions: BTreeMap<Key, Subscription>,
    by_subject: BTreeMap<String, BTreeSet<Key>>,
    with_wildcards: BTreeSet<Key>,
    /// Chooses members of queue groups.
    turn: u64,
}

impl Plain {
    pub(super) fn of_seed(seed: u64) -> Self {
        Self { turn: seed, ..Self::default() }
    }

    pub(super) fn connect(&mut self) -> ConnectionId {
        self.last += 1;
        let id = ConnectionId(self.last);
        self.connections.insert(id);
        id
    }

    pub(super) fn is_connected(&self, id: ConnectionId) -> bool {
        self.connections.contains(&id)
    }

    pub(super) fn disconnect(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
        let span = (id, SubscriptionId(0))..=(id, SubscriptionId(u64::MAX));
        let theirs: Vec<Key> = self.subscriptions.range(span).map(|(key, _)| *key).collect();
        for (connection, subscription) in theirs {
            self.unsubscribe(connection, subscription);
        }
    }

    pub(super) fn disconnect_all(&mut self) {
        self.connections.clear();
        self.subscriptions.clear();
        self.by_subject.clear();
        self.with_wildcards.clear();
    }

    pub(super) fn subscribe(&mut self, connection: ConnectionId, id: SubscriptionId, subject: &str, queue: Option<&str>) {
        if !self.is_connected(connection) {
            return;
        }
        self.unsubscribe(connection, id);
        let key = (connection, id);
        if subject::is_literal(subject) {
            self.by_subject.entry(subject.to_owned()).or_default().insert(key);
        } else {
            self.with_wildcards.insert(key);
        }
        self.subscriptions.insert(key, Subscription { subject: subject.to_owned(), queue: queue.map(str::to_owned) });
    }

    pub(super) fn unsubscribe(&mut self, connection: ConnectionId, id: SubscriptionId) {
        let key = (connection, id);
        let Some(gone) = self.subscriptions.remove(&key) else { return };
        self.with_wildcards.remove(&key);
        if let Some(keys) = self.by_subject.get_mut(&gone.subject) {
            keys.remove(&key);
            if keys.is_empty() {
                self.by_subject.remove(&gone.subject);
            }
        }
    }

    fn on<'p>(&'p self, subject: &'p str) -> impl Iterator<Item = (Key, &'p Subscription)> + 'p {
        let exact = self.by_subject.get(subject).into_iter().flatten();
        let exact = exact.filter_map(|key| Some((*key, self.subscriptions.get(key)?)));
        let others = self.with_wildcards.iter().filter_map(|key| Some((*key, self.subscriptions.get(key)?)));
        exact.chain(others.filter(move |(_, subscription)| subject::matches(&subscription.subject, subject)))
    }

    /// Whether somebody listens.
    pub(super) fn has_interest(&self, subject: &str) -> bool {
        self.on(subject).next().is_some()
    }

    /// Whether somebody listens to this very subject: a subscription with a wildcard does not make a consumer push (nats-server 2.15).
    pub(super) fn has_exact_interest(&self, subject: &str) -> bool {
        self.by_subject.contains_key(subject)
    }

    /// Whom a message on this subject goes to: each subscription, and one of each queue group.
    pub(super) fn route(&mut self, subject: &str) -> Vec<Key> {
        let (mut to, mut groups) = (BTreeSet::new(), BTreeMap::<String, Vec<Key>>::new());
        for (key, subscription) in self.on(subject) {
            match &subscription.queue {
                None => {
                    to.insert(key);
                }
                Some(queue) => groups.entry(queue.clone()).or_default().push(key),
            }
        }
        let mut to: Vec<Key> = to.into_iter().collect();
        for mut members in groups.into_values() {
            members.sort_unstable();
            self.turn = self.turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let count = u64::try_from(members.len()).unwrap_or(1).max(1);
            let at = usize::try_from((self.turn >> 33) % count).unwrap_or_default();
            to.extend(members.get(at).copied());
        }
        to
    }

    /// The subscriptions of one client.
    pub(super) fn own(&self, connection: ConnectionId, subject: &str) -> Option<Key> {
        self.on(subject).map(|(key, _)| key).find(|(of, _)| *of == connection)
    }
}
