//! What happened to a presentity of late: its events, read back from the stream of events. I/O.
//!
//! Events are kept by domain, so those of others are read along. How many is bounded: where a domain has more, the newest are
//! looked at, and the answer says how far back that goes.

use std::time::{Duration, UNIX_EPOCH};

use async_nats::Message;
use serde::Deserialize;

use crate::bus::client::Bus;
use crate::bus::error::RequestError;
use crate::bus::message::{FeatureEvent, NotifyEvent, RefusedEvent, SubscriptionEvent};
use crate::bus::reading::{Consumer, From, stored_at};
use crate::feature::Presentity;
use crate::runtime::clock;

/// How far back it goes.
const REACH: Duration = Duration::from_hours(24);
/// Most events that are read: of all the domain.
const MOST_READ: u64 = 10_000;
/// Most of one kind that are kept, the newest.
const MOST_KEPT: usize = 256;
/// How often fewer are asked for, where there are too many.
const TRIES: usize = 6;

/// Events of one presentity, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct History {
    pub(crate) subscriptions: Vec<SubscriptionEvent>,
    pub(crate) notifies: Vec<NotifyEvent>,
    pub(crate) changes: Vec<FeatureEvent>,
    pub(crate) refused: Vec<RefusedEvent>,
    /// From when on: RFC 3339 UTC.
    pub(crate) since: String,
}

impl Bus {
    /// The events of a presentity within 24 h, as far back as a bounded read goes.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: the stream cannot be read, or not within `timeout`.
    pub(crate) async fn history(&self, presentity: &Presentity, timeout: Duration) -> Result<History, RequestError> {
        let read = self.read_history(presentity, timeout);
        tokio::time::timeout(timeout, read).await.unwrap_or(Err(RequestError::Timeout(timeout)))
    }

    async fn read_history(&self, presentity: &Presentity, timeout: Duration) -> Result<History, RequestError> {
        let stream = self.subjects().stream("EVENTS");
        let name = format!("why-{:016x}", rand::random::<u64>());
        let start = self.utc_now().checked_sub(REACH).unwrap_or(UNIX_EPOCH);
        let mut history = History { since: clock::rfc3339(start), ..History::default() };
        let mut from = From::Time(start);
        let mut tries = 0;
        let left = loop {
            let consumer = Consumer::new(self, &stream, format!("{name}-{tries}"));
            let of_domain = self.subjects().events_of(&presentity.domain_token()).to_vec();
            let made = consumer.make(of_domain, from, timeout).await?;
            tries += 1;
            if made.num_pending <= MOST_READ || tries == TRIES {
                break (consumer, made.num_pending);
            }
            // The newer part, were they spread evenly.
            let first = made.begins_after();
            let last = self.last_sequence(&stream, timeout).await?;
            let share = last.saturating_sub(first).saturating_mul(MOST_READ) / made.num_pending.max(1);
            from = From::Sequence(last.saturating_sub(share / 10 * 9).max(first + 1));
        };
        let (consumer, pending) = left;
        consumer
            .read(pending.min(MOST_READ), timeout, |message, is_first| {
                if let (true, From::Sequence(_), Some((_, at))) = (is_first, from, stored_at(message)) {
                    history.since = clock::rfc3339(at);
                }
                history.take(presentity, message);
                true
            })
            .await?;
        Ok(history)
    }
}

impl History {
    /// Keeps an event that is of this presentity.
    fn take(&mut self, presentity: &Presentity, message: &Message) {
        let text = presentity.as_str();
        if memchr::memmem::find(&message.payload, text.as_bytes()).is_none() {
            return;
        }
        let (kind, payload) = (kind(message), &message.payload);
        match kind {
            "subscription" => keep(&mut self.subscriptions, payload, |event: &SubscriptionEvent| event.presentity == text),
            "notify" => keep(&mut self.notifies, payload, |event: &NotifyEvent| event.presentity == text),
            "feature" => keep(&mut self.changes, payload, |event: &FeatureEvent| event.presentity == text),
            "refused" => keep(&mut self.refused, payload, |event: &RefusedEvent| event.presentity.as_deref() == Some(text)),
            _ => false,
        };
    }

    /// Keeps an event that is of this cause; `false`: it is not.
    pub(super) fn take_caused(&mut self, cause: &str, message: &Message) -> bool {
        let payload = &message.payload;
        match kind(message) {
            "subscription" => keep(&mut self.subscriptions, payload, |event: &SubscriptionEvent| *event.cause.0 == *cause),
            "notify" => keep(&mut self.notifies, payload, |event: &NotifyEvent| *event.cause.0 == *cause),
            "feature" => keep(&mut self.changes, payload, |event: &FeatureEvent| *event.cause.0 == *cause),
            "refused" => keep(&mut self.refused, payload, |event: &RefusedEvent| *event.cause.0 == *cause),
            _ => false,
        }
    }

    /// Whether nothing happened.
    pub(super) fn is_empty(&self) -> bool {
        self.subscriptions.is_empty() && self.notifies.is_empty() && self.changes.is_empty() && self.refused.is_empty()
    }
}

/// `dfks.event.<kind>.<domain>…`, below a prefix that may have dots.
fn kind(message: &Message) -> &str {
    let mut tokens = message.subject.split('.').skip_while(|token| *token != "event");
    tokens.nth(1).unwrap_or_default()
}

fn keep<'a, E: Deserialize<'a>>(kept: &mut Vec<E>, payload: &'a [u8], is_meant: impl Fn(&E) -> bool) -> bool {
    // What an older version wrote in another way is passed over.
    let Ok(event) = serde_json::from_slice::<E>(payload) else { return false };
    let is_meant = is_meant(&event);
    if is_meant {
        if kept.len() >= MOST_KEPT {
            kept.remove(0);
        }
        kept.push(event);
    }
    is_meant
}
