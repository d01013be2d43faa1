//! Follows the bucket of feature states and has phones told: every change that was committed becomes NOTIFY jobs. I/O.
//!
//! ```text
//! a worker's write ─▶ bucket of feature states ─▶ consumer `tell` ─▶ watchers of the presentity ─▶ jobs ─▶ ack
//!                     (change and duty in one)     └─ not acknowledged in time: to another bridge
//! ```
//! The change and the duty to tell it are one write, so nobody has to live on between the two: whoever is there next finds the
//! duty. All bridges share one consumer. A bridge that crashes or stands still holds up what it had in hand for
//! `ACK_WAIT` and what the server hands it meanwhile for `EXPIRES` more. Telling the same again is harmless: jobs have
//! ids made of what they say, and an edge tells no phone a version that it has.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ahash::AHashMap;
use tokio_util::sync::CancellationToken;

use crate::bus::feature_record::{FeatureRecord, Telling};
use crate::bus::learnt::Learnt;
use crate::bus::message::{FeatureChange, FeatureEvent, Origin};
use crate::bus::pull::{Delivery, Held, Pull, PullConfig, REOPEN};
use crate::bus::schedule::{NoTimers, Timer};
use crate::bus::span::{SpanKind, name};
use crate::bus::subject::{Pattern, Subjects};
use crate::bus::trace::Cause;
use crate::bus::{RequestError, kv};
use crate::feature::{FeatureTable, Presentity};
use crate::mi::bridge::{Bridge, Fanout};
use crate::notify::job::{self, Notice};
use crate::runtime::{Backoff, clock};

/// Name of the consumer.
pub(crate) const DURABLE: &str = "tell";
/// A change whose bridge is silent for so long is delivered to another one.
const ACK_WAIT: Duration = Duration::from_secs(2);
/// How long the server hands changes to a bridge that stands still.
const EXPIRES: Duration = Duration::from_millis(1500);
/// How often the server hears of a change in hand that it is in hand.
const WORKING_EVERY: Duration = Duration::from_millis(700);
/// Changes in hand at a time.
const MAX_IN_HAND: usize = 256;
/// Changes in hand of all bridges. One that stands still holds no more than its own.
const MAX_ACK_PENDING: i64 = 16 * 256;
/// How much longer one delivery may take than the next.
const DELIVERED_WITHIN: Duration = Duration::from_millis(100);
/// Presentities whose last telling is remembered, some 6 MB.
const MAX_TOLD: usize = 65_536;
/// Waits between attempts to tell one change.
const RETRY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));

fn consumer(subjects: &Subjects) -> PullConfig {
    let bucket = subjects.feature_bucket();
    PullConfig {
        stream: kv::stream(&bucket),
        durable: DURABLE.to_owned(),
        filter: kv::subject(&bucket, ">"),
        ack_wait: ACK_WAIT,
        max_ack_pending: MAX_ACK_PENDING,
        // a duty is not given up: it ends by its age, or with the next change
        max_deliver: -1,
        inactive_threshold: Duration::ZERO,
        expires: EXPIRES,
        exclusive: None,
    }
}

/// Tells what is committed until `stopping`: then it finishes what is in hand and gives the rest back.
pub async fn run<F: Fanout>(bridge: Arc<Bridge<F>>, table: Arc<FeatureTable>, stopping: CancellationToken) {
    let config = consumer(bridge.bus().subjects());
    let teller = Teller { bridge, table, told: Mutex::default(), scheduled: Mutex::default() };
    let mut retry = REOPEN;
    loop {
        let opened = async {
            teller.bridge.bus().connected().await;
            Pull::open(teller.bridge.bus(), config.clone()).await
        };
        let error = match stopping.run_until_cancelled(opened).await {
            None => return,
            Some(Err(error)) => error,
            Some(Ok(mut pull)) => {
                retry.reset();
                match pull.each(MAX_IN_HAND, &stopping, |delivery| teller.tell_held(delivery)).await {
                    Ok(()) => return pull.give_back(Vec::new()).await,
                    Err(error) => error,
                }
            }
        };
        teller.bridge.metrics().telling_interrupted(&error);
        if stopping.run_until_cancelled(tokio::time::sleep(retry.next(rand::random()))).await.is_none() {
            return;
        }
    }
}

struct Teller<F> {
    bridge: Arc<Bridge<F>>,
    table: Arc<FeatureTable>,
    told: Mutex<Told>,
    /// The version of each feature whose timer this bridge has stored last.
    scheduled: Mutex<Told>,
}

/// A write that is delivered.
#[derive(Debug, Clone, Copy)]
struct Stored {
    revision: u64,
    at: SystemTime,
}

impl Stored {
    /// Writes are delivered in their order, this one after a while: what was written longer before it than that was delivered
    /// before it was covered up.
    fn unseen_since(self, now: SystemTime) -> SystemTime {
        let waited = now.duration_since(self.at).unwrap_or_default();
        self.at.checked_sub(waited + DELIVERED_WITHIN).unwrap_or(UNIX_EPOCH)
    }
}

/// The revision of each presentity's record whose duties this bridge has done last. What it does not know is told again.
#[derive(Default)]
struct Told(AHashMap<Box<str>, u64>);

impl Told {
    fn get(&self, presentity: &str) -> Option<&u64> {
        self.0.get(presentity)
    }

    fn insert(&mut self, presentity: &str, revision: u64) {
        if let Some(told) = self.0.get_mut(presentity) {
            *told = revision.max(*told);
            return;
        }
        if self.0.len() >= MAX_TOLD {
            self.0.clear();
        }
        self.0.insert(presentity.into(), revision);
    }
}

impl<F: Fanout> Teller<F> {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn scheduled(&self) -> MutexGuard<'_, Told> {
        self.scheduled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a change. The server hears meanwhile that it is in hand.
    async fn tell_held(&self, delivery: Delivery) {
        let record = delivery.payload().clone();
        let deliveries = delivery.deliveries;
        let stored = Stored { revision: delivery.stream_seq, at: UNIX_EPOCH + Duration::from_nanos(delivery.stored_at_nanos) };
        let writer = delivery.cause();
        let is_removal = delivery.headers().is_some_and(kv::is_marker) || record.is_empty();
        let mut held = Held::new(delivery, WORKING_EVERY, clock::now());
        let told = if is_removal { Ok(()) } else { held.during(self.tell(&record, stored, &writer)).await };
        let _comes_again_anyway = match told {
            Ok(()) => held.into_delivery().ack(),
            Err(error) => {
                self.bridge.metrics().telling_failed(error.reason());
                let attempts = u32::try_from(deliveries).unwrap_or(u32::MAX);
                held.into_delivery().nak_after(RETRY.delay(attempts, rand::random()))
            }
        };
    }

    /// Stores the jobs of all that the record says is to be told.
    async fn tell(&self, record: &[u8], stored: Stored, writer: &Cause) -> Result<(), RequestError> {
        let record = serde_json::from_slice::<FeatureRecord>(record).ok();
        let read = record.and_then(|record| Presentity::parse(record.presentity()).ok().map(|presentity| (record, presentity)));
        let Some((record, presentity)) = read else {
            // Somebody else has written it: it stays as it is, and no worker reads it either.
            self.bridge.metrics().unreadable_record();
            return Ok(());
        };
        let told = self.told().get(record.presentity()).copied();
        let now = self.bridge.bus().utc_now();
        for telling in record.tellings(&self.table, told, stored.unseen_since(now), now) {
            self.store_jobs(&presentity, &telling, writer).await?;
        }
        self.schedule(&presentity, &record, writer).await?;
        self.told().insert(record.presentity(), stored.revision);
        Ok(())
    }

    /// Has each feature go off when its time is over. The timer follows the write, as the duty to tell does: nothing has to survive
    /// between the two. One that comes twice is harmless: it is for one version.
    async fn schedule(&self, presentity: &Presentity, record: &FeatureRecord, cause: &Cause) -> Result<(), RequestError> {
        for (feature, version, until) in record.timed() {
            let key = format!("{} {feature}", presentity.as_str());
            if self.scheduled().get(&key) == Some(&version) {
                continue;
            }
            let Some(at) = clock::parse_rfc3339(until) else { continue };
            let timer = Timer {
                presentity: presentity.as_str().to_owned(),
                feature: feature.to_owned(),
                version,
                until: until.to_owned(),
                attempt: 0,
            };
            match self.bridge.schedule().ready().await {
                Ok(()) => self.bridge.schedule().put(presentity, &timer, at, cause).await?,
                Err(NoTimers::Away(error)) => return Err(error),
                // a guest's visit, or a server that is older than it was: it stays on until somebody changes it
                Err(error) => self.bridge.metrics().not_scheduled(&error),
            }
            self.scheduled().insert(&key, version);
        }
        Ok(())
    }

    async fn store_jobs(&self, presentity: &Presentity, telling: &Telling<'_>, writer: &Cause) -> Result<(), RequestError> {
        let duty = telling.duty;
        // The record has the id alone; of the write itself the headers have the caller's flags and state too.
        let cause = writer.clone().named_by(duty.cause.clone());
        let span = cause.open(name::TELL, SpanKind::Consumer);
        let told = self.store_jobs_of(presentity, telling, span.cause()).await;
        span.end(told.as_ref().err());
        told
    }

    async fn store_jobs_of(&self, presentity: &Presentity, telling: &Telling<'_>, cause: &Cause) -> Result<(), RequestError> {
        let Telling { states, learnt, duty } = telling;
        let watchers = if states.is_empty() {
            Vec::new()
        } else {
            self.bridge.fanout().watchers(presentity, &self.table.packages_of_states(states), duty.skip.as_deref()).await?
        };
        let notice =
            Notice { presentity, states, assigned: duty.assigned, skip_edge: None, skip_subscription: duty.skip.as_deref(), cause };
        let at = clock::parse_rfc3339(&duty.at).unwrap_or_else(|| self.bridge.bus().utc_now());
        let jobs = job::jobs(&notice, &watchers, at);
        let count = jobs.len();
        if count > 0 {
            self.bridge.fanout().store(jobs).await?;
            self.bridge.metrics().jobs_stored(count);
        }
        for learnt in *learnt {
            let is_told = states.iter().any(|state| state.feature == learnt.new.feature);
            let told = if is_told { watchers.iter().map(|edge| edge.count).sum() } else { 0 };
            self.publish(presentity, learnt, at, cause, told);
        }
        Ok(())
    }

    /// Publishes the event of what a get has learnt.
    fn publish(&self, presentity: &Presentity, learnt: &Learnt, at: SystemTime, cause: &Cause, watchers: u64) {
        let bus = self.bridge.bus();
        let (old, new, origin) = (&learnt.old, &learnt.new, Origin::Responder);
        let change = FeatureChange { presentity: presentity.as_str(), old, new, origin, actor: None, asked: None };
        let event = FeatureEvent::new(learnt.event.to_string(), at, cause.clone(), change).notified(watchers);
        let subject = bus.subjects().event_feature(presentity, &event.feature);
        bus.publish_event_once(Pattern::EventFeature, subject, &learnt.event, &event, cause);
    }
}
