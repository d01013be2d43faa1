//! What the bucket says of our subscriptions: those of before a restart, those that come here, those that went elsewhere.

use super::exchange::StoreOutcome;
use super::{BusRequest, Notifier, Now, Unavailable, Wait};
use crate::bus::message::EndReason;
use crate::bus::trace::Cause;
use crate::edge::auth;
use crate::edge::exchange::Exchange;
use crate::edge::record::Record;
use crate::edge::subscribe::Refusal;
use crate::edge::subscription::{Phase, SubscriptionId};
use crate::feature::Presentity;
use crate::sip::flow::Transport;

impl Notifier {
    /// Takes up a subscription that this edge held before it was restarted. `true` when it was one.
    pub fn restore(&mut self, key: &str, revision: u64, value: &[u8], now: Now) -> bool {
        let Ok(id) = key.parse::<SubscriptionId>() else { return false };
        let Ok(record) = serde_json::from_slice::<Record>(value) else { return false };
        *record.edge_id == *self.config.edge_id && !self.subscriptions.contains_key(&id) && {
            let is_taken = self.adopt(id, record, revision, Phase::Live, now);
            if is_taken {
                self.metrics.subscription_began();
                self.arm(id, now);
            }
            is_taken
        }
    }

    /// Makes a record a subscription here.
    fn adopt(&mut self, id: SubscriptionId, record: Record, revision: u64, phase: Phase, now: Now) -> bool {
        let listener = Transport::parse(&record.transport).and_then(|transport| self.config.listener_of(transport));
        let Some(mut subscription) = record.restore(id, revision, listener.unwrap_or_default(), now.at, now.utc) else { return false };
        subscription.phase = phase;
        subscription.quirks = self.config.profiles.of(&subscription.user_agent);
        self.watchers.entry(subscription.presentity.clone()).or_default().push(id);
        self.subscriptions.insert(id, Box::new(subscription));
        true
    }

    /// A key of the bucket changed: another edge may have taken a subscription over, or a store that we had given up on
    /// may have come through after all.
    pub(super) fn on_change(&mut self, key: &str, revision: u64, value: Option<&[u8]>, now: Now) {
        let Ok(id) = key.parse::<SubscriptionId>() else { return };
        let owner = value.map(|value| serde_json::from_slice::<Owner<'_>>(value).map(|owner| owner.edge_id == &*self.config.edge_id));
        match (self.subscriptions.get_mut(&id), owner) {
            (Some(subscription), Some(Ok(true))) => subscription.revision = subscription.revision.max(revision),
            (Some(subscription), Some(Ok(false))) if subscription.phase == Phase::Live && revision > subscription.revision => {
                self.end(id, EndReason::Moved, &Cause::new(), now);
            }
            // A record in our name that we do not hold: nobody would ever serve it.
            (None, Some(Ok(true))) => self.ask(BusRequest::Remove { id, expected_revision: revision }, Wait::Remove, Cause::new(), now),
            _ => {}
        }
    }

    /// The record of a dialog that is not held here, or whose key had another revision than expected.
    pub(super) fn on_looked_up(
        &mut self,
        id: SubscriptionId,
        exchange: Box<Exchange>,
        record: Result<Option<(Record, u64)>, Unavailable>,
        now: Now,
    ) {
        let refusal = match record {
            Ok(Some((record, revision))) => return self.on_found(id, exchange, record, revision, now),
            // A refresh of a subscription that we hold, but whose record is gone: it is stored anew.
            Ok(None) if exchange.retried && self.subscriptions.contains_key(&id) => return self.store_again(id, exchange, 0, now),
            Ok(None) => Refusal::no_subscription(),
            Err(why) => {
                self.metrics.store_failed(why.as_str());
                Refusal::unavailable()
            }
        };
        let flow = exchange.subscribe.flow;
        self.refuse(&exchange.request, exchange.transaction, flow, &refusal, exchange.arrived_at, now);
        self.next_exchange(id, now);
    }

    fn on_found(&mut self, id: SubscriptionId, exchange: Box<Exchange>, record: Record, revision: u64, now: Now) {
        let is_same_dialog =
            exchange.request.call_id() == &*record.call_id && exchange.request.from().tag().unwrap_or_default() == &*record.remote_tag;
        let is_held = self.subscriptions.contains_key(&id);
        let is_theirs =
            Presentity::parse(&record.presentity).is_ok_and(|presentity| exchange.identity.may_use_dialog_of(&record.watcher, &presentity));
        let refusal = match (is_same_dialog, is_held) {
            (true, true) if exchange.retried => return self.store_again(id, exchange, revision, now),
            (true, _) if !exchange.retried && !is_theirs => self.forbidden(auth::FOREIGN_DIALOG),
            (true, _) if !exchange.retried && exchange.request.cseq() <= record.remote_cseq => Refusal::cseq_too_low(),
            // Taken over from another edge, or from our own past: ours once it is stored in our name. Another SUBSCRIBE of
            // the dialog may have done so meanwhile.
            (true, _) if !exchange.retried && (is_held || self.adopt(id, record, revision, Phase::Storing, now)) => {
                if let Some(subscription) = self.subscriptions.get_mut(&id) {
                    subscription.dialog.remote_cseq = subscription.dialog.remote_cseq.max(exchange.request.cseq());
                }
                return self.take_in_dialog(id, *exchange, now);
            }
            // Another dialog; or its subscription ended while it was looked up.
            _ => Refusal::no_subscription(),
        };
        let flow = exchange.subscribe.flow;
        self.refuse(&exchange.request, exchange.transaction, flow, &refusal, exchange.arrived_at, now);
    }

    fn store_again(&mut self, id: SubscriptionId, exchange: Box<Exchange>, revision: u64, now: Now) {
        if let Some(subscription) = self.subscriptions.get_mut(&id) {
            subscription.revision = revision;
        }
        self.store(id, exchange, now);
    }

    pub(super) fn on_reserved(&mut self, id: SubscriptionId, outcome: StoreOutcome) {
        match (self.subscriptions.get_mut(&id), outcome) {
            (Some(subscription), StoreOutcome::Stored(revision)) => subscription.revision = subscription.revision.max(revision),
            (_, StoreOutcome::Unavailable(why)) => self.metrics.store_failed(why.as_str()),
            _ => {}
        }
    }
}

/// What a change is checked for: whose record it is.
#[derive(serde::Deserialize)]
struct Owner<'a> {
    #[serde(borrow)]
    edge_id: &'a str,
}
