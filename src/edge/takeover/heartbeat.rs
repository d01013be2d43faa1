//! Publishes the heartbeat of this edge, and receives those of all edges, its own included.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::bus::message::{EdgeAlive, Kind};
use crate::bus::subject::Pattern;
use crate::bus::trace::{Cause, new_id};
use crate::bus::{Bus, WatcherIndex};
use crate::edge::config::EdgeConfig;
use crate::edge::takeover::membership::SharedMembership;
use crate::runtime::clock;

/// Own beats remembered until they are received back.
const BEATS: usize = 64;

/// See the module.
pub(in crate::edge::takeover) struct Heartbeat {
    bus: Bus,
    index: WatcherIndex,
    silent_after: Duration,
    membership: SharedMembership,
    lease: watch::Sender<Option<Instant>>,
    alive: EdgeAlive,
    sent: VecDeque<(u64, Instant)>,
    has_twin: bool,
}

impl Heartbeat {
    pub(in crate::edge::takeover) fn new(
        bus: Bus,
        index: WatcherIndex,
        config: &EdgeConfig,
        takes_udp: bool,
        membership: &SharedMembership,
        lease: watch::Sender<Option<Instant>>,
    ) -> Self {
        let alive = EdgeAlive { kind: Kind::default(), edge_id: config.edge_id.to_string(), instance: new_id(), beat: 0, udp: takes_udp };
        Self {
            bus,
            index,
            silent_after: config.silent_after,
            membership: membership.clone(),
            lease,
            alive,
            sent: VecDeque::new(),
            has_twin: false,
        }
    }

    pub(in crate::edge::takeover) async fn run(mut self, mut heard: Subscriber, stopping: CancellationToken) {
        let mut beats = tokio::time::interval(self.membership.lock().beat_every());
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = beats.tick() => self.beat(),
                message = heard.next() => match message {
                    Some(message) => self.hear(&message).await,
                    // The client is closed.
                    None => return stopping.cancelled().await,
                }
            }
        }
    }

    fn beat(&mut self) {
        let now = clock::now();
        self.membership.lock().forget_old(now);
        if !self.bus.is_connected() {
            return;
        }
        self.alive.beat += 1;
        self.sent.truncate(BEATS - 1);
        self.sent.push_front((self.alive.beat, now));
        self.bus.publish_event(Pattern::EdgeAlive, self.bus.subjects().edge_alive(), &self.alive, &Cause::new());
    }

    async fn hear(&mut self, message: &Message) {
        let Ok(alive) = serde_json::from_slice::<EdgeAlive>(&message.payload) else {
            return tracing::debug!("not from an edge");
        };
        let now = clock::now();
        if alive.edge_id != self.alive.edge_id {
            return self.membership.lock().heard(&alive.edge_id, alive.udp, now);
        }
        if alive.instance != self.alive.instance {
            if !std::mem::replace(&mut self.has_twin, true) {
                tracing::error!(edge_id = alive.edge_id, "another process has this sip.edge_id: each edge needs its own");
            }
            return;
        }
        self.membership.lock().echoed(now);
        if let Some((_, sent_at)) = self.sent.iter().find(|(beat, _)| *beat == alive.beat) {
            self.renew(*sent_at + self.silent_after, now).await;
        }
    }

    /// Renews the lease: whoever receives us has received this beat, and takes nothing from us until then. After a lapse, the index
    /// must first catch up with what was taken.
    async fn renew(&self, until: Instant, now: Instant) {
        let has_lapsed = self.lease.borrow().is_some_and(|until| until <= now);
        if until > now && (!has_lapsed || self.index.caught_up().await.is_ok()) {
            self.lease.send_replace(Some(until));
        }
    }
}
