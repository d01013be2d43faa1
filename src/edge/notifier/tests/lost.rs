//! What a phone that shows itself is told, when a NOTIFY to it was lost.

use std::time::Duration;

use crate::bus::message::EndReason;
use crate::edge::config::EdgeConfig;
use crate::edge::gate::policy::AuthPolicy;
use crate::edge::notifier::tests::fixture::*;
use crate::edge::subscription::destination::Destination;
use crate::feature::{FeatureState, Status};
use crate::sip::name::Name;

fn dnd(version: u64) -> FeatureState {
    FeatureState { status: Status::ON, version, ..FeatureState::new("DoNotDisturb") }
}

/// Its refresh takes back what is in flight, and is told everything at once, not at the lost NOTIFY's next retransmission.
#[test]
fn a_refresh_is_told_at_once_and_outlives_the_timer_of_an_older_notify() {
    for is_stored_late in [false, true] {
        let mut bench = Bench::new(config());
        let tag = bench.subscribe("a");
        bench.job(1, 1);
        let lost = bench.expect_notify();
        bench.pass(Duration::from_millis(31_700));
        bench.sent.clear();
        bench.packet(&subscribe("a", 2, Some(&tag), "", ""));
        if is_stored_late {
            // Timer F while its store is under way.
            bench.pass(Duration::from_millis(500));
        }
        assert!(bench.sent.is_empty());
        bench.ack_store();
        bench.expect_response(200);
        bench.answer_get(vec![dnd(1)]);
        let told = bench.expect_notify();
        assert!(body(&told).contains("<doNotDisturbOn>true"));
        assert_eq!(told.header(Name::CSeq), Some("3 NOTIFY"));
        bench.respond(&lost, 481, "");
        bench.respond(&told, 200, "");
        bench.pass(Duration::from_secs(40));
        assert_eq!((bench.reasons(), bench.notifier.registry.len()), (vec![], 1), "late: {is_stored_late}");
        assert!(bench.sent.is_empty() && bench.is_quiet());
    }
}

/// A later NOTIFY that nobody answers ends it all the same.
#[test]
fn a_notify_after_the_refresh_that_is_lost_ends_the_subscription() {
    let mut bench = Bench::new(config());
    let tag = bench.subscribe("a");
    bench.job(1, 1);
    bench.expect_notify();
    bench.packet(&subscribe("a", 2, Some(&tag), "", ""));
    bench.ack_store();
    bench.expect_response(200);
    bench.answer_get(vec![dnd(1)]);
    assert!(bench.sent.is_empty(), "the one in flight is fresh");
    bench.pass(Duration::from_millis(600));
    let told = bench.expect_notify();
    assert_eq!((told.header(Name::CSeq), bench.sent.len()), (Some("3 NOTIFY"), 0), "anew, and not the old one again");
    bench.pass(Duration::from_secs(33));
    assert_eq!(bench.reasons(), [EndReason::Unreachable]);
}

/// A fresh NOTIFY is waited for; what the phone says of it ends nothing that it has just refreshed.
#[test]
fn a_fresh_notify_that_is_refused_after_a_refresh_is_told_once_more() {
    let mut bench = Bench::new(config());
    let tag = bench.subscribe("a");
    bench.job(1, 1);
    let fresh = bench.expect_notify();
    bench.packet(&subscribe("a", 2, Some(&tag), "", ""));
    bench.ack_store();
    bench.expect_response(200);
    bench.respond(&fresh, 481, "");
    let again = bench.expect_notify();
    bench.respond(&again, 200, "");
    bench.answer_get(vec![dnd(1)]);
    let owed = bench.expect_notify();
    bench.respond(&owed, 481, "");
    assert_eq!(bench.reasons(), [EndReason::Rejected], "this one was sent after it");
}

/// A phone that sends from another port than it listens at is told at its Contact. Behind a NAT it is told where it sent from.
#[test]
fn a_phone_that_asks_for_no_rport_is_told_at_its_contact() {
    for (via, contact, want) in [
        ("192.0.2.9:5060", "sip:alice@192.0.2.9:5060", 5060),
        ("192.0.2.9:5060;rport", "sip:alice@192.0.2.9:5060", 5062),
        ("10.0.0.9:5060", "sip:alice@192.0.2.9:5060", 5062),
        ("192.0.2.9:5060", "sip:alice@10.0.0.9:5060", 5062),
        ("192.0.2.9:5060", "sip:alice@192.0.2.9:5060;transport=tcp", 5062),
    ] {
        let mut bench = Bench::new(EdgeConfig { auth: AuthPolicy::open(), ..config() });
        let text = subscribe("a", 1, None, "Expires: 3600\n", "");
        let branch =
            text.lines().find_map(|line| line.strip_prefix("Via: ")).and_then(|via| via.split("branch=").nth(1)).unwrap().to_owned();
        let branch = branch.split(';').next().unwrap();
        let lines = text.lines().map(|line| match line.split_once(": ") {
            Some(("Via", _)) => format!("Via: SIP/2.0/UDP {via};branch={branch}"),
            Some(("Contact", _)) => format!("Contact: <{contact}>"),
            _ => line.to_owned(),
        });
        bench.packet(&(lines.collect::<Vec<_>>().join("\n") + "\n"));
        bench.ack_store();
        bench.expect_response(200);
        bench.answer_get(Vec::new());
        let port = match &bench.sent.front().expect("a NOTIFY").0 {
            Destination::Flow(flow) => flow.peer.port(),
            Destination::Host { address, .. } => address.port(),
            Destination::Nowhere { .. } => 0,
        };
        assert_eq!(port, want, "{via} {contact}");
    }
}

/// The Event of a NOTIFY is the one of the SUBSCRIBE, and stays it.
#[test]
fn an_event_is_given_back_as_written_and_another_id_is_another_subscription() {
    let event = |text: &str, event: &str| text.replace("Event: as-feature-event\n", &format!("Event: {event}\n"));
    let mut bench = Bench::new(config());
    bench.packet(&event(&subscribe("a", 1, None, "Expires: 3600\n", ""), "As-Feature-Event;x=1 ;id=7"));
    bench.ack_store();
    let tag = to_tag(&bench.expect_response(200));
    bench.answer_get(Vec::new());
    let notify = bench.expect_notify();
    assert_eq!(notify.header(Name::Event), Some("As-Feature-Event;x=1 ;id=7"));
    bench.respond(&notify, 200, "");
    for (cseq, text, want) in [(2, "as-feature-event;id=8", 481), (3, "as-feature-event;id=7", 200), (4, "as-feature-event", 200)] {
        bench.packet(&event(&subscribe("a", cseq, Some(&tag), "Expires: 3600\n", ""), text));
        if want == 481 {
            bench.expect_response(481);
            continue;
        }
        bench.ack_store();
        bench.expect_response(200);
        bench.answer_get(Vec::new());
        let notify = bench.expect_notify();
        assert_eq!(notify.header(Name::Event), Some("As-Feature-Event;x=1 ;id=7"), "{text}");
        bench.respond(&notify, 200, "");
    }
    assert!(bench.reasons().is_empty());

    let mut bench = Bench::new(config());
    let tag = bench.subscribe("a");
    bench.packet(&event(&subscribe("a", 2, Some(&tag), "Expires: 0\n", ""), "as-feature-event;id=7"));
    bench.expect_response(481);
    assert_eq!(bench.notifier.registry.len(), 1, "an id where there was none is another as well");
}
