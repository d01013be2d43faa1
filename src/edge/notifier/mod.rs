//! The notifier of RFC 6665 as one pure machine: packets, bus replies, jobs and time in; packets, bus requests and events out.
//!
//! ```text
//!  packet ─▶ intake ─▶ ownership ─▶ exchange ─▶ route ─▶ tell ─▶ notify ─▶ reach ─▶ lifecycle ─▶ step       each calls only what stands
//!            (admit)   (ours?)      (store,200) (workers) (outbox) (Timer F) (names) (record, end)          to the right of it
//!  state: registry, delivery, names, bus_requests, responses, job_table, watermark, removals, resyncs, availability      gate: who is let in
//! ```
//! It has no socket, task or clock. The driver (`edge::io::driver`) owns it and carries out its [`Output`]s.
//!
//! An input becomes a step of one subscription, or of several one after another. A step looks its subscription up once, has it
//! in hand and passes it on; the registry takes it back.

mod decision;
mod exchange;
mod hand;
mod intake;
mod io;
mod lifecycle;
mod notify;
mod ownership;
mod reach;
mod route;
mod state;
mod step;
mod tell;
#[cfg(test)]
pub(super) mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::bus::refusals::Refusals;
use crate::bus::trace::Cause;
use crate::edge::config::EdgeConfig;
use crate::edge::event::Event;
use crate::edge::gate::Gate;
use crate::edge::metrics::{Direction, EdgeMetrics};
use crate::edge::notifier::io::read_from;
use crate::edge::notifier::state::availability::Availability;
use crate::edge::notifier::state::bus_requests::{BusRequests, StoreOutcome, Wait, read_record, store_outcome};
use crate::edge::notifier::state::delivery::{Delivery, Due};
use crate::edge::notifier::state::job_table::JobTable;
use crate::edge::notifier::state::names::Names;
use crate::edge::notifier::state::registry::Registry;
use crate::edge::notifier::state::removals::{self, Removals};
use crate::edge::notifier::state::responses::Responses;
use crate::edge::notifier::state::resyncs::Resyncs;
use crate::edge::notifier::state::unanswered::Unanswered;
use crate::edge::notifier::state::watermark::Watermark;
use crate::edge::notifier::state::{Timer, Timers};
use crate::edge::subscription::{Phase, Subscription, SubscriptionId};
use crate::feature::Presentity;
use crate::feature::table::FeatureTable;
use crate::runtime::clock::Now;

pub use io::{BusReply, BusRequest, FanOut, Input, JobHandle, NotifyId, Order, Orphan, Output, ReplyMessage, Token, Unavailable, Unsent};

/// How often a lost lease is checked.
const LEASE_TURN: Duration = Duration::from_secs(1);

/// See the module.
pub struct Notifier {
    config: Arc<EdgeConfig>,
    table: Arc<FeatureTable>,
    metrics: Arc<EdgeMetrics>,
    timers: Timers,
    output: VecDeque<Output>,
    gate: Gate,
    responses: Responses,
    registry: Registry,
    requests: BusRequests,
    delivery: Delivery,
    names: Names,
    jobs: JobTable,
    watermark: Watermark,
    unanswered: Unanswered,
    removals: Removals,
    resyncs: Resyncs,
    availability: Availability,
    refusals: Refusals,
}

impl Notifier {
    /// A notifier without subscriptions.
    #[must_use]
    pub fn new(config: Arc<EdgeConfig>, table: Arc<FeatureTable>, metrics: Arc<EdgeMetrics>, now: Now) -> Self {
        Self {
            timers: Timers::new(now.at),
            output: VecDeque::new(),
            gate: Gate::new(config.auth.clone(), config.rate_limit.clone(), Arc::clone(&metrics), now.at),
            responses: Responses::new(Arc::clone(&config), Arc::clone(&metrics), now.at),
            registry: Registry::default(),
            requests: BusRequests::new(Arc::clone(&config)),
            delivery: Delivery::new(Arc::clone(&config), Arc::clone(&metrics), now.at),
            names: Names::new(Arc::clone(&config), Arc::clone(&metrics)),
            jobs: JobTable::new(Arc::clone(&metrics)),
            watermark: Watermark::new(now.at),
            unanswered: Unanswered::default(),
            removals: Removals::default(),
            resyncs: Resyncs::default(),
            availability: Availability::new(config.drain_patience),
            refusals: Refusals::new(),
            config,
            table,
            metrics,
        }
    }

    /// Takes one input; its consequences are then in [`Notifier::poll_output`].
    pub fn handle(&mut self, input: Input<'_>, now: Now) {
        match input {
            Input::Packet { flow, bytes } => self.on_packet(flow, bytes, now),
            Input::Opened(connection) => self.delivery.open(connection),
            Input::Closed(connection) => self.on_closed(connection, now),
            Input::Undeliverable { notify, why } => self.on_undeliverable(notify, why, now),
            Input::Located { host, found } => self.on_located(&host, found, now),
            Input::Reply { token, reply } => self.on_reply(token, reply, now),
            Input::Job { job, handle, age } => self.on_job(&job, handle, age, now),
            Input::Change { key, revision, value: Some(value), .. } => self.on_change(key, revision, value, now),
            Input::Change { key, revision, value: None, removed_over } => self.on_gone(key, revision, removed_over, now),
            Input::Record { key, revision, value } => self.on_record(key, revision, value, now),
            Input::Restored => self.restored(now),
            Input::Holder { id, revision, edge_id } => self.on_holder(id, revision, edge_id, now),
            Input::Unrecorded { id } => self.on_unrecorded_by(id, u64::MAX, now),
            Input::Missed { presentities } => self.on_missed(presentities, now),
            Input::Pressed { ids } => self.on_pressed(&ids, now),
            Input::Resync { ids, by, is_first } => self.on_resync(ids, &by, is_first, now),
            Input::Dismiss { id, how, by } => self.on_dismiss(id, how, &by, now),
            Input::Orphan(orphan) => self.on_orphan(*orphan, now),
            Input::Users(users) => self.gate.use_file(users),
            Input::Lease { is_held } => self.availability.set_lease(is_held),
            Input::Bus { is_up } => self.availability.set_bus(is_up),
            Input::Overload { is_overloaded } => self.availability.set_overloaded(is_overloaded),
            Input::Timeout => self.on_timeout(now),
            Input::Drain => {
                self.availability.drain(now.at);
                self.leave_resyncs(now);
            }
            Input::PutDown => self.put_down(now),
        }
    }

    /// The next thing to do, until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// When [`Input::Timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let notifies = self.delivery.poll_timeout().filter(|_| self.availability.is_lease_held());
        [self.timers.next_at(), notifies, self.responses.poll_timeout(), self.refusals.poll_timeout()].into_iter().flatten().min()
    }

    /// Live subscriptions, for `dfks.watchers`.
    pub fn live(&self) -> impl Iterator<Item = &Subscription> {
        self.registry.live()
    }

    /// A live subscription by its id.
    #[must_use]
    pub fn live_by_id(&self, id: SubscriptionId) -> Option<&Subscription> {
        self.registry.get(id).filter(|subscription| subscription.phase == Phase::Live)
    }

    /// The live subscriptions of one presentity.
    pub fn live_of(&self, presentity: &Presentity) -> impl Iterator<Item = &Subscription> {
        self.registry.watchers_of(presentity).filter(|subscription| subscription.phase == Phase::Live)
    }

    /// All that are held here, whatever their phase, to look up whose they are: see [`Input::Holder`].
    #[must_use]
    pub fn held(&self) -> Vec<SubscriptionId> {
        self.registry.iter().map(|subscription| subscription.id).collect()
    }

    /// What was asked of this edge before its restart was told up to this time; `None`: nothing was restored.
    #[must_use]
    pub const fn told_before_restart(&self) -> Option<SystemTime> {
        self.watermark.before_restart()
    }

    /// Requests to the bus whose answers are waited for.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.requests.len()
    }

    /// Whether what phones were not told is stored, and nothing is waited for: see [`Input::PutDown`].
    #[must_use]
    pub fn is_put_down(&self) -> bool {
        self.watermark.is_put_down() && self.requests.is_empty()
    }

    fn on_timeout(&mut self, now: Now) {
        self.responses.handle_timeout(now.at);
        self.requests.shrink();
        while let Some(event) = self.refusals.poll(now.at) {
            self.emit(Event::Refused(event));
        }
        if self.availability.is_lease_held() {
            self.client_timeout(now);
        }
        let mut due = Vec::new();
        self.timers.pop_due(now.at, |timer| due.push(timer));
        for timer in due {
            match timer {
                // What ends here may be served elsewhere.
                Timer::Subscription(id) if !self.availability.is_lease_held() => {
                    self.timers.schedule(now.at + LEASE_TURN, Timer::Subscription(id));
                }
                Timer::Subscription(id) => self.subscription_timeout(id, now),
                Timer::Patience(token) => self.on_late_answer(Token(token), now),
                Timer::Removal(id) => self.retry_removal(id, now),
                Timer::Watermark => self.poll_watermark(now),
                Timer::Resync => self.resync_next(now),
                Timer::Wait(token) if self.requests.is_waiting(Token(token)) => {
                    self.on_reply(Token(token), BusReply::Unavailable(Unavailable::Timeout), now);
                }
                Timer::Wait(_) => {}
            }
        }
    }

    /// Timers E and F of the NOTIFYs.
    fn client_timeout(&mut self, now: Now) {
        self.delivery.handle_timeout(now.at);
        while let Some(due) = self.delivery.poll_due() {
            match due {
                Due::Again(id, packet) => self.step_of(id, |notifier, subscription| {
                    if notifier.recall_due(subscription, now) {
                        return notifier.pump(subscription, now);
                    }
                    notifier.metrics.retransmitted(Direction::Out);
                    let to = notifier.delivery.same_way_of(subscription);
                    notifier.output.extend(to.map(|to| Output::Send { to, packet, notify: None }));
                }),
                Due::TimedOut(id) => self.step_of(id, |notifier, subscription| notifier.on_notify_timeout(subscription, now)),
            }
        }
    }

    /// A subscription's timer: what is due of expiry, grace, a NOTIFY put off, a full state owed.
    fn subscription_timeout(&mut self, id: SubscriptionId, now: Now) {
        // It may have ended: timers are not cancelled.
        self.step(id, |notifier, subscription| {
            if !subscription.alarm.fire(now.at) {
                return;
            }
            if subscription.phase == Phase::Live && !subscription.lane.is_storing() {
                if now.at >= subscription.expires_at && !std::mem::replace(&mut subscription.counted_in_grace, true) {
                    notifier.metrics.grace_entered();
                }
                if now.at >= subscription.ends_at(notifier.config.grace()) {
                    notifier.expire(subscription, now);
                    return notifier.pump(subscription, now);
                }
            }
            if let Some(retry) = subscription.lane.retry.filter(|retry| retry.at <= now.at) {
                notifier.retry_full_state(subscription, retry, now);
            }
            if subscription.lane.missed_at.is_some_and(|at| at <= now.at) {
                notifier.ask_missed(subscription, now);
            }
            subscription.lane.reserve_again_at = subscription.lane.reserve_again_at.filter(|at| *at > now.at);
            notifier.recall_due(subscription, now);
            notifier.detour_due(subscription, now);
            notifier.pump(subscription, now);
            notifier.arm(subscription, now);
        });
    }

    fn on_reply(&mut self, token: Token, reply: BusReply, now: Now) {
        // A reply that comes after its time was given up already.
        let Some(wait) = self.requests.end(token, now.at) else { return self.metrics.late_reply() };
        let (wait, message) = match wait {
            // One that waits for the workers is let go of only after their answer.
            Wait::Get(id, query) => {
                let answer = reply.into_states();
                return self.step_of(id, |notifier, subscription| notifier.on_states(subscription, &query, answer, now));
            }
            Wait::Set(id, query) => {
                let answer = reply.into_set();
                return self.step_of(id, |notifier, subscription| notifier.on_route_set(subscription, query, answer, now));
            }
            wait => (wait, reply.into_result()),
        };
        match wait {
            Wait::Store(id, cover, _) => {
                let outcome = store_outcome(message);
                // It may have ended while it was stored; its SUBSCRIBE was refused then.
                self.step(id, |notifier, subscription| notifier.on_stored(subscription, cover, outcome, now));
            }
            Wait::TakeOver(id, cover) => {
                let outcome = store_outcome(message);
                self.step_of(id, |notifier, subscription| notifier.on_taken_over(subscription, cover, outcome, now));
            }
            Wait::Reserve(id, cover) => {
                let outcome = store_outcome(message);
                // It may have ended while it was stored.
                self.step(id, |notifier, subscription| notifier.on_reserved(subscription, cover, outcome, now));
            }
            Wait::Holder(id) => {
                let found = message.and_then(|message| read_record(&message));
                self.step(id, |notifier, subscription| notifier.on_holder_read(subscription, found, now));
            }
            Wait::Lookup(id, exchange) => {
                let found = message.and_then(|message| read_record(&message));
                self.on_looked_up(id, exchange, found, now);
            }
            Wait::Auth(unproven) => self.on_account(*unproven, read_from("responder", message), now),
            Wait::Remove(id, revision) => self.on_removed(id, revision, store_outcome(message), now),
            Wait::Get(..) | Wait::Set(..) => {}
        }
    }

    fn on_removed(&mut self, id: SubscriptionId, revision: u64, outcome: StoreOutcome, now: Now) {
        let next = self.removals.answered(id, revision, outcome, now.at);
        if let (removals::Next::Again(_) | removals::Next::Done, StoreOutcome::Unavailable(why)) = (next, outcome) {
            self.metrics.store_failed(why.as_str());
        }
        match next {
            removals::Next::Again(at) => self.timers.schedule(at, Timer::Removal(id)),
            removals::Next::Superseded => {}
            removals::Next::Done => {
                self.step(id, |notifier, subscription| match subscription.phase {
                    // Another edge may have it, and its numbers.
                    Phase::Ending if outcome == StoreOutcome::Conflict && !subscription.has_cseq() => notifier.close(subscription),
                    Phase::Ending if outcome != StoreOutcome::Conflict => notifier.on_unrecorded(subscription, now),
                    _ => {}
                });
            }
        }
    }

    fn retry_removal(&mut self, id: SubscriptionId, now: Now) {
        let Some((expected_revision, until)) = self.removals.under_way(id) else { return };
        if !self.availability.is_bus_up() || !self.requests.is_half_empty() {
            return self.timers.schedule(now.at + removals::FIRST_AGAIN_AFTER, Timer::Removal(id));
        }
        self.ask_removal(id, expected_revision, until, Cause::new(), now);
    }

    /// Time to check whether every request has been told.
    fn poll_watermark(&mut self, now: Now) {
        let told = self.watermark.poll(&self.registry, now, &mut self.timers);
        if let Some(id) = told.filter(|_| self.availability.may_ask_unasked()) {
            self.step_of(id, |notifier, subscription| notifier.reserve(subscription, now));
        }
    }

    /// Once nothing is waited for any more: stores what phones were not told, and that the others were.
    fn put_down(&mut self, now: Now) {
        let is_quiet = self.delivery.in_flight() == 0 && self.removals.is_empty();
        if !self.requests.is_empty() || !(is_quiet || self.availability.is_patience_over(now.at)) {
            return;
        }
        let put_down = self.watermark.put_down(&self.registry);
        for (id, is_untold) in put_down.untold.into_iter().map(|id| (id, true)).chain(put_down.told.map(|id| (id, false))) {
            self.step_of(id, |notifier, subscription| {
                subscription.is_untold = is_untold;
                notifier.store_again(subscription, now.utc, now);
            });
        }
    }
}
