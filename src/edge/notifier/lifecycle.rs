//! How a subscription ends: by its expiry, by what a NOTIFY was answered, by another edge that takes it over.

use crate::bus::message::{EndReason, Kind, SubscriptionChange, SubscriptionEvent};
use crate::bus::trace::{Cause, new_id};
use crate::edge::notifier::{Event, Notifier, Output};
use crate::edge::refusal::Refusal;
use crate::edge::subscription::lane::{Lane, Task};
use crate::edge::subscription::outbox::{Ending, Owed};
use crate::edge::subscription::{Phase, SubscriptionId};
use crate::runtime::clock::{self, Now};

impl Notifier {
    /// Its grace is over: it ends with an empty NOTIFY, or with what the phone was still to be told.
    pub(in crate::edge::notifier) fn expire(&mut self, id: SubscriptionId, now: Now) {
        let cause = Cause::new();
        self.remove_record(id, &cause, now);
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        subscription.phase = Phase::Ending;
        subscription.lane.retry = None;
        subscription.outbox.unpark();
        let replaced = subscription.outbox.owe_empty(Owed { cause: cause.clone(), since: now.at, job: None });
        subscription.outbox.end(Ending::AtOnce);
        self.settle_jobs(replaced.and_then(|owed| owed.job), true);
        self.uncount(id);
        self.emit_subscription(id, SubscriptionChange::Terminated, Some(EndReason::Timeout), &cause, now);
        self.pump(id, now);
    }

    /// Ends a subscription without another NOTIFY.
    pub(in crate::edge::notifier) fn end(&mut self, id: SubscriptionId, reason: EndReason, cause: &Cause, now: Now) {
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        if subscription.phase == Phase::Live {
            if reason != EndReason::Moved {
                self.remove_record(id, cause, now);
            }
            self.uncount(id);
            self.emit_subscription(id, SubscriptionChange::Terminated, Some(reason), cause, now);
        }
        // Where it has gone, another try finds it.
        let refusal = if reason == EndReason::Moved { Refusal::unavailable() } else { Refusal::no_subscription() };
        self.refuse_waiting(id, &refusal, now);
        if reason == EndReason::Moved {
            self.move_jobs(id);
        }
        self.forget(id);
    }

    pub(in crate::edge::notifier) fn remove_record(&mut self, id: SubscriptionId, cause: &Cause, now: Now) {
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        let expected_revision = subscription.newest_revision();
        let until = now.at + subscription.record_ttl(now.at, self.config.grace());
        self.remove(id, expected_revision, until, cause.clone(), now);
    }

    /// A live subscription stops being a watcher, here and in the metrics.
    pub(in crate::edge::notifier) fn uncount(&mut self, id: SubscriptionId) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        self.metrics.subscription_ended(std::mem::take(&mut subscription.counted_in_grace));
        self.unwatch(id);
    }

    pub(in crate::edge::notifier) fn unwatch(&mut self, id: SubscriptionId) {
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        if let Some(ids) = self.watchers.get_mut(&subscription.presentity) {
            ids.retain(|watcher| *watcher != id);
            if ids.is_empty() {
                self.watchers.remove(&subscription.presentity);
            }
        }
    }

    /// Nothing more is sent to a subscription. What its phone has a 200 for is still carried out; then it is gone.
    pub(in crate::edge::notifier) fn forget(&mut self, id: SubscriptionId) {
        self.unwatch(id);
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        subscription.phase = Phase::Over;
        subscription.lane.retry = None;
        subscription.lane.works.retain(|work| matches!(work.task, Task::Change(_) | Task::Confirm { refused: Some(_), .. }));
        let untold: Vec<_> = subscription.outbox.drain().collect();
        let branch = subscription.in_flight.as_ref().map(|in_flight| in_flight.branch.clone());
        if let Some(in_flight) = self.landed(id) {
            let _user = branch.and_then(|branch| self.client.cancel(&branch));
            self.settle_jobs(in_flight.parcel.jobs(), false);
        }
        self.settle_jobs(untold, false);
        self.let_go(id);
    }

    /// Lets go of a subscription that is over, once nothing of it is left to do.
    pub(in crate::edge::notifier) fn let_go(&mut self, id: SubscriptionId) {
        let is_done = |lane: &Lane| !lane.is_running && lane.works.is_empty();
        if self.subscriptions.get(&id).is_some_and(|subscription| subscription.phase == Phase::Over && is_done(&subscription.lane)) {
            self.subscriptions.remove(&id);
        }
    }

    pub(in crate::edge::notifier) fn emit_subscription(
        &mut self,
        id: SubscriptionId,
        what: SubscriptionChange,
        reason: Option<EndReason>,
        cause: &Cause,
        now: Now,
    ) {
        self.emit_subscription_of(None, id, what, reason, cause, now);
    }

    /// As [`emit_subscription`](Self::emit_subscription), in the name of another edge.
    pub(in crate::edge::notifier) fn emit_subscription_of(
        &mut self,
        edge_id: Option<&str>,
        id: SubscriptionId,
        what: SubscriptionChange,
        reason: Option<EndReason>,
        cause: &Cause,
        now: Now,
    ) {
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        let event = SubscriptionEvent {
            kind: Kind::default(),
            id: new_id(),
            time: clock::rfc3339(now.utc),
            cause: cause.clone(),
            edge_id: edge_id.unwrap_or(&self.config.edge_id).to_owned(),
            subscription: id.to_string(),
            presentity: subscription.presentity.as_str().to_owned(),
            package: subscription.package.name.to_owned(),
            watcher: subscription.watcher.to_string(),
            what,
            reason,
            expires_at: clock::rfc3339(subscription.expires_at_utc(now.at, now.utc)),
            user_agent: subscription.user_agent.to_string(),
            transport: subscription.flow.transport.as_str().to_owned(),
            call_id: subscription.dialog.call_id.to_string(),
        };
        self.output.push_back(Output::Event(Box::new(Event::Subscription(subscription.presentity.clone(), event))));
    }
}
