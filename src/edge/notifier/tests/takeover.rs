//! Take-over from a silent edge, from both sides.

use std::time::Duration;

use crate::bus::message::{EndReason, NotifyJob, SubscriptionChange};
use crate::edge::event::Event;
use crate::edge::notifier::tests::fixture::config;
use crate::edge::notifier::tests::fixture::four;
use crate::edge::notifier::tests::fixture::live;
use crate::edge::notifier::tests::fixture::other;
use crate::edge::notifier::tests::fixture::subscribe;
use crate::edge::notifier::tests::fixture::{Bench, REFRESH};
use crate::edge::notifier::*;
use crate::edge::subscription::record::Record;
use crate::feature::FeatureState;
use crate::sip::name::Name;

fn orphan(bench: &mut Bench, tag: &str, record: &Record) {
    let orphan = Orphan { id: tag.parse().unwrap(), record: record.clone(), revision: 7, told_until: None };
    bench.input(Input::Orphan(Box::new(orphan)));
}

impl Bench {
    /// A subscription that was taken over: its phone is told the full state, DND off in this version.
    pub(super) fn told_on_taking(&mut self, version: u64) {
        self.pass(Duration::from_millis(20));
        self.answer_get(four(version)[..1].to_vec());
        let notify = self.expect_notify();
        self.respond(&notify, 200, "");
    }
}

/// Has the orphan stored in the name of edge-1; gives the record.
fn taken(bench: &mut Bench, tag: &str, record: &Record) -> Record {
    orphan(bench, tag, record);
    let (token, request) = bench.take_store();
    let BusRequest::Store { record, expected_revision: 7, .. } = request else { panic!("{request:?}") };
    bench.stored(token, 8);
    *record
}

fn said(bench: &Bench) -> Vec<(String, SubscriptionChange, Option<EndReason>)> {
    let of = |event: &Event| match event {
        Event::Subscription(_, event) => Some((event.edge_id.clone(), event.what, event.reason)),
        _ => None,
    };
    bench.events.iter().filter_map(of).collect()
}

fn job(bench: &mut Bench, version: u64, handle: u64, taken_from: Option<&str>) {
    let job = NotifyJob {
        kind: crate::bus::message::Kind::default(),
        id: handle.to_string(),
        presentity: "sip:alice@10.0.0.11".into(),
        states: vec![FeatureState { version, ..FeatureState::new("DoNotDisturb") }],
        assigned: true,
        skip: None,
        taken_from: taken_from.map(str::to_owned),
        not_after: "2999-01-01T00:00:00Z".into(),
        cause: Cause::new(),
    };
    bench.input(Input::Job { job: Box::new(job), handle: JobHandle(handle), age: Duration::ZERO });
}

#[test]
fn an_orphan_is_stored_by_compare_and_set_and_served_with_growing_cseq() {
    let (_, tag, record) = live();
    let mut bench = other();
    let stored = taken(&mut bench, &tag, &record);
    assert_eq!((&*stored.edge_id, stored.taken_from.as_deref(), stored.local_cseq), ("edge-1", Some("edge-0"), 2000));
    let want = [
        ("edge-0".to_owned(), SubscriptionChange::Terminated, Some(EndReason::Moved)),
        ("edge-1".to_owned(), SubscriptionChange::Active, None),
    ];
    assert_eq!(said(&bench), want);
    assert!(bench.is_quiet(), "phones are told nothing that they have not missed");
    bench.job(5, 1);
    bench.answer_what_was_missed(5);
    let notify = bench.expect_notify();
    assert_eq!(notify.header(Name::CSeq), Some("1001 NOTIFY"));
    bench.respond(&notify, 200, "");
    assert_eq!(bench.done, [JobHandle(1)]);
}

#[test]
fn who_comes_second_has_nothing() {
    let (_, tag, record) = live();
    let mut bench = other();
    orphan(&mut bench, &tag, &record);
    let (token, _) = bench.take_store();
    // the phone comes in between: it is told to come again
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, ""));
    assert!(bench.is_quiet());
    bench.conflict(token);
    bench.expect_response(503);
    assert!(bench.is_empty() && bench.is_quiet() && said(&bench).is_empty());
}

#[test]
fn a_subscribe_that_comes_meanwhile_is_taken_after_the_take_over() {
    let (_, tag, record) = live();
    let mut bench = other();
    orphan(&mut bench, &tag, &record);
    let (token, _) = bench.take_store();
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, ""));
    bench.stored(token, 8);
    let (token, request) = bench.take_store();
    assert!(matches!(request, BusRequest::Store { expected_revision: 8, .. }), "{request:?}");
    bench.stored(token, 9);
    bench.expect_response(200);
}

/// The answer to the store is lost: whether it came through, the bucket says later.
#[test]
fn a_take_over_without_an_answer_is_served_once_the_bucket_says_that_it_is_ours() {
    let (_, tag, record) = live();
    let mut bench = other();
    orphan(&mut bench, &tag, &record);
    let (_, BusRequest::Store { record: moved, .. }) = bench.take_store() else { panic!("a store") };
    bench.pass(Duration::from_millis(1100));
    assert!(bench.is_empty() && said(&bench).is_empty());
    bench.changed(&tag, 8, &moved);
    assert_eq!(said(&bench).len(), 2);
    assert!(bench.asked.is_empty(), "its record is not removed");
    assert_eq!(bench.notifier.live().count(), 1);

    // said before the time for the answer was over, it counts as the answer
    let mut bench = other();
    orphan(&mut bench, &tag, &record);
    bench.take_store();
    bench.changed(&tag, 8, &moved);
    bench.pass(Duration::from_millis(1100));
    assert_eq!((bench.notifier.live().count(), said(&bench).len()), (1, 2));

    // or another edge was first
    let mut bench = other();
    orphan(&mut bench, &tag, &record);
    bench.take_store();
    bench.pass(Duration::from_millis(1100));
    bench.changed(&tag, 9, &Record { edge_id: "edge-2".into(), ..*moved });
    assert!(bench.is_empty() && !bench.notifier.registry.has_doubts());
}

#[test]
fn an_edge_takes_no_more_orphans_than_it_may_hold_nor_any_while_it_is_not_heard() {
    let (_, tag, record) = live();
    let mut full = Bench::new(EdgeConfig { edge_id: "edge-1".into(), max_subscriptions: 1, ..config() });
    full.subscribe("b");
    orphan(&mut full, &tag, &record);
    assert!(full.is_quiet());
    let mut silent = other();
    silent.input(Input::Lease { is_held: false });
    orphan(&mut silent, &tag, &record);
    assert!(silent.is_quiet() && silent.is_empty());
    let mut elsewhere = other();
    orphan(&mut elsewhere, &tag, &Record { peer: "[2001:db8::9]:5060".parse().unwrap(), listener: None, ..record });
    assert!(matches!(elsewhere.asked.pop_front(), Some((_, BusRequest::Store { .. }))), "it has a listener for IPv6");
}

/// It comes back, and learns of what it lost.
#[test]
fn the_edge_that_lost_a_subscription_says_and_sends_nothing_more_of_it() {
    let (mut bench, tag, record) = live();
    let mut taker = other();
    let moved = taken(&mut taker, &tag, &record);
    bench.input(Input::Lease { is_held: false });
    bench.job(5, 1);
    bench.pass(Duration::from_secs(2));
    assert!(bench.is_quiet(), "it does not know what it still holds");
    let before = said(&bench).len();
    bench.changed(&tag, 8, &moved);
    bench.input(Input::Lease { is_held: true });
    bench.pass(Duration::from_secs(2));
    assert!(bench.is_empty() && bench.is_quiet());
    assert_eq!(said(&bench).len(), before, "whoever took it has said so");
    assert_eq!((bench.done.len(), bench.moved.as_slice()), (0, [JobHandle(1)].as_slice()), "the job goes on to the new owner");
    job(&mut bench, 6, 2, None);
    assert_eq!(bench.moved, [JobHandle(1), JobHandle(2)]);
    job(&mut bench, 6, 3, Some("edge-9"));
    assert_eq!(bench.done, [JobHandle(3)], "one that was sent on is not sent on again");
}

#[test]
fn an_edge_that_is_not_heard_sends_nothing_and_goes_on_where_it_was() {
    let (mut bench, _, _) = live();
    bench.input(Input::Lease { is_held: false });
    bench.job(5, 1);
    bench.pass(Duration::from_secs(4000));
    assert!(bench.is_quiet() && bench.reasons().is_empty(), "nothing expires");
    bench.input(Input::Lease { is_held: true });
    bench.pass(Duration::from_secs(2));
    let last = bench.expect_notify();
    assert_eq!(last.header(Name::SubscriptionState), Some("terminated;reason=timeout"));
    assert_eq!(bench.reasons(), [EndReason::Timeout]);
}

#[test]
fn a_notify_in_flight_is_not_sent_again_while_the_edge_is_not_heard() {
    let (mut bench, _, _) = live();
    bench.job(5, 1);
    bench.expect_notify();
    bench.input(Input::Lease { is_held: false });
    bench.pass(Duration::from_mins(1));
    assert!(bench.is_quiet() && bench.reasons().is_empty());
    bench.input(Input::Lease { is_held: true });
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.reasons(), [EndReason::Unreachable], "Timer F");
}

#[test]
fn a_job_that_was_sent_on_concerns_what_was_taken_from_there_alone() {
    let (_, tag, record) = live();
    let mut bench = other();
    bench.subscribe("b");
    taken(&mut bench, &tag, &record);
    bench.told_on_taking(4);
    job(&mut bench, 5, 1, Some("edge-0"));
    let notify = bench.expect_notify();
    assert_eq!(notify.header(Name::CallId), Some("a"));
    assert!(bench.is_quiet(), "the phone of b had its own job");
    bench.respond(&notify, 200, "");
    assert_eq!(bench.done, [JobHandle(1)]);
}

/// Changes were lost: the index says this of what is held.
fn compare(bench: &mut Bench, holder: impl Fn(SubscriptionId) -> Option<(u64, &'static str)>) {
    for id in bench.notifier.held() {
        if let Some((revision, edge_id)) = holder(id) {
            bench.input(Input::Holder { id, revision, edge_id });
        }
    }
}

#[test]
fn what_moved_unheard_is_let_go_of_when_all_is_compared() {
    let (mut bench, tag, _) = live();
    let id: SubscriptionId = tag.parse().unwrap();
    compare(&mut bench, |_| None);
    compare(&mut bench, |_| Some((7, "edge-0")));
    compare(&mut bench, |_| Some((6, "edge-1")));
    assert_eq!(bench.notifier.live().count(), 1, "as it should be, or older than what we know");
    compare(&mut bench, |asked| (asked == id).then_some((8, "edge-1")));
    bench.pass(Duration::ZERO);
    bench.input(Input::Timeout);
    assert!(bench.is_empty() && bench.asked.is_empty());
    assert_eq!(bench.reasons(), [EndReason::Moved]);
}

#[test]
fn a_removal_that_the_bus_lost_is_tried_again_until_the_bucket_answers() {
    let (mut bench, tag, _) = live();
    bench.job(5, 1);
    let notify = bench.expect_notify();
    bench.respond(&notify, 481, "");
    let mut tries = 0;
    for _ in 0..20 {
        tries += bench.asked.drain(..).filter(|(_, request)| matches!(request, BusRequest::Remove { expected_revision: 7, .. })).count();
        bench.pass(Duration::from_secs(5));
    }
    assert!((4..10).contains(&tries), "{tries}");
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, ""));
    bench.expect_response(481);
    bench.asked.clear();
    while bench.asked.is_empty() {
        bench.pass(Duration::from_millis(100));
    }
    bench.ack_store();
    bench.pass(Duration::from_mins(5));
    assert!(bench.is_empty() && bench.is_quiet() && bench.notifier.removals.is_empty());
}

/// A worker that hangs: the phone has its NOTIFY well within a second, and the state when it is known.
#[test]
fn a_late_answer_of_the_workers_leaves_no_phone_waiting() {
    let mut bench = Bench::new(config());
    bench.packet(&subscribe("a", 1, None, REFRESH, ""));
    bench.ack_store();
    bench.expect_response(200);
    bench.pass(Duration::from_millis(790));
    assert!(bench.sent.is_empty());
    bench.pass(Duration::from_millis(30));
    let notify = bench.expect_notify();
    assert!(notify.body().is_empty());
    bench.respond(&notify, 200, "");
    bench.answer_get(vec![FeatureState::new("DoNotDisturb")]);
    assert!(!bench.expect_notify().body().is_empty(), "the time of responders is still theirs");

    let mut bench = Bench::new(config());
    bench.packet(&subscribe("a", 1, None, REFRESH, ""));
    bench.ack_store();
    bench.expect_response(200);
    bench.pass(Duration::from_millis(810));
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    bench.pass(Duration::from_millis(800));
    assert!(bench.sent.is_empty(), "no second one when the time is over");
}
