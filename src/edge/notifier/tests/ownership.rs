//! Subscriptions that move between edges, and what the bucket says of them in whatever order.

use std::time::Duration;

use crate::bus::message::EndReason;
use crate::edge::limit::MAX_LOOKUPS;
use crate::edge::notifier::tests::fixture::config;
use crate::edge::notifier::tests::fixture::four;
use crate::edge::notifier::tests::fixture::live;
use crate::edge::notifier::tests::fixture::other;
use crate::edge::notifier::tests::fixture::set_dnd;
use crate::edge::notifier::tests::fixture::subscribe;
use crate::edge::notifier::tests::fixture::to_tag;
use crate::edge::notifier::tests::fixture::{Bench, REFRESH};
use crate::edge::notifier::*;
use crate::edge::subscription::record::Record;
use crate::sip::name::Name;

/// A subscription of edge-0: its tag and its record.
fn held_by_edge_0() -> (String, Record) {
    let mut bench = Bench::new(config());
    bench.packet(&subscribe("a", 1, None, REFRESH, ""));
    let (token, BusRequest::Store { record, .. }) = bench.take_store() else { panic!("a store") };
    bench.stored(token, 7);
    (to_tag(&bench.expect_response(200)), *record)
}

fn taken_by_edge_1(record: &Record, remote_cseq: u32) -> Record {
    Record { edge_id: "edge-1".into(), remote_cseq, local_cseq: 2000, ..record.clone() }
}

/// What is stored is taken up again: by the same edge after a restart, by another for the phone's next SUBSCRIBE.
#[test]
fn a_stored_subscription_outlives_its_edge_with_growing_cseq() {
    let mut first = Bench::new(config());
    first.packet(&subscribe("a", 1, None, "Expires: 3600\n", ""));
    let Some((_, BusRequest::Store { id, record, .. })) = first.asked.pop_front() else { panic!("a store") };
    let value = serde_json::to_vec(&record).unwrap();

    let mut restarted = Bench::new(config());
    assert!(restarted.restore(&id.to_string(), 7, &value));
    restarted.packet(&subscribe("a", 2, Some(&id.to_string()), "Expires: 3600\n", ""));
    let Some((_, BusRequest::Store { expected_revision: 7, .. })) = restarted.asked.front() else { panic!("{:?}", restarted.asked) };
    restarted.ack_store();
    restarted.expect_response(200);
    restarted.answer_get(Vec::new());
    assert_eq!(restarted.expect_notify().header(Name::CSeq), Some("1001 NOTIFY"), "above all that may have been used");

    let mut other = Bench::new(EdgeConfig { edge_id: "edge-1".into(), ..config() });
    assert!(!other.restore(&id.to_string(), 7, &value), "not its own");
    other.packet(&subscribe("a", 2, Some(&id.to_string()), "Expires: 3600\n", ""));
    let (token, request) = other.asked.pop_front().unwrap();
    assert!(matches!(request, BusRequest::Lookup { .. }));
    other
        .raw(token, ReplyMessage { status: None, sequence: Some(7), is_deleted: false, removed_over: None, payload: value.clone().into() });
    let Some((_, BusRequest::Store { expected_revision: 7, record, .. })) = other.asked.front() else { panic!("{:?}", other.asked) };
    let moved = serde_json::to_vec(record).unwrap();
    other.ack_store();
    other.expect_response(200);

    restarted.asked.clear();
    restarted.input(Input::Change { key: &id.to_string(), revision: 99, value: Some(&moved), removed_over: None });
    assert_eq!(restarted.reasons(), [EndReason::Moved]);
    assert!(restarted.notifier.registry.is_empty() && restarted.asked.is_empty(), "and it leaves the record alone");
}

#[test]
fn a_dialog_that_is_not_the_records_is_not_taken_over() {
    let mut first = Bench::new(config());
    first.packet(&subscribe("a", 1, None, "", ""));
    let Some((_, BusRequest::Store { id, record, .. })) = first.asked.pop_front() else { panic!("a store") };
    let mut other = Bench::new(EdgeConfig { edge_id: "edge-1".into(), ..config() });
    other.packet(&subscribe("guess", 2, Some(&id.to_string()), "", ""));
    let (token, _) = other.asked.pop_front().unwrap();
    other.raw(
        token,
        ReplyMessage {
            status: None,
            sequence: Some(7),
            is_deleted: false,
            removed_over: None,
            payload: serde_json::to_vec(&record).unwrap().into(),
        },
    );
    other.expect_response(481);
    assert!(other.notifier.registry.is_empty() && other.is_quiet());
}

#[test]
fn subscribes_of_a_dialog_that_comes_here_are_taken_in_their_order() {
    let (tag, record) = held_by_edge_0();
    let mut bench = other();
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, ""));
    bench.packet(&subscribe("a", 3, Some(&tag), REFRESH, &set_dnd(true)));
    bench.found(&record, 7);
    bench.packet(&subscribe("a", 4, Some(&tag), REFRESH, &set_dnd(false)));
    bench.found(&record, 7);
    let stores: Vec<_> = bench.asked.iter().filter(|(_, request)| matches!(request, BusRequest::Store { .. })).collect();
    assert_eq!((bench.asked.len(), stores.len()), (1, 1), "one store at a time");
    assert!(bench.sent.pop_front().is_some_and(|(_, message)| message.header(Name::CSeq) == Some("3 SUBSCRIBE")), "overtaken by 4");
    bench.ack_store();
    assert_eq!(bench.expect_response(200).header(Name::CSeq), Some("2 SUBSCRIBE"));
    bench.answer_get(Vec::new());
    bench.expect_notify();
    bench.ack_store();
    assert_eq!(bench.expect_response(200).header(Name::CSeq), Some("4 SUBSCRIBE"));
}

#[test]
fn what_cannot_be_taken_over_leaves_nothing_and_is_told_to_come_again() {
    let (tag, record) = held_by_edge_0();
    let mut bench = other();
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, ""));
    bench.found(&record, 7);
    bench.packet(&subscribe("a", 3, Some(&tag), REFRESH, ""));
    bench.pass(Duration::from_millis(1100));
    for cseq in ["2 SUBSCRIBE", "3 SUBSCRIBE"] {
        assert_eq!(bench.expect_response(503).header(Name::CSeq), Some(cseq));
    }
    assert!(bench.is_empty());

    bench.asked.clear();
    bench.packet(&subscribe("a", 4, Some(&tag), REFRESH, ""));
    bench.input(Input::Bus { is_up: false });
    bench.found(&record, 7);
    bench.expect_response(503);
    assert!(bench.is_empty());
}

#[test]
fn an_edge_takes_no_more_over_than_it_may_hold() {
    let (tag, record) = held_by_edge_0();
    let mut bench = Bench::new(EdgeConfig { edge_id: "edge-1".into(), max_subscriptions: 1, ..config() });
    bench.subscribe("b");
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, ""));
    bench.found(&record, 7);
    bench.expect_response(503);
    assert_eq!(bench.notifier.registry.len(), 1);
}

/// The edge that held it must hear of it: a key that is merely gone tells it nothing.
#[test]
fn a_subscription_that_comes_here_to_end_is_made_ours_first() {
    let (mut first, tag, record) = live();
    let mut bench = other();
    bench.packet(&subscribe("a", 2, Some(&tag), "Expires: 0\n", ""));
    bench.found(&record, 7);
    let (token, request) = bench.take_store();
    let BusRequest::Store { record: moved, expected_revision: 7, .. } = request else { panic!("{request:?}") };
    first.changed(&tag, 8, &moved);
    assert_eq!(first.reasons(), [EndReason::Moved]);
    assert!(first.is_empty() && first.asked.is_empty());

    bench.stored(token, 8);
    assert_eq!(bench.expect_response(200).header(Name::Expires), Some("0"));
    let Some((removal, BusRequest::Remove { expected_revision: 8, .. })) = bench.asked.pop_front() else { panic!("the key is removed") };
    bench.stored(removal, 9);
    bench.answer_get(Vec::new());
    let last = bench.expect_notify();
    assert_eq!(last.header(Name::SubscriptionState), Some("terminated;reason=timeout"));
    assert_eq!(last.header(Name::CSeq), Some("1001 NOTIFY"));
    bench.respond(&last, 200, "");
    bench.pass(Duration::from_mins(1));
    assert!(bench.is_empty() && bench.is_quiet());
}

#[test]
fn nothing_overtakes_a_subscribe_whose_store_met_another_revision() {
    let (mut bench, tag, record) = live();
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, ""));
    let (token, _) = bench.take_store();
    bench.conflict(token);
    bench.packet(&subscribe("a", 3, Some(&tag), REFRESH, ""));
    assert_eq!(bench.asked.len(), 1, "only the lookup");
    bench.found(&Record { local_cseq: 500, ..record }, 9);
    let (token, request) = bench.take_store();
    assert!(matches!(request, BusRequest::Store { expected_revision: 9, .. }), "{request:?}");
    bench.stored(token, 10);
    assert_eq!(bench.expect_response(200).header(Name::CSeq), Some("2 SUBSCRIBE"));
    assert!(bench.asked.iter().any(|(_, request)| matches!(request, BusRequest::Store { expected_revision: 10, .. })));
}

/// The phone went to edge-1 and came back before this edge heard of it.
#[test]
fn a_subscription_that_comes_back_goes_on_with_the_cseq_of_the_other_edge() {
    let (mut bench, tag, record) = live();
    bench.packet(&subscribe("a", 3, Some(&tag), REFRESH, ""));
    let (token, _) = bench.take_store();
    let moved = taken_by_edge_1(&record, 2);
    bench.changed(&tag, 8, &moved);
    bench.conflict(token);
    bench.found(&moved, 8);
    let (token, request) = bench.take_store();
    let BusRequest::Store { expected_revision: 8, record, .. } = request else { panic!("{request:?}") };
    assert_eq!((&*record.edge_id, record.local_cseq), ("edge-0", 3000));
    bench.stored(token, 9);
    bench.expect_response(200);
    bench.answer_get(Vec::new());
    assert_eq!(bench.expect_notify().header(Name::CSeq), Some("2001 NOTIFY"));
    assert!(bench.reasons().is_empty());
}

#[test]
fn a_subscription_that_another_edge_has_served_since_is_let_go() {
    let (mut bench, tag, record) = live();
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, ""));
    let (token, _) = bench.take_store();
    bench.conflict(token);
    bench.found(&taken_by_edge_1(&record, 3), 8);
    bench.expect_response(500);
    assert_eq!(bench.reasons(), [EndReason::Moved]);
    assert!(bench.is_empty() && bench.asked.is_empty(), "and its record is left alone");

    let (mut bench, tag, record) = live();
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, ""));
    let (token, _) = bench.take_store();
    bench.changed(&tag, 9, &taken_by_edge_1(&record, 3));
    assert!(bench.reasons().is_empty(), "the store under way decides");
    bench.stored(token, 8);
    bench.expect_response(503);
    assert_eq!(bench.reasons(), [EndReason::Moved]);
    assert!(bench.is_empty() && bench.asked.is_empty());
}

#[test]
fn a_record_that_is_gone_is_stored_anew_for_a_live_subscription_and_not_for_one_taken_over() {
    let (mut bench, tag, record) = live();
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, ""));
    let (token, _) = bench.take_store();
    bench.conflict(token);
    bench.found_removed(12);
    let (token, request) = bench.take_store();
    assert!(matches!(request, BusRequest::Store { expected_revision: 12, .. }), "{request:?}");
    bench.stored(token, 13);
    bench.expect_response(200);

    let mut bench = other();
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, ""));
    bench.found(&record, 7);
    let (token, _) = bench.take_store();
    bench.conflict(token);
    bench.found_removed(12);
    bench.expect_response(481);
    assert!(bench.is_empty());
}

#[test]
fn a_record_of_ours_that_comes_late_is_removed() {
    let (mut bench, tag, record) = live();
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, ""));
    bench.packet(&subscribe("a", 3, Some(&tag), REFRESH, ""));
    bench.job(5, 1);
    let notify = bench.expect_notify();
    let (token, _) = bench.take_store();
    bench.respond(&notify, 481, "");
    for cseq in ["2 SUBSCRIBE", "3 SUBSCRIBE"] {
        assert_eq!(bench.expect_response(481).header(Name::CSeq), Some(cseq));
    }
    assert_eq!(bench.done, [JobHandle(1)]);
    bench.asked.clear();
    bench.stored(token, 8);
    bench.changed(&tag, 8, &record);
    let Some((removal, BusRequest::Remove { expected_revision: 8, .. })) = bench.asked.pop_front() else { panic!("{:?}", bench.asked) };
    bench.stored(removal, 9);
    bench.pass(Duration::from_mins(1));
    assert!(bench.is_empty() && bench.is_quiet());
}

#[test]
fn made_up_dialogs_take_no_room_from_the_others() {
    let (mut bench, tag, _) = live();
    for number in 0..=MAX_LOOKUPS {
        bench.packet(&subscribe("x", 2, Some(&format!("{number:024x}")), REFRESH, "").replace("bKx", &format!("bKx{number}")));
    }
    assert_eq!(bench.asked.len(), MAX_LOOKUPS);
    bench.expect_response(503);
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, ""));
    assert!(matches!(bench.asked.pop_back(), Some((_, BusRequest::Store { .. }))));
    bench.sent.clear();
    bench.pass(Duration::from_millis(1100));
    assert_eq!((bench.notifier.requests.lookups(), bench.sent.len()), (0, MAX_LOOKUPS + 1), "each is answered");
}

/// A refresh came through, but its acknowledgement has not; then the phone says that it knows nothing of the subscription.
#[test]
fn the_end_removes_the_newest_record_also_when_its_acknowledgement_is_out() {
    let mut bench = Bench::new(config());
    bench.packet(&subscribe("a", 1, None, "Expires: 3600\n", ""));
    bench.ack_store();
    let tag = to_tag(&bench.expect_response(200));
    bench.answer_get(Vec::new());
    let notify = bench.expect_notify();
    bench.packet(&subscribe("a", 2, Some(&tag), "Expires: 3600\n", ""));
    let Some((_, BusRequest::Store { id, record, .. })) = bench.asked.pop_front() else { panic!("a store") };
    let value = serde_json::to_vec(&record).unwrap();
    bench.input(Input::Change { key: &id.to_string(), revision: 9, value: Some(&value), removed_over: None });
    bench.respond(&notify, 481, "");
    let removed = bench.asked.iter().any(|(_, request)| matches!(request, BusRequest::Remove { expected_revision: 9, .. }));
    assert!(removed, "{:?}", bench.asked);
}

/// ```text
/// phone ── SUBSCRIBE ─▶ edge-1 ── store ─▶ (no quorum)          503
///                                           (quorum) ── record in the name of edge-1 ─▶ edge-0 lets go, edge-1 serves
/// ```
#[test]
fn a_store_that_comes_through_late_leaves_no_subscription_unserved() {
    let (mut first, tag, record) = live();
    let mut bench = other();
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, &set_dnd(true)));
    bench.found(&record, 7);
    let (_, BusRequest::Store { record: moved, .. }) = bench.take_store() else { panic!("a store") };
    bench.pass(Duration::from_millis(1100));
    bench.expect_response(503);
    assert!(bench.is_empty() && bench.is_quiet());

    first.changed(&tag, 8, &moved);
    assert_eq!(first.reasons(), [EndReason::Moved]);
    bench.changed(&tag, 8, &moved);
    assert_eq!(bench.notifier.live().count(), 1, "it is served, and its record stays");
    bench.pass(Duration::from_millis(20));
    bench.answer_get(four(3)[..1].to_vec());
    bench.ack_store();
    let notify = bench.expect_notify();
    assert_eq!(notify.header(Name::CSeq), Some("2001 NOTIFY"), "above all that the record covers");
    bench.respond(&notify, 200, "");
    bench.packet(&subscribe("a", 3, Some(&tag), REFRESH, ""));
    bench.ack_store();
    bench.expect_response(200);
}

#[test]
fn a_late_record_of_a_subscription_that_is_refused_or_has_ended_is_removed() {
    let mut bench = Bench::new(config());
    bench.packet(&subscribe("a", 1, None, REFRESH, ""));
    let (_, BusRequest::Store { id, record, .. }) = bench.take_store() else { panic!("a store") };
    bench.pass(Duration::from_millis(1100));
    bench.expect_response(503);
    bench.changed(&id.to_string(), 8, &record);
    let removal = bench.asked.pop_front();
    assert!(matches!(removal, Some((_, BusRequest::Remove { expected_revision: 8, .. }))), "its phone has no 200: {removal:?}");

    let (mut bench, tag, record) = live();
    bench.packet(&subscribe("a", 2, Some(&tag), "Expires: 0\n", ""));
    bench.ack_store();
    bench.asked.clear();
    bench.changed(&tag, 8, &record);
    bench.pass(Duration::from_mins(5));
    bench.asked.clear();
    bench.changed(&tag, 9, &record);
    let removal = bench.asked.pop_front();
    assert!(matches!(removal, Some((_, BusRequest::Remove { expected_revision: 9, .. }))), "it has ended: {removal:?}");
    assert_eq!(bench.notifier.live().count(), 0);
}

/// Its acknowledgement is lost, but the bucket's change is heard before the time for it is over.
#[test]
fn a_first_store_that_was_seen_in_the_bucket_counts_as_acknowledged() {
    let mut bench = Bench::new(config());
    bench.packet(&subscribe("a", 1, None, REFRESH, ""));
    let (_, BusRequest::Store { id, record, .. }) = bench.take_store() else { panic!("a store") };
    bench.changed(&id.to_string(), 7, &record);
    bench.pass(Duration::from_millis(1100));
    assert_eq!(to_tag(&bench.expect_response(200)), id.to_string());
    assert_eq!(bench.notifier.live().count(), 1);
}

/// It was taken over while this edge stood still, and its phone has sent a SUBSCRIBE here meanwhile: until that has it back, the other
/// edge's NOTIFYs count.
#[test]
fn nothing_is_sent_to_a_phone_that_is_being_taken_back() {
    let (mut bench, tag, record) = live();
    bench.packet(&subscribe("a", 3, Some(&tag), REFRESH, &set_dnd(true)));
    let (token, _) = bench.take_store();
    let theirs = taken_by_edge_1(&record, 1);
    bench.changed(&tag, 80, &theirs);
    bench.job(5, 1);
    assert!(bench.sent.is_empty(), "{:?}", bench.sent);
    bench.conflict(token);
    let (token, request) = bench.asked.pop_front().unwrap();
    assert!(matches!(request, BusRequest::Lookup { .. }), "{request:?}");
    let payload = serde_json::to_vec(&theirs).unwrap().into();
    bench.raw(token, ReplyMessage { status: None, sequence: Some(80), is_deleted: false, removed_over: None, payload });
    let (token, _) = bench.take_store();
    bench.stored(token, 81);
    bench.expect_response(200);
    bench.apply_change(|response| response.state.version = 6);
    bench.answer_get(four(6));
    let notify = bench.expect_notify();
    assert_eq!(notify.header(Name::CSeq), Some("2001 NOTIFY"), "above the other edge's");
}
