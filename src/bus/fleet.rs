//! How it is with the whole of it: processes, edges, streams and breakers at one moment, and what is wrong. I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::{join, join_all};
use serde::Serialize;

use crate::bus::client::Bus;
use crate::bus::error::RequestError;
use crate::bus::message::{Holder, ResponderReport, StatusResponse};
use crate::bus::poll::{self, PollLimits};
use crate::bus::queues::{self, StreamName};
use crate::runtime::clock;

/// A stream that is fuller than this is wrong.
const FULL_PERCENT: u64 = 90;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Fleet {
    /// When it was looked: RFC 3339 UTC.
    pub(crate) at: String,
    /// Whether nothing is wrong.
    pub(crate) fine: bool,
    /// What is wrong: a sentence each, what is worst first.
    pub(crate) wrong: Vec<Wrong>,
    pub(crate) processes: Vec<StatusResponse>,
    pub(crate) edges: Vec<EdgeStatus>,
    pub(crate) streams: Vec<StreamStatus>,
    /// Breakers that are not closed, by subject.
    pub(crate) breakers: Vec<BreakerStatus>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Wrong {
    /// A word: `no_worker`, `no_edge`, `no_mi`, `edge_silent`, `breaker_open`, `stream_full`, `stream_unknown`.
    pub(crate) what: &'static str,
    /// The same for people, with its name.
    pub(crate) text: String,
}

/// An edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct EdgeStatus {
    pub(crate) edge_id: String,
    /// Live subscriptions that it holds; null where no process follows them.
    pub(crate) subscriptions: Option<u64>,
    /// It holds some, and does not answer.
    pub(crate) silent: bool,
}

/// A stream, bucket or work queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StreamStatus {
    /// `commands`, `notify`, `events`, `dead`, `subscriptions`, `features`
    pub(crate) stream: &'static str,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// How many bytes it may have; 0: no bound of its own.
    pub(crate) limit_bytes: u64,
    /// How much of that is taken.
    pub(crate) full_percent: Option<u64>,
    pub(crate) oldest_seconds: u64,
    /// Why nothing is known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// The breaker of a responder, as the worker sees it for which it is worst.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BreakerStatus {
    pub(crate) subject: String,
    pub(crate) kind: String,
    /// The tenant, as it stands in subjects.
    pub(crate) domain: String,
    pub(crate) feature: String,
    /// `open` or `half_open`
    pub(crate) breaker: String,
    pub(crate) last_error: Option<String>,
}

impl Bus {
    /// How it is with the whole of it. No process at all is no error: there are none then.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: nothing was asked, for there is no connection.
    pub(crate) async fn fleet(&self, timeout: Duration) -> Result<Fleet, RequestError> {
        let limits = PollLimits { timeout, total: timeout * 3, watchers: 0 };
        let streams = join_all(StreamName::ALL.map(|name| stream(self, name, timeout)));
        let ((processes, reports), streams) = join(join(poll::processes(self, limits), poll::responders(self, limits)), streams).await;
        // a worker's word is not needed to know the rest
        let reports = reports.unwrap_or_default().into_values().flatten();
        Ok(Fleet::of(clock::rfc3339(self.utc_now()), processes?, streams, reports))
    }
}

async fn stream(bus: &Bus, name: StreamName, timeout: Duration) -> StreamStatus {
    let unknown =
        StreamStatus { stream: name.as_str(), messages: 0, bytes: 0, limit_bytes: 0, full_percent: None, oldest_seconds: 0, error: None };
    match queues::look(bus, name, timeout).await {
        Ok(state) => StreamStatus {
            messages: state.messages,
            bytes: state.bytes,
            limit_bytes: state.limit_bytes,
            full_percent: state.bytes.saturating_mul(100).checked_div(state.limit_bytes),
            oldest_seconds: state.oldest_age.as_secs(),
            ..unknown
        },
        Err(error) => StreamStatus { error: Some(error.to_string()), ..unknown },
    }
}

impl Fleet {
    fn of(
        at: String,
        mut processes: Vec<StatusResponse>,
        streams: Vec<StreamStatus>,
        reports: impl Iterator<Item = ResponderReport>,
    ) -> Self {
        processes.sort_by(|one, other| (&one.roles, &one.host, one.pid).cmp(&(&other.roles, &other.host, other.pid)));
        let (edges, breakers) = (edges(&processes), breakers(reports));
        let wrong = wrong(&processes, &edges, &streams, &breakers);
        Self { at, fine: wrong.is_empty(), wrong, processes, edges, streams, breakers }
    }
}

/// Those that answer, and those that hold subscriptions.
fn edges(processes: &[StatusResponse]) -> Vec<EdgeStatus> {
    let answering: BTreeSet<&str> = processes.iter().flat_map(|process| &process.edges).map(String::as_str).collect();
    // Each follows the same bucket; one that has just started may not have read all of it.
    let total = |holders: &[Holder]| holders.iter().map(|holder| holder.subscriptions).sum::<u64>();
    let seen = processes.iter().filter_map(|process| process.holders.as_deref()).max_by_key(|holders| total(holders));
    let mut edges: BTreeMap<&str, Option<u64>> = answering.iter().map(|edge_id| (*edge_id, seen.map(|_| 0))).collect();
    edges.extend(seen.into_iter().flatten().map(|holder| (&*holder.edge_id, Some(holder.subscriptions))));
    let status = |(edge_id, subscriptions): (&str, Option<u64>)| EdgeStatus {
        edge_id: edge_id.to_owned(),
        subscriptions,
        silent: !answering.contains(edge_id),
    };
    edges.into_iter().map(status).collect()
}

fn breakers(reports: impl Iterator<Item = ResponderReport>) -> Vec<BreakerStatus> {
    let mut worst: BTreeMap<String, BreakerStatus> = BTreeMap::new();
    for report in reports.filter(|report| report.breaker != "closed") {
        let ResponderReport { subject, kind, domain, feature, breaker, last_error, .. } = report;
        let is_known = worst.get(&subject).is_some_and(|known| known.breaker == "open" || breaker == "half_open");
        if !is_known {
            worst.insert(subject.clone(), BreakerStatus { subject, kind, domain, feature, breaker, last_error });
        }
    }
    worst.into_values().collect()
}

fn wrong(processes: &[StatusResponse], edges: &[EdgeStatus], streams: &[StreamStatus], breakers: &[BreakerStatus]) -> Vec<Wrong> {
    let has = |role: &str| processes.iter().any(|process| process.roles.iter().any(|has| has == role));
    let mut wrong = Vec::new();
    for (role, what, text) in [
        ("worker", "no_worker", "no worker answers: phones are told nothing new, and nothing can be set"),
        ("edge", "no_edge", "no edge answers: no phone can subscribe"),
        ("mi", "no_mi", "no mi bridge answers: no command is carried out"),
    ] {
        if !has(role) {
            wrong.push(Wrong { what, text: text.to_owned() });
        }
    }
    for edge in edges.iter().filter(|edge| edge.silent) {
        let held = edge.subscriptions.unwrap_or_default();
        let text = format!("edge {} is silent and holds {held} subscription{}", edge.edge_id, if held == 1 { "" } else { "s" });
        wrong.push(Wrong { what: "edge_silent", text });
    }
    for breaker in breakers.iter().filter(|breaker| breaker.breaker == "open") {
        let error = breaker.last_error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
        wrong.push(Wrong { what: "breaker_open", text: format!("the breaker of {} is open{error}", breaker.subject) });
    }
    for stream in streams {
        match (&stream.error, stream.full_percent) {
            (Some(error), _) => wrong.push(Wrong { what: "stream_unknown", text: format!("stream {}: {error}", stream.stream) }),
            (None, Some(percent)) if percent > FULL_PERCENT => {
                wrong.push(Wrong { what: "stream_full", text: format!("stream {} is {percent} % full", stream.stream) });
            }
            _ => {}
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::message::Kind;

    fn process(roles: &[&str], edges: &[&str], holders: Option<&[(&str, u64)]>) -> StatusResponse {
        let holder = |(edge_id, subscriptions): &(&str, u64)| Holder { edge_id: (*edge_id).to_owned(), subscriptions: *subscriptions };
        StatusResponse {
            kind: Kind::default(),
            process: "p".to_owned(),
            host: "h".to_owned(),
            pid: 1,
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            version: "0.1.0".to_owned(),
            config: "c".to_owned(),
            started_at: String::new(),
            log_level: "info".to_owned(),
            log_until: None,
            log_set: false,
            edges: edges.iter().map(|edge| (*edge).to_owned()).collect(),
            holders: holders.map(|holders| holders.iter().map(holder).collect()),
            settings: None,
            metrics: None,
        }
    }

    fn stream(name: StreamName, full_percent: u64) -> StreamStatus {
        let (limit_bytes, bytes) = (1000, full_percent * 10);
        StreamStatus {
            stream: name.as_str(),
            messages: 1,
            bytes,
            limit_bytes,
            full_percent: Some(full_percent),
            oldest_seconds: 1,
            error: None,
        }
    }

    fn words(fleet: &Fleet) -> Vec<&str> {
        fleet.wrong.iter().map(|wrong| wrong.what).collect()
    }

    #[test]
    fn says_what_is_wrong_and_nothing_where_all_is_fine() {
        let whole = || process(&["edge", "worker", "mi"], &["edge-0"], Some(&[("edge-0", 7)]));
        let fine =
            Fleet::of(String::new(), vec![whole()], vec![stream(StreamName::Dead, 90), stream(StreamName::Events, 3)], [].into_iter());
        assert_eq!((fine.fine, words(&fine)), (true, vec![]));
        assert_eq!((fine.edges[0].subscriptions, fine.edges[0].silent), (Some(7), false));

        let mut open = ResponderReport::unknown("dfks.responder.set.h.A", ["set", "h", "A"].map(str::to_owned));
        open.breaker = "half_open".to_owned();
        let worse = ResponderReport { breaker: "open".to_owned(), last_error: Some("late".to_owned()), ..open.clone() };
        let silent = process(&["mi"], &[], Some(&[("edge-0", 7), ("edge-1", 1)]));
        let streams = vec![stream(StreamName::Dead, 91), StreamStatus { error: Some("gone".to_owned()), ..stream(StreamName::Notify, 0) }];
        let bad =
            Fleet::of(String::new(), vec![process(&["edge"], &["edge-0"], None), silent], streams, [open.clone(), worse, open].into_iter());
        assert_eq!(words(&bad), ["no_worker", "edge_silent", "breaker_open", "stream_full", "stream_unknown"]);
        assert_eq!(bad.wrong[1].text, "edge edge-1 is silent and holds 1 subscription");
        assert_eq!(bad.wrong[2].text, "the breaker of dfks.responder.set.h.A is open: late");
        assert_eq!(bad.edges.iter().map(|edge| edge.silent).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn what_no_process_follows_is_not_known() {
        let fleet = Fleet::of(String::new(), vec![process(&["worker"], &[], None)], Vec::new(), [].into_iter());
        assert_eq!((fleet.edges.len(), words(&fleet)), (0, vec!["no_edge", "no_mi"]));
    }
}
