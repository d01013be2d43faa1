//! From an admitted SUBSCRIBE to its 200: the store, and what follows from its acknowledgement.

use std::time::{Duration, Instant};

use crate::bus::message::{EndReason, SubscriptionChange};
use crate::edge::event;
use crate::edge::notifier::Notifier;
use crate::edge::notifier::io::BusRequest;
use crate::edge::notifier::state::bus_requests::{StoreOutcome, Wait};
use crate::edge::refusal::Refusal;
use crate::edge::subscription::cover::Cover;
use crate::edge::subscription::lane::{Exchange, Query, Question, Seen, Storing};
use crate::edge::subscription::outbox::Ending;
use crate::edge::subscription::{Phase, Subscription};
use crate::feature::csta_write;
use crate::runtime::clock::Now;
use crate::sip::{response, uri};

impl Notifier {
    /// A SUBSCRIBE in the dialog of a subscription that is here: stored, or in line for it.
    pub(super) fn take_in_dialog(&mut self, subscription: &mut Subscription, exchange: Box<Exchange>, now: Now) {
        if self.refuses_new() || !subscription.lane.has_room() {
            return self.refuse(&exchange.arrival, &Refusal::unavailable(), now);
        }
        if subscription.lane.is_storing() {
            subscription.lane.waiting.push_back(exchange);
        } else {
            self.store_or_accept(subscription, exchange, now);
        }
    }

    /// Stores what a SUBSCRIBE makes of its subscription, unless the stored record covers that.
    fn store_or_accept(&mut self, subscription: &mut Subscription, mut exchange: Box<Exchange>, now: Now) {
        let until = grant(subscription, &mut exchange, now.at);
        if !self.is_covered(subscription, &exchange, until, now) {
            return self.store(subscription, exchange, now);
        }
        self.metrics.store_saved();
        subscription.refresh(&exchange.subscribe, until);
        subscription.asked_at = now.utc;
        self.watermark.asked(subscription.presentity.clone(), now, &mut self.timers);
        self.stored(subscription, &exchange, now);
        self.arm(subscription, now);
    }

    /// Whether the stored record covers what a SUBSCRIBE makes of its subscription: it stays with this edge until then, and after
    /// a crash with whoever has it next.
    ///
    /// A `CSeq` that was left out may have been answered by another edge, which has the subscription then. And now and then a
    /// record is stored whatever it covers, since records say how far this edge has told.
    fn is_covered(&self, subscription: &Subscription, exchange: &Exchange, until: Instant, now: Now) -> bool {
        let is_whole = subscription.phase == Phase::Live && !subscription.is_as_recorded && subscription.newest_revision() > 0;
        is_whole
            && exchange.is_next
            && exchange.subscribe.granted_seconds > 0
            && until <= subscription.covered_until
            && subscription.is_same_but_expiry(&exchange.subscribe)
            && self.availability.is_lease_held()
            && self.watermark.was_stored_since(now.at, self.config.unstored_for)
    }

    /// Stores what a SUBSCRIBE makes of its subscription; the exchange waits in the lane for the acknowledgement.
    pub(super) fn store(&mut self, subscription: &mut Subscription, mut exchange: Box<Exchange>, now: Now) {
        let told_until = self.watermark.told_until(&self.registry, Some(subscription), now);
        let (id, cause) = (subscription.id, exchange.arrival.cause.clone());
        let before = *exchange.expires_before.get_or_insert(subscription.expires_at);
        let expires_at = grant(subscription, &mut exchange, now.at);
        let granted = exchange.subscribe.granted_seconds;
        let expected_revision = subscription.revision;
        // One that comes here only to end is made ours first, so that the edge which held it lets go.
        let (request, cover) = if granted == 0 && subscription.phase == Phase::Live && !exchange.is_moving {
            let covers = subscription.kept_for(now.at);
            (BusRequest::Remove { id, expected_revision, covers }, Cover { cseq: 0, until: now.at })
        } else {
            subscription.refresh(&exchange.subscribe, expires_at);
            subscription.asked_at = now.utc;
            self.store_of(subscription, expires_at != before, told_until, now)
        };
        subscription.lane.storing = Storing::UnderWay(exchange);
        self.watermark.asked(subscription.presentity.clone(), now, &mut self.timers);
        self.ask(request, Wait::Store(id, cover, now.at), cause, now);
    }

    /// The answer to a store.
    pub(super) fn on_stored(&mut self, subscription: &mut Subscription, cover: Cover, outcome: StoreOutcome, now: Now) {
        let mut exchange = match std::mem::take(&mut subscription.lane.storing) {
            Storing::UnderWay(exchange) => exchange,
            other => {
                subscription.lane.storing = other;
                return;
            }
        };
        let outcome = match (outcome, subscription.lane.seen) {
            // Its first store here: what was seen in our name is that, and the answer was lost.
            (StoreOutcome::Unavailable(_), Some(Seen { revision, is_ours: true }))
                if (subscription.phase == Phase::Storing || exchange.is_moving) && revision > subscription.revision =>
            {
                StoreOutcome::Stored(revision)
            }
            (outcome, _) => outcome,
        };
        match outcome {
            // Another edge has stored a later SUBSCRIBE meanwhile: the subscription is its own.
            StoreOutcome::Stored(revision) if subscription.lane.seen.is_some_and(|seen| !seen.is_ours && seen.revision > revision) => {
                self.refuse(&exchange.arrival, &Refusal::unavailable(), now);
                return self.end(subscription, EndReason::Moved, &exchange.arrival.cause, now);
            }
            StoreOutcome::Stored(revision) => {
                subscription.is_stored(revision, cover);
                self.watermark.stored(now.at);
                self.stored(subscription, &exchange, now);
                self.has_reserved(subscription, now);
            }
            // Somebody else wrote the key: a late write of ours, or another edge. Read it, then try once more.
            StoreOutcome::Conflict if !exchange.retried => {
                exchange.retried = true;
                subscription.lane.storing = Storing::LookedUp;
                let (id, cause) = (subscription.id, exchange.arrival.cause.clone());
                return self.ask(BusRequest::Lookup { id }, Wait::Lookup(id, exchange), cause, now);
            }
            StoreOutcome::Conflict => self.not_stored(subscription, &exchange, &Refusal::unavailable(), now),
            StoreOutcome::Unavailable(why) => {
                self.metrics.store_failed(why.as_str());
                // The record is this one or the one before.
                subscription.covers_at_most(cover.until);
                self.not_stored(subscription, &exchange, &Refusal::unavailable(), now);
            }
        }
        self.next_exchange(subscription, now);
    }

    /// The record is safe: now the phone may have its 200.
    fn stored(&mut self, subscription: &mut Subscription, exchange: &Exchange, now: Now) {
        subscription.is_as_recorded = false;
        self.accept(subscription, exchange, now);
        if exchange.subscribe.granted_seconds == 0 {
            return self.unsubscribe(subscription, exchange, now);
        }
        let was = std::mem::replace(&mut subscription.phase, Phase::Live);
        if was == Phase::Storing {
            self.metrics.subscription_began();
        } else if std::mem::take(&mut subscription.counted_in_grace) {
            self.metrics.grace_left();
        }
        let what = if was == Phase::Storing { SubscriptionChange::Active } else { SubscriptionChange::Refreshed };
        self.emit_subscription(subscription, what, None, &exchange.arrival.cause, now);
        self.queue_queries(subscription, exchange, None, was == Phase::Storing, now);
    }

    /// The phone wants no more: what it asked for is done, then its last NOTIFY is sent.
    fn unsubscribe(&mut self, subscription: &mut Subscription, exchange: &Exchange, now: Now) {
        let cause = &exchange.arrival.cause;
        // Its last NOTIFY goes where this SUBSCRIBE came from.
        subscription.refresh(&exchange.subscribe, subscription.expires_at);
        (subscription.lane.retry, subscription.lane.missed_at) = (None, None);
        let was_live = std::mem::replace(&mut subscription.phase, Phase::Ending) == Phase::Live;
        if was_live {
            self.uncount(subscription);
        }
        if was_live && !exchange.is_moving {
            subscription.is_unrecorded = true;
            self.removals.end(subscription.id);
        } else {
            self.remove_record(subscription, cause, now);
        }
        self.emit_subscription(subscription, SubscriptionChange::Terminated, Some(EndReason::Unsubscribed), cause, now);
        self.queue_queries(subscription, exchange, Some(Ending::AtOnce), false, now);
    }

    /// What an accepted SUBSCRIBE asks of the workers: its change, then everything when it is the first or has none.
    pub(super) fn queue_queries(
        &mut self,
        subscription: &mut Subscription,
        exchange: &Exchange,
        ends: Option<Ending>,
        is_initial: bool,
        now: Now,
    ) {
        self.recall(subscription, now);
        // A NOTIFY that was put off goes out again now that the phone has shown where it is.
        subscription.outbox.unpark();
        let (cause, since) = (&exchange.arrival.cause, exchange.arrival.at);
        let query = |what, ends| Query { what, cause: cause.clone(), since, ends, is_owed: true };
        let change = exchange.subscribe.change.clone();
        let has_change = change.is_some();
        subscription.lane.queries.extend(change.map(|change| query(Question::Change(change), None)));
        if !has_change || is_initial || ends.is_some() || subscription.lane.sync.is_wanted() {
            subscription.lane.queries.push_back(query(Question::FullState, ends));
            (subscription.lane.retry, subscription.lane.missed_at) = (None, None);
        }
        self.ask_next(subscription, now);
    }

    /// Answers 200 with what RFC 6665 §4.2.1.1 asks for.
    pub(super) fn accept(&mut self, subscription: &Subscription, exchange: &Exchange, now: Now) {
        let Exchange { arrival, subscribe, .. } = exchange;
        let mut writer = response::response(&arrival.request, 200, arrival.flow.peer);
        writer.to_tag(&subscription.id.to_string());
        writer.header("Expires", subscribe.granted_seconds);
        let is_sips = subscription.dialog.is_sips() || uri::is_sips(arrival.request.uri());
        writer.header("Contact", self.responses.contact_of(arrival.flow, is_sips));
        writer.header("Allow-Events", self.table.allow_events());
        writer.copy_record_route();
        // Some phones want the 200 to a change to say what was changed.
        let change = subscribe.change.as_ref().filter(|_| subscription.quirks.cisco_response_body);
        let body = change.and_then(|change| csta_write::response(&self.table, &change.feature));
        if let Some(body) = &body {
            writer.body(subscribe.package.content_type, body);
        }
        self.output.push_back(self.responses.finish(arrival, 200, writer.finish(), now));
        self.note_answered(arrival, 200);
        if let Some(raw) = event::of_raw(&self.config.edge_id, subscription, exchange, now) {
            self.emit(raw);
        }
    }

    /// The SUBSCRIBE is refused and changes nothing: a new subscription is over, an old one keeps its lifetime.
    pub(super) fn not_stored(&mut self, subscription: &mut Subscription, exchange: &Exchange, refusal: &Refusal, now: Now) {
        self.refuse(&exchange.arrival, refusal, now);
        let before = subscription.revision;
        let seen = subscription.lane.seen.take().filter(|seen| seen.revision > before);
        match (subscription.phase, seen) {
            (Phase::Storing, _) => {
                // Nobody has a 200 for a new one. One of another edge is served when its store comes through after all.
                if subscription.revision == 0 {
                    self.removals.end(subscription.id);
                }
                self.refuse_waiting(subscription, refusal, now);
                self.jobs.move_with(subscription);
                self.close(subscription);
            }
            // It is the other edge's, as far as is known; a store of ours that comes through late is served then.
            (Phase::Live, seen) if exchange.is_moving || seen.is_some_and(|seen| !seen.is_ours) => {
                self.end(subscription, EndReason::Moved, &exchange.arrival.cause, now);
            }
            (Phase::Live, seen) => {
                if let Some(seen) = seen {
                    subscription.is_found(seen.revision, now.at);
                }
                subscription.expires_at = exchange.expires_before.unwrap_or(subscription.expires_at);
            }
            (Phase::Ending | Phase::Over, _) => {}
        }
    }

    /// The next SUBSCRIBE of the lane, once the one before is answered.
    pub(super) fn next_exchange(&mut self, subscription: &mut Subscription, now: Now) {
        if subscription.phase != Phase::Live {
            return self.refuse_waiting(subscription, &Refusal::no_subscription(), now);
        }
        if subscription.lane.is_storing() {
            return;
        }
        match subscription.lane.waiting.pop_front() {
            Some(exchange) => {
                self.store_or_accept(subscription, exchange, now);
                self.next_exchange(subscription, now);
            }
            None => self.arm(subscription, now),
        }
    }
}

/// When a subscription expires by what a SUBSCRIBE is granted, which is cut to what its profile leaves it. One that ends it
/// leaves the expiry as it is.
fn grant(subscription: &Subscription, exchange: &mut Exchange, now: Instant) -> Instant {
    let remaining = remaining(subscription, exchange, now);
    exchange.subscribe.granted_seconds = remaining.unwrap_or(exchange.subscribe.granted_seconds);
    let granted = exchange.subscribe.granted_seconds;
    let keeps_clock = granted == 0 || remaining.is_some();
    if keeps_clock { subscription.expires_at } else { now + Duration::from_secs(granted.into()) }
}

/// Seconds that a change leaves its subscription, where a profile has the clock go on: not for the SUBSCRIBE that makes it,
/// nor for one that ends it, nor in grace, where nothing remains.
fn remaining(subscription: &Subscription, exchange: &Exchange, now: Instant) -> Option<u32> {
    let is_change = exchange.subscribe.change.is_some() && exchange.subscribe.granted_seconds > 0;
    let is_in_dialog = exchange.arrival.request.to().tag().is_some();
    (subscription.quirks.remaining_expires && is_change && is_in_dialog).then(|| subscription.expires_in(now)).filter(|left| *left > 0)
}
