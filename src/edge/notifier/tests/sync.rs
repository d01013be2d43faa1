//! What a phone has confirmed travels with its subscription, and nothing older is told after something newer.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::edge::notifier::tests::fixture::{Bench, REFRESH, body, config, live, other, set_dnd, subscribe};
use crate::edge::notifier::*;
use crate::edge::subscription::record::Record;
use crate::feature::{FeatureState, Status};
use crate::sip::message::Message;

fn dnd(version: u64) -> FeatureState {
    FeatureState { status: Status::ON, version, ..FeatureState::new("DoNotDisturb") }
}

fn confirmed(record: &Record, version: u64) -> Record {
    Record { versions: BTreeMap::from([("DoNotDisturb".into(), version)]), ..record.clone() }
}

fn restarted(tag: &str, record: &Record) -> Bench {
    let mut bench = Bench::new(config());
    assert!(bench.restore(tag, 7, &serde_json::to_vec(record).unwrap()));
    bench.input(Input::Restored);
    bench.pass(Duration::from_secs(3));
    bench.sent.clear();
    bench
}

fn told(notify: &Message) -> bool {
    body(notify).contains("doNotDisturbOn")
}

#[test]
fn the_record_says_what_the_phone_has_confirmed() {
    let (mut bench, tag, _) = live();
    bench.job(5, 1);
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, ""));
    let (_, BusRequest::Store { record, .. }) = bench.take_store() else { panic!("a store") };
    assert_eq!(record.versions, BTreeMap::from([("DoNotDisturb".into(), 5)]));
}

/// The first process told 6, then 7; the job of 6 was not acknowledged, and comes again to the second one.
#[test]
fn a_job_that_comes_again_after_a_restart_tells_nothing_that_is_older() {
    let (_, tag, record) = live();
    let mut bench = restarted(&tag, &Record { asked_at: None, ..confirmed(&record, 7) });
    bench.job(6, 1);
    bench.answer_what_was_missed(7);
    assert!(bench.is_quiet(), "the phone has confirmed it");
    assert_eq!(bench.done, [JobHandle(1)]);
    bench.job(8, 2);
    bench.ack_store();
    let notify = bench.expect_notify();
    assert!(told(&notify));
    bench.respond(&notify, 200, "");
    assert_eq!(bench.done, [JobHandle(1), JobHandle(2)], "from there versions are compared");
}

#[test]
fn a_job_waits_for_a_full_state_that_is_asked_for_after_it_came() {
    let (_, tag, record) = live();
    let mut bench = other();
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, &set_dnd(true)));
    bench.found(&record, 7);
    bench.job(5, 1);
    assert_eq!(bench.asked.len(), 1, "the record is not stored yet");
    bench.ack_store();
    bench.expect_response(200);
    bench.apply_change(|response| response.state.version = 6);
    assert!(bench.sent.is_empty());
    bench.job(4, 2);
    bench.answer_get(vec![dnd(6)]);
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    assert_eq!(bench.done, [JobHandle(1)]);
    bench.answer_what_was_missed(6);
    assert_eq!((bench.done.as_slice(), bench.sent.len()), ([JobHandle(1), JobHandle(2)].as_slice(), 0));
}

/// edge-0 told 1; the phone went to edge-1, was told 2, and came back before edge-0 heard of it.
#[test]
fn an_edge_that_gets_a_subscription_back_forgets_what_it_was_to_tell() {
    let (mut bench, tag, record) = live();
    bench.job(1, 1);
    let old = bench.expect_notify();
    bench.packet(&subscribe("a", 3, Some(&tag), REFRESH, &set_dnd(true)));
    let (token, _) = bench.take_store();
    bench.conflict(token);
    let moved = Record { edge_id: "edge-1".into(), remote_cseq: 2, local_cseq: 2000, ..confirmed(&record, 2) };
    bench.found(&moved, 8);
    let (token, BusRequest::Store { record: ours, .. }) = bench.take_store() else { panic!("a store") };
    assert_eq!(ours.versions, moved.versions);
    bench.pass(Duration::from_millis(600));
    assert!(bench.is_quiet(), "the NOTIFY of before is not sent again");
    bench.respond(&old, 200, "");
    bench.stored(token, 9);
    bench.expect_response(200);
    bench.apply_change(|response| response.state.version = 3);
    assert!(bench.done.is_empty() && bench.sent.is_empty());
    bench.answer_get(vec![dnd(3)]);
    let notify = bench.expect_notify();
    assert!(told(&notify));
    bench.respond(&notify, 200, "");
    assert_eq!(bench.done, [JobHandle(1)], "done with the full state");
    assert!(bench.is_quiet());
}

/// It has met the other edge's record, and its own store has no answer: the other edge serves, until the bucket says otherwise.
#[test]
fn a_subscription_that_could_not_be_taken_back_is_the_other_edges() {
    let (mut bench, tag, record) = live();
    bench.packet(&subscribe("a", 3, Some(&tag), REFRESH, ""));
    let (token, _) = bench.take_store();
    bench.conflict(token);
    let moved = Record { edge_id: "edge-1".into(), remote_cseq: 2, local_cseq: 2000, ..record };
    bench.found(&moved, 8);
    let (_, BusRequest::Store { record: ours, .. }) = bench.take_store() else { panic!("a store") };
    bench.pass(Duration::from_millis(1100));
    bench.expect_response(503);
    assert!(bench.is_empty() && bench.is_quiet());
    bench.changed(&tag, 8, &moved);
    assert!(bench.is_empty());
    bench.changed(&tag, 9, &ours);
    assert_eq!(bench.notifier.live().count(), 1, "it came through after all");
}

#[test]
fn the_other_edge_hears_of_a_subscription_that_comes_back_to_end() {
    let (mut bench, tag, record) = live();
    bench.packet(&subscribe("a", 3, Some(&tag), "Expires: 0\n", ""));
    let (token, _) = bench.take_store();
    bench.conflict(token);
    bench.found(&Record { edge_id: "edge-1".into(), remote_cseq: 2, local_cseq: 2000, ..record }, 8);
    let (token, request) = bench.take_store();
    assert!(matches!(request, BusRequest::Store { expected_revision: 8, .. }), "a key that is gone tells it nothing: {request:?}");
    bench.stored(token, 9);
    bench.expect_response(200);
    let removal = bench.asked.pop_front();
    assert!(matches!(removal, Some((_, BusRequest::Remove { expected_revision: 9, .. }))), "{removal:?}");
}

#[test]
fn what_was_lost_is_asked_for_before_anything_else_is_told() {
    let (_, tag, record) = live();
    let mut bench = restarted(&tag, &Record { asked_at: None, ..record });
    bench.job(7, 1);
    bench.answer_what_was_missed(7);
    bench.ack_store();
    let notify = bench.expect_notify();
    bench.respond(&notify, 500, "");
    bench.job(6, 2);
    bench.answer_what_was_missed(7);
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    bench.job(6, 3);
    assert!(bench.is_quiet());
    assert_eq!(bench.done, [JobHandle(1), JobHandle(2), JobHandle(3)]);
}

/// Its jobs were given up on while it was silent: nobody says again what they said.
#[test]
fn an_edge_that_was_silent_asks_for_what_the_phones_that_it_still_holds_have_missed() {
    let (mut bench, _, _) = live();
    bench.job(5, 1);
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    bench.subscribe("b");
    let presentity = |text| Presentity::parse(text).unwrap();
    bench.input(Input::Missed { presentities: Some(vec![presentity("sip:carol@10.0.0.11")]) });
    bench.pass(Duration::from_secs(1));
    assert!(bench.is_quiet(), "nobody here watches carol");

    bench.input(Input::Missed { presentities: Some(vec![presentity("sip:alice@10.0.0.11")]) });
    bench.pass(Duration::from_millis(40));
    assert_eq!(bench.asked.len(), 2);
    bench.answer_get(vec![dnd(5)]);
    bench.answer_get(vec![dnd(5)]);
    let notify = bench.expect_notify();
    assert_eq!(notify.header(crate::sip::name::Name::CallId), Some("b"), "a has confirmed it");
    bench.respond(&notify, 200, "");
    assert!(bench.is_quiet());

    bench.input(Input::Missed { presentities: None });
    bench.pass(Duration::from_millis(40));
    bench.answer_get(vec![dnd(6)]);
    bench.answer_get(vec![dnd(6)]);
    for _ in 0..2 {
        assert!(told(&bench.expect_notify()));
    }
}

#[test]
fn a_notify_that_may_not_leave_is_kept_for_later() {
    let (mut bench, tag, _) = live();
    bench.job(5, 1);
    let notify = bench.expect_notify();
    let cseq = notify.header(crate::sip::name::Name::CSeq).unwrap().split(' ').next().unwrap().parse().unwrap();
    bench.input(Input::Lease { is_held: false });
    let notify = NotifyId { subscription: tag.parse().unwrap(), cseq };
    bench.input(Input::Undeliverable { notify, why: Unsent::NoLease });
    bench.pass(Duration::from_mins(1));
    assert!(bench.is_quiet() && bench.done.is_empty() && bench.reasons().is_empty());
    bench.input(Input::Lease { is_held: true });
    bench.pass(Duration::from_secs(1));
    let again = bench.expect_notify();
    assert!(told(&again));
    bench.respond(&again, 200, "");
    assert_eq!(bench.done, [JobHandle(1)]);
}

/// The phone may have been told something newer in a dialog of before: the first state that it is told here is read strictly, and
/// a job that comes before waits for one that is asked for after it.
#[test]
fn a_new_dialog_is_told_the_full_state_first() {
    let mut bench = Bench::new(config());
    bench.packet(&subscribe("a", 1, None, REFRESH, ""));
    bench.ack_store();
    bench.expect_response(200);
    assert!(matches!(&bench.asked[0].1, BusRequest::Get(get) if get.strict), "{:?}", bench.asked);
    bench.job(5, 1);
    assert!(bench.sent.is_empty() && bench.done.is_empty());
    bench.answer_get(vec![dnd(4)]);
    let notify = bench.expect_notify();
    assert!(told(&notify));
    bench.respond(&notify, 200, "");
    bench.answer_what_was_missed(5);
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    assert_eq!(bench.done, [JobHandle(1)]);
    bench.job(6, 2);
    bench.expect_notify();
}
