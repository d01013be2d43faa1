//! A run of a route with nothing around it: no bus, no store, no responder. What it does is what a worker would do.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use crate::bus::feature_record::FeatureRecord;
use crate::bus::message::Origin;
use crate::feature::{FeatureError, FeatureSpec, FeatureState, FeatureTable, Presentity};
use crate::worker::change::Change;
use crate::worker::get;
use crate::worker::route::Route;
use crate::worker::script::call::Call;
use crate::worker::script::{RouteError, Script};
use crate::worker::set::{Ends, Set};

/// What a route is tried on.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    pub(crate) script: Script,
    pub(crate) table: Arc<FeatureTable>,
    pub(crate) presentity: Presentity,
    /// What is stored of the presentity.
    pub(crate) record: FeatureRecord,
    /// When it runs.
    pub(crate) at: SystemTime,
}

/// The change that is asked for, of one feature.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) change: Change,
    pub(crate) origin: Origin,
    pub(crate) param: Option<&'a str>,
    pub(crate) watcher: Option<&'a str>,
}

/// What a run did.
#[derive(Debug, Serialize)]
pub(crate) struct Seen {
    /// The state as it was known before.
    pub(crate) before: FeatureState,
    /// What was asked for; none in a get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requested: Option<FeatureState>,
    /// The state as phones and services are told it.
    pub(crate) after: FeatureState,
    /// Why the change is refused.
    pub(crate) denied: Option<String>,
    /// Whether a NOTIFY tells it.
    pub(crate) notify: bool,
    /// Other features that change along.
    pub(crate) also: Vec<FeatureState>,
}

/// Why a run did nothing: a set is refused, a get serves the state as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RehearsalError {
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error("what the route says does not fit: {0}")]
    Feature(#[from] FeatureError),
}

/// What a run did or why not, and what the script said meanwhile.
pub(crate) type Outcome = (Result<Seen, RehearsalError>, Vec<String>);

impl Rehearsal {
    /// A get of one feature.
    pub(crate) fn get(&self, spec: &FeatureSpec) -> Outcome {
        let before = self.record.state(spec);
        let (verdict, said) = self.script.rehearse(Route::Get, self.call(Route::Get, None, before.clone()));
        (self.got(spec, before, verdict.map(|verdict| verdict.change)), said)
    }

    fn got(&self, spec: &FeatureSpec, before: FeatureState, change: Result<Change, RouteError>) -> Result<Seen, RehearsalError> {
        let mut after = get::scripted(spec, self.presentity.as_str(), &before, &change?)?;
        let notify = std::mem::replace(&mut after.notify, true);
        Ok(Seen { before, requested: None, after, denied: None, notify, also: Vec::new() })
    }

    /// A set of one feature.
    ///
    /// # Errors
    ///
    /// [`FeatureError`]: what is asked for is refused before any route runs.
    pub(crate) fn set(&self, spec: &FeatureSpec, asked: Asked<'_>) -> Result<Outcome, FeatureError> {
        spec.check_values(&asked.change.values)?;
        let mut set = Set {
            table: &self.table,
            spec,
            origin: asked.origin,
            request: asked.change,
            ends: Ends::Never,
            script: Change::default(),
            responder: None,
        };
        let (before, requested) = (self.record.state(spec), set.requested(&self.record)?);
        let param = asked.param.filter(|_| asked.origin == Origin::Mi);
        let call = self.call(Route::Set, param, requested.clone()).asked_by(asked.origin, asked.watcher).instead_of(before.clone());
        let (verdict, said) = self.script.rehearse(Route::Set, call);
        let verdict = match verdict {
            Ok(verdict) => verdict,
            Err(error) => return Ok((Err(error.into()), said)),
        };
        let requested = Some(requested);
        if verdict.denied.is_some() {
            let after = before.clone();
            return Ok((Ok(Seen { before, requested, after, denied: verdict.denied, notify: true, also: Vec::new() }), said));
        }
        set.script = verdict.change;
        let seen = set.outcome(&self.record).map_err(RehearsalError::from);
        let seen =
            seen.map(|outcome| Seen { before, requested, after: outcome.state, denied: None, notify: outcome.notify, also: outcome.also });
        Ok((seen, said))
    }

    fn call(&self, route: Route, param: Option<&str>, base: FeatureState) -> Call {
        Call::new(route, Arc::clone(&self.table), self.presentity.as_str(), param, base).at(self.at)
    }
}
