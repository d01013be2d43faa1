//! Asks the responders of a presentity's features. I/O.
//!
//! A responder that is slow holds up the requests for its own tenant and feature only: each is asked at the same time as
//! the others, for [`RoutesConfig::responder_timeout_ms`] at most, and only so many may wait for one subject. One that fails
//! again and again is not asked at all for a while ([`breaker`](crate::worker::responder::breaker)).

pub(crate) mod answer;
pub(crate) mod breaker;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::bus::message::{Kind, Origin, ResponderGetRequest, ResponderSetRequest};
use crate::bus::subject::Pattern;
use crate::bus::trace::Cause;
use crate::bus::{Bus, RequestError};
use crate::config::{Responders as Mode, RoutesConfig};
use crate::feature::{FeatureSpec, FeatureState, FeatureTable, Presentity};
use crate::runtime::clock;
use crate::worker::metrics::WorkerMetrics;
use crate::worker::metrics::breaker::BreakerMetrics;
use crate::worker::metrics::feature::FeatureMetrics;
use crate::worker::metrics::label::{AnswerOutcome, DropReason};
use crate::worker::recent::Recent;
use crate::worker::responder::answer::{Answer, AnswerError};
use crate::worker::responder::breaker::{Breakers, Input};
use crate::worker::route::{PerRoute, Route};

/// A subject where nobody listened is not asked again for so long.
const SILENT_FOR: Duration = Duration::from_secs(5);
/// Most subjects remembered for that.
const MAX_SILENT: usize = 65_536;
/// Most requests that wait for one subject: an eighth of what a worker takes in.
const MAX_WAITING: usize = 128;

/// The responders of all tenants.
#[derive(Debug)]
pub(crate) struct Responders {
    bus: Bus,
    table: Arc<FeatureTable>,
    mode: Mode,
    timeout: Duration,
    metrics: Arc<WorkerMetrics>,
    features: FeatureMetrics,
    silent: Mutex<Recent>,
    breakers: PerRoute<Mutex<Breakers>>,
    breaker_metrics: BreakerMetrics,
    waiting: Mutex<HashMap<Box<str>, usize, ahash::RandomState>>,
}

impl Responders {
    pub(crate) fn new(bus: Bus, table: Arc<FeatureTable>, config: &RoutesConfig, metrics: Arc<WorkerMetrics>) -> Self {
        Self {
            bus,
            features: FeatureMetrics::new(&table),
            table,
            mode: config.responders,
            timeout: Duration::from_millis(config.responder_timeout_ms),
            metrics,
            silent: Mutex::new(Recent::new(MAX_SILENT, SILENT_FOR)),
            breakers: PerRoute::new(|_| Mutex::new(Breakers::new())),
            breaker_metrics: BreakerMetrics::new(),
            waiting: Mutex::default(),
        }
    }

    /// Asks for the state of one feature.
    pub(crate) async fn get(&self, presentity: &Presentity, spec: &FeatureSpec, cause: &Cause) -> Answer {
        if self.mode == Mode::Off {
            return Answer::None;
        }
        let subject = self.bus.subjects().responder_get(presentity, spec.name());
        if self.is_silent(&subject) {
            return Answer::None;
        }
        let request =
            ResponderGetRequest { kind: Kind::default(), presentity: presentity.as_str().to_owned(), feature: spec.name().to_owned() };
        self.ask(Route::Get, Pattern::ResponderGet, subject, spec, &request, cause).await
    }

    /// Asks to apply `state`, or to change or deny it.
    pub(crate) async fn set(
        &self,
        presentity: &Presentity,
        spec: &FeatureSpec,
        state: FeatureState,
        origin: Origin,
        param: Option<String>,
        cause: &Cause,
    ) -> Answer {
        if self.mode == Mode::Off {
            return Answer::None;
        }
        let subject = self.bus.subjects().responder_set(presentity, spec.name());
        if self.is_silent(&subject) {
            return Answer::None;
        }
        let request = ResponderSetRequest {
            kind: Kind::default(),
            presentity: presentity.as_str().to_owned(),
            feature: state.feature,
            status: state.status,
            values: state.values,
            origin,
            param,
        };
        self.ask(Route::Set, Pattern::ResponderSet, subject, spec, &request, cause).await
    }

    async fn ask<M: Serialize>(
        &self,
        route: Route,
        pattern: Pattern,
        subject: String,
        spec: &FeatureSpec,
        request: &M,
        cause: &Cause,
    ) -> Answer {
        let Some(_waiting) = Waiting::enter(self, &subject) else {
            self.metrics.dropped(DropReason::ResponderBusy);
            return self.not_asked(route, spec, Answer::Failed);
        };
        if !self.break_or_pass(route, spec, &subject, Input::Ask) {
            return self.not_asked(route, spec, Answer::Open);
        }
        let started_at = clock::now();
        let reply: Result<Map<String, Value>, RequestError> =
            self.bus.request(pattern, subject.clone(), request, cause, self.timeout).await;
        let now = clock::now();
        if matches!(reply, Err(RequestError::NoResponders)) {
            lock(&self.silent).insert(&subject, now);
        } else {
            lock(&self.silent).remove(&subject);
        }
        let answer = match reply {
            Ok(reply) => answer::read(&self.table, spec, route, reply),
            Err(error) => answer::missing(error),
        };
        if let Some(input) = shows(&answer) {
            self.break_or_pass(route, spec, &subject, input);
        }
        let answer = answer.unwrap_or_else(|error| {
            self.metrics.responder_failed(route, spec.name(), error.reason(), &error);
            Answer::Failed
        });
        self.count(route, spec, answer.outcome(), now.saturating_duration_since(started_at));
        answer
    }

    /// Hands `input` to the subject's breaker; whether a request may pass.
    fn break_or_pass(&self, route: Route, spec: &FeatureSpec, subject: &str, input: Input) -> bool {
        let now = clock::now();
        let (may_pass, transition, forgotten) = {
            let mut breakers = lock(self.breakers.of(route));
            let forgotten = if input == Input::Ask { Vec::new() } else { breakers.sweep(now) };
            let (may_pass, transition) = breakers.handle(subject, input, now);
            (may_pass, transition, forgotten)
        };
        for transition in forgotten {
            self.breaker_metrics.forgotten(route, transition);
        }
        if let Some(transition) = transition {
            self.breaker_metrics.went(route, spec.name(), transition);
        }
        may_pass
    }

    /// A request that is not sent.
    fn not_asked(&self, route: Route, spec: &FeatureSpec, answer: Answer) -> Answer {
        self.count(route, spec, answer.outcome(), Duration::ZERO);
        answer
    }

    fn count(&self, route: Route, spec: &FeatureSpec, outcome: AnswerOutcome, took: Duration) {
        self.metrics.responder_asked(route, outcome, took);
        self.features.answered(route, spec.name(), outcome);
    }

    /// Whether nobody listened lately. Once that is long enough ago, a single request probes the subject while the others
    /// still skip it.
    fn is_silent(&self, subject: &str) -> bool {
        lock(&self.silent).contains_or_claim(subject, clock::now())
    }
}

/// What an answer says about the responder's health. An error below 500 is about the request, so the responder is healthy.
/// While the bus is away nothing is known.
fn shows(answer: &Result<Answer, AnswerError>) -> Option<Input> {
    match answer {
        Ok(Answer::Timeout) | Err(AnswerError::Bus(RequestError::Unreadable(_))) => Some(Input::Failed),
        Ok(_) => Some(Input::Answered),
        Err(AnswerError::Bus(_)) => None,
        Err(AnswerError::Error(error)) if error.code < 500 => Some(Input::Answered),
        Err(_) => Some(Input::Failed),
    }
}

/// A place among the requests that wait for one subject.
struct Waiting<'r> {
    responders: &'r Responders,
    subject: Box<str>,
}

impl<'r> Waiting<'r> {
    fn enter(responders: &'r Responders, subject: &str) -> Option<Self> {
        let mut waiting = lock(&responders.waiting);
        let count = waiting.entry(subject.into()).or_default();
        if *count >= MAX_WAITING {
            return None;
        }
        *count += 1;
        Some(Self { responders, subject: subject.into() })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(&self.responders.waiting);
        if let Some(count) = waiting.get_mut(&self.subject) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                waiting.remove(&self.subject);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_counts_against_the_responder_and_a_bus_that_is_away_against_nobody() {
        let garbage = RequestError::Unreadable(Arc::new(serde_json::from_str::<u8>("x").unwrap_err()));
        for (error, want) in [(garbage, Some(Input::Failed)), (RequestError::Disconnected, None)] {
            assert_eq!(shows(&Err(AnswerError::Bus(error))), want);
        }
    }
}
