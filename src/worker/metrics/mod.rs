//! The worker's metrics: every series is there from the start with 0, and nothing else touches them.

pub(crate) mod breaker;
pub(crate) mod feature;
pub(crate) mod label;
pub(crate) mod view;

use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::bus::learnt::MAX_LEARNT;
use crate::feature::Presentity;
use crate::runtime::clock;
use crate::telemetry::Pii;
use crate::telemetry::depth::{QueueGauges, QueueStage};
use crate::worker::metrics::label::{AnswerOutcome, DropReason, RequestOutcome};
use crate::worker::route::{PerRoute, Route};

const RECEIVED: &str = "dfks_worker_received_total";
const REQUESTS: &str = "dfks_worker_requests_total";
const REQUEST_SECONDS: &str = "dfks_worker_request_duration_seconds";
const RESPONDER_REQUESTS: &str = "dfks_worker_responder_requests_total";
const RESPONDER_SECONDS: &str = "dfks_worker_responder_duration_seconds";
const SCRIPT_SECONDS: &str = "dfks_worker_script_duration_seconds";
const SCRIPT_ERRORS: &str = "dfks_worker_script_errors_total";
const SCRIPT_RELOADS: &str = "dfks_worker_script_reloads_total";
const IN_FLIGHT: &str = "dfks_worker_in_flight";
const LOCAL: &str = "dfks_worker_local_requests_total";
const DROPPED: &str = "dfks_worker_dropped_total";

/// At most one warning of a kind in this time; the counter counts all.
const WARN_EVERY: Duration = Duration::from_secs(1);

/// Handles of the worker's metrics, looked up once.
///
/// Made after the recorder is installed: a handle made before it counts nowhere.
#[derive(Debug)]
pub(crate) struct WorkerMetrics {
    routes: PerRoute<RouteMetrics>,
    in_flight: Gauge,
    dropped: [Counter; DropReason::ALL.len()],
    reloads_ok: Counter,
    reloads_failed: Counter,
    request_warnings: Throttle,
    responder_warnings: Throttle,
    script_warnings: Throttle,
    flap_warnings: Throttle,
}

/// Lets one warning pass in [`WARN_EVERY`].
#[derive(Debug, Default)]
struct Throttle(Mutex<Option<Instant>>);

impl Throttle {
    fn may_warn(&self, now: Instant) -> bool {
        let mut warned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_quiet = warned.is_none_or(|at| now.saturating_duration_since(at) >= WARN_EVERY);
        if is_quiet {
            *warned = Some(now);
        }
        is_quiet
    }
}

/// The handles of one route.
#[derive(Debug)]
struct RouteMetrics {
    received: Counter,
    local: Counter,
    in_hand: QueueGauges,
    requests: [Counter; RequestOutcome::ALL.len()],
    request_seconds: Histogram,
    responder_requests: [Counter; AnswerOutcome::ALL.len()],
    responder_seconds: Histogram,
    script_seconds: Histogram,
    script_errors: Counter,
}

impl RouteMetrics {
    fn new(route: Route, capacity: usize) -> Self {
        let kind = route.as_str();
        Self {
            received: from_zero(counter!(RECEIVED, "kind" => kind)),
            local: from_zero(counter!(LOCAL, "kind" => kind)),
            in_hand: QueueGauges::new(QueueStage::Worker, kind, capacity),
            requests: RequestOutcome::ALL.map(|outcome| from_zero(counter!(REQUESTS, "kind" => kind, "outcome" => outcome.as_str()))),
            request_seconds: histogram!(REQUEST_SECONDS, "kind" => kind),
            responder_requests: AnswerOutcome::ALL
                .map(|outcome| from_zero(counter!(RESPONDER_REQUESTS, "kind" => kind, "outcome" => outcome.as_str()))),
            responder_seconds: histogram!(RESPONDER_SECONDS, "kind" => kind),
            script_seconds: histogram!(SCRIPT_SECONDS, "route" => kind),
            script_errors: from_zero(counter!(SCRIPT_ERRORS, "route" => kind)),
        }
    }
}

impl WorkerMetrics {
    /// `capacity`: requests of each route that fit in hand.
    pub(crate) fn new(capacity: usize) -> Self {
        describe();
        let in_flight = gauge!(IN_FLIGHT);
        in_flight.set(0.0);
        Self {
            routes: PerRoute::new(|route| RouteMetrics::new(route, capacity)),
            in_flight,
            dropped: DropReason::ALL.map(|reason| from_zero(counter!(DROPPED, "reason" => reason.as_str()))),
            reloads_ok: from_zero(counter!(SCRIPT_RELOADS, "outcome" => "ok")),
            reloads_failed: from_zero(counter!(SCRIPT_RELOADS, "outcome" => "failed")),
            request_warnings: Throttle::default(),
            responder_warnings: Throttle::default(),
            script_warnings: Throttle::default(),
            flap_warnings: Throttle::default(),
        }
    }

    /// A request was taken in.
    pub(crate) fn request_started(&self, route: Route) {
        self.of(route).received.increment(1);
        self.of(route).in_hand.entered();
        self.in_flight.increment(1.0);
    }

    /// A request of this process was taken in: it came in memory.
    pub(crate) fn request_handed_over(&self, route: Route) {
        self.of(route).local.increment(1);
        self.request_started(route);
    }

    /// A request came in when there were too many in hand.
    pub(crate) fn request_turned_away(&self, route: Route) {
        self.of(route).received.increment(1);
        self.dropped(DropReason::Overloaded);
    }

    /// A request was answered, in one way or the other.
    pub(crate) fn request_ended(&self, route: Route, outcome: RequestOutcome, took: Duration) {
        self.in_flight.decrement(1.0);
        self.of(route).in_hand.left();
        self.of(route).request_seconds.record(took.as_secs_f64());
        count(&self.of(route).requests, outcome as usize);
        let outcome = outcome.as_str();
        tracing::debug!(kind = route.as_str(), outcome, took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX), "request ended");
    }

    /// A request was refused: why, in the words that the peer gets. `is_ours`: it is for the operator to know too.
    pub(crate) fn request_refused(&self, route: Route, reason: RequestOutcome, is_ours: bool, error: &dyn Error) {
        let (kind, reason) = (route.as_str(), reason.as_str());
        if is_ours && self.request_warnings.may_warn(clock::now()) {
            tracing::warn!(kind, reason, %error, "request refused");
        } else {
            tracing::debug!(kind, reason, %error, "request refused");
        }
    }

    /// A responder was asked.
    pub(crate) fn responder_asked(&self, route: Route, outcome: AnswerOutcome, took: Duration) {
        self.of(route).responder_seconds.record(took.as_secs_f64());
        count(&self.of(route).responder_requests, outcome as usize);
    }

    /// A responder's answer cannot be used, or did not come. `said` is what came, `anonymous` that without the presentity.
    pub(crate) fn responder_failed(&self, subject: &str, presentity: &Presentity, reason: &'static str, said: &str, anonymous: &str) {
        tracing::debug!(subject, presentity = %Pii(presentity), reason, error = said, "responder failed");
        if self.responder_warnings.may_warn(clock::now()) {
            tracing::warn!(subject, reason, error = anonymous, "responder failed");
        }
    }

    /// Somebody listens where nobody has ever answered.
    pub(crate) fn observer_found(subject: &str) {
        tracing::info!(subject, "somebody listens and has never answered: taken for an observer, gone on without it");
    }

    /// A responder was heard for the first time: it owns its subject.
    pub(crate) fn owner_found(subject: &str) {
        tracing::info!(subject, "responder heard for the first time: it owns its subject from now on");
    }

    /// That a responder was heard could not be written down.
    pub(crate) fn owner_not_stored(&self, subject: &str, error: &str) {
        self.dropped(DropReason::OwnerNotStored);
        tracing::warn!(subject, error, "responder heard, but not written down: only this worker knows it");
    }

    /// A responder says something else again, more often than is learnt.
    pub(crate) fn responder_flaps(&self, domain: &str, feature: &str) {
        self.dropped(DropReason::ResponderFlaps);
        if self.flap_warnings.may_warn(clock::now()) {
            tracing::warn!(
                domain,
                feature,
                most = MAX_LEARNT,
                "a responder's answers differ too often: the last known state is served for up to a minute"
            );
        }
    }

    pub(crate) fn script_ran(&self, route: Route, took: Duration) {
        self.of(route).script_seconds.record(took.as_secs_f64());
    }

    /// A route of the script failed, in this function and line; `field` was misused, if one was.
    pub(crate) fn script_failed(&self, route: Route, function: &str, line: usize, field: Option<&str>, error: &str) {
        self.of(route).script_errors.increment(1);
        if self.script_warnings.may_warn(clock::now()) {
            tracing::warn!(function, line, field, error, "script error");
        }
    }

    /// The script file changed and is in use.
    pub(crate) fn script_reloaded(&self) {
        self.reloads_ok.increment(1);
        tracing::info!("script reloaded");
    }

    /// The script file changed and cannot be used; the script before it stays.
    pub(crate) fn script_not_reloaded(&self, reason: &'static str, error: &dyn Error) {
        self.reloads_failed.increment(1);
        tracing::error!(reason, %error, "script not reloaded, the one before stays in use");
    }

    /// Something was dropped.
    pub(crate) fn dropped(&self, reason: DropReason) {
        count(&self.dropped, reason as usize);
        tracing::debug!(reason = reason.as_str(), "dropped");
    }

    const fn of(&self, route: Route) -> &RouteMetrics {
        self.routes.of(route)
    }
}

fn describe() {
    describe_counter!(RECEIVED, "Requests that came in, by kind");
    describe_counter!(LOCAL, "Of the requests that came in, those of the own process: handed over in memory, by kind");
    describe_counter!(REQUESTS, "Requests that workers answered, by kind and outcome");
    describe_histogram!(REQUEST_SECONDS, Unit::Seconds, "From a request to its reply");
    describe_counter!(RESPONDER_REQUESTS, "Requests to responders, by kind and outcome");
    describe_histogram!(RESPONDER_SECONDS, Unit::Seconds, "From a request to a responder to its outcome");
    describe_histogram!(SCRIPT_SECONDS, Unit::Seconds, "Duration of one run of a script route");
    describe_counter!(SCRIPT_ERRORS, "Runs of a script route that failed");
    describe_counter!(SCRIPT_RELOADS, "Changes of the script file, by outcome");
    describe_gauge!(IN_FLIGHT, "Requests in hand");
    describe_counter!(DROPPED, "What was dropped, by reason");
}

fn from_zero(counter: Counter) -> Counter {
    counter.increment(0);
    counter
}

/// Counts at the place of a word of [`label`].
fn count(counters: &[Counter], word: usize) {
    if let Some(counter) = counters.get(word) {
        counter.increment(1);
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

    use super::*;

    #[test]
    fn every_series_is_there_from_the_start_and_counts() {
        let buckets = [0.001, 1.0];
        let recorder =
            PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &buckets).unwrap().build_recorder();
        let metrics = metrics::with_local_recorder(&recorder, || WorkerMetrics::new(1024));
        let text = recorder.handle().render();
        let mut want = vec![format!("{IN_FLIGHT} 0")];
        for kind in ["get", "set"] {
            for outcome in ["ok", "denied", "bad_request", "script_error", "responder_failed", "store_failed", "internal", "overloaded"] {
                want.push(format!("{REQUESTS}{{kind=\"{kind}\",outcome=\"{outcome}\"}} 0"));
            }
            for outcome in ["ok", "denied", "failed", "timeout", "none", "open", "observer"] {
                want.push(format!("{RESPONDER_REQUESTS}{{kind=\"{kind}\",outcome=\"{outcome}\"}} 0"));
            }
            for (name, label) in [(REQUEST_SECONDS, "kind"), (RESPONDER_SECONDS, "kind"), (SCRIPT_SECONDS, "route")] {
                want.push(format!("{name}_count{{{label}=\"{kind}\"}} 0"));
            }
            want.push(format!("{LOCAL}{{kind=\"{kind}\"}} 0"));
            want.push(format!("{SCRIPT_ERRORS}{{route=\"{kind}\"}} 0"));
        }
        for outcome in ["ok", "failed"] {
            want.push(format!("{SCRIPT_RELOADS}{{outcome=\"{outcome}\"}} 0"));
        }
        for reason in ["overloaded", "responder_busy", "reply_not_sent", "last_known_not_stored", "owner_not_stored", "not_asked_again"] {
            want.push(format!("{DROPPED}{{reason=\"{reason}\"}} 0"));
        }
        for line in want {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }

        metrics.request_started(Route::Set);
        metrics.request_ended(Route::Set, RequestOutcome::Denied, Duration::from_millis(2));
        metrics.responder_asked(Route::Get, AnswerOutcome::Timeout, Duration::from_millis(2));
        metrics.dropped(DropReason::Overloaded);
        let text = recorder.handle().render();
        for line in [
            "dfks_worker_requests_total{kind=\"set\",outcome=\"denied\"} 1",
            "dfks_worker_request_duration_seconds_count{kind=\"set\"} 1",
            "dfks_worker_responder_requests_total{kind=\"get\",outcome=\"timeout\"} 1",
            "dfks_worker_dropped_total{reason=\"overloaded\"} 1",
            "dfks_worker_in_flight 0",
            "dfks_worker_received_total{kind=\"set\"} 1",
            "dfks_worker_queue_depth{queue=\"set\"} 0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn one_warning_a_second_passes() {
        let (throttle, start) = (Throttle::default(), clock::now());
        for (after_ms, want) in [(0, true), (1, false), (999, false), (1000, true), (1500, false)] {
            assert_eq!(throttle.may_warn(start + Duration::from_millis(after_ms)), want, "{after_ms} ms");
        }
    }
}
