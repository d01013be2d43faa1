//! What every step is made of: a subscription in hand, and the ways to say what is to be done.

use crate::bus::message::RefusedReason;
use crate::bus::refusals::Refused;
use crate::bus::trace::Cause;
use crate::edge::event::{self, Event, RefusedRequest};
use crate::edge::gate::RESPONSE_START;
use crate::edge::metrics::About;
use crate::edge::metrics::about::is_told;
use crate::edge::notifier::Notifier;
use crate::edge::notifier::io::{BusRequest, Output};
use crate::edge::notifier::state::bus_requests::Wait;
use crate::edge::refusal::Refusal;
use crate::edge::subscription::lane::Arrival;
use crate::edge::subscription::outbox::JobKey;
use crate::edge::subscription::{Subscription, SubscriptionId};
use crate::feature::Presentity;
use crate::runtime::clock::Now;
use crate::sip::flow::Flow;
use crate::sip::message::{self, Message};

impl Notifier {
    /// One step of a subscription that may have ended; `None`: it has.
    pub(super) fn step<R>(&mut self, id: SubscriptionId, step: impl FnOnce(&mut Self, &mut Subscription) -> R) -> Option<R> {
        let mut subscription = self.registry.check_out(id)?;
        let done = step(self, &mut subscription);
        self.unanswered.note(id, subscription.lane.retry.is_some());
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
        self.note_answered(arrival, refusal.status);
        let Some(reason) = refusal.reason else { return };
        let Arrival { request, flow, cause, .. } = arrival;
        let (message, detail) = (request.message(), refusal.warning.as_deref());
        self.note_refused(&RefusedRequest { message, flow: *flow, cause, status: refusal.status, reason, detail }, now);
    }

    /// Whoever records spans hears of a request that has its final response.
    pub(super) fn note_answered(&mut self, arrival: &Arrival, status: u16) {
        if arrival.cause.is_recorded() {
            self.output.push_back(Output::Answered(arrival.cause.clone(), arrival.at, status));
        }
    }

    /// A request was refused: its event is published now, or held back.
    pub(super) fn note_refused(&mut self, request: &RefusedRequest<'_>, now: Now) {
        if is_told() {
            let presentity = request.presentity(self.config.presentity_from);
            let about = About {
                presentity: presentity.as_ref().map_or("", Presentity::as_str),
                watcher: &request.watcher().unwrap_or_default(),
                source: request.flow.peer,
                call_id: request.call_id().unwrap_or_default(),
            };
            let method = request.method().unwrap_or_default();
            self.metrics.request_refused(about, method, request.status, request.reason.as_str(), request.detail);
        }
        let source = Refused::Source(request.flow.peer.ip().to_canonical());
        let event = || event::of_refused_request(&self.config, request, now.utc);
        if let Some(event) = self.refusals.note(source, request.reason, now.at, event) {
            self.emit(Event::Refused(event));
        }
    }

    /// What could be read only in part is refused, if it has all that a response echoes.
    pub(super) fn refuse_malformed(&mut self, message: &Message, why: &str, status: u16, flow: Flow, now: Now) {
        let Some(answer) = self.responses.refuse_malformed(message, why, status, flow) else { return };
        self.output.push_back(answer);
        let cause = Cause::new();
        let reason = RefusedReason::Malformed;
        self.note_refused(&RefusedRequest { message, flow, cause: &cause, status, reason, detail: Some(why) }, now);
    }

    /// A source sends too much: of what came of it, only what an event tells is read.
    pub(super) fn note_rate_limited(&mut self, flow: Flow, bytes: &[u8], now: Now) {
        if bytes.starts_with(RESPONSE_START) {
            return;
        }
        let event = || {
            let message = message::parse(bytes);
            let message = message.as_ref().ok().or_else(|| message.as_ref().err().and_then(message::ParseError::answerable));
            let cause = Cause::new();
            event::of_rate_limited(&self.config, message, flow, &cause, now.utc)
        };
        let source = Refused::Source(flow.peer.ip().to_canonical());
        if let Some(event) = self.refusals.note(source, RefusedReason::RateLimited, now.at, event) {
            self.emit(Event::Refused(event));
        }
    }

    pub(super) fn settle(&mut self, jobs: impl IntoIterator<Item = JobKey>, is_told: bool) {
        self.jobs.settle(jobs, is_told, &mut self.output);
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.output.push_back(Output::Event(Box::new(event)));
    }
}
