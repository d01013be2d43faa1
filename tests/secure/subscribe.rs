//! SUBSCRIBE and NOTIFY over every secure and web transport.

use serde_json::json;
use tempfile::TempDir;

use crate::common::{Nats, wait_for};
use crate::harness::{Authority, Phone, Product, Relay, Service, Setup, Subscribe, set_dnd};
use crate::{ALICE, ALL_OFF};

/// An edge with a listener for each transport.
fn start(nats: &Nats, authority: &Authority, folder: &TempDir) -> Product {
    let (certificate, key) = authority.write(folder.path());
    Setup::on(nats)
        .with("sip.listen", vec!["udp:127.0.0.1:0", "tls:127.0.0.1:0", "ws:127.0.0.1:0", "wss:127.0.0.1:0"])
        .with("sip.tls.certificate", certificate.to_str().unwrap())
        .with("sip.tls.key", key.to_str().unwrap())
        .start()
}

/// ```text
/// phone ── SUBSCRIBE ─▶ edge     200, Contact of the transport
///       ◀─ NOTIFY ────           four features in one body, Via of the transport
///       ── SUBSCRIBE, DND on ─▶  200, NOTIFY
///       ◀─ NOTIFY ────           what a service sets
///       ── SUBSCRIBE, 0 ─▶       200, last NOTIFY
/// ```
#[test]
fn a_phone_is_served_alike_over_tls_ws_and_wss() {
    let (nats, authority, folder) = (Nats::start(), Authority::new(), TempDir::new().unwrap());
    let product = start(&nats, &authority, &folder);
    let service = Service::on(&nats);
    for (transport, token, param) in [("tls", "TLS", "tls"), ("ws", "WS", "ws"), ("wss", "WSS", "ws")] {
        let presentity = format!("sip:{transport}@127.0.0.1");
        let relay = Relay::start(transport, product.at(transport), &authority);
        let phone = Phone::over(token, relay.address());
        let mut dialog = phone.dialog(&presentity);
        let response = dialog.send(&Subscribe::default());
        assert_eq!(response.status(), Some(200));
        assert_eq!(response.must("contact"), format!("<sip:{};transport={param}>", product.at(transport)));
        assert!(
            response.must("via").contains(";received=127.0.0.1") || response.must("via").contains(";rport="),
            "{}",
            response.must("via")
        );
        let notify = dialog.notify();
        assert_eq!(notify.shows(), ALL_OFF);
        assert!(notify.must("via").starts_with(&format!("SIP/2.0/{token} {};branch=", product.at(transport))), "{}", notify.must("via"));
        assert_eq!(notify.must("contact"), format!("<sip:{};transport={param}>", product.at(transport)));
        dialog.press(set_dnd(true));
        assert_eq!(dialog.notify().shows(), ["DoNotDisturb on"]);
        service.set(&presentity, "DoNotDisturb", 0);
        assert_eq!(dialog.notify().shows(), ["DoNotDisturb off"]);
        let series = |name: &str, more: &str| product.metric(&format!("{name}{{transport=\"{transport}\"{more}}}"));
        assert_eq!(series("dfks_edge_connections", ""), Some(1.0));
        wait_for("three delivered NOTIFYs", || (series("dfks_notify_sent_total", ",outcome=\"delivered\"") == Some(3.0)).then_some(()));
        dialog.unsubscribe();
        assert!(dialog.notify().must("subscription-state").starts_with("terminated"));
        drop(phone);
        wait_for("the end of the connection", || (series("dfks_edge_connections", "") == Some(0.0)).then_some(()));
        let requests = format!("dfks_edge_requests_total{{method=\"SUBSCRIBE\",transport=\"{transport}\",code=\"200\"}}");
        assert_eq!(product.metric(&requests), Some(3.0));
    }
}

/// A browser cannot be called: what changes while it is away it learns when it is back, in the same dialog.
#[test]
fn a_subscription_waits_for_a_phone_that_only_it_can_connect() {
    let (nats, authority, folder) = (Nats::start(), Authority::new(), TempDir::new().unwrap());
    let product = start(&nats, &authority, &folder);
    let service = Service::on(&nats);
    let relay = Relay::start("wss", product.at("wss"), &authority);
    let away = Phone::over("WSS", relay.address());
    let mut dialog = away.subscribe(ALICE);
    dialog.notify();
    let back = Phone::over("WSS", relay.address());
    let mut dialog = dialog.at(&back);
    let open = "dfks_edge_connections{transport=\"wss\"}";
    wait_for("both connections", || (product.metric(open) == Some(2.0)).then_some(()));
    drop(away);
    wait_for("one connection less", || (product.metric(open) == Some(1.0)).then_some(()));
    let reply = service.set(ALICE, "DoNotDisturb", 1);
    assert_eq!(reply["watchers"], json!(1));
    let failed = "dfks_notify_sent_total{transport=\"wss\",outcome=\"no_connection\"}";
    wait_for("a NOTIFY without a way", || (product.metric(failed) >= Some(1.0)).then_some(()));
    assert_eq!(product.metric("dfks_edge_subscriptions{state=\"active\"}"), Some(1.0));
    dialog.refresh();
    assert!(dialog.notify().shows().contains(&"DoNotDisturb on".to_owned()));
}

#[test]
fn every_refusal_is_counted_by_its_reason() {
    let (nats, authority, folder) = (Nats::start(), Authority::new(), TempDir::new().unwrap());
    let product = start(&nats, &authority, &folder);
    let refused = |transport: &str, reason: &str| {
        product.metric(&format!("dfks_edge_connections_refused_total{{transport=\"{transport}\",reason=\"{reason}\"}}"))
    };
    for (transport, reason, bytes) in [
        ("tls", "tls", "OPTIONS sip:h SIP/2.0\r\n\r\n"),
        ("wss", "tls", "GET / HTTP/1.1\r\n\r\n"),
        ("ws", "websocket", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        (
            "ws",
            "subprotocol",
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        ),
    ] {
        assert_eq!(refused(transport, reason), Some(0.0), "{transport} {reason} from the start");
        let mut stream = std::net::TcpStream::connect(product.at(transport)).unwrap();
        std::io::Write::write_all(&mut stream, bytes.as_bytes()).unwrap();
        wait_for("the refusal", || (refused(transport, reason) == Some(1.0)).then_some(()));
        assert_eq!(product.metric(&format!("dfks_edge_connections{{transport=\"{transport}\"}}")), Some(0.0));
    }
}
