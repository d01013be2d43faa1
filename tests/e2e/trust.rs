//! Who may decide, and who may only look: responders that come and go, and people who look on.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Product, Service, Setup, set_dnd};
use crate::responder::Python;

/// ```text
/// nats sub '>'      phone ──SUBSCRIBE──▶ edge ──dfks.get──▶ worker ──dfks.responder.get──▶ nobody but who looks on
/// ```
#[test]
fn whoever_looks_on_holds_up_no_phone() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let service = Service::on(&nats);
    let _looking = service.wiretap(&[">"]);
    let phone = Phone::tcp(product.tcp());
    let subscribed_at = Instant::now();
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    assert!(subscribed_at.elapsed() < Duration::from_millis(450), "{:?}", subscribed_at.elapsed());
    dialog.press(set_dnd(true));
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb on"]);
    let pressed_at = Instant::now();
    dialog.press(set_dnd(false));
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb off"]);
    assert!(pressed_at.elapsed() < Duration::from_millis(400), "{:?}", pressed_at.elapsed());
    assert_eq!(service.set(ALICE, "DoNotDisturb", 1)["state"]["status"], 1);
    let observed = product.metric("dfks_worker_responder_requests_total{kind=\"set\",outcome=\"observer\"}");
    assert_eq!(observed, Some(3.0));
    let log = product.log();
    assert_eq!(log.matches("taken for an observer").count(), 6, "five gets and a set, once each:\n{log}");
    assert!(log.contains("dfks.responder.set.127_0_0_1.DoNotDisturb"), "{log}");
}

/// ```text
/// nats sub '>'      phone ──SUBSCRIBE──▶ edge ──dfks.get──▶ no worker: nobody says so, for somebody listens
/// ```
#[test]
fn whoever_looks_on_does_not_hide_that_the_workers_are_gone() {
    let nats = Nats::start();
    let edge = Setup::on(&nats).role("edge").role("mi").start();
    let service = Service::on(&nats);
    let _looking = service.wiretap(&[">"]);
    let phone = Phone::tcp(edge.tcp());
    let subscribed_at = Instant::now();
    let mut dialog = phone.subscribe(ALICE);
    assert!(dialog.notify().shows().is_empty(), "nothing is known");
    assert!(subscribed_at.elapsed() < Duration::from_secs(3), "{:?}", subscribed_at.elapsed());
    let error = service.set(ALICE, "DoNotDisturb", 1)["error"].clone();
    assert_eq!(error["code"], 503, "{error}");
    let _worker = Setup::on(&nats).role("worker").start();
    assert_eq!(dialog.notify().shows()[0], "DoNotDisturb off", "as soon as a worker answers");
}

/// ```text
/// responder: heard, then gone      dfks.command.set ─▶ 503, tried again …      responder back ─▶ made
/// ```
#[test]
fn a_durable_command_waits_for_an_owner_that_is_not_there() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let service = Service::on(&nats);
    let python = Python::start(&nats);
    assert_eq!(service.set(ALICE, "DoNotDisturb", 1)["state"]["source"], "responder");
    python.stop();
    wait_for("it is missed", || (service.set(ALICE, "DoNotDisturb", 0)["error"]["code"] == 503).then_some(()));
    let dead = service.wiretap(&["dfks.dead.>"]);
    service.store("dfks.command.set", &json!({"presentity": ALICE, "feature": "DoNotDisturb", "status": 0}), "order-1");
    wait_for("it is tried again", || (product.metric("dfks_mi_retries_total").unwrap_or_default() >= 4.0).then_some(()));
    assert_eq!(service.state(ALICE, "DoNotDisturb")["status"], 1, "nothing is changed without its owner");
    let _python = Python::start(&nats);
    wait_for("it is made", || (service.state(ALICE, "DoNotDisturb")["status"] == 0).then_some(()));
    assert!(dead.all().is_empty(), "{:?}", dead.all());
}

/// ```text
/// phone: off      responder redeployed ─▶ press: refused      back, says on ─▶ NOTIFY on, though nobody asked
/// ```
#[test]
fn an_owner_that_is_back_has_phones_told_what_it_says_differently() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let service = Service::on(&nats);
    let python = Python::start(&nats);
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.notify().shows()[0], "DoNotDisturb on");
    dialog.press(set_dnd(false));
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb off"]);
    python.stop();
    wait_for("it is missed", || (service.state(ALICE, "DoNotDisturb")["source"] == "store").then_some(()));
    dialog.press(set_dnd(true));
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb off"], "refused: nobody approves it");
    // it has forgotten what it was told, and says what it began with
    let _python = Python::start(&nats);
    assert_eq!(dialog.notify_within(Duration::from_secs(20)).shows(), ["DoNotDisturb on"]);
}
