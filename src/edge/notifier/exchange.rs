//! From an admitted SUBSCRIBE to its 200: the store, and what follows from its acknowledgement.

use std::time::{Duration, Instant};

use super::{BusRequest, Notifier, Now, Unavailable, Wait};
use crate::bus::message::{EndReason, SubscriptionChange};
use crate::edge::exchange::{Exchange, Task, Work};
use crate::edge::outbox::Ending;
use crate::edge::record::Record;
use crate::edge::subscribe::Refusal;
use crate::edge::subscription::{Phase, Subscription, SubscriptionId};
use crate::feature::csta_write;
use crate::feature::media::CONTENT_TYPE;
use crate::sip::{response, uri};

/// How the bucket answered a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreOutcome {
    /// Acknowledged, at this revision.
    Stored(u64),
    /// The key has another revision than expected.
    Conflict,
    /// No acknowledgement.
    Unavailable(Unavailable),
}

impl Notifier {
    /// Stores what a SUBSCRIBE makes of its subscription; the exchange waits in the lane for the acknowledgement.
    pub(super) fn store(&mut self, id: SubscriptionId, mut exchange: Box<Exchange>, now: Now) {
        let grace = self.config.grace();
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let cause = exchange.cause.clone();
        exchange.expires_before.get_or_insert(subscription.expires_at);
        let mut expires_at = now.at + Duration::from_secs(exchange.subscribe.granted_seconds.into());
        if let Some(remaining) = remaining(subscription, &exchange, now.at) {
            exchange.subscribe.granted_seconds = remaining;
            expires_at = subscription.expires_at;
        }
        let request = if exchange.subscribe.granted_seconds == 0 {
            BusRequest::Remove { id, expected_revision: subscription.revision }
        } else {
            subscription.refresh(&exchange.subscribe, expires_at);
            let record = Box::new(Record::of(subscription, &self.config.edge_id, now.at, now.utc));
            BusRequest::Store { id, record, ttl: subscription.record_ttl(now.at, grace), expected_revision: subscription.revision }
        };
        subscription.lane.storing = Some(exchange);
        self.ask(request, Wait::Store(id), cause, now);
    }

    pub(super) fn on_stored(&mut self, id: SubscriptionId, outcome: StoreOutcome, now: Now) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let Some(mut exchange) = subscription.lane.storing.take() else { return };
        match outcome {
            StoreOutcome::Stored(revision) => {
                subscription.revision = subscription.revision.max(revision);
                self.stored(id, &exchange, now);
            }
            // Somebody else wrote the key: a late write of ours, or another edge. Read it, then try once more.
            StoreOutcome::Conflict if !exchange.retried => {
                exchange.retried = true;
                let cause = exchange.cause.clone();
                return self.ask(BusRequest::Lookup { id }, Wait::Lookup(id, exchange), cause, now);
            }
            StoreOutcome::Conflict => self.not_stored(id, &exchange, &Refusal::unavailable(), now),
            StoreOutcome::Unavailable(why) => {
                self.metrics.store_failed(why.as_str());
                self.not_stored(id, &exchange, &Refusal::unavailable(), now);
            }
        }
        self.next_exchange(id, now);
    }

    /// The record is safe: now the phone may have its 200.
    fn stored(&mut self, id: SubscriptionId, exchange: &Exchange, now: Now) {
        self.accept(id, exchange, now);
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let was = subscription.phase;
        if exchange.subscribe.granted_seconds == 0 {
            // Its last NOTIFY goes where this SUBSCRIBE came from.
            subscription.refresh(&exchange.subscribe, subscription.expires_at);
            subscription.phase = Phase::Ending;
            self.uncount(id);
            self.emit_subscription(id, SubscriptionChange::Terminated, Some(EndReason::Unsubscribed), &exchange.cause, now);
            return self.queue_works(id, exchange, Some(Ending::AtOnce), false, now);
        }
        subscription.phase = Phase::Live;
        subscription.lane.retry = None;
        if was == Phase::Storing {
            self.metrics.subscription_began();
        } else if std::mem::take(&mut subscription.counted_in_grace) {
            self.metrics.grace_left();
        }
        let what = if was == Phase::Storing { SubscriptionChange::Active } else { SubscriptionChange::Refreshed };
        self.emit_subscription(id, what, None, &exchange.cause, now);
        self.arm(id, now);
        self.queue_works(id, exchange, None, was == Phase::Storing, now);
    }

    /// What an accepted SUBSCRIBE asks of the workers: its change, then everything when it is the first or has none.
    pub(super) fn queue_works(&mut self, id: SubscriptionId, exchange: &Exchange, ends: Option<Ending>, is_initial: bool, now: Now) {
        self.recall(id, now);
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        // A parked NOTIFY goes out again now that the phone has shown where it is.
        subscription.outbox.unpark();
        let work = |task, ends| Work { task, cause: exchange.cause.clone(), since: exchange.arrived_at, ends };
        let change = exchange.subscribe.change.clone();
        let has_change = change.is_some();
        if let Some(change) = change {
            subscription.lane.works.push_back(work(Task::Change(change), None));
        }
        if !has_change || is_initial || ends.is_some() {
            subscription.lane.works.push_back(work(Task::Everything, ends));
        }
        self.run_works(id, now);
    }

    /// Answers 200 with what RFC 6665 §4.2.1.1 asks for.
    pub(super) fn accept(&mut self, id: SubscriptionId, exchange: &Exchange, now: Now) {
        let flow = exchange.subscribe.flow;
        let body = self.response_body(id, exchange);
        let mut writer = response::response(&exchange.request, 200, flow.peer);
        writer.to_tag(&id.to_string());
        writer.header("Expires", exchange.subscribe.granted_seconds);
        let is_sips = self.subscriptions.get(&id).is_some_and(|subscription| subscription.dialog.is_sips());
        writer.header("Contact", self.contact_of(flow, is_sips || uri::is_sips(exchange.request.uri())));
        writer.header("Allow-Events", crate::feature::media::EVENT_PACKAGE);
        writer.copy_record_route();
        if let Some(body) = &body {
            writer.body(CONTENT_TYPE, body);
        }
        self.finish(&exchange.request, exchange.transaction, flow, 200, writer.finish(), exchange.arrived_at, now);
    }

    /// What the 200 to a change says to a phone that wants it said.
    fn response_body(&self, id: SubscriptionId, exchange: &Exchange) -> Option<Vec<u8>> {
        let quirks = self.subscriptions.get(&id)?.quirks;
        let change = exchange.subscribe.change.as_ref().filter(|_| quirks.cisco_response_body)?;
        csta_write::response(&self.table, &change.feature)
    }

    /// The SUBSCRIBE is refused and changes nothing: a new subscription is forgotten, an old one keeps its lifetime.
    fn not_stored(&mut self, id: SubscriptionId, exchange: &Exchange, refusal: &Refusal, now: Now) {
        self.refuse(&exchange.request, exchange.transaction, exchange.subscribe.flow, refusal, exchange.arrived_at, now);
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        match subscription.phase {
            Phase::Storing => self.forget(id),
            Phase::Live => {
                if let Some(before) = exchange.expires_before {
                    subscription.expires_at = before;
                }
                self.arm(id, now);
            }
            Phase::Ending => {}
        }
    }

    /// The next SUBSCRIBE of the lane, once the one before is answered.
    pub(super) fn next_exchange(&mut self, id: SubscriptionId, now: Now) {
        loop {
            let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
            if subscription.lane.storing.is_some() {
                return;
            }
            let Some(exchange) = subscription.lane.waiting.pop_front() else { return };
            if subscription.phase == Phase::Live {
                return self.store(id, exchange, now);
            }
            let flow = exchange.subscribe.flow;
            self.refuse(&exchange.request, exchange.transaction, flow, &Refusal::no_subscription(), exchange.arrived_at, now);
        }
    }
}

/// Seconds that a change leaves its subscription, where a profile has the clock go on: not for the SUBSCRIBE that makes it,
/// nor for one that ends it, nor in grace, where nothing remains.
fn remaining(subscription: &Subscription, exchange: &Exchange, now: Instant) -> Option<u32> {
    let is_change = exchange.subscribe.change.is_some() && exchange.subscribe.granted_seconds > 0;
    let is_in_dialog = exchange.request.to().tag().is_some();
    (subscription.quirks.remaining_expires && is_change && is_in_dialog).then(|| subscription.expires_in(now)).filter(|left| *left > 0)
}
