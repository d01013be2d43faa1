//! How much one source may send.

use std::time::Duration;

use crate::edge::gate::rate_limit::RateLimitConfig;
use crate::edge::notifier::tests::auth_fixture::is_kept;
use crate::edge::notifier::tests::fixture::Bench;
use crate::edge::notifier::tests::fixture::config;
use crate::edge::notifier::tests::fixture::subscribe;
use crate::edge::notifier::*;
use crate::edge::subscription::destination::Destination;
use crate::sip::message::{Message, Start};
use crate::sip::name::Name;

fn flooded(per_second: u32) -> Bench {
    let exempt = vec!["127.0.0.0/8".parse().unwrap(), "198.51.100.0/24".parse().unwrap()];
    Bench::new(EdgeConfig { rate_limit: RateLimitConfig { per_second, exempt }, ..config() })
}

fn statuses(bench: &mut Bench) -> Vec<u16> {
    let status = |message: &Message| match message.start() {
        Start::Response { status, .. } => status,
        Start::Request { .. } => 0,
    };
    bench.sent.drain(..).map(|(_, message)| status(&message)).collect()
}

#[test]
fn over_its_rate_a_source_gets_one_503_a_second_and_silence() {
    let mut bench = flooded(2);
    let flood = |bench: &mut Bench, from: u32, count: u32| {
        for cseq in from..from + count {
            bench.packet(&subscribe("o", cseq, None, "", "").replace("SUBSCRIBE", "OPTIONS"));
        }
        statuses(bench)
    };
    let want: Vec<u16> = [[200; 10].as_slice(), &[503]].concat();
    assert_eq!(flood(&mut bench, 1, 100), want);
    assert_eq!(flood(&mut bench, 101, 100), [0_u16; 0]);
    bench.pass(Duration::from_secs(1));
    assert_eq!(flood(&mut bench, 201, 100), [200, 200, 503]);
    assert_eq!(is_kept(&bench), 0);

    let flooder = std::mem::replace(&mut bench.flow.peer, "192.0.2.10:5062".parse().unwrap());
    assert_eq!(flood(&mut bench, 301, 1), [200], "another source is served");
    for exempt in ["127.0.0.1:5060", "198.51.100.7:5060"] {
        bench.flow.peer = exempt.parse().unwrap();
        assert_eq!(flood(&mut bench, 401, 30), [200; 30], "{exempt} is exempt");
    }
    bench.flow.peer = flooder;
    for garbage in ["garbage\n\n", "ACK sip:a@h SIP/2.0\n\n"] {
        bench.pass(Duration::from_secs(2));
        for _ in 0..100 {
            bench.packet(garbage);
        }
        assert_eq!(statuses(&mut bench), [0_u16; 0], "what cannot be answered is not");
    }
}

#[test]
fn the_503_says_when_to_come_back() {
    let mut bench = flooded(1);
    for cseq in 1..=6 {
        bench.packet(&subscribe("o", cseq, None, "", "").replace("SUBSCRIBE", "OPTIONS"));
    }
    let (to, last) = bench.sent.pop_back().unwrap();
    assert!(matches!(last.start(), Start::Response { status: 503, .. }) && last.header(Name::RetryAfter).is_some());
    assert_eq!(to, Destination::Flow(bench.flow), "to nobody else");
}

#[test]
fn the_responses_to_our_notifies_are_no_flood() {
    let mut bench = flooded(1);
    let tag = bench.subscribe("a");
    for cseq in 2..5 {
        bench.packet(&subscribe("a", cseq, Some(&tag), "", ""));
        bench.ack_store();
        bench.expect_response(200);
        bench.answer_get(Vec::new());
        let notify = bench.expect_notify();
        bench.respond(&notify, 200, "");
    }
    for _ in 0..100 {
        bench.packet("SIP/2.0 200 OK\nVia: SIP/2.0/UDP h;branch=z9hG4bKnone\nFrom: <sip:a@h>;tag=1\nTo: <sip:b@h>;tag=2\nCall-ID: x\nCSeq: 1 NOTIFY\n\n");
    }
    bench.packet(&subscribe("a", 5, Some(&tag), "", ""));
    bench.ack_store();
    bench.expect_response(200);
    bench.answer_get(Vec::new());
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    assert_eq!(bench.notifier.delivery.in_flight(), 1, "a source that sends what belongs to nothing is not read for a while");
    bench.pass(Duration::from_secs(2));
    let again = bench.expect_notify();
    bench.sent.clear();
    bench.respond(&again, 200, "");
    assert_eq!(bench.notifier.delivery.in_flight(), 0);
}
