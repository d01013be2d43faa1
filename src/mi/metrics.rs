//! The mi bridge's metrics: every series is there from the start with 0, and nothing else touches them.

use std::error::Error;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Unit};

use crate::bus::message::{ErrorBody, Origin};
use crate::telemetry::depth::{QueueGauges, QueueStage};

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Applied,
    /// The route denied it.
    Denied,
    /// It was no command that can be carried out.
    Invalid,
    /// A worker or the bus was away or late.
    Unavailable,
    /// Anything else: our fault, or the route's.
    Failed,
}

impl Outcome {
    const ALL: [Self; 5] = [Self::Applied, Self::Denied, Self::Invalid, Self::Unavailable, Self::Failed];

    /// The outcome that an error reply stands for.
    pub(crate) const fn of_error(error: &ErrorBody) -> Self {
        match error.code {
            403 => Self::Denied,
            400..=499 => Self::Invalid,
            503 => Self::Unavailable,
            _ => Self::Failed,
        }
    }

    /// The metric label `outcome`, and the reason of a dead letter.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        }
    }
}

/// What became of a feature whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimerOutcome {
    /// It is off.
    Ended,
    /// Something has changed it before.
    Passed,
    /// It stays on for now: denied, or its owner is away.
    Refused,
    /// Given up: it stays on.
    Dead,
}

impl TimerOutcome {
    const ALL: [Self; 4] = [Self::Ended, Self::Passed, Self::Refused, Self::Dead];

    /// The metric label `outcome`.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Passed => "passed",
            Self::Refused => "refused",
            Self::Dead => "dead",
        }
    }
}

/// Why something was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// Too many commands in hand: answered 503 at once.
    Overloaded,
    /// The command was carried out, but its reply could not be sent.
    ReplyNotSent,
    /// A record of the bucket of feature states that cannot be read: nobody is told of its change.
    UnreadableRecord,
}

impl DropReason {
    const ALL: [Self; 3] = [Self::Overloaded, Self::ReplyNotSent, Self::UnreadableRecord];

    /// The metric label `reason`.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::ReplyNotSent => "reply_not_sent",
            Self::UnreadableRecord => "unreadable_record",
        }
    }
}

/// The way that a command came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// `dfks.set`.
    Bus,
    /// `dfks.command.set`.
    Queue,
    /// `POST /mi`.
    Http,
}

impl Way {
    const ALL: [Self; 3] = [Self::Bus, Self::Queue, Self::Http];

    /// The metric labels `via` and `queue`.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Bus => "bus",
            Self::Queue => "queue",
            Self::Http => "http",
        }
    }
}

/// Handles of the mi bridge's metrics, looked up once.
///
/// Made after the recorder is installed: a handle made before it counts nowhere.
#[derive(Debug)]
pub(crate) struct MiMetrics {
    received: [Counter; Way::ALL.len()],
    in_hand: [QueueGauges; Way::ALL.len()],
    commands: [Counter; Outcome::ALL.len()],
    seconds: Histogram,
    jobs: Counter,
    retries: Counter,
    tellings_retried: Counter,
    timers: [Counter; TimerOutcome::ALL.len()],
    in_flight: Gauge,
    dropped: [Counter; DropReason::ALL.len()],
}

impl MiMetrics {
    /// `capacity`: commands that fit in hand, of those that came over the bus or HTTP; `durable_capacity`: of the durable ones.
    pub(crate) fn new(capacity: usize, durable_capacity: usize) -> Self {
        describe();
        let origin = Origin::Mi.as_str();
        let metrics = Self {
            received: Way::ALL.map(|way| metrics::counter!("dfks_mi_received_total", "via" => way.as_str())),
            in_hand: Way::ALL.map(|way| {
                let capacity = if way == Way::Queue { durable_capacity } else { capacity };
                QueueGauges::new(QueueStage::Mi, way.as_str(), capacity)
            }),
            commands: Outcome::ALL
                .map(|outcome| metrics::counter!("dfks_mi_commands_total", "origin" => origin, "outcome" => outcome.as_str())),
            seconds: metrics::histogram!("dfks_mi_command_duration_seconds", "origin" => origin),
            jobs: metrics::counter!("dfks_mi_jobs_total"),
            retries: metrics::counter!("dfks_mi_retries_total"),
            tellings_retried: metrics::counter!("dfks_mi_tellings_retried_total"),
            timers: TimerOutcome::ALL.map(|outcome| metrics::counter!("dfks_mi_timers_total", "outcome" => outcome.as_str())),
            in_flight: metrics::gauge!("dfks_mi_in_flight"),
            dropped: DropReason::ALL.map(|reason| metrics::counter!("dfks_mi_dropped_total", "reason" => reason.as_str())),
        };
        for counter in metrics.commands.iter().chain(&metrics.received).chain(&metrics.dropped).chain(&metrics.timers).chain([
            &metrics.jobs,
            &metrics.retries,
            &metrics.tellings_retried,
        ]) {
            counter.increment(0);
        }
        metrics.in_flight.set(0.0);
        metrics
    }

    /// A command came in; it is in flight until the guard is dropped.
    pub(crate) fn command_started(&self, way: Way) -> InFlight<'_> {
        self.command_received(way);
        self.in_flight.increment(1.0);
        let in_hand = self.in_hand.get(way as usize);
        if let Some(queue) = in_hand {
            queue.entered();
        }
        InFlight { all: &self.in_flight, in_hand }
    }

    /// A command came in that is answered at once.
    pub(crate) fn command_received(&self, way: Way) {
        if let Some(counter) = self.received.get(way as usize) {
            counter.increment(1);
        }
    }

    /// A command came in when there were too many in hand.
    pub(crate) fn command_turned_away(&self, way: Way) {
        self.command_received(way);
        self.dropped(DropReason::Overloaded);
    }

    /// A command has its answer.
    pub(crate) fn command_ended(&self, error: Option<&ErrorBody>, took: Duration) {
        let outcome = error.map_or(Outcome::Applied, Outcome::of_error);
        if let Some(counter) = self.commands.get(outcome as usize) {
            counter.increment(1);
        }
        self.seconds.record(took.as_secs_f64());
        let code = error.map(|error| error.code);
        let field = error.and_then(|error| error.field.as_deref());
        tracing::debug!(outcome = outcome.as_str(), code, field, "mi command ended");
    }

    /// The bus failed a command.
    #[expect(clippy::unused_self, reason = "a method for each thing that happens, whether or not it has a counter of its own")]
    pub(crate) fn step_failed(&self, step: &'static str, reason: &'static str) {
        tracing::debug!(step, reason, "mi command failed");
    }

    /// A durable command will be tried again after `delay`.
    pub(crate) fn command_retried(&self, error: &ErrorBody, delay: Duration) {
        self.retries.increment(1);
        tracing::debug!(code = error.code, ?delay, "mi command not carried out yet");
    }

    /// Durable commands cannot be taken for a moment.
    #[expect(clippy::unused_self, reason = "a method for each thing that happens, whether or not it has a counter of its own")]
    pub(crate) fn commands_interrupted(&self, error: &dyn Error) {
        let cause = error.source().map(ToString::to_string);
        tracing::warn!(%error, cause, "durable commands interrupted");
    }

    /// Changes cannot be followed for a moment.
    #[expect(clippy::unused_self, reason = "a method for each thing that happens, whether or not it has a counter of its own")]
    pub(crate) fn telling_interrupted(&self, error: &dyn Error) {
        let cause = error.source().map(ToString::to_string);
        tracing::warn!(%error, cause, "telling of changes interrupted");
    }

    /// The jobs of a change could not be stored: it comes again.
    pub(crate) fn telling_failed(&self, reason: &'static str) {
        self.tellings_retried.increment(1);
        tracing::debug!(reason, "change not told yet");
    }

    /// A feature's time was over.
    pub(crate) fn timer_ended(&self, outcome: TimerOutcome) {
        if let Some(counter) = self.timers.get(outcome as usize) {
            counter.increment(1);
        }
        tracing::debug!(outcome = outcome.as_str(), "timer ended");
    }

    /// A feature cannot be set for a time, or the stream of timers is away.
    #[expect(clippy::unused_self, reason = "a method for each thing that happens, whether or not it has a counter of its own")]
    pub(crate) fn not_scheduled(&self, error: &dyn Error) {
        tracing::warn!(%error, "features do not go off by themselves");
    }

    /// Timers cannot be taken for a moment.
    #[expect(clippy::unused_self, reason = "a method for each thing that happens, whether or not it has a counter of its own")]
    pub(crate) fn timers_interrupted(&self, error: &dyn Error) {
        let cause = error.source().map(ToString::to_string);
        tracing::warn!(%error, cause, "timers interrupted");
    }

    /// A record of the bucket of feature states is none of ours.
    pub(crate) fn unreadable_record(&self) {
        self.dropped(DropReason::UnreadableRecord);
        tracing::warn!("a record of the bucket of feature states is unreadable: its phones are not told");
    }

    /// A durable command that is to be given up could not be stored as a dead letter.
    #[expect(clippy::unused_self, reason = "a method for each thing that happens, whether or not it has a counter of its own")]
    pub(crate) fn not_buried(&self, error: &dyn Error) {
        tracing::warn!(%error, "a durable command cannot be put aside, it comes again");
    }

    /// NOTIFY jobs are stored.
    pub(crate) fn jobs_stored(&self, count: usize) {
        self.jobs.increment(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Something was dropped.
    pub(crate) fn dropped(&self, reason: DropReason) {
        if let Some(counter) = self.dropped.get(reason as usize) {
            counter.increment(1);
        }
        tracing::debug!(reason = reason.as_str(), "mi command dropped");
    }
}

/// A command in flight.
#[must_use]
pub(crate) struct InFlight<'a> {
    all: &'a Gauge,
    in_hand: Option<&'a QueueGauges>,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.all.decrement(1.0);
        if let Some(queue) = self.in_hand {
            queue.left();
        }
    }
}

fn describe() {
    metrics::describe_counter!("dfks_mi_received_total", "Commands that came in, by the way they came");
    metrics::describe_counter!("dfks_mi_commands_total", "Commands answered, by outcome");
    metrics::describe_histogram!("dfks_mi_command_duration_seconds", Unit::Seconds, "From a command to its reply");
    metrics::describe_counter!("dfks_mi_jobs_total", "NOTIFY jobs stored, one for each edge that holds a watcher");
    metrics::describe_counter!("dfks_mi_retries_total", "Durable commands that were tried again");
    metrics::describe_counter!("dfks_mi_timers_total", "Features whose time was over, by what became of them");
    metrics::describe_gauge!("dfks_mi_in_flight", "Commands being carried out");
    metrics::describe_counter!("dfks_mi_tellings_retried_total", "Changes whose NOTIFY jobs could not be stored and will be");
    metrics::describe_counter!(
        "dfks_mi_dropped_total",
        "Commands turned away, replies that could not be sent, records that cannot be read, by reason"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_looked_up_in_the_order_they_are_listed() {
        for (position, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, position, "{}", outcome.as_str());
        }
        for (position, way) in Way::ALL.into_iter().enumerate() {
            assert_eq!(way as usize, position, "{}", way.as_str());
        }
        for (position, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, position, "{}", reason.as_str());
        }
    }

    #[test]
    fn every_error_code_has_its_outcome() {
        for (code, want) in [(400, "invalid"), (403, "denied"), (404, "invalid"), (500, "failed"), (502, "failed"), (503, "unavailable")] {
            let error = ErrorBody { code, description: String::new(), field: None };
            assert_eq!(Outcome::of_error(&error).as_str(), want, "{code}");
        }
    }

    #[test]
    fn every_series_is_there_from_the_start() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let text = metrics::with_local_recorder(&recorder, || {
            let metrics = MiMetrics::new(256, 256);
            let _in_flight = metrics.command_started(Way::Queue);
            metrics.command_turned_away(Way::Http);
            metrics.command_ended(None, Duration::from_millis(3));
            metrics.jobs_stored(2);
            handle.render()
        });
        for line in [
            "dfks_mi_commands_total{origin=\"mi\",outcome=\"applied\"} 1",
            "dfks_mi_commands_total{origin=\"mi\",outcome=\"denied\"} 0",
            "dfks_mi_commands_total{origin=\"mi\",outcome=\"invalid\"} 0",
            "dfks_mi_commands_total{origin=\"mi\",outcome=\"unavailable\"} 0",
            "dfks_mi_commands_total{origin=\"mi\",outcome=\"failed\"} 0",
            "dfks_mi_jobs_total 2",
            "dfks_mi_retries_total 0",
            "dfks_mi_in_flight 1",
            "dfks_mi_received_total{via=\"bus\"} 0",
            "dfks_mi_received_total{via=\"http\"} 1",
            "dfks_mi_queue_depth{queue=\"queue\"} 1",
            "dfks_mi_queue_capacity{queue=\"bus\"} 256",
            "dfks_mi_dropped_total{reason=\"overloaded\"} 1",
            "dfks_mi_dropped_total{reason=\"reply_not_sent\"} 0",
            "dfks_mi_dropped_total{reason=\"unreadable_record\"} 0",
            "dfks_mi_tellings_retried_total 0",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
        assert!(text.contains("dfks_mi_command_duration_seconds"), "{text}");
    }
}
