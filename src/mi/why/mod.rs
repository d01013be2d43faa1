//! Why a lamp is as it is: the facts are asked of edges, workers and the stream of events at once, then weighed (`verdict`). I/O.
//!
//! ```text
//! dfks.why ─▶ dfks.get (state, owner) · dfks.watchers (told, pending) · dfks.responders (breakers) · DFKS_EVENTS (what was) ─▶ findings
//! ```
//! Each edge looks its subscriptions up by the presentity; none goes through all that it holds.

mod facts;
mod report;
mod text;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join5;

use crate::bus::RequestError;
use crate::bus::message::{ErrorBody, GetRequest, Kind, ResponderReport, WhyRequest, WhyResponse};
use crate::bus::poll::{self, Poll, PollLimits};
use crate::bus::trace::Cause;
use crate::mi::bridge::{Bridge, Fanout};
use crate::mi::hand::presentity_of;
use crate::mi::why::facts::Facts;
use crate::runtime::clock;

/// How long anybody is waited for: an answer comes within a second.
const PATIENCE: Duration = Duration::from_millis(800);
/// Most subscriptions of one presentity that are looked at.
const MOST_WATCHERS: usize = 1_000;

impl<F: Fanout> Bridge<F> {
    /// What is told to the phones of a presentity, and where it stops.
    ///
    /// # Errors
    ///
    /// 400: no presentity, or an unknown feature. Whoever does not answer is a finding, no error.
    pub(crate) async fn why(&self, request: WhyRequest, cause: &Cause) -> Result<WhyResponse, ErrorBody> {
        let presentity = presentity_of(&request.presentity)?;
        let bus = self.bus();
        let patience = PATIENCE.min(bus.timeout());
        let get = GetRequest {
            kind: Kind::default(),
            presentity: presentity.as_str().to_owned(),
            features: request.features.clone().filter(|features| !features.is_empty()),
            package: None,
            subscription: None,
            strict: false,
        };
        let limits = PollLimits { timeout: patience, total: patience, watchers: MOST_WATCHERS };
        let (states, holders, watchers, reports, history) = join5(
            bus.get(get, cause, patience),
            self.fanout().watchers(&presentity, self.table().packages(), None),
            poll::watchers_in_detail(bus, presentity.as_str().to_owned(), limits),
            poll::responders(bus, limits),
            bus.history(&presentity, patience),
        )
        .await;
        if let Err(RequestError::Refused(body)) = &states
            && body.code == 400
        {
            return Err(body.clone());
        }
        let Poll { edges, .. } = watchers.unwrap_or_default();
        let domain = presentity.domain_token();
        let of_domain = |report: &ResponderReport| report.domain == domain;
        let facts = Facts {
            asked: request.features.unwrap_or_default(),
            now: bus.utc_now(),
            states: states.map(|answer| answer.features).map_err(|error| error.to_string()),
            holders: holders.map_err(|error| error.to_string()),
            edges,
            reports: reports.unwrap_or_default().into_values().flatten().filter(of_domain).collect(),
            is_history_slow: matches!(history, Err(RequestError::Timeout(_))),
            history: history.map_err(|error| error.to_string()),
            table: Arc::clone(self.table()),
            presentity,
        };
        tracing::debug!(at = clock::rfc3339(facts.now), "asked why");
        Ok(report::of(&facts))
    }
}
