//! Subscriptions that another edge has taken over and ended, while this one stood still.

use std::time::Duration;

use crate::edge::notifier::tests::fixture::{Bench, REFRESH, live, set_dnd, subscribe};
use crate::edge::notifier::*;

/// This edge stood still while another took the subscription over and ended it: all it sees of that is that a revision was removed which it
/// has never seen. What it would send has a `CSeq` below the other's.
#[test]
fn what_another_edge_has_ended_is_over_here() {
    let gone = |removed_over| {
        move |tag: &str, bench: &mut Bench| {
            bench.input(Input::Change { key: tag, revision: 90, value: None, removed_over });
        }
    };
    let own = live().0.notifier.live().map(|subscription| subscription.revision).max();
    for (name, removed_over, is_over) in [("another's", Some(80), true), ("ours", own, false), ("nobody's", None, false)] {
        let (mut bench, tag, _) = live();
        gone(removed_over)(&tag, &mut bench);
        assert_eq!(bench.notifier.live().count() == 0, is_over, "{name}");
        bench.job(5, 1);
        assert_eq!(bench.sent.is_empty(), is_over, "{name}");
    }
}

/// The same, while the answer to a store is lost.
#[test]
fn what_another_edge_has_ended_is_over_here_when_a_store_has_no_answer() {
    let (mut bench, tag, _) = live();
    bench.packet(&subscribe("a", 3, Some(&tag), REFRESH, &set_dnd(true)));
    bench.take_store();
    bench.input(Input::Change { key: &tag, revision: 90, value: None, removed_over: Some(80) });
    bench.pass(Duration::from_millis(1100));
    bench.expect_response(503);
    bench.job(5, 1);
    assert!(bench.sent.is_empty(), "{:?}", bench.sent);
    assert_eq!(bench.notifier.live().count(), 0);
}

/// The same, found while a SUBSCRIBE of its phone is stored.
#[test]
fn a_subscribe_to_what_another_edge_has_ended_is_refused() {
    let (mut bench, tag, _) = live();
    bench.packet(&subscribe("a", 3, Some(&tag), REFRESH, &set_dnd(true)));
    let (token, _) = bench.take_store();
    bench.input(Input::Change { key: &tag, revision: 90, value: None, removed_over: Some(80) });
    bench.conflict(token);
    let (token, request) = bench.asked.pop_front().unwrap();
    assert!(matches!(request, BusRequest::Lookup { .. }), "{request:?}");
    let payload = bytes::Bytes::new();
    bench.raw(token, ReplyMessage { status: None, sequence: Some(90), is_deleted: true, removed_over: Some(80), payload });
    bench.expect_response(481);
    assert_eq!(bench.notifier.live().count(), 0);
}
