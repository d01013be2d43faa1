//! What a NOTIFY job is, and which edge gets one. Pure.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::bus::EdgeWatchers;
use crate::bus::message::{Kind, NotifyJob};
use crate::bus::trace::Cause;
use crate::feature::{FeatureState, Presentity};
use crate::runtime::clock;

/// How long a job may wait for its edge. A phone whose edge was away for longer has expired or subscribed again.
pub const JOB_LIFETIME: Duration = Duration::from_hours(1);

/// A job and the edge that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeJob {
    /// The edge: `dfks.notify.<edge_id>`.
    pub edge_id: Arc<str>,
    /// The job.
    pub job: NotifyJob,
}

/// What the watchers of a presentity are to be told.
#[derive(Debug, Clone, Copy)]
pub struct News<'a> {
    /// Whose watchers.
    pub presentity: &'a Presentity,
    /// The states that they are told.
    pub states: &'a [FeatureState],
    /// `false`: a NOTIFY with an empty body.
    pub assigned: bool,
    /// Id of what led to it.
    pub cause: &'a Cause,
}

/// One job for each edge that holds a watcher. `new_id` makes an id that was never there before.
pub fn plan(news: News<'_>, watchers: &[EdgeWatchers], now: SystemTime, mut new_id: impl FnMut() -> String) -> Vec<EdgeJob> {
    let not_after = clock::rfc3339(now + JOB_LIFETIME);
    let job = |edge: &EdgeWatchers| EdgeJob {
        edge_id: Arc::clone(&edge.edge_id),
        job: NotifyJob {
            kind: Kind::default(),
            id: new_id(),
            presentity: news.presentity.as_str().to_owned(),
            states: news.states.to_vec(),
            assigned: news.assigned,
            skip: None,
            not_after: not_after.clone(),
            cause: news.cause.clone(),
        },
    };
    watchers.iter().filter(|edge| edge.count > 0).map(job).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::trace::new_id;

    #[test]
    fn every_edge_with_a_watcher_gets_one_job_that_ends_some_day() {
        let presentity = Presentity::parse("sip:alice@h").unwrap();
        let states = [FeatureState::new("DoNotDisturb")];
        let cause = Cause::new();
        let edges = [("edge-0", 2), ("edge-1", 0), ("edge-2", 1)].map(|(edge_id, count)| EdgeWatchers { edge_id: edge_id.into(), count });
        let now = clock::parse_rfc3339("2026-01-01T00:00:00Z").unwrap();
        let jobs = plan(News { presentity: &presentity, states: &states, assigned: true, cause: &cause }, &edges, now, new_id);
        assert_eq!(jobs.iter().map(|job| &*job.edge_id).collect::<Vec<_>>(), ["edge-0", "edge-2"]);
        assert_ne!(jobs[0].job.id, jobs[1].job.id);
        assert_eq!((jobs[0].job.not_after.as_str(), &jobs[0].job.cause), ("2026-01-01T01:00:00.000Z", &cause));
    }
}
