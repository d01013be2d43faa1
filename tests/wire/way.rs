//! Where NOTIFYs and responses go.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::json;

use crate::common::{Nats, wait_for};
use crate::harness::{Dialog, Packet, Phone, Service, Subscribe};
use crate::row::check;
use crate::site::{Site, TRANSPORTS};

/// Sends the next SUBSCRIBE with this change of its text; its response.
pub(crate) fn send(phone: &Phone, dialog: &mut Dialog<'_>, change: impl Fn(&str) -> String) -> Packet {
    let (text, branch) = dialog.request(&Subscribe::default());
    phone.send(change(&text).as_bytes());
    let response = dialog.response(&branch);
    assert_eq!(response.status(), Some(200), "{}", response.start);
    response
}

/// ```text
/// phone ──SUBSCRIBE, Record-Route: proxy──▶ edge      proxy ◀──NOTIFY, Route: proxy── edge
/// ```
#[test]
fn a_route_set_is_followed_loosely_and_strictly() {
    let nats = Nats::start();
    let site = Site::on(&nats);
    let (phone, proxy) = (Phone::udp(site.product.udp()), Phone::udp(site.product.udp()));
    let (at, contact) = (proxy.local(), format!("sip:phone@{};transport=udp", phone.local()));

    let mut dialog = phone.dialog("sip:loose@127.0.0.1");
    let routes = format!("Record-Route: <sip:{at};lr>, <sip:far.example.com;lr>\r\nEvent:");
    let response = send(&phone, &mut dialog, |text| text.replace("Event:", &routes));
    check(&response, &[&format!("record-route: <sip:{at};lr>"), "record-route: <sip:far.example.com;lr>"], "the response");
    let notify = dialog.all_at(&proxy).notify();
    let owed = [format!("start NOTIFY {contact} SIP/2.0"), format!("route: <sip:{at};lr>"), "route: <sip:far.example.com;lr>".to_owned()];
    check(&notify, &owed.each_ref().map(String::as_str), "loose routing");

    let mut dialog = phone.dialog("sip:strict@127.0.0.1");
    let routes = format!("Record-Route: <sip:{at}>, <sip:far.example.com;lr>\r\nEvent:");
    send(&phone, &mut dialog, |text| text.replace("Event:", &routes));
    let notify = dialog.all_at(&proxy).notify();
    let owed = [format!("start NOTIFY sip:{at} SIP/2.0"), "route: <sip:far.example.com;lr>".to_owned(), format!("route: <{contact}>")];
    check(&notify, &owed.each_ref().map(String::as_str), "strict routing");
    let routes: Vec<_> = notify.headers.iter().filter(|(name, _)| name == "route").map(|(_, value)| value.clone()).collect();
    assert_eq!(routes, ["<sip:far.example.com;lr>".to_owned(), format!("<{contact}>")], "the target last");
    assert_eq!(dialog.notify_count(), 0, "nothing came past the proxy");
}

/// A proxy that keeps its flow to the phone (RFC 5626 §5.3): NOTIFYs carry the token that it made in its Route, to the letter; 430, the
/// flow is gone, ends nothing; `Path` (RFC 3327) is no route of a dialog.
#[test]
fn a_proxy_that_keeps_its_flow_gets_the_token_that_it_made() {
    let nats = Nats::start();
    let site = Site::on(&nats);
    let service = Service::on(&nats);
    for transport in ["udp", "tcp"] {
        let new = || if transport == "udp" { Phone::udp(site.product.udp()) } else { Phone::tcp(site.product.tcp()) };
        // What the proxy sends on is what the edge gets: one connection, two Vias.
        let proxy = new();
        let presentity = format!("sip:outbound-{transport}@127.0.0.1");
        let mut dialog = proxy.dialog(&presentity);
        let (at, contact) = (proxy.local(), format!("sip:phone@10.0.0.9:40000;transport={transport};ob"));
        let token = format!("<sip:VskztcQ/S8p4WPbOnHbuyh5iJvJIW3ib@{at};transport={transport};lr;ob>");
        let response = send(&proxy, &mut dialog, |text| {
            let (before, after) = text.split_once("Contact: <").unwrap();
            let (_, after) = after.split_once('>').unwrap();
            let text =
                format!("{before}Contact: <{contact}>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>\";reg-id=1{after}");
            let path = format!("Path: <sip:elsewhere.example.com;lr;ob>\r\nSupported: path, outbound\r\nRecord-Route: {token}\r\nEvent:");
            text.replace("Event:", &path)
                .replace("Max-Forwards", "Via: SIP/2.0/UDP 10.0.0.9:40000;branch=z9hG4bKphone;rport=40000\r\nMax-Forwards")
        });
        check(&response, &[&format!("record-route: {token}")], "the response");
        assert!(response.headers.iter().all(|(name, _)| name != "path"), "a Path is for registrars");
        let notify = dialog.notify();
        check(&notify, &[&format!("start NOTIFY {contact} SIP/2.0"), &format!("route: {token}")], transport);
        assert_eq!(notify.headers.iter().filter(|(name, _)| name == "route").count(), 1, "{transport}");
        dialog.shows(4 - notify.shows().len());
        proxy.answers(|_| crate::harness::Answer::Status(430, ""));
        assert_eq!(service.set(&presentity, "DoNotDisturb", 1)["watchers"], 1);
        dialog.notify();
        proxy.answers(|_| crate::harness::Answer::Status(200, ""));
        // The phone has a flow again: it refreshes, and is told all.
        send(&proxy, &mut dialog, |text| {
            text.replace("Max-Forwards", "Via: SIP/2.0/UDP 10.0.0.9:40001;branch=z9hG4bKagain\r\nMax-Forwards")
        });
        assert!(dialog.until("DoNotDisturb on").must("route").contains("VskztcQ"), "{transport}");
    }
}

/// A refresh by another way makes no other route set (RFC 3261 §12.2), but another target (§12.2.1.2).
#[test]
fn a_refresh_moves_the_target_and_not_the_routes() {
    let nats = Nats::start();
    let site = Site::on(&nats);
    for transport in TRANSPORTS {
        let phone = site.phone(transport);
        let mut dialog = phone.subscribe(&format!("sip:moved-{}@127.0.0.1", transport.0));
        dialog.shows(4);
        send(&phone, &mut dialog, |text| {
            let line = text.lines().find(|line| line.starts_with("Contact:")).unwrap();
            text.replace(line, "Contact: <sip:new@192.0.2.7:5071;ob>\r\nRecord-Route: <sip:192.0.2.1;lr>")
        });
        let notify = dialog.notify();
        check(&notify, &["start NOTIFY sip:new@192.0.2.7:5071;ob SIP/2.0", "!route"], transport.0);
    }
}

#[test]
fn a_notify_goes_over_the_flow_or_to_the_contact_behind_a_proxy() {
    let nats = Nats::start();
    let site = Site::on(&nats);
    for transport in TRANSPORTS {
        let phone = site.phone(transport);
        let mut dialog = phone.dialog(&format!("sip:nat-{}@127.0.0.1", transport.0));
        let local = phone.local().to_string();
        let response = send(&phone, &mut dialog, |text| text.replace(&local, "10.255.255.1:5999"));
        let via = response.must("via");
        assert!(via.contains(";received=127.0.0.1") && via.contains(";rport="), "received and rport over {}: {via}", transport.0);
        if transport.0 == "udp" || transport.0 == "tcp" {
            assert!(via.contains(&format!(";rport={}", phone.local().port())), "{via}");
        }
        let start = format!("start NOTIFY sip:phone@10.255.255.1:5999;transport={} SIP/2.0", transport.1.to_ascii_lowercase());
        check(&dialog.notify(), &[&start], transport.0);
    }
    let (proxy, phone) = (Phone::udp(site.product.udp()), Phone::udp(site.product.udp()));
    let mut dialog = proxy.dialog("sip:proxied@127.0.0.1");
    let (from, to) = (proxy.local().to_string(), phone.local().to_string());
    send(&proxy, &mut dialog, |text| {
        let text = text.replace(&format!("phone@{from}"), &format!("phone@{to}"));
        text.replace("Max-Forwards", "Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKphone\r\nMax-Forwards")
    });
    dialog.all_at(&phone).notify();
    assert_eq!(dialog.notify_count(), 0, "the proxy did not record its route");
}

/// RFC 3261 §18.2.2: without rport a response goes to the port that the Via names, at the address it came from.
#[test]
fn a_response_over_udp_goes_where_its_via_says() {
    let nats = Nats::start();
    let site = Site::on(&nats);
    let (sender, named) = (Phone::udp(site.product.udp()), Phone::udp(site.product.udp()));
    let (text, branch) = sender.dialog("sip:via@127.0.0.1").request(&Subscribe { expires: Some(10), ..Subscribe::default() });
    let via = format!("Via: SIP/2.0/UDP 192.0.2.1:{};branch={branch}", named.local().port());
    let line = text.lines().find(|line| line.starts_with("Via:")).unwrap();
    sender.send(text.replace(line, &via).as_bytes());
    let response = named.responses(&branch, 1).remove(0);
    assert_eq!(response.status(), Some(423));
    assert!(response.must("via").ends_with(";received=127.0.0.1"), "{}", response.must("via"));
    assert_eq!(sender.response_count(&branch), 0);
}

/// Takes one NOTIFY with this end from a connection of the edge and answers it; its text.
pub(crate) fn answered(listener: &TcpListener, end: &str) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    let (mut seen, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut part).unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&part[..length]);
        let text = String::from_utf8_lossy(&seen).into_owned();
        if text.contains(end) {
            let echoed = ["Via: ", "From: ", "To: ", "Call-ID: ", "CSeq: "];
            let lines: Vec<_> = text.lines().filter(|line| echoed.iter().any(|name| line.starts_with(name))).collect();
            write!(stream, "SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n", lines.join("\r\n")).unwrap();
            return text;
        }
    }
}

/// ```text
/// phone ──TCP──▶ edge ✗ gone      dfks.set ──▶ edge ──TCP, new──▶ the Contact: NOTIFY, 200
/// ```
#[test]
fn a_connection_that_is_gone_is_made_anew_by_the_contact() {
    let nats = Nats::start();
    let site = Site::on(&nats);
    let service = Service::on(&nats);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let phone = Phone::tcp(site.product.tcp());
    let mut dialog = phone.dialog("sip:back@127.0.0.1");
    let (from, to) = (format!("phone@{}", phone.local()), format!("phone@{}", listener.local_addr().unwrap()));
    send(&phone, &mut dialog, |text| text.replace(&from, &to));
    dialog.shows(4);
    let ended = |outcome: &str| site.product.metric(&format!("dfks_notify_sent_total{{transport=\"tcp\",outcome=\"{outcome}\"}}"));
    wait_for("the first NOTIFY's 200", || (ended("delivered") == Some(1.0)).then_some(()));
    let call_id = dialog.call_id.clone();
    drop(phone);
    wait_for("the end of the connection", || (site.product.metric("dfks_edge_connections{transport=\"tcp\"}") == Some(0.0)).then_some(()));
    assert_eq!(service.set("sip:back@127.0.0.1", "DoNotDisturb", 1)["watchers"], 1);
    let notify = answered(&listener, "</DoNotDisturbEvent>");
    assert!(notify.starts_with(&format!("NOTIFY sip:{to};transport=tcp SIP/2.0\r\n")) && notify.contains(&call_id), "{notify}");
    wait_for("its 200", || (ended("delivered") == Some(2.0)).then_some(()));
    assert_eq!(ended("no_connection"), Some(0.0));
}

/// ```text
/// phone ──SUBSCRIBE──▶ edge ✗ gone, nobody at the Contact     dfks.set: waits     phone ──refresh──▶ edge: told
/// ```
#[test]
fn where_nobody_can_be_reached_the_subscription_waits_and_the_metric_says_so() {
    let nats = Nats::start();
    let site = Site::on(&nats);
    let service = Service::on(&nats);
    for transport in TRANSPORTS.into_iter().filter(|(name, _)| *name != "udp") {
        let series = |name: &str, more: &str| site.product.metric(&format!("{name}{{transport=\"{}\"{more}}}", transport.0));
        let presentity = format!("sip:gone-{}@127.0.0.1", transport.0);
        let gone = site.phone(transport);
        let mut dialog = gone.subscribe(&presentity);
        dialog.shows(4);
        wait_for("the 200", || (series("dfks_notify_sent_total", ",outcome=\"delivered\"") == Some(1.0)).then_some(()));
        let back = site.phone(transport);
        let (mut again, last) = (dialog.at(&back), dialog.last_cseq());
        drop(gone);
        wait_for("one connection less", || (series("dfks_edge_connections", "") <= Some(1.0)).then_some(()));
        assert_eq!(service.set(&presentity, "DoNotDisturb", 1)["watchers"], 1, "{transport:?}");
        wait_for("no_connection", || (series("dfks_notify_sent_total", ",outcome=\"no_connection\"") >= Some(1.0)).then_some(()));
        again.refresh();
        let notify = again.until("DoNotDisturb on");
        assert!(notify.cseq() > last, "{transport:?}");
    }
}

/// ```text
/// phone ──UDP──▶ edge      a forward of 400 '&' ──▶ edge ──TCP──▶ the Contact: NOTIFY, 200      nobody listens there: ──UDP──▶
/// ```
#[test]
fn a_notify_too_large_for_a_datagram_goes_over_tcp_where_the_phone_listens_there_and_else_in_a_datagram() {
    let nats = Nats::start();
    let site = Site::on(&nats);
    let service = Service::on(&nats);
    let target = "&".repeat(400);
    let set = |presentity: &str| {
        let request = json!({ "presentity": presentity, "feature": "CallForwardingBusy", "status": 1, "values": { "forwardTo": target } });
        assert_eq!(service.ask("dfks.set", &request)["watchers"], 1);
    };
    let oversized = |transport: &str| site.product.metric(&format!("dfks_notify_oversized_total{{transport=\"{transport}\"}}"));
    assert_eq!((oversized("tcp"), oversized("udp")), (Some(0.0), Some(0.0)));

    let phone = Phone::udp(site.product.udp());
    let listener = TcpListener::bind(phone.local()).unwrap();
    let mut dialog = phone.subscribe("sip:large@127.0.0.1");
    dialog.shows(4);
    let datagrams = dialog.notify_count();
    set("sip:large@127.0.0.1");
    let notify = answered(&listener, "</ForwardingEvent>");
    assert!(notify.len() > 1300 && notify.contains(&format!("\r\nVia: SIP/2.0/TCP {};", site.product.tcp())), "{notify}");
    assert!(notify.contains(&dialog.call_id) && notify.contains(&"&amp;".repeat(400)));
    let ended = |outcome: &str| site.product.metric(&format!("dfks_notify_sent_total{{transport=\"tcp\",outcome=\"{outcome}\"}}"));
    wait_for("its 200", || (ended("delivered") == Some(1.0)).then_some(()));
    assert_eq!(dialog.notify_count(), datagrams, "nothing came in a datagram");

    let phone = Phone::udp(site.product.udp());
    let mut dialog = phone.subscribe("sip:larger@127.0.0.1");
    dialog.shows(4);
    for tried in [1.0, 0.0] {
        let before = (oversized("tcp"), oversized("udp"));
        set("sip:larger@127.0.0.1");
        let notify = dialog.notify();
        assert_eq!(notify.shows(), [format!("CallForwardingBusy on forwardTo={target}")]);
        assert!(notify.must("via").starts_with("SIP/2.0/UDP "));
        assert_eq!(oversized("tcp"), before.0.map(|count| count + tried), "a failure is remembered");
        assert_eq!(oversized("udp"), before.1.map(|count| count + 1.0));
    }
}
