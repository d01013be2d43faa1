//! Several processes, each with a role, on one NATS: watchers on two edges, an edge that crashes, a dialog that moves.

use serde_json::json;

use crate::common::Nats;
use crate::harness::{Phone, Product, Service, Setup, set_dnd};
use crate::{ALICE, ALL_OFF};

/// Two edges, a worker and an mi bridge.
struct Scene {
    edge_a: Product,
    edge_b: Product,
    _worker: Product,
    _mi: Product,
    service: Service,
    _nats: Nats,
}

impl Scene {
    fn start() -> Self {
        let nats = Nats::start();
        let edge = |edge_id: &str| Setup::on(&nats).role("edge").with("sip.edge_id", edge_id).start();
        Self {
            edge_a: edge("edge-a"),
            edge_b: edge("edge-b"),
            _worker: Setup::on(&nats).role("worker").start(),
            _mi: Setup::on(&nats).role("mi").start(),
            service: Service::on(&nats),
            _nats: nats,
        }
    }
}

/// ```text
/// phone ──press──▶ edge-a ──job──▶ edge-b ──NOTIFY──▶ other phone
/// service ──dfks.set──▶ mi ──jobs──▶ edge-a, edge-b ──NOTIFY──▶ both
/// ```
#[test]
fn a_change_reaches_the_watchers_on_every_edge() {
    let scene = Scene::start();
    let (phone, other) = (Phone::udp(scene.edge_a.udp()), Phone::tcp(scene.edge_b.tcp()));
    let (mut dialog, mut elsewhere) = (phone.subscribe(ALICE), other.subscribe(ALICE));
    assert_eq!((dialog.shows(4), elsewhere.shows(4)), (ALL_OFF.map(str::to_owned).to_vec(), ALL_OFF.map(str::to_owned).to_vec()));

    dialog.press(set_dnd(true));
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb on"]);
    assert_eq!(elsewhere.notify().shows(), ["DoNotDisturb on"]);

    let reply = scene.service.set(ALICE, "CallForwardingBusy", 1);
    assert_eq!((&reply["watchers"], &reply["notify"]), (&json!(2), &json!(true)));
    assert_eq!(dialog.notify().shows(), ["CallForwardingBusy on"]);
    assert_eq!(elsewhere.notify().shows(), ["CallForwardingBusy on"]);

    elsewhere.unsubscribe();
    assert!(elsewhere.notify().must("subscription-state").starts_with("terminated"));
    assert_eq!(scene.service.set(ALICE, "DoNotDisturb", 0)["watchers"], 1);
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb off"]);
    assert_eq!((dialog.notify_count(), elsewhere.notify_count()), (7, 4), "nothing came twice");
}

/// ```text
/// phone ──SUBSCRIBE──▶ edge ✗ kill -9        dfks.set ──▶ job waits
/// phone ◀──NOTIFY── edge, started again      phone ──SUBSCRIBE in the dialog──▶ 200
/// ```
#[test]
fn an_edge_that_crashed_goes_on_where_it_was() {
    let mut scene = Scene::start();
    let phone = Phone::udp(scene.edge_a.udp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.shows(3);
    let before = dialog.notify().cseq();
    scene.edge_a.kill();

    let reply = scene.service.set(ALICE, "DoNotDisturb", 1);
    assert_eq!(reply["watchers"], 1, "its edge is gone, its subscription is not: {reply}");
    scene.edge_a.restart();
    let notify = dialog.notify();
    assert_eq!(notify.shows(), ["DoNotDisturb on"], "what was set while it was down");
    assert!(notify.cseq() > before, "{} after {before}", notify.cseq());

    dialog.refresh();
    let shown = dialog.shows(4);
    assert_eq!(shown[0], "DoNotDisturb on");
    dialog.press(set_dnd(false));
    let last = dialog.notify();
    assert_eq!(last.shows(), ["DoNotDisturb off"]);
    assert!(last.cseq() > notify.cseq() + 4 - 1);
    assert_eq!(scene.edge_a.metric("dfks_edge_subscriptions{state=\"active\"}"), Some(1.0));
}

/// ```text
/// phone ──SUBSCRIBE──▶ edge-a          the same dialog: phone ──SUBSCRIBE──▶ edge-b, which takes it; edge-a lets go
/// ```
#[test]
fn an_in_dialog_subscribe_at_another_edge_moves_the_subscription() {
    let scene = Scene::start();
    let events = scene.service.wiretap(&["dfks.event.subscription.>"]);
    let (phone_a, phone_b) = (Phone::udp(scene.edge_a.udp()), Phone::udp(scene.edge_b.udp()));
    let mut at_a = phone_a.subscribe(ALICE);
    at_a.shows(3);
    let last_at_a = at_a.notify().cseq();

    let mut at_b = at_a.at(&phone_b);
    at_b.press(set_dnd(true));
    let notify = at_b.notify();
    assert_eq!(notify.shows(), ["DoNotDisturb on"], "served there at once");
    assert_eq!(at_b.shows(3), ALL_OFF[1..], "and all the rest: what edge-a was about to tell may be lost");
    assert!(notify.cseq() > last_at_a, "{} after {last_at_a}", notify.cseq());
    let moved = events.find("edge-a lets go", |event| event.json["what"] == "terminated");
    assert_eq!((&moved.json["reason"], &moved.json["edge_id"]), (&json!("moved"), &json!("edge-a")));
    assert_eq!(moved.json["subscription"], at_b.subscription());

    assert_eq!(scene.service.set(ALICE, "CallForwardingBusy", 1)["watchers"], 1);
    assert_eq!(at_b.notify().shows(), ["CallForwardingBusy on"]);
    scene.service.set(ALICE, "CallForwardingBusy", 0);
    assert_eq!(at_b.notify().shows(), ["CallForwardingBusy off"], "once each");
    assert_eq!(at_a.notify_count(), 4, "nothing more from edge-a");
    assert_eq!(scene.edge_a.metric("dfks_edge_subscriptions{state=\"active\"}"), Some(0.0));
    assert_eq!(scene.edge_b.metric("dfks_edge_subscriptions{state=\"active\"}"), Some(1.0));

    let mut back = at_b.at(&phone_a);
    back.press(set_dnd(false));
    let notify = back.notify();
    assert_eq!(notify.shows(), ["DoNotDisturb off"], "and back");
    assert!(notify.cseq() > at_b.last_cseq(), "{} after {}", notify.cseq(), at_b.last_cseq());
    events.find("edge-b lets go", |event| event.json["reason"] == "moved" && event.json["edge_id"] == "edge-b");
    assert_eq!(scene.service.set(ALICE, "DoNotDisturb", 1)["watchers"], 1);
    back.until("DoNotDisturb on");
}
