//! Asks the responders of a presentity's features: who answers, who owns what, who only looks on. I/O.
//!
//! ```text
//! nobody ever heard ─▶ nobody there: store · silence: an observer, store · an answer, a denial too: it owns the subject
//! owner ─▶ its answer · late, failed, not there: a get serves the last known state, a set is refused
//! ```
//! A responder that is slow holds up the requests for its own tenant and feature only: each is asked at the same time as
//! the others, for [`RoutesConfig::responder_timeout_ms`] at most, and only so many may wait for one subject. An owner that fails
//! again and again is not asked at all for a while ([`breaker`](crate::worker::responder::breaker)).

pub(crate) mod answer;
mod ask;
pub(crate) mod breaker;
mod known;
mod memory;
mod owners;
pub(crate) mod pattern;
mod question;
pub(crate) mod trial;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};

use crate::bus::message::{Kind, Origin, ResponderGetRequest, ResponderReport, ResponderSetRequest};
use crate::bus::trace::Cause;
use crate::bus::{Bus, RequestError};
use crate::config::{Responders as Mode, RoutesConfig};
use crate::feature::{FeatureSpec, FeatureState, FeatureTable, Presentity};
use crate::runtime::{Tasks, clock};
use crate::worker::metrics::WorkerMetrics;
use crate::worker::metrics::breaker::BreakerMetrics;
use crate::worker::metrics::feature::FeatureMetrics;
use crate::worker::metrics::label::DropReason;
use crate::worker::recent::Recent;
use crate::worker::responder::answer::{Answer, Approval, Unapproved};
use crate::worker::responder::breaker::{Breakers, Input};
use crate::worker::responder::known::Known;
use crate::worker::responder::memory::Memory;
use crate::worker::responder::pattern::Pattern;
use crate::worker::responder::question::{Asked, Question};
use crate::worker::route::{PerRoute, Route};

/// A subject where nobody listened is not asked again for so long.
const SILENT_FOR: Duration = Duration::from_secs(5);
/// Most subjects remembered for that.
const MAX_SILENT: usize = 65_536;
/// Most subjects of which more is known.
const MAX_KNOWN: usize = 65_536;
/// Most requests that wait for one subject: an eighth of what a worker takes in.
const MAX_WAITING: usize = 128;
/// Most requests to subjects where no responder was ever heard.
const MAX_ASIDE: usize = 8192;
/// Most states that wait to be asked for again.
const MAX_AGAIN: usize = 1024;

/// What is to be asked for again, because a responder has news.
#[derive(Debug)]
pub(crate) enum Again {
    /// One state.
    State { presentity: Presentity, feature: Box<str>, cause: Cause },
    /// Those of a domain that phones watch.
    Domain { domain: Box<str>, feature: Box<str> },
}

/// The responders of all tenants.
#[derive(Debug)]
pub(crate) struct Responders {
    bus: Bus,
    table: Arc<FeatureTable>,
    mode: Mode,
    timeout: Duration,
    /// Domain and feature, `*` for either.
    required: Vec<(Box<str>, Box<str>)>,
    metrics: Arc<WorkerMetrics>,
    features: FeatureMetrics,
    memory: Memory,
    silent: Mutex<Recent>,
    known: Mutex<Known>,
    breakers: PerRoute<Mutex<Breakers>>,
    breaker_metrics: BreakerMetrics,
    waiting: Mutex<HashMap<Box<str>, usize, ahash::RandomState>>,
    aside: Arc<Semaphore>,
    tasks: Tasks,
    looked_on: Mutex<Option<(Instant, bool)>>,
    again: mpsc::Sender<Again>,
}

impl Responders {
    /// The responders, and what of them is to be asked for again.
    pub(crate) fn new(
        bus: Bus,
        table: Arc<FeatureTable>,
        config: &RoutesConfig,
        metrics: Arc<WorkerMetrics>,
    ) -> (Arc<Self>, mpsc::Receiver<Again>) {
        let (again, to_ask) = mpsc::channel(MAX_AGAIN);
        let required = config.required.iter().filter_map(|text| text.split_once('.'));
        let responders = Self {
            memory: Memory::new(bus.clone(), config.responder_memory_days),
            bus,
            features: FeatureMetrics::new(&table),
            table,
            mode: config.responders,
            timeout: Duration::from_millis(config.responder_timeout_ms),
            required: required.map(|(domain, feature)| (domain.to_ascii_lowercase().into(), feature.into())).collect(),
            metrics,
            silent: Mutex::new(Recent::new(MAX_SILENT, SILENT_FOR)),
            known: Mutex::new(Known::new(MAX_KNOWN)),
            breakers: PerRoute::new(|_| Mutex::new(Breakers::new())),
            breaker_metrics: BreakerMetrics::new(),
            waiting: Mutex::default(),
            aside: Arc::new(Semaphore::new(MAX_ASIDE)),
            tasks: Tasks::new(),
            looked_on: Mutex::default(),
            again,
        };
        (Arc::new(responders), to_ask)
    }

    /// Who was heard, on all workers.
    pub(crate) const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Asks for the state of one feature.
    pub(crate) async fn get(self: &Arc<Self>, presentity: &Presentity, spec: &FeatureSpec, cause: &Cause) -> Answer {
        if self.mode == Mode::Off {
            return Answer::None;
        }
        let subject = self.bus.subjects().responder_get(presentity, spec.name());
        if self.is_silent(&subject) {
            return Answer::None;
        }
        let request =
            ResponderGetRequest { kind: Kind::default(), presentity: presentity.as_str().to_owned(), feature: spec.name().to_owned() };
        let is_owned = self.memory.last_heard(&subject).is_some();
        let question = question(Route::Get, subject, (presentity, spec), &request, cause);
        // most subjects are silent: what asking takes is not moved about for them
        if is_owned { Box::pin(self.ask_owner(&question)).await.answer } else { Box::pin(self.ask_unheard(question)).await.answer }
    }

    /// Whether it is known that nobody is asked to approve a set.
    pub(crate) fn is_free_to_set(&self, presentity: &Presentity, spec: &FeatureSpec) -> bool {
        let subject = || self.bus.subjects().responder_set(presentity, spec.name());
        self.mode == Mode::Off
            || !self.is_required(presentity, spec) && {
                let subject = subject();
                self.memory.last_heard(&subject).is_none() && lock(&self.silent).contains(&subject, clock::now())
            }
    }

    /// Asks to apply `state`, or to change or deny it.
    pub(crate) async fn set(
        self: &Arc<Self>,
        presentity: &Presentity,
        spec: &FeatureSpec,
        state: FeatureState,
        origin: Origin,
        param: Option<String>,
        cause: &Cause,
    ) -> Approval {
        if self.mode == Mode::Off {
            return Approval::Nobody;
        }
        let subject = self.bus.subjects().responder_set(presentity, spec.name());
        let is_required = self.is_required(presentity, spec);
        let is_owned = is_required || self.memory.last_heard(&subject).is_some();
        if !is_owned && self.is_silent(&subject) {
            return Approval::Nobody;
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
        let question = question(Route::Set, subject.clone(), (presentity, spec), &request, cause);
        let Asked { answer, said } =
            if is_owned { Box::pin(self.ask_owner(&question)).await } else { Box::pin(self.ask_unheard(question)).await };
        match answer {
            Answer::Change(change) => Approval::Change(change),
            Answer::Denied(why) => Approval::Denied(why),
            Answer::None | Answer::Observer if !is_owned => Approval::Nobody,
            answer => Approval::Missing(Box::new(Unapproved {
                feature: spec.name().into(),
                last_heard: self.memory.last_heard(&subject).map(|heard| clock::rfc3339(heard).into()),
                subject: subject.into(),
                outcome: answer.outcome(),
                said,
                is_required,
            })),
        }
    }

    /// The subject that a set of this feature is asked on.
    pub(crate) fn subject_of_set(&self, presentity: &Presentity, spec: &FeatureSpec) -> String {
        self.bus.subjects().responder_set(presentity, spec.name())
    }

    /// What is known of each subject that somebody owns or listened on, by subject.
    pub(crate) fn report(&self) -> Vec<ResponderReport> {
        let mut subjects: HashMap<String, Option<String>> =
            self.memory.all().into_iter().map(|(subject, heard)| (subject, Some(clock::rfc3339(heard)))).collect();
        let known = lock(&self.known);
        for subject in known.subjects() {
            subjects.entry(subject.to_owned()).or_default();
        }
        let reports = subjects.into_iter().filter_map(|(subject, last_heard)| {
            let mut key = self.bus.subjects().responder_key(&subject)?.split('.').map(str::to_owned);
            let (kind, domain, feature) = (key.next()?, key.next()?, key.next()?);
            let route = if kind == Route::Get.as_str() { Route::Get } else { Route::Set };
            let note = known.of(&subject);
            let error = note.and_then(|note| note.error.clone());
            Some(ResponderReport {
                listening: note.map(|note| note.is_listening),
                observer: last_heard.is_none() && note.is_some_and(known::Note::is_observed),
                last_heard,
                latency_ms: note.and_then(|note| note.latency).map(|latency| u64::try_from(latency.as_millis()).unwrap_or(u64::MAX)),
                breaker: lock(self.breakers.of(route)).position(&subject).as_str().to_owned(),
                last_error: error.as_ref().map(|(said, _)| said.to_string()),
                last_error_at: error.map(|(_, at)| clock::rfc3339(at)),
                kind,
                domain,
                feature,
                subject,
            })
        });
        let mut reports: Vec<_> = reports.collect();
        reports.sort_by(|one, other| one.subject.cmp(&other.subject));
        reports
    }

    /// Forgets those that are meant: they own nothing until they are heard again. Returns their subjects.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: the bucket is away.
    pub(crate) async fn forget(&self, pattern: &Pattern, cause: &Cause) -> Result<Vec<String>, RequestError> {
        let forgotten = self.memory.forget(pattern, cause).await?;
        let mut known = lock(&self.known);
        let is_meant = |subject: &str| self.bus.subjects().responder_key(subject).is_some_and(|key| pattern.takes(key));
        let meant: Vec<_> = known.subjects().filter(|subject| is_meant(subject)).map(str::to_owned).collect();
        for subject in &meant {
            known.forget(subject);
        }
        drop(known);
        for subject in meant.iter().chain(&forgotten) {
            for route in Route::ALL {
                if let Some(transition) = lock(self.breakers.of(route)).forget(subject) {
                    self.breaker_metrics.forgotten(route, transition);
                }
            }
            lock(&self.silent).remove(subject);
            tracing::info!(subject, "responder forgotten");
        }
        Ok(forgotten)
    }

    /// A state of each owner of a get that is gone, to see whether it is back: at most `limit`.
    pub(crate) fn absences(&self, limit: usize) -> Vec<(Presentity, Box<str>)> {
        let known = lock(&self.known);
        let of_gets =
            known.absences().filter(|(subject, _)| self.bus.subjects().responder_key(subject).is_some_and(|key| key.starts_with("get.")));
        of_gets.take(limit).map(|(_, absence)| (absence.presentity.clone(), absence.feature.clone())).collect()
    }

    fn again(&self, again: Again) {
        if self.again.try_send(again).is_err() {
            self.metrics.dropped(DropReason::NotAskedAgain);
        }
    }

    fn is_required(&self, presentity: &Presentity, spec: &FeatureSpec) -> bool {
        if self.required.is_empty() {
            return false;
        }
        let domain = presentity.domain_token();
        let fits = |wanted: &str, token: &str| wanted == "*" || wanted == token;
        self.required.iter().any(|(of_domain, of_feature)| fits(of_domain, &domain) && fits(of_feature, spec.name()))
    }

    /// Hands `input` to the subject's breaker; whether a request may pass.
    fn break_or_pass(&self, question: &Question, input: Input) -> bool {
        let (now, route) = (clock::now(), question.route);
        let (may_pass, transition, forgotten) = {
            let mut breakers = lock(self.breakers.of(route));
            let forgotten = if input == Input::Ask { Vec::new() } else { breakers.sweep(now) };
            let (may_pass, transition) = breakers.handle(&question.subject, input, now);
            (may_pass, transition, forgotten)
        };
        for transition in forgotten {
            self.breaker_metrics.forgotten(route, transition);
        }
        if let Some(transition) = transition {
            self.breaker_metrics.went(route, &question.subject, transition);
        }
        may_pass
    }

    /// Whether nobody listened lately. Once that is long enough ago, a single request probes the subject while the others
    /// still skip it.
    fn is_silent(&self, subject: &str) -> bool {
        lock(&self.silent).contains_or_claim(subject, clock::now())
    }
}

fn question<M: Serialize>(
    route: Route,
    subject: String,
    (presentity, spec): (&Presentity, &FeatureSpec),
    request: &M,
    cause: &Cause,
) -> Question {
    Question {
        route,
        subject: subject.into(),
        feature: spec.name().into(),
        presentity: presentity.clone(),
        // texts and numbers: there is always a JSON form
        payload: serde_json::to_vec(request).unwrap_or_default().into(),
        cause: cause.clone(),
    }
}

/// A place among the requests that wait for one subject.
#[derive(Debug)]
struct Waiting {
    responders: Arc<Responders>,
    subject: Box<str>,
}

impl Waiting {
    fn enter(responders: &Arc<Responders>, subject: &str) -> Option<Self> {
        let mut waiting = lock(&responders.waiting);
        let count = waiting.entry(subject.into()).or_default();
        if *count >= MAX_WAITING {
            return None;
        }
        *count += 1;
        Some(Self { responders: Arc::clone(responders), subject: subject.into() })
    }
}

impl Drop for Waiting {
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
