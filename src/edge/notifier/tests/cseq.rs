//! `CSeq` numbers: none is used before a record that covers it is stored, so that none is used twice.

use std::time::Duration;

use crate::bus::message::EndReason;
use crate::edge::notifier::tests::fixture::{Bench, config, live};
use crate::edge::notifier::*;
use crate::edge::subscription::record::Record;
use crate::sip::name::Name;

/// An edge that has crashed and is back, with this record of before.
fn restarted(tag: &str, record: &Record) -> Bench {
    let mut bench = Bench::new(config());
    assert!(bench.restore(tag, 7, &serde_json::to_vec(record).unwrap()));
    bench.acks_told = false;
    bench
}

/// `CSeq` numbers count as reserved only once a record that covers them is stored.
#[test]
fn cseq_numbers_are_reserved_in_time_and_again_when_that_failed() {
    let mut bench = Bench::new(config());
    bench.subscribe("a");
    // what is stored to say that all is told reserves some as well: here it does not come through
    bench.acks_told = false;
    bench.pass(Duration::from_secs(2));
    bench.asked.clear();
    let mut asked_at = Vec::new();
    let notify_next = |bench: &mut Bench, version: u64| {
        bench.job(version, version);
        let notify = bench.expect_notify();
        bench.respond(&notify, 200, "");
    };
    for version in 2..=830 {
        notify_next(&mut bench, version);
        match bench.asked.pop_front() {
            Some((_, BusRequest::Store { .. })) if version < 800 => {
                asked_at.push(version);
                bench.pass(Duration::from_secs(2));
            }
            Some((token, BusRequest::Store { record, .. })) => {
                asked_at.push(version);
                assert_eq!(u64::from(record.local_cseq), version + 1000);
                bench.stored(token, 100);
            }
            Some(other) => panic!("{other:?}"),
            None => {}
        }
    }
    assert_eq!(asked_at, [750, 775, 800]);
}

/// Two crashes, and nothing is stored between them: the second process must not say what the first has said.
#[test]
fn no_cseq_is_used_that_the_stored_record_does_not_cover() {
    let (_, tag, record) = live();
    for _ in 0..2 {
        let mut bench = restarted(&tag, &record);
        bench.job(5, 1);
        bench.answer_what_was_missed(5);
        let (_, request) = bench.take_store();
        let BusRequest::Store { record: reserved, expected_revision: 7, .. } = request else { panic!("{request:?}") };
        assert_eq!(reserved.local_cseq, record.local_cseq + 1000);
        bench.pass(Duration::from_secs(30));
        assert!(bench.sent.is_empty(), "nothing of it is stored");
        assert!(bench.asked.iter().any(|(_, request)| matches!(request, BusRequest::Store { .. })), "it is asked again");
    }
}

#[test]
fn a_notify_that_waits_for_its_number_leaves_with_the_reservation() {
    let (_, tag, record) = live();
    let mut bench = restarted(&tag, &record);
    bench.job(5, 1);
    bench.job(6, 2);
    bench.pass(Duration::from_millis(20));
    bench.input(Input::Bus { is_up: false });
    bench.answer_what_was_missed(6);
    bench.pass(Duration::from_secs(10));
    assert!(bench.is_quiet(), "nats is away");
    bench.input(Input::Bus { is_up: true });
    while bench.asked.is_empty() {
        bench.pass(Duration::from_millis(100));
    }
    let (token, _) = bench.take_store();
    assert!(bench.is_quiet());
    bench.stored(token, 8);
    let notify = bench.expect_notify();
    assert_eq!(notify.header(Name::CSeq), Some("1001 NOTIFY"));
    bench.respond(&notify, 200, "");
    bench.done.sort_by_key(|handle| handle.0);
    assert_eq!(bench.done, [JobHandle(1), JobHandle(2)]);
    assert!(bench.is_quiet(), "one NOTIFY, and no other reservation");
}

#[test]
fn a_reservation_that_meets_another_revision_asks_whose_the_subscription_is() {
    let waiting = || {
        let (_, tag, record) = live();
        let mut bench = restarted(&tag, &record);
        bench.job(5, 1);
        bench.answer_what_was_missed(5);
        let (token, _) = bench.take_store();
        bench.conflict(token);
        (bench, record)
    };
    let (mut bench, record) = waiting();
    bench.found(&Record { local_cseq: 1500, ..record }, 9);
    let (token, request) = bench.take_store();
    assert!(matches!(request, BusRequest::Store { expected_revision: 9, .. }), "a late write of ours: {request:?}");
    bench.stored(token, 10);
    bench.expect_notify();

    let (mut bench, record) = waiting();
    bench.found(&Record { edge_id: "edge-1".into(), ..record }, 9);
    assert_eq!((bench.reasons(), bench.moved.as_slice()), (vec![EndReason::Moved], [JobHandle(1)].as_slice()));
    assert!(bench.is_empty() && bench.is_quiet());

    let (mut bench, _) = waiting();
    bench.found_removed(12);
    let (_, request) = bench.take_store();
    assert!(matches!(request, BusRequest::Store { expected_revision: 12, .. }), "the bucket has lost it: {request:?}");
}

#[test]
fn numbers_run_out_while_nothing_can_be_stored_and_nothing_more_is_sent() {
    let mut bench = Bench::new(config());
    bench.subscribe("a");
    bench.acks_told = false;
    let mut last = 0;
    for version in 2..=1200 {
        bench.job(version, version);
        if let Some((_, notify)) = bench.sent.pop_front() {
            last = version;
            bench.respond(&notify, 200, "");
        }
        bench.asked.clear();
    }
    assert_eq!(last, 1000, "as many as the one record has reserved");
    bench.pass(Duration::from_secs(2));
    bench.ack_store();
    let notify = bench.expect_notify();
    assert_eq!(notify.header(Name::CSeq), Some("1001 NOTIFY"));
    bench.respond(&notify, 200, "");
    assert_eq!(bench.done.len(), 1199, "what waited was told, each feature in its newest state");
}
