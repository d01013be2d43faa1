//! What a worker does for one change, noted as it is done.

use std::time::{Duration, Instant, SystemTime};

use crate::bus::message::{Work, WorkPart, WorkStep};
use crate::runtime::clock;

/// The work on one change. Pure but for the clock, which is looked at once a part.
#[derive(Debug)]
pub(crate) struct WorkLog {
    at: SystemTime,
    began_at: Instant,
    /// When the part began that is noted next.
    part_began_at: Instant,
    steps: Vec<WorkStep>,
}

impl WorkLog {
    /// Work that begins now; `at` is the time of day at the bus.
    pub(crate) fn begin(at: SystemTime) -> Self {
        let now = clock::now();
        Self { at, began_at: now, part_began_at: now, steps: Vec::with_capacity(4) }
    }

    /// A part is done, which began when the one before was.
    pub(crate) fn did(&mut self, what: WorkPart, who: Option<String>, outcome: &str) {
        let now = clock::now();
        let since = std::mem::replace(&mut self.part_began_at, now);
        self.steps.push(WorkStep {
            what,
            who,
            after_us: micros(since.saturating_duration_since(self.began_at)),
            took_us: micros(now.saturating_duration_since(since)),
            outcome: outcome.to_owned(),
        });
    }

    /// The whole, as it is told.
    pub(crate) fn end(self) -> Work {
        let took_us = micros(clock::now().saturating_duration_since(self.began_at));
        Work { at: clock::rfc3339(self.at), took_us, steps: self.steps }
    }
}

fn micros(of: Duration) -> u64 {
    u64::try_from(of.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_part_begins_where_the_one_before_ended() {
        let mut log = WorkLog::begin(SystemTime::UNIX_EPOCH);
        for (part, took) in [(WorkPart::Read, 2), (WorkPart::Responder, 30), (WorkPart::Store, 5)] {
            tokio::time::advance(Duration::from_millis(took)).await;
            log.did(part, None, "ok");
        }
        let work = log.end();
        let steps: Vec<_> = work.steps.iter().map(|step| (step.what, step.after_us, step.took_us)).collect();
        let want = [(WorkPart::Read, 0, 2_000), (WorkPart::Responder, 2_000, 30_000), (WorkPart::Store, 32_000, 5_000)];
        assert_eq!((steps.as_slice(), work.took_us), (want.as_slice(), 37_000));
    }
}
