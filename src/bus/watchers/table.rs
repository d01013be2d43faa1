//! Who watches whom: a compact table of all live subscriptions. Pure.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use serde::Deserialize;
use smallvec::SmallVec;

use crate::feature::package::{AS_FEATURE_EVENT, Package};

/// How many live subscriptions to a presentity an edge holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeWatchers {
    /// The edge.
    pub edge_id: Arc<str>,
    /// Its subscriptions, at least 1.
    pub count: u64,
}

/// Presentity and package → edge → live subscriptions, and key → presentity and edge, so that a removed key can be taken out.
///
/// Keys and presentities are held as 64-bit hashes with seeds of this process: 180 MB for a million subscriptions. Two
/// presentities in a million that share a hash (once in 10⁷ such tables) share their counts: an edge gets a job for which
/// it has no watcher, and drops it.
#[derive(Debug, Default)]
pub(crate) struct Table {
    hasher: RandomState,
    entries: HashMap<u64, Entry, RandomState>,
    presentities: HashMap<u64, SmallVec<[EdgeCount; 2]>, RandomState>,
    edges: Vec<Edge>,
    edge_numbers: HashMap<Arc<str>, u32, RandomState>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    presentity: u64,
    revision: u64,
    edge: u32,
    is_udp: bool,
}

/// An edge that holds subscriptions, or has held some.
#[derive(Debug)]
struct Edge {
    id: Arc<str>,
    held: u64,
    told_until: Box<str>,
}

/// What an edge holds, by the revisions of the keys: those are the sequences of the records in the bucket's stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Held {
    /// Subscriptions over UDP.
    pub(crate) udp: Vec<u64>,
    /// Those over a connection.
    pub(crate) others: Vec<u64>,
    /// All that was asked of the edge before this time is told; RFC 3339 UTC, empty where it never said so.
    pub(crate) told_until: Box<str>,
}

#[derive(Debug, Clone, Copy)]
struct EdgeCount {
    edge: u32,
    count: u32,
}

/// What the index reads of a subscription's record; the rest is its edge's.
#[derive(Debug, Deserialize)]
pub(crate) struct RecordHead<'a> {
    /// Whose watcher, canonical.
    #[serde(borrow)]
    pub(crate) presentity: Cow<'a, str>,
    /// Its event package.
    #[serde(borrow, default = "first_package")]
    pub(crate) package: Cow<'a, str>,
    /// The edge that holds it.
    #[serde(borrow)]
    pub(crate) edge_id: Cow<'a, str>,
    /// `udp`, `tcp`, …
    #[serde(borrow, default)]
    pub(crate) transport: Cow<'a, str>,
    /// All that was asked of that edge before this time is told: RFC 3339 UTC.
    #[serde(borrow, default)]
    pub(crate) told_until: Cow<'a, str>,
}

const fn first_package() -> Cow<'static, str> {
    Cow::Borrowed(AS_FEATURE_EVENT.name)
}

impl Table {
    /// An empty table that takes keys for the same as `other` does.
    pub(crate) fn like(other: &Self) -> Self {
        Self { hasher: other.hasher.clone(), ..Self::default() }
    }

    /// A key was stored. Returns the edge that holds it now.
    pub(crate) fn store(&mut self, key: &str, head: &RecordHead<'_>, revision: u64) -> Arc<str> {
        let key = self.hasher.hash_one(key);
        let presentity = self.watched(&head.presentity, &head.package);
        let (edge, edge_id) = self.edge(&head.edge_id);
        if let Some(before) = self.entries.insert(key, Entry { presentity, revision, edge, is_udp: head.transport == "udp" }) {
            self.uncount(before);
        }
        if let Some(edge) = self.edges.get_mut(edge as usize) {
            edge.held += 1;
            if *head.told_until > *edge.told_until {
                edge.told_until = head.told_until.as_ref().into();
            }
        }
        let counts = self.presentities.entry(presentity).or_default();
        match counts.iter_mut().find(|counted| counted.edge == edge) {
            Some(counted) => counted.count += 1,
            None => counts.push(EdgeCount { edge, count: 1 }),
        }
        edge_id
    }

    /// A key was removed or has expired. Returns the edge that held it.
    pub(crate) fn remove(&mut self, key: &str) -> Option<Arc<str>> {
        let entry = self.entries.remove(&self.hasher.hash_one(key))?;
        self.uncount(entry);
        self.edges.get(entry.edge as usize).map(|edge| Arc::clone(&edge.id))
    }

    /// The edges that hold subscriptions.
    pub(crate) fn edges(&self) -> Vec<Arc<str>> {
        self.edges.iter().filter(|edge| edge.held > 0).map(|edge| Arc::clone(&edge.id)).collect()
    }

    /// The edges that hold subscriptions, and how many.
    pub(crate) fn holders(&self) -> Vec<(Arc<str>, u64)> {
        let holders = self.edges.iter().filter(|edge| edge.held > 0);
        holders.map(|edge| (Arc::clone(&edge.id), edge.held)).collect()
    }

    /// What an edge holds. Looks at every subscription of all edges.
    pub(crate) fn held_by(&self, edge_id: &str) -> Held {
        let mut held = Held::default();
        let Some(edge) = self.edge_numbers.get(edge_id) else { return held };
        held.told_until = self.edges.get(*edge as usize).map(|edge| edge.told_until.clone()).unwrap_or_default();
        for entry in self.entries.values().filter(|entry| entry.edge == *edge) {
            if entry.is_udp { held.udp.push(entry.revision) } else { held.others.push(entry.revision) }
        }
        held
    }

    /// The edges that hold watchers of a presentity's features in one of these packages.
    pub(crate) fn watchers(&self, presentity: &str, packages: &[&'static Package]) -> Vec<EdgeWatchers> {
        let mut edges: Vec<EdgeWatchers> = Vec::new();
        let counts = packages.iter().filter_map(|package| self.presentities.get(&self.watched(presentity, package.name))).flatten();
        for counted in counts {
            let Some(edge_id) = self.edges.get(counted.edge as usize).map(|edge| &edge.id) else { continue };
            match edges.iter_mut().find(|edge| edge.edge_id == *edge_id) {
                Some(edge) => edge.count += u64::from(counted.count),
                None => edges.push(EdgeWatchers { edge_id: Arc::clone(edge_id), count: u64::from(counted.count) }),
            }
        }
        edges
    }

    /// As [`watchers`](Self::watchers), without one subscription. An edge that holds no other is left out.
    pub(crate) fn watchers_but(&self, presentity: &str, packages: &[&'static Package], but: Option<&str>) -> Vec<EdgeWatchers> {
        let mut edges = self.watchers(presentity, packages);
        let entry = but.and_then(|key| self.entries.get(&self.hasher.hash_one(key)));
        let is_counted = |entry: &&Entry| packages.iter().any(|package| self.watched(presentity, package.name) == entry.presentity);
        let edge_id = entry.filter(is_counted).and_then(|entry| self.edges.get(entry.edge as usize)).map(|edge| &edge.id);
        if let Some(edge) = edges.iter_mut().find(|edge| Some(&edge.edge_id) == edge_id) {
            edge.count = edge.count.saturating_sub(1);
        }
        edges.retain(|edge| edge.count > 0);
        edges
    }

    fn watched(&self, presentity: &str, package: &str) -> u64 {
        self.hasher.hash_one((presentity, package))
    }

    /// The revision of a key, and the edge that holds it.
    pub(crate) fn holder(&self, key: &str) -> Option<(u64, Arc<str>)> {
        let entry = self.entries.get(&self.hasher.hash_one(key))?;
        Some((entry.revision, Arc::clone(&self.edges.get(entry.edge as usize)?.id)))
    }

    /// Whether the key is known with this very revision.
    pub(crate) fn has(&self, key: &str, revision: u64) -> bool {
        self.entries.get(&self.hasher.hash_one(key)).is_some_and(|entry| entry.revision == revision)
    }

    /// Live subscriptions.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn edge(&mut self, edge_id: &str) -> (u32, Arc<str>) {
        if let Some((edge_id, number)) = self.edge_numbers.get_key_value(edge_id) {
            return (*number, Arc::clone(edge_id));
        }
        let edge_id: Arc<str> = edge_id.into();
        // one number for each edge id ever seen by this table: never near 2³²
        let number = u32::try_from(self.edges.len()).unwrap_or(u32::MAX);
        self.edges.push(Edge { id: Arc::clone(&edge_id), held: 0, told_until: Box::default() });
        self.edge_numbers.insert(Arc::clone(&edge_id), number);
        (number, edge_id)
    }

    fn uncount(&mut self, entry: Entry) {
        if let Some(edge) = self.edges.get_mut(entry.edge as usize) {
            edge.held = edge.held.saturating_sub(1);
        }
        let Some(counts) = self.presentities.get_mut(&entry.presentity) else { return };
        if let Some(counted) = counts.iter_mut().find(|counted| counted.edge == entry.edge) {
            counted.count = counted.count.saturating_sub(1);
        }
        counts.retain(|counted| counted.count > 0);
        if counts.is_empty() {
            self.presentities.remove(&entry.presentity);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::feature::package::HOTELING;

    fn head<'a>(presentity: &'a str, edge_id: &'a str) -> RecordHead<'a> {
        RecordHead {
            presentity: presentity.into(),
            package: first_package(),
            edge_id: edge_id.into(),
            transport: "udp".into(),
            told_until: "".into(),
        }
    }

    fn counts(table: &Table, presentity: &str) -> Vec<(String, u64)> {
        let mut counts: Vec<_> =
            table.watchers(presentity, &[&AS_FEATURE_EVENT]).into_iter().map(|w| (w.edge_id.to_string(), w.count)).collect();
        counts.sort();
        counts
    }

    #[test]
    fn follows_a_subscription_from_edge_to_edge_and_out() {
        let mut table = Table::default();
        table.store("k1", &head("sip:alice@a", "edge-0"), 1);
        table.store("k2", &head("sip:alice@a", "edge-0"), 2);
        assert_eq!(counts(&table, "sip:alice@a"), [("edge-0".into(), 2)]);
        table.store("k1", &head("sip:alice@a", "edge-1"), 3);
        assert_eq!(counts(&table, "sip:alice@a"), [("edge-0".into(), 1), ("edge-1".into(), 1)]);
        assert_eq!(table.holder("k1"), Some((3, "edge-1".into())));
        assert!(table.has("k2", 2) && !table.has("k2", 1));
        table.store("k3", &RecordHead { transport: "tcp".into(), ..head("sip:bob@a", "edge-1") }, 4);
        assert_eq!(table.held_by("edge-1"), Held { udp: vec![3], others: vec![4], ..Held::default() });
        assert_eq!(table.remove("k3").as_deref(), Some("edge-1"));
        assert_eq!(table.edges().len(), 2);
        assert_eq!(table.remove("k1").as_deref(), Some("edge-1"));
        assert_eq!(table.remove("k1"), None);
        assert_eq!(table.remove("k2").as_deref(), Some("edge-0"));
        assert_eq!((table.len(), table.presentities.len(), table.edges().len()), (0, 0, 0), "nothing is left behind");
    }

    #[test]
    fn watchers_are_counted_by_package_and_summed_by_edge() {
        let mut table = Table::default();
        table.store("k1", &head("sip:alice@a", "edge-0"), 1);
        table.store("k2", &RecordHead { package: HOTELING.name.into(), ..head("sip:alice@a", "edge-0") }, 2);
        table.store("k3", &RecordHead { package: HOTELING.name.into(), ..head("sip:alice@a", "edge-1") }, 3);
        for (packages, want) in [
            (&[&AS_FEATURE_EVENT][..], vec![("edge-0", 1)]),
            (&[&HOTELING], vec![("edge-0", 1), ("edge-1", 1)]),
            (&[&AS_FEATURE_EVENT, &HOTELING], vec![("edge-0", 2), ("edge-1", 1)]),
            (&[], vec![]),
        ] {
            let got = table.watchers("sip:alice@a", packages);
            assert_eq!(got.iter().map(|edge| (&*edge.edge_id, edge.count)).collect::<Vec<_>>(), want);
        }
        table.remove("k2");
        assert_eq!(table.watchers("sip:alice@a", &[&HOTELING]).len(), 1);
    }

    #[test]
    fn reads_three_fields_of_a_record_and_skips_the_rest() {
        let record = br#"{"v":1,"presentity":"sip:\u0061lice@a","dialog":{"edge_id":"no"},"edge_id":"edge-0","cseq":[1]}"#;
        let head: RecordHead<'_> = serde_json::from_slice(record).unwrap();
        assert_eq!((head.presentity.as_ref(), head.edge_id.as_ref()), ("sip:alice@a", "edge-0"));
    }

    proptest! {
        /// Whatever happens to keys, the counts are those that a plain list of the live keys gives.
        #[test]
        fn counts_what_is_there(steps in prop::collection::vec((0_u8..12, 0_u8..4, 0_u8..3, any::<bool>()), 0..200)) {
            let mut table = Table::default();
            let mut plain = HashMap::new();
            for (revision, (key, presentity, edge, stores)) in steps.into_iter().enumerate() {
                let (key, presentity, edge) = (format!("k{key}"), format!("p{presentity}"), format!("e{edge}"));
                if stores {
                    table.store(&key, &head(&presentity, &edge), revision as u64);
                    plain.insert(key, (presentity, edge));
                } else {
                    let (removed, want) = (table.remove(&key), plain.remove(&key));
                    prop_assert_eq!(removed.as_deref(), want.as_ref().map(|(_, edge)| edge.as_str()));
                }
            }
            prop_assert_eq!(table.len(), plain.len());
            for presentity in ["p0", "p1", "p2", "p3"] {
                let mut want: HashMap<&str, u64> = HashMap::new();
                for (_, edge) in plain.values().filter(|(p, _)| p == presentity) {
                    *want.entry(edge).or_default() += 1;
                }
                let mut want: Vec<_> = want.into_iter().map(|(edge, count)| (edge.to_owned(), count)).collect();
                want.sort();
                prop_assert_eq!(counts(&table, presentity), want);
            }
        }
    }
}
