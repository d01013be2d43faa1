//! What every step is made of: a subscription in hand, and the ways to say what is to be done.

use crate::bus::trace::Cause;
use crate::edge::event::Event;
use crate::edge::notifier::Notifier;
use crate::edge::notifier::io::{BusRequest, Output};
use crate::edge::notifier::state::bus_requests::Wait;
use crate::edge::refusal::Refusal;
use crate::edge::subscription::lane::Arrival;
use crate::edge::subscription::outbox::JobKey;
use crate::edge::subscription::{Subscription, SubscriptionId};
use crate::runtime::clock::Now;

impl Notifier {
    /// One step of a subscription that may have ended; `None`: it has.
    pub(super) fn step<R>(&mut self, id: SubscriptionId, step: impl FnOnce(&mut Self, &mut Subscription) -> R) -> Option<R> {
        let mut subscription = self.registry.check_out(id)?;
        let done = step(self, &mut subscription);
        self.registry.check_in(subscription);
        Some(done)
    }

    /// One step of a subscription that is here: whoever names it knows so. That it is not is a fault of ours, and counted.
    pub(super) fn step_of(&mut self, id: SubscriptionId, step: impl FnOnce(&mut Self, &mut Subscription)) {
        if self.step(id, step).is_none() {
            debug_assert!(false, "{id} is not here, or in the hand of another step");
            self.metrics.subscription_missing();
        }
    }

    /// Whether nothing new may be started: draining, the bus away, or queues full.
    pub(super) fn refuses_new(&self) -> bool {
        self.availability.refuses_new() || self.requests.is_full()
    }

    pub(super) fn ask(&mut self, request: BusRequest, wait: Wait, cause: Cause, now: Now) {
        let output = self.requests.ask(request, wait, cause, now.at, &mut self.timers);
        self.output.push_back(output);
    }

    pub(super) fn refuse(&mut self, arrival: &Arrival, refusal: &Refusal, now: Now) {
        self.output.push_back(self.responses.refuse(arrival, refusal, now));
    }

    pub(super) fn settle(&mut self, jobs: impl IntoIterator<Item = JobKey>, is_told: bool) {
        self.jobs.settle(jobs, is_told, &mut self.output);
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.output.push_back(Output::Event(Box::new(event)));
    }
}
