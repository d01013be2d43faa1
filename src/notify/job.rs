//! NOTIFY jobs: what an edge is to notify its watchers of. Pure.

use std::sync::Arc;
use std::time::SystemTime;

use crate::bus::EdgeWatchers;
use crate::bus::message::{Kind, NotifyJob};
use crate::bus::setup::JOB_LIFETIME;
use crate::bus::trace::Cause;
use crate::feature::{FeatureState, Presentity};
use crate::runtime::clock;

/// What the watchers of a presentity are to be told.
#[derive(Debug, Clone, Copy)]
pub struct Notice<'a> {
    /// Whose features.
    pub presentity: &'a Presentity,
    /// The states that changed.
    pub states: &'a [FeatureState],
    /// `false`: a NOTIFY with an empty body.
    pub assigned: bool,
    /// An edge that tells its own watchers, so that it needs no job.
    pub skip_edge: Option<&'a str>,
    /// A subscription that knows already.
    pub skip_subscription: Option<&'a str>,
    /// What led to this.
    pub cause: &'a Cause,
}

/// One edge's job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeJob {
    /// The edge that does it.
    pub edge_id: Arc<str>,
    /// Its watchers of this presentity.
    pub watchers: u64,
    /// The job.
    pub job: NotifyJob,
}

/// One job for each edge that holds a watcher.
///
/// The id depends only on the notice and the edge, so that a command carried out again after a crash notifies once.
#[must_use]
pub(crate) fn jobs(notice: &Notice<'_>, watchers: &[EdgeWatchers], now: SystemTime) -> Vec<EdgeJob> {
    let not_after = clock::rfc3339(now + JOB_LIFETIME);
    let others = watchers.iter().filter(|edge| edge.count > 0 && Some(edge.edge_id.as_ref()) != notice.skip_edge);
    others
        .map(|edge| EdgeJob {
            edge_id: Arc::clone(&edge.edge_id),
            watchers: edge.count,
            job: NotifyJob {
                kind: Kind::default(),
                id: id(notice, &edge.edge_id),
                presentity: notice.presentity.as_str().to_owned(),
                states: notice.states.to_vec(),
                assigned: notice.assigned,
                skip: notice.skip_subscription.map(str::to_owned),
                taken_from: None,
                not_after: not_after.clone(),
                cause: notice.cause.clone(),
            },
        })
        .collect()
}

/// Live subscriptions that the jobs notify: all watchers of their edges but the one that knows already.
#[must_use]
pub(crate) fn watchers(notice: &Notice<'_>, jobs: &[EdgeJob]) -> u64 {
    let all: u64 = jobs.iter().map(|job| job.watchers).sum();
    if notice.skip_subscription.is_some() { all.saturating_sub(1) } else { all }
}

/// Whether a job's `not_after` has passed; one that is unreadable never does.
#[must_use]
pub(crate) fn is_too_late(job: &NotifyJob, now: SystemTime) -> bool {
    clock::parse_rfc3339(&job.not_after).is_some_and(|not_after| not_after < now)
}

/// 128-bit hash of everything that distinguishes jobs, in 32 hexadecimal digits.
fn id(notice: &Notice<'_>, edge_id: &str) -> String {
    let mut hash = Fnv::default();
    for part in [&notice.cause.0, notice.presentity.as_str(), edge_id] {
        hash.write(part.as_bytes());
    }
    hash.write(&[u8::from(notice.assigned)]);
    for state in notice.states {
        hash.write(state.feature.as_bytes());
        hash.write(&state.version.to_be_bytes());
        hash.write(&[u8::from(state.assigned), u8::from(state.status.is_on())]);
        for (field, value) in &state.values {
            hash.write(field.as_bytes());
            hash.write(value.as_bytes());
        }
    }
    format!("{:032x}", hash.0)
}

/// 128-bit FNV-1a: stable across machines and versions, unlike the standard hashers.
struct Fnv(u128);

impl Default for Fnv {
    fn default() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }
}

impl Fnv {
    /// One part: its length first, so that two parts never run into each other.
    fn write(&mut self, part: &[u8]) {
        for byte in (part.len() as u64).to_be_bytes().iter().chain(part) {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::feature::{Source, Status, Values};

    fn state(version: u64) -> FeatureState {
        FeatureState {
            feature: "DoNotDisturb".into(),
            assigned: true,
            status: Status::ON,
            values: Values::new(),
            version,
            source: Source::Store,
            notify: true,
            until: None,
        }
    }

    fn edges() -> [EdgeWatchers; 2] {
        [EdgeWatchers { edge_id: "edge-0".into(), count: 2 }, EdgeWatchers { edge_id: "edge-1".into(), count: 3 }]
    }

    #[test]
    fn one_job_an_edge_but_for_the_one_that_tells_its_own() {
        let alice = Presentity::parse("sip:alice@10.0.0.11").unwrap();
        let cause = Cause("c".into());
        let states = [state(7)];
        let notice =
            Notice { presentity: &alice, states: &states, assigned: true, skip_edge: None, skip_subscription: None, cause: &cause };
        let all = jobs(&notice, &edges(), SystemTime::UNIX_EPOCH);
        assert_eq!(all.iter().map(|job| &*job.edge_id).collect::<Vec<_>>(), ["edge-0", "edge-1"]);
        assert_eq!(watchers(&notice, &all), 5);
        let job = &all[0].job;
        assert_eq!((job.presentity.as_str(), job.states.as_slice(), &job.cause), ("sip:alice@10.0.0.11", &states[..], &cause));
        assert_eq!(job.not_after, "1970-01-01T01:00:00.000Z");

        let others = Notice { skip_edge: Some("edge-0"), ..notice };
        let others = jobs(&others, &edges(), SystemTime::UNIX_EPOCH);
        assert_eq!(others.iter().map(|job| &*job.edge_id).collect::<Vec<_>>(), ["edge-1"]);

        let but_one = Notice { skip_subscription: Some("s1"), ..notice };
        let all = jobs(&but_one, &edges(), SystemTime::UNIX_EPOCH);
        assert_eq!((all[1].job.skip.as_deref(), watchers(&but_one, &all)), (Some("s1"), 4));
        assert_eq!(watchers(&but_one, &[]), 0);
    }

    #[test]
    fn an_id_is_the_same_for_the_same_and_another_for_anything_else() {
        let (alice, bob) = (Presentity::parse("sip:alice@a").unwrap(), Presentity::parse("sip:bob@a").unwrap());
        let (cause, other) = (Cause("c".into()), Cause("d".into()));
        let (seven, eight) = ([state(7)], [state(8)]);
        let mut filled = [state(7)];
        filled[0].values.insert("a".into(), "bc".into());
        let mut shifted = [state(7)];
        shifted[0].values.insert("ab".into(), "c".into());
        let notice = Notice { presentity: &alice, states: &seven, assigned: true, skip_edge: None, skip_subscription: None, cause: &cause };
        let same = Notice { states: &[state(7)], skip_subscription: Some("s"), ..notice };
        assert_eq!(id(&notice, "e"), id(&same, "e"));
        let mut ids = vec![id(&notice, "e"), id(&notice, "f")];
        for notice in [
            Notice { presentity: &bob, ..notice },
            Notice { states: &eight, ..notice },
            Notice { states: &filled, ..notice },
            Notice { states: &shifted, ..notice },
            Notice { states: &[], ..notice },
            Notice { assigned: false, ..notice },
            Notice { cause: &other, ..notice },
        ] {
            ids.push(id(&notice, "e"));
        }
        assert!(ids.iter().all(|id| id.len() == 32));
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }

    #[test]
    fn is_too_late_past_its_lifetime_alone() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        let alice = Presentity::parse("sip:alice@a").unwrap();
        let cause = Cause("c".into());
        let notice = Notice { presentity: &alice, states: &[], assigned: true, skip_edge: None, skip_subscription: None, cause: &cause };
        let mut job = jobs(&notice, &edges(), now).remove(0).job;
        assert!(!is_too_late(&job, now + JOB_LIFETIME));
        assert!(is_too_late(&job, now + JOB_LIFETIME + Duration::from_secs(1)));
        job.not_after = "soon".into();
        assert!(!is_too_late(&job, now + 100 * JOB_LIFETIME));
    }
}
