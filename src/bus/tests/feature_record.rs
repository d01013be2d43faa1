use super::*;
use crate::bus::kept;
use crate::bus::message::Kind;

const DND: &str = "DoNotDisturb";
const CFA: &str = "CallForwardingAlways";
const CFB: &str = "CallForwardingBusy";

fn table() -> FeatureTable {
    FeatureTable::built_in()
}

fn alice() -> Presentity {
    Presentity::parse("sip:alice@10.0.0.11").unwrap()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn state(feature: &str, version: u64) -> FeatureState {
    FeatureState { status: Status::ON, version, source: Source::Store, ..FeatureState::new(feature) }
}

fn duty(request: &str, features: &[&str], now: SystemTime) -> Duty {
    Duty {
        features: features.iter().map(|feature| (*feature).to_owned()).collect(),
        assigned: true,
        skip: None,
        request: request.into(),
        cause: Cause(format!("cause of {request}").into()),
        actor: Some("crm".into()),
        at: clock::rfc3339(now),
        learnt: Vec::new(),
    }
}

/// A record in which each request has changed its features, one after the other, a second apart.
fn changed(changes: &[(&str, &[&str], bool)]) -> FeatureRecord {
    let mut record = FeatureRecord::new(&alice());
    for (second, (request, features, is_told)) in (0..).zip(changes) {
        let duty = duty(request, features, at(second));
        for feature in &duty.features {
            let version = record.state(table().require(feature).unwrap()).version + 1;
            record.put(&state(feature, version));
        }
        let features = duty.features.clone();
        record.put_change(request, second, &features, is_told.then_some(duty), at(second));
    }
    record
}

/// Each telling: its request, and its features with their versions.
fn told(record: &FeatureRecord, now: SystemTime) -> Vec<String> {
    told_after(record, None, now)
}

fn told_after(record: &FeatureRecord, done: Option<u64>, now: SystemTime) -> Vec<String> {
    let told = |telling: &Telling<'_>| {
        let states: Vec<_> = telling.states.iter().map(|state| format!("{} {}", state.feature, state.version)).collect();
        format!("{}: {}", telling.duty.request, states.join(", "))
    };
    record.tellings(&table(), done, at(0), now).iter().map(told).collect()
}

#[test]
fn keeps_states_versions_and_features_that_the_table_does_not_know() {
    let table = table();
    let spec = table.require("CallForwardingNoAnswer").unwrap();
    let text = r#"{"presentity":"sip:alice@h","new":1,"features":{"Parking":{"status":1,"version":2}}}"#;
    let mut record: FeatureRecord = serde_json::from_str(text).unwrap();
    assert_eq!(record.state(spec), spec.default_state());
    let state = FeatureState {
        status: Status::ON,
        values: [("ringCount".to_owned(), "4".to_owned())].into(),
        version: 7,
        source: Source::Store,
        ..spec.default_state()
    };
    record.put(&state);
    let again: FeatureRecord = serde_json::from_slice(&serde_json::to_vec(&record).unwrap()).unwrap();
    assert_eq!(again, record);
    assert_eq!((again.state(spec), again.presentity()), (state, "sip:alice@h"));
    assert!(serde_json::to_string(&again).unwrap().contains("Parking"));
}

#[test]
fn a_duty_that_the_next_write_covers_up_is_carried_on() {
    let now = at(9);
    for (name, changes, want) in [
        ("one change", &[("a", &[DND][..], true)][..], &["a: DoNotDisturb 1"][..]),
        ("another feature", &[("a", &[DND], true), ("b", &[CFA], true)], &["a: DoNotDisturb 1", "b: CallForwardingAlways 1"]),
        ("the same feature: its newest state alone", &[("a", &[DND], true), ("b", &[DND], true)], &["b: DoNotDisturb 2"]),
        ("one of two features", &[("a", &[DND, CFA], true), ("b", &[CFA], true)], &["a: DoNotDisturb 1", "b: CallForwardingAlways 2"]),
        ("suppressed: nobody is told of the feature", &[("a", &[DND], true), ("b", &[DND], false)], &[]),
        ("suppressed, another feature", &[("a", &[DND], true), ("b", &[CFB], false)], &["a: DoNotDisturb 1"]),
    ] {
        let record = changed(changes);
        assert_eq!(told(&record, now), want, "{name}");
        let stored: FeatureRecord = serde_json::from_slice(&serde_json::to_vec(&record).unwrap()).unwrap();
        assert_eq!(stored, record, "{name}");
    }
}

#[test]
fn what_was_told_of_the_revision_before_is_not_told_again() {
    let record = changed(&[("a", &[DND], true), ("b", &[CFA], true)]);
    assert_eq!(record.after, 1);
    assert_eq!(told_after(&record, Some(1), at(9)), ["b: CallForwardingAlways 1"]);
    for done in [None, Some(0)] {
        assert_eq!(told_after(&record, done, at(9)).len(), 2, "an older one, or none: {done:?}");
    }
    let suppressed = changed(&[("a", &[DND], true), ("b", &[CFB], false)]);
    assert_eq!(told_after(&suppressed, Some(1), at(9)), [""; 0]);
}

#[test]
fn a_duty_ends_after_its_lifetime() {
    let record = changed(&[("a", &[DND], true)]);
    assert_eq!(told(&record, at(0) + DUTY_LIFETIME).len(), 1);
    assert_eq!(told(&record, at(1) + DUTY_LIFETIME), [""; 0]);
    assert_eq!(told(&record, at(0) - Duration::from_mins(1)).len(), 1, "a clock that is behind ends nothing");
    let mut later = record;
    later.put_change("b", 1, &[CFA.to_owned()], None, at(2) + DUTY_LIFETIME);
    assert!(later.duties.is_empty(), "nor does the record grow");
}

#[test]
fn a_telling_shows_the_feature_as_its_duty_says_and_leaves_out_what_is_unassigned() {
    let mut record = FeatureRecord::new(&alice());
    record.put(&FeatureState { assigned: false, ..state(DND, 3) });
    record.put(&FeatureState { assigned: false, ..state(CFA, 1) });
    record.put(&state(CFB, 2));
    let features = [DND, CFA, CFB, "Gone"];
    let mut duty = duty("a", &features, at(0));
    for assigned in [true, false] {
        duty.assigned = assigned;
        let mut record = record.clone();
        record.put_change("a", 0, &duty.features.clone(), Some(duty.clone()), at(0));
        let tellings = record.tellings(&table(), None, at(0), at(0)).into_iter().next().unwrap().states;
        let shown: Vec<_> = tellings.iter().map(|state| (state.feature.as_str(), state.assigned, state.version)).collect();
        assert_eq!(shown, [(DND, assigned, 3), (CFB, true, 2)]);
    }
}

/// A record in which a get has learnt a feature's state at each of these seconds.
fn learnt(seconds: &[u64]) -> FeatureRecord {
    let mut record = FeatureRecord::new(&alice());
    for (revision, second) in (0..).zip(seconds) {
        let spec = table().require(DND).unwrap().clone();
        let old = record.state(&spec);
        let new = FeatureState { version: old.version + 1, source: Source::Responder, ..state(DND, 0) };
        let request = format!("get {revision}");
        let learnt = vec![Learnt { event: format!("event {revision}").into(), old, new: new.clone(), shown: None }];
        if record.put_learnt(&new, at(*second)) {
            let duty = Duty { learnt, ..duty(&request, &[DND], at(*second)) };
            record.put_change(&request, revision, &[DND.to_owned()], Some(duty), at(*second));
        }
    }
    record
}

/// The events of what is to be told.
fn events(record: &FeatureRecord, unseen_since: SystemTime) -> Vec<String> {
    let tellings = record.tellings(&table(), None, unseen_since, at(9));
    tellings.iter().flat_map(|telling| telling.learnt).map(|learnt| learnt.event.to_string()).collect()
}

#[test]
fn what_is_learnt_is_told_once_to_phones_and_each_time_as_an_event() {
    let record = learnt(&[0, 1, 2]);
    assert_eq!(told(&record, at(2)), ["get 0: ", "get 1: ", "get 2: DoNotDisturb 3"]);
    assert_eq!(events(&record, at(0)), ["event 0", "event 1", "event 2"]);
    assert_eq!(told_after(&record, Some(2), at(2)), ["get 2: DoNotDisturb 3"], "the others are told");
    assert_eq!(events(&record, at(1)), ["event 1", "event 2"], "the first was seen before it was covered up");
    assert_eq!(events(&record, at(5)), ["event 2"], "the last one is seen now");
    let mut later = record.clone();
    later.put(&state(DND, 4));
    later.put_change("set", 3, &[DND.to_owned()], Some(duty("set", &[DND], at(3))), at(3));
    assert_eq!(events(&later, at(0)), ["event 0", "event 1", "event 2"], "a command covers up what is to be told, not what happened");
    assert_eq!(told(&later, at(3)).last().unwrap(), "set: DoNotDisturb 4");
    let again: FeatureRecord = serde_json::from_slice(&serde_json::to_vec(&later).unwrap()).unwrap();
    assert_eq!(again, later);
}

#[test]
fn a_responder_that_flaps_makes_no_record_grow() {
    let seconds: Vec<u64> = (0..40 * 60).step_by(2).collect();
    let record = learnt(&seconds);
    let version = record.state(table().require(DND).unwrap()).version;
    assert_eq!(version, 400, "10 a minute");
    assert!(record.duties.len() <= MAX_COVERED_UP + 2, "{}", record.duties.len());
    assert_eq!(told(&record, at(2400)).last().unwrap(), &format!("get {}: DoNotDisturb 400", 39 * 30 + 9));
}

#[test]
fn phones_are_not_told_what_the_script_hides() {
    let mut record = learnt(&[0]);
    record.duties[0].learnt[0].shown = Some(FeatureState { assigned: false, ..state(DND, 1) });
    assert_eq!((told(&record, at(0)), events(&record, at(0))), (vec!["get 0: ".to_owned()], vec!["event 0".to_owned()]));
}

#[test]
fn knows_which_request_made_a_change_also_when_others_wrote_after_it() {
    let record = changed(&[("a", &[DND], true), ("b", &[DND], false), ("c", &[DND], true), ("d", &[CFB], true)]);
    for (request, want) in [("a", true), ("b", true), ("c", true), ("d", true), ("e", false), ("", false)] {
        assert_eq!(record.is_changed_by(request), want, "{request}");
    }
    assert!(!FeatureRecord::new(&alice()).is_changed_by(""));
}

#[test]
fn an_earlier_request_is_forgotten_in_time_and_their_number_has_a_bound() {
    let mut record = changed(&[("a", &[DND], true), ("b", &[DND], true)]);
    let change = |record: &mut FeatureRecord, request: &str, second: u64| {
        record.put_change(request, second, &[DND.to_owned()], None, at(second));
        let stored: FeatureRecord = serde_json::from_slice(&serde_json::to_vec(record).unwrap()).unwrap();
        assert_eq!(stored, *record);
    };
    change(&mut record, "c", 11);
    assert_eq!((record.is_changed_by("a"), record.is_changed_by("b")), (true, true), "a was followed a second after it, 10 s ago");
    change(&mut record, "d", 12);
    assert_eq!((record.is_changed_by("a"), record.is_changed_by("b")), (false, true));
    for number in 0..100 {
        change(&mut record, &format!("n{number}"), 12);
    }
    assert_eq!(record.earlier.len(), MAX_EARLIER);
    assert_eq!((record.is_changed_by("n66"), record.is_changed_by("n67"), record.is_changed_by("n99")), (false, true, true));
}

fn place(sequence: u64, stored_at_nanos: u64, sender_id: Option<&str>) -> CommandPlace {
    CommandPlace { sequence, stored_at_nanos, sender_id: sender_id.map(str::to_owned) }
}

fn answer() -> RouteSetResponse {
    RouteSetResponse {
        kind: Kind::default(),
        presentity: "sip:alice@10.0.0.11".into(),
        state: state(DND, 1),
        previous: state(DND, 0),
        also: Vec::new(),
        also_previous: Vec::new(),
        notify: true,
        changed: true,
        denied: None,
        work: None,
        logged: false,
    }
}

#[test]
fn a_durable_command_is_carried_out_once_and_never_after_a_younger_one() {
    let mut record = FeatureRecord::new(&alice());
    assert_eq!(record.fence("a", Some(&place(1, 1, None)), at(0)), Fenced::No);
    record.put_done("a", Some(&place(10, 1000, Some("order-1"))), answer(), at(0));
    let answer = answer();
    for (name, command, place, after, want) in [
        ("the same again", "a", place(10, 1000, Some("order-1")), 0, Fenced::Answered(&answer)),
        ("an older one", "b", place(9, 900, None), 0, Fenced::Passed),
        ("a younger one", "c", place(11, 1100, None), 0, Fenced::No),
        ("a younger one, its leader's clock behind", "c", place(11, 900, None), 0, Fenced::No),
        ("a stream that was made anew", "c", place(1, 2000, None), 0, Fenced::No),
        ("sent again after NATS forgot its id", "c", place(11, 1100, Some("order-1")), 119, Fenced::Passed),
        ("so late that a stream would not know it either", "c", place(11, 1100, Some("order-1")), 121, Fenced::No),
        ("another sender's id", "c", place(11, 1100, Some("order-2")), 0, Fenced::No),
    ] {
        assert_eq!(record.fence(command, Some(&place), at(after)), want, "{name}");
    }
}

#[test]
fn the_ids_of_senders_outlive_the_command_and_have_a_bound() {
    let mut record = FeatureRecord::new(&alice());
    for at_seq in 1..=200 {
        let place = place(at_seq, at_seq, Some(&format!("id-{at_seq}")));
        record.put_done(&format!("c{at_seq}"), Some(&place), answer(), at(at_seq / 10));
    }
    let again = |id: u64| record.fence("new", Some(&place(300, 300, Some(&format!("id-{id}")))), at(20));
    assert_eq!((again(200), again(73), again(72)), (Fenced::Passed, Fenced::Passed, Fenced::No));
    record.put_done("x", Some(&place(201, 201, None)), answer(), at(1000));
    assert!(record.done.unwrap().sender_ids.is_empty(), "those of long ago are forgotten");
}

#[test]
fn reads_what_was_stored_before_duties_and_places_were() {
    let answer = serde_json::to_string(&answer()).unwrap();
    let text = format!(r#"{{"presentity":"sip:alice@h","features":{{}},"done":{{"command":"a","answer":{answer}}}}}"#);
    let record: FeatureRecord = serde_json::from_str(&text).unwrap();
    assert!(matches!(record.fence("a", Some(&place(1, 1, None)), at(0)), Fenced::Answered(_)));
    assert_eq!(record.fence("b", Some(&place(1, 1, None)), at(0)), Fenced::No);
    assert!(record.tellings(&table(), None, at(0), at(0)).is_empty());
}

#[test]
fn what_is_set_for_a_time_is_known_by_its_version() {
    let mut record = FeatureRecord::new(&Presentity::parse("sip:alice@h").unwrap());
    let until = "2026-11-28T17:00:00.000Z";
    record.put(&state(CFA, 2));
    record.put(&FeatureState { until: Some(until.to_owned()), ..state(DND, 7) });
    let read: FeatureRecord = serde_json::from_slice(&serde_json::to_vec(&record).unwrap()).unwrap();
    assert_eq!(read.timed().collect::<Vec<_>>(), [(DND, 7, until)]);
    assert_eq!(read.stored(DND).unwrap().until.as_deref(), Some(until));
    assert_eq!([read.is_at(DND, 7), read.is_at(DND, 6), read.is_at("AgentState", 0)], [true, false, true]);
}

#[test]
fn what_this_version_and_those_before_have_stored_is_read() {
    for kept in kept::kept("feature") {
        let record: FeatureRecord = kept.read();
        assert_eq!(record.presentity(), "sip:alice@10.0.0.11", "{}", kept.file);
        for (feature, stored) in kept.message["payload"]["features"].as_object().unwrap() {
            let state = record.stored(feature).unwrap();
            let said = (state.assigned, serde_json::to_value(state.status).unwrap(), serde_json::to_value(&state.values).unwrap());
            let want = (stored["assigned"].as_bool().unwrap(), stored["status"].clone(), stored["values"].clone());
            assert_eq!((said, Some(state.version)), (want, stored["version"].as_u64()), "{}: {feature}", kept.file);
        }
        let command = kept.message["payload"]["done"]["command"].as_str().unwrap();
        let again = CommandPlace { sequence: 1, stored_at_nanos: 1, sender_id: None };
        assert!(matches!(record.fence(command, Some(&again), at(0)), Fenced::Answered(_)), "{}: a command is done once", kept.file);
        if kept.is_of_today {
            let told: Vec<_> = record.duties.iter().flat_map(|duty| &duty.features).collect();
            assert_eq!(told, [CFB, "CallForwardingNoAnswer", CFA, "AgentState", DND], "{}", kept.file);
        }
    }
}
