//! Sends a phone's change to the watchers on other edges, and has its event published.
//!
//! A worker stores the duty to tell with the change; the mi bridges follow that, and all that is left is the event. Where a worker of
//! before has not, this looks up the edges that hold watchers, and stores a job for each.
//!
//! One task carries out all fan-outs, a bounded number at a time. A job that cannot be stored is retried for as long as it would live.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use crate::bus::client::Bus;
use crate::bus::message::FeatureEvent;
use crate::bus::subject::Pattern;
use crate::edge::event::Event;
use crate::edge::limit::FAN_OUT_QUEUE;
use crate::edge::metrics::{DropReason, EdgeMetrics};
use crate::edge::notifier::FanOut;
use crate::notify::{JOB_LIFETIME, Notice, Queue};
use crate::runtime::{Backoff, Tasks};

const AT_A_TIME: usize = 512;
/// The lifetime of a job in the work queue.
const GIVE_UP_AFTER: Duration = JOB_LIFETIME;

/// The way in.
pub(crate) struct FanOuts {
    queue: Queue,
    edge_id: Box<str>,
    to_task: mpsc::Sender<Box<FanOut>>,
}

impl FanOuts {
    /// Starts the task. It ends when this is gone, so that what was asked for last is still done.
    pub(crate) fn start(bus: &Bus, queue: Queue, edge_id: &str, metrics: &Arc<EdgeMetrics>, tasks: &Tasks) -> Self {
        let (to_task, fan_outs) = mpsc::channel(FAN_OUT_QUEUE);
        tasks.spawn_brief("fan-out", run(bus.clone(), queue.clone(), edge_id.into(), Arc::clone(metrics), fan_outs));
        Self { queue, edge_id: edge_id.into(), to_task }
    }

    /// Takes a change. Where the mi bridges tell the others of it nothing need be waited for: `emit` gets its events. `false`: there was no
    /// room.
    pub(crate) fn take(&self, fan_out: Box<FanOut>, mut emit: impl FnMut(Event)) -> bool {
        if !fan_out.logged {
            return self.to_task.try_send(fan_out).is_ok();
        }
        let elsewhere = seen_elsewhere(&self.queue, &self.edge_id, &fan_out);
        let FanOut { presentity, events, .. } = *fan_out;
        for event in events {
            emit(Event::Feature(presentity.clone(), FeatureEvent { watchers: event.watchers + elsewhere, ..event }));
        }
        true
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.to_task.max_capacity() - self.to_task.capacity()
    }

    /// Whether half of the room is taken.
    pub(crate) fn is_half_full(&self) -> bool {
        self.to_task.capacity() < self.to_task.max_capacity() / 2
    }
}

/// Watchers on other edges, whose jobs the mi bridges store.
fn seen_elsewhere(queue: &Queue, edge_id: &str, fan_out: &FanOut) -> u64 {
    let watchers = queue.index().watchers_seen(&fan_out.presentity, &queue.table().packages_of_states(&fan_out.states));
    watchers.iter().filter(|edge| *edge.edge_id != *edge_id).map(|edge| edge.count).sum()
}

/// Runs until the channel is closed and everything in it is done.
async fn run(bus: Bus, queue: Queue, edge_id: Box<str>, metrics: Arc<EdgeMetrics>, mut fan_outs: mpsc::Receiver<Box<FanOut>>) {
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
