//! What followed from one cause: its events, read back from the stream of events, and its NOTIFY jobs that nobody has done yet. I/O.
//!
//! The server keeps no order by cause. An id that was made here says when, so that reading begins there and ends soon after its last
//! event; of one that a caller made the newest events are looked at. Either way so many are read at the most, and the answer says
//! from when to when.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::Message;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

use crate::bus::client::Bus;
use crate::bus::error::RequestError;
use crate::bus::history::History;
use crate::bus::message::{NotifyJob, Watcher};
use crate::bus::reading::{Consumer, From, stored_at};
use crate::bus::trace::Cause;
use crate::feature::Presentity;
use crate::runtime::clock;

/// Most events that are read in one go.
const MOST_READ: u64 = 20_000;
/// How much earlier than its id an event of a cause may be stored: the clocks of two machines.
const CLOCKS_DIFFER: Duration = Duration::from_secs(5);
/// So long after the last event of a cause none is waited for: longer than a NOTIFY is sent again and put off.
const QUIET: Duration = Duration::from_mins(2);
/// Most jobs of the work queue that are looked at.
const MOST_JOBS: usize = 64;

/// What happened of one cause, the oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caused {
    pub(crate) events: History,
    /// Up to when events were looked at, where that is not now: RFC 3339 UTC.
    pub(crate) until: Option<String>,
}

/// What of it is still under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Under {
    /// The live subscriptions of its presentity, by edge, with what they wait for.
    pub(crate) edges: std::collections::BTreeMap<String, Vec<Watcher>>,
    /// The jobs that no edge has done yet.
    pub(crate) jobs: Vec<WaitingJob>,
}

/// A NOTIFY job in the work queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WaitingJob {
    /// The edge that it is for, as it stands in subjects.
    pub(crate) edge: String,
    /// When the queue took it.
    pub(crate) at: SystemTime,
    pub(crate) features: Vec<String>,
}

impl Caused {
    /// Whose features it was about.
    pub(crate) fn presentity(&self) -> Option<&str> {
        let History { subscriptions, notifies, changes, refused, .. } = &self.events;
        let changed = changes.iter().map(|event| &*event.presentity);
        let told = notifies.iter().map(|event| &*event.presentity);
        let held = subscriptions.iter().map(|event| &*event.presentity);
        changed.chain(told).chain(held).chain(refused.iter().filter_map(|event| event.presentity.as_deref())).next()
    }

    /// When its first event happened.
    pub(crate) fn began(&self) -> Option<SystemTime> {
        let History { subscriptions, notifies, changes, .. } = &self.events;
        let times = changes.iter().map(|event| &event.time).chain(notifies.iter().map(|event| &event.time));
        times.chain(subscriptions.iter().map(|event| &event.time)).filter_map(|time| clock::parse_rfc3339(time)).min()
    }
}

/// How far a reading came.
struct Reached {
    /// Stored last of what was read.
    last: Option<(u64, SystemTime)>,
    /// Whether that was all there is.
    is_all: bool,
}

impl Bus {
    /// The events of a cause, wherever they happened.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: the stream cannot be read, or not within `timeout`.
    pub(crate) async fn caused(&self, cause: &str, timeout: Duration) -> Result<Caused, RequestError> {
        let read = self.read_caused(cause, timeout);
        tokio::time::timeout(timeout, read).await.unwrap_or(Err(RequestError::Timeout(timeout)))
    }

    /// The events of a cause that happened to a presentity, from this time on.
    ///
    /// # Errors
    ///
    /// As [`caused`](Self::caused).
    pub(crate) async fn caused_in(
        &self,
        cause: &str,
        presentity: &Presentity,
        since: Option<SystemTime>,
        timeout: Duration,
    ) -> Result<Caused, RequestError> {
        let start = since.or_else(|| Cause::made_at(cause)).and_then(|at| at.checked_sub(CLOCKS_DIFFER)).unwrap_or(UNIX_EPOCH);
        let mut caused = Caused::since(start);
        let filter = self.subjects().events_of(&presentity.domain_token()).to_vec();
        let read = self.read_on(&mut caused, cause, filter, From::Time(start), timeout);
        let reached = tokio::time::timeout(timeout, read).await.unwrap_or(Err(RequestError::Timeout(timeout)))?;
        caused.ends(&reached);
        Ok(caused)
    }

    async fn read_caused(&self, cause: &str, timeout: Duration) -> Result<Caused, RequestError> {
        let all = vec![self.subjects().all_events()];
        let Some(made_at) = Cause::made_at(cause).filter(|at| *at <= self.utc_now() + CLOCKS_DIFFER) else {
            // somebody else's id: the newest
            let last = self.last_sequence(&self.subjects().stream("EVENTS"), timeout).await?;
            let mut caused = Caused::default();
            self.read_on(&mut caused, cause, all, From::Sequence(last.saturating_sub(MOST_READ).max(1)), timeout).await?;
            return Ok(caused);
        };
        let start = made_at.checked_sub(CLOCKS_DIFFER).unwrap_or(UNIX_EPOCH);
        let mut caused = Caused::since(start);
        let mut reached = self.read_on(&mut caused, cause, all, From::Time(start), timeout).await?;
        // What follows of it is of the same domain, which has fewer events.
        if let (false, Some(presentity), Some((sequence, _))) = (reached.is_all, caused.presentity(), reached.last)
            && let Ok(presentity) = Presentity::parse(presentity)
        {
            let of_domain = self.subjects().events_of(&presentity.domain_token()).to_vec();
            reached = self.read_on(&mut caused, cause, of_domain, From::Sequence(sequence + 1), timeout).await?;
        }
        caused.ends(&reached);
        Ok(caused)
    }

    /// Reads on from there, and keeps what is of this cause.
    async fn read_on(
        &self,
        caused: &mut Caused,
        cause: &str,
        filter: Vec<String>,
        from: From,
        timeout: Duration,
    ) -> Result<Reached, RequestError> {
        let stream = self.subjects().stream("EVENTS");
        let consumer = Consumer::new(self, &stream, format!("trace-{:016x}", rand::random::<u64>()));
        let made = consumer.make(filter, from, timeout).await?;
        let is_of = |message: &Message| memchr::memmem::find(&message.payload, cause.as_bytes()).is_some();
        let (mut last, mut seen_at) = (None, (!caused.events.is_empty()).then_some(UNIX_EPOCH));
        let mut is_quiet = false;
        consumer
            .read(made.num_pending.min(MOST_READ), timeout, |message, is_first| {
                let stored = stored_at(message);
                if is_first && caused.events.since.is_empty() {
                    caused.events.since = stored.map(|(_, at)| clock::rfc3339(at)).unwrap_or_default();
                }
                if is_of(message) && caused.events.take_caused(cause, message) {
                    seen_at = stored.map(|(_, at)| at);
                }
                is_quiet = match (seen_at, stored) {
                    (Some(seen_at), Some((_, at))) if seen_at > UNIX_EPOCH => at.duration_since(seen_at).is_ok_and(|since| since > QUIET),
                    _ => false,
                };
                last = stored.or(last);
                !is_quiet
            })
            .await?;
        Ok(Reached { last, is_all: is_quiet || made.num_pending <= MOST_READ })
    }

    /// The jobs of a cause that wait in the work queue, of those stored from this time on; of so many at the most.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: the queue cannot be read.
    pub(crate) async fn jobs_of(&self, cause: &str, since: Option<SystemTime>, timeout: Duration) -> Result<Vec<WaitingJob>, RequestError> {
        #[derive(Deserialize)]
        struct Answer {
            message: Stored,
        }
        #[derive(Deserialize)]
        struct Stored {
            subject: String,
            seq: u64,
            data: String,
            time: String,
        }
        let call = format!("STREAM.MSG.GET.{}", self.subjects().stream("NOTIFY"));
        let filter = self.subjects().notify_of_all();
        let since = since.and_then(|since| since.checked_sub(CLOCKS_DIFFER));
        let (mut jobs, mut sequence) = (Vec::new(), 1);
        for _ in 0..MOST_JOBS {
            let body = json!({ "seq": sequence, "next_by_subj": filter });
            let answer: Answer = match self.api_with(&call, &body, timeout).await {
                Ok(answer) => answer,
                // none is left
                Err(RequestError::Stream { .. }) => break,
                Err(error) => return Err(error),
            };
            let Stored { subject, seq, data, time } = answer.message;
            sequence = seq + 1;
            let at = clock::parse_rfc3339(&time).unwrap_or(UNIX_EPOCH);
            let payload = STANDARD.decode(data).unwrap_or_default();
            let Ok(job) = serde_json::from_slice::<NotifyJob>(&payload) else { continue };
            if *job.cause.0 == *cause && since.is_none_or(|since| at >= since) {
                let edge = subject.rsplit('.').next().unwrap_or_default().to_owned();
                jobs.push(WaitingJob { edge, at, features: job.states.into_iter().map(|state| state.feature).collect() });
            }
        }
        Ok(jobs)
    }
}

impl Caused {
    fn since(start: SystemTime) -> Self {
        Self { events: History { since: clock::rfc3339(start), ..History::default() }, until: None }
    }

    fn ends(&mut self, reached: &Reached) {
        let last = reached.last.filter(|_| !reached.is_all);
        self.until = last.map(|(_, at)| clock::rfc3339(at));
    }
}
