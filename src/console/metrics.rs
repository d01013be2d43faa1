//! The console's metrics: every series is there from the start with 0, and nothing else touches them.

use std::time::Duration;

use axum::http::StatusCode;
use metrics::{Counter, Gauge, Histogram, Unit};

use crate::console::errand::Purpose;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Answered,
    /// It was no request that can be carried out, or whoever carries it out refused it.
    Refused,
    /// No token, or not the right one; another origin.
    Denied,
    /// Too many at once.
    Overloaded,
    /// The bus, or whoever is to answer, is away or late.
    Failed,
}

impl Outcome {
    const ALL: [Self; 5] = [Self::Answered, Self::Refused, Self::Denied, Self::Overloaded, Self::Failed];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::Overloaded => "overloaded",
            Self::Failed => "failed",
        }
    }

    fn of(code: u16) -> Self {
        match code {
            ..400 => Self::Answered,
            401 | 403 => Self::Denied,
            429 => Self::Overloaded,
            402..500 | 400 => Self::Refused,
            _ => Self::Failed,
        }
    }
}

/// Why an event was not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DropReason {
    /// More came than anybody reads.
    Rate,
    /// The browser does not take them.
    Full,
}

impl DropReason {
    const ALL: [Self; 2] = [Self::Rate, Self::Full];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Full => "full",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Metrics {
    requests: [(Purpose, [Counter; Outcome::ALL.len()]); Purpose::ALL.len()],
    durations: [Histogram; Purpose::ALL.len()],
    tails: Gauge,
    dropped: [Counter; DropReason::ALL.len()],
}

impl Metrics {
    pub(super) fn new() -> Self {
        metrics::describe_counter!(
            "dfks_console_requests_total",
            "Requests of the console's pages, by what they were for and how they ended."
        );
        metrics::describe_histogram!("dfks_console_request_duration_seconds", Unit::Seconds, "Request of a page to its answer.");
        metrics::describe_gauge!("dfks_console_tails", "Pages that follow the events.");
        metrics::describe_counter!("dfks_console_dropped_total", "Events not shown to a page that follows them, by reason.");
        Self {
            requests: Purpose::ALL.map(|purpose| {
                let of = |outcome: Outcome| {
                    metrics::counter!("dfks_console_requests_total", "kind" => purpose.as_str(), "outcome" => outcome.as_str())
                };
                (purpose, Outcome::ALL.map(of))
            }),
            durations: Purpose::ALL.map(|purpose| metrics::histogram!("dfks_console_request_duration_seconds", "kind" => purpose.as_str())),
            tails: metrics::gauge!("dfks_console_tails"),
            dropped: DropReason::ALL.map(|reason| metrics::counter!("dfks_console_dropped_total", "reason" => reason.as_str())),
        }
    }

    /// A request was answered with this status.
    pub(super) fn request_ended(&self, purpose: Purpose, status: StatusCode, took: Duration) {
        let outcome = Outcome::of(status.as_u16());
        let place = |all: &[Outcome]| all.iter().position(|one| *one == outcome);
        let of = self.requests.iter().find(|(kind, _)| *kind == purpose).map(|(_, counters)| counters);
        if let Some(counter) = of.zip(place(&Outcome::ALL)).and_then(|(counters, place)| counters.get(place)) {
            counter.increment(1);
        }
        if let Some(duration) = self.durations.get(purpose as usize) {
            duration.record(took);
        }
        tracing::debug!(kind = purpose.as_str(), outcome = outcome.as_str(), status = status.as_u16(), "console request");
    }

    /// So many pages follow the events now.
    pub(super) fn tails(&self, count: usize) {
        self.tails.set(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// An event was not shown.
    pub(super) fn dropped(&self, reason: DropReason) {
        if let Some(counter) = self.dropped.get(reason as usize) {
            counter.increment(1);
        }
    }
}
