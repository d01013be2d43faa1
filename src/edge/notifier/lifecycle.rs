//! A subscription's deadlines, its record, and its end.
//!
//! | word | what ends | what still goes out |
//! |---|---|---|
//! | expire | its grace | a last NOTIFY |
//! | dismiss | whoever operates dfks | a last NOTIFY that says why |
//! | unsubscribe (`exchange.rs`) | the phone wants no more | a last NOTIFY |
//! | end | its phone rejects it or is gone, or another edge has it | nothing, but the event |
//! | taken away (`ownership.rs`) | another edge has it, and said so | nothing |
//! | close | each of the above, with or after the last NOTIFY | nothing; what the phone has a 200 for is still carried out |
//!
//! A closed subscription is let go of by the registry as soon as the workers have nothing left to answer.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::bus::message::{Dismissal, EndReason, SubscriptionChange};
use crate::bus::trace::Cause;
use crate::edge::event::{self, Happened};
use crate::edge::notifier::Notifier;
use crate::edge::notifier::io::{BusRequest, Order};
use crate::edge::notifier::state::Timer;
use crate::edge::notifier::state::bus_requests::Wait;
use crate::edge::refusal::Refusal;
use crate::edge::subscription::cover::Cover;
use crate::edge::subscription::lane::{Question, Storing};
use crate::edge::subscription::outbox::{Ending, Owed};
use crate::edge::subscription::record::Record;
use crate::edge::subscription::{Phase, Subscription, SubscriptionId};
use crate::runtime::clock::Now;

impl Notifier {
    /// Schedules the subscription's next deadline in the wheel, if none is scheduled before it. What is overdue is due at once.
    pub(super) fn arm(&mut self, subscription: &mut Subscription, now: Now) {
        if subscription.phase == Phase::Over {
            return;
        }
        let ends_at = subscription.ends_at(self.config.grace());
        let expiry = if subscription.counted_in_grace { ends_at } else { subscription.expires_at };
        let deadlines = [
            // While a SUBSCRIBE is stored, it decides; then this is looked at again.
            (subscription.phase == Phase::Live && !subscription.lane.is_storing()).then_some(expiry),
            subscription.outbox.retry_at(),
            subscription.lane.reserve_again_at,
            subscription.in_flight.as_ref().and_then(|in_flight| in_flight.recalled_at),
            subscription.in_flight.as_ref().and_then(|in_flight| in_flight.detour.as_ref()).map(|way| way.until),
            subscription.lane.retry.map(|retry| retry.at),
            subscription.lane.missed_at,
        ];
        let Some(at) = deadlines.into_iter().flatten().min().map(|at| at.max(now.at)) else { return };
        if subscription.alarm.set(at) {
            self.timers.schedule(at, Timer::Subscription(subscription.id));
        }
    }

    /// Its grace is over: it ends with an empty NOTIFY, or with what the phone was still to be told.
    pub(super) fn expire(&mut self, subscription: &mut Subscription, now: Now) {
        let cause = Cause::new();
        self.owe_last(subscription, &cause, now);
        self.emit_subscription(subscription, SubscriptionChange::Terminated, Some(EndReason::Timeout), &cause, now);
    }

    /// Somebody ends it: its phone is told why, with what it was still to be told.
    pub(super) fn dismiss(&mut self, subscription: &mut Subscription, how: Dismissal, by: &Order, now: Now) {
        self.refuse_waiting(subscription, &Refusal::no_subscription(), now);
        self.owe_last(subscription, &by.cause, now);
        subscription.dismissed = Some(how);
        self.emit_by(subscription, SubscriptionChange::Terminated, Some(how.end_reason()), by, now);
    }

    /// It is over but for a last NOTIFY: empty, or with what the phone was still to be told.
    fn owe_last(&mut self, subscription: &mut Subscription, cause: &Cause, now: Now) {
        self.remove_record(subscription, cause, now);
        subscription.phase = Phase::Ending;
        (subscription.lane.retry, subscription.lane.missed_at) = (None, None);
        subscription.outbox.unpark();
        let replaced = subscription.outbox.owe_empty(Owed { cause: cause.clone(), since: now.at, job: None });
        subscription.outbox.end(Ending::AtOnce);
        self.settle(replaced.and_then(|owed| owed.job), true);
        self.uncount(subscription);
    }

    /// Ends a subscription without another NOTIFY.
    pub(super) fn end(&mut self, subscription: &mut Subscription, reason: EndReason, cause: &Cause, now: Now) {
        if subscription.phase == Phase::Live {
            if reason != EndReason::Moved {
                self.remove_record(subscription, cause, now);
            }
            self.uncount(subscription);
            self.emit_subscription(subscription, SubscriptionChange::Terminated, Some(reason), cause, now);
        }
        // Where it has gone, another try finds it.
        let refusal = if reason == EndReason::Moved { Refusal::unavailable() } else { Refusal::no_subscription() };
        self.refuse_waiting(subscription, &refusal, now);
        if reason == EndReason::Moved {
            self.jobs.move_with(subscription);
        }
        self.close(subscription);
    }

    /// Nothing more is sent to a subscription. What its phone has a 200 for is still carried out; then it is gone.
    pub(super) fn close(&mut self, subscription: &mut Subscription) {
        subscription.phase = Phase::Over;
        (subscription.lane.retry, subscription.lane.missed_at) = (None, None);
        let is_carried_out = |what: &Question| matches!(what, Question::Change(_) | Question::Confirm { refused: Some(_), .. });
        subscription.lane.queries.retain(|query| is_carried_out(&query.what));
        self.names.forget(subscription.id);
        let untold: Vec<_> = subscription.outbox.drain().chain(subscription.lane.sync.drain()).collect();
        if let Some(in_flight) = self.delivery.abandon(subscription) {
            self.settle(in_flight.parcel.jobs(), false);
        }
        self.settle(untold, false);
    }

    /// A live subscription stops being one in the metrics.
    pub(super) fn uncount(&self, subscription: &mut Subscription) {
        self.metrics.subscription_ended(std::mem::take(&mut subscription.counted_in_grace));
    }

    /// Refuses the SUBSCRIBEs that wait for a subscription's store, and the one that is being stored.
    pub(super) fn refuse_waiting(&mut self, subscription: &mut Subscription, refusal: &Refusal, now: Now) {
        let storing = match std::mem::take(&mut subscription.lane.storing) {
            Storing::UnderWay(exchange) => Some(exchange),
            // It is refused when the key has been read.
            Storing::Nothing | Storing::LookedUp | Storing::TakenOver => None,
        };
        let waiting = std::mem::take(&mut subscription.lane.waiting);
        for exchange in storing.into_iter().chain(waiting) {
            self.refuse(&exchange.arrival, refusal, now);
        }
    }

    /// The request that stores a subscription's record, and what that covers. `anew`: for a SUBSCRIBE that was granted anew.
    pub(super) fn store_of(&self, subscription: &mut Subscription, anew: bool, told_until: SystemTime, now: Now) -> (BusRequest, Cover) {
        let cover = Cover { cseq: subscription.cseq_to_reserve(), until: subscription.cover_until(anew, now.at) };
        let ttl = subscription.keep(cover, self.config.grace(), now.at);
        let record = Record::of(subscription, cover, &self.config, now.at, now.utc).told_until(told_until);
        let record = Box::new(record.confirmed(&subscription.versions, &self.table));
        (BusRequest::Store { id: subscription.id, record, ttl, expected_revision: subscription.revision }, cover)
    }

    /// Removes the record of a subscription that ends.
    pub(super) fn remove_record(&mut self, subscription: &Subscription, cause: &Cause, now: Now) {
        let until = now.at + subscription.kept_for(now.at);
        let (id, expected_revision) = (subscription.id, subscription.newest_revision());
        self.removals.begin(id, expected_revision, until);
        self.ask_removal(id, expected_revision, until, cause.clone(), now);
    }

    /// Removes a key that nobody serves.
    pub(super) fn remove_key(&mut self, id: SubscriptionId, expected_revision: u64, now: Now) {
        let until = now.at + self.config.longest_record_ttl();
        self.removals.begin(id, expected_revision, until);
        self.ask_removal(id, expected_revision, until, Cause::new(), now);
    }

    /// Asks the bucket to remove a key that is gone by itself at `until`.
    pub(super) fn ask_removal(&mut self, id: SubscriptionId, expected_revision: u64, until: Instant, cause: Cause, now: Now) {
        let covers = until.saturating_duration_since(now.at);
        self.ask(BusRequest::Remove { id, expected_revision, covers }, Wait::Remove(id, expected_revision), cause, now);
    }

    /// Stores the record again with more `CSeq` numbers, beside everything else.
    pub(super) fn reserve(&mut self, subscription: &mut Subscription, now: Now) {
        let told_until = self.watermark.told_until(&self.registry, Some(subscription), now);
        self.store_again(subscription, told_until, now);
    }

    /// The same, for an edge that has told all that was asked of it before this time.
    pub(super) fn store_again(&mut self, subscription: &mut Subscription, told_until: SystemTime, now: Now) {
        if subscription.lane.is_storing() || subscription.phase != Phase::Live {
            return;
        }
        let (store, cover) = self.store_of(subscription, false, told_until, now);
        self.ask(store, Wait::Reserve(subscription.id, cover), Cause::new(), now);
    }

    pub(super) fn emit_subscription(
        &mut self,
        subscription: &Subscription,
        what: SubscriptionChange,
        reason: Option<EndReason>,
        cause: &Cause,
        now: Now,
    ) {
        let happened = Happened { edge_id: &Arc::clone(&self.config).edge_id, what, reason, cause, actor: None };
        self.emit_happened(subscription, &happened, now);
    }

    /// The same of what somebody has asked for.
    pub(super) fn emit_by(
        &mut self,
        subscription: &Subscription,
        what: SubscriptionChange,
        reason: Option<EndReason>,
        by: &Order,
        now: Now,
    ) {
        let Order { cause, actor } = by;
        let happened = Happened { edge_id: &Arc::clone(&self.config).edge_id, what, reason, cause, actor: actor.as_deref() };
        self.emit_happened(subscription, &happened, now);
    }

    fn emit_happened(&mut self, subscription: &Subscription, happened: &Happened<'_>, now: Now) {
        let Happened { what, reason, .. } = *happened;
        self.metrics.subscription_is(subscription.about(), what.as_str(), reason.map(EndReason::as_str));
        let event = event::of_subscription(happened, subscription, now);
        self.emit(event);
    }
}
