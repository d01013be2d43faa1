//! What the workers are asked for a subscription, and what their answers have phones told.

use std::time::Duration;

use crate::bus::message::{Asked, ErrorBody, GetRequest, GetResponse, Kind, Origin, RouteSetRequest, RouteSetResponse};
use crate::bus::trace::{Cause, new_id};
use crate::edge::event::{self, Event, Press};
use crate::edge::notifier::Notifier;
use crate::edge::notifier::io::{BusRequest, FanOut, Output, Token};
use crate::edge::notifier::state::bus_requests::Wait;
use crate::edge::notifier::tell::Whom;
use crate::edge::subscription::lane::{Query, Question, Refused, Retry};
use crate::edge::subscription::{Phase, Subscription};
use crate::feature::{FeatureChange, FeatureState, FeatureTable, Values};
use crate::runtime::clock::{self, Now};

/// How long what was missed waits for a bus that is away.
const MISSED_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Notifier {
    /// Asks the workers the next query of a subscription, unless one is under way.
    pub(super) fn ask_next(&mut self, subscription: &mut Subscription, now: Now) {
        let Some(query) = subscription.lane.next_query() else { return };
        let presentity = subscription.presentity.as_str().to_owned();
        let (id, cause) = (subscription.id, query.cause.clone());
        let (request, wait) = match &query.what {
            Question::FullState | Question::Missed => (get(presentity, None, subscription), Wait::Get(id, query)),
            Question::Confirm { feature, .. } => (get(presentity, Some(vec![feature.clone()]), subscription), Wait::Get(id, query)),
            Question::Change(change) => {
                let request = RouteSetRequest {
                    kind: Kind::default(),
                    presentity,
                    feature: change.feature.clone(),
                    status: change.status,
                    values: change.values.clone(),
                    origin: Origin::Phone,
                    param: None,
                    watcher: Some(subscription.watcher.to_string()),
                    actor: Some(subscription.watcher.to_string()),
                    request: Some(new_id()),
                    subscription: Some(id.to_string()),
                    not_after: Some(clock::rfc3339(now.utc + self.config.route_timeout)),
                    command: None,
                    place: None,
                    until: None,
                    if_version: None,
                    cause: cause.clone(),
                };
                (BusRequest::RouteSet(Box::new(request)), Wait::Set(id, query))
            }
        };
        self.ask(request, wait, cause, now);
    }

    fn query_done(&mut self, subscription: &mut Subscription, now: Now) {
        subscription.lane.query_done();
        self.pump(subscription, now);
        self.ask_next(subscription, now);
    }

    /// The states asked for, or none: tells them.
    pub(super) fn on_states(&mut self, subscription: &mut Subscription, query: &Query, answer: Result<GetResponse, ErrorBody>, now: Now) {
        let is_answered = answer.is_ok();
        match answer {
            Ok(response) => {
                if let Question::Confirm { feature, refused: Some(refused) } = &query.what
                    && let Some(state) = response.features.iter().find(|state| state.feature == *feature)
                {
                    self.metrics.change_ended(subscription.about(), feature, "refused", Some(&refused.reason));
                    let press = self.press(subscription, query, Some(&refused.asked));
                    self.emit(event::of_refused(press, state, (&refused.reason, None), now));
                }
                let is_full = matches!(query.what, Question::FullState);
                if is_full || query.what.is_whole() && subscription.lane.retry.is_some_and(|retry| retry.is_missed) {
                    subscription.lane.retry = None;
                }
                let shown = response.features.into_iter().filter(|state| state.assigned && state.notify);
                let updates =
                    shown.filter_map(|state| self.update(&subscription.presentity, state, &query.cause, query.since, None)).collect();
                self.tell(subscription, updates, query);
            }
            Err(error) => self.on_states_unavailable(subscription, query, &error, now),
        }
        self.query_done(subscription, now);
        // After a failure it is asked for again in its time.
        if is_answered {
            self.ask_what_was_missed(subscription, now);
            self.unanswered.note(subscription.id, false);
            self.wake_unanswered(now);
        }
    }

    /// A worker answers: whoever waits to ask again asks now, two for each answer.
    fn wake_unanswered(&mut self, now: Now) {
        for id in [self.unanswered.wake(), self.unanswered.wake()].into_iter().flatten() {
            self.step(id, |notifier, subscription| {
                let is_asking = !subscription.lane.has_no_query();
                if let Some(retry) = subscription.lane.retry.as_mut().filter(|_| !is_asking) {
                    retry.at = now.at;
                    notifier.arm(subscription, now);
                }
            });
        }
    }

    /// No worker answered: the phone gets an empty NOTIFY now, and the state as soon as there is one.
    fn on_states_unavailable(&mut self, subscription: &mut Subscription, query: &Query, error: &ErrorBody, now: Now) {
        self.metrics.route_failed(error);
        if query.is_owed {
            self.tell(subscription, Vec::new(), query);
        }
        if query.what.is_whole() {
            subscription.lane.sync.failed();
        }
        if query.ends.is_none() && subscription.phase.is_watching() {
            subscription.lane.retry_later(now.at, self.unanswered.longest_pause(), matches!(query.what, Question::Missed));
            self.arm(subscription, now);
        }
    }

    /// The set route's answer to a phone's change.
    pub(super) fn on_route_set(
        &mut self,
        subscription: &mut Subscription,
        query: Query,
        answer: Result<RouteSetResponse, ErrorBody>,
        now: Now,
    ) {
        match answer {
            Ok(response) if response.denied.is_some() || !response.changed => self.on_unchanged(subscription, &query, response, now),
            Ok(response) => self.on_changed(subscription, &query, response, now),
            Err(error) => {
                self.metrics.route_failed(&error);
                if let Question::Change(change) = &query.what {
                    let refused = Refused { reason: error.description, asked: asked_by(&self.table, change) };
                    let what = Question::Confirm { feature: change.feature.clone(), refused: Some(Box::new(refused)) };
                    subscription.lane.queries.push_front(Query { what, ..query });
                }
            }
        }
        self.query_done(subscription, now);
    }

    /// Denied, or nothing changed: only the phone that asked is told, how things really are.
    fn on_unchanged(&mut self, subscription: &mut Subscription, query: &Query, response: RouteSetResponse, now: Now) {
        let outcome = if response.denied.is_some() { "refused" } else { "unchanged" };
        self.metrics.change_ended(subscription.about(), &response.state.feature, outcome, response.denied.as_deref());
        if let Some(why) = &response.denied {
            let asked = query.what.change().map(|change| asked_by(&self.table, change));
            let press = self.press(subscription, query, asked.as_ref());
            self.emit(event::of_refused(press, &response.state, (why, response.work.clone()), now));
        }
        if subscription.lane.asks_for_full_state() {
            return;
        }
        let shown = (response.state.assigned && response.notify).then_some(response.state);
        let update = shown.and_then(|state| self.update(&subscription.presentity, state, &query.cause, query.since, None));
        self.tell(subscription, update.into_iter().collect(), query);
    }

    /// It took effect: every watcher is told, here at once, elsewhere by jobs.
    ///
    /// Where the duty to tell them is stored with the change (`logged`), a job comes here too: whoever has the version is not
    /// told again. An empty NOTIFY has no version, so that is left to the job.
    fn on_changed(&mut self, subscription: &mut Subscription, query: &Query, response: RouteSetResponse, now: Now) {
        self.metrics.change_ended(subscription.about(), &response.state.feature, "applied", None);
        let presentity = subscription.presentity.clone();
        let (assigned, notifies, logged) = (response.state.assigned, response.notify, response.logged);
        let asked = query.what.change().map(|change| asked_by(&self.table, change));
        let events = event::of_change(self.press(subscription, query, asked.as_ref()), &response, now);
        let states: Vec<FeatureState> = std::iter::once(response.state).chain(response.also).collect();
        let updates = if notifies { self.shown(&presentity, &states, &query.cause, query.since, None) } else { Vec::new() };
        if !subscription.lane.asks_for_full_state() {
            self.tell(subscription, updates.clone(), query);
        }
        if !notifies {
            return events.into_iter().for_each(|event| self.emit(Event::Feature(presentity.clone(), event)));
        }
        let others = Whom::AllBut(Some(subscription.id));
        let local = if updates.is_empty() && !assigned && !logged {
            self.tell_watchers_empty(&presentity, &states, &query.owed(), others, now)
        } else {
            self.tell_watchers(&presentity, &states, &updates, others, now)
        };
        let events = events.into_iter().map(|event| event.notified(local)).collect();
        let fan_out = FanOut { presentity, states, assigned, logged, cause: query.cause.clone(), events };
        self.output.push_back(Output::FanOut(Box::new(fan_out)));
    }

    fn press<'a>(&'a self, subscription: &'a Subscription, query: &'a Query, asked: Option<&'a Asked>) -> Press<'a> {
        Press { subscription, asked, cause: &query.cause, edge_id: &self.config.edge_id, since: query.since }
    }

    /// The workers' answer takes long: the phone has the NOTIFY that it is owed now, empty, and the state when it is known.
    pub(super) fn on_late_answer(&mut self, token: Token, now: Now) {
        let Some((id, owed)) = self.requests.take_owed(token) else { return };
        self.step_of(id, |notifier, subscription| {
            let is_ending = subscription.lane.queries.iter().any(|query| query.ends.is_some());
            if subscription.phase == Phase::Over || is_ending {
                return;
            }
            // One NOTIFY for all that it has asked.
            for query in &mut subscription.lane.queries {
                query.is_owed = false;
            }
            let replaced = subscription.outbox.owe_empty(owed);
            notifier.settle(replaced.and_then(|owed| owed.job), true);
            notifier.pump(subscription, now);
        });
    }

    /// Asks for the full state, to tell what a phone has missed.
    pub(super) fn ask_missed(&mut self, subscription: &mut Subscription, now: Now) {
        if !self.availability.is_bus_up() || self.availability.is_draining() {
            subscription.lane.missed_at = Some(now.at + MISSED_AGAIN_AFTER);
            return;
        }
        subscription.lane.missed_at = None;
        let query = Query { what: Question::Missed, cause: Cause::new(), since: now.at, ends: None, is_owed: false };
        subscription.lane.queries.push_back(query);
        self.ask_next(subscription, now);
    }

    /// Asks for the full state again that no worker gave.
    pub(super) fn retry_full_state(&mut self, subscription: &mut Subscription, retry: Retry, now: Now) {
        if !self.availability.is_bus_up() || self.availability.is_draining() {
            let after = retry.after.min(self.unanswered.longest_pause());
            subscription.lane.retry = Some(Retry { at: now.at + after, after, ..retry });
            return;
        }
        // Only one is under way: its answer clears or renews the retry.
        subscription.lane.retry = Some(Retry { at: now.at + retry.after + self.config.route_timeout, is_owed: false, ..retry });
        let what = if retry.is_missed { Question::Missed } else { Question::FullState };
        let query = Query { what, cause: Cause::new(), since: now.at, ends: None, is_owed: retry.is_owed };
        subscription.lane.queries.push_back(query);
        self.ask_next(subscription, now);
    }
}

/// What a phone asked for, as the event tells it.
fn asked_by(table: &FeatureTable, change: &FeatureChange) -> Asked {
    let values = change.values.clone();
    Asked { status: change.status, values: table.find(&change.feature).map_or_else(Values::new, |spec| spec.lasting(values)) }
}

fn get(presentity: String, features: Option<Vec<String>>, subscription: &Subscription) -> BusRequest {
    let package = Some(subscription.package.name.to_owned());
    // What the phone has of another edge is not known here to compare with.
    let strict = !subscription.lane.sync.is_known();
    let subscription = Some(subscription.id.to_string());
    BusRequest::Get(GetRequest { kind: Kind::default(), presentity, features, package, subscription, strict })
}
