//! Stores that are not needed, because the stored record covers what a SUBSCRIBE makes of its subscription; and what a crash at
//! each moment costs then.

use std::time::Duration;

use crate::edge::notifier::tests::fixture::REFRESH;
use crate::edge::notifier::tests::fixture::body;
use crate::edge::notifier::tests::fixture::config;
use crate::edge::notifier::tests::fixture::four;
use crate::edge::notifier::tests::fixture::set_dnd;
use crate::edge::notifier::tests::fixture::subscribe;
use crate::edge::notifier::tests::fixture::to_tag;
use crate::edge::notifier::tests::fixture::{Bench, other};
use crate::edge::notifier::*;
use crate::edge::subscription::record::Record;
use crate::runtime::clock;
use crate::sip::message::Message;
use crate::sip::name::Name;

/// What is left of the hour that was granted first, when the phone refreshes.
const LATER: Duration = Duration::from_mins(50);

fn saving() -> EdgeConfig {
    EdgeConfig { unstored_for: Duration::from_hours(10), ..config() }
}

/// A live subscription for an hour, in an edge that saves stores: its tag, and the record that a crash would leave.
fn live() -> (Bench, String, Record) {
    let mut bench = Bench::new(saving());
    bench.packet(&subscribe("a", 1, None, REFRESH, ""));
    let (token, BusRequest::Store { ttl, .. }) = bench.take_store() else { panic!("a store") };
    assert_eq!(ttl, Duration::from_mins(121), "kept for two lifetimes and grace");
    bench.stored(token, 7);
    let tag = to_tag(&bench.expect_response(200));
    bench.answer_get(four(1)[..1].to_vec());
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    bench.pass(Duration::from_secs(1));
    let (_, record) = bench.told.clone().expect("a record that says that all is told");
    (bench, tag, record)
}

/// The edge is started again with what the bucket has.
fn restarted(record: &Record, tag: &str, now: Now) -> Bench {
    let mut bench = Bench::new(saving());
    bench.now = now;
    assert!(bench.restore(tag, 7, &serde_json::to_vec(record).unwrap()));
    bench.input(Input::Restored);
    bench
}

fn cseq(notify: &Message) -> u32 {
    notify.header(Name::CSeq).unwrap().split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_refresh_and_a_key_press_that_alter_nothing_but_the_expiry_have_their_200_at_once() {
    let (mut bench, tag, _) = live();
    bench.pass(LATER);
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, ""));
    assert_eq!(bench.expect_response(200).header(Name::Expires), Some("3600"));
    bench.answer_get(four(1)[..1].to_vec());
    let notify = bench.expect_notify();
    assert_eq!(notify.header(Name::SubscriptionState), Some("active;expires=3600"));
    bench.respond(&notify, 200, "");
    bench.packet(&subscribe("a", 3, Some(&tag), REFRESH, &set_dnd(true)));
    bench.expect_response(200);
    bench.apply_change(|_| {});
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    assert!(bench.is_quiet());
    // It ends an hour after the last of them, and not before.
    bench.pass(Duration::from_secs(3600 + 59));
    assert_eq!(bench.notifier.live().count(), 1);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.notifier.live().count(), 0);
}

/// What it is called, the SUBSCRIBE's `CSeq` and headers, how it is edited, and what happens before.
type Case = (&'static str, u32, &'static str, fn(String) -> String, fn(&mut Bench));

/// What the store is for: each of these is stored before its 200.
#[test]
fn whatever_the_record_does_not_cover_is_stored_first() {
    let contact = |text: String| text.replace("Contact: <sip:alice@", "Contact: <sip:other@");
    let plain = |text: String| text;
    let cases: [Case; 7] = [
        ("a longer life", 2, "Expires: 7200\n", plain, |_| {}),
        ("another Contact", 2, REFRESH, contact, |_| {}),
        ("another User-Agent", 2, "Expires: 3600\nUser-Agent: other\n", plain, |_| {}),
        ("a CSeq that another edge may have answered", 3, REFRESH, plain, |_| {}),
        ("another flow", 2, REFRESH, plain, |bench| bench.flow.peer.set_port(5099)),
        ("the end", 2, "Expires: 0\n", plain, |_| {}),
        ("the edge may have lost it", 2, REFRESH, plain, |bench| bench.input(Input::Lease { is_held: false })),
    ];
    for (name, cseq, headers, edit, before) in cases {
        let (mut bench, tag, _) = live();
        bench.pass(LATER);
        before(&mut bench);
        bench.packet(&edit(subscribe("a", cseq, Some(&tag), headers, "")));
        assert!(bench.sent.is_empty(), "{name}: {:?}", bench.sent);
        assert!(matches!(bench.take_store().1, BusRequest::Store { .. } | BusRequest::Remove { .. }), "{name}");
    }
}

#[test]
fn what_is_granted_in_the_end_is_stored_and_so_is_a_word_now_and_then() {
    let (mut bench, tag, _) = live();
    bench.pass(LATER);
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, ""));
    bench.expect_response(200);
    bench.answer_get(Vec::new());
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    bench.pass(Duration::from_mins(20));
    bench.packet(&subscribe("a", 3, Some(&tag), REFRESH, ""));
    assert!(bench.sent.is_empty(), "two hours after the store it would be live");
    bench.ack_store();
    bench.expect_response(200);

    let mut bench = Bench::new(EdgeConfig { unstored_for: Duration::from_secs(5), ..config() });
    let tag = bench.subscribe("a");
    bench.pass(Duration::from_secs(6));
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, ""));
    assert!(bench.sent.is_empty(), "a record has to say that this edge has told");
    bench.ack_store();
    bench.expect_response(200);
    bench.packet(&subscribe("a", 3, Some(&tag), REFRESH, ""));
    bench.expect_response(200);
}

#[test]
fn a_record_that_is_gone_covers_nothing() {
    let purge: fn(&mut Bench, &str) = |bench, tag| bench.input(Input::Change { key: tag, revision: 900, value: None, removed_over: None });
    let lose: fn(&mut Bench, &str) = |bench, tag| bench.input(Input::Unrecorded { id: tag.parse().unwrap() });
    let rewrite: fn(&mut Bench, &str) = |bench, tag| {
        let record = bench.told.take().unwrap().1;
        bench.changed(tag, 900, &record);
    };
    for (name, happens) in [("purged", purge), ("lost", lose), ("written by nobody knows whom", rewrite)] {
        let (mut bench, tag, _) = live();
        happens(&mut bench, &tag);
        bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, ""));
        assert!(bench.sent.is_empty(), "{name}");
        bench.ack_store();
        bench.expect_response(200);
    }
}

/// ```text
/// phone ── SUBSCRIBE ──▶ edge        1: nothing has happened, the phone sends it again
///       ◀── 200 ──────── edge        2: the subscription lives as long as this said
///                        edge ── route ──▶ worker   3: told by what the worker has stored
///       ◀── NOTIFY ───── edge        4: the CSeq goes on above it
/// ```
#[test]
fn a_crash_after_a_200_that_was_not_stored_costs_nothing_that_it_said() {
    let (mut bench, tag, record) = live();
    bench.pass(LATER);
    let expected = bench.now.at + Duration::from_hours(1);
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, &set_dnd(true)));
    bench.expect_response(200);
    let mut again = restarted(&record, &tag, bench.now);
    // 1: the answer was lost with the edge.
    again.packet(&subscribe("a", 2, Some(&tag), REFRESH, &set_dnd(true)));
    again.ack_store();
    again.expect_response(200);

    // 2: it is there until the second hour is over, though the first was all that was stored as told.
    let mut again = restarted(&record, &tag, bench.now);
    again.pass(expected - again.now.at);
    assert_eq!(again.notifier.live().count(), 1);
    again.job(8, 1);
    again.answer_what_was_missed(8);
    again.ack_store();
    let late = again.expect_notify();
    assert_eq!(late.header(Name::SubscriptionState), Some("active;expires=0"), "it has to refresh");
    // 4
    bench.apply_change(|_| {});
    let before = bench.expect_notify();
    assert!(cseq(&late) > cseq(&before), "{late:?} after {before:?}");
    again.respond(&late, 200, "");
    again.packet(&subscribe("a", 3, Some(&tag), REFRESH, ""));
    again.ack_store();
    again.expect_response(200);

    // And it ends when nobody comes.
    let mut again = restarted(&record, &tag, bench.now);
    again.pass(Duration::from_hours(2));
    assert_eq!(again.notifier.live().count(), 0);
}

/// 3: the worker has stored what the phone changed, and nobody but the edge was to tell that phone.
#[test]
fn whose_change_was_stored_and_not_told_is_told_after_the_restart() {
    let (bench, tag, record) = live();
    let mut again = restarted(&record, &tag, bench.now);
    let id: SubscriptionId = tag.parse().unwrap();
    again.input(Input::Pressed { ids: vec![SubscriptionId::random(), id] });
    again.answer_what_was_missed(2);
    again.ack_store();
    assert!(body(&again.expect_notify()).contains("<doNotDisturbOn>true"));
}

/// What an edge that takes over knows is what the record says: it keeps what the silent edge granted.
#[test]
fn a_take_over_keeps_what_was_granted_without_a_store() {
    let (bench, tag, record) = live();
    let mut taker = other();
    taker.now = bench.now;
    taker.pass(Duration::from_mins(70));
    let orphan = Orphan { id: tag.parse().unwrap(), record: record.clone(), revision: 7, told_until: None };
    taker.input(Input::Orphan(Box::new(orphan)));
    let (token, BusRequest::Store { record: stored, ttl, .. }) = taker.take_store() else { panic!("a store") };
    assert_eq!(clock::parse_rfc3339(&stored.expires_at), clock::parse_rfc3339(&record.expires_at), "no less than was promised");
    assert!(ttl > Duration::from_mins(49), "{ttl:?}");
    taker.stored(token, 8);
    taker.told_on_taking(4);
    taker.pass(Duration::from_mins(45));
    assert_eq!(taker.notifier.live().count(), 1);
}
