//! The outcome of a set: request, script and responder applied in turn to the stored state. Pure.

use std::time::{Duration, SystemTime};

use crate::bus::feature_record::FeatureRecord;
use crate::bus::message::{AlsoChange, Origin};
use crate::feature::hoteling::{DEFAULT_EXPIRES_SECONDS, EXPIRES};
use crate::feature::{FeatureError, FeatureSpec, FeatureState, FeatureTable, Source};
use crate::runtime::clock;
use crate::worker::change::Change;

/// The inputs of one set.
///
/// Applied again to the latest record when another worker was faster, without asking script and responder again.
#[derive(Debug)]
pub(crate) struct Set<'t> {
    pub(crate) table: &'t FeatureTable,
    pub(crate) spec: &'t FeatureSpec,
    pub(crate) origin: Origin,
    pub(crate) request: Change,
    pub(crate) ends: Ends,
    pub(crate) script: Change,
    /// `None`: nobody listens.
    pub(crate) responder: Option<Change>,
}

/// When what a set switches on goes off by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ends {
    /// Never.
    Never,
    /// At this time: RFC 3339 UTC.
    At(String),
    /// A guest's visit: so long after this time as its value `expires` says.
    WithVisit(SystemTime),
}

impl Ends {
    /// When this state goes off: RFC 3339 UTC. What is off stays so.
    fn of(&self, state: &FeatureState) -> Option<String> {
        if !state.status.is_on() {
            return None;
        }
        match self {
            Self::Never => None,
            Self::At(at) => Some(at.clone()),
            Self::WithVisit(from) => {
                // where none is set, phones are told the default
                let expires = state.values.get(EXPIRES).map_or(Some(u64::from(DEFAULT_EXPIRES_SECONDS)), |seconds| seconds.parse().ok());
                let seconds = expires.filter(|seconds| *seconds > 0)?;
                Some(clock::rfc3339(from.checked_add(Duration::from_secs(seconds))?))
            }
        }
    }
}

/// Outcome of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The state before.
    pub(crate) previous: FeatureState,
    /// The state as watchers are told.
    pub(crate) state: FeatureState,
    /// Other features that changed along.
    pub(crate) also: Vec<FeatureState>,
    /// What those were before, in the same order.
    pub(crate) also_previous: Vec<FeatureState>,
    /// Whether watchers are told.
    pub(crate) notify: bool,
    /// Whether this feature or another changed. A command always changes it.
    pub(crate) changed: bool,
    /// What to store; `None` when nothing changed.
    pub(crate) record: Option<FeatureRecord>,
}

impl Set<'_> {
    /// The state that the script is shown: the requested one.
    ///
    /// # Errors
    ///
    /// [`FeatureError`]: the request does not fit, answered 400.
    pub(crate) fn requested(&self, record: &FeatureRecord) -> Result<FeatureState, FeatureError> {
        self.request.apply_for(self.spec, record.presentity(), &record.state(self.spec))
    }

    /// The state that the responder is asked to apply.
    ///
    /// # Errors
    ///
    /// [`FeatureError`]: request or script do not fit.
    pub(crate) fn scripted(&self, record: &FeatureRecord) -> Result<FeatureState, FeatureError> {
        // The script's `assigned` is for this NOTIFY only: neither the responder nor the store gets to see it.
        let lasting = Change { assigned: None, ..self.script.clone() };
        lasting.apply_for(self.spec, record.presentity(), &self.requested(record)?)
    }

    /// The outcome of the set on `record`.
    ///
    /// # Errors
    ///
    /// [`FeatureError`]: something does not fit what is stored by now.
    pub(crate) fn outcome(&self, record: &FeatureRecord) -> Result<Outcome, FeatureError> {
        let previous = record.state(self.spec);
        let requested = self.requested(record)?;
        let scripted = self.scripted(record)?;
        let mut state = match &self.responder {
            Some(change) => change.apply_for(self.spec, record.presentity(), &scripted)?,
            None => scripted.clone(),
        };
        state.values = self.spec.lasting(state.values);
        let is_changed = self.origin == Origin::Mi || !state.shows_same_as(&previous);
        let mut updated = record.clone();
        if is_changed {
            state.version = previous.version.saturating_add(1);
            state.until = self.ends.of(&state);
            updated.put(&state);
        }
        state.source = if self.responder.is_some() {
            Source::Responder
        } else if !scripted.shows_same_as(&requested) {
            Source::Script
        } else if is_changed {
            Source::Store
        } else {
            previous.source
        };
        state.assigned = self.is_shown_assigned(state.assigned);
        if let Some(said) = &self.responder {
            state = self.spec.challenging(state, &said.values);
        }
        let notify = std::mem::replace(&mut state.notify, true);
        let (also_previous, also): (Vec<_>, Vec<_>) = self.also(&mut updated)?.into_iter().unzip();
        let changed = is_changed || !also.is_empty();
        Ok(Outcome { previous, state, also, also_previous, notify, changed, record: changed.then_some(updated) })
    }

    /// A script's `assigned = 0` empties the body of this NOTIFY, except after a command, which always has its body.
    fn is_shown_assigned(&self, stored: bool) -> bool {
        match (self.script.assigned, self.responder.as_ref().and_then(|change| change.assigned)) {
            (Some(false), _) if self.origin == Origin::Phone => false,
            (Some(true), None) => true,
            _ => stored,
        }
    }

    /// Puts the other features' changes into `record` and lists those that show something else: before and after.
    fn also(&self, record: &mut FeatureRecord) -> Result<Vec<(FeatureState, FeatureState)>, FeatureError> {
        let mut changed: Vec<(FeatureState, FeatureState)> = Vec::new();
        for also in self.all_also().filter(|also| also.feature != self.spec.name()) {
            let spec = self.table.require(&also.feature)?;
            let now = record.state(spec);
            let mut state = Change::from(also).apply_for(spec, record.presentity(), &now)?;
            if state.shows_same_as(&now) {
                continue;
            }
            state.source = Source::Store;
            state.until = None;
            // One set is one change of a feature, however many had a say in it.
            if let Some((_, earlier)) = changed.iter_mut().find(|(_, earlier)| earlier.feature == state.feature) {
                record.put(&state);
                *earlier = state;
            } else {
                state.version = now.version.saturating_add(1);
                record.put(&state);
                changed.push((now, state));
            }
        }
        Ok(changed)
    }

    fn all_also(&self) -> impl Iterator<Item = &AlsoChange> {
        self.script.also.iter().chain(self.responder.iter().flat_map(|change| &change.also))
    }
}

#[cfg(test)]
#[path = "tests/set.rs"]
mod tests;
