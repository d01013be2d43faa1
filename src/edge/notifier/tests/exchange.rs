//! The notifier against phones and bus played by the test.

use std::time::Duration;

use bytes::Bytes;

use crate::bus::message::NotifyJob;
use crate::bus::message::{EndReason, FeatureOutcome, NotifyOutcome};
use crate::config::InitialNotify;
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

/// ```text
/// phone ── SUBSCRIBE ──▶ edge ── store ──▶ bus
///                        edge ◀── ack ────
///       ◀── 200 ────────      ── get ───▶
///       ◀── NOTIFY ×4 ──      ◀─ states ─     (UDP: 2 kB would not fit, so one feature at a time)
/// ```
#[test]
fn a_subscribe_is_stored_then_answered_then_told_everything_one_feature_at_a_time_over_udp() {
    let mut bench = Bench::new(config());
    bench.packet(&subscribe("a", 1, None, "Expires: 3600\n", ""));
    assert!(bench.sent.is_empty(), "no 200 before the store is acknowledged");
    bench.ack_store();
    let ok = bench.expect_response(200);
    assert_eq!(ok.header(Name::Expires), Some("3600"));
    assert_eq!(ok.header(Name::Contact), Some("<sip:192.0.2.1:5060>"));
    bench.answer_get(four(1));
    for (cseq, want) in ["<doNotDisturbOn>false", "forwardImmediate", "forwardBusy", "forwardNoAns"].into_iter().enumerate() {
        let notify = bench.expect_notify();
        assert!(body(&notify).contains(want), "{}", body(&notify));
        assert_eq!(notify.header(Name::CSeq), Some(&*format!("{} NOTIFY", cseq + 1)));
        assert_eq!(notify.header(Name::SubscriptionState), Some("active;expires=3600"));
        assert!(bench.is_quiet(), "the next one only after this one's 200");
        bench.respond(&notify, 200, "");
    }
    assert!(bench.is_quiet());
}

#[test]
fn multipart_is_used_where_the_configuration_says_so_and_the_phone_takes_it() {
    for (accept, want_parts) in
        [("", 4), ("Accept: application/x-as-feature-event+xml, multipart/mixed\n", 4), ("Accept: application/x-as-feature-event+xml\n", 1)]
    {
        let mut bench = Bench::new(EdgeConfig { initial_notify: InitialNotify::Multipart, ..config() });
        bench.packet(&subscribe("a", 1, None, accept, ""));
        bench.ack_store();
        bench.expect_response(200);
        bench.answer_get(four(1));
        assert_eq!(body(&bench.expect_notify()).matches("</").filter(|_| true).count() > 12, want_parts == 4, "{accept}");
    }
}

/// The press of a key on one phone reaches both; nobody is told twice.
#[test]
fn a_change_reaches_every_watcher_once_and_other_edges_by_fan_out() {
    let mut bench = Bench::new(config());
    let tag = bench.subscribe("a");
    bench.subscribe("b");
    bench.packet(&subscribe("a", 2, Some(&tag), "Expires: 3600\n", &set_dnd(true)));
    bench.ack_store();
    bench.expect_response(200);
    bench.apply_change(|_| {});
    let (first, second) = (bench.expect_notify(), bench.expect_notify());
    assert!(body(&first).contains("<doNotDisturbOn>true") && body(&second).contains("<doNotDisturbOn>true"));
    assert_ne!(first.header(Name::CallId), second.header(Name::CallId));
    bench.respond(&first, 200, "");
    bench.respond(&second, 200, "");
    assert!(bench.is_quiet());
    let fan_out = bench.fan_outs.pop().unwrap();
    assert_eq!((fan_out.states[0].version, fan_out.events[0].watchers, fan_out.assigned), (1, 2, true));
    let delivered =
        bench.events.iter().filter(|event| matches!(event, Event::Notify(_, event) if event.outcome == NotifyOutcome::Delivered)).count();
    assert_eq!(delivered, 4);
}

#[test]
fn a_change_that_changes_nothing_or_is_denied_is_confirmed_to_its_phone_alone() {
    for denied in [None, Some("not yours".to_owned())] {
        let mut bench = Bench::new(config());
        let tag = bench.subscribe("a");
        bench.subscribe("b");
        bench.packet(&subscribe("a", 2, Some(&tag), "", &set_dnd(true)));
        bench.ack_store();
        bench.expect_response(200);
        let is_denied = denied.is_some();
        bench.apply_change(|response| {
            response.state = response.previous.clone();
            response.changed = false;
            response.denied = denied;
        });
        let notify = bench.expect_notify();
        assert_eq!(notify.header(Name::CallId), Some("a"));
        assert!(body(&notify).contains("<doNotDisturbOn>false"));
        assert!(bench.is_quiet() && bench.fan_outs.is_empty());
        let refused =
            bench.events.iter().any(|event| matches!(event, Event::Feature(_, event) if event.outcome == FeatureOutcome::Refused));
        assert_eq!(refused, is_denied);
    }
}

#[test]
fn notify_0_tells_nobody_else_and_owes_the_phone_an_empty_one_and_assigned_0_is_an_empty_one_for_all() {
    for (notify, assigned, want) in [(false, true, 1), (true, false, 2)] {
        let mut bench = Bench::new(config());
        let tag = bench.subscribe("a");
        bench.subscribe("b");
        bench.packet(&subscribe("a", 2, Some(&tag), "", &set_dnd(true)));
        bench.ack_store();
        bench.expect_response(200);
        bench.apply_change(|response| {
            response.notify = notify;
            response.state.assigned = assigned;
        });
        for _ in 0..want {
            let message = bench.expect_notify();
            assert!(message.body().is_empty() && message.header(Name::ContentType).is_none());
        }
        assert!(bench.is_quiet());
    }
}

#[test]
fn a_failed_change_is_answered_with_the_state_as_it_is() {
    let mut bench = Bench::new(config());
    let tag = bench.subscribe("a");
    bench.packet(&subscribe("a", 2, Some(&tag), "", &set_dnd(true)));
    bench.ack_store();
    bench.expect_response(200);
    bench.refuse_next(503);
    bench.answer_get(vec![FeatureState::new("DoNotDisturb")]);
    assert!(body(&bench.expect_notify()).contains("<doNotDisturbOn>false"));
    assert!(bench.events.iter().any(|event| matches!(event, Event::Feature(_, event) if event.outcome == FeatureOutcome::Refused)));
}

#[test]
fn an_initial_subscribe_with_a_body_is_applied_then_told_everything() {
    let mut bench = Bench::new(config());
    bench.packet(&subscribe("a", 1, None, "", &set_dnd(true)));
    bench.ack_store();
    bench.expect_response(200);
    bench.apply_change(|_| {});
    assert!(bench.sent.is_empty(), "one NOTIFY with everything, not one more");
    bench.answer_get(vec![FeatureState { status: Status::ON, version: 1, ..FeatureState::new("DoNotDisturb") }]);
    assert!(body(&bench.expect_notify()).contains("<doNotDisturbOn>true"));
    assert!(bench.is_quiet());
}

#[test]
fn no_worker_means_an_empty_notify_at_once_and_the_full_state_as_soon_as_there_is_one() {
    let mut bench = Bench::new(config());
    bench.packet(&subscribe("a", 1, None, "", ""));
    bench.ack_store();
    bench.expect_response(200);
    let (token, _) = bench.asked.pop_front().unwrap();
    bench.raw(token, ReplyMessage { status: Some(503), sequence: None, is_deleted: false, removed_over: None, payload: Bytes::new() });
    let notify = bench.expect_notify();
    assert!(notify.body().is_empty());
    bench.respond(&notify, 200, "");
    bench.pass(Duration::from_millis(1100));
    bench.answer_get(vec![FeatureState::new("DoNotDisturb")]);
    let notify = bench.expect_notify();
    assert!(!notify.body().is_empty());
    bench.respond(&notify, 200, "");
    bench.pass(Duration::from_mins(1));
    assert!(bench.is_quiet(), "asked again once, not for ever");
}

#[test]
fn unsubscribe_and_fetch_end_with_a_last_notify() {
    let mut bench = Bench::new(config());
    let tag = bench.subscribe("a");
    bench.packet(&subscribe("a", 2, Some(&tag), "Expires: 0\n", ""));
    bench.ack_store();
    assert_eq!(bench.expect_response(200).header(Name::Expires), Some("0"));
    bench.answer_get(four(1));
    let last = bench.expect_notify();
    assert_eq!(last.header(Name::SubscriptionState), Some("terminated;reason=timeout"));
    assert!(last.body().is_empty(), "2 kB do not fit the UDP limit");
    bench.respond(&last, 200, "");
    assert_eq!(bench.reasons(), [EndReason::Unsubscribed]);
    bench.packet(&subscribe("a", 3, Some(&tag), "", ""));
    let (token, request) = bench.asked.pop_front().unwrap();
    assert!(matches!(request, BusRequest::Lookup { .. }));
    bench.raw(token, ReplyMessage { status: Some(404), sequence: None, is_deleted: false, removed_over: None, payload: Bytes::new() });
    bench.expect_response(481);

    bench.packet(&subscribe("f", 1, None, "Expires: 0\n", ""));
    bench.expect_response(200);
    bench.answer_get(four(1));
    for want in ["active;expires=0", "active;expires=0", "active;expires=0", "terminated;reason=timeout"] {
        let notify = bench.expect_notify();
        assert_eq!(notify.header(Name::SubscriptionState), Some(want));
        assert!(!notify.body().is_empty());
        bench.respond(&notify, 200, "");
    }
    assert!(bench.is_quiet() && bench.notifier.registry.is_empty());
}

#[test]
fn a_subscription_lives_on_in_grace_and_ends_with_a_notify() {
    let mut bench = Bench::new(config());
    bench.packet(&subscribe("a", 1, None, "Expires: 60\n", ""));
    bench.ack_store();
    bench.expect_response(200);
    bench.answer_get(Vec::new());
    let first = bench.expect_notify();
    bench.respond(&first, 200, "");
    bench.pass(Duration::from_secs(119));
    assert!(bench.is_quiet() && bench.reasons().is_empty());
    bench.pass(Duration::from_secs(2));
    assert!(matches!(bench.asked.pop_front(), Some((_, BusRequest::Remove { .. }))));
    let last = bench.expect_notify();
    assert_eq!(last.header(Name::SubscriptionState), Some("terminated;reason=timeout"));
    assert_eq!(bench.reasons(), [EndReason::Timeout]);
}

#[test]
fn the_response_to_a_notify_decides_over_the_subscription() {
    for (status, more, ends) in [(481, "", true), (404, "", true), (500, "", false), (503, "Retry-After: 5\n", false)] {
        let mut bench = Bench::new(config());
        let tag = bench.subscribe("a");
        bench.packet(&subscribe("a", 2, Some(&tag), "", ""));
        bench.ack_store();
        bench.expect_response(200);
        bench.answer_get(vec![FeatureState::new("DoNotDisturb")]);
        let notify = bench.expect_notify();
        bench.respond(&notify, status, more);
        assert_eq!(!bench.reasons().is_empty(), ends, "{status}");
        assert!(bench.sent.is_empty(), "nothing more is sent at once after {status}");
        bench.pass(Duration::from_millis(5300));
        assert_eq!(bench.sent.len(), usize::from(!more.is_empty()), "{status}: tried again when it was told to");
    }
}

/// Timer E at 0.5, 1.5, 3.5, 7.5, 11.5 … s, Timer F at 32 s.
#[test]
fn a_notify_is_sent_again_until_timer_f_ends_the_subscription() {
    let mut bench = Bench::new(config());
    bench.packet(&subscribe("a", 1, None, "", ""));
    bench.ack_store();
    bench.expect_response(200);
    bench.answer_get(Vec::new());
    bench.pass(Duration::from_secs(33));
    assert_eq!(bench.sent.len(), 11, "the first and ten more");
    assert_eq!(bench.reasons(), [EndReason::Unreachable]);
}

#[test]
fn a_retransmission_gets_the_same_answer_and_has_no_second_effect() {
    let mut bench = Bench::new(config());
    let request = subscribe("a", 1, None, "", "");
    bench.packet(&request);
    bench.packet(&request);
    assert_eq!(bench.asked.len(), 1, "absorbed while it is in hand");
    bench.ack_store();
    let first = bench.expect_response(200);
    bench.asked.clear();
    bench.packet(&request);
    assert_eq!(to_tag(&bench.expect_response(200)), to_tag(&first));
    assert!(bench.is_quiet());
}

#[test]
fn the_bus_away_is_a_503_and_so_is_its_retransmission() {
    let mut bench = Bench::new(config());
    let request = subscribe("a", 1, None, "", "");
    bench.packet(&request);
    bench.pass(Duration::from_millis(1100));
    assert!(bench.expect_response(503).header(Name::RetryAfter).is_some());
    bench.packet(&request);
    bench.expect_response(503);
    assert!(bench.notifier.registry.is_empty());
    bench.input(Input::Bus { is_up: false });
    bench.packet(&subscribe("b", 1, None, "", ""));
    bench.expect_response(503);
}

#[test]
fn every_refusal_has_its_status_and_what_it_owes() {
    let cases: [(&str, String, u16, Option<Name>); 14] = [
        ("event missing", subscribe("1", 1, None, "", "").replace("Event: as-feature-event\n", ""), 489, Some(Name::AllowEvents)),
        ("event unknown", subscribe("2", 1, None, "", "").replace("as-feature-event", "presence"), 489, Some(Name::AllowEvents)),
        ("too brief", subscribe("3", 1, None, "Expires: 5\n", ""), 423, Some(Name::MinExpires)),
        ("expires unreadable", subscribe("4", 1, None, "Expires: soon\n", ""), 400, Some(Name::Warning)),
        ("require", subscribe("5", 1, None, "Require: foo\n", ""), 420, Some(Name::Unsupported)),
        ("accept", subscribe("6", 1, None, "Accept: application/pidf+xml\n", ""), 406, None),
        (
            "content type",
            subscribe("7", 1, None, "", "x").replace("application/x-as-feature-event+xml", "text/plain"),
            415,
            Some(Name::Accept),
        ),
        ("content encoding", subscribe("8", 1, None, "Content-Encoding: gzip\n", &set_dnd(true)), 415, None),
        ("bad body", subscribe("9", 1, None, "", "<x/>"), 400, Some(Name::Warning)),
        ("scheme", subscribe("10", 1, None, "", "").replace("SUBSCRIBE sip:alice", "SUBSCRIBE http:alice@"), 416, None),
        ("max-forwards", subscribe("11", 1, None, "", "").replace("Max-Forwards: 70", "Max-Forwards: 0"), 483, None),
        ("method", subscribe("12", 1, None, "", "").replace("SUBSCRIBE", "PUBLISH"), 405, Some(Name::Allow)),
        ("unknown dialog", subscribe("13", 2, Some("nonsense"), "", ""), 481, None),
        ("no contact", subscribe("14", 1, None, "", "").replace("Contact: <sip:alice@192.0.2.9:5062>\n", ""), 400, Some(Name::Warning)),
    ];
    for (name, request, status, owes) in cases {
        let mut bench = Bench::new(config());
        bench.packet(&request);
        let (_, response) = bench.sent.pop_front().unwrap_or_else(|| panic!("{name}: no answer"));
        assert!(
            matches!(response.start(), crate::sip::message::Start::Response { status: got, .. } if got == status),
            "{name}: {response:?}"
        );
        if let Some(owes) = owes {
            assert!(response.header(owes).is_some(), "{name}: {response:?}");
        }
        assert!(bench.is_quiet(), "{name}");
    }
}

#[test]
fn options_says_what_is_taken() {
    let mut bench = Bench::new(config());
    bench.packet(&subscribe("o", 1, None, "", "").replace("SUBSCRIBE", "OPTIONS"));
    let ok = bench.expect_response(200);
    assert_eq!(ok.header(Name::AllowEvents), Some("as-feature-event, x-broadworks-hoteling"));
    assert_eq!(ok.header(Name::Allow), Some("SUBSCRIBE, OPTIONS"));
    bench.packet(&subscribe("p", 1, None, "Require: x\n", "").replace("SUBSCRIBE", "OPTIONS"));
    assert_eq!(bench.expect_response(420).header(Name::Unsupported), Some("x"));
}

#[test]
fn a_bad_body_in_a_dialog_is_refused_and_the_phone_is_told_how_it_is() {
    let mut bench = Bench::new(config());
    let tag = bench.subscribe("a");
    let broken = set_dnd(true).replace(">true<", ">perhaps<");
    bench.packet(&subscribe("a", 2, Some(&tag), "", &broken));
    bench.expect_response(400);
    let Some((_, BusRequest::Get(request))) = bench.asked.front() else { panic!("the state is asked for") };
    assert_eq!(request.features.as_deref(), Some(&["DoNotDisturb".to_owned()][..]));
    bench.answer_get(vec![FeatureState::new("DoNotDisturb")]);
    bench.expect_notify();
    bench.packet(&subscribe("a", 2, Some(&tag), "Expires: 600\n", "").replace("bKa2", "bKother"));
    assert!(bench.expect_response(500).header(Name::RetryAfter).is_some(), "its CSeq was used up");
}

#[test]
fn a_presentity_has_so_many_watchers_and_no_more() {
    let mut bench = Bench::new(config());
    for call in ["a", "b", "c"] {
        bench.subscribe(call);
    }
    bench.packet(&subscribe("d", 1, None, "", ""));
    assert!(bench.expect_response(403).header(Name::RetryAfter).is_some());
}

#[test]
fn a_job_is_done_when_its_watchers_were_told_and_not_before() {
    let mut bench = Bench::new(config());
    bench.subscribe("a");
    let job = |version| NotifyJob {
        kind: crate::bus::message::Kind::default(),
        id: "1".into(),
        presentity: "sip:alice@10.0.0.11".into(),
        states: vec![FeatureState { status: Status::ON, version, ..FeatureState::new("DoNotDisturb") }],
        assigned: true,
        skip: None,
        taken_from: None,
        not_after: "2999-01-01T00:00:00Z".into(),
        cause: Cause::new(),
    };
    let give = |bench: &mut Bench, version, handle: u64| {
        bench.input(Input::Job { job: Box::new(job(version)), handle: JobHandle(handle), age: Duration::ZERO });
    };
    give(&mut bench, 3, 1);
    let notify = bench.expect_notify();
    assert!(bench.done.is_empty());
    give(&mut bench, 4, 2);
    give(&mut bench, 5, 3);
    assert_eq!(bench.done, [JobHandle(2)], "what a newer state takes the place of needs no telling");
    bench.respond(&notify, 200, "");
    assert_eq!(bench.done.last(), Some(&JobHandle(1)));
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    assert_eq!(bench.done.last(), Some(&JobHandle(3)));
    give(&mut bench, 5, 4);
    assert_eq!(bench.done.last(), Some(&JobHandle(4)), "a job that comes twice is not told twice");
    assert!(bench.is_quiet());
}
