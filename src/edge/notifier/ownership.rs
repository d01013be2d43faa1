//! What the bucket says of our subscriptions: those of before a restart, those that come here, those that went elsewhere.

use std::sync::Arc;

use crate::bus::message::EndReason;
use crate::bus::trace::Cause;
use crate::edge::gate::policy;
use crate::edge::notifier::exchange::StoreOutcome;
use crate::edge::notifier::reply::Found;
use crate::edge::notifier::{Notifier, Unavailable};
use crate::edge::refusal::Refusal;
use crate::edge::subscription::lane::{Exchange, Storing};
use crate::edge::subscription::record::Record;
use crate::edge::subscription::{Phase, Seen, Subscription, SubscriptionId};
use crate::feature::{Presentity, package};
use crate::runtime::clock::{self, Now};

/// What a SUBSCRIBE is to its subscription, once the bucket has said what it knows.
enum Decision {
    /// It is stored, in our name.
    Store,
    /// It is refused.
    Refuse(Refusal),
    /// It is refused, and the subscription is another edge's.
    LetGo(Refusal),
}

impl Notifier {
    /// Takes up a subscription that this edge held before it was restarted. `true` when it was one.
    pub fn restore(&mut self, key: &str, revision: u64, value: &[u8], now: Now) -> bool {
        let Ok(id) = key.parse::<SubscriptionId>() else { return false };
        let Ok(record) = serde_json::from_slice::<Record>(value) else { return false };
        if *record.edge_id != *self.config.edge_id || self.subscriptions.contains_key(&id) {
            return false;
        }
        self.was_told_until = self.was_told_until.max(record.told_until.as_deref().and_then(clock::parse_rfc3339));
        let is_taken = self.adopt(id, record, revision, Phase::Live, now);
        if let Some(subscription) = self.subscriptions.get_mut(&id).filter(|_| is_taken) {
            subscription.is_restored = true;
            self.metrics.subscription_began();
            self.arm(id, now);
        }
        is_taken
    }

    /// Makes a record a subscription here.
    pub(in crate::edge::notifier) fn adopt(&mut self, id: SubscriptionId, record: Record, revision: u64, phase: Phase, now: Now) -> bool {
        let Some(mut subscription) = record.restore(id, revision, &self.config, now.at, now.utc) else { return false };
        subscription.phase = phase;
        self.watchers.entry(subscription.presentity.clone()).or_default().push(id);
        self.subscriptions.insert(id, Box::new(subscription));
        true
    }

    /// A key of the bucket changed: another edge may have taken a subscription over, or a store that we had given up on
    /// may have come through after all.
    pub(in crate::edge::notifier) fn on_change(&mut self, key: &str, revision: u64, value: Option<&[u8]>, now: Now) {
        let Ok(id) = key.parse::<SubscriptionId>() else { return };
        // A key that is gone says nothing: it was us, its time was over, or all of the bucket is lost and is stored anew.
        let Some(value) = value else { return };
        let Ok(owner) = serde_json::from_slice::<Owner<'_>>(value) else { return };
        let is_ours = owner.edge_id == &*self.config.edge_id;
        let is_taken_from_us = !is_ours && owner.taken_from.as_deref() == Some(&*self.config.edge_id);
        let Some(subscription) = self.subscriptions.get_mut(&id) else {
            // A record in our name of a subscription that is not here: nobody would ever serve it.
            if is_ours && !self.take_unsure(id, revision, value, now) {
                self.remove_key(id, revision, now);
            }
            if !is_ours {
                self.unsure.remove(&id);
            }
            return;
        };
        if revision <= subscription.revision {
            return;
        }
        match subscription.phase {
            // The store that is under way will say whose it is.
            Phase::Live | Phase::Storing if subscription.lane.is_storing() => subscription.seen = Some(Seen { revision, is_ours }),
            Phase::Live if is_ours => subscription.revision = revision,
            Phase::Live if is_taken_from_us => self.lose(id, now),
            Phase::Live => self.end(id, EndReason::Moved, &Cause::new(), now),
            Phase::Ending | Phase::Over if is_ours => self.remove_key(id, revision, now),
            Phase::Storing | Phase::Ending | Phase::Over => {}
        }
    }

    /// Compares all that is held with what the bucket says, after changes were lost: lets go of what is another edge's.
    pub fn compare(&mut self, holder: impl Fn(SubscriptionId) -> Option<(u64, Arc<str>)>, now: Now) {
        let ids: Vec<SubscriptionId> = self.subscriptions.keys().copied().collect();
        for id in ids {
            let Some((revision, edge_id)) = holder(id) else { continue };
            let value = serde_json::json!({ "edge_id": &*edge_id }).to_string();
            if *edge_id != *self.config.edge_id {
                self.on_change(&id.to_string(), revision, Some(value.as_bytes()), now);
            }
        }
    }

    /// The key was read for this SUBSCRIBE: its dialog is not held here, or its store met another revision.
    pub(in crate::edge::notifier) fn on_looked_up(
        &mut self,
        id: SubscriptionId,
        exchange: Box<Exchange>,
        found: Result<Found, Unavailable>,
        now: Now,
    ) {
        if let Err(why) = &found {
            self.metrics.store_failed(why.as_str());
        }
        if exchange.retried {
            return self.on_conflict_read(id, exchange, found, now);
        }
        let refusal = match found {
            Ok(Found::Record(record, revision)) => match self.take_over(id, &exchange, *record, revision, now) {
                Ok(()) => return self.take_in_dialog(id, *exchange, now),
                Err(refusal) => refusal,
            },
            Ok(Found::Gone(_)) => Refusal::no_subscription(),
            Err(_) => Refusal::unavailable(),
        };
        self.refuse_exchange(&exchange, &refusal, now);
    }

    /// Has the subscription of a record here, so that a SUBSCRIBE in its dialog can be stored in our name.
    fn take_over(&mut self, id: SubscriptionId, exchange: &Exchange, record: Record, revision: u64, now: Now) -> Result<(), Refusal> {
        if !is_dialog_of(exchange, &record) {
            return Err(Refusal::no_subscription());
        }
        let presentity = Presentity::parse(&record.presentity).map_err(|_| Refusal::no_subscription())?;
        if !exchange.identity.may_use_dialog_of(&record.watcher, &presentity) {
            return Err(self.forbidden(policy::FOREIGN_DIALOG));
        }
        let cseq = exchange.request.cseq();
        // Another SUBSCRIBE of the dialog may have brought it here meanwhile.
        let held = self.subscriptions.get(&id).map(|subscription| (subscription.phase, subscription.dialog.remote_cseq));
        match held {
            Some((Phase::Ending, _)) => return Err(Refusal::no_subscription()),
            Some((Phase::Over, _)) => return Err(Refusal::unavailable()),
            Some((_, remote_cseq)) if cseq <= remote_cseq => return Err(Refusal::cseq_too_low()),
            Some(_) => {}
            None if cseq <= record.remote_cseq => return Err(Refusal::cseq_too_low()),
            None if self.refuses_new() || self.subscriptions.len() >= self.config.max_subscriptions => return Err(Refusal::unavailable()),
            None if self.adopt(id, record, revision, Phase::Storing, now) => {}
            None => return Err(Refusal::no_subscription()),
        }
        if let Some(subscription) = self.subscriptions.get_mut(&id) {
            subscription.dialog.remote_cseq = cseq;
        }
        Ok(())
    }

    /// The key had another revision than expected: a late write of ours, another edge, or it is gone.
    fn on_conflict_read(&mut self, id: SubscriptionId, exchange: Box<Exchange>, found: Result<Found, Unavailable>, now: Now) {
        let edge_id = &*self.config.edge_id;
        let held = self.subscriptions.get_mut(&id).filter(|subscription| matches!(subscription.lane.storing, Storing::LookedUp));
        let Some(subscription) = held else { return self.refuse_exchange(&exchange, &Refusal::no_subscription(), now) };
        subscription.lane.storing = Storing::Nothing;
        match found.map_or_else(|_| Decision::Refuse(Refusal::unavailable()), |found| decide(subscription, &exchange, found, edge_id)) {
            Decision::Store => self.store(id, exchange, now),
            Decision::Refuse(refusal) => {
                self.not_stored(id, &exchange, &refusal, now);
                self.next_exchange(id, now);
            }
            Decision::LetGo(refusal) => {
                self.refuse_exchange(&exchange, &refusal, now);
                self.end(id, EndReason::Moved, &exchange.cause, now);
            }
        }
    }

    pub(in crate::edge::notifier) fn on_reserved(&mut self, id: SubscriptionId, cseq_reserved: u32, outcome: StoreOutcome) {
        match (self.subscriptions.get_mut(&id), outcome) {
            (Some(subscription), StoreOutcome::Stored(revision)) => subscription.is_stored(revision, cseq_reserved),
            (_, StoreOutcome::Unavailable(why)) => self.metrics.store_failed(why.as_str()),
            _ => {}
        }
    }
}

/// Who has the subscription now that its key had another revision, and what becomes of the SUBSCRIBE.
fn decide(subscription: &mut Subscription, exchange: &Exchange, found: Found, edge_id: &str) -> Decision {
    match found {
        // The bucket has lost it, but the phone and we have not: it is stored anew.
        Found::Gone(revision) if subscription.phase == Phase::Live => subscription.revision = revision,
        // It ended elsewhere while it was taken over.
        Found::Gone(_) => return Decision::Refuse(Refusal::no_subscription()),
        Found::Record(record, _) if !is_dialog_of(exchange, &record) => return Decision::LetGo(Refusal::no_subscription()),
        Found::Record(record, _) if *record.edge_id != *edge_id && record.remote_cseq > exchange.request.cseq() => {
            return Decision::LetGo(Refusal::cseq_too_low());
        }
        Found::Record(record, revision) => {
            if *record.edge_id != *edge_id {
                subscription.continue_after(record.local_cseq);
            }
            subscription.revision = revision;
        }
    }
    Decision::Store
}

fn is_dialog_of(exchange: &Exchange, record: &Record) -> bool {
    exchange.request.call_id() == &*record.call_id
        && exchange.request.from().tag().unwrap_or_default() == &*record.remote_tag
        && package::find(&record.package) == Some(exchange.subscribe.package)
}

/// What a change is checked for: whose record it is.
#[derive(serde::Deserialize)]
struct Owner<'a> {
    #[serde(borrow)]
    edge_id: &'a str,
    #[serde(borrow, default)]
    taken_from: Option<std::borrow::Cow<'a, str>>,
}
