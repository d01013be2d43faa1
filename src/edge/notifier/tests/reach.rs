//! NOTIFYs to host names: located first, and by the next way when one fails.

use std::net::SocketAddr;
use std::time::Duration;

use crate::bus::message::EndReason;
use crate::edge::notifier::tests::fixture::{Bench, config, subscribe, to_tag};
use crate::edge::notifier::*;
use crate::edge::subscription::destination::Destination;
use crate::feature::{FeatureState, Status};
use crate::sip::flow::{ConnectionId, Transport};
use crate::sip::locate::{Location, NotLocated};
use crate::sip::message::Message;
use crate::sip::name::Name;

const PROXY: &str = "proxy.example.com";
const TWO: [&str; 2] = ["198.51.100.1:5060", "198.51.100.2:5062"];

/// A phone behind a proxy that record-routes by its name.
fn by_proxy(call_id: &str, cseq: u32, tag: Option<&str>) -> String {
    subscribe(call_id, cseq, tag, "Expires: 3600\n", "").replace("Event:", &format!("Record-Route: <sip:{PROXY};lr>\nEvent:"))
}

/// Subscribes; the first NOTIFY waits for the name. Gives the To tag.
fn subscribed(bench: &mut Bench, call_id: &str) -> String {
    bench.packet(&by_proxy(call_id, 1, None));
    bench.ack_store();
    let tag = to_tag(&bench.expect_response(200));
    bench.answer_get(vec![FeatureState::new("DoNotDisturb")]);
    tag
}

fn host(address: &str, transport: Transport) -> Destination {
    let address: SocketAddr = address.parse().unwrap();
    Destination::Host { address, name: Some(PROXY.into()), transport, listener: u16::from(transport == Transport::Tcp) }
}

fn sent(bench: &mut Bench) -> (Destination, Message) {
    bench.sent.pop_front().expect("a NOTIFY")
}

fn cseq(notify: &Message) -> u32 {
    notify.header(Name::CSeq).unwrap().split(' ').next().unwrap().parse().unwrap()
}

fn branch(notify: &Message) -> String {
    notify.header(Name::Via).unwrap().split("branch=").nth(1).unwrap().split(';').next().unwrap().to_owned()
}

fn refused(bench: &mut Bench, tag: &str, notify: &Message) {
    let notify = NotifyId { subscription: tag.parse().unwrap(), cseq: cseq(notify) };
    bench.input(Input::Undeliverable { notify, why: Unsent::NoWay });
}

#[test]
fn a_notify_waits_for_its_name_and_nothing_else_does() {
    let mut bench = Bench::new(config());
    subscribed(&mut bench, "a");
    assert!(bench.sent.is_empty() && bench.located.len() == 1);
    bench.job(2, 1);
    // Another phone, without a name.
    bench.packet(&subscribe("b", 1, None, "Expires: 3600\n", ""));
    bench.ack_store();
    bench.expect_response(200);
    bench.answer_get(vec![FeatureState { status: Status::ON, version: 2, ..FeatureState::new("DoNotDisturb") }]);
    let (to, notify) = sent(&mut bench);
    assert_eq!(to, Destination::Flow(bench.flow));
    bench.respond(&notify, 200, "");
    bench.pass(Duration::from_secs(5));
    assert!(bench.is_quiet() && bench.done.is_empty());
    assert_eq!(bench.located.len(), 1, "it is asked for once");
    bench.locate(PROXY, Ok(Location::of(Transport::Udp, &TWO)));
    let (to, notify) = sent(&mut bench);
    assert_eq!(to, host(TWO[0], Transport::Udp));
    assert!(bench.sent.is_empty(), "all that was owed in one");
    bench.pass(Duration::from_millis(600));
    assert_eq!(sent(&mut bench).0, host(TWO[0], Transport::Udp), "and again the same way");
    bench.respond(&notify, 200, "");
    assert_eq!(bench.done, [JobHandle(1)]);
    bench.job(3, 2);
    assert_eq!(sent(&mut bench).0, host(TWO[0], Transport::Udp), "known now");
}

#[test]
fn where_records_say_tcp_the_via_does_too() {
    let mut bench = Bench::new(config());
    subscribed(&mut bench, "a");
    bench.locate(PROXY, Ok(Location::of(Transport::Tcp, &TWO)));
    let (to, notify) = sent(&mut bench);
    assert_eq!(to, host(TWO[0], Transport::Tcp));
    assert!(notify.header(Name::Via).unwrap().starts_with("SIP/2.0/TCP 192.0.2.1:5060;"));
    bench.pass(Duration::from_secs(5));
    assert!(bench.sent.is_empty(), "it delivers by itself");
}

/// RFC 3263 §4.3: the next server, with a new branch.
#[test]
fn what_fails_goes_to_the_next_server_at_once() {
    for (name, transport) in [("503", Transport::Udp), ("no connection", Transport::Tcp), ("Timer F", Transport::Udp)] {
        let mut bench = Bench::new(config());
        let tag = subscribed(&mut bench, "a");
        bench.locate(PROXY, Ok(Location::of(transport, &TWO).lasting(Duration::from_hours(1))));
        let (to, first) = sent(&mut bench);
        assert_eq!(to, host(TWO[0], transport), "{name}");
        match name {
            "503" => bench.respond(&first, 503, "Retry-After: 300\n"),
            "no connection" => refused(&mut bench, &tag, &first),
            _ => bench.pass(Duration::from_millis(32_100)),
        }
        let (to, second) = bench.sent.pop_back().expect("at once");
        bench.sent.clear();
        assert_eq!(to, host(TWO[1], transport), "{name}");
        assert_ne!(branch(&first), branch(&second), "{name}");
        assert_eq!((cseq(&first), cseq(&second)), (1, 2), "{name}: what is newer by then goes with it");
        bench.respond(&second, 200, "");
        assert!(bench.reasons().is_empty(), "{name}");
        // Another phone does not meet the dead one first.
        subscribed(&mut bench, "b");
        let (to, notify) = sent(&mut bench);
        assert_eq!(to, host(TWO[1], transport), "{name}");
        bench.respond(&notify, 200, "");
        // For a while: as long as it asked for, or a minute.
        bench.pass(if name == "503" { Duration::from_secs(301) } else { Duration::from_secs(61) });
        bench.job(3, 1);
        assert_eq!(sent(&mut bench).0, host(TWO[0], transport), "{name}");
    }
}

#[test]
fn once_every_server_has_failed_it_is_as_if_there_were_one() {
    // Nobody takes a connection: it waits, without its job.
    let mut bench = Bench::new(config());
    let tag = subscribed(&mut bench, "a");
    bench.job(2, 1);
    bench.locate(PROXY, Ok(Location::of(Transport::Tcp, &TWO).lasting(Duration::from_hours(1))));
    for server in TWO {
        let (to, notify) = sent(&mut bench);
        assert_eq!(to, host(server, Transport::Tcp));
        refused(&mut bench, &tag, &notify);
    }
    assert!(bench.sent.is_empty() && bench.reasons().is_empty());
    assert_eq!(bench.done, [JobHandle(1)], "no job waits for it");
    bench.pass(Duration::from_secs(61));
    let (to, notify) = sent(&mut bench);
    assert_eq!(to, host(TWO[0], Transport::Tcp), "tried again");
    bench.respond(&notify, 200, "");
    bench.pass(Duration::from_secs(61));
    assert!(bench.is_quiet());
    // Nobody answers: the subscription ends.
    let mut bench = Bench::new(config());
    subscribed(&mut bench, "a");
    bench.locate(PROXY, Ok(Location::of(Transport::Udp, &TWO).lasting(Duration::from_hours(1))));
    bench.pass(Duration::from_millis(32_100));
    assert!(bench.reasons().is_empty());
    bench.pass(Duration::from_millis(32_100));
    assert_eq!(bench.reasons(), [EndReason::Unreachable]);
    // 503 from the last one: lost, as from any phone; the next change goes out.
    let mut bench = Bench::new(config());
    subscribed(&mut bench, "a");
    bench.locate(PROXY, Ok(Location::of(Transport::Udp, &TWO[..1])));
    let (_, notify) = sent(&mut bench);
    bench.respond(&notify, 503, "");
    bench.job(2, 1);
    bench.answer_what_was_missed(2);
    assert_eq!(sent(&mut bench).0, host(TWO[0], Transport::Udp));
}

#[test]
fn a_name_that_leads_nowhere_is_tried_again_and_a_subscribe_is_answered_meanwhile() {
    let mut bench = Bench::new(config());
    let tag = subscribed(&mut bench, "a");
    bench.job(2, 1);
    bench.locate(PROXY, Err(NotLocated::NO_ANSWER));
    assert!(bench.is_quiet() && bench.reasons().is_empty());
    bench.pass(Duration::from_secs(6));
    bench.locate(PROXY, Err(NotLocated { is_certain: true, ttl: Some(Duration::from_mins(2)) }));
    assert_eq!(bench.done, [JobHandle(1)], "no job waits for it");
    bench.packet(&by_proxy("a", 2, Some(&tag)));
    bench.ack_store();
    bench.expect_response(200);
    bench.answer_get(vec![FeatureState { status: Status::ON, version: 2, ..FeatureState::new("DoNotDisturb") }]);
    assert!(bench.is_quiet() && bench.located.is_empty(), "what DNS has said is kept");
    bench.pass(Duration::from_secs(121));
    bench.locate(PROXY, Ok(Location::of(Transport::Udp, &TWO)));
    let (to, notify) = sent(&mut bench);
    assert_eq!(to, host(TWO[0], Transport::Udp));
    bench.respond(&notify, 200, "");
    // The last NOTIFY is not waited for.
    bench.pass(Duration::from_secs(61));
    bench.packet(&by_proxy("a", 3, Some(&tag)).replace("Expires: 3600", "Expires: 0"));
    bench.ack_store();
    bench.expect_response(200);
    bench.answer_get(Vec::new());
    bench.locate(PROXY, Err(NotLocated { is_certain: true, ttl: None }));
    bench.pass(Duration::from_secs(1));
    assert!(bench.is_empty());
    assert_eq!(bench.reasons(), [EndReason::Unsubscribed]);
}

#[test]
fn a_phone_that_shows_itself_is_told_anew_by_every_server() {
    let mut bench = Bench::new(config());
    let tag = subscribed(&mut bench, "a");
    bench.locate(PROXY, Ok(Location::of(Transport::Udp, &TWO).lasting(Duration::from_hours(1))));
    sent(&mut bench);
    bench.pass(Duration::from_secs(10));
    bench.sent.clear();
    bench.packet(&by_proxy("a", 2, Some(&tag)));
    bench.ack_store();
    bench.expect_response(200);
    bench.answer_get(vec![FeatureState::new("DoNotDisturb")]);
    let (to, notify) = sent(&mut bench);
    assert_eq!(to, host(TWO[0], Transport::Udp));
    bench.respond(&notify, 200, "");
    bench.pass(Duration::from_secs(40));
    assert!(bench.is_quiet() && bench.reasons().is_empty());
}

/// While the connection that the SUBSCRIBE came on is open, no name is looked up.
#[test]
fn an_open_connection_needs_no_name() {
    let mut bench = Bench::new(config());
    bench.connect(1);
    subscribed(&mut bench, "a");
    let (to, notify) = sent(&mut bench);
    assert_eq!((to, bench.located.len()), (Destination::Flow(bench.flow), 0));
    bench.respond(&notify, 200, "");
    bench.input(Input::Closed(ConnectionId(1)));
    bench.job(2, 1);
    assert_eq!(bench.located.front().map(|host| host.name().to_owned()).as_deref(), Some(PROXY));
    bench.locate(PROXY, Ok(Location::of(Transport::Tcp, &TWO)));
    assert_eq!(sent(&mut bench).0, host(TWO[0], Transport::Tcp));
}
