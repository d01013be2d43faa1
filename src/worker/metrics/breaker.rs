//! The circuit breakers' metrics: how many are in which state, and every transition. No label names a tenant.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

use crate::worker::metrics::label::{Position, Transition};
use crate::worker::route::{PerRoute, Route};

const BREAKERS: &str = "dfks_worker_breakers";
const TRANSITIONS: &str = "dfks_worker_breaker_transitions_total";

/// Handles of both kinds.
#[derive(Debug)]
pub(crate) struct BreakerMetrics(PerRoute<OfKind>);

#[derive(Debug)]
struct OfKind {
    /// By position; closed breakers are not stored, so there is no gauge of them.
    standing: Vec<(Position, Gauge)>,
    transitions: Vec<(Position, Counter)>,
}

impl OfKind {
    fn new(route: Route) -> Self {
        let kind = route.as_str();
        let standing = [Position::Open, Position::HalfOpen].map(|state| {
            let gauge = gauge!(BREAKERS, "kind" => kind, "state" => state.as_str());
            gauge.set(0.0);
            (state, gauge)
        });
        let transitions = Position::ALL.map(|to| {
            let counter = counter!(TRANSITIONS, "kind" => kind, "to" => to.as_str());
            counter.increment(0);
            (to, counter)
        });
        Self { standing: standing.into(), transitions: transitions.into() }
    }
}

impl BreakerMetrics {
    pub(crate) fn new() -> Self {
        describe_gauge!(BREAKERS, "Responder subjects (tenant and feature) whose circuit breaker is open or half open");
        describe_counter!(TRANSITIONS, "Circuit breakers that went to a state");
        Self(PerRoute::new(OfKind::new))
    }

    /// The breaker of a responder subject went from one state to another.
    pub(crate) fn went(&self, route: Route, subject: &str, transition: Transition) {
        let of = self.0.of(route);
        for (position, gauge) in &of.standing {
            if *position == transition.from {
                gauge.decrement(1.0);
            } else if *position == transition.to {
                gauge.increment(1.0);
            }
        }
        if let Some((_, counter)) = of.transitions.iter().find(|(to, _)| *to == transition.to) {
            counter.increment(1);
        }
        match transition.to {
            Position::Open => tracing::warn!(subject, breaker = "open", "responder not asked for a while"),
            Position::Closed => tracing::info!(subject, breaker = "closed", "responder asked again"),
            Position::HalfOpen => tracing::debug!(subject, breaker = "half_open", "responder probed"),
        }
    }

    /// A breaker that nobody asked for was forgotten.
    pub(crate) fn forgotten(&self, route: Route, transition: Transition) {
        let of = self.0.of(route);
        if let Some((_, gauge)) = of.standing.iter().find(|(position, _)| *position == transition.from) {
            gauge.decrement(1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_where_they_stand_and_where_they_went() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let metrics = metrics::with_local_recorder(&recorder, BreakerMetrics::new);
        let has = |line: &str| {
            let text = recorder.handle().render();
            assert!(text.lines().any(|known| known == line), "{line} in\n{text}");
        };
        has("dfks_worker_breakers{kind=\"get\",state=\"half_open\"} 0");
        has("dfks_worker_breaker_transitions_total{kind=\"set\",to=\"closed\"} 0");
        metrics.went(Route::Set, "DoNotDisturb", Transition { from: Position::Closed, to: Position::Open });
        has("dfks_worker_breakers{kind=\"set\",state=\"open\"} 1");
        metrics.went(Route::Set, "DoNotDisturb", Transition { from: Position::Open, to: Position::HalfOpen });
        has("dfks_worker_breakers{kind=\"set\",state=\"open\"} 0");
        has("dfks_worker_breakers{kind=\"set\",state=\"half_open\"} 1");
        has("dfks_worker_breaker_transitions_total{kind=\"set\",to=\"half_open\"} 1");
        metrics.forgotten(Route::Set, Transition { from: Position::HalfOpen, to: Position::Closed });
        has("dfks_worker_breakers{kind=\"set\",state=\"half_open\"} 0");
        has("dfks_worker_breakers{kind=\"get\",state=\"open\"} 0");
    }
}
