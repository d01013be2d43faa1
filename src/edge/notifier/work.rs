//! What the workers are asked for a subscription, and what their answers have phones told.

use std::sync::Arc;
use std::time::Instant;

use super::{BusRequest, Event, FanOut, Notifier, Now, Output, Wait};
use crate::bus::message::{
    ErrorBody, FeatureEvent, FeatureOutcome, GetRequest, GetResponse, Kind, Origin, RouteSetRequest, RouteSetResponse,
};
use crate::bus::trace::{Cause, new_id};
use crate::edge::exchange::{Retry, Task, Work};
use crate::edge::outbox::{Change, Ending, JobKey, Owed};
use crate::edge::subscription::SubscriptionId;
use crate::feature::{FeatureState, Presentity, csta_write};
use crate::runtime::clock;

impl Notifier {
    /// Asks for the next work of a subscription, unless one is under way.
    pub(super) fn run_works(&mut self, id: SubscriptionId, now: Now) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        if subscription.lane.is_running {
            return;
        }
        let Some(work) = subscription.lane.works.pop_front() else { return };
        subscription.lane.is_running = true;
        let presentity = subscription.presentity.as_str().to_owned();
        let cause = work.cause.clone();
        let (request, wait) = match &work.task {
            Task::Everything => (get(presentity, None), Wait::Get(id, work)),
            Task::Confirm { feature, .. } => (get(presentity, Some(vec![feature.clone()])), Wait::Get(id, work)),
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
        }
        self.pump(id, now);
        self.run_works(id, now);
    }

    /// The states asked for, or none: tells them.
    pub(super) fn on_states(&mut self, id: SubscriptionId, work: &Work, answer: Result<GetResponse, ErrorBody>, now: Now) {
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
                if let Some(subscription) = self.subscriptions.get_mut(&id) {
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
        self.tell(id, Vec::new(), work);
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        if work.ends.is_none() {
            subscription.lane.retry_later(now.at);
            self.arm(id, now);
        }
    }

    /// Puts states into the outbox; none is an empty NOTIFY, for one is owed.
    fn tell(&mut self, id: SubscriptionId, changes: Vec<Arc<Change>>, work: &Work) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let mut replaced = Vec::new();
        if changes.is_empty() {
            replaced.extend(subscription.outbox.owe_empty(owed(work, None)).and_then(|owed| owed.job));
        }
        for change in changes {
            replaced.extend(subscription.outbox.queue(change).and_then(|change| change.job));
        }
        if let Some(ending) = work.ends {
            subscription.outbox.end(ending);
        }
        self.settle_jobs(replaced, true);
    }

    /// The set route's answer to a phone's change.
    pub(super) fn on_route_set(&mut self, id: SubscriptionId, work: Work, answer: Result<RouteSetResponse, ErrorBody>, now: Now) {
        let Some(presentity) = self.subscriptions.get(&id).map(|subscription| subscription.presentity.clone()) else { return };
        match answer {
            Ok(response) if response.denied.is_some() || !response.changed => self.on_unchanged(id, &work, response, &presentity, now),
            Ok(response) => self.on_changed(id, &work, response, &presentity, now),
            Err(error) => {
                self.metrics.route_failed(&error);
                if let Task::Change(change) = work.task {
                    let task = Task::Confirm { feature: change.feature.clone(), refused: Some(error.description) };
                    let confirm = Work { task, cause: work.cause, since: work.since, ends: None };
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
        let states: Vec<FeatureState> = std::iter::once(response.state).chain(response.also).collect();
        let skip = self.full_state_follows(id).then_some(id);
        if !response.notify {
            if skip.is_none() {
                self.tell(id, Vec::new(), work);
            }
            for event in events {
                self.output.push_back(Output::Event(Box::new(Event::Feature(presentity.clone(), event))));
            }
            return;
        }
        let local = if is_assigned {
            let shown = states.iter().filter(|state| state.assigned).cloned();
            let changes: Vec<_> = shown.filter_map(|state| self.change(presentity, state, &work.cause, work.since, None)).collect();
            self.tell_watchers(presentity, &changes, skip, now)
        } else {
            self.tell_watchers_empty(presentity, &owed(work, None), skip, now)
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

    /// Queues states for every watcher of a presentity here that does not know them; gives the number of watchers.
    pub(super) fn tell_watchers(
        &mut self,
        presentity: &Presentity,
        changes: &[Arc<Change>],
        skip: Option<SubscriptionId>,
        now: Now,
    ) -> u64 {
        let ids = self.watchers.get(presentity).cloned().unwrap_or_default();
        for id in ids.iter().filter(|id| Some(**id) != skip) {
            for change in changes {
                self.queue_unless_known(*id, change);
            }
            self.pump(*id, now);
        }
        u64::try_from(ids.len()).unwrap_or(u64::MAX)
    }

    /// A watcher that has a version, or is being told it, is not sent it again: no echo, no second NOTIFY for a job that came twice.
    fn queue_unless_known(&mut self, id: SubscriptionId, change: &Arc<Change>) {
        let feature = feature_index(&self.table, &change.state.feature);
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        if subscription.knows(feature, change.state.version) || subscription.is_being_told(&change.state) {
            return;
        }
        let replaced = subscription.outbox.queue(Arc::clone(change)).and_then(|change| change.job);
        self.job_waits(change.job);
        self.settle_jobs(replaced, true);
    }

    /// Owes every watcher here a NOTIFY with an empty body.
    pub(super) fn tell_watchers_empty(&mut self, presentity: &Presentity, owed: &Owed, skip: Option<SubscriptionId>, now: Now) -> u64 {
        let ids = self.watchers.get(presentity).cloned().unwrap_or_default();
        for id in ids.iter().filter(|id| Some(**id) != skip) {
            self.job_waits(owed.job);
            let replaced = self.subscriptions.get_mut(id).and_then(|subscription| subscription.outbox.owe_empty(owed.clone()));
            self.settle_jobs(replaced.and_then(|owed| owed.job), true);
            self.pump(*id, now);
        }
        u64::try_from(ids.len()).unwrap_or(u64::MAX)
    }

    /// A state with its document; `None` for a feature that this edge does not have in its table.
    pub(super) fn change(
        &mut self,
        presentity: &Presentity,
        state: FeatureState,
        cause: &Cause,
        since: Instant,
        job: Option<JobKey>,
    ) -> Option<Arc<Change>> {
        let mut document = Vec::with_capacity(512);
        if csta_write::write_event(&self.table, presentity.user(), &state, &mut document).is_err() {
            self.metrics.unknown_feature();
            return None;
        }
        Some(Arc::new(Change { state, document: document.into(), cause: cause.clone(), since, job }))
    }

    fn emit_refused(&mut self, presentity: &Presentity, state: &FeatureState, reason: &str, cause: &Cause, now: Now) {
        let event = feature_event(presentity, state, state, FeatureOutcome::Refused, Some(reason.to_owned()), cause, now);
        self.output.push_back(Output::Event(Box::new(Event::Feature(presentity.clone(), FeatureEvent { watchers: 1, ..event }))));
    }

    /// Asks for the full state again that no worker gave.
    pub(super) fn retry_full_state(&mut self, id: SubscriptionId, retry: Retry, now: Now) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        if !self.is_bus_up || self.drains_since.is_some() {
            subscription.lane.retry = Some(Retry { at: now.at + retry.after, ..retry });
            return;
        }
        // Only one is under way: its answer clears or renews the retry.
        subscription.lane.retry = Some(Retry { at: now.at + retry.after + self.config.route_timeout, ..retry });
        subscription.lane.works.push_back(Work { task: Task::Everything, cause: Cause::new(), since: now.at, ends: None });
        self.run_works(id, now);
    }

    /// Ends a subscription with an empty NOTIFY, without asking anybody.
    pub(super) fn end_with_empty_notify(&mut self, id: SubscriptionId, cause: Cause, now: Now) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let replaced = subscription.outbox.owe_empty(Owed { cause, since: now.at, job: None });
        subscription.outbox.end(Ending::AtOnce);
        self.settle_jobs(replaced.and_then(|owed| owed.job), true);
        self.pump(id, now);
    }
}

/// One event for the feature asked for, then one for each that changed along with it.
fn feature_events(presentity: &Presentity, response: &RouteSetResponse, work: &Work, now: Now) -> Vec<FeatureEvent> {
    let applied =
        |old: &FeatureState, new: &FeatureState| feature_event(presentity, old, new, FeatureOutcome::Applied, None, &work.cause, now);
    let also = response.also.iter().zip(&response.also_previous).map(|(new, old)| applied(old, new));
    std::iter::once(applied(&response.previous, &response.state)).chain(also).collect()
}

fn get(presentity: String, features: Option<Vec<String>>) -> BusRequest {
    BusRequest::Get(GetRequest { kind: Kind::default(), presentity, features })
}

fn owed(work: &Work, job: Option<JobKey>) -> Owed {
    Owed { cause: work.cause.clone(), since: work.since, job }
}

/// Place of a feature in the table, for the versions that a phone has confirmed.
pub(super) fn feature_index(table: &crate::feature::table::FeatureTable, feature: &str) -> u8 {
    table.names().position(|name| name == feature).and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
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
