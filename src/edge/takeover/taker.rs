//! Takes over from silent edges, a bounded number of subscriptions at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ahash::{AHashMap, AHashSet};
use async_nats::jetstream::message::StreamMessage;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::bus::kv;
use crate::bus::pull::Delivery;
use crate::bus::watchers::Held;
use crate::bus::{Bus, ChangedError, RequestError};
use crate::edge::config::EdgeConfig;
use crate::edge::metrics::{EdgeMetrics, TakeOverOutcome};
use crate::edge::notifier::Orphan;
use crate::edge::subscription::SubscriptionId;
use crate::edge::takeover::membership::SharedMembership;
use crate::edge::takeover::missed::{Missed, pressed_since};
use crate::edge::takeover::orphan;
use crate::edge::takeover::redirect::{self, Redirect};
use crate::notify::Queue;
use crate::runtime::clock;

const TURN_EVERY: Duration = Duration::from_secs(1);
/// Most records read in a turn: bounds the load on this edge and on NATS.
const PER_TURN: usize = 2000;
/// Records read at a time.
const AT_A_TIME: usize = 32;
/// After each such period one more edge in line may take what the ones before have left.
const NEXT_IN_LINE_AFTER: Duration = Duration::from_secs(5);
/// How long after subscriptions were asked for it is read what their phones may have missed: jobs go to their new edge by then.
const MISSED_AFTER: Duration = Duration::from_secs(1);
/// Pause before a subscription that could not be taken is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Poll interval of a silent edge whose subscriptions over UDP are all taken.
const IDLE_LOOK_AFTER: Duration = Duration::from_secs(10);
/// How long before its key expires a subscription is ended in the name of its silent edge.
const BEFORE_IT_IS_GONE: Duration = Duration::from_secs(2);
/// Most silent edges handled at a time.
const MAX_SILENT: usize = 64;

pub(super) struct Taker {
    bus: Bus,
    queue: Queue,
    config: Arc<EdgeConfig>,
    membership: SharedMembership,
    metrics: Arc<EdgeMetrics>,
    orphans: mpsc::Sender<Box<Orphan>>,
    missed: mpsc::Sender<Missed>,
    /// When, and from where on, the changes are read that phones of a silent edge may have missed.
    to_read: BTreeMap<Arc<str>, (Instant, u64)>,
    silent: BTreeMap<Arc<str>, Silent>,
    /// When subscriptions over a connection are to be ended, by revision.
    endings: BTreeSet<(Instant, u64)>,
}

/// An edge that is silent.
struct Silent {
    since: Instant,
    look_at: Instant,
    has_udp: bool,
    /// After this change it may have told its phones nothing.
    last_change: Option<u64>,
    tried: AHashMap<u64, Instant>,
    planned: AHashSet<u64>,
    /// Whose phones changed a feature that it may not have told them; `None`: not read yet.
    pressed: Option<AHashSet<SubscriptionId>>,
    drain: Option<Redirect>,
}

impl Taker {
    pub(super) fn new(
        bus: Bus,
        queue: Queue,
        config: Arc<EdgeConfig>,
        membership: SharedMembership,
        metrics: Arc<EdgeMetrics>,
        orphans: mpsc::Sender<Box<Orphan>>,
        missed: mpsc::Sender<Missed>,
    ) -> Self {
        let (to_read, silent, endings) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { bus, queue, config, membership, metrics, orphans, missed, to_read, silent, endings }
    }

    pub(super) async fn run(mut self, mut moved: mpsc::Receiver<Delivery>, stopping: CancellationToken) {
        let mut turns = tokio::time::interval(TURN_EVERY);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let turned = async {
                tokio::select! {
                    _ = turns.tick() => self.turn().await,
                    Some(delivery) = moved.recv() => {
                        redirect::send_on_own(&self.bus, &self.queue, delivery, &self.config.edge_id, &self.metrics).await;
                    }
                }
            };
            if stopping.run_until_cancelled(turned).await.is_none() {
                break;
            }
        }
        for silent in std::mem::take(&mut self.silent).into_values() {
            close(silent).await;
        }
    }

    async fn turn(&mut self) {
        if !self.bus.is_connected() {
            return;
        }
        let Ok(waiting) = redirect::waiting(&self.bus).await else { return };
        self.look_around(&waiting).await;
        let edges: Vec<Arc<str>> = self.silent.keys().cloned().collect();
        for edge_id in edges {
            match self.lives(&edge_id).await {
                Ok(false) => {}
                // It may still be telling its phones, whatever is heard of it here.
                Ok(true) => continue,
                Err(error) => return tracing::debug!(%error, "take-over interrupted"),
            }
            // After a failure of the bus the next turn goes on.
            if let Err(error) = self.take_from(&edge_id).await {
                return tracing::debug!(%error, "take-over interrupted");
            }
            self.drain(&edge_id, waiting.contains_key(&*edge_id)).await;
        }
        if let Err(error) = self.end_due().await {
            tracing::debug!(%error, "take-over interrupted");
        }
        self.tell_missed().await;
    }

    /// A job that was on its way to a silent edge comes again only after a while, and nobody knows what it told its phones in the
    /// end: those that are here now are told what has changed since.
    async fn tell_missed(&mut self) {
        let now = clock::now();
        let due: Vec<_> =
            self.to_read.iter().filter(|(_, (at, _))| *at <= now).map(|(edge, (_, since))| (Arc::clone(edge), *since)).collect();
        for (edge_id, since) in due {
            match self.bus.features_changed_since(since).await {
                // The edge stops: whoever has the subscriptions next asks by itself.
                Ok(changed) => drop(self.missed.send(Missed::Changed(Some(changed))).await),
                Err(error) => return tracing::debug!(%error, "changes that phones of a silent edge may have missed not read yet"),
            }
            self.to_read.remove(&edge_id);
        }
    }

    /// Updates the silent edges that hold subscriptions or have jobs waiting.
    async fn look_around(&mut self, waiting: &BTreeMap<String, u64>) {
        let now = clock::now();
        let mut holding: BTreeSet<Arc<str>> = self.queue.index().edges().into_iter().collect();
        holding.extend(waiting.keys().map(|edge_id| Arc::from(edge_id.as_str())));
        let silent: BTreeSet<Arc<str>> = {
            let membership = self.membership.lock();
            holding.into_iter().filter(|edge_id| membership.is_silent(edge_id, now)).take(MAX_SILENT).collect()
        };
        let back: Vec<Arc<str>> = self.silent.keys().filter(|edge_id| !silent.contains(*edge_id)).cloned().collect();
        for edge_id in back {
            if !self.membership.lock().is_silent(&edge_id, now) {
                self.metrics.edge_heard_again(&edge_id);
            }
            if let Some(silent) = self.silent.remove(&edge_id) {
                close(silent).await;
            }
        }
        self.metrics.silent_edges(u32::try_from(silent.len()).unwrap_or(u32::MAX));
        for edge_id in silent {
            if !self.silent.contains_key(&edge_id) {
                self.metrics.edge_silent(&edge_id, self.queue.index().held_by(&edge_id).udp.len());
                let last_change = self.membership.lock().last_change(&edge_id);
                self.silent.insert(edge_id, Silent::new(last_change, now));
            }
        }
    }

    /// Whether an edge that is not heard has its key in the bucket of those that live: then it may hold its lease. The leader is
    /// asked, since another server may lag.
    async fn lives(&self, edge_id: &str) -> Result<bool, RequestError> {
        let (stream, key) = (kv::stream(&self.bus.subjects().edge_bucket()), self.bus.subjects().edge_key(edge_id));
        match self.bus.last_message(&stream, &key).await {
            Ok(beat) => Ok(beat.is_some_and(|beat| is_valid(&beat, self.bus.utc_now()))),
            // No such bucket.
            Err(RequestError::Stream { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn take_from(&mut self, edge_id: &Arc<str>) -> Result<(), ChangedError> {
        let now = clock::now();
        let Some(silent) = self.silent.get_mut(edge_id).filter(|silent| silent.look_at <= now) else { return Ok(()) };
        let held = self.queue.index().held_by(edge_id);
        silent.has_udp = !held.udp.is_empty();
        silent.look_at = if silent.has_udp { now } else { now + IDLE_LOOK_AFTER };
        let told_until = clock::parse_rfc3339(&held.told_until);
        if silent.pressed.is_none() {
            let ids = if let Some(told_until) = told_until { pressed_since(&self.bus, told_until).await? } else { Vec::new() };
            silent.pressed = Some(ids.into_iter().collect());
        }
        let wanted = silent.wanted(&held, &self.membership, now);
        let reads = wanted.into_iter().map(|revision| orphan::read(&self.bus, revision));
        let mut reads = stream::iter(reads).buffer_unordered(AT_A_TIME);
        while let Some(read) = reads.next().await {
            let Some(mut orphan) = read?.filter(|orphan| *orphan.record.edge_id == **edge_id) else { continue };
            orphan.told_until = told_until;
            orphan.record.is_untold |= silent.pressed.as_ref().is_some_and(|pressed| pressed.contains(&orphan.id));
            if &*orphan.record.transport == "udp" {
                // The edge may be back by now.
                if !self.membership.lock().is_silent(edge_id, clock::now()) || self.orphans.send(Box::new(orphan)).await.is_err() {
                    return Ok(());
                }
                if let Some(since) = silent.last_change {
                    self.to_read.insert(Arc::clone(edge_id), (clock::now() + MISSED_AFTER, since));
                }
            } else if let Some(gone_at) = gone_at(&orphan, &self.config, self.bus.utc_now()) {
                self.endings.insert((gone_at.checked_sub(BEFORE_IT_IS_GONE).unwrap_or(gone_at), orphan.revision));
                silent.planned.insert(orphan.revision);
            }
        }
        Ok(())
    }

    /// Ends subscriptions over a connection that have expired while their edge is silent.
    async fn end_due(&mut self) -> Result<(), RequestError> {
        let now = clock::now();
        for _ in 0..PER_TURN {
            let Some(&(at, revision)) = self.endings.first().filter(|(at, _)| *at <= now) else { return Ok(()) };
            if let Some(orphan) = orphan::read(&self.bus, revision).await?
                && self.membership.lock().is_silent(&orphan.record.edge_id, now)
                && orphan::end(&self.bus, &orphan, self.config.grace()).await?
            {
                self.metrics.take_over_ended(TakeOverOutcome::Expired);
            }
            self.endings.remove(&(at, revision));
        }
        Ok(())
    }

    /// Redirects the jobs of a silent edge, once its subscriptions over UDP are divided, or nobody takes them.
    async fn drain(&mut self, edge_id: &Arc<str>, has_jobs: bool) {
        let now = clock::now();
        let Some(silent) = self.silent.get_mut(edge_id) else { return };
        let waited = now.saturating_duration_since(silent.since);
        let is_divided = !silent.has_udp || waited >= NEXT_IN_LINE_AFTER * 4 + self.config.silent_after;
        let is_our_turn = self.membership.lock().place(0, false, now) < in_line(waited);
        if !has_jobs {
            if let Some(drain) = silent.drain.take() {
                drain.close().await;
            }
        } else if is_divided && is_our_turn {
            let metrics = &self.metrics;
            let drain = silent.drain.get_or_insert_with(|| {
                let counted = Arc::clone(metrics);
                Redirect::open(&self.bus, edge_id, Box::new(move |why| counted.job_given_up(why)))
            });
            drain.turn(&self.bus, &self.queue, edge_id, metrics).await;
        }
    }
}

impl Silent {
    fn new(last_change: Option<u64>, now: Instant) -> Self {
        let (tried, planned) = (AHashMap::new(), AHashSet::new());
        Self { since: now, look_at: now, has_udp: true, last_change, tried, planned, pressed: None, drain: None }
    }

    /// The revisions that are ours to handle now: at first our share, later also what others have left.
    fn wanted(&mut self, held: &Held, membership: &SharedMembership, now: Instant) -> Vec<u64> {
        self.tried.retain(|_, at| now.saturating_duration_since(*at) < AGAIN_AFTER);
        let in_line = in_line(now.saturating_duration_since(self.since));
        let membership = membership.lock();
        let udp =
            held.udp.iter().filter(|revision| !self.tried.contains_key(*revision) && membership.place(**revision, true, now) < in_line);
        let others =
            held.others.iter().filter(|revision| !self.planned.contains(*revision) && membership.place(**revision, false, now) < in_line);
        let udp: Vec<u64> = udp.copied().take(PER_TURN).collect();
        let others: Vec<u64> = others.copied().take(PER_TURN - udp.len()).collect();
        self.tried.extend(udp.iter().map(|revision| (*revision, now)));
        udp.into_iter().chain(others).collect()
    }
}

/// How many edges in line may act by now.
fn in_line(waited: Duration) -> usize {
    1 + usize::try_from(waited.as_secs() / NEXT_IN_LINE_AFTER.as_secs()).unwrap_or(usize::MAX / 2)
}

/// Whether a beat counts: the marker of an expired key has no data, and a server that starts again after a crash may bring back one of
/// long ago, and keep it.
fn is_valid(beat: &StreamMessage, now: SystemTime) -> bool {
    !beat.payload.is_empty() && !kv::has_outlived(&beat.headers, Some(beat.time.into()), now)
}

/// When the key expires.
fn gone_at(orphan: &Orphan, config: &EdgeConfig, utc: SystemTime) -> Option<Instant> {
    let expires_at = clock::parse_rfc3339(&orphan.record.expires_at)?;
    let left = (expires_at + config.grace()).duration_since(utc).unwrap_or_default();
    Some(clock::now() + left)
}

async fn close(silent: Silent) {
    if let Some(drain) = silent.drain {
        drain.close().await;
    }
}
