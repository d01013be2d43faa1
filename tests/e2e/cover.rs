//! Refreshes and key presses whose 200 waits for no store, and an edge that is killed right after one.

use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Product, Service, Setup, Subscribe, set_dnd};
use crate::{ALICE, ALL_OFF};

const SAVED: &str = "dfks_edge_stores_saved_total";
const ACTIVE: &str = "dfks_edge_subscriptions{state=\"active\"}";
const GRACE: &str = "dfks_edge_subscriptions{state=\"grace\"}";
/// How long a responder takes here: the edge is killed meanwhile.
const SLOW: Duration = Duration::from_millis(400);
/// After a restart phones that come back by themselves come first.
const PATIENCE: Duration = Duration::from_secs(20);

/// An edge with short lifetimes, and the rest in a process of its own.
fn scene(nats: &Nats) -> (Product, Product) {
    let lifetimes = |setup: Setup| setup.with("subscription.min_expires_seconds", 1).with("subscription.grace_seconds", 1);
    let edge = lifetimes(Setup::on(nats).role("edge").with("sip.edge_id", "edge-a")).start();
    let rest = Setup::on(nats).role("worker").role("mi").with("routes.responder_timeout_ms", 2000).start();
    (edge, rest)
}

/// ```text
/// phone ──SUBSCRIBE 10 s──▶ edge   stored: live for 20 s
///       ──SUBSCRIBE 10 s──▶ edge   4 s later: 200 at once       kill -9
///                           edge   started again: told expires=0 after the first 10 s, and refreshed
/// ```
#[test]
fn what_a_200_without_a_store_granted_outlives_a_kill() {
    let nats = Nats::start();
    let (mut edge, _rest) = scene(&nats);
    let service = Service::on(&nats);
    let phone = Phone::udp(edge.udp());
    let brief = || Subscribe { expires: Some(10), ..Subscribe::default() };
    let mut dialog = phone.dialog(ALICE);
    assert_eq!(dialog.send(&brief()).status(), Some(200));
    assert_eq!(dialog.shows(4), ALL_OFF);
    sleep(Duration::from_secs(4));
    let granted = dialog.send(&brief());
    assert_eq!((granted.status(), granted.header("expires")), (Some(200), Some("10")));
    assert_eq!(dialog.shows(4), ALL_OFF);
    assert_eq!(edge.metric(SAVED), Some(1.0));
    let before = dialog.last_cseq();
    edge.kill();
    edge.restart();
    // Past what was stored as told, with its grace; within what was granted.
    wait_for("it is past what was told", || ((edge.metric(ACTIVE), edge.metric(GRACE)) == (Some(0.0), Some(1.0))).then_some(()));
    assert_eq!(service.set(ALICE, "DoNotDisturb", 1)["watchers"], 1);
    let notify = dialog.until("DoNotDisturb on");
    assert_eq!(notify.header("subscription-state"), Some("active;expires=0"));
    assert!(notify.cseq() > before, "{} after {before}", notify.cseq());
    assert_eq!(dialog.send(&brief()).status(), Some(200), "it has to refresh, and may");
    assert_eq!(dialog.shows(4)[0], "DoNotDisturb on");
}

/// ```text
/// phone ──SetDoNotDisturb──▶ edge ──▶ worker ──▶ responder, slow
///       ◀──200───────────── edge   kill -9        ◀── approved: stored, told to all but this phone
///       ◀──NOTIFY────────── edge   started again
/// ```
#[test]
fn a_key_press_that_took_effect_while_its_edge_was_dead_is_told_by_the_next() {
    let nats = Nats::start();
    let (mut edge, rest) = scene(&nats);
    let service = Service::on(&nats);
    service.respond("dfks.responder.set.127_0_0_1.DoNotDisturb", |request| {
        sleep(SLOW);
        Some(json!({ "status": request["status"] }))
    });
    let phone = Phone::udp(edge.udp());
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.shows(4), ALL_OFF);
    dialog.press(set_dnd(true));
    assert_eq!(edge.metric(SAVED), Some(1.0), "nothing but the change is new");
    edge.kill();
    sleep(SLOW * 2);
    assert_eq!(service.state(ALICE, "DoNotDisturb")["status"], 1, "{}", rest.log());
    edge.restart();
    assert_eq!(dialog.notify_within(PATIENCE).shows(), ["DoNotDisturb on"]);
}
