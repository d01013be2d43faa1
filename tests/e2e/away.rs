//! What is away comes back: NATS, the workers.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Service, Setup, Subscribe, set_dnd};
use crate::{ALICE, ALL_OFF};

const TIMEOUT: Duration = Duration::from_millis(500);

/// ```text
/// phone ──SUBSCRIBE──▶ edge ✗ NATS     503 Retry-After, the same for the retransmission; NATS back: all as before
/// ```
#[test]
fn without_nats_phones_are_told_to_come_again_and_afterwards_all_works() {
    let mut nats = Nats::start();
    let product = Setup::on(&nats).with("nats.timeout_ms", 500).start();
    let phone = Phone::udp(product.udp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.shows(4);

    nats.kill();
    wait_for("/readyz says so", || (product.get("/readyz").0 == 503).then_some(()));
    assert_eq!(product.get("/healthz").0, 200);
    assert_eq!(product.metric("dfks_bus_connected"), Some(0.0));
    let mut new = phone.dialog(ALICE);
    let (request, branch) = new.request(&Subscribe::default());
    let asked_at = Instant::now();
    phone.send(request.as_bytes());
    let refused = phone.responses(&branch, 1).remove(0);
    assert_eq!(refused.status(), Some(503), "{}", refused.start);
    assert!(refused.must("retry-after").parse::<u32>().unwrap() > 0);
    assert!(asked_at.elapsed() < TIMEOUT + Duration::from_millis(500), "{:?}", asked_at.elapsed());
    phone.send(request.as_bytes());
    let again = phone.responses(&branch, 2).remove(1);
    assert_eq!(again.raw, refused.raw, "a retransmission gets the same");
    assert_eq!(dialog.send(&Subscribe { body: set_dnd(true), ..Subscribe::default() }).status(), Some(503), "in a dialog too");

    nats.restart();
    wait_for("/readyz says so", || (product.get("/readyz").0 == 200).then_some(()));
    let mut fresh = phone.subscribe(ALICE);
    fresh.shows(4);
    dialog.press(set_dnd(true));
    assert_eq!((dialog.notify().shows(), fresh.notify().shows()), (vec!["DoNotDisturb on".to_owned()], vec!["DoNotDisturb on".to_owned()]));
    let service = Service::on(&nats);
    assert_eq!(service.set(ALICE, "DoNotDisturb", 0)["watchers"], 2);
    assert_eq!(
        (dialog.notify().shows(), fresh.notify().shows()),
        (vec!["DoNotDisturb off".to_owned()], vec!["DoNotDisturb off".to_owned()])
    );
    assert!(product.metric("dfks_bus_reconnects_total").unwrap() >= 1.0);
}

/// ```text
/// NATS ✕ … NATS with an empty store ──▶ streams and buckets made again, then ready ──▶ all works, without a restart
/// ```
#[test]
fn a_nats_that_comes_back_empty_gets_its_streams_again() {
    let mut nats = Nats::start();
    let product = Setup::on(&nats).with("nats.timeout_ms", 500).start();
    let phone = Phone::udp(product.udp());
    let mut before = phone.subscribe(ALICE);
    before.shows(4);
    Service::on(&nats).set(ALICE, "DoNotDisturb", 1);
    before.until("DoNotDisturb on");

    nats.wipe();
    wait_for("/readyz says so", || (product.get("/readyz").0 == 503).then_some(()));
    nats.restart();
    wait_for("/readyz says so", || (product.get("/readyz").0 == 200).then_some(()));
    wait_for("it is said", || product.log().contains("streams were gone").then_some(()));
    let service = Service::on(&nats);
    let mut after = wait_for("a subscription", || {
        let mut dialog = phone.dialog("sip:bob@127.0.0.1");
        (dialog.send(&Subscribe::default()).status() == Some(200)).then_some(dialog)
    });
    after.shows(4);
    after.press(set_dnd(true));
    after.until("DoNotDisturb on");
    wait_for("the edge is known to hold it", || (service.set("sip:bob@127.0.0.1", "DoNotDisturb", 0)["watchers"] == 1).then_some(()));
    after.until("DoNotDisturb off");
    let command = json!({"presentity": "sip:bob@127.0.0.1", "feature": "DoNotDisturb", "status": 1});
    service.store("dfks.command.set", &command, "a");
    after.until("DoNotDisturb on");
    // a phone that was there before subscribes anew at the latest when its refresh is answered 481
    let refreshed = before.send(&Subscribe::default()).status();
    assert!(matches!(refreshed, Some(200 | 481)), "{refreshed:?}");
}

/// ```text
/// streams and buckets ✕ deleted by hand, NATS stays ──▶ whoever stores next finds none ──▶ made again, and logged
/// ```
#[test]
fn streams_that_are_deleted_are_made_again_while_the_connection_stays() {
    let nats = Nats::start();
    let product = Setup::on(&nats).start();
    let phone = Phone::udp(product.udp());
    phone.subscribe(ALICE).shows(4);
    let service = Service::on(&nats);
    assert_eq!(service.set(ALICE, "DoNotDisturb", 1)["watchers"], 1);
    for stream in ["KV_dfks-features", "KV_dfks-subscriptions", "DFKS_NOTIFY", "DFKS_COMMANDS"] {
        assert_eq!(service.ask(&format!("$JS.API.STREAM.DELETE.{stream}"), &json!({}))["success"], true, "{stream}");
    }
    assert_eq!(product.metric("dfks_bus_reconnects_total"), Some(0.0));
    let mut after = wait_for("a subscription", || {
        let mut dialog = phone.dialog("sip:bob@127.0.0.1");
        (dialog.send(&Subscribe::default()).status() == Some(200)).then_some(dialog)
    });
    after.shows(4);
    wait_for("all are there", || (product.log().matches("stream made").count() >= 11).then_some(()));
    wait_for("it is said", || product.log().contains("streams were gone").then_some(()));
    wait_for("the edge is known to hold it", || (service.set("sip:bob@127.0.0.1", "DoNotDisturb", 1)["watchers"] == 1).then_some(()));
    after.until("DoNotDisturb on");
    service.store("dfks.command.set", &json!({"presentity": "sip:bob@127.0.0.1", "feature": "DoNotDisturb", "status": 0}), "a");
    after.until("DoNotDisturb off");
    assert_eq!(product.metric("dfks_bus_reconnects_total"), Some(0.0));
}

/// A NATS that hangs is noticed by the time that its acknowledgement takes.
#[test]
fn a_nats_that_hangs_is_away_after_the_timeout() {
    let nats = Nats::start();
    let product = Setup::on(&nats).with("nats.timeout_ms", 500).start();
    let phone = Phone::udp(product.udp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.shows(4);
    nats.pause();
    let mut new = phone.dialog(ALICE);
    let asked_at = Instant::now();
    let refused = new.send(&Subscribe::default());
    let took = asked_at.elapsed();
    nats.resume();
    assert_eq!(refused.status(), Some(503), "{}", refused.start);
    assert!(refused.header("retry-after").is_some());
    assert!(took >= TIMEOUT && took < TIMEOUT + Duration::from_millis(500), "{took:?}");
    wait_for("a subscription again", || {
        (phone.dialog("sip:bob@127.0.0.1").send(&Subscribe::default()).status() == Some(200)).then_some(())
    });
    dialog.press(set_dnd(true));
    dialog.until("DoNotDisturb on");
    let service = Service::on(&nats);
    wait_for("alice's refused subscription is nowhere", || (service.set(ALICE, "DoNotDisturb", 1)["watchers"] == 1).then_some(()));
}

/// ```text
/// phone ──SUBSCRIBE──▶ edge, no worker: 200, NOTIFY with an empty body; a worker starts: NOTIFY with the full state
/// ```
#[test]
fn without_a_worker_the_phone_gets_an_empty_notify_at_once_and_the_full_state_later() {
    let nats = Nats::start();
    let edge = Setup::on(&nats).role("edge").role("mi").start();
    let phone = Phone::tcp(edge.tcp());
    let subscribed_at = Instant::now();
    let mut dialog = phone.subscribe(ALICE);
    let empty = dialog.notify();
    assert_eq!((empty.header("content-type"), empty.body.as_str()), (None, ""));
    assert!(subscribed_at.elapsed() < Duration::from_secs(1), "{:?}", subscribed_at.elapsed());
    let service = Service::on(&nats);
    assert_eq!(service.set(ALICE, "DoNotDisturb", 1)["error"]["code"], 503);

    let _worker = Setup::on(&nats).role("worker").start();
    let mut notify = dialog.notify();
    while notify.body.is_empty() {
        notify = dialog.notify();
    }
    assert_eq!(notify.shows(), ALL_OFF);
    dialog.press(set_dnd(true));
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb on"]);
}
