//! From an admitted SUBSCRIBE to its 200: the store, and what follows from its acknowledgement.

use std::time::{Duration, Instant};

use super::{BusRequest, Event, Notifier, Output, Unavailable, Wait};
use crate::bus::message::{EndReason, Kind, RawEvent, SubscriptionChange};
use crate::bus::trace::new_id;
use crate::edge::refusal::Refusal;
use crate::edge::subscription::lane::{Exchange, Storing, Task, Work};
use crate::edge::subscription::outbox::Ending;
use crate::edge::subscription::record::Record;
use crate::edge::subscription::{Phase, Seen, Subscription, SubscriptionId};
use crate::feature::{csta_write, package};
use crate::runtime::clock::{self, Now};
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
        let (grace, told_until) = (self.config.grace(), self.told_until(now));
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let presentity = subscription.presentity.clone();
        let cause = exchange.cause.clone();
        let before = *exchange.expires_before.get_or_insert(subscription.expires_at);
        let remaining = remaining(subscription, &exchange, now.at);
        exchange.subscribe.granted_seconds = remaining.unwrap_or(exchange.subscribe.granted_seconds);
        let granted = exchange.subscribe.granted_seconds;
        let expected_revision = subscription.revision;
        // One that comes here only to end is made ours first, so that the edge which held it lets go.
        let (request, cseq_reserved) = if granted == 0 && subscription.phase == Phase::Live {
            (BusRequest::Remove { id, expected_revision }, 0)
        } else {
            let keeps_clock = granted == 0 || remaining.is_some();
            let expires_at = if keeps_clock { before } else { now.at + Duration::from_secs(granted.into()) };
            subscription.refresh(&exchange.subscribe, expires_at);
            subscription.asked_at = now.utc;
            let record = Box::new(Record::of(subscription, &self.config, now.at, now.utc).told_until(told_until));
            let cseq_reserved = record.local_cseq;
            (BusRequest::Store { id, record, ttl: subscription.record_ttl(now.at, grace), expected_revision }, cseq_reserved)
        };
        subscription.lane.storing = Storing::Asked(exchange);
        self.backlog.asked();
        self.asked(presentity, now);
        self.ask(request, Wait::Store(id, cseq_reserved, now.at), cause, now);
    }

    pub(super) fn on_stored(&mut self, id: SubscriptionId, cseq_reserved: u32, outcome: StoreOutcome, now: Now) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let mut exchange = match std::mem::take(&mut subscription.lane.storing) {
            Storing::Asked(exchange) => exchange,
            other => {
                subscription.lane.storing = other;
                return;
            }
        };
        match outcome {
            // Another edge has stored a later SUBSCRIBE meanwhile: the subscription is its own.
            StoreOutcome::Stored(revision) if subscription.seen.is_some_and(|seen| !seen.is_ours && seen.revision > revision) => {
                self.refuse_exchange(&exchange, &Refusal::unavailable(), now);
                return self.end(id, EndReason::Moved, &exchange.cause, now);
            }
            StoreOutcome::Stored(revision) => {
                subscription.is_stored(revision, cseq_reserved);
                self.stored(id, &exchange, now);
            }
            // Somebody else wrote the key: a late write of ours, or another edge. Read it, then try once more.
            StoreOutcome::Conflict if !exchange.retried => {
                exchange.retried = true;
                subscription.lane.storing = Storing::LookedUp;
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
        if exchange.subscribe.granted_seconds == 0 {
            return self.unsubscribed(id, exchange, now);
        }
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let was = std::mem::replace(&mut subscription.phase, Phase::Live);
        if was == Phase::Storing {
            self.metrics.subscription_began();
        } else if std::mem::take(&mut subscription.counted_in_grace) {
            self.metrics.grace_left();
        }
        let what = if was == Phase::Storing { SubscriptionChange::Active } else { SubscriptionChange::Refreshed };
        self.emit_subscription(id, what, None, &exchange.cause, now);
        self.queue_works(id, exchange, None, was == Phase::Storing, now);
    }

    /// The phone wants no more: what it asked for is done, then its last NOTIFY is sent.
    fn unsubscribed(&mut self, id: SubscriptionId, exchange: &Exchange, now: Now) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        // Its last NOTIFY goes where this SUBSCRIBE came from.
        subscription.refresh(&exchange.subscribe, subscription.expires_at);
        subscription.lane.retry = None;
        if std::mem::replace(&mut subscription.phase, Phase::Ending) == Phase::Live {
            self.uncount(id);
        } else {
            self.unwatch(id);
            self.remove_record(id, &exchange.cause, now);
        }
        self.emit_subscription(id, SubscriptionChange::Terminated, Some(EndReason::Unsubscribed), &exchange.cause, now);
        self.queue_works(id, exchange, Some(Ending::AtOnce), false, now);
    }

    /// What an accepted SUBSCRIBE asks of the workers: its change, then everything when it is the first or has none.
    pub(super) fn queue_works(&mut self, id: SubscriptionId, exchange: &Exchange, ends: Option<Ending>, is_initial: bool, now: Now) {
        self.recall(id, now);
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        // A parked NOTIFY goes out again now that the phone has shown where it is.
        subscription.outbox.unpark();
        let work = |task, ends| Work { task, cause: exchange.cause.clone(), since: exchange.arrived_at, ends, is_owed: true };
        let change = exchange.subscribe.change.clone();
        let has_change = change.is_some();
        if let Some(change) = change {
            subscription.lane.works.push_back(work(Task::Change(change), None));
        }
        if !has_change || is_initial || ends.is_some() {
            subscription.lane.works.push_back(work(Task::Everything, ends));
            subscription.lane.retry = None;
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
        writer.header("Allow-Events", package::allow_events());
        writer.copy_record_route();
        if let Some(body) = &body {
            writer.body(exchange.subscribe.package.content_type, body);
        }
        self.finish(&exchange.request, exchange.transaction, flow, 200, writer.finish(), exchange.arrived_at, now);
        self.emit_raw(id, exchange, now);
    }

    /// Hands a body that is for others to read to whoever follows the events.
    fn emit_raw(&mut self, id: SubscriptionId, exchange: &Exchange, now: Now) {
        let Some(raw) = &exchange.subscribe.raw else { return };
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        let event = RawEvent {
            kind: Kind::default(),
            id: new_id(),
            time: clock::rfc3339(now.utc),
            cause: exchange.cause.clone(),
            edge_id: self.config.edge_id.to_string(),
            subscription: id.to_string(),
            presentity: subscription.presentity.as_str().to_owned(),
            package: exchange.subscribe.package.name.to_owned(),
            watcher: subscription.watcher.to_string(),
            user_agent: subscription.user_agent.to_string(),
            root: raw.root.to_string(),
            body: raw.text.to_string(),
        };
        self.output.push_back(Output::Event(Box::new(Event::Raw(subscription.presentity.clone(), event))));
    }

    /// What the 200 to a change says to a phone that wants it said.
    fn response_body(&self, id: SubscriptionId, exchange: &Exchange) -> Option<Vec<u8>> {
        let quirks = self.subscriptions.get(&id)?.quirks;
        let change = exchange.subscribe.change.as_ref().filter(|_| quirks.cisco_response_body)?;
        csta_write::response(&self.table, &change.feature)
    }

    /// The SUBSCRIBE is refused and changes nothing: a new subscription is forgotten, an old one keeps its lifetime.
    pub(super) fn not_stored(&mut self, id: SubscriptionId, exchange: &Exchange, refusal: &Refusal, now: Now) {
        self.refuse_exchange(exchange, refusal, now);
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let before = subscription.revision;
        let seen = subscription.seen.take().filter(|seen| seen.revision > before);
        match (subscription.phase, seen) {
            (Phase::Storing, seen) => {
                self.refuse_waiting(id, refusal, now);
                self.forget(id);
                // It came through after all, unheard.
                if let Some(Seen { revision, is_ours: true }) = seen {
                    self.remove_key(id, revision, now);
                }
            }
            (Phase::Live, Some(Seen { is_ours: false, .. })) => self.end(id, EndReason::Moved, &exchange.cause, now),
            (Phase::Live, seen) => {
                subscription.revision = seen.map_or(before, |seen| seen.revision);
                subscription.expires_at = exchange.expires_before.unwrap_or(subscription.expires_at);
            }
            (Phase::Ending | Phase::Over, _) => {}
        }
    }

    pub(super) fn refuse_exchange(&mut self, exchange: &Exchange, refusal: &Refusal, now: Now) {
        self.refuse(&exchange.request, exchange.transaction, exchange.subscribe.flow, refusal, exchange.arrived_at, now);
    }

    /// Refuses the SUBSCRIBEs that wait for a subscription's store, and the one that is being stored.
    pub(super) fn refuse_waiting(&mut self, id: SubscriptionId, refusal: &Refusal, now: Now) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let storing = match std::mem::take(&mut subscription.lane.storing) {
            Storing::Asked(exchange) => Some(exchange),
            // It is refused when the key has been read.
            Storing::Nothing | Storing::LookedUp | Storing::TakenOver => None,
        };
        let waiting = std::mem::take(&mut subscription.lane.waiting);
        for exchange in storing.into_iter().chain(waiting) {
            self.refuse_exchange(&exchange, refusal, now);
        }
    }

    /// The next SUBSCRIBE of the lane, once the one before is answered.
    pub(super) fn next_exchange(&mut self, id: SubscriptionId, now: Now) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        if subscription.phase != Phase::Live {
            return self.refuse_waiting(id, &Refusal::no_subscription(), now);
        }
        if subscription.lane.is_storing() {
            return;
        }
        match subscription.lane.waiting.pop_front() {
            Some(exchange) => self.store(id, exchange, now),
            None => self.arm(id, now),
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
