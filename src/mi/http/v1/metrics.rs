//! Metrics of HTTP requests: every series is there from the start with 0, and nothing else touches them.

use std::time::Duration;

use metrics::{Counter, Histogram, Unit};

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// States are read.
    Features,
    /// A feature is set.
    Set,
    /// Live subscriptions are listed.
    Watchers,
    /// Phones are told anew.
    Resync,
    /// The OpenAPI document.
    Document,
    /// None of these.
    Other,
}

impl Endpoint {
    const ALL: [Self; 6] = [Self::Features, Self::Set, Self::Watchers, Self::Resync, Self::Document, Self::Other];

    /// The metric label `endpoint`.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Features => "features",
            Self::Set => "set",
            Self::Watchers => "watchers",
            Self::Resync => "resync",
            Self::Document => "openapi",
            Self::Other => "other",
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Answered,
    /// Whoever asks has the newest already.
    NotModified,
    /// No token, or a change that was denied.
    Denied,
    Invalid,
    Unavailable,
    Failed,
}

impl Outcome {
    const ALL: [Self; 6] = [Self::Answered, Self::NotModified, Self::Denied, Self::Invalid, Self::Unavailable, Self::Failed];

    const fn of_status(status: u16) -> Self {
        match status {
            304 => Self::NotModified,
            401 | 403 => Self::Denied,
            400..=499 => Self::Invalid,
            503 => Self::Unavailable,
            500..=599 => Self::Failed,
            _ => Self::Answered,
        }
    }

    /// The metric label `outcome`.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::NotModified => "not_modified",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        }
    }
}

/// Handles of the metrics, looked up once; made after the recorder is installed.
#[derive(Debug)]
pub(super) struct HttpMetrics {
    requests: [[Counter; Outcome::ALL.len()]; Endpoint::ALL.len()],
    seconds: [Histogram; Endpoint::ALL.len()],
}

impl HttpMetrics {
    pub(super) fn new() -> Self {
        metrics::describe_counter!("dfks_mi_http_requests_total", "Requests over HTTP but for POST /mi, by endpoint and outcome");
        metrics::describe_histogram!("dfks_mi_http_request_duration_seconds", Unit::Seconds, "From such a request to its response");
        let counter = |endpoint: Endpoint, outcome: Outcome| {
            let counter = metrics::counter!(
                "dfks_mi_http_requests_total", "endpoint" => endpoint.as_str(), "outcome" => outcome.as_str());
            counter.increment(0);
            counter
        };
        Self {
            requests: Endpoint::ALL.map(|endpoint| Outcome::ALL.map(|outcome| counter(endpoint, outcome))),
            seconds: Endpoint::ALL
                .map(|endpoint| metrics::histogram!("dfks_mi_http_request_duration_seconds", "endpoint" => endpoint.as_str())),
        }
    }

    /// A request has its response.
    pub(super) fn answered(&self, endpoint: Endpoint, status: u16, took: Duration) {
        let outcome = Outcome::of_status(status);
        if let Some(counter) = self.requests.get(endpoint as usize).and_then(|of| of.get(outcome as usize)) {
            counter.increment(1);
        }
        if let Some(seconds) = self.seconds.get(endpoint as usize) {
            seconds.record(took.as_secs_f64());
        }
        tracing::debug!(endpoint = endpoint.as_str(), status, outcome = outcome.as_str(), "http request answered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_looked_up_in_the_order_they_are_listed() {
        for (position, endpoint) in Endpoint::ALL.into_iter().enumerate() {
            assert_eq!(endpoint as usize, position, "{}", endpoint.as_str());
        }
        for (position, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, position, "{}", outcome.as_str());
        }
    }

    #[test]
    fn every_status_has_its_outcome() {
        for (status, want) in [
            (200, "answered"),
            (304, "not_modified"),
            (401, "denied"),
            (403, "denied"),
            (404, "invalid"),
            (415, "invalid"),
            (500, "failed"),
        ] {
            assert_eq!(Outcome::of_status(status).as_str(), want, "{status}");
        }
        assert_eq!(Outcome::of_status(503), Outcome::Unavailable);
    }
}
