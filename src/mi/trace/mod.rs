//! One change's whole way, from what asked for it to each NOTIFY and its answer: read from the stream of events (`src/bus/caused.rs`),
//! with what edges and the work queue say is still under way, and put in order (`ladder`). Drawn by `svg`.
//!
//! ```text
//! cause ─▶ DFKS_EVENTS (what happened) ─▶ dfks.watchers (what phones wait for) · DFKS_NOTIFY (jobs that nobody took) ─▶ ladder ─▶ steps
//! ```

mod ladder;
mod step;
mod svg;
#[cfg(test)]
mod tests;
mod word;

use std::time::Duration;

use futures_util::future::join;

pub(crate) use step::{Step, Trace};
pub(crate) use svg::draw;
pub(crate) use word::Outcome;
#[cfg(test)]
pub(crate) use word::StepKind;

use crate::bus::message::{FeatureEvent, Origin};
use crate::bus::poll::{self, PollLimits};
use crate::bus::{Bus, Caused, RequestError, Under};
use crate::feature::Presentity;
use crate::runtime::clock;

/// How long edges are waited for.
const PATIENCE: Duration = Duration::from_millis(800);
/// Most subscriptions of one presentity that are looked at.
const MOST_WATCHERS: usize = 1_000;

/// The whole way of what has this cause. Without any event of it the trace has no steps.
///
/// # Errors
///
/// [`RequestError`]: the stream of events cannot be read, or not within `timeout`. Who does not answer meanwhile is left out.
pub(crate) async fn trace(bus: &Bus, cause: &str, timeout: Duration) -> Result<Trace, RequestError> {
    let past = bus.caused(cause, timeout).await?;
    Ok(of(bus, cause, past).await)
}

/// The whole way of the last change of a presentity, made or refused; `None`: there was none within 24 h, as far back as could be read.
///
/// # Errors
///
/// As [`trace`].
pub(crate) async fn last(bus: &Bus, presentity: &Presentity, timeout: Duration) -> Result<Option<Trace>, RequestError> {
    let history = bus.history(presentity, timeout).await?;
    let is_asked = |change: &&FeatureEvent| change.origin != Origin::Responder;
    let changes = history.changes.iter().rev();
    let Some(last) = changes.clone().find(is_asked).or(history.changes.last()) else { return Ok(None) };
    let cause = last.cause.to_string();
    let since = clock::parse_rfc3339(last.asked_at.as_ref().unwrap_or(&last.time));
    let past = bus.caused_in(&cause, presentity, since, timeout).await?;
    Ok(Some(of(bus, &cause, past).await))
}

async fn of(bus: &Bus, cause: &str, past: Caused) -> Trace {
    let Some(presentity) = past.presentity().and_then(|text| Presentity::parse(text).ok()) else {
        return ladder::of(cause, &past, &Under::default(), bus.utc_now());
    };
    let patience = PATIENCE.min(bus.timeout());
    let limits = PollLimits { timeout: patience, total: patience, watchers: MOST_WATCHERS };
    let asked = poll::watchers_in_detail(bus, presentity.as_str().to_owned(), limits);
    let (watchers, jobs) = join(asked, bus.jobs_of(cause, past.began(), patience)).await;
    let under = Under { edges: watchers.unwrap_or_default().edges, jobs: jobs.unwrap_or_default() };
    ladder::of(cause, &past, &under, bus.utc_now())
}
