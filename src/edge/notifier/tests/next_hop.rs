//! Where NOTIFYs go, and what becomes of those that do not get there.

use std::net::SocketAddr;
use std::time::Duration;

use crate::bus::message::{EndReason, NotifyOutcome};
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
use crate::edge::subscription::destination::Destination;
use crate::feature::FeatureState;
use crate::feature::Status;
use crate::sip::flow::Transport;
use crate::sip::flow::{ConnectionId, Flow};
use crate::sip::locate::Location;
use crate::sip::message::{Message, Start};
use crate::sip::name::Name;

fn host(address: &str, port: u16, transport: Transport, listener: u16) -> Destination {
    Destination::Host { address: SocketAddr::new(address.parse().unwrap(), port), name: None, transport, listener }
}

/// Subscribes with this request, and gives the first NOTIFY with its way.
fn first_notify(bench: &mut Bench, request: &str) -> (Destination, Message) {
    bench.packet(request);
    bench.ack_store();
    bench.expect_response(200);
    bench.answer_get(vec![FeatureState::new("DoNotDisturb")]);
    if !bench.located.is_empty() {
        bench.locate("p1.example.com", Ok(Location::of(Transport::Udp, &["192.0.2.77:5060"])));
    }
    bench.sent.pop_front().expect("a NOTIFY")
}

fn uri(message: &Message) -> &str {
    match message.start() {
        Start::Request { uri, .. } => uri,
        Start::Response { .. } => panic!("a request"),
    }
}

#[test]
fn a_notify_goes_by_the_routes_else_the_way_the_subscribe_came_else_to_the_contact() {
    let proxied = subscribe("a", 1, None, "", "").replace("Max-Forwards", "Via: SIP/2.0/UDP 10.1.1.9:5060;branch=z9hG4bKq\nMax-Forwards");
    let direct = subscribe("a", 1, None, "", "");
    let contact = |request: &str, uri: &str| request.replace("<sip:alice@192.0.2.9:5062>", &format!("<{uri}>"));
    let flow = Bench::new(config()).flow;
    let cases = [
        ("straight from the phone", contact(&direct, "sip:alice@10.1.1.9:5060"), Destination::Flow(flow), "192.0.2.1:5060"),
        ("by a proxy that did not record-route", proxied.clone(), host("192.0.2.9", 5062, Transport::Udp, 0), "192.0.2.1:5060"),
        (
            "to a contact over TCP",
            contact(&proxied, "sip:a@192.0.2.7;transport=tcp"),
            host("192.0.2.7", 5060, Transport::Tcp, 1),
            "TCP 192.0.2.1:5060",
        ),
        (
            "to a contact over IPv6",
            contact(&proxied, "sip:a@[2001:db8::9]"),
            host("2001:db8::9", 5060, Transport::Udp, 2),
            "UDP [2001:db8::1]:5060",
        ),
        (
            "by a route",
            proxied.replace("Event:", "Record-Route: <sip:192.0.2.50;lr>\nEvent:"),
            host("192.0.2.50", 5060, Transport::Udp, 0),
            "192.0.2.1:5060",
        ),
        (
            "by a route over TLS",
            direct.replace("Event:", "Record-Route: <sips:192.0.2.50;lr>\nEvent:"),
            host("192.0.2.50", 5061, Transport::Tls, 0),
            "TLS 192.0.2.1:5060",
        ),
        ("to a telephone number", contact(&direct, "tel:+31201234567"), Destination::Flow(flow), "192.0.2.1:5060"),
    ];
    for (name, request, want, via) in cases {
        let mut bench = Bench::new(config());
        let (to, notify) = first_notify(&mut bench, &request);
        assert_eq!(to, want, "{name}");
        assert!(notify.header(Name::Via).unwrap().contains(via), "{name}: {:?}", notify.header(Name::Via));
        let retransmits = matches!(to.transport(), Transport::Udp);
        bench.pass(Duration::from_secs(1));
        assert_eq!(!bench.sent.is_empty(), retransmits, "{name}: retransmitted over UDP alone");
    }
}

/// RFC 5626 §4.3, §5.3.1: `ob` in the Contact asks for the flow, and for nothing else. RFC 3327 §5: a Path is none of a SUBSCRIBE's.
#[test]
fn ob_in_the_contact_holds_a_notify_to_its_flow() {
    let contact = |request: &str| request.replace("<sip:alice@192.0.2.9:5062>", "<sip:alice@192.0.2.9:5062;ob>");
    let path = |request: &str| request.replace("Event:", "Path: <sip:192.0.2.66;lr;ob>\nSupported: path, outbound\nEvent:");
    // From another port than it listens at, without rport: to the Contact, but for `ob`.
    let mut bench = Bench::new(config());
    bench.flow.peer.set_port(40_000);
    let no_rport = subscribe("a", 1, None, "", "").replace(";rport", "");
    assert_eq!(first_notify(&mut bench, &no_rport).0, host("192.0.2.9", 5062, Transport::Udp, 0));
    let mut bench = Bench::new(config());
    bench.flow.peer.set_port(40_000);
    let (to, notify) = first_notify(&mut bench, &path(&contact(&no_rport)));
    assert_eq!(to, Destination::Flow(bench.flow));
    assert_eq!((uri(&notify), notify.lines(Name::Route).count()), ("sip:alice@192.0.2.9:5062;ob", 0));
    // By a proxy that kept the flow: its Route, with the token that it made, to the letter.
    let (to, notify) = first_notify(
        &mut Bench::new(config()),
        &contact(&subscribe("a", 1, None, "", "").replace("Event:", "Record-Route: <sip:Tk/1+x==@192.0.2.50:5080;lr;ob>\nEvent:")),
    );
    assert_eq!(to, host("192.0.2.50", 5080, Transport::Udp, 0));
    assert_eq!(notify.lines(Name::Route).collect::<Vec<_>>(), ["<sip:Tk/1+x==@192.0.2.50:5080;lr;ob>"]);
    assert_eq!(uri(&notify), "sip:alice@192.0.2.9:5062;ob");
    // Its connection is gone: it waits for the phone, and nobody is called up.
    let mut bench = Bench::new(config());
    bench.connect(1);
    let (to, notify) = first_notify(&mut bench, &contact(&subscribe("a", 1, None, "Expires: 3600\n", "")));
    assert_eq!(to, Destination::Flow(bench.flow));
    bench.respond(&notify, 200, "");
    bench.input(Input::Closed(ConnectionId(1)));
    bench.job(5, 1);
    assert!(bench.sent.is_empty() && bench.reasons().is_empty());
    assert_eq!(bench.done, [JobHandle(1)], "no job waits for hours");
}

/// RFC 3261 §12.2.1.1, and its example in §16.12.1.2.
#[test]
fn a_strict_router_gets_the_request_uri() {
    let routes = "Record-Route: <sip:p1.example.com>, <sip:p2.example.com;lr>\nEvent:";
    let (to, notify) = first_notify(&mut Bench::new(config()), &subscribe("a", 1, None, "", "").replace("Event:", routes));
    assert_eq!(uri(&notify), "sip:p1.example.com");
    let all: Vec<_> = notify.lines(Name::Route).collect();
    assert_eq!(all, ["<sip:p2.example.com;lr>", "<sip:alice@192.0.2.9:5062>"]);
    assert_eq!(
        to,
        Destination::Host {
            name: Some("p1.example.com".into()),
            address: "192.0.2.77:5060".parse().unwrap(),
            transport: Transport::Udp,
            listener: 0
        }
    );

    let routes = "Record-Route: <sip:p1.example.com;lr>, <sip:p2.example.com>\nEvent:";
    let (_, notify) = first_notify(&mut Bench::new(config()), &subscribe("a", 1, None, "", "").replace("Event:", routes));
    assert_eq!((uri(&notify), notify.lines(Name::Route).count()), ("sip:alice@192.0.2.9:5062", 2));
}

#[test]
fn a_telephone_number_is_served_where_tel_is_among_the_domains() {
    for (domains, want) in [(&[][..], 200), (&["10.0.0.11"], 404), (&["10.0.0.11", "tel"], 200)] {
        let mut bench = Bench::new(EdgeConfig { domains: domains.iter().map(|domain| (*domain).into()).collect(), ..config() });
        bench.packet(&subscribe("a", 1, None, "", "").replace("SUBSCRIBE sip:alice@10.0.0.11", "SUBSCRIBE tel:+31201234567"));
        if want == 200 {
            bench.ack_store();
        }
        bench.expect_response(want);
    }
}

/// Whoever may be anyone has us send nowhere but to itself; that survives a restart.
#[test]
fn a_source_that_nobody_vouches_for_leads_no_notify_to_a_third_address() {
    let open = || EdgeConfig { auth: crate::edge::gate::policy::AuthPolicy::open(), ..config() };
    let proxied = subscribe("a", 1, None, "", "").replace("Max-Forwards", "Via: SIP/2.0/UDP 10.1.1.9:5060;branch=z9hG4bKq\nMax-Forwards");
    let flow = Bench::new(open()).flow;
    for (name, request, want) in [
        ("to a contact", proxied.replace("<sip:alice@192.0.2.9:5062>", "<sip:alice@203.0.113.5>"), Destination::Flow(flow)),
        ("to a name", proxied.replace("<sip:alice@192.0.2.9:5062>", "<sip:alice@victim.example>"), Destination::Flow(flow)),
        ("over TCP", proxied.replace("<sip:alice@192.0.2.9:5062>", "<sip:a@203.0.113.5;transport=tcp>"), Destination::Flow(flow)),
        ("by a route", proxied.replace("Event:", "Record-Route: <sip:203.0.113.5;lr>\nEvent:"), Destination::Flow(flow)),
        ("to another port of its own", proxied.replace("192.0.2.9:5062>", "192.0.2.9:5099>"), host("192.0.2.9", 5099, Transport::Udp, 0)),
    ] {
        let mut bench = Bench::new(open());
        bench.packet(&request);
        let (token, BusRequest::Store { id, record, .. }) = bench.take_store() else { panic!("a store") };
        bench.stored(token, 7);
        bench.expect_response(200);
        bench.answer_get(vec![FeatureState::new("DoNotDisturb")]);
        assert_eq!(bench.sent.pop_front().expect("a NOTIFY").0, want, "{name}");
        let mut restarted = Bench::new(open());
        assert!(restarted.restore(&id.to_string(), 7, &serde_json::to_vec(&record).unwrap()));
        restarted.job(3, 1);
        restarted.answer_what_was_missed(3);
        restarted.ack_store();
        assert_eq!(restarted.sent.pop_front().expect("a NOTIFY").0, want, "{name}, restarted");
    }
}

#[test]
fn a_phone_is_told_from_the_listener_that_it_subscribed_at_also_after_a_restart() {
    for (listener, peer) in [(2, "[2001:db8::9]:5062"), (3, "192.0.2.9:5062")] {
        let mut bench = Bench::new(config());
        bench.flow = Flow { listener, peer: peer.parse().unwrap(), ..bench.flow };
        bench.packet(&subscribe("a", 1, None, "", ""));
        let (_, BusRequest::Store { id, record, .. }) = bench.take_store() else { panic!("a store") };
        let mut restarted = Bench::new(config());
        assert!(restarted.restore(&id.to_string(), 7, &serde_json::to_vec(&record).unwrap()));
        restarted.job(3, 1);
        restarted.answer_what_was_missed(3);
        restarted.ack_store();
        let (to, notify) = restarted.sent.pop_front().expect("a NOTIFY");
        assert_eq!(to, Destination::Flow(bench.flow));
        let ours = &config().listeners[usize::from(listener)].advertised;
        assert_eq!(notify.header(Name::Contact), Some(&*format!("<sip:{ours}>")));
    }
}

/// ```text
/// phone ══ connection 1 ══ edge      NOTIFY is lost with the connection; no other way; it waits
/// phone ══ connection 2 ══ edge      SUBSCRIBE, 200, NOTIFY with what it missed
/// ```
#[test]
fn what_a_lost_connection_took_with_it_waits_for_the_phone() {
    let mut bench = Bench::new(config());
    bench.connect(1);
    let tag = bench.subscribe("a");
    bench.job(5, 1);
    let (to, _) = bench.sent.pop_front().expect("a NOTIFY");
    assert_eq!(to, Destination::Flow(bench.flow));
    bench.input(Input::Closed(ConnectionId(1)));
    let (to, notify) = bench.sent.pop_front().expect("another try, by the Contact");
    assert_eq!(to, host("192.0.2.9", 5062, Transport::Tcp, 1));
    let cseq: u32 = notify.header(Name::CSeq).unwrap().split(' ').next().unwrap().parse().unwrap();
    let id = NotifyId { subscription: tag.parse().unwrap(), cseq };
    bench.input(Input::Undeliverable { notify: NotifyId { cseq: cseq - 1, ..id }, why: Unsent::NoWay });
    assert!(bench.done.is_empty(), "that was an older one");
    bench.input(Input::Undeliverable { notify: id, why: Unsent::NoWay });
    assert_eq!(bench.done, [JobHandle(1)], "no job waits for hours");
    bench.job(6, 2);
    assert_eq!(bench.done, [JobHandle(1), JobHandle(2)]);
    bench.pass(Duration::from_mins(10));
    assert!(bench.is_quiet() && bench.reasons().is_empty(), "it lives, and waits");

    bench.connect(2);
    bench.packet(&subscribe("a", 2, Some(&tag), "", &set_dnd(false)));
    bench.ack_store();
    bench.expect_response(200);
    bench.apply_change(|response| {
        response.changed = false;
        response.state = FeatureState { version: 6, status: Status::ON, ..FeatureState::new("DoNotDisturb") };
    });
    let (to, notify) = bench.sent.pop_front().expect("a NOTIFY");
    assert_eq!(to, Destination::Flow(bench.flow));
    assert!(body(&notify).contains("<doNotDisturbOn>true"));
}

#[test]
fn a_notify_is_not_waited_for_on_a_connection_that_the_phone_has_left() {
    let mut bench = Bench::new(config());
    bench.connect(1);
    let tag = bench.subscribe("a");
    bench.job(5, 1);
    bench.sent.clear();
    bench.connect(2);
    bench.packet(&subscribe("a", 2, Some(&tag), "", ""));
    bench.ack_store();
    bench.expect_response(200);
    bench.answer_get(vec![FeatureState { version: 5, status: Status::ON, ..FeatureState::new("DoNotDisturb") }]);
    let (to, notify) = bench.sent.pop_front().expect("at once");
    assert_eq!(to, Destination::Flow(bench.flow));
    bench.respond(&notify, 200, "");
    bench.input(Input::Closed(ConnectionId(1)));
    bench.pass(Duration::from_secs(40));
    assert!(bench.is_quiet() && bench.reasons().is_empty());
}

#[test]
fn a_last_notify_that_cannot_be_sent_is_the_end() {
    let mut bench = Bench::new(config());
    bench.connect(1);
    let tag = bench.subscribe("a");
    bench.packet(&subscribe("a", 2, Some(&tag), "Expires: 0\n", ""));
    bench.ack_store();
    bench.expect_response(200);
    bench.input(Input::Closed(ConnectionId(1)));
    bench.answer_get(Vec::new());
    let (to, notify) = bench.sent.pop_front().expect("by the Contact");
    assert!(matches!(to, Destination::Host { .. }));
    assert_eq!(notify.header(Name::SubscriptionState), Some("terminated;reason=timeout"));
    bench.input(Input::Undeliverable { notify: NotifyId { subscription: tag.parse().unwrap(), cseq: 2 }, why: Unsent::NoWay });
    assert!(bench.is_empty());
    assert_eq!(bench.reasons(), [EndReason::Unsubscribed]);
    let failed = bench.events.iter().any(|event| matches!(event, Event::Notify(_, event) if event.outcome == NotifyOutcome::Failed));
    assert!(failed);
}

#[test]
fn a_notify_that_finds_no_room_goes_a_moment_later() {
    let mut bench = Bench::new(config());
    bench.connect(1);
    let tag = bench.subscribe("a");
    bench.job(5, 1);
    bench.expect_notify();
    bench.input(Input::Undeliverable { notify: NotifyId { subscription: tag.parse().unwrap(), cseq: 2 }, why: Unsent::NoRoom });
    assert!(bench.is_quiet() && bench.done.is_empty());
    bench.pass(Duration::from_millis(1100));
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    assert_eq!(bench.done, [JobHandle(1)]);
}

/// Whatever is in its head, a NOTIFY of several parts goes whole where it fits the limit to the byte, else one by one to its end.
#[test]
fn several_parts_share_a_datagram_only_where_they_fit_it() {
    /// Documents of each NOTIFY, and the bytes of the largest.
    fn told(limit: usize, filler: &str) -> (Vec<usize>, usize) {
        let mut bench = Bench::new(EdgeConfig { udp_notify_limit_bytes: limit, initial_notify: InitialNotify::Auto, ..config() });
        let request = subscribe(&format!("c{filler}"), 1, None, &format!("Record-Route: <sip:192.0.2.50;lr;x={filler}>\n"), "");
        bench.packet(&request.replace("as-feature-event\n", &format!("as-feature-event;id=1{filler}\n")));
        bench.ack_store();
        bench.expect_response(200);
        bench.largest = 0;
        bench.answer_get(four(1));
        let mut sizes = Vec::new();
        while let Some((_, notify)) = bench.sent.pop_front() {
            sizes.push(body(&notify).matches("<device>").count());
            bench.respond(&notify, 200, "");
        }
        (sizes, bench.largest)
    }
    for filler in ["", "0123456789012345678901234567890123456789"] {
        let (_, whole) = told(9000, filler);
        assert_eq!(told(whole, filler), (vec![4], whole));
        assert_eq!(told(whole - 1, filler).0, [1, 1, 1, 1]);
    }
}

#[test]
fn a_subscribe_over_ipv6_is_answered_and_told_over_it() {
    let mut bench = Bench::new(config());
    bench.flow = Flow { listener: 2, peer: "[2001:db8::9]:5062".parse().unwrap(), ..bench.flow };
    let request =
        subscribe("a", 1, None, "", "").replace("192.0.2.9:5062", "[2001:db8::9]:5062").replace("10.0.0.11", "[2001:db8::b]:5060");
    bench.packet(&request);
    let (token, BusRequest::Store { record, .. }) = bench.take_store() else { panic!("a store") };
    assert_eq!(&*record.presentity, "sip:alice@[2001:db8::b]");
    bench.stored(token, 7);
    let ok = bench.expect_response(200);
    assert_eq!(ok.header(Name::Contact), Some("<sip:[2001:db8::1]:5060>"));
    assert!(!to_tag(&ok).is_empty());
    bench.answer_get(Vec::new());
    let (to, notify) = bench.sent.pop_front().expect("a NOTIFY");
    assert_eq!(to, Destination::Flow(bench.flow));
    assert!(notify.header(Name::Via).unwrap().starts_with("SIP/2.0/UDP [2001:db8::1]:5060;"));
    assert_eq!(uri(&notify), "sip:alice@[2001:db8::9]:5062");
}
