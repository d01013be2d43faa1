//! Subscriptions of an edge that is silent: taken over by compare-and-set, so that of those who try one has it.
//!
//! ```text
//! orphan ─▶ store in our name ─(acknowledged)─▶ live here: events moved and active, CSeq goes on above all that was reserved
//!                  ├──(another was first)─▶ nothing
//!                  └──(no answer)─▶ nothing yet: the bucket will say whose it is
//! ```

use super::exchange::StoreOutcome;
use super::{BusRequest, Notifier, Orphan, Wait};
use crate::bus::message::{EndReason, SubscriptionChange};
use crate::bus::trace::Cause;
use crate::edge::metrics::TakeOverOutcome;
use crate::edge::refusal::Refusal;
use crate::edge::subscription::lane::Storing;
use crate::edge::subscription::record::Record;
use crate::edge::subscription::{Phase, Seen, SubscriptionId};
use crate::runtime::clock::Now;
use crate::sip::flow::Transport;

impl Notifier {
    pub(super) fn on_orphan(&mut self, orphan: Orphan, now: Now) {
        let Orphan { id, record, revision, told_until } = orphan;
        if self.subscriptions.contains_key(&id) {
            return;
        }
        if self.config.listener_of(Transport::Udp, record.listener, record.peer).is_none() {
            return self.metrics.take_over_ended(TakeOverOutcome::NoListener);
        }
        if self.refuses_new() || !self.is_lease_held || self.subscriptions.len() >= self.config.max_subscriptions {
            return self.metrics.take_over_ended(TakeOverOutcome::Full);
        }
        self.unsure.remove(&id);
        let from = record.edge_id.clone();
        if !self.adopt(id, record, revision, Phase::Storing, now) {
            return self.metrics.take_over_ended(TakeOverOutcome::Failed);
        }
        let (grace, ours_told_until) = (self.config.grace(), self.told_until(now));
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        subscription.taken_from = Some(from);
        subscription.is_untold |= told_until.is_some_and(|told_until| subscription.asked_at >= told_until);
        subscription.lane.storing = Storing::TakenOver;
        let record = Box::new(Record::of(subscription, &self.config, now.at, now.utc).told_until(ours_told_until));
        let (ttl, cseq_reserved) = (subscription.record_ttl(now.at, grace), record.local_cseq);
        let store = BusRequest::Store { id, record, ttl, expected_revision: revision };
        self.ask(store, Wait::TakeOver(id, cseq_reserved), Cause::new(), now);
    }

    pub(super) fn on_taken_over(&mut self, id: SubscriptionId, cseq_reserved: u32, outcome: StoreOutcome, now: Now) {
        let held = self.subscriptions.get_mut(&id).filter(|subscription| matches!(subscription.lane.storing, Storing::TakenOver));
        let Some(subscription) = held else { return };
        subscription.lane.storing = Storing::Nothing;
        let (outcome, revision) = match (outcome, subscription.seen.take()) {
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
                    self.unsure.insert(id);
                }
                (TakeOverOutcome::Failed, 0)
            }
        };
        if outcome == TakeOverOutcome::Taken {
            return self.taken(id, revision, cseq_reserved, now);
        }
        self.metrics.take_over_ended(outcome);
        self.refuse_waiting(id, &Refusal::unavailable(), now);
        self.forget(id);
    }

    /// A record in our name whose store we had not heard of. `true` when it is served here from now on.
    pub(super) fn take_unsure(&mut self, id: SubscriptionId, revision: u64, value: &[u8], now: Now) -> bool {
        if !self.unsure.remove(&id) {
            return false;
        }
        let Ok(record) = serde_json::from_slice::<Record>(value) else { return false };
        let cseq_reserved = record.local_cseq;
        let is_taken = self.adopt(id, record, revision, Phase::Storing, now);
        if is_taken {
            self.taken(id, revision, cseq_reserved, now);
        }
        is_taken
    }

    fn taken(&mut self, id: SubscriptionId, revision: u64, cseq_reserved: u32, now: Now) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        subscription.is_stored(revision, cseq_reserved);
        subscription.phase = Phase::Live;
        let from = subscription.taken_from.clone();
        self.metrics.subscription_began();
        self.metrics.take_over_ended(TakeOverOutcome::Taken);
        let cause = Cause::new();
        // The edge that had it cannot say so.
        self.emit_subscription_of(from.as_deref(), id, SubscriptionChange::Terminated, Some(EndReason::Moved), &cause, now);
        self.emit_subscription(id, SubscriptionChange::Active, None, &cause, now);
        self.arm(id, now);
        self.tell_what_silence_kept(id, now);
        self.next_exchange(id, now);
    }

    /// It was taken over while we were silent, and whoever did so has said so: nothing more is said or sent.
    pub(super) fn lose(&mut self, id: SubscriptionId, now: Now) {
        self.metrics.subscription_lost();
        self.uncount(id);
        self.refuse_waiting(id, &Refusal::unavailable(), now);
        self.move_jobs(id);
        self.forget(id);
    }
}
