//! Publishes the heartbeat of this edge, receives those of all edges, its own included, and keeps the lease.
//!
//! ```text
//! beat ─▶ dfks.edge.alive ─▶ membership of every edge        who is silent
//!     └─▶ bucket dfks-edges ─(acknowledged)─▶ lease           we are not, by the word of a quorum of NATS
//! lapsed, connected anew, or started anew ─▶ what changed since the beats of before ─▶ the phones that we still hold
//! ```
//! A job that was sent to us over a connection that is no more, or that the process before us had in hand, comes again only after a
//! while: its change is read from the bucket of feature states at once.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::bus::kv;
use crate::bus::message::{EdgeAlive, Kind};
use crate::bus::subject::Pattern;
use crate::bus::trace::{Cause, new_id};
use crate::bus::wire::Subscriber;
use crate::bus::{Bus, WatcherIndex};
use crate::edge::config::EdgeConfig;
use crate::edge::takeover::membership::SharedMembership;
use crate::edge::takeover::missed::Missed;
use crate::feature::Presentity;
use crate::runtime::clock::{self, SinceBoot};

pub(in crate::edge::takeover) struct Heartbeat {
    bus: Bus,
    index: WatcherIndex,
    config: Arc<EdgeConfig>,
    membership: SharedMembership,
    lease: watch::Sender<Option<SinceBoot>>,
    missed: mpsc::Sender<Missed>,
    /// The last feature state of before the beats goes with it.
    alive: EdgeAlive,
    /// That of before the last acknowledged beat.
    last_change: Option<u64>,
    /// The connection of the last acknowledged beat.
    connection: u64,
    /// What the process before us had said last, until its phones are told.
    before_us: Option<u64>,
    has_twin: bool,
    tasks: FuturesUnordered<BoxFuture<'static, Done>>,
    is_storing: bool,
}

/// What was done beside the beats.
enum Done {
    /// A beat is stored, or not.
    Stored(Option<Beat>),
    /// The notifier has what was missed.
    Missed,
}

/// A beat that the bucket has acknowledged.
struct Beat {
    sent_at: SinceBoot,
    last_change: Option<u64>,
    connection: u64,
}

impl Heartbeat {
    pub(in crate::edge::takeover) fn new(
        bus: Bus,
        index: WatcherIndex,
        config: &Arc<EdgeConfig>,
        takes_udp: bool,
        membership: &SharedMembership,
        lease: watch::Sender<Option<SinceBoot>>,
        missed: mpsc::Sender<Missed>,
    ) -> Self {
        let alive = EdgeAlive {
            kind: Kind::default(),
            edge_id: config.edge_id.to_string(),
            instance: new_id(),
            beat: 0,
            udp: takes_udp,
            last_change: None,
        };
        Self {
            bus,
            index,
            config: Arc::clone(config),
            membership: membership.clone(),
            lease,
            missed,
            alive,
            last_change: None,
            connection: 0,
            before_us: None,
            has_twin: false,
            tasks: FuturesUnordered::new(),
            is_storing: false,
        }
    }

    pub(in crate::edge::takeover) async fn run(mut self, mut heard: Subscriber, stopping: CancellationToken) {
        self.before_us = stopping.run_until_cancelled(said_before(self.bus.clone(), self.alive.edge_id.clone())).await.flatten();
        let mut beats = tokio::time::interval(self.beat_every());
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = beats.tick() => self.beat(),
                Some(done) = self.tasks.next(), if !self.tasks.is_empty() => match done {
                    Done::Stored(beat) => {
                        self.is_storing = false;
                        if let Some(beat) = beat {
                            self.renew(beat).await;
                        }
                    }
                    Done::Missed => {}
                },
                message = heard.next() => match message {
                    Some(message) => self.hear(&message),
                    // The client is closed.
                    None => return stopping.cancelled().await,
                }
            }
        }
    }

    fn beat_every(&self) -> Duration {
        self.membership.lock().beat_every()
    }

    fn beat(&mut self) {
        self.membership.lock().forget_old(clock::now());
        if !self.bus.is_connected() {
            return;
        }
        self.alive.beat += 1;
        self.bus.publish_event(Pattern::EdgeAlive, self.bus.subjects().edge_alive(), &self.alive, &Cause::new());
        // The one under way has its own time to fail.
        if !std::mem::replace(&mut self.is_storing, true) {
            self.tasks.push(self.store().map(Done::Stored).boxed());
        }
    }

    /// Stores a beat: whoever acknowledges it has a quorum, and the key is there for as long as the lease lasts.
    fn store(&self) -> impl Future<Output = Option<Beat>> + Send + use<> {
        let (bus, ttl) = (self.bus.clone(), self.config.silent_after);
        let subject = bus.subjects().edge_key(&self.alive.edge_id);
        let payload = serde_json::to_vec(&self.alive).unwrap_or_default();
        async move {
            // Before the beat: what changes after it is told here, or missed.
            let last_change = bus.last_feature_change().await.ok();
            let connection = bus.link_status().borrow().connections;
            let sent_at = clock::since_boot();
            let stored = bus.store(Pattern::EdgeBucket, subject, kv::ttl_headers(ttl, &Cause::new()), Bytes::from(payload)).await;
            match stored {
                Ok(_revision) => Some(Beat { sent_at, last_change, connection }),
                Err(error) => {
                    tracing::debug!(%error, "beat not stored");
                    None
                }
            }
        }
    }

    fn hear(&mut self, message: &Message) {
        let Ok(alive) = serde_json::from_slice::<EdgeAlive>(&message.payload) else {
            return tracing::debug!("not from an edge");
        };
        let now = clock::now();
        if alive.edge_id != self.alive.edge_id {
            return self.membership.lock().heard(&alive, now);
        }
        if alive.instance != self.alive.instance {
            if !std::mem::replace(&mut self.has_twin, true) {
                tracing::error!(edge_id = alive.edge_id, "another process has this sip.edge_id: each edge needs its own");
            }
            return;
        }
        self.membership.lock().echoed(now);
    }

    /// Renews the lease, with a beat as margin. After a lapse, the index must first catch up with what was taken. Then, as after the
    /// loss of a connection or of the process, the phones that are here are told what they missed.
    async fn renew(&mut self, beat: Beat) {
        let lasts = self.config.silent_after.saturating_sub(self.beat_every());
        let until = beat.sent_at + lasts;
        let has_lapsed = self.lease.borrow().is_some_and(|until| until <= clock::since_boot());
        if until <= clock::since_boot() || (has_lapsed && self.index.caught_up(&self.bus, &self.alive.edge_id).await.is_err()) {
            return;
        }
        self.lease.send_replace(Some(until));
        // That of the beat before the last: by now its jobs have been made, and have come.
        let since = self.alive.last_change;
        let connection = std::mem::replace(&mut self.connection, beat.connection);
        let is_anew = connection != 0 && connection != beat.connection;
        if let Some(since) = self.before_us.take() {
            self.tell_missed(Some(since));
        } else if has_lapsed || is_anew {
            self.tell_missed(since);
        }
        if beat.last_change.is_some() {
            self.alive.last_change = std::mem::replace(&mut self.last_change, beat.last_change).or(beat.last_change);
        }
    }

    fn tell_missed(&mut self, since: Option<u64>) {
        self.tasks.push(tell_missed(self.bus.clone(), since, self.missed.clone()).boxed());
    }
}

/// What an earlier process with this name has said last, if that was not long ago.
async fn said_before(bus: Bus, edge_id: String) -> Option<u64> {
    let (stream, key) = (kv::stream(&bus.subjects().edge_bucket()), bus.subjects().edge_key(&edge_id));
    let stored = bus.last_message(&stream, &key).await.ok()??;
    serde_json::from_slice::<EdgeAlive>(&stored.payload).ok()?.last_change
}

/// Hands on whose states have changed since this sequence.
async fn tell_missed(bus: Bus, since: Option<u64>, missed: mpsc::Sender<Missed>) -> Done {
    let presentities = match since {
        Some(sequence) => bus.features_changed_since(sequence).await,
        None => return send(missed, None).await,
    };
    if let Err(error) = &presentities {
        tracing::warn!(%error, "changes of a time of silence not read, all phones are told what they missed");
    }
    send(missed, presentities.ok()).await
}

async fn send(missed: mpsc::Sender<Missed>, presentities: Option<Vec<Presentity>>) -> Done {
    // The edge stops: the next process restores, and asks by itself.
    let _stopped = missed.send(Missed::Changed(presentities)).await;
    Done::Missed
}
