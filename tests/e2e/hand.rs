//! What somebody does by hand: the full state told again, a subscription ended.

use serde_json::{Value, json};

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Dialog, Phone, Service, Setup, Subscribe, Taken, dfks_with};
use crate::mi::call;

/// The features of a full state, in the order of the table.
const FULL: [&str; 4] = ["DoNotDisturb off", "CallForwardingAlways off", "CallForwardingBusy off", "CallForwardingNoAnswer off"];

fn of(what: &'static str, dialog: &Dialog<'_>) -> impl Fn(&Taken) -> bool {
    let id = dialog.subscription();
    move |event| event.json["what"] == what && event.json["subscription"] == id.as_str()
}

/// ```text
/// dfks resync, dfks.resync, dfks_resync, refresh_watchers ──▶ mi ──▶ edge-a, edge-b ──▶ NOTIFY with the full state, event: who
/// ```
#[test]
fn phones_of_all_edges_are_told_the_full_state_again_and_the_event_says_who_asked() {
    let nats = Nats::start();
    let product = Setup::on(&nats).with("mi.http", "127.0.0.1:0").start();
    let other = Setup::on(&nats).role("edge").with("sip.edge_id", "edge-b").start();
    let service = Service::on(&nats);
    let events = service.wiretap(&["dfks.event.>"]);
    let (phone, far) = (Phone::tcp(product.tcp()), Phone::udp(other.udp()));
    let (mut near, mut away) = (phone.subscribe(ALICE), far.subscribe(ALICE));
    let mut bystander = phone.subscribe("sip:bob@other.example");
    assert_eq!(
        (near.shows(4), away.shows(4), bystander.shows(4).len()),
        (FULL.map(str::to_owned).into(), FULL.map(str::to_owned).into(), 4)
    );

    let told = dfks_with(&nats, &["resync", ALICE, "--actor", "helpdesk, ticket 4711"]).ok();
    assert_eq!(told, "2 phones are told the full state again\n");
    assert_eq!((near.shows(4), away.shows(4)), (FULL.map(str::to_owned).into(), FULL.map(str::to_owned).into()));
    for dialog in [&near, &away] {
        let event = events.find("who asked", of("resynced", dialog));
        assert_eq!((&event.json["actor"], &event.json["reason"]), (&json!("helpdesk, ticket 4711"), &Value::Null));
        let cause = event.json["cause"].clone();
        events.find("its NOTIFY", |event| event.json["outcome"] == "delivered" && event.json["cause"] == cause);
    }

    let one = json!({"presentity": ALICE, "subscription": near.subscription()});
    assert_eq!(service.ask("dfks.resync", &one), json!({"type": "io.dfks.api.v1.resync_response", "phones": 1}));
    assert_eq!(near.shows(4), FULL);
    let request = |method: &str, params: Value| json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 1});
    assert_eq!(call(product.mi(), &request("dfks_resync", json!([ALICE])))["result"], json!({"phones": 2}));
    assert_eq!((near.shows(4).len(), away.shows(4).len()), (4, 4));
    let refreshed = call(product.mi(), &request("refresh_watchers", json!([ALICE, "as-feature-event", 1])));
    assert_eq!(refreshed["result"], json!({"phones": 2}));
    assert_eq!((near.shows(4).len(), away.shows(4).len()), (4, 4));
    assert_eq!(call(product.mi(), &request("refresh_watchers", json!([ALICE, "x-broadworks-hoteling", 1])))["error"]["code"], 404);
    events.find("mi and its peer", |event| event.json["actor"].as_str().is_some_and(|actor| actor.starts_with("mi 127.0.0.1:")));

    assert_eq!(
        dfks_with(&nats, &["resync", "--domain", "127.0.0.1", "--json"]).ok(),
        "{\"type\":\"io.dfks.api.v1.resync_response\",\"phones\":2}\n"
    );
    assert_eq!((near.shows(4).len(), away.shows(4).len()), (4, 4));
    assert_eq!(bystander.notify_count(), 1, "nobody asked for those of another domain");

    for (args, says) in [
        (&["resync", "sip:nobody@127.0.0.1"][..], "no phone has a live subscription to 'sip:nobody@127.0.0.1'"),
        (&["resync", "--domain", "nowhere.example"], "no phone of the domain 'nowhere_example' has a live subscription"),
        (
            &["resync", ALICE, "--subscription", "0c7d4bd54b5f90fb3d3b5eb9"],
            "no live subscription '0c7d4bd54b5f90fb3d3b5eb9' of that presentity",
        ),
        (&["resync", "alice"], "Invalid presentity 'alice': a presentity is sip:user@host or tel:number"),
    ] {
        let refused = dfks_with(&nats, args);
        assert_eq!((refused.code, refused.err), (1, format!("dfks: {says}\n")), "{args:?}");
    }
    assert_eq!(service.ask("dfks.resync", &json!({"presentity": ALICE, "actor": "x".repeat(129)}))["error"]["code"], 400);
    assert_eq!(service.ask("dfks.resync", &json!({}))["error"]["field"], "presentity");
    let state = call(product.mi(), &request("dfks_get_feature", json!([ALICE, "DoNotDisturb"])));
    assert_eq!((&state["result"]["presentity"], &state["result"]["features"][0]["status"]), (&json!(ALICE), &json!(0)));
    assert_eq!(call(product.mi(), &request("dfks_get_feature", json!([ALICE])))["result"]["features"].as_array().unwrap().len(), 6);
}

/// ```text
/// dfks end ──▶ mi ──▶ edge ──▶ NOTIFY terminated;reason=deactivated, record gone, event: who      phone ──SUBSCRIBE──▶ 481, anew 200
/// ```
#[test]
fn a_subscription_that_is_ended_is_over_for_its_phone_and_everybody_else() {
    let nats = Nats::start();
    let mut product = Setup::on(&nats).with("mi.http", "127.0.0.1:0").start();
    let service = Service::on(&nats);
    let events = service.wiretap(&["dfks.event.subscription.>"]);
    let phone = Phone::udp(product.udp());
    let mut dialogs: Vec<_> = (0..3).map(|_| phone.subscribe(ALICE)).collect();
    for dialog in &mut dialogs {
        dialog.shows(4);
    }
    let [by_command, over_bus, over_mi] = dialogs.as_mut_slice() else { panic!("three") };

    let id = by_command.subscription();
    let ended = dfks_with(&nats, &["end", &id, "--actor", "helpdesk"]).ok();
    assert_eq!(ended, format!("{id} of {ALICE} is over: its phone is told deactivated\n"));
    assert_eq!(by_command.notify().must("subscription-state"), "terminated;reason=deactivated");
    let event = events.find("who ended it", of("terminated", by_command)).json;
    assert_eq!((&event["reason"], &event["actor"]), (&json!("deactivated"), &json!("helpdesk")));
    assert_eq!(by_command.send(&Subscribe::default()).status(), Some(481));

    let request = json!({"subscription": over_bus.subscription(), "reason": "rejected"});
    let ended = service.ask("dfks.end", &request);
    assert_eq!((&ended["subscription"], &ended["presentity"]), (&json!(over_bus.subscription()), &json!(ALICE)));
    assert_eq!(over_bus.notify().must("subscription-state"), "terminated;reason=rejected");
    let event = events.find("its event", of("terminated", over_bus)).json;
    assert_eq!((&event["reason"], &event["actor"]), (&json!("rejected"), &Value::Null));

    let request = json!({"jsonrpc": "2.0", "method": "dfks_end", "params": [over_mi.subscription()], "id": 1});
    assert_eq!(call(product.mi(), &request)["result"]["presentity"], ALICE);
    assert_eq!(over_mi.notify().must("subscription-state"), "terminated;reason=deactivated");
    wait_for("nobody watches any more", || (product.metric("dfks_edge_subscriptions{state=\"active\"}") == Some(0.0)).then_some(()));

    assert_eq!(call(product.mi(), &request)["error"]["code"], 404);
    for (id, code) in [(over_bus.subscription().as_str(), 404), ("nonsense", 404)] {
        assert_eq!(service.ask("dfks.end", &json!({"subscription": id}))["error"]["code"], code, "{id}");
    }
    assert_eq!(service.ask("dfks.end", &json!({"subscription": id, "reason": "bored"}))["error"]["code"], 400);
    assert_eq!(dfks_with(&nats, &["end", &id]).code, 1);
    product.kill();
    product.restart();
    assert_eq!(product.metric("dfks_edge_subscriptions{state=\"active\"}"), Some(0.0), "a crash does not bring them back");
    let again = Phone::udp(product.udp());
    again.subscribe(ALICE).shows(4);
}

/// One edge is stopped: what it holds cannot be told, and that is said; the phones of the others are told.
#[test]
fn an_edge_that_does_not_answer_is_named() {
    let nats = Nats::start();
    let product = Setup::on(&nats).start();
    let mut other = Setup::on(&nats).role("edge").with("sip.edge_id", "edge-b").start();
    let (phone, far) = (Phone::tcp(product.tcp()), Phone::tcp(other.tcp()));
    let (mut near, mut away) = (phone.subscribe(ALICE), far.subscribe(ALICE));
    near.shows(4);
    away.shows(4);
    let id = away.subscription();
    other.kill();
    let refused = dfks_with(&nats, &["resync", ALICE, "--timeout", "10"]);
    let says = "dfks: the edge edge-b did not do it: nobody listens on the subject; 1 phones of other edges are told\n";
    assert_eq!((refused.code, refused.err.as_str()), (1, says));
    assert_eq!(near.shows(4), FULL);
    let refused = dfks_with(&nats, &["end", &id]);
    assert_eq!((refused.code, refused.err.as_str()), (1, "dfks: the edge edge-b did not do it: nobody listens on the subject\n"));
    let alone = Nats::start();
    let _edge = Setup::on(&alone).role("edge").start();
    assert_eq!(dfks_with(&alone, &["resync", ALICE]).code, 69);
}
