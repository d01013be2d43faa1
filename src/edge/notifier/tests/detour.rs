//! NOTIFYs of one document that are too large for a datagram: over TCP where the phone can be reached so, else in a datagram.

use std::net::SocketAddr;
use std::time::Duration;

use crate::bus::message::NotifyOutcome;
use crate::edge::config::EdgeConfig;
use crate::edge::event::Event;
use crate::edge::gate::policy::AuthPolicy;
use crate::edge::notifier::tests::fixture::{Bench, config, subscribe, to_tag};
use crate::edge::notifier::{Input, NotifyId, Unsent};
use crate::edge::subscription::destination::Destination;
use crate::feature::{FeatureState, Status};
use crate::sip::flow::Transport;
use crate::sip::message::Message;
use crate::sip::name::Name;

/// A forward whose document alone has more than 1300 bytes.
fn large(version: u64) -> Vec<FeatureState> {
    let values = [("forwardTo".to_owned(), "&".repeat(400))].into();
    vec![FeatureState { status: Status::ON, values, version, ..FeatureState::new("CallForwardingAlways") }]
}

fn over_tcp(port: u16) -> Destination {
    Destination::Host { address: SocketAddr::from(([192, 0, 2, 9], port)), name: None, transport: Transport::Tcp, listener: 1 }
}

/// Sends a SUBSCRIBE, and gives the NOTIFY that follows with its way, and the dialog's tag.
fn told(bench: &mut Bench, cseq: u32, tag: Option<&str>, change: impl Fn(String) -> String) -> (Destination, Message, String) {
    bench.packet(&change(subscribe("a", cseq, tag, "Expires: 3600\n", "")));
    bench.ack_store();
    let tag = to_tag(&bench.expect_response(200));
    bench.answer_get(large(cseq.into()));
    let (to, notify) = bench.sent.pop_front().expect("a NOTIFY");
    assert!(bench.largest > 1300);
    (to, notify, tag)
}

fn is_datagram(bench: &Bench, (to, notify): &(Destination, Message)) {
    assert_eq!(to, &Destination::Flow(bench.flow));
    assert!(notify.header(Name::Via).unwrap().starts_with("SIP/2.0/UDP 192.0.2.1:5060;"));
}

fn undeliverable(bench: &mut Bench, tag: &str, cseq: u32) {
    bench.input(Input::Undeliverable { notify: NotifyId { subscription: tag.parse().unwrap(), cseq }, why: Unsent::NoWay });
}

#[test]
fn a_large_notify_goes_over_tcp_to_the_contact() {
    let mut bench = Bench::new(config());
    let (to, notify, _) = told(&mut bench, 1, None, |text| text);
    assert_eq!(to, over_tcp(5062));
    assert!(notify.header(Name::Via).unwrap().starts_with("SIP/2.0/TCP 192.0.2.1:5060;"), "{:?}", notify.header(Name::Via));
    bench.respond(&notify, 200, "");
    bench.pass(Duration::from_mins(1));
    assert!(bench.sent.is_empty(), "it is told");
    assert!(matches!(bench.events.last(), Some(Event::Notify(_, event)) if event.outcome == NotifyOutcome::Delivered));
}

#[test]
fn where_tcp_is_refused_it_goes_in_a_datagram_at_once_and_tcp_is_not_tried_for_a_while() {
    let mut bench = Bench::new(config());
    let (to, notify, tag) = told(&mut bench, 1, None, |text| text);
    assert_eq!((to, notify.header(Name::CSeq)), (over_tcp(5062), Some("1 NOTIFY")));
    undeliverable(&mut bench, &tag, 1);
    let again = bench.sent.pop_front().expect("at once");
    is_datagram(&bench, &again);
    assert_eq!(again.1.header(Name::CSeq), Some("2 NOTIFY"));
    bench.respond(&again.1, 200, "");
    let (to, notify, _) = told(&mut bench, 2, Some(&tag), |text| text);
    is_datagram(&bench, &(to, notify.clone()));
    bench.respond(&notify, 200, "");
    bench.pass(Duration::from_mins(10));
    let (to, notify, _) = told(&mut bench, 3, Some(&tag), |text| text);
    assert_eq!(to, over_tcp(5062), "tried again after ten minutes");
    bench.respond(&notify, 481, "");
    assert_eq!(bench.reasons().len(), 1, "what is answered over TCP counts as any answer");
}

#[test]
fn where_nobody_answers_over_tcp_it_goes_in_a_datagram_after_two_seconds_and_nothing_ends() {
    let mut bench = Bench::new(config());
    let (_, _, tag) = told(&mut bench, 1, None, |text| text);
    bench.pass(Duration::from_millis(1900));
    assert!(bench.sent.is_empty());
    bench.pass(Duration::from_millis(200));
    let again = bench.sent.pop_front().expect("a datagram");
    is_datagram(&bench, &again);
    // The connection is given up only now.
    undeliverable(&mut bench, &tag, 1);
    assert!(bench.sent.is_empty());
    bench.respond(&again.1, 200, "");
    assert!(bench.reasons().is_empty());
    assert!(matches!(bench.events.last(), Some(Event::Notify(_, event)) if event.outcome == NotifyOutcome::Delivered));
}

#[test]
fn what_tcp_does_not_lead_to_goes_in_a_datagram() {
    type Change = fn(String) -> String;
    let other = |text: String| text.replace("<sip:alice@192.0.2.9:5062>", "<sip:alice@10.9.9.9:5062>");
    let secure = |text: String| text.replace("<sip:alice@192.0.2.9:5062>", "<sips:alice@192.0.2.9:5062>");
    let stranger = || EdgeConfig { auth: AuthPolicy::open(), ..config() };
    let no_tcp = || {
        let listeners = config().listeners.into_iter().filter(|listener| listener.transport == Transport::Udp).collect();
        EdgeConfig { listeners, ..config() }
    };
    let higher = || EdgeConfig { udp_notify_limit_bytes: 9000, ..config() };
    let cases: [(&str, EdgeConfig, Change); 4] = [
        ("a Contact behind a NAT", stranger(), other),
        ("a dialog over TLS", config(), secure),
        ("an edge without TCP", no_tcp(), |text| text),
        ("a path for larger datagrams", higher(), |text| text),
    ];
    for (name, config, change) in cases {
        let mut bench = Bench::new(config);
        let (to, notify, _) = told(&mut bench, 1, None, change);
        assert_eq!(to, Destination::Flow(bench.flow), "{name}");
        bench.respond(&notify, 200, "");
    }
}
