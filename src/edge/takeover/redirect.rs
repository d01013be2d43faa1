//! Redirects the jobs of an edge that is gone, or holds no watcher any more, to the edges that hold the watchers now; without any,
//! to the dead letters.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use serde::Deserialize;

use crate::bus::message::NotifyJob;
use crate::bus::pull::Delivery;
use crate::bus::subject::edge_token;
use crate::bus::{Bus, RequestError};
use crate::edge::metrics::{EdgeMetrics, JobOutcome};
use crate::feature::Presentity;
use crate::notify::{EdgeJob, GivenUpHook, Jobs, Queue};
use crate::runtime::Tasks;

/// Most jobs taken from one queue in a turn.
const PER_TURN: usize = 500;
/// Jobs sent on at a time.
const AT_A_TIME: usize = 16;
const STOP_GRACE: Duration = Duration::from_secs(2);
/// `dfks.dead.<stage>`
const STAGE: &str = "notify";
const EDGE_GONE: &str = "edge_gone";

/// The job queue of a silent edge.
pub(in crate::edge::takeover) struct Redirect {
    jobs: Jobs,
    tasks: Tasks,
}

impl Redirect {
    pub(in crate::edge::takeover) fn open(bus: &Bus, edge_id: &str, given_up: GivenUpHook) -> Self {
        let tasks = Tasks::new();
        Self { jobs: Jobs::open(bus, &tasks, edge_id, given_up), tasks }
    }

    /// Redirects the jobs that are there.
    pub(in crate::edge::takeover) async fn turn(&mut self, bus: &Bus, queue: &Queue, edge_id: &str, metrics: &EdgeMetrics) {
        let mut taken = Vec::new();
        while taken.len() < PER_TURN
            && let Some(Some(job)) = self.jobs.recv().now_or_never()
        {
            taken.push(job);
        }
        let sent_on = taken.into_iter().map(|(job, delivery)| send_on(bus, queue, job, delivery, edge_id, true, metrics));
        stream::iter(sent_on).buffer_unordered(AT_A_TIME).collect::<()>().await;
    }

    /// Returns the jobs that were not redirected.
    pub(in crate::edge::takeover) async fn close(mut self) {
        self.jobs.give_back();
        if let Err(error) = self.tasks.stop(STOP_GRACE).await {
            tracing::debug!(%error, "queue of a silent edge left");
        }
    }
}

/// The number of waiting jobs, by edge.
pub(in crate::edge::takeover) async fn waiting(bus: &Bus) -> Result<BTreeMap<String, u64>, RequestError> {
    #[derive(Deserialize)]
    struct Info {
        state: State,
    }
    #[derive(Deserialize)]
    struct State {
        #[serde(default)]
        subjects: Option<BTreeMap<String, u64>>,
    }
    let body = serde_json::json!({ "subjects_filter": bus.subjects().all_notify() });
    let info: Info = bus.api_with(&format!("STREAM.INFO.{}", bus.subjects().stream("NOTIFY")), &body, bus.timeout()).await?;
    let subjects = info.state.subjects.unwrap_or_default().into_iter();
    Ok(subjects.filter_map(|(subject, count)| Some((bus.subjects().edge_of_notify(&subject)?, count))).collect())
}

/// Redirects a job that came to this edge, which holds no watcher for it.
pub(in crate::edge::takeover) async fn send_on_own(bus: &Bus, queue: &Queue, delivery: Delivery, edge_id: &str, metrics: &EdgeMetrics) {
    // The notifier has read it before: it is readable.
    if let Ok(job) = serde_json::from_slice::<NotifyJob>(delivery.payload()) {
        send_on(bus, queue, job, delivery, edge_id, false, metrics).await;
    }
}

/// Sends a job of edge `from` to the other edges with watchers, for the subscriptions that they took over from there. A job
/// that cannot be sent on now comes again.
///
/// A silent edge may still hold subscriptions over connections, and never sees the job: back again, it asks for the full state of
/// all that has changed since it was last heard (`heartbeat`).
async fn send_on(bus: &Bus, queue: &Queue, job: NotifyJob, delivery: Delivery, from: &str, is_gone: bool, metrics: &EdgeMetrics) {
    let Ok(presentity) = Presentity::parse(&job.presentity) else {
        return finish(delivery.bury(STAGE, "unreadable", "no presentity").await, JobOutcome::Unreadable, metrics);
    };
    let Ok(edges) = queue.watchers(&presentity, &queue.table().packages_of_states(&job.states)).await else { return };
    let others: Vec<EdgeJob> = edges
        .into_iter()
        .filter(|edge| &*edge.edge_id != from)
        .map(|edge| {
            let id = format!("{}-{}", job.id, edge_token(&edge.edge_id));
            let job = NotifyJob { id, taken_from: Some(from.to_owned()), ..job.clone() };
            EdgeJob { edge_id: edge.edge_id, watchers: edge.count, job }
        })
        .collect();
    if others.is_empty() && is_gone {
        let detail = format!("edge {from} is gone, and nobody has its watchers");
        return finish(delivery.bury(STAGE, EDGE_GONE, &detail).await, JobOutcome::EdgeGone, metrics);
    }
    let outcome = if others.is_empty() { JobOutcome::NoWatcher } else { JobOutcome::Moved };
    match queue.store(others).await {
        Ok(_jobs) => finish(delivery.ack().map_err(RequestError::from), outcome, metrics),
        Err(error) => tracing::debug!(%error, bus = bus.is_connected(), "job not sent on, it comes again"),
    }
}

fn finish(finished: Result<(), RequestError>, outcome: JobOutcome, metrics: &EdgeMetrics) {
    match finished {
        Ok(()) => metrics.job_ended(outcome),
        Err(error) => tracing::debug!(%error, "job not finished, it comes again"),
    }
}
