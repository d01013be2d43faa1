//! What the workers are asked for a subscription, and what their answers have phones told.

use std::collections::VecDeque;

use crate::bus::message::{
    ErrorBody, FeatureEvent, FeatureOutcome, GetRequest, GetResponse, Kind, Origin, RouteSetRequest, RouteSetResponse,
};
use crate::bus::trace::{Cause, new_id};
use crate::edge::notifier::tell::Whom;
use crate::edge::notifier::{BusRequest, Event, FanOut, Notifier, Output, Wait};
use crate::edge::subscription::lane::{Retry, Task, Work};
use crate::edge::subscription::outbox::Owed;
use crate::edge::subscription::{Phase, SubscriptionId};
use crate::feature::{FeatureState, Package, Presentity};
use crate::runtime::clock::{self, Now};

impl Notifier {
    /// Asks for the next work of a subscription, unless one is under way.
    pub(in crate::edge::notifier) fn run_works(&mut self, id: SubscriptionId, now: Now) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        if subscription.lane.is_running {
            return;
        }
        let Some(work) = subscription.lane.works.pop_front() else { return self.let_go(id) };
        subscription.lane.is_running = true;
        let presentity = subscription.presentity.as_str().to_owned();
        let cause = work.cause.clone();
        let (request, wait) = match &work.task {
            Task::Everything => (get(presentity, None, subscription.package), Wait::Get(id, work)),
            Task::Confirm { feature, .. } => (get(presentity, Some(vec![feature.clone()]), subscription.package), Wait::Get(id, work)),
            Task::Change(change) => {
                let request = RouteSetRequest {
                    kind: Kind::default(),
                    presentity,
                    feature: change.feature.clone(),
                    status: change.status,
                    values: change.values.clone(),
                    origin: Origin::Phone,
                    param: None,
                    watcher: Some(subscription.watcher.to_string()),
                    command: None,
                    cause: cause.clone(),
                };
                (BusRequest::RouteSet(Box::new(request)), Wait::Set(id, work))
            }
        };
        self.ask(request, wait, cause, now);
    }

    fn worked(&mut self, id: SubscriptionId, now: Now) {
        if let Some(subscription) = self.subscriptions.get_mut(&id) {
            subscription.lane.is_running = false;
            subscription.lane.overtaken = Vec::new();
            if subscription.lane.works.is_empty() {
                // Idle, it keeps no memory.
                subscription.lane.works = VecDeque::new();
            }
        }
        self.pump(id, now);
        self.run_works(id, now);
    }

    /// The states asked for, or none: tells them.
    pub(in crate::edge::notifier) fn on_states(
        &mut self,
        id: SubscriptionId,
        work: &Work,
        answer: Result<GetResponse, ErrorBody>,
        now: Now,
    ) {
        let Some(presentity) = self.subscriptions.get(&id).map(|subscription| subscription.presentity.clone()) else { return };
        match answer {
            Ok(response) => {
                if let Task::Confirm { feature, refused: Some(reason) } = &work.task
                    && let Some(state) = response.features.iter().find(|state| state.feature == *feature)
                {
                    self.emit_refused(&presentity, state, reason, &work.cause, now);
                }
                let changes: Vec<_> = response
                    .features
                    .into_iter()
                    .filter(|state| state.assigned && state.notify)
                    .filter_map(|state| self.change(&presentity, state, &work.cause, work.since, None))
                    .collect();
                self.tell(id, changes, work);
                if let Some(subscription) = self.subscriptions.get_mut(&id).filter(|_| matches!(work.task, Task::Everything)) {
                    subscription.lane.retry = None;
                }
            }
            Err(error) => self.on_states_unavailable(id, work, &error, now),
        }
        self.worked(id, now);
    }

    /// No worker answered: the phone gets an empty NOTIFY now, and the state as soon as there is one.
    fn on_states_unavailable(&mut self, id: SubscriptionId, work: &Work, error: &ErrorBody, now: Now) {
        self.metrics.route_failed(error);
        if work.is_owed {
            self.tell(id, Vec::new(), work);
        }
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        if work.ends.is_none() && matches!(subscription.phase, Phase::Live | Phase::Storing) {
            subscription.lane.retry_later(now.at);
            self.arm(id, now);
        }
    }

    /// The set route's answer to a phone's change.
    pub(in crate::edge::notifier) fn on_route_set(
        &mut self,
        id: SubscriptionId,
        work: Work,
        answer: Result<RouteSetResponse, ErrorBody>,
        now: Now,
    ) {
        let Some(presentity) = self.subscriptions.get(&id).map(|subscription| subscription.presentity.clone()) else { return };
        match answer {
            Ok(response) if response.denied.is_some() || !response.changed => self.on_unchanged(id, &work, response, &presentity, now),
            Ok(response) => self.on_changed(id, &work, response, &presentity, now),
            Err(error) => {
                self.metrics.route_failed(&error);
                if let Task::Change(change) = &work.task {
                    let task = Task::Confirm { feature: change.feature.clone(), refused: Some(error.description) };
                    let confirm = Work { task, ..work };
                    if let Some(subscription) = self.subscriptions.get_mut(&id) {
                        subscription.lane.works.push_front(confirm);
                    }
                }
            }
        }
        self.worked(id, now);
    }

    /// Denied, or nothing changed: only the phone that asked is told, how things really are.
    fn on_unchanged(&mut self, id: SubscriptionId, work: &Work, response: RouteSetResponse, presentity: &Presentity, now: Now) {
        if let Some(why) = &response.denied {
            self.emit_refused(presentity, &response.state, why, &work.cause, now);
        }
        if self.full_state_follows(id) {
            return;
        }
        let shown = (response.state.assigned && response.notify).then_some(response.state);
        let changes = shown.and_then(|state| self.change(presentity, state, &work.cause, work.since, None)).into_iter().collect();
        self.tell(id, changes, work);
    }

    /// It took effect: every watcher is told, here at once, on other edges by jobs.
    fn on_changed(&mut self, id: SubscriptionId, work: &Work, response: RouteSetResponse, presentity: &Presentity, now: Now) {
        let is_assigned = response.state.assigned;
        let events = feature_events(presentity, &response, work, now);
        let notifies = response.notify;
        let states: Vec<FeatureState> = std::iter::once(response.state).chain(response.also).collect();
        let changes = if notifies { self.shown(presentity, &states, &work.cause, work.since, None) } else { Vec::new() };
        if !self.full_state_follows(id) {
            self.tell(id, changes.clone(), work);
        }
        if !notifies {
            for event in events {
                self.output.push_back(Output::Event(Box::new(Event::Feature(presentity.clone(), event))));
            }
            return;
        }
        let local = if changes.is_empty() && !is_assigned {
            self.tell_watchers_empty(presentity, &states, &owed(work), Whom::AllBut(Some(id)), now)
        } else {
            self.tell_watchers(presentity, &states, &changes, Whom::AllBut(Some(id)), now)
        };
        let events = events.into_iter().map(|event| FeatureEvent { watchers: local, ..event }).collect();
        let fan_out = FanOut { presentity: presentity.clone(), states, assigned: is_assigned, cause: work.cause.clone(), events };
        self.output.push_back(Output::FanOut(Box::new(fan_out)));
    }

    /// Whether the full state follows anyway, so that a NOTIFY about one feature now would only be one more.
    fn full_state_follows(&self, id: SubscriptionId) -> bool {
        let works = self.subscriptions.get(&id).map(|subscription| &subscription.lane.works);
        works.is_some_and(|works| works.iter().any(|work| matches!(work.task, Task::Everything)))
    }

    fn emit_refused(&mut self, presentity: &Presentity, state: &FeatureState, reason: &str, cause: &Cause, now: Now) {
        let event = feature_event(presentity, state, state, FeatureOutcome::Refused, Some(reason.to_owned()), cause, now);
        self.output.push_back(Output::Event(Box::new(Event::Feature(presentity.clone(), FeatureEvent { watchers: 1, ..event }))));
    }

    /// The workers' answer takes long: the phone has the NOTIFY that it is owed now, empty, and the state when it is known.
    pub(in crate::edge::notifier) fn on_late_answer(&mut self, token: u64, now: Now) {
        let Some(Wait::Get(id, work) | Wait::Set(id, work)) = self.waits.get_mut(&token) else { return };
        // The last NOTIFY says what it can, and waits for that.
        if work.ends.is_some() || !std::mem::replace(&mut work.is_owed, false) {
            return;
        }
        let (id, owed) = (*id, owed(work));
        let Some(subscription) = self.subscriptions.get_mut(&id).filter(|subscription| subscription.phase != Phase::Over) else { return };
        let is_ending = subscription.lane.works.iter().any(|work| work.ends.is_some());
        if is_ending {
            return;
        }
        // One NOTIFY for all that it has asked.
        for work in &mut subscription.lane.works {
            work.is_owed = false;
        }
        let replaced = subscription.outbox.owe_empty(owed);
        self.settle_jobs(replaced.and_then(|owed| owed.job), true);
        self.pump(id, now);
    }

    /// Asks for the full state again that no worker gave.
    pub(in crate::edge::notifier) fn retry_full_state(&mut self, id: SubscriptionId, retry: Retry, now: Now) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        if !self.is_bus_up || self.drains_since.is_some() {
            subscription.lane.retry = Some(Retry { at: now.at + retry.after, ..retry });
            return;
        }
        // Only one is under way: its answer clears or renews the retry.
        subscription.lane.retry = Some(Retry { at: now.at + retry.after + self.config.route_timeout, is_owed: false, ..retry });
        let work = Work { task: Task::Everything, cause: Cause::new(), since: now.at, ends: None, is_owed: retry.is_owed };
        subscription.lane.works.push_back(work);
        self.run_works(id, now);
    }
}

/// One event for the feature asked for, then one for each that changed along with it.
fn feature_events(presentity: &Presentity, response: &RouteSetResponse, work: &Work, now: Now) -> Vec<FeatureEvent> {
    let applied =
        |old: &FeatureState, new: &FeatureState| feature_event(presentity, old, new, FeatureOutcome::Applied, None, &work.cause, now);
    let also = response.also.iter().zip(&response.also_previous).map(|(new, old)| applied(old, new));
    std::iter::once(applied(&response.previous, &response.state)).chain(also).collect()
}

fn get(presentity: String, features: Option<Vec<String>>, package: &'static Package) -> BusRequest {
    BusRequest::Get(GetRequest { kind: Kind::default(), presentity, features, package: Some(package.name.to_owned()) })
}

fn owed(work: &Work) -> Owed {
    Owed { cause: work.cause.clone(), since: work.since, job: None }
}

fn feature_event(
    presentity: &Presentity,
    old: &FeatureState,
    new: &FeatureState,
    outcome: FeatureOutcome,
    reason: Option<String>,
    cause: &Cause,
    now: Now,
) -> FeatureEvent {
    FeatureEvent {
        kind: Kind::default(),
        id: new_id(),
        time: clock::rfc3339(now.utc),
        cause: cause.clone(),
        presentity: presentity.as_str().to_owned(),
        feature: new.feature.clone(),
        old: old.clone(),
        new: new.clone(),
        version: new.version,
        origin: Origin::Phone,
        outcome,
        reason,
        watchers: 0,
    }
}
