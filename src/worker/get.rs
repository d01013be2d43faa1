//! The answer to a get: responder, else store, else default; then the script. Pure.

use serde_json::Value;

use crate::bus::feature_record::FeatureRecord;
use crate::bus::message::{ErrorBody, GetRequest, PRESENTITY_EXPECTED};
use crate::feature::{FeatureError, FeatureSpec, FeatureState, FeatureTable, Presentity, Source};
use crate::worker::change::Change;
use crate::worker::error::Refusal;
use crate::worker::responder::answer::Answer;

/// Reads the payload of `dfks.get`.
///
/// # Errors
///
/// [`Refusal`], answered 400: the first field that is missing or no such thing, else what is no JSON object.
pub(crate) fn read(payload: &[u8]) -> Result<GetRequest, Refusal> {
    serde_json::from_slice(payload).map_err(|error| fault(payload).map_or_else(|| error.into(), Refusal::Field))
}

/// Whether a request is of the domain in its subject, `dfks.get.<domain>`.
///
/// # Errors
///
/// [`Refusal`]: 403 for a presentity of another domain, 400 for none at all.
pub(crate) fn within(payload: &[u8], domain: &str) -> Result<(), Refusal> {
    let presentity = Presentity::parse(&read(payload)?.presentity)?;
    if presentity.domain_token() == domain { Ok(()) } else { Err(Refusal::OtherDomain(ErrorBody::other_domain(&presentity, domain))) }
}

fn fault(payload: &[u8]) -> Option<ErrorBody> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(payload) else { return None };
    let is_list = |value: &Value| value.as_array().is_some_and(|names| names.iter().all(Value::is_string));
    let given = |field: &str| fields.get(field).filter(|value| !value.is_null());
    let Some(presentity) = given("presentity") else { return Some(ErrorBody::missing("presentity", PRESENTITY_EXPECTED)) };
    if !presentity.is_string() {
        return Some(ErrorBody::invalid("presentity", presentity, PRESENTITY_EXPECTED));
    }
    if let Some(features) = given("features").filter(|features| !is_list(features)) {
        return Some(ErrorBody::invalid("features", features, "an array of names"));
    }
    let package = given("package").filter(|package| !package.is_string())?;
    Some(ErrorBody::invalid("package", package, "the name of an event package"))
}

/// The features that a request names, in table order; all when it names none. Where it names an event package, those of it.
///
/// # Errors
///
/// [`FeatureError::Unknown`] and [`FeatureError::UnknownPackage`], answered 400.
pub(crate) fn asked<'t>(
    table: &'t FeatureTable,
    features: Option<&[String]>,
    package: Option<&str>,
) -> Result<Vec<&'t FeatureSpec>, FeatureError> {
    let package = package.map(|name| table.require_package(name)).transpose()?;
    for name in features.unwrap_or_default() {
        table.require(name)?;
    }
    let is_asked = |spec: &&FeatureSpec| {
        features.is_none_or(|names| names.iter().any(|name| name == spec.name()))
            && package.is_none_or(|package| table.package_of(spec.name()) == package)
    };
    Ok(table.iter().filter(is_asked).collect())
}

/// The state before the script, and whether the store should keep it as the new last known state.
pub(crate) fn known(spec: &FeatureSpec, record: &FeatureRecord, answer: &Answer) -> (FeatureState, bool) {
    let stored = record.state(spec);
    let Answer::Change(change) = answer else { return (stored, false) };
    // An answer was checked when it was read; what still does not fit the stored state counts as no answer.
    let Ok(mut state) = change.apply_for(spec, record.presentity(), &stored) else { return (stored, false) };
    state.source = Source::Responder;
    let said = std::mem::take(&mut state.values);
    state.values = spec.lasting(said.clone());
    let is_news = !state.shows_same_as(&stored);
    let mut state = spec.challenging(state, &said);
    if is_news {
        state.version = stored.version.saturating_add(1);
        // whoever owns it says what it is now, and not for how long
        state.until = None;
    }
    (state, is_news)
}

/// The state after the script's get route.
///
/// # Errors
///
/// [`FeatureError`] when the script's values do not fit: the state before the script is served.
pub(crate) fn scripted(spec: &FeatureSpec, presentity: &str, before: &FeatureState, change: &Change) -> Result<FeatureState, FeatureError> {
    // A route that reports every unknown feature as off must not assign AgentState to phones without it.
    let is_no_news = change.values.is_empty() && change.status.is_none_or(|status| status == before.status);
    if !before.assigned && change.assigned.is_none() && is_no_news {
        return Ok(FeatureState { notify: before.notify && change.notify != Some(false), ..before.clone() });
    }
    let mut state = change.apply_for(spec, presentity, before)?;
    if !state.shows_same_as(before) {
        state.source = Source::Script;
    }
    if !state.status.is_on() {
        state.until = None;
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::{Presentity, Status};

    const DND: &str = "DoNotDisturb";

    fn record(states: &[FeatureState]) -> FeatureRecord {
        let mut record = FeatureRecord::new(&Presentity::parse("sip:alice@h").unwrap());
        for state in states {
            record.put(state);
        }
        record
    }

    fn dnd(on: bool, version: u64) -> FeatureState {
        FeatureState { status: Status(on), version, ..FeatureState::new(DND) }
    }

    fn status(on: bool) -> Change {
        Change { status: Some(Status(on)), ..Change::default() }
    }

    #[test]
    fn a_request_that_cannot_be_read_names_its_field() {
        for (payload, field, text) in [
            ("{}", Some("presentity"), "presentity is missing: expected sip:user@host or tel:number"),
            (r#"{"presentity":null}"#, Some("presentity"), "presentity is missing: expected sip:user@host or tel:number"),
            (r#"{"presentity":7}"#, Some("presentity"), "invalid presentity '7': expected sip:user@host or tel:number"),
            (
                r#"{"presentity":"x","features":"DoNotDisturb"}"#,
                Some("features"),
                "invalid features 'DoNotDisturb': expected an array of names",
            ),
            (r#"{"presentity":"x","features":[1]}"#, Some("features"), "invalid features '[1]': expected an array of names"),
            (r#"{"presentity":"x","package":1}"#, Some("package"), "invalid package '1': expected the name of an event package"),
            ("[]", None, "unreadable request: "),
            ("{", None, "unreadable request: "),
        ] {
            let body = read(payload.as_bytes()).unwrap_err().into_body(true);
            assert_eq!((body.code, body.field.as_deref()), (400, field), "{payload}");
            assert!(body.description.starts_with(text), "{payload}: {}", body.description);
        }
        assert!(read(br#"{"presentity":"x","features":null,"package":null,"more":1}"#).is_ok());
    }

    #[test]
    fn features_come_in_table_order_and_unknown_ones_are_refused() {
        let table = FeatureTable::built_in();
        let names_of = |features: Option<&[&str]>, package: Option<&str>| {
            let features: Option<Vec<String>> = features.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            let asked = asked(&table, features.as_deref(), package).map(|specs| specs.iter().map(|spec| spec.name()).collect::<Vec<_>>());
            asked.map_err(|error| error.reason())
        };
        let names = |features: Option<&[&str]>| names_of(features, None);
        assert_eq!(names(None).unwrap().last(), Some(&"Hoteling"));
        assert_eq!(names(None).unwrap().len(), 6);
        assert_eq!(names_of(None, Some("as-feature-event")).unwrap(), names(None).unwrap()[..5]);
        assert_eq!(names_of(None, Some("X-BroadWorks-Hoteling")).unwrap(), ["Hoteling"]);
        assert_eq!(names_of(Some(&[DND, "Hoteling"]), Some("as-feature-event")).unwrap(), [DND]);
        assert_eq!(names_of(None, Some("presence")), Err("unknown_package"));
        assert_eq!(names(Some(&["CallForwardingBusy", DND, DND])).unwrap(), [DND, "CallForwardingBusy"]);
        assert_eq!(names(Some(&[])).unwrap(), [""; 0]);
        assert_eq!(names(Some(&[DND, "Foo"])), Err("unknown_feature"));
    }

    #[test]
    fn responder_goes_before_store_and_store_before_default() {
        let table = FeatureTable::built_in();
        let spec = table.require(DND).unwrap();
        let unassign = Change { assigned: Some(false), ..Change::default() };
        let silent = Change { notify: Some(false), ..status(true) };
        // name, stored, answer → on, assigned, notify, version, source, whether it is stored
        for (name, stored, answer, want) in [
            ("nothing at all", None, Answer::None, (false, true, true, 0, Source::Default, false)),
            ("only stored", Some(dnd(true, 7)), Answer::None, (true, true, true, 7, Source::Store, false)),
            ("failed", Some(dnd(true, 7)), Answer::Failed, (true, true, true, 7, Source::Store, false)),
            ("late", Some(dnd(true, 7)), Answer::Timeout, (true, true, true, 7, Source::Store, false)),
            ("denied", Some(dnd(true, 7)), Answer::Denied("no".into()), (true, true, true, 7, Source::Store, false)),
            ("failed, nothing stored", None, Answer::Failed, (false, true, true, 0, Source::Default, false)),
            ("the same", Some(dnd(true, 7)), Answer::Change(status(true)), (true, true, true, 7, Source::Responder, false)),
            ("left out", Some(dnd(true, 7)), Answer::Change(Change::default()), (true, true, true, 7, Source::Responder, false)),
            ("other", Some(dnd(true, 7)), Answer::Change(status(false)), (false, true, true, 8, Source::Responder, true)),
            ("first", None, Answer::Change(status(true)), (true, true, true, 1, Source::Responder, true)),
            ("as the default", None, Answer::Change(status(false)), (false, true, true, 0, Source::Responder, false)),
            ("not assigned", Some(dnd(true, 7)), Answer::Change(unassign), (true, false, true, 8, Source::Responder, true)),
            ("silent", Some(dnd(true, 7)), Answer::Change(silent), (true, true, false, 7, Source::Responder, false)),
        ] {
            let record = record(stored.as_slice());
            let (state, is_news) = known(spec, &record, &answer);
            let got = (state.status.is_on(), state.assigned, state.notify, state.version, state.source, is_news);
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn the_agent_state_is_assigned_once_somebody_says_something() {
        let table = FeatureTable::built_in();
        let spec = table.require("AgentState").unwrap();
        let nothing = known(spec, &record(&[]), &Answer::Change(Change::default())).0;
        assert!(!nothing.assigned);
        assert!(known(spec, &record(&[]), &Answer::Change(status(true))).0.assigned);
        assert!(scripted(spec, "sip:alice@h", &nothing, &status(true)).unwrap().assigned);
        assert!(!scripted(spec, "sip:alice@h", &nothing, &status(false)).unwrap().assigned, "off is what it is already");
        let told = Change { assigned: Some(true), ..status(false) };
        assert!(scripted(spec, "sip:alice@h", &nothing, &told).unwrap().assigned);
    }

    #[test]
    fn the_script_has_the_last_word_on_what_is_shown() {
        let table = FeatureTable::built_in();
        let spec = table.require(DND).unwrap();
        let before = FeatureState { source: Source::Store, ..dnd(true, 7) };
        let with = |change: Change| scripted(spec, "sip:alice@h", &before, &change).unwrap();
        for (name, change, want) in [
            ("nothing", Change::default(), (true, true, true, Source::Store)),
            ("the same", status(true), (true, true, true, Source::Store)),
            ("off", status(false), (false, true, true, Source::Script)),
            ("not assigned", Change { assigned: Some(false), ..Change::default() }, (true, false, true, Source::Script)),
            ("suppressed", Change { notify: Some(false), ..Change::default() }, (true, true, false, Source::Store)),
        ] {
            let state = with(change);
            assert_eq!((state.status.is_on(), state.assigned, state.notify, state.source), want, "{name}");
            assert_eq!(state.version, 7, "{name}: what a script shows is not stored");
        }
    }
}
