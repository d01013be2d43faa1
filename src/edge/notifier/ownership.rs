//! Whose a subscription is: of before our restart, brought here by its phone, taken over from a silent edge, or gone elsewhere.
//!
//! ```text
//! our record at the start ─▶ live here
//! dialog that is not here ─▶ key read ─▶ its SUBSCRIBE is stored in our name; the edge that had it sees the key change
//! orphan ─▶ store in our name ─(acknowledged)─▶ live here: events moved and active, CSeq goes on above all that was reserved
//!                  ├──(another was first)─▶ nothing
//!                  └──(no answer)─▶ nothing yet: the bucket will say whose it is
//! record in our name that is not here ─▶ a store of ours came through late: served, unless the subscription ended here
//! ```
//! Every record is written by compare-and-set, so of those who try one has it.

use std::borrow::Cow;
use std::time::Duration;

use crate::bus::message::{EndReason, SubscriptionChange};
use crate::bus::trace::Cause;
use crate::edge::event::{self, Happened};
use crate::edge::metrics::{DeliveryOutcome, TakeOverOutcome};
use crate::edge::notifier::Notifier;
use crate::edge::notifier::decision::{Decision, decide, has_ended_elsewhere, is_dialog_of};
use crate::edge::notifier::io::{Orphan, Unavailable};
use crate::edge::notifier::state::bus_requests::{Found, StoreOutcome, Wait};
use crate::edge::refusal::Refusal;
use crate::edge::subscription::cover::Cover;
use crate::edge::subscription::lane::{Exchange, Seen, Storing};
use crate::edge::subscription::record::Record;
use crate::edge::subscription::{Phase, Subscription, SubscriptionId};
use crate::feature::Presentity;
use crate::runtime::clock::{self, Now};
use crate::sip::flow::Transport;

/// What a record says of whose it is.
#[derive(serde::Deserialize)]
struct Owner<'a> {
    #[serde(borrow)]
    edge_id: &'a str,
    #[serde(borrow, default)]
    taken_from: Option<Cow<'a, str>>,
}

impl Notifier {
    /// A record that the bucket had at our start: taken up where it is in our name. A newer one of the same key takes its place.
    pub(super) fn on_record(&mut self, key: &str, revision: u64, value: Option<&[u8]>, now: Now) {
        let Ok(id) = key.parse::<SubscriptionId>() else { return };
        match self.registry.get(id) {
            Some(before) if revision <= before.revision || !before.is_restored || before.is_owed_something() => return,
            Some(_) => self.step_of(id, |notifier, before| {
                before.phase = Phase::Over;
                notifier.uncount(before);
            }),
            None => {}
        }
        let Some(record) = value.and_then(|value| serde_json::from_slice::<Record>(value).ok()) else { return };
        if *record.edge_id != *self.config.edge_id {
            return;
        }
        self.watermark.was(record.told_until.as_deref().and_then(clock::parse_rfc3339));
        let Some(mut subscription) = self.adopted(id, record, revision, Phase::Live, now) else { return };
        subscription.is_restored = true;
        self.metrics.subscription_began();
        self.arm(&mut subscription, now);
        self.registry.check_in(subscription);
    }

    /// The subscription of a record.
    fn adopted(&self, id: SubscriptionId, record: Record, revision: u64, phase: Phase, now: Now) -> Option<Box<Subscription>> {
        let versions = record.versions(&self.table);
        let subscription = record.restore(id, revision, &self.config, &self.table, now)?;
        Some(Box::new(Subscription { phase, versions, ..subscription }))
    }

    /// A key of the bucket changed: another edge may have taken a subscription over, or a store that we had given up on
    /// may have come through after all.
    pub(super) fn on_change(&mut self, key: &str, revision: u64, value: &[u8], now: Now) {
        let Ok(id) = key.parse::<SubscriptionId>() else { return };
        let Ok(owner) = serde_json::from_slice::<Owner<'_>>(value) else { return };
        // Most keys are other edges'.
        if self.step(id, |notifier, subscription| notifier.on_owner(subscription, revision, &owner, now)).is_some() {
            return;
        }
        if owner.edge_id != &*self.config.edge_id {
            self.registry.resolve(id);
        } else if self.removals.has_ended(id) || !self.serve_late(id, revision, value, now) {
            // Nobody would ever serve it.
            self.registry.resolve(id);
            self.remove_key(id, revision, now);
        }
    }

    /// A key of the bucket is gone: it was us, its time was over, or all of the bucket is lost. Only a removal of what we have never
    /// seen says more: another edge had the subscription, and ended it.
    pub(super) fn on_gone(&mut self, key: &str, revision: u64, removed_over: Option<u64>, now: Now) {
        let Ok(id) = key.parse::<SubscriptionId>() else { return };
        self.on_unrecorded_by(id, revision, now);
        self.step(id, |notifier, subscription| match subscription.phase {
            _ if !has_ended_elsewhere(subscription, removed_over) => {}
            // The store that is under way will say whose it is.
            Phase::Live | Phase::Storing if subscription.lane.is_storing() => {
                subscription.lane.seen = Some(Seen { revision, is_ours: false });
            }
            Phase::Live => notifier.end(subscription, EndReason::Moved, &Cause::new(), now),
            Phase::Storing | Phase::Ending | Phase::Over => {}
        });
    }

    /// Changes were lost: what the index says of a subscription that is held here.
    pub(super) fn on_holder(&mut self, id: SubscriptionId, revision: u64, edge_id: &str, now: Now) {
        if *edge_id != *self.config.edge_id {
            let owner = Owner { edge_id, taken_from: None };
            // It may have ended since the index was asked.
            self.step(id, |notifier, subscription| notifier.on_owner(subscription, revision, &owner, now));
        }
    }

    /// The bucket has no record of a subscription that is held here, as of this revision: its next SUBSCRIBE stores it anew.
    pub(super) fn on_unrecorded_by(&mut self, id: SubscriptionId, revision: u64, now: Now) {
        self.step(id, |_, subscription| {
            if revision > subscription.revision {
                subscription.covers_at_most(now.at);
            }
        });
    }

    fn on_owner(&mut self, subscription: &mut Subscription, revision: u64, owner: &Owner<'_>, now: Now) {
        let own_id = &*self.config.edge_id;
        let is_ours = owner.edge_id == own_id;
        let is_taken_from_us = !is_ours && owner.taken_from.as_deref() == Some(own_id);
        if revision <= subscription.revision {
            return;
        }
        match subscription.phase {
            // The store that is under way will say whose it is.
            Phase::Live | Phase::Storing if subscription.lane.is_storing() => subscription.lane.seen = Some(Seen { revision, is_ours }),
            Phase::Live if is_ours => subscription.is_found(revision, now.at),
            Phase::Live if is_taken_from_us => self.taken_away(subscription, now),
            Phase::Live => self.end(subscription, EndReason::Moved, &Cause::new(), now),
            Phase::Ending | Phase::Over if is_ours => self.remove_key(subscription.id, revision, now),
            Phase::Storing | Phase::Ending | Phase::Over => {}
        }
    }

    /// It was taken over while we were silent, and whoever did so has said so: nothing more is said or sent.
    fn taken_away(&mut self, subscription: &mut Subscription, now: Now) {
        self.metrics.subscription_lost();
        self.uncount(subscription);
        self.refuse_waiting(subscription, &Refusal::unavailable(), now);
        self.jobs.move_with(subscription);
        self.close(subscription);
    }

    /// The key was read for this SUBSCRIBE: its dialog is not held here, or its store met another revision.
    pub(super) fn on_looked_up(&mut self, id: SubscriptionId, exchange: Box<Exchange>, found: Result<Found, Unavailable>, now: Now) {
        if let Err(why) = &found {
            self.metrics.store_failed(why.as_str());
        }
        // It was looked up because it is not here; but another SUBSCRIBE of the dialog may have brought it meanwhile.
        let mut held = self.registry.check_out(id);
        if exchange.retried {
            match held.as_deref_mut().filter(|subscription| matches!(subscription.lane.storing, Storing::LookedUp)) {
                Some(subscription) => self.on_conflict_read(subscription, exchange, found, now),
                None => self.refuse(&exchange.arrival, &Refusal::no_subscription(), now),
            }
        } else {
            match self.take_up(id, &mut held, &exchange, found, now) {
                Ok(subscription) => self.take_in_dialog(subscription, exchange, now),
                Err(refusal) => self.refuse(&exchange.arrival, &refusal, now),
            }
        }
        if let Some(subscription) = held {
            self.registry.check_in(subscription);
        }
    }

    /// The subscription of a dialog, so that a SUBSCRIBE in it can be stored in our name: the one held here, else that of the
    /// record which was found.
    fn take_up<'h>(
        &mut self,
        id: SubscriptionId,
        held: &'h mut Option<Box<Subscription>>,
        exchange: &Exchange,
        found: Result<Found, Unavailable>,
        now: Now,
    ) -> Result<&'h mut Subscription, Refusal> {
        let (record, revision) = match found {
            Ok(Found::Record(record, revision)) => (*record, revision),
            Ok(Found::Gone { .. }) => return Err(Refusal::no_subscription()),
            Err(_) => return Err(Refusal::unavailable()),
        };
        self.may_enter(exchange, &record, held.as_deref())?;
        if held.is_none() {
            self.removals.revive(id);
            *held = self.adopted(id, record, revision, Phase::Storing, now);
        }
        // A record that this version could not have written makes none.
        let subscription = held.as_deref_mut().ok_or_else(Refusal::no_subscription)?;
        subscription.dialog.remote_cseq = exchange.arrival.request.cseq();
        Ok(subscription)
    }

    /// Whether a SUBSCRIBE may be in the dialog of a record.
    fn may_enter(&self, exchange: &Exchange, record: &Record, held: Option<&Subscription>) -> Result<(), Refusal> {
        if !is_dialog_of(exchange, record) {
            return Err(Refusal::no_subscription());
        }
        let presentity = Presentity::parse(&record.presentity).map_err(|_| Refusal::no_subscription())?;
        self.gate.check_dialog(&exchange.identity, &record.watcher, &presentity)?;
        let cseq = exchange.arrival.request.cseq();
        match held.map(|subscription| (subscription.phase, subscription.dialog.remote_cseq)) {
            Some((Phase::Ending, _)) => Err(Refusal::no_subscription()),
            Some((Phase::Over, _)) => Err(Refusal::unavailable()),
            Some((_, remote_cseq)) if cseq <= remote_cseq => Err(Refusal::cseq_too_low()),
            None if cseq <= record.remote_cseq => Err(Refusal::cseq_too_low()),
            None if self.refuses_new() || self.registry.len() >= self.config.max_subscriptions => Err(Refusal::unavailable()),
            Some(_) | None => Ok(()),
        }
    }

    /// The key had another revision than expected: a late write of ours, another edge, or it is gone.
    fn on_conflict_read(
        &mut self,
        subscription: &mut Subscription,
        mut exchange: Box<Exchange>,
        found: Result<Found, Unavailable>,
        now: Now,
    ) {
        subscription.lane.storing = Storing::Nothing;
        let decision = match found {
            Ok(found) => decide(subscription, &exchange, found, &self.config.edge_id),
            Err(_) => Decision::Refuse(Refusal::unavailable()),
        };
        match decision {
            Decision::Store => self.store(subscription, exchange, now),
            Decision::TakeBack(record) => {
                exchange.is_moving = true;
                self.take_back(subscription, &record, now);
                self.store(subscription, exchange, now);
            }
            Decision::Refuse(refusal) => {
                self.not_stored(subscription, &exchange, &refusal, now);
                self.next_exchange(subscription, now);
            }
            Decision::LetGo(refusal) => {
                self.refuse(&exchange.arrival, &refusal, now);
                self.end(subscription, EndReason::Moved, &exchange.arrival.cause, now);
            }
        }
    }

    /// Whose a subscription is whose reservation met another revision, while a NOTIFY waits for it.
    pub(super) fn on_holder_read(&mut self, subscription: &mut Subscription, found: Result<Found, Unavailable>, now: Now) {
        match found {
            // It is asked again in its time.
            Err(why) => return self.metrics.store_failed(why.as_str()),
            Ok(_) if subscription.phase != Phase::Live || subscription.lane.is_storing() => return,
            Ok(Found::Gone { removed_over, .. }) if has_ended_elsewhere(subscription, removed_over) => {
                return self.end(subscription, EndReason::Moved, &Cause::new(), now);
            }
            // The bucket has lost it, but the phone and we have not: it is stored anew.
            Ok(Found::Gone { revision, .. }) => subscription.revision = revision,
            Ok(Found::Record(record, revision)) => {
                self.on_owner(subscription, revision, &Owner { edge_id: &record.edge_id, taken_from: None }, now);
            }
        }
        if subscription.phase == Phase::Live && !subscription.has_cseq() {
            self.reserve(subscription, now);
        }
    }

    /// Another edge had it meanwhile: what its phone knows is what that edge has stored, and what it was to be told here is old.
    fn take_back(&mut self, subscription: &mut Subscription, record: &Record, now: Now) {
        subscription.continue_after(record.local_cseq);
        subscription.versions = record.versions(&self.table);
        subscription.kept_until = subscription.kept_until.max(now.at + record.covers(self.config.grace(), now.utc));
        let in_flight = self.delivery.abandon(subscription);
        if let Some(in_flight) = &in_flight {
            self.delivery.count_end(in_flight, DeliveryOutcome::Retried, now);
        }
        let jobs = in_flight.iter().flat_map(|in_flight| in_flight.parcel.jobs()).chain(subscription.outbox.drain());
        let is_asking = subscription.lane.is_asking;
        subscription.lane.sync.lose(jobs, is_asking);
    }

    pub(super) fn on_orphan(&mut self, orphan: Orphan, now: Now) {
        let Orphan { id, record, revision, told_until } = orphan;
        if self.registry.contains(id) {
            return;
        }
        if self.config.listener_of(Transport::Udp, record.listener, record.peer).is_none() {
            return self.metrics.take_over_ended(TakeOverOutcome::NoListener);
        }
        let has_lease = self.availability.is_lease_held();
        if self.refuses_new() || !has_lease || self.registry.len() >= self.config.max_subscriptions {
            return self.metrics.take_over_ended(TakeOverOutcome::Full);
        }
        self.registry.resolve(id);
        let from = record.edge_id.clone();
        let Some(mut subscription) = self.adopted(id, record, revision, Phase::Storing, now) else {
            return self.metrics.take_over_ended(TakeOverOutcome::Failed);
        };
        let ours_told_until = self.watermark.told_until(&self.registry, None, now);
        subscription.taken_from = Some(from);
        subscription.is_untold |= told_until.is_some_and(|told_until| subscription.asked_at >= told_until);
        subscription.lane.storing = Storing::TakenOver;
        let (store, cover) = self.store_of(&mut subscription, false, ours_told_until, now);
        self.ask(store, Wait::TakeOver(id, cover), Cause::new(), now);
        self.registry.check_in(subscription);
    }

    /// The answer to an orphan's store.
    pub(super) fn on_taken_over(&mut self, subscription: &mut Subscription, cover: Cover, outcome: StoreOutcome, now: Now) {
        if !matches!(subscription.lane.storing, Storing::TakenOver) {
            return;
        }
        subscription.lane.storing = Storing::Nothing;
        let (outcome, revision) = match (outcome, subscription.lane.seen.take()) {
            (StoreOutcome::Stored(revision), Some(Seen { revision: newer, is_ours: false })) if newer > revision => {
                (TakeOverOutcome::Lost, 0)
            }
            (StoreOutcome::Stored(revision), _) | (StoreOutcome::Unavailable(_), Some(Seen { revision, is_ours: true })) => {
                (TakeOverOutcome::Taken, revision)
            }
            (StoreOutcome::Conflict, _) => (TakeOverOutcome::Lost, 0),
            (StoreOutcome::Unavailable(why), seen) => {
                self.metrics.store_failed(why.as_str());
                if seen.is_none() {
                    self.registry.doubt(subscription.id);
                }
                (TakeOverOutcome::Failed, 0)
            }
        };
        if outcome == TakeOverOutcome::Taken {
            return self.taken(subscription, revision, cover, now);
        }
        self.metrics.take_over_ended(outcome);
        self.refuse_waiting(subscription, &Refusal::unavailable(), now);
        self.close(subscription);
    }

    /// A record in our name of a subscription that is not here: a store that we had given up on has come through. Whoever had the
    /// subscription has let go of it by now, so it is served here from now on; `false` when it cannot be.
    fn serve_late(&mut self, id: SubscriptionId, revision: u64, value: &[u8], now: Now) -> bool {
        let Ok(record) = serde_json::from_slice::<Record>(value) else { return false };
        let Some(subscription) = self.adopted(id, record, revision, Phase::Storing, now) else { return false };
        let cover = Cover { cseq: subscription.cseq_reserved, until: subscription.covered_until };
        self.registry.check_in(subscription);
        let was_orphan = self.registry.resolve(id);
        self.step_of(id, |notifier, subscription| {
            if was_orphan {
                return notifier.taken(subscription, revision, cover, now);
            }
            subscription.phase = Phase::Live;
            notifier.metrics.subscription_began();
            notifier.emit_subscription(subscription, SubscriptionChange::Active, None, &Cause::new(), now);
            // Its phone was told 503, and may show what it asked for then.
            notifier.tell_anew(subscription, Duration::ZERO, now);
        });
        true
    }

    fn taken(&mut self, subscription: &mut Subscription, revision: u64, cover: Cover, now: Now) {
        subscription.is_stored(revision, cover);
        self.watermark.stored(now.at);
        subscription.phase = Phase::Live;
        self.metrics.subscription_began();
        self.metrics.take_over_ended(TakeOverOutcome::Taken);
        let cause = Cause::new();
        // The edge that had it cannot say so.
        let edge_id = subscription.taken_from.as_deref().unwrap_or(&self.config.edge_id);
        let moved = Happened { edge_id, what: SubscriptionChange::Terminated, reason: Some(EndReason::Moved), cause: &cause, actor: None };
        let moved = event::of_subscription(&moved, subscription, now);
        self.emit(moved);
        self.emit_subscription(subscription, SubscriptionChange::Active, None, &cause, now);
        self.arm(subscription, now);
        self.tell_taken(subscription, now);
        self.ask_what_was_missed(subscription, now);
        self.next_exchange(subscription, now);
    }
}
