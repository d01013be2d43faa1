//! What happens at the same time: changes, failures, ends and the passing of time, in every order.

use std::time::Duration;

use bytes::Bytes;

use crate::bus::message::{EndReason, FeatureOutcome};
use crate::edge::event::Event;
use crate::edge::notifier::tests::fixture::Bench;
use crate::edge::notifier::tests::fixture::body;
use crate::edge::notifier::tests::fixture::config;
use crate::edge::notifier::tests::fixture::four;
use crate::edge::notifier::tests::fixture::set_dnd;
use crate::edge::notifier::tests::fixture::subscribe;
use crate::edge::notifier::tests::fixture::to_tag;
use crate::edge::notifier::*;
use crate::feature::FeatureState;
use crate::feature::Status;
use crate::sip::name::Name;

fn dnd(version: u64, is_on: bool) -> FeatureState {
    FeatureState { status: Status(is_on), version, ..FeatureState::new("DoNotDisturb") }
}

fn no_worker(bench: &mut Bench) {
    let (token, _) = bench.asked.pop_front().expect("workers are asked");
    bench.raw(token, ReplyMessage { status: Some(503), sequence: None, is_deleted: false, removed_over: None, payload: Bytes::new() });
}

fn press(bench: &mut Bench, tag: &str, cseq: u32) {
    bench.packet(&subscribe("a", cseq, Some(tag), "", &set_dnd(true)));
    bench.ack_store();
    bench.expect_response(200);
}

/// A change that the phone has a 200 for takes effect, and the others are told, whatever becomes of the phone.
#[test]
fn a_change_outlives_its_subscription() {
    let mut bench = Bench::new(config());
    let tag = bench.subscribe("a");
    bench.subscribe("b");
    press(&mut bench, &tag, 2);
    let set = bench.asked.pop_front().unwrap();
    press(&mut bench, &tag, 3);
    bench.job(5, 1);
    let (to_a, to_b) = (bench.expect_notify(), bench.expect_notify());
    bench.respond(&to_b, 200, "");
    bench.respond(&to_a, 481, "");
    assert_eq!(bench.reasons(), [EndReason::Rejected]);
    let Some((_, BusRequest::Remove { .. })) = bench.asked.pop_front() else { panic!("the record is removed") };
    bench.packet(&subscribe("a", 4, Some(&tag), "", ""));
    bench.expect_response(503);

    bench.asked.push_front(set);
    bench.apply_change(|response| response.state.version = 6);
    let to_b = bench.expect_notify();
    assert_eq!(to_b.header(Name::CallId), Some("b"));
    bench.respond(&to_b, 200, "");
    bench.apply_change(|response| response.state.version = 7);
    assert_eq!(bench.expect_notify().header(Name::CallId), Some("b"));
    assert_eq!((bench.fan_outs.len(), bench.notifier.registry.len()), (2, 1), "and then nothing is left of it");
    assert!(bench.is_quiet());
}

#[test]
fn an_old_answer_of_a_worker_does_not_undo_what_the_phone_was_told_meanwhile() {
    for is_answered in [false, true] {
        let mut bench = Bench::new(config());
        let tag = bench.subscribe("a");
        bench.packet(&subscribe("a", 2, Some(&tag), "", ""));
        bench.ack_store();
        bench.expect_response(200);
        bench.job(6, 1);
        let newer = bench.expect_notify();
        assert!(body(&newer).contains("<doNotDisturbOn>true"));
        if is_answered {
            bench.respond(&newer, 200, "");
        }
        bench.answer_get(vec![dnd(5, false), FeatureState::new("CallForwardingAlways")]);
        if !is_answered {
            bench.respond(&newer, 200, "");
        }
        let rest = bench.expect_notify();
        assert!(body(&rest).contains("forwardImmediate") && !body(&rest).contains("doNotDisturb"), "{}", body(&rest));
        bench.respond(&rest, 200, "");
        assert!(bench.is_quiet());

        // What was told before the workers were asked is theirs to say: their store may have been set back.
        bench.packet(&subscribe("a", 3, Some(&tag), "", ""));
        bench.ack_store();
        bench.expect_response(200);
        bench.answer_get(vec![dnd(1, false)]);
        assert!(body(&bench.expect_notify()).contains("<doNotDisturbOn>false"));
    }
}

#[test]
fn the_full_state_is_asked_for_again_and_again_but_one_empty_notify_is_enough() {
    let mut bench = Bench::new(config());
    bench.packet(&subscribe("a", 1, None, "", ""));
    bench.ack_store();
    let tag = to_tag(&bench.expect_response(200));
    no_worker(&mut bench);
    let empty = bench.expect_notify();
    bench.respond(&empty, 200, "");
    for pause in [1, 2, 2] {
        bench.pass(Duration::from_millis(pause * 1000 + 50));
        no_worker(&mut bench);
        assert!(bench.is_quiet(), "nothing new to say");
    }
    press(&mut bench, &tag, 2);
    bench.apply_change(|_| {});
    let pressed = bench.expect_notify();
    bench.respond(&pressed, 200, "");
    bench.pass(Duration::from_millis(2100));
    bench.answer_get(four(1));
    assert_eq!(bench.expect_notify().header(Name::SubscriptionState).map(|state| state.starts_with("active")), Some(true));
}

#[test]
fn a_change_of_an_unassigned_feature_still_tells_of_those_that_changed_with_it() {
    let mut bench = Bench::new(config());
    let tag = bench.subscribe("a");
    bench.subscribe("b");
    press(&mut bench, &tag, 2);
    bench.apply_change(|response| {
        response.state.assigned = false;
        response.also = vec![FeatureState { version: 4, ..FeatureState::new("CallForwardingAlways") }];
        response.also_previous = vec![FeatureState::new("CallForwardingAlways")];
    });
    for _ in 0..2 {
        let notify = bench.expect_notify();
        assert!(body(&notify).contains("forwardImmediate") && !body(&notify).contains("doNotDisturb"));
        bench.respond(&notify, 200, "");
    }
    assert!(bench.is_quiet());
    let outcomes = bench.events.iter().filter(|event| matches!(event, Event::Feature(..))).count();
    assert_eq!((outcomes, bench.fan_outs[0].events.len()), (0, 2), "their events go with the fan-out");
}

/// Subscribes a phone for a minute and lets it come near the end of its grace, with a SUBSCRIBE on its way into the bucket.
fn late_in_grace(more: &str) -> (Bench, String) {
    let mut bench = Bench::new(config());
    bench.packet(&subscribe("a", 1, None, "Expires: 60\n", ""));
    bench.ack_store();
    let tag = to_tag(&bench.expect_response(200));
    bench.answer_get(Vec::new());
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    bench.pass(Duration::from_millis(119_500));
    bench.packet(&subscribe("a", 2, Some(&tag), more, ""));
    bench.take_store();
    (bench, tag)
}

#[test]
fn a_subscription_expires_also_when_its_last_subscribe_could_not_be_stored() {
    for more in ["Expires: 3600\n", "Expires: 0\n"] {
        let (mut bench, _) = late_in_grace(more);
        bench.pass(Duration::from_secs(3));
        bench.expect_response(503);
        let last = bench.expect_notify();
        assert_eq!(last.header(Name::SubscriptionState), Some("terminated;reason=timeout"), "{more}");
        assert_eq!(bench.reasons(), [EndReason::Timeout]);
        bench.respond(&last, 200, "");
        bench.sent.clear();
        bench.pass(Duration::from_mins(1));
        assert!(bench.is_empty() && bench.sent.is_empty(), "{more}");
    }
}

#[test]
fn a_refresh_that_is_stored_after_the_grace_is_one() {
    let (mut bench, tag) = late_in_grace("Expires: 3600\n");
    bench.pass(Duration::from_millis(800));
    assert!(bench.reasons().is_empty(), "the store decides");
    bench.packet(&subscribe("a", 3, Some(&tag), "", ""));
    assert!(bench.sent.is_empty(), "and the next waits for it");
}

#[test]
fn what_expired_while_the_edge_was_down_ends_when_it_is_up() {
    let mut first = Bench::new(config());
    first.packet(&subscribe("a", 1, None, "Expires: 60\n", ""));
    let (_, BusRequest::Store { id, record, .. }) = first.take_store() else { panic!("a store") };
    let mut bench = Bench::new(config());
    bench.pass(Duration::from_mins(5));
    assert!(bench.restore(&id.to_string(), 7, &serde_json::to_vec(&record).unwrap()));
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.reasons(), [EndReason::Timeout]);
    assert!(bench.sent.is_empty(), "its numbers are those of before the restart, until its record is gone");
    bench.ack_store();
    let last = bench.expect_notify();
    assert_eq!(last.header(Name::CSeq), Some("1001 NOTIFY"));
    bench.respond(&last, 200, "");
    bench.pass(Duration::from_mins(1));
    assert!(bench.is_empty());
}

#[test]
fn timers_do_not_pile_up() {
    let mut bench = Bench::new(config());
    let tag = bench.subscribe("a");
    bench.pass(Duration::from_mins(1));
    for cseq in 2..200 {
        bench.packet(&subscribe("a", cseq, Some(&tag), "", ""));
        bench.ack_store();
        bench.expect_response(200);
        bench.answer_get(vec![dnd(0, true)]);
        let notify = bench.expect_notify();
        bench.respond(&notify, 503, "Retry-After: 1\n");
        bench.pass(Duration::from_millis(1100));
        let notify = bench.expect_notify();
        bench.respond(&notify, 200, "");
        bench.pass(Duration::from_secs(2));
    }
    assert!(bench.notifier.timers.len() < 10, "{}", bench.notifier.timers.len());
}

#[test]
fn a_phone_that_always_asks_for_a_pause_is_not_kept_for_ever() {
    let mut bench = Bench::new(config());
    let tag = bench.subscribe("a");
    bench.packet(&subscribe("a", 2, Some(&tag), "Expires: 0\n", ""));
    bench.ack_store();
    bench.expect_response(200);
    bench.answer_get(vec![dnd(1, true)]);
    let mut notifies = 0;
    while let Some((_, last)) = bench.sent.pop_front() {
        notifies += 1;
        assert_eq!(last.header(Name::SubscriptionState), Some("terminated;reason=timeout"));
        bench.respond(&last, 503, "Retry-After: 30\n");
        bench.pass(Duration::from_millis(30_100));
    }
    assert_eq!(notifies, 4);
    assert!(bench.is_empty());
}

#[test]
fn an_edge_that_stops_takes_nothing_new_and_finishes_what_it_has() {
    let mut bench = Bench::new(config());
    let tag = bench.subscribe("a");
    press(&mut bench, &tag, 2);
    bench.input(Input::Drain);
    assert!(!bench.is_put_down());
    for request in [
        subscribe("b", 1, None, "", ""),
        subscribe("a", 3, Some(&tag), "", ""),
        subscribe("c", 1, None, "", "").replace("SUBSCRIBE", "OPTIONS"),
    ] {
        bench.packet(&request);
        assert!(bench.expect_response(503).header(Name::RetryAfter).is_some());
    }
    bench.apply_change(|_| {});
    let notify = bench.expect_notify();
    assert!(!bench.is_put_down());
    bench.respond(&notify, 200, "");
    assert!(!bench.is_put_down(), "it is stored that all is told");
    bench.ack_store();
    assert!(bench.is_put_down() && bench.reasons().is_empty() && bench.asked.is_empty(), "the subscription stays stored");
}

/// One fetch, one unsubscribe: with a body, what it asks for is done before the end is told.
#[test]
fn a_last_subscribe_with_a_body_is_applied_then_everything_is_told_once() {
    let mut fetch = Bench::new(config());
    fetch.packet(&subscribe("f", 1, None, "Expires: 0\n", &set_dnd(true)));
    fetch.expect_response(200);
    fetch.apply_change(|_| {});
    assert!(fetch.sent.is_empty(), "the full state follows anyway");
    fetch.answer_get(vec![dnd(1, true)]);
    let last = fetch.expect_notify();
    assert_eq!(last.header(Name::SubscriptionState), Some("terminated;reason=timeout"));
    assert!(body(&last).contains("<doNotDisturbOn>true"));
    fetch.respond(&last, 200, "");
    assert_eq!(fetch.fan_outs.len(), 1);
    fetch.pass(Duration::from_mins(1));
    assert!(fetch.is_empty() && fetch.is_quiet() && fetch.reasons().is_empty());

    let mut bench = Bench::new(config());
    let tag = bench.subscribe("a");
    bench.subscribe("b");
    bench.job(3, 1);
    let (in_flight, other) = (bench.expect_notify(), bench.expect_notify());
    bench.respond(&other, 200, "");
    bench.packet(&subscribe("a", 2, Some(&tag), "Expires: 0\n", &set_dnd(false)));
    bench.ack_store();
    bench.expect_response(200);
    bench.apply_change(|response| response.state = dnd(4, false));
    assert_eq!(bench.expect_notify().header(Name::CallId), Some("b"));
    bench.answer_get(vec![dnd(4, false)]);
    assert!(bench.sent.is_empty(), "one NOTIFY at a time");
    bench.respond(&in_flight, 200, "");
    let last = bench.expect_notify();
    assert_eq!(last.header(Name::SubscriptionState), Some("terminated;reason=timeout"));
    assert!(body(&last).contains("<doNotDisturbOn>false"));
    bench.respond(&last, 200, "");
    assert!(bench.sent.is_empty());
    assert_eq!(bench.reasons(), [EndReason::Unsubscribed]);
    assert!(!bench.events.iter().any(|event| matches!(event, Event::Feature(_, event) if event.outcome == FeatureOutcome::Refused)));
}

#[test]
fn two_presses_of_a_key_are_carried_out_in_their_order() {
    let mut bench = Bench::new(config());
    let tag = bench.subscribe("a");
    bench.packet(&subscribe("a", 2, Some(&tag), "", &set_dnd(true)));
    bench.packet(&subscribe("a", 3, Some(&tag), "", &set_dnd(false)));
    assert_eq!(bench.asked.len(), 1, "one store at a time");
    bench.ack_store();
    bench.expect_response(200);
    let stores = bench.asked.iter().filter(|(_, request)| matches!(request, BusRequest::Store { .. })).count();
    let changes = bench.asked.iter().filter(|(_, request)| matches!(request, BusRequest::RouteSet(_))).count();
    assert_eq!((stores, changes), (1, 1), "the second is stored while the first one's route runs");
    let at = bench.asked.iter().position(|(_, request)| matches!(request, BusRequest::Store { .. })).unwrap();
    let store = bench.asked.remove(at).unwrap();
    bench.asked.push_front(store);
    bench.ack_store();
    bench.expect_response(200);
    assert_eq!(bench.asked.len(), 1, "its change waits for the first one's");
    bench.apply_change(|_| {});
    bench.apply_change(|response| response.state.version = 2);
    assert!(bench.asked.is_empty());
}

#[test]
fn draining_refuses_what_is_new_and_waits_for_phones_that_are_there() {
    let mut bench = Bench::new(config());
    bench.packet(&subscribe("a", 1, None, "", ""));
    bench.ack_store();
    bench.expect_response(200);
    bench.answer_get(Vec::new());
    let notify = bench.expect_notify();
    bench.input(Input::Drain);
    bench.packet(&subscribe("b", 1, None, "", ""));
    bench.expect_response(503);
    assert!(!bench.is_put_down(), "a NOTIFY is in flight");
    bench.respond(&notify, 200, "");
    assert!(!bench.is_put_down());
    bench.ack_store();
    assert!(bench.is_put_down());

    let mut gone = Bench::new(config());
    gone.packet(&subscribe("a", 1, None, "", ""));
    gone.ack_store();
    gone.answer_get(Vec::new());
    gone.input(Input::Drain);
    gone.pass(Duration::from_secs(5));
    assert!(!gone.is_put_down());
    gone.pass(Duration::from_secs(2));
    assert!(!gone.is_put_down(), "its phone is not waited for until Timer F");
    gone.ack_store();
    assert!(gone.is_put_down());
}
