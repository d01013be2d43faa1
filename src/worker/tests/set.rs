//! Tests of what a set comes to: the settled points that concern routes.

use super::*;
use crate::feature::{Presentity, Status, Values};

const DND: &str = "DoNotDisturb";
const CFA: &str = "CallForwardingAlways";

fn status(on: bool) -> Change {
    Change { status: Some(Status(on)), ..Change::default() }
}

fn also(feature: &str, on: bool) -> AlsoChange {
    AlsoChange { feature: feature.into(), status: Some(Status(on)), values: Values::new(), assigned: None }
}

/// DND on in version 7, CFA on to bob in version 2.
fn stored() -> FeatureRecord {
    let mut record = FeatureRecord::new(&Presentity::parse("sip:alice@h").unwrap());
    record.put(&FeatureState { status: Status::ON, version: 7, ..FeatureState::new(DND) });
    let to_bob = Values::from([("forwardTo".to_owned(), "sip:bob@h".to_owned())]);
    record.put(&FeatureState { status: Status::ON, version: 2, values: to_bob, ..FeatureState::new(CFA) });
    record
}

fn outcome(origin: Origin, feature: &str, request: Change, script: Change, responder: Option<Change>) -> Outcome {
    let table = FeatureTable::built_in();
    let spec = table.require(feature).unwrap();
    Set { table: &table, spec, origin, request, ends: Ends::Never, script, responder }.outcome(&stored()).unwrap()
}

fn stored_state(outcome: &Outcome, feature: &str) -> FeatureState {
    let table = FeatureTable::built_in();
    outcome.record.as_ref().unwrap().state(table.require(feature).unwrap())
}

#[test]
fn request_script_and_responder_speak_in_turn() {
    let (none, on, off) = (Change::default, || status(true), || status(false));
    let assigned = |assigned| Change { assigned: Some(assigned), ..Change::default() };
    let silent = || Change { notify: Some(false), ..Change::default() };
    // name, origin, request, script, responder → on, assigned, version, changed, notify, source, stored assigned
    for (name, origin, request, script, responder, want) in [
        ("phone changes", Origin::Phone, off(), none(), None, (false, true, 8, true, true, Source::Store, Some(true))),
        ("phone repeats", Origin::Phone, on(), none(), None, (true, true, 7, false, true, Source::Store, None)),
        ("command changes", Origin::Mi, off(), none(), None, (false, true, 8, true, true, Source::Store, Some(true))),
        ("command repeats", Origin::Mi, on(), none(), None, (true, true, 8, true, true, Source::Store, Some(true))),
        ("script turns it back", Origin::Phone, off(), on(), None, (true, true, 7, false, true, Source::Script, None)),
        ("script agrees", Origin::Phone, off(), off(), None, (false, true, 8, true, true, Source::Store, Some(true))),
        ("responder accepts", Origin::Phone, off(), none(), Some(none()), (false, true, 8, true, true, Source::Responder, Some(true))),
        ("responder over script", Origin::Phone, off(), off(), Some(on()), (true, true, 7, false, true, Source::Responder, None)),
        ("script suppresses", Origin::Phone, off(), silent(), None, (false, true, 8, true, false, Source::Store, Some(true))),
        ("responder suppresses", Origin::Mi, off(), none(), Some(silent()), (false, true, 8, true, false, Source::Responder, Some(true))),
        (
            "a yes does not undo a no",
            Origin::Phone,
            off(),
            silent(),
            Some(Change { notify: Some(true), ..Change::default() }),
            (false, true, 8, true, false, Source::Responder, Some(true)),
        ),
        ("script unassigns, phone", Origin::Phone, off(), assigned(false), None, (false, false, 8, true, true, Source::Store, Some(true))),
        ("script unassigns, command", Origin::Mi, off(), assigned(false), None, (false, true, 8, true, true, Source::Store, Some(true))),
        (
            "responder unassigns",
            Origin::Phone,
            on(),
            none(),
            Some(assigned(false)),
            (true, false, 8, true, true, Source::Responder, Some(false)),
        ),
        (
            "responder unassigns, command",
            Origin::Mi,
            on(),
            none(),
            Some(assigned(false)),
            (true, false, 8, true, true, Source::Responder, Some(false)),
        ),
    ] {
        let got = outcome(origin, DND, request, script, responder);
        let state = &got.state;
        let kept = got.record.is_some().then(|| stored_state(&got, DND).assigned);
        let seen = (state.status.is_on(), state.assigned, state.version, got.changed, got.notify, state.source, kept);
        assert_eq!(seen, want, "{name}");
        assert_eq!((got.previous.version, got.previous.source), (7, Source::Store), "{name}");
        if got.record.is_some() {
            assert_eq!((stored_state(&got, DND).version, stored_state(&got, CFA).version), (state.version, 2), "{name}");
        }
    }
}

#[test]
fn what_the_request_leaves_out_stays_and_an_empty_value_clears() {
    let kept = outcome(Origin::Phone, CFA, status(false), Change::default(), None);
    assert_eq!(kept.state.values["forwardTo"], "sip:bob@h");
    let clear = Change { values: [("forwardTo".to_owned(), String::new())].into(), ..status(true) };
    let cleared = outcome(Origin::Mi, CFA, clear, Change::default(), None);
    assert_eq!((cleared.state.values["forwardTo"].as_str(), cleared.state.version), ("", 3));
}

#[test]
fn the_responder_is_shown_what_script_and_request_made() {
    let table = FeatureTable::built_in();
    let spec = table.require(DND).unwrap();
    let script = Change { assigned: Some(false), ..status(false) };
    let set = Set { table: &table, spec, origin: Origin::Phone, request: status(true), ends: Ends::Never, script, responder: None };
    let shown = set.scripted(&stored()).unwrap();
    assert_eq!((shown.status, shown.assigned), (Status::OFF, true));
}

#[test]
fn other_features_change_along_and_are_listed_when_they_show_something_else() {
    let agent = AlsoChange { values: [("state".to_owned(), "notReady".to_owned())].into(), status: None, ..also("AgentState", true) };
    // name, of the script, of the responder → (feature, on, version), changed
    for (name, script, responder, want, changed) in [
        ("by the script", vec![also(CFA, false)], None, vec![(CFA, false, 3)], true),
        ("by the responder", vec![], Some(vec![also(CFA, false)]), vec![(CFA, false, 3)], true),
        ("shows the same", vec![also(CFA, true)], None, vec![], false),
        ("itself", vec![also(DND, false)], None, vec![], false),
        ("twice, one change", vec![also(CFA, false)], Some(vec![also(CFA, true)]), vec![(CFA, true, 3)], true),
        ("never set before", vec![agent], None, vec![("AgentState", true, 1)], true),
        (
            "several",
            vec![also("CallForwardingBusy", true)],
            Some(vec![also(CFA, false)]),
            vec![("CallForwardingBusy", true, 1), (CFA, false, 3)],
            true,
        ),
    ] {
        let script = Change { also: script, ..Change::default() };
        let responder = responder.map(|also| Change { also, ..Change::default() });
        let got = outcome(Origin::Phone, DND, status(true), script, responder);
        let listed: Vec<_> = got.also.iter().map(|state| (state.feature.as_str(), state.status.is_on(), state.version)).collect();
        assert_eq!(listed, want, "{name}");
        let before: Vec<_> = got.also_previous.iter().map(|state| (state.feature.as_str(), state.version + 1)).collect();
        assert_eq!(before, want.iter().map(|(feature, _, version)| (*feature, *version)).collect::<Vec<_>>(), "{name}");
        assert_eq!((got.changed, got.record.is_some(), got.state.version), (changed, changed, 7), "{name}");
        for state in &got.also {
            let kept = stored_state(&got, &state.feature);
            assert_eq!((kept.status, kept.version, kept.assigned), (state.status, state.version, true), "{name}");
        }
    }
}

#[test]
fn put_over_what_another_worker_stored_the_version_goes_on_and_the_rest_stays() {
    let table = FeatureTable::built_in();
    let spec = table.require(CFA).unwrap();
    let set = Set {
        table: &table,
        spec,
        origin: Origin::Phone,
        request: status(false),
        ends: Ends::Never,
        script: Change::default(),
        responder: Some(Change { also: vec![also(DND, false)], ..Change::default() }),
    };
    let mut theirs = stored();
    let moved = Values::from([("forwardTo".to_owned(), "sip:carl@h".to_owned())]);
    theirs.put(&FeatureState { status: Status::ON, version: 5, values: moved, ..FeatureState::new(CFA) });
    theirs.put(&FeatureState { version: 9, ..FeatureState::new(DND) });
    let got = set.outcome(&theirs).unwrap();
    assert_eq!((got.state.version, got.state.values["forwardTo"].as_str(), got.also.len()), (6, "sip:carl@h", 0));
    assert_eq!((got.previous.version, stored_state(&got, DND).version), (5, 9));
}

#[test]
fn what_does_not_fit_is_an_error() {
    let table = FeatureTable::built_in();
    let agent = table.require("AgentState").unwrap();
    let ready = || Change { values: [("state".to_owned(), "ready".to_owned())].into(), ..Change::default() };
    let set = |request, responder| Set {
        table: &table,
        spec: agent,
        origin: Origin::Mi,
        request,
        ends: Ends::Never,
        script: Change::default(),
        responder,
    };
    let disagrees = Change { status: Some(Status::OFF), ..ready() };
    assert_eq!(set(disagrees.clone(), None).requested(&stored()).unwrap_err().reason(), "contradiction");
    assert_eq!(set(ready(), Some(disagrees)).outcome(&stored()).unwrap_err().reason(), "contradiction");
    let first = set(ready(), None).outcome(&stored()).unwrap();
    assert_eq!((first.state.status, first.state.assigned, first.state.version, first.previous.assigned), (Status::ON, true, 1, false));
}

#[test]
fn a_time_goes_with_the_change_and_with_the_next_one_it_is_gone() {
    let table = FeatureTable::built_in();
    let at = || Ends::At("2026-11-28T17:00:00.000Z".to_owned());
    let until = Some("2026-11-28T17:00:00.000Z");
    let mut timed = stored();
    timed.put(&FeatureState { until: until.map(str::to_owned), ..stored_in(&timed, DND) });
    for (name, origin, feature, request, ends, script, want) in [
        ("a command with a time", Origin::Mi, DND, status(true), at(), Change::default(), until),
        ("a command without", Origin::Mi, DND, status(true), Ends::Never, Change::default(), None),
        ("a key that changes nothing", Origin::Phone, DND, status(true), Ends::Never, Change::default(), until),
        ("a key that does", Origin::Phone, DND, status(false), Ends::Never, Change::default(), None),
        ("the script turns it off", Origin::Mi, DND, status(true), at(), status(false), None),
        ("its time is over", Origin::Timer, DND, status(false), Ends::Never, Change::default(), None),
        (
            "another feature takes it along",
            Origin::Mi,
            CFA,
            status(true),
            at(),
            Change { also: vec![also(DND, false)], ..Change::default() },
            None,
        ),
        ("another feature does not", Origin::Mi, CFA, status(true), at(), Change::default(), until),
    ] {
        let set = Set { table: &table, spec: table.require(feature).unwrap(), origin, request, ends, script, responder: None };
        let outcome = set.outcome(&timed).unwrap();
        let now = outcome.record.as_ref().unwrap_or(&timed);
        assert_eq!(stored_in(now, DND).until.as_deref(), want, "{name}");
    }
}

#[test]
fn a_guests_visit_ends_after_its_expires_or_the_default() {
    let table = FeatureTable::built_in();
    let spec = table.require("Hoteling").unwrap();
    let from = clock::parse_rfc3339("2026-11-28T10:00:00Z").unwrap();
    for (expires, want) in [(Some("3600"), Some("2026-11-28T11:00:00.000Z")), (None, Some("2026-11-28T22:00:00.000Z")), (Some("0"), None)] {
        let values = expires.map(|expires| ("expires".to_owned(), expires.to_owned())).into_iter().collect();
        let request = Change { values, ..status(true) };
        let set = Set {
            table: &table,
            spec,
            origin: Origin::Phone,
            request,
            ends: Ends::WithVisit(from),
            script: Change::default(),
            responder: None,
        };
        assert_eq!(set.outcome(&stored()).unwrap().state.until.as_deref(), want, "{expires:?}");
    }
}

fn stored_in(record: &FeatureRecord, feature: &str) -> FeatureState {
    record.stored(feature).unwrap()
}
