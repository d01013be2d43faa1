//! Somebody listens to everything, so that NATS tells nobody that nobody else does: who is not there is missed all the same.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Service, Setup, set_dnd};
use crate::mi::call;
use crate::{ALICE, ALL_OFF};

/// Workers are looked for during a second before none counts as there.
const LOOKED_FOR: Duration = Duration::from_secs(2);

/// ```text
/// nats sub '>'      MI ──▶ mi bridge ──ping──▶ no worker: 503 at once, nothing sent      worker started: carried out
/// ```
#[test]
fn without_a_worker_a_command_is_refused_at_once_and_certainly() {
    let nats = Nats::start();
    let service = Service::on(&nats);
    let looking = service.wiretap(&[">"]);
    let bridge = Setup::on(&nats).role("mi").with("mi.http", "127.0.0.1:0").start();
    let set = || -> Value {
        let request = json!({"jsonrpc": "2.0", "method": "dfks_set_feature", "params": [ALICE, "DoNotDisturb", 1], "id": 1});
        call(bridge.mi(), &request)
    };
    let nobody = json!({"code": 503, "message": "no worker answers: the change was not made"});
    assert_eq!(set()["error"], nobody, "while it is found out");
    let asked_at = Instant::now();
    assert_eq!(set()["error"], nobody, "when it is known");
    assert!(asked_at.elapsed() < Duration::from_millis(900), "{:?}", asked_at.elapsed());
    assert!(looking.all().iter().all(|taken| taken.subject != "dfks.route.set"), "a worker would carry it out later");

    let _worker = Setup::on(&nats).role("worker").start();
    assert_eq!(set()["result"], "OK", "it is there, and so it is asked");
}

/// ```text
/// nats sub '>'      phone ──SUBSCRIBE──▶ edge ──ping──▶ no worker: NOTIFY, empty      worker started: the full state
/// ```
#[test]
fn without_a_worker_a_phone_has_its_notify_and_the_state_later() {
    let nats = Nats::start();
    let service = Service::on(&nats);
    let _looking = service.wiretap(&[">"]);
    let edge = Setup::on(&nats).role("edge").start();
    std::thread::sleep(LOOKED_FOR);
    let phone = Phone::tcp(edge.tcp());
    let subscribed_at = Instant::now();
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.notify().shows(), Vec::<String>::new());
    assert!(subscribed_at.elapsed() < Duration::from_millis(900), "{:?}", subscribed_at.elapsed());
    dialog.press(set_dnd(true));
    assert_eq!(dialog.notify().shows(), Vec::<String>::new(), "nobody knows how it is");

    let _rest = Setup::on(&nats).role("worker").start();
    assert_eq!(dialog.shows(4), ALL_OFF);
}

/// ```text
/// nats sub '>'      phone ◀── edge ✗ kill -9      dfks.set ─▶ job ─▶ the inbox of before      edge, started again ──NOTIFY──▶ phone
/// ```
#[test]
fn what_is_handed_to_an_edge_that_was_killed_comes_to_the_next() {
    let nats = Nats::start();
    let service = Service::on(&nats);
    let looking = service.wiretap(&[">"]);
    let mut edge = Setup::on(&nats).role("edge").start();
    let _rest = Setup::on(&nats).role("worker").role("mi").start();
    let phone = Phone::udp(edge.udp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.shows(4);
    // whoever is silent is known from now on: the next one waits for nobody
    assert_eq!(service.set(ALICE, "DoNotDisturb", 0)["watchers"], 1);
    dialog.until("DoNotDisturb off");
    wait_for("it has asked for jobs for as long as it does while somebody looks on", || {
        let asks = looking.all().into_iter().filter(|taken| taken.subject.starts_with("$JS.API.CONSUMER.MSG.NEXT.DFKS_NOTIFY."));
        asks.last().filter(|taken| taken.json["expires"] == 900_000_000_u64)
    });
    edge.kill();
    assert_eq!(service.set(ALICE, "DoNotDisturb", 1)["watchers"], 1);
    edge.restart();
    assert_eq!(dialog.notify_within(Duration::from_secs(5)).shows(), ["DoNotDisturb on"]);
}
