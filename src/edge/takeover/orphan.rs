//! Reads and ends subscriptions of a silent edge.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;

use crate::bus::kv::{self, Entry};
use crate::bus::message::{EndReason, SubscriptionChange};
use crate::bus::subject::Pattern;
use crate::bus::trace::Cause;
use crate::bus::{Bus, RequestError};
use crate::edge::event::{self, Event, Happened};
use crate::edge::notifier::Orphan;
use crate::edge::subscription::SubscriptionId;
use crate::edge::subscription::record::Record;

/// The record at a revision; `None` if there is a newer one, or none.
pub(in crate::edge::takeover) async fn read(bus: &Bus, revision: u64) -> Result<Option<Orphan>, RequestError> {
    let body = serde_json::json!({ "seq": revision }).to_string();
    let subject = bus.subjects().subscription_direct_get();
    let message = bus.request_raw(Pattern::SubscriptionBucket, subject, HeaderMap::new(), body.into(), bus.timeout()).await?;
    let key = kv::subject_of(&message).and_then(|subject| bus.subjects().subscription_of_key(subject));
    let Some(id) = key.and_then(|key| key.parse::<SubscriptionId>().ok()) else { return Ok(None) };
    let Ok(Entry::Value(revision, value)) = kv::read(message, bus.utc_now()) else { return Ok(None) };
    Ok(serde_json::from_slice::<Record>(&value).ok().map(|record| Orphan { id, record, revision, told_until: None }))
}

/// Ends a subscription in the name of its silent edge, if nobody has written its key since. `true` when it has ended.
pub(in crate::edge::takeover) async fn end(bus: &Bus, orphan: &Orphan, grace: Duration) -> Result<bool, RequestError> {
    let Orphan { id, record, revision, .. } = orphan;
    let cause = Cause::new();
    let subject = bus.subjects().subscription_key(&id.to_string());
    let removal = kv::removal_headers(*revision, record.covers(grace, bus.utc_now()), &cause);
    match bus.store(Pattern::SubscriptionBucket, subject, removal, Bytes::new()).await {
        Ok(_seq) => {}
        Err(RequestError::Stream { .. }) => return Ok(false),
        Err(error) => return Err(error),
    }
    let (edge_id, reason) = (&*record.edge_id, Some(EndReason::Timeout));
    let ended = Happened { edge_id, what: SubscriptionChange::Terminated, reason, cause: &cause, actor: None };
    if let Some(Event::Subscription(presentity, event)) = event::of_record(&ended, *id, record, bus.utc_now()) {
        bus.publish_event(Pattern::EventSubscription, bus.subjects().event_subscription(&presentity), &event, &event.cause);
    }
    Ok(true)
}
