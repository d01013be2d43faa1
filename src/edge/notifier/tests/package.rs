//! Subscriptions of two event packages to one presentity: each is told of its own features.

use std::time::Duration;

use crate::bus::message::NotifyJob;
use crate::edge::notifier::tests::fixture::Bench;
use crate::edge::notifier::tests::fixture::body;
use crate::edge::notifier::tests::fixture::config;
use crate::edge::notifier::tests::fixture::four;
use crate::edge::notifier::tests::fixture::subscribe;
use crate::edge::notifier::tests::fixture::to_tag;
use crate::edge::notifier::*;
use crate::edge::subscription::record::Record;
use crate::feature::package::HOTELING;
use crate::feature::{FeatureState, Status};
use crate::sip::message::Message;
use crate::sip::name::Name;

const TYPE: &str = "application/x-broadworks-hoteling+xml";

/// The same SUBSCRIBE, for the other package.
fn hoteling(text: &str) -> String {
    text.replace("x-as-feature-event+xml", "x-broadworks-hoteling+xml").replace("Event: as-feature-event", "Event: x-broadworks-hoteling")
}

fn set_guest(guest: &str) -> String {
    format!(r#"<SetHoteling xmlns="http://schema.broadsoft.com/hoteling"><guestAddress>{guest}</guestAddress></SetHoteling>"#)
}

fn guest(version: u64) -> FeatureState {
    let values = [("guestAddress".to_owned(), "2001".to_owned())].into();
    FeatureState { status: Status::ON, values, version, ..FeatureState::new("Hoteling") }
}

/// Subscribes a phone to the package, and gives its To tag and its first NOTIFY.
fn subscribed(bench: &mut Bench, call_id: &str, features: Vec<FeatureState>) -> (String, Message) {
    bench.packet(&hoteling(&subscribe(call_id, 1, None, "Expires: 3600\n", "")));
    bench.ack_store();
    let tag = to_tag(&bench.expect_response(200));
    let Some((_, BusRequest::Get(request))) = bench.asked.front() else { panic!("a get") };
    assert_eq!(request.package.as_deref(), Some(HOTELING.name));
    bench.answer_get(features);
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    (tag, notify)
}

fn job(bench: &mut Bench, handle: u64, states: Vec<FeatureState>, assigned: bool) {
    let job = NotifyJob {
        kind: crate::bus::message::Kind::default(),
        id: handle.to_string(),
        presentity: "sip:alice@10.0.0.11".into(),
        states,
        assigned,
        skip: None,
        taken_from: None,
        not_after: "2999-01-01T00:00:00Z".into(),
        cause: Cause::new(),
    };
    bench.input(Input::Job { job: Box::new(job), handle: JobHandle(handle), age: Duration::ZERO });
}

#[test]
fn the_first_notify_has_the_features_of_the_package_alone() {
    let mut bench = Bench::new(config());
    // A worker of an older version knows no packages, and tells everything.
    let (_, notify) = subscribed(&mut bench, "a", [four(1), vec![guest(1)]].concat());
    assert_eq!((notify.header(Name::Event), notify.header(Name::ContentType)), (Some("x-broadworks-hoteling"), Some(TYPE)));
    assert!(body(&notify).contains("<guestAddress>2001</guestAddress><expires>43200</expires>"), "{}", body(&notify));
    assert!(bench.is_quiet());
    bench.packet(&subscribe("b", 1, None, "", ""));
    bench.ack_store();
    bench.expect_response(200);
    bench.answer_get(vec![guest(1)]);
    let notify = bench.expect_notify();
    assert_eq!((notify.header(Name::Event), notify.body().len()), (Some("as-feature-event"), 0), "told of nothing that is not its own");
}

/// ```text
/// a: as-feature-event ◀────────────────── DoNotDisturb ── job 1
/// b: x-broadworks-hoteling ◀───────────── Hoteling ────── job 2
/// ```
#[test]
fn a_job_reaches_the_subscriptions_of_its_features_package() {
    let mut bench = Bench::new(config());
    bench.subscribe("a");
    subscribed(&mut bench, "b", Vec::new());
    bench.job(5, 1);
    let notify = bench.expect_notify();
    assert_eq!((notify.header(Name::CallId), bench.is_quiet()), (Some("a"), true));
    bench.respond(&notify, 200, "");
    job(&mut bench, 2, vec![guest(5)], true);
    let notify = bench.expect_notify();
    assert_eq!((notify.header(Name::CallId), bench.is_quiet()), (Some("b"), true));
    bench.respond(&notify, 200, "");
    assert_eq!(bench.done, [JobHandle(1), JobHandle(2)]);
    // Of both at once, each gets its part.
    job(&mut bench, 3, vec![guest(6), FeatureState { version: 6, ..FeatureState::new("DoNotDisturb") }], true);
    let told: Vec<_> = (0..2).map(|_| bench.expect_notify()).map(|n| (n.header(Name::CallId).unwrap().to_owned(), body(&n))).collect();
    assert!(told.iter().any(|(call_id, body)| call_id == "a" && body.contains("DoNotDisturbEvent") && !body.contains("Hoteling")));
    assert!(told.iter().any(|(call_id, body)| call_id == "b" && body.contains("HotelingEvent") && !body.contains("DoNot")));
    assert!(bench.is_quiet());
}

#[test]
fn an_unassigned_feature_empties_the_notifys_of_its_package_alone() {
    let mut bench = Bench::new(config());
    bench.subscribe("a");
    subscribed(&mut bench, "b", Vec::new());
    job(&mut bench, 1, vec![FeatureState { assigned: false, ..guest(2) }], false);
    let notify = bench.expect_notify();
    assert_eq!((notify.header(Name::CallId), notify.body().len(), bench.is_quiet()), (Some("b"), 0, true));
    // A job for nobody here is done at once.
    bench.respond(&notify, 481, "");
    job(&mut bench, 2, vec![guest(3)], true);
    assert_eq!(bench.done, [JobHandle(1), JobHandle(2)]);
    assert!(bench.sent.is_empty());
}

#[test]
fn a_guest_signs_in_at_the_phone_and_the_others_of_the_package_learn_it() {
    let mut bench = Bench::new(config());
    let (tag, _) = subscribed(&mut bench, "a", Vec::new());
    subscribed(&mut bench, "b", Vec::new());
    bench.subscribe("c");
    bench.packet(&hoteling(&subscribe("a", 2, Some(&tag), "Expires: 3600\n", &set_guest("2001"))));
    bench.ack_store();
    bench.expect_response(200);
    bench.apply_change(|response| response.also = vec![FeatureState { version: 1, ..FeatureState::new("DoNotDisturb") }]);
    let told: Vec<_> = (0..3).map(|_| bench.expect_notify()).map(|n| (n.header(Name::CallId).unwrap().to_owned(), body(&n))).collect();
    for (call_id, want) in [("a", "<guestAddress>2001"), ("b", "<guestAddress>2001"), ("c", "<doNotDisturbOn>false")] {
        assert!(told.iter().any(|(to, body)| to == call_id && body.contains(want)), "{call_id}: {told:?}");
    }
    assert!(bench.is_quiet());
    assert_eq!(bench.fan_outs.pop().unwrap().events[0].watchers, 3);
}

#[test]
fn what_does_not_fit_the_package_is_refused() {
    let mut bench = Bench::new(config());
    let (tag, _) = subscribed(&mut bench, "a", Vec::new());
    let body = set_guest("2001");
    for (name, text, status, header) in [
        (
            "a body of the other package",
            subscribe("b", 1, None, "", &body).replace("Event: as-feature-event", "Event: x-broadworks-hoteling"),
            415,
            Some((Name::Accept, TYPE)),
        ),
        (
            "its body there",
            hoteling(&subscribe("c", 1, None, "", &body)).replace("Event: x-broadworks-hoteling", "Event: as-feature-event"),
            415,
            Some((Name::Accept, "application/x-as-feature-event+xml")),
        ),
        (
            "Accept of the other",
            hoteling(&subscribe("d", 1, None, "", "")).replace("Contact:", "Accept: application/x-as-feature-event+xml\nContact:"),
            406,
            Some((Name::Accept, TYPE)),
        ),
        (
            "multipart is not of this package",
            hoteling(&subscribe("e", 1, None, "Accept: multipart/mixed\n", "")),
            406,
            Some((Name::Accept, TYPE)),
        ),
        (
            "no such package",
            subscribe("f", 1, None, "", "").replace("Event: as-feature-event", "Event: presence"),
            489,
            Some((Name::AllowEvents, "as-feature-event, x-broadworks-hoteling")),
        ),
        ("the other package in the dialog", subscribe("a", 2, Some(&tag), "", ""), 481, None),
    ] {
        bench.packet(&text);
        let refused = bench.expect_response(status);
        if let Some((header, want)) = header {
            assert_eq!(refused.header(header), Some(want), "{name}");
        }
        assert!(bench.is_quiet(), "{name}");
    }
    bench.packet(&hoteling(&subscribe("a", 3, Some(&tag), "Expires: 3600\n", "<SetHoteling/>")));
    bench.expect_response(400);
    let Some((_, BusRequest::Get(request))) = bench.asked.front() else { panic!("a get") };
    assert_eq!(request.features, Some(vec!["Hoteling".to_owned()]), "the phone is told how it is");
}

#[test]
fn a_stored_subscription_keeps_its_package_and_an_old_record_has_the_first() {
    let mut bench = Bench::new(config());
    bench.packet(&hoteling(&subscribe("a", 1, None, "Expires: 3600\n", "")));
    let (_, request) = bench.take_store();
    let BusRequest::Store { id, record, .. } = request else { panic!("{request:?}") };
    let stored = serde_json::to_value(&*record).unwrap();
    assert_eq!(stored["package"], HOTELING.name);
    let mut old = stored.clone();
    old.as_object_mut().unwrap().remove("package");
    let mut unknown = stored.clone();
    unknown["package"] = "x-of-tomorrow".into();
    for (value, want) in [(&stored, Some("x-broadworks-hoteling")), (&old, Some("as-feature-event")), (&unknown, None)] {
        let mut restarted = Bench::new(config());
        let value = serde_json::to_vec(value).unwrap();
        let is_taken = restarted.restore(&id.to_string(), 1, &value);
        let package = restarted.notifier.live().next().map(|subscription| subscription.package.name);
        assert_eq!((is_taken, package), (want.is_some(), want));
    }
    // At another edge, a SUBSCRIBE for another package is in no dialog of ours.
    let record: Record = serde_json::from_value(stored).unwrap();
    let mut elsewhere = Bench::new(config());
    elsewhere.packet(&subscribe("a", 2, Some(&id.to_string()), "", ""));
    elsewhere.found(&record, 1);
    elsewhere.expect_response(481);
    elsewhere.packet(&hoteling(&subscribe("a", 3, Some(&id.to_string()), "", "")));
    elsewhere.found(&record, 1);
    elsewhere.ack_store();
    elsewhere.expect_response(200);
}
