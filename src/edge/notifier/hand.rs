//! What somebody does by hand: phones told the full state again, a subscription ended.

use std::sync::Arc;

use crate::bus::message::{Dismissal, SubscriptionChange};
use crate::edge::notifier::Notifier;
use crate::edge::notifier::io::Order;
use crate::edge::notifier::state::Timer;
use crate::edge::notifier::state::resyncs::{NOT_NOW, PER_TURN, TURN};
use crate::edge::subscription::lane::{Query, Question};
use crate::edge::subscription::{Phase, Subscription, SubscriptionId};
use crate::runtime::clock::Now;

impl Notifier {
    /// Whether what somebody asks by hand can be done here: not while this edge stops, or may have lost its subscriptions.
    #[must_use]
    pub fn takes_orders(&self) -> bool {
        self.availability.may_ask_unasked() && self.availability.is_lease_held()
    }

    /// Whether there is a way to the phone: not where it came over a connection that is gone.
    #[must_use]
    pub(crate) fn is_reachable(&self, subscription: &Subscription) -> bool {
        let is_connected = subscription.flow.connection.is_some() && !self.delivery.is_connection_lost(subscription);
        !subscription.flow.transport.is_reliable() || is_connected
    }

    /// These are told the full state again.
    pub(super) fn on_resync(&mut self, ids: Vec<SubscriptionId>, by: &Arc<Order>, is_first: bool, now: Now) {
        if self.resyncs.want(ids, by, is_first) {
            self.timers.schedule(now.at, Timer::Resync);
        }
    }

    /// The next ones are, if anything can be asked.
    pub(super) fn resync_next(&mut self, now: Now) {
        let is_now = self.takes_orders() && self.requests.is_half_empty();
        for _ in 0..if is_now { PER_TURN } else { 0 } {
            let Some((id, by)) = self.resyncs.next() else { break };
            // It may have ended while it waited.
            self.step(id, |notifier, subscription| notifier.resync(subscription, &by, now));
        }
        if !self.resyncs.is_empty() {
            self.timers.schedule(now.at + if is_now { TURN } else { NOT_NOW }, Timer::Resync);
        }
    }

    /// This edge stops: who waits is stored as not told, and told by whoever has it next.
    pub(super) fn leave_resyncs(&mut self, now: Now) {
        while let Some((id, _)) = self.resyncs.next() {
            self.step(id, |_, subscription| {
                if subscription.phase == Phase::Live {
                    subscription.lane.ask_at(now.at);
                }
            });
        }
    }

    fn resync(&mut self, subscription: &mut Subscription, by: &Order, now: Now) {
        if subscription.phase != Phase::Live {
            return;
        }
        // One that is asked for already tells the same.
        if !subscription.lane.asks_for_full_state() {
            let query = Query { what: Question::FullState, cause: by.cause.clone(), since: now.at, ends: None, is_owed: false };
            subscription.lane.queries.push_back(query);
            self.ask_next(subscription, now);
        }
        self.emit_by(subscription, SubscriptionChange::Resynced, None, by, now);
    }

    /// A subscription is ended.
    pub(super) fn on_dismiss(&mut self, id: SubscriptionId, how: Dismissal, by: &Order, now: Now) {
        self.step(id, |notifier, subscription| {
            if subscription.phase == Phase::Live {
                notifier.dismiss(subscription, how, by, now);
                notifier.pump(subscription, now);
            }
        });
    }
}
