//! What a change makes of the state that is stored.

use crate::feature::error::FeatureError;
use crate::feature::rule::{LOGGED_OFF, LOGGED_ON};
use crate::feature::state::{FeatureState, Status, Values};
use crate::feature::table::{FeatureSpec, REASON, STATE};

/// The state after a change; what the change leaves out stays as it was.
///
/// `version`, `source` and `notify` are copied from `stored`: the caller sets them when it stores the result.
/// `AgentState`: `values.state` decides the status, and a status alone moves between logged off and logged on; a reason
/// belongs to the state that it was given with, and goes when that is left without a new one. The first change of a
/// feature that is unassigned by default assigns it.
///
/// # Errors
///
/// [`FeatureError`] for a value that is not allowed, and for a status that contradicts `values.state`: answered 400.
pub(crate) fn merge(
    spec: &FeatureSpec,
    stored: &FeatureState,
    status: Option<Status>,
    values: &Values,
) -> Result<FeatureState, FeatureError> {
    spec.check_values(values)?;
    let mut state = stored.clone();
    if spec.is_agent() {
        merge_agent(&mut state, status, values)?;
    } else {
        state.status = status.unwrap_or(state.status);
        state.values.extend(values.iter().map(|(field, value)| (field.clone(), value.clone())));
    }
    let is_first_change = stored.version == 0 && (status.is_some() || !values.is_empty());
    state.assigned |= is_first_change && !spec.is_assigned_at_first();
    Ok(state)
}

/// The status that the values decide: `values.state` of `AgentState`. `None` where they leave it open.
#[must_use]
pub(crate) fn implied_status(spec: &FeatureSpec, values: &Values) -> Option<Status> {
    values.get(STATE).filter(|_| spec.is_agent()).map(|state| Status(state != LOGGED_OFF))
}

fn merge_agent(state: &mut FeatureState, status: Option<Status>, values: &Values) -> Result<(), FeatureError> {
    let before = state.values.get(STATE).cloned();
    let wanted = match (values.get(STATE), status) {
        (Some(wanted), status) => {
            let implied = Status(wanted != LOGGED_OFF);
            if let Some(given) = status.filter(|given| *given != implied) {
                return Err(FeatureError::Contradiction { status: u8::from(given.is_on()), state: wanted.clone() });
            }
            Some(wanted.clone())
        }
        (None, Some(Status::OFF)) => Some(LOGGED_OFF.to_owned()),
        (None, Some(_)) => Some(before.clone().filter(|before| before != LOGGED_OFF).unwrap_or_else(|| LOGGED_ON.to_owned())),
        (None, None) => before.clone(),
    };
    if before != wanted {
        state.values.remove(REASON);
    }
    state.values.extend(values.iter().map(|(field, value)| (field.clone(), value.clone())));
    if let Some(wanted) = wanted {
        state.status = Status(wanted != LOGGED_OFF);
        state.values.insert(STATE.to_owned(), wanted);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::FeatureTable;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect()
    }

    fn stored(feature: &str, on: bool, pairs: &[(&str, &str)]) -> FeatureState {
        FeatureState { status: Status(on), values: values(pairs), version: 7, ..FeatureState::new(feature) }
    }

    #[test]
    fn what_is_left_out_stays_as_it_was() {
        let table = FeatureTable::built_in();
        let spec = table.require("CallForwardingNoAnswer").unwrap();
        let old = stored(spec.name(), true, &[("forwardTo", "sip:bob@h"), ("ringCount", "3")]);
        for (name, status, change, want_on, want) in [
            ("nothing", None, vec![], true, vec![("forwardTo", "sip:bob@h"), ("ringCount", "3")]),
            ("status", Some(Status::OFF), vec![], false, vec![("forwardTo", "sip:bob@h"), ("ringCount", "3")]),
            ("one value", None, vec![("ringCount", "04")], true, vec![("forwardTo", "sip:bob@h"), ("ringCount", "04")]),
            ("cleared", Some(Status::ON), vec![("forwardTo", "")], true, vec![("forwardTo", ""), ("ringCount", "3")]),
        ] {
            let new = merge(spec, &old, status, &values(&change)).unwrap();
            assert_eq!((new.status.is_on(), new.values, new.version, new.assigned), (want_on, values(&want), 7, true), "{name}");
        }
        assert!(matches!(merge(spec, &old, None, &values(&[("ringCount", "x")])), Err(FeatureError::RingCount { .. })));
    }

    #[test]
    fn the_agent_state_decides_the_status() {
        let table = FeatureTable::built_in();
        let spec = table.require("AgentState").unwrap();
        let not_ready = [("state", "notReady"), ("reason", "lunch")];
        for (name, old, status, change, want) in [
            ("state alone", &[][..], None, vec![("state", "ready")], Ok((true, vec![("state", "ready")]))),
            ("both agree", &[], Some(Status::ON), vec![("state", "ready")], Ok((true, vec![("state", "ready")]))),
            ("both agree, off", &not_ready, Some(Status::OFF), vec![("state", "loggedOff")], Ok((false, vec![("state", "loggedOff")]))),
            ("they disagree", &[], Some(Status::OFF), vec![("state", "ready")], Err("contradiction")),
            ("they disagree, off", &[], Some(Status::ON), vec![("state", "loggedOff")], Err("contradiction")),
            ("on from nothing", &[], Some(Status::ON), vec![], Ok((true, vec![("state", "loggedOn")]))),
            ("on from logged off", &[("state", "loggedOff")], Some(Status::ON), vec![], Ok((true, vec![("state", "loggedOn")]))),
            ("on keeps the state", &not_ready, Some(Status::ON), vec![], Ok((true, not_ready.to_vec()))),
            ("off logs off", &not_ready, Some(Status::OFF), vec![], Ok((false, vec![("state", "loggedOff")]))),
            ("reason alone", &not_ready, None, vec![("reason", "call")], Ok((true, vec![("state", "notReady"), ("reason", "call")]))),
            ("the old reason goes", &not_ready, None, vec![("state", "ready")], Ok((true, vec![("state", "ready")]))),
            ("the same state keeps it", &not_ready, None, vec![("state", "notReady")], Ok((true, not_ready.to_vec()))),
        ] {
            let on = old.first().is_some_and(|(_, state)| *state != "loggedOff");
            let got = merge(spec, &stored("AgentState", on, old), status, &values(&change));
            let got = got.map(|state| (state.status.is_on(), state.values)).map_err(|error| error.reason());
            assert_eq!(got, want.map(|(on, pairs)| (on, values(&pairs))), "{name}");
        }
    }

    #[test]
    fn the_first_change_assigns_what_is_unassigned_by_default_and_no_other_does() {
        let table = FeatureTable::built_in();
        let spec = table.require("AgentState").unwrap();
        let fresh = spec.default_state();
        assert!(!merge(spec, &fresh, None, &Values::new()).unwrap().assigned);
        assert!(merge(spec, &fresh, Some(Status::ON), &Values::new()).unwrap().assigned);
        let withdrawn = FeatureState { version: 3, ..fresh };
        assert!(!merge(spec, &withdrawn, Some(Status::ON), &Values::new()).unwrap().assigned);
        let hoteling = table.require("Hoteling").unwrap();
        assert!(merge(hoteling, &hoteling.default_state(), Some(Status::OFF), &Values::new()).unwrap().assigned);
        let dnd = table.require("DoNotDisturb").unwrap();
        let unassigned = FeatureState { assigned: false, ..dnd.default_state() };
        assert!(!merge(dnd, &unassigned, Some(Status::ON), &Values::new()).unwrap().assigned);
    }
}
