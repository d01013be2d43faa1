//! Sends a phone's change to the watchers on other edges, and publishes its event.
//!
//! A worker stores the duty to tell with the change; the mi bridges follow that. Where a worker of before has not, this looks up
//! the edges that hold watchers, and stores a job for each.
//!
//! One task carries out all fan-outs, a bounded number at a time. A job that cannot be stored is retried for as long as it would live.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use crate::bus::client::Bus;
use crate::bus::message::FeatureEvent;
use crate::bus::subject::Pattern;
use crate::edge::metrics::{DropReason, EdgeMetrics};
use crate::edge::notifier::FanOut;
use crate::notify::{JOB_LIFETIME, Notice, Queue};
use crate::runtime::Backoff;

const AT_A_TIME: usize = 512;
/// The lifetime of a job in the work queue.
const GIVE_UP_AFTER: Duration = JOB_LIFETIME;

/// Runs until the channel is closed and everything in it is done.
pub(crate) async fn run(
    bus: Bus,
    queue: Queue,
    edge_id: Box<str>,
    metrics: std::sync::Arc<EdgeMetrics>,
    mut fan_outs: mpsc::Receiver<Box<FanOut>>,
) {
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            fan_out = fan_outs.recv(), if under_way.len() < AT_A_TIME => match fan_out {
                Some(fan_out) => under_way.push(carry_out(&bus, &queue, &edge_id, &metrics, *fan_out)),
                None => break,
            },
            Some(()) = under_way.next() => {}
        }
    }
    while under_way.next().await.is_some() {}
}

async fn carry_out(bus: &Bus, queue: &Queue, edge_id: &str, metrics: &EdgeMetrics, fan_out: FanOut) {
    let elsewhere = if let Some(watchers) = stored(queue, edge_id, &fan_out).await {
        watchers
    } else {
        metrics.dropped(DropReason::FanOut);
        0
    };
    for event in fan_out.events {
        let event = FeatureEvent { watchers: event.watchers + elsewhere, ..event };
        let subject = bus.subjects().event_feature(&fan_out.presentity, &event.feature);
        bus.publish_event(Pattern::EventFeature, subject, &event, &event.cause);
    }
}

/// Number of watchers on other edges whose jobs are stored, or will be; `None` when they could not be.
async fn stored(queue: &Queue, edge_id: &str, fan_out: &FanOut) -> Option<u64> {
    if fan_out.logged {
        let watchers = queue.index().watchers_seen(&fan_out.presentity, &queue.table().packages_of_states(&fan_out.states));
        return Some(watchers.iter().filter(|edge| *edge.edge_id != *edge_id).map(|edge| edge.count).sum());
    }
    let mut retry = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    let notice = Notice {
        presentity: &fan_out.presentity,
        states: &fan_out.states,
        assigned: fan_out.assigned,
        skip_edge: Some(edge_id),
        skip_subscription: None,
        cause: &fan_out.cause,
    };
    let store = async {
        loop {
            match queue.fan_out(&notice).await {
                Ok(planned) => return planned.watchers,
                Err(error) => tracing::debug!(%error, "jobs for other edges not stored yet"),
            }
            tokio::time::sleep(retry.next(rand::random())).await;
        }
    };
    tokio::time::timeout(GIVE_UP_AFTER, store).await.ok()
}
