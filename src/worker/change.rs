//! A change to a feature, as the request, the script and a responder express it. Pure.

use crate::bus::message::{AlsoChange, ResponderState};
use crate::feature::{FeatureError, FeatureSpec, FeatureState, Status, Values, merge};

/// A change to one feature. What is left out stays as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) status: Option<Status>,
    /// Values that differ.
    pub(crate) values: Values,
    /// Whether phones are told of the feature.
    pub(crate) assigned: Option<bool>,
    /// Whether this state goes out in a NOTIFY.
    pub(crate) notify: Option<bool>,
    /// Other features that change along with it.
    pub(crate) also: Vec<AlsoChange>,
}

impl Change {
    /// The change that a phone or a command asks for.
    pub(crate) fn requested(status: Status, values: Values) -> Self {
        Self { status: Some(status), values, ..Self::default() }
    }

    /// As [`apply`](Self::apply), of a presentity, which no forward of its own may lead to where the configuration says so.
    ///
    /// # Errors
    ///
    /// [`FeatureError`].
    pub(crate) fn apply_for(&self, spec: &FeatureSpec, presentity: &str, base: &FeatureState) -> Result<FeatureState, FeatureError> {
        let state = self.apply(spec, base)?;
        spec.check_target(presentity, (self.status, &self.values), &state)?;
        Ok(state)
    }

    /// The state after this change, with the version and source of `base`.
    ///
    /// # Errors
    ///
    /// [`FeatureError`]: a value that the feature does not have or that is out of range, or a status that disagrees.
    pub(crate) fn apply(&self, spec: &FeatureSpec, base: &FeatureState) -> Result<FeatureState, FeatureError> {
        let mut state = merge(spec, base, self.status, &self.values)?;
        state.assigned = self.assigned.unwrap_or(state.assigned);
        state.notify = base.notify && self.notify != Some(false);
        Ok(state)
    }
}

impl From<ResponderState> for Change {
    fn from(answer: ResponderState) -> Self {
        let ResponderState { kind: _, status, values, assigned, notify, also } = answer;
        Self { status, values, assigned, notify, also }
    }
}

impl From<&AlsoChange> for Change {
    fn from(also: &AlsoChange) -> Self {
        Self { status: also.status, values: also.values.clone(), assigned: also.assigned, ..Self::default() }
    }
}
