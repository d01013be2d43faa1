//! Edges that fall silent: killed, paused, or cut off together with all the others.

use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Product, Service, Setup, Subscribe, Taken, Wiretap, set_dnd};
use crate::{ALICE, ALL_OFF};

const BOB: &str = "sip:bob@127.0.0.1";
/// `sip.takeover_seconds` of these edges.
const SILENT_AFTER: Duration = Duration::from_secs(3);
/// An edge that has told all that was asked of it has stored so within this time.
const TOLD_WITHIN: Duration = Duration::from_millis(500);
/// For a take-over on a machine that does a lot else.
const PATIENCE: Duration = Duration::from_secs(40);
const ACTIVE: &str = "dfks_edge_subscriptions{state=\"active\"}";
const TAKEN: &str = "dfks_edge_takeovers_total{outcome=\"taken\"}";
const AWAY: &str = "dfks_edge_taken_away_total";

/// Edges, a worker and an mi bridge, with what they say of subscriptions and give up on.
struct Scene {
    edges: Vec<Product>,
    _rest: Product,
    service: Service,
    events: Wiretap,
    nats: Nats,
}

impl Scene {
    fn start(names: &[&str], more: impl Fn(Setup) -> Setup) -> Self {
        let nats = Nats::start();
        let seconds = i64::try_from(SILENT_AFTER.as_secs()).unwrap();
        let edge = |edge_id: &&str| {
            let setup = Setup::on(&nats).role("edge").with("sip.edge_id", *edge_id).with("sip.takeover_seconds", seconds);
            more(setup).start()
        };
        let edges = names.iter().map(edge).collect();
        let rest = Setup::on(&nats).role("worker").role("mi").start();
        let service = Service::on(&nats);
        let events = service.wiretap(&["dfks.event.subscription.>", "dfks.dead.>"]);
        Self { edges, _rest: rest, service, events, nats }
    }

    fn sum(&self, series: &str) -> f64 {
        self.edges.iter().map(|edge| edge.metric(series).unwrap()).sum()
    }

    /// The event that a subscription did this at this edge.
    fn event(&self, subscription: &str, edge_id: &str, what: &str, reason: Option<&str>) -> Taken {
        self.events.find_within(PATIENCE, &format!("{edge_id} {what} {reason:?}"), |taken| {
            taken.json["subscription"] == subscription
                && taken.json["edge_id"] == edge_id
                && taken.json["what"] == what
                && taken.json["reason"] == json!(reason)
        })
    }
}

/// ```text
/// phone ──SUBSCRIBE──▶ edge-a ✗ kill -9      dfks.set ──▶ job for edge-a waits
///                      edge-b: moved, active ◀── the job
/// phone ◀──NOTIFY───── edge-b                edge-a, started again: it fights over nothing; phone ──SUBSCRIBE──▶ edge-a: it is back
/// ```
#[test]
fn a_killed_edges_phones_over_udp_are_served_by_another_and_nothing_is_lost() {
    let mut scene = Scene::start(&["edge-a", "edge-b"], |setup| setup);
    let (phone, tcp) = (Phone::udp(scene.edges[0].udp()), Phone::tcp(scene.edges[0].tcp()));
    let (mut dialog, mut over_tcp) = (phone.subscribe(ALICE), tcp.subscribe(BOB));
    assert_eq!((dialog.shows(4), over_tcp.shows(4)), (ALL_OFF.map(str::to_owned).to_vec(), ALL_OFF.map(str::to_owned).to_vec()));
    let (before, id) = (dialog.last_cseq(), dialog.subscription());
    sleep(TOLD_WITHIN);
    scene.edges[0].kill();
    assert_eq!(scene.service.set(ALICE, "DoNotDisturb", 1)["watchers"], 1, "its edge is gone, its subscription is not");

    scene.event(&id, "edge-a", "terminated", Some("moved"));
    scene.event(&id, "edge-b", "active", None);
    let mut told = ALL_OFF.map(str::to_owned);
    told[0] = "DoNotDisturb on".into();
    assert_eq!(dialog.shows(4), told, "the state as it is, with what waited in the queue of the killed edge");
    let taken = dialog.last_cseq();
    assert!(taken > before, "{taken} after {before}");
    assert_eq!(scene.service.set(ALICE, "DoNotDisturb", 0)["watchers"], 1);
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb off"]);
    let edge_b = &scene.edges[1];
    assert_eq!((edge_b.metric(ACTIVE), edge_b.metric(TAKEN)), (Some(1.0), Some(1.0)), "only what is over UDP");

    // a phone over TCP has to come back by itself: what was to be told it is put aside, with the reason
    scene.service.set(BOB, "DoNotDisturb", 1);
    let dead = scene.events.find_within(PATIENCE, "a dead letter", |taken| taken.subject == "dfks.dead.notify");
    assert_eq!((dead.headers.get("Dfks-Dead-Reason").unwrap().as_str(), &dead.json["presentity"]), ("edge_gone", &json!(BOB)));

    scene.edges[0].restart();
    sleep(SILENT_AFTER);
    assert_eq!((scene.edges[0].metric(ACTIVE), scene.edges[1].metric(ACTIVE)), (Some(1.0), Some(1.0)), "only what is over TCP");
    dialog.refresh();
    assert_eq!(dialog.shows(4), ALL_OFF);
    scene.event(&id, "edge-b", "terminated", Some("moved"));
    dialog.press(set_dnd(true));
    let last = dialog.notify();
    assert_eq!(last.shows(), ["DoNotDisturb on"]);
    assert!(last.cseq() > taken, "{} after {taken}", last.cseq());
    assert_eq!((scene.edges[1].metric(ACTIVE), dialog.notify_count()), (Some(0.0), 14), "nothing came twice");
}

/// The phones of one edge are divided between the others, and each has one owner.
#[test]
fn what_a_silent_edge_held_is_divided_between_the_others() {
    let mut scene = Scene::start(&["edge-a", "edge-b", "edge-c"], |setup| setup);
    let phone = Phone::udp(scene.edges[0].udp());
    let users: Vec<String> = (0..40).map(|number| format!("sip:u{number}@127.0.0.1")).collect();
    let mut dialogs: Vec<_> = users.iter().map(|user| phone.subscribe(user)).collect();
    for dialog in &mut dialogs {
        assert_eq!(dialog.shows(4), ALL_OFF);
    }
    sleep(TOLD_WITHIN);
    scene.edges[0].kill();
    for dialog in &dialogs {
        let id = dialog.subscription();
        scene.events.find_within(PATIENCE, "its take-over", |taken| {
            taken.json["subscription"] == id.as_str() && taken.json["what"] == "active" && taken.json["edge_id"] != "edge-a"
        });
    }
    let held: Vec<f64> = scene.edges[1..].iter().map(|edge| edge.metric(ACTIVE).unwrap()).collect();
    assert!(held.iter().sum::<f64>() >= 40.0 && held.iter().all(|held| *held >= 5.0), "{held:?}");
    for (user, dialog) in users.iter().zip(&mut dialogs) {
        assert_eq!(dialog.shows(4), ALL_OFF, "by its new edge");
        assert_eq!(scene.service.set(user, "CallForwardingBusy", 1)["watchers"], 1);
        assert_eq!(dialog.notify().shows(), ["CallForwardingBusy on"]);
    }
    for dialog in &dialogs {
        assert_eq!(dialog.notify_count(), 9, "one owner each");
    }
}

/// What expires at an edge that is gone ends with its event, and over UDP with its NOTIFY.
#[test]
fn what_expires_after_its_edge_is_gone_ends_properly() {
    let lifetimes = |setup: Setup| setup.with("subscription.min_expires_seconds", 1).with("subscription.grace_seconds", 2);
    let mut scene = Scene::start(&["edge-a", "edge-b"], lifetimes);
    let (phone, tcp) = (Phone::udp(scene.edges[0].udp()), Phone::tcp(scene.edges[0].tcp()));
    let brief = Subscribe { expires: Some(15), ..Subscribe::default() };
    let (mut dialog, mut over_tcp) = (phone.dialog(ALICE), tcp.dialog(BOB));
    for dialog in [&mut dialog, &mut over_tcp] {
        assert_eq!(dialog.send(&brief).status(), Some(200));
        assert_eq!(dialog.shows(4), ALL_OFF);
    }
    sleep(TOLD_WITHIN);
    scene.edges[0].kill();
    scene.event(&dialog.subscription(), "edge-a", "terminated", Some("moved"));
    assert_eq!(dialog.shows(4), ALL_OFF);
    let last = dialog.notify_within(PATIENCE);
    assert!(last.must("subscription-state").starts_with("terminated;reason=timeout"), "{}", last.must("subscription-state"));
    scene.event(&dialog.subscription(), "edge-b", "terminated", Some("timeout"));
    scene.event(&over_tcp.subscription(), "edge-a", "terminated", Some("timeout"));
    wait_for("nobody watches", || (scene.service.set(BOB, "DoNotDisturb", 1)["watchers"] == 0).then_some(()));
    assert_eq!(scene.edges[1].metric("dfks_edge_takeovers_total{outcome=\"expired\"}"), Some(1.0));
}

/// All edges are silent at once, and none is gone.
#[test]
fn nats_away_for_long_makes_no_edge_take_from_another() {
    let mut scene = Scene::start(&["edge-a", "edge-b"], |setup| setup.with("nats.timeout_ms", 500));
    let (phone_a, phone_b) = (Phone::udp(scene.edges[0].udp()), Phone::udp(scene.edges[1].udp()));
    let (mut at_a, mut at_b) = (phone_a.subscribe(ALICE), phone_b.subscribe(ALICE));
    assert_eq!((at_a.shows(4), at_b.shows(4)), (ALL_OFF.map(str::to_owned).to_vec(), ALL_OFF.map(str::to_owned).to_vec()));
    scene.nats.kill();
    sleep(SILENT_AFTER * 3);
    scene.nats.restart();
    for edge in &scene.edges {
        wait_for("/readyz says so", || (edge.get("/readyz").0 == 200).then_some(()));
    }
    sleep(SILENT_AFTER * 3);
    assert_eq!((scene.sum(TAKEN), scene.sum(AWAY), scene.sum(ACTIVE)), (0.0, 0.0, 2.0));
    let service = Service::on(&scene.nats);
    wait_for("a change", || (service.set(ALICE, "DoNotDisturb", 1)["watchers"] == 2).then_some(()));
    assert_eq!(at_a.notify_within(PATIENCE).shows(), ["DoNotDisturb on"]);
    assert_eq!(at_b.notify_within(PATIENCE).shows(), ["DoNotDisturb on"]);
}

/// ```text
/// phone ──SUBSCRIBE──▶ edge-a ‖ SIGSTOP      edge-b takes over, tells what has changed meanwhile, and serves; edge-a goes on: it lets
///                                            go, and sends nothing
/// ```
#[test]
fn a_paused_edge_that_wakes_up_lets_go_of_what_was_taken() {
    let scene = Scene::start(&["edge-a", "edge-b"], |setup| setup);
    let phone = Phone::udp(scene.edges[0].udp());
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.shows(4), ALL_OFF);
    let id = dialog.subscription();
    sleep(TOLD_WITHIN);
    scene.edges[0].pause();
    // stored for edge-a, and on its way to it
    assert_eq!(scene.service.set(ALICE, "CallForwardingBusy", 1)["watchers"], 1);
    scene.event(&id, "edge-a", "terminated", Some("moved"));
    scene.event(&id, "edge-b", "active", None);
    let mut told = ALL_OFF.map(str::to_owned);
    told[2] = "CallForwardingBusy on".into();
    assert_eq!(dialog.shows(4), told, "by edge-b, though the job of the change is in the hands of edge-a");
    let taken = dialog.last_cseq();
    assert_eq!(scene.service.set(ALICE, "DoNotDisturb", 1)["watchers"], 1);
    let notify = dialog.notify_within(PATIENCE);
    assert_eq!(notify.shows(), ["DoNotDisturb on"]);
    assert!(notify.cseq() > taken);

    scene.edges[0].resume();
    wait_for("edge-a has let go", || (scene.edges[0].metric(ACTIVE) == Some(0.0)).then_some(()));
    assert_eq!((scene.edges[0].metric(AWAY), scene.edges[1].metric(ACTIVE)), (Some(1.0), Some(1.0)));
    assert_eq!(scene.service.set(ALICE, "DoNotDisturb", 0)["watchers"], 1);
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb off"]);
    let moved = scene.events.all().into_iter().filter(|taken| taken.json["reason"] == "moved").count();
    assert_eq!((dialog.notify_count(), moved), (10, 1), "nothing was said twice");

    // edge-a is a full member again
    let mut other = phone.subscribe(BOB);
    assert_eq!(other.shows(4), ALL_OFF);
    dialog.refresh();
    assert_eq!(dialog.shows(4)[0], "DoNotDisturb off");
}

/// ```text
/// phone ══TCP══ edge-a ‖ SIGSTOP             dfks.set ──▶ job: nobody else has its watcher, it becomes a dead letter
/// phone ◀──NOTIFY══ edge-a, goes on          the connection was never lost: it asks what has changed meanwhile
/// ```
#[test]
fn a_paused_edge_tells_the_phones_over_tcp_that_it_still_holds_what_they_missed() {
    let scene = Scene::start(&["edge-a", "edge-b"], |setup| setup);
    let phone = Phone::tcp(scene.edges[0].tcp());
    let (mut missed, mut same) = (phone.subscribe(BOB), phone.subscribe(ALICE));
    assert_eq!((missed.shows(4), same.shows(4)), (ALL_OFF.map(str::to_owned).to_vec(), ALL_OFF.map(str::to_owned).to_vec()));
    // a beat that is acknowledged, and what the edge knows of the states with it
    sleep(Duration::from_secs(1));
    scene.edges[0].pause();
    assert_eq!(scene.service.set(BOB, "DoNotDisturb", 1)["watchers"], 1);
    let dead = scene.events.find_within(PATIENCE, "a dead letter", |taken| taken.subject == "dfks.dead.notify");
    assert_eq!(dead.headers.get("Dfks-Dead-Reason").unwrap().as_str(), "edge_gone");

    scene.edges[0].resume();
    assert_eq!(missed.notify_within(PATIENCE).shows(), ["DoNotDisturb on"], "and nothing else");
    assert_eq!(scene.service.set(BOB, "DoNotDisturb", 0)["watchers"], 1);
    assert_eq!(missed.notify().shows(), ["DoNotDisturb off"]);
    assert_eq!(same.notify_count(), 1, "nothing of it has changed");
}
