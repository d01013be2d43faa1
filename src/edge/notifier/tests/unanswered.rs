//! Phones whose state no worker gave: how often it is asked for, and what the first answer sets off.

use std::time::Duration;

use crate::edge::notifier::tests::fixture::{Bench, config, four, subscribe};

/// Subscribes, and leaves the get without a worker.
fn unanswered(bench: &mut Bench, call_id: &str) {
    bench.packet(&subscribe(call_id, 1, None, "", ""));
    bench.ack_store();
    bench.expect_response(200);
    bench.refuse_next(503);
    let notify = bench.expect_notify();
    assert!(notify.body().is_empty());
    bench.respond(&notify, 200, "");
}

/// Refuses every get until then; gives how many there were.
fn refused(bench: &mut Bench, time: Duration) -> usize {
    let end = bench.now.at + time;
    let mut count = 0;
    while bench.now.at < end {
        bench.pass(Duration::from_millis(100));
        while !bench.asked.is_empty() {
            bench.refuse_next(503);
            count += 1;
        }
    }
    count
}

#[test]
fn few_phones_are_asked_for_every_two_seconds_however_long_there_is_no_worker() {
    let mut bench = Bench::new(config());
    unanswered(&mut bench, "a");
    refused(&mut bench, Duration::from_mins(1));
    assert!((9..=10).contains(&refused(&mut bench, Duration::from_secs(20))));
}

#[test]
fn the_first_answer_has_two_others_asked_for_at_once_and_so_on() {
    let mut bench = Bench::new(config());
    for call_id in ["a", "b", "c"] {
        unanswered(&mut bench, call_id);
        bench.pass(Duration::from_millis(300));
    }
    refused(&mut bench, Duration::from_secs(10));
    while bench.asked.is_empty() {
        bench.pass(Duration::from_millis(1));
    }
    bench.answer_get(four(1));
    bench.pass(Duration::from_millis(20));
    assert_eq!(bench.asked.len(), 2, "woken by the first answer");
}
