//! What phones were not told when their edge ended, and requests that are sent again over its restart.

use std::time::Duration;

use crate::edge::notifier::tests::fixture::body;
use crate::edge::notifier::tests::fixture::config;
use crate::edge::notifier::tests::fixture::four;
use crate::edge::notifier::tests::fixture::other;
use crate::edge::notifier::tests::fixture::set_dnd;
use crate::edge::notifier::tests::fixture::subscribe;
use crate::edge::notifier::tests::fixture::to_tag;
use crate::edge::notifier::tests::fixture::{Bench, REFRESH};
use crate::edge::notifier::*;
use crate::edge::subscription::record::Record;
use crate::runtime::clock;
use crate::sip::name::Name;

/// An edge that took up these records, newest last, at this time.
fn restarted(records: &[(String, Record)], now: Now) -> Bench {
    let mut bench = Bench::new(config());
    bench.now = now;
    for (revision, (tag, record)) in (1..).zip(records) {
        assert!(bench.restore(tag, revision, &serde_json::to_vec(record).unwrap()));
    }
    bench.input(Input::Restored);
    bench
}

/// Of what is asked, the record that is to be stored, acknowledged.
fn stored(bench: &mut Bench) -> (String, Record) {
    let (token, request) = bench.take_store();
    let BusRequest::Store { id, record, .. } = request else { panic!("{request:?}") };
    bench.stored(token, 50);
    (id.to_string(), *record)
}

/// A phone's subscription that has its 200 and its first NOTIFY unanswered; its record.
fn subscribed(bench: &mut Bench, call_id: &str) -> (String, Record) {
    bench.packet(&subscribe(call_id, 1, None, REFRESH, ""));
    let stored = stored(bench);
    bench.expect_response(200);
    bench.answer_get(four(1)[..1].to_vec());
    stored
}

/// Who asks for the full state, and is told it, from now on.
fn told(bench: &mut Bench, time: Duration) -> Vec<String> {
    let (end, mut told) = (bench.now.at + time, Vec::new());
    while bench.now.at < end {
        bench.pass(Duration::from_millis(100));
        while let Some((_, request)) = bench.asked.front() {
            // more CSeq numbers for what it sends
            if matches!(request, BusRequest::Store { .. }) {
                stored(bench);
                continue;
            }
            bench.answer_get(four(1)[..1].to_vec());
            if bench.sent.is_empty() {
                // its numbers are those of before the restart: others are reserved first
                let at = bench.asked.iter().position(|(_, request)| matches!(request, BusRequest::Store { .. })).unwrap();
                bench.asked.rotate_left(at);
                stored(bench);
            }
            let notify = bench.expect_notify();
            assert!(body(&notify).contains("doNotDisturbOn"));
            told.push(notify.header(Name::CallId).unwrap().to_owned());
            bench.respond(&notify, 200, "");
        }
    }
    told.sort();
    told
}

#[test]
fn a_stop_keeps_what_a_silent_phone_was_not_told_and_says_that_the_others_were() {
    let mut bench = Bench::new(config());
    let silent = subscribed(&mut bench, "silent");
    bench.expect_notify();
    let well = subscribed(&mut bench, "well");
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    bench.input(Input::Drain);
    bench.pass(Duration::from_secs(7));
    assert!(!bench.is_put_down());
    let records = [stored(&mut bench), stored(&mut bench)];
    assert!(bench.is_put_down());
    assert!(records[0].0 == silent.0 && records[0].1.is_untold && records[0].1.told_until.is_some());
    assert!(records[1].0 == well.0 && !records[1].1.is_untold && records[1].1.told_until.is_some());

    let mut again = restarted(&records, bench.now);
    assert_eq!(told(&mut again, Duration::from_secs(1)), [""; 0], "phones that come back by themselves come first");
    assert_eq!(told(&mut again, Duration::from_secs(2)), ["silent", "well"], "all of the presentity");
    assert_eq!(told(&mut again, Duration::from_mins(1)), [""; 0]);
}

#[test]
fn after_a_stop_with_nothing_owed_nobody_is_told_anything() {
    let mut bench = Bench::new(config());
    subscribed(&mut bench, "a");
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    bench.pass(Duration::from_millis(1));
    bench.input(Input::Drain);
    assert!(!bench.is_put_down());
    let record = stored(&mut bench);
    assert!(bench.is_put_down());
    bench.pass(Duration::from_secs(10));
    let mut again = restarted(&[record], bench.now);
    assert_eq!(told(&mut again, Duration::from_mins(10)), [""; 0]);
}

#[test]
fn after_a_crash_those_are_told_whose_notify_may_have_been_under_way() {
    let mut bench = Bench::new(config());
    bench.packet(&subscribe("other", 1, None, REFRESH, "").replace("sip:alice@10.0.0.11", "sip:carol@10.0.0.11"));
    let other = stored(&mut bench);
    bench.expect_response(200);
    bench.answer_get(four(1)[..1].to_vec());
    let second = {
        let notify = bench.expect_notify();
        bench.respond(&notify, 200, "");
        let second = subscribed(&mut bench, "second");
        let notify = bench.expect_notify();
        bench.respond(&notify, 200, "");
        second
    };
    bench.pass(Duration::from_millis(200));
    let told = bench.told.take().expect("a record that says so");
    let mut records = vec![other, second];
    records.retain(|(tag, _)| *tag != told.0);
    records.push(told);
    let mut again = restarted(&records, bench.now);
    assert_eq!(self::told(&mut again, Duration::from_mins(1)), [""; 0], "all was told");

    bench.pass(Duration::from_mins(5));
    records.push(subscribed(&mut bench, "first"));
    bench.pass(Duration::from_secs(10));
    assert!(bench.told.is_none());
    let mut again = restarted(&records, bench.now);
    assert_eq!(self::told(&mut again, Duration::from_secs(3)), ["first", "second"], "what the phone has changed is for both");
    assert_eq!(self::told(&mut again, Duration::from_mins(10)), [""; 0]);
}

#[test]
fn what_a_silent_phone_was_not_told_holds_back_what_later_records_say() {
    let mut bench = Bench::new(config());
    let silent = subscribed(&mut bench, "silent");
    bench.expect_notify();
    bench.pass(Duration::from_secs(1));
    bench.sent.clear();
    bench.packet(&subscribe("later", 1, None, REFRESH, "").replace("sip:alice@10.0.0.11", "sip:carol@10.0.0.11"));
    let (_, later) = stored(&mut bench);
    assert_eq!(later.told_until, silent.1.asked_at);
    bench.expect_response(200);
    bench.answer_get(four(1)[..1].to_vec());
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    bench.pass(Duration::from_mins(1));
    assert!(bench.told.is_some(), "the silent one has ended");
}

#[test]
fn whoever_takes_over_tells_at_once() {
    let mut gone = Bench::new(config());
    let (tag, record) = subscribed(&mut gone, "a");
    let mut taker = other();
    taker.now = gone.now;
    taker.pass(Duration::from_secs(30));
    let orphan = Orphan {
        id: tag.parse().unwrap(),
        record: record.clone(),
        revision: 7,
        told_until: clock::parse_rfc3339(record.asked_at.as_deref().unwrap()),
    };
    taker.input(Input::Orphan(Box::new(orphan)));
    taker.ack_store();
    assert_eq!(told(&mut taker, Duration::from_millis(1)), ["a"]);

    taker.pass(Duration::from_mins(20));
    let mut later = Bench::new(EdgeConfig { edge_id: "edge-2".into(), ..config() });
    later.now = taker.now;
    later.input(Input::Orphan(Box::new(Orphan { id: tag.parse().unwrap(), record, revision: 7, told_until: Some(later.now.utc) })));
    later.ack_store();
    assert_eq!(told(&mut later, Duration::from_millis(1)), ["a"], "what it pressed while that edge was cut off may stand nowhere");
}

#[test]
fn a_request_that_is_sent_again_over_a_restart_has_its_answer_and_no_second_subscription() {
    let mut bench = Bench::new(config());
    let first = subscribed(&mut bench, "a");
    let mut again = restarted(std::slice::from_ref(&first), bench.now);
    again.packet(&subscribe("a", 1, None, REFRESH, ""));
    again.ack_store();
    assert_eq!(to_tag(&again.expect_response(200)), first.0);
    assert_eq!(again.notifier.registry.len(), 1);

    bench.expect_notify();
    bench.packet(&subscribe("a", 2, Some(&first.0), REFRESH, &set_dnd(true)));
    let pressed = stored(&mut bench);
    let mut again = restarted(std::slice::from_ref(&pressed), bench.now);
    again.packet(&subscribe("a", 2, Some(&first.0), REFRESH, &set_dnd(true)));
    again.ack_store();
    again.expect_response(200);
    again.apply_change(|response| response.changed = false);
    again.expect_notify();
    again.packet(&subscribe("a", 2, Some(&first.0), REFRESH, "").replace("z9hG4bK", "z9hG4bKother"));
    again.expect_response(500);
    let mut lower = restarted(&[pressed], bench.now);
    lower.packet(&subscribe("a", 1, Some(&first.0), REFRESH, ""));
    lower.expect_response(500);
}
