//! `dfks phone` against edges of every kind.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use crate::ALICE;
use crate::auth::ha1;
use crate::common::{Nats, wait_for};
use crate::harness::{Authority, Done, Product, Service, Setup, dfks};

/// An edge with a listener of this transport.
fn edge(setup: Setup, transport: &str, authority: &Authority, folder: &TempDir) -> Product {
    let (certificate, key) = authority.write(folder.path());
    setup
        .with("sip.listen", vec![format!("{transport}:127.0.0.1:0")])
        .with("sip.tls.certificate", certificate.to_str().unwrap())
        .with("sip.tls.key", key.to_str().unwrap())
        .start()
}

fn phone(product: &Product, transport: &str, more: &[&str]) -> Done {
    let server = product.at(transport).to_string();
    dfks(&[&["phone", ALICE, "--server", &server, "--transport", transport], more].concat())
}

/// ```text
/// dfks phone ──udp, tcp, tls, ws, wss──▶ edge: 401, then with the password; subscribes, presses, leaves
/// ```
#[test]
fn a_phone_with_a_password_presses_its_keys_over_every_transport() {
    let (nats, authority, folder) = (Nats::start(), Authority::new(), TempDir::new().unwrap());
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let users = write("users", &format!("alice:127.0.0.1:{}\n", ha1("alice", "s3cret pass")));
    let (password, wrong, ca) = (write("password", "s3cret pass\n"), write("wrong", "guess"), write("ca.pem", &authority.pem()));
    let service = Service::on(&nats);
    for (status, transport) in ["udp", "tcp", "tls", "ws", "wss"].into_iter().enumerate() {
        let (on, wanted) = if status % 2 == 0 { ("on", 1) } else { ("off", 0) };
        let setup = Setup::on(&nats).with("sip.auth.mode", "digest").with("sip.auth.users", users.as_str());
        let product = edge(setup, transport, &authority, &folder);
        let press = format!("DoNotDisturb={on}");
        let pressed = phone(&product, transport, &["--user", "alice", "--password-file", &password, "--ca", &ca, "--press", &press]);
        assert_eq!((pressed.code, pressed.err.as_str()), (0, ""), "{transport}: {}", pressed.out);
        assert!(pressed.out.contains(&format!("{press} confirmed")) && pressed.out.contains("unsubscribed"), "{}", pressed.out);
        assert_eq!(service.state(ALICE, "DoNotDisturb")["status"], wanted, "{transport}");
        let count = |outcome: &str| product.metric(&format!("dfks_edge_auth_total{{outcome=\"{outcome}\"}}"));
        assert_eq!(count("challenged"), Some(1.0), "{transport}: challenged once, then asked before");
        assert!(count("proved") >= Some(3.0), "{transport}");
        let refused = phone(&product, transport, &["--user", "alice", "--password-file", &wrong, "--ca", &ca]);
        assert_eq!((refused.code, refused.err.as_str()), (1, "dfks: SUBSCRIBE refused: 401 Unauthorized\n"), "{transport}");
        let nameless = phone(&product, transport, &["--ca", &ca]);
        assert_eq!((nameless.code, nameless.err.as_str()), (1, "dfks: SUBSCRIBE refused: 401 Unauthorized\n"), "{transport}");
    }
}

#[test]
fn a_certificate_of_nobody_known_is_not_taken() {
    let (nats, authority, folder) = (Nats::start(), Authority::new(), TempDir::new().unwrap());
    let product = edge(Setup::on(&nats), "tls", &authority, &folder);
    let other = folder.path().join("other.pem");
    fs::write(&other, Authority::new().pem()).unwrap();
    for more in [&["--ca", other.to_str().unwrap()][..], &[]] {
        let refused = phone(&product, "tls", more);
        assert_eq!(refused.code, 69, "{}", refused.err);
        assert!(refused.err.contains("over tls: invalid peer certificate"), "{}", refused.err);
    }
    let none = phone(&product, "tls", &["--ca", "no-such-file.pem"]);
    assert_eq!(none.code, 64);
    assert!(none.err.contains("no-such-file.pem"), "{}", none.err);
}

/// ```text
/// dfks phone ──press──▶ edge ──▶ responder: denied        200, NOTIFY as it is: exit 1
/// ```
#[test]
fn a_press_that_is_refused_is_exit_1_and_what_cannot_be_pressed_is_said_first() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let service = Service::on(&nats);
    service.respond("dfks.responder.set.127_0_0_1.DoNotDisturb", |_| Some(json!({ "error": { "code": 403, "description": "no" } })));
    wait_for("the responder", || (service.set(ALICE, "DoNotDisturb", 1)["error"]["code"] == 403).then_some(()));
    let refused = phone(&product, "udp", &["--press", "DoNotDisturb=on"]);
    assert_eq!((refused.code, refused.err.as_str()), (1, "dfks: DoNotDisturb=on was not taken: it is off\n"), "{}", refused.out);
    assert!(refused.out.contains("unsubscribed"), "{}", refused.out);

    let subscribed = || product.metric("dfks_edge_requests_total{method=\"SUBSCRIBE\",transport=\"udp\",code=\"200\"}");
    let before = subscribed();
    for (press, want) in [
        ("Foo=on", "dfks: unknown feature 'Foo': expected DoNotDisturb, "),
        ("DoNotDisturb=on,forwardTo=1", "forwardTo"),
        ("CallForwardingNoAnswer=on,ringCount=many", "ringCount"),
        ("Hoteling=on,guestAddress=1", "Hoteling"),
    ] {
        let refused = phone(&product, "udp", &["--press", press]);
        assert_eq!((refused.code, refused.out.as_str()), (1, ""), "{press}");
        assert!(refused.err.contains(want), "{press}: {}", refused.err);
    }
    assert_eq!(subscribed(), before, "nothing was sent");
    for usage in [&["--user", "alice"][..], &["--password-file", "x"], &["--user", "alice", "--password-file", "no-such-file"]] {
        assert_eq!(phone(&product, "udp", usage).code, 64, "{usage:?}");
    }
}
