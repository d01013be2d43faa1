//! Whether a change leads a forward where `features.target` allows.

use crate::feature::error::FeatureError;
use crate::feature::rule::Rule;
use crate::feature::state::{FeatureState, Status, Values};
use crate::feature::table::{FeatureSpec, FeatureTable};
use crate::feature::target::{FORWARD_TO, Target, leads_to};

impl FeatureTable {
    /// The same table, where forwards lead to what `features.target` allows.
    #[must_use]
    pub fn with_target(mut self, target: Target) -> Self {
        for field in self.specs.iter_mut().flat_map(|spec| &mut spec.fields).filter(|field| field.name == FORWARD_TO) {
            field.rule = Rule::Target(target);
        }
        self
    }
}

impl FeatureSpec {
    /// Checks where a change leads, for this presentity: `state` is what the change comes to, `status` and `values` what it says.
    ///
    /// # Errors
    ///
    /// [`FeatureError`] where `features.target` is `strict` and the forward would lead to the presentity itself, or nowhere.
    pub(crate) fn check_target(
        &self,
        presentity: &str,
        (status, values): (Option<Status>, &Values),
        state: &FeatureState,
    ) -> Result<(), FeatureError> {
        let is_strict = self.fields.iter().any(|field| field.name == FORWARD_TO && field.rule == Rule::Target(Target::Strict));
        let switches_on = status == Some(Status::ON);
        if !is_strict || !(switches_on || values.contains_key(FORWARD_TO)) {
            return Ok(());
        }
        let target = state.values.get(FORWARD_TO).map(String::as_str).unwrap_or_default();
        if switches_on && target.is_empty() {
            return Err(FeatureError::NoTarget { feature: self.name.clone() });
        }
        // One that is stored from before the rule was set is looked at when it is switched on.
        self.check_value(FORWARD_TO, target)?;
        if leads_to(target, presentity) { Err(FeatureError::OwnTarget { value: target.to_owned() }) } else { Ok(()) }
    }

    /// As [`check_target`](Self::check_target), of a change whose stored state is not known here.
    ///
    /// # Errors
    ///
    /// [`FeatureError`] where the change itself names a target that is not allowed.
    pub(crate) fn check_own_target(&self, presentity: &str, values: &Values) -> Result<(), FeatureError> {
        let state = FeatureState { values: values.clone(), ..FeatureState::new(&self.name) };
        self.check_target(presentity, (None, values), &state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::target::EXPECTED;

    const ALICE: &str = "sip:alice@10.0.0.11";

    #[test]
    fn strict_wants_a_target_that_leads_elsewhere_and_only_where_it_matters() {
        let values = |target: Option<&str>| target.map(|target| (FORWARD_TO.to_owned(), target.to_owned())).into_iter().collect::<Values>();
        for (rule, stored, status, given, want) in [
            (Target::Strict, None, Some(Status::ON), None, Err("no_target")),
            (Target::Strict, Some("2002"), Some(Status::ON), None, Ok(())),
            (Target::Strict, Some("2002"), Some(Status::ON), Some(""), Err("no_target")),
            (Target::Strict, None, Some(Status::OFF), Some(""), Ok(())),
            (Target::Strict, None, Some(Status::OFF), Some(ALICE), Err("own_target")),
            (Target::Strict, Some(ALICE), Some(Status::ON), None, Err("own_target")),
            (Target::Strict, Some(ALICE), Some(Status::OFF), None, Ok(())),
            (Target::Strict, Some("the desk"), Some(Status::ON), None, Err("target")),
            (Target::Strict, None, None, None, Ok(())),
            (Target::Uri, None, Some(Status::ON), None, Ok(())),
            (Target::Uri, None, Some(Status::ON), Some(ALICE), Ok(())),
            (Target::Any, Some(ALICE), Some(Status::ON), None, Ok(())),
        ] {
            let table = FeatureTable::built_in().with_target(rule);
            let spec = table.require("CallForwardingNoAnswer").unwrap();
            let state = FeatureState { values: values(given.or(stored)), ..FeatureState::new(spec.name()) };
            let got = spec.check_target(ALICE, (status, &values(given)), &state).map_err(|error| error.reason());
            assert_eq!(got, want, "{rule:?} {stored:?} {status:?} {given:?}");
        }
        let table = FeatureTable::built_in().with_target(Target::Strict);
        let dnd = table.require("DoNotDisturb").unwrap();
        assert_eq!(dnd.check_target(ALICE, (Some(Status::ON), &Values::new()), &FeatureState::new("DoNotDisturb")), Ok(()));
    }

    #[test]
    fn the_errors_name_field_and_rule() {
        let check = |rule, value: &str| {
            let table = FeatureTable::built_in().with_target(rule);
            let values = [(FORWARD_TO.to_owned(), value.to_owned())].into();
            let spec = table.require("CallForwardingBusy").unwrap();
            let error = spec.check_values(&values).and_then(|()| spec.check_own_target(ALICE, &values)).unwrap_err();
            (error.field(), error.to_string())
        };
        let field = "values.forwardTo".to_owned();
        let uri = format!("invalid forwardTo 'the desk': expected {EXPECTED} (features.target is uri)");
        assert_eq!(check(Target::Uri, "the desk"), (field.clone(), uri));
        let own = format!("invalid forwardTo '{ALICE}': it is the presentity itself (features.target is strict)");
        assert_eq!(check(Target::Strict, ALICE), (field, own));
    }
}
