//! What was given up on: listed, shown, published again, taken away, by `dfks dead` and over MI.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Service, Setup, dfks_with};
use crate::mi::call;

fn letters(nats: &Nats, options: &[&str]) -> Vec<Value> {
    let listed = dfks_with(nats, &[&["dead", "list", "--json"], options].concat()).ok();
    listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits for so many letters.
fn await_letters(nats: &Nats, count: usize) -> Vec<Value> {
    wait_for("the dead letters", || Some(letters(nats, &[])).filter(|letters| letters.len() == count))
}

/// ```text
/// dfks.command.set ──▶ responder: no ──▶ DFKS_DEAD ── dfks dead replay ──▶ DFKS_COMMANDS ──▶ responder: yes ──▶ phone, once
/// ```
#[test]
fn a_command_that_was_denied_is_carried_out_once_when_it_is_published_again() {
    let nats = Nats::start();
    let product = Setup::on(&nats).with("mi.http", "127.0.0.1:0").start();
    let service = Service::on(&nats);
    let events = service.wiretap(&["dfks.event.hand.>"]);
    let may = Arc::new(AtomicBool::new(false));
    let allowed = Arc::clone(&may);
    service.respond("dfks.responder.set.127_0_0_1.DoNotDisturb", move |_| {
        let denied = json!({"error": {"code": 403, "description": "not on this tariff"}});
        Some(if allowed.load(Ordering::Relaxed) { json!({}) } else { denied })
    });
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.shows(4);
    assert_eq!(dfks_with(&nats, &["dead", "list"]).ok(), "");
    let command = json!({"presentity": ALICE, "feature": "DoNotDisturb", "status": 1});
    service.store("dfks.command.set", &command, "order-1");

    let letter = await_letters(&nats, 1).remove(0);
    assert_eq!(
        (&letter["subject"], &letter["reason"], &letter["detail"], &letter["msg_id"], &letter["payload"]),
        (&json!("dfks.command.set"), &json!("denied"), &json!("not on this tariff"), &json!("order-1"), &command)
    );
    let first = letter["seq"].to_string();
    let page = dfks_with(&nats, &["dead", "show", &first]).ok();
    assert!(page.contains("msg id       order-1\n") && page.contains("\"feature\": \"DoNotDisturb\""), "{page}");

    // still denied: it comes back as another letter, under the sender's id
    assert_eq!(dfks_with(&nats, &["dead", "replay", &first]).ok(), format!("{first}: published again on dfks.command.set\n"));
    let again = wait_for("it comes back", || letters(&nats, &[]).into_iter().find(|letter| letter["seq"] != json!(1)));
    assert_eq!((&again["msg_id"], &again["reason"], letters(&nats, &[]).len()), (&json!("order-1"), &json!("denied"), 1));

    may.store(true, Ordering::Relaxed);
    let second = again["seq"].to_string();
    let done = dfks_with(&nats, &["dead", "replay", &second, "--actor", "helpdesk, ticket 4711", "--json"]).ok();
    assert_eq!(serde_json::from_str::<Value>(&done).unwrap()["what"], "replayed", "{done}");
    dialog.until("DoNotDisturb on");
    assert_eq!(service.state(ALICE, "DoNotDisturb")["version"], 1);
    assert_eq!(letters(&nats, &[]), Vec::<Value>::new());
    let event = events.find("who did it", |event| event.json["actor"] == "helpdesk, ticket 4711");
    assert_eq!(
        (&event.json["what"], &event.json["msg_id"], &event.json["presentity"], &event.json["cause"]),
        (&json!("dead_replayed"), &json!("order-1"), &json!(ALICE), &again["cause"])
    );
    events.find("the user of this system, where nobody is named", |event| {
        event.json["actor"].as_str().is_some_and(|who| who.starts_with("cli"))
    });

    // the sender's id keeps its meaning: what was carried out under it is not again, by whatever way it comes
    let off = json!({"presentity": ALICE, "feature": "DoNotDisturb", "status": 0});
    let letter = [("Dfks-Dead-Subject", "dfks.command.set"), ("Dfks-Dead-Reason", "max_deliver"), ("Dfks-Msg-Id", "order-1")];
    service.store_with("dfks.dead.command", &off, &letter);
    let twin = await_letters(&nats, 1).remove(0)["seq"].to_string();
    dfks_with(&nats, &["dead", "replay", &twin]).ok();
    service.store("dfks.command.set", &json!({"presentity": ALICE, "feature": "CallForwardingBusy", "status": 1}), "order-2");
    dialog.until("CallForwardingBusy on");
    assert_eq!(service.state(ALICE, "DoNotDisturb")["version"], 1);
    assert_eq!(dfks_with(&nats, &["dead", "replay", &second]).err, format!("dfks: there is no dead letter {second}\n"));
}

/// A NOTIFY job that is too old by now is told all the same, where somebody wants it told.
#[test]
fn a_notify_job_that_is_too_old_is_told_when_it_is_published_again() {
    let nats = Nats::start();
    let product = Setup::on(&nats).start();
    let service = Service::on(&nats);
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.shows(4);
    let state = json!({"feature": "DoNotDisturb", "assigned": true, "status": 1, "values": {}, "version": 9, "source": "store"});
    let job = json!({"type": "io.dfks.api.v1.notify_job", "id": "j1", "presentity": ALICE, "states": [state], "assigned": true, "skip": null,
        "not_after": "2026-01-01T00:00:00Z", "cause": "c1"});
    service.store("dfks.notify.edge-a", &job, "j1");
    let letter = await_letters(&nats, 1).remove(0);
    assert_eq!(
        (&letter["reason"], &letter["subject"], &letter["stage"]),
        (&json!("expired"), &json!("dfks.notify.edge-a"), &json!("notify"))
    );
    dfks_with(&nats, &["dead", "replay", &letter["seq"].to_string()]).ok();
    assert_eq!(dialog.until("DoNotDisturb on").shows(), ["DoNotDisturb on"]);
    assert_eq!(letters(&nats, &[]), Vec::<Value>::new());
}

#[test]
fn letters_are_chosen_and_taken_away_and_only_what_came_from_our_queues_is_published_again() {
    let nats = Nats::start();
    let product = Setup::on(&nats).role("mi").role("worker").with("mi.http", "127.0.0.1:0").start();
    let service = Service::on(&nats);
    let events = service.wiretap(&["dfks.event.hand.>"]);
    for number in 0..5 {
        let presentity = format!("sip:user{number}@{}", if number < 2 { "one.example" } else { "two.example" });
        service.store("dfks.command.set", &json!({"presentity": presentity, "feature": "Foo", "status": 1}), &format!("bad-{number}"));
    }
    let all = await_letters(&nats, 5);
    let seqs: Vec<_> = all.iter().map(|letter| letter["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted(), "the newest last: {seqs:?}");
    let chosen = |options: &[&str]| letters(&nats, options).len();
    assert_eq!(
        [
            chosen(&["--limit", "2"]),
            chosen(&["--domain", "two.example"]),
            chosen(&["--presentity", "sips:user0@ONE.example"]),
            chosen(&["--reason", "denied"])
        ],
        [2, 3, 1, 0]
    );
    let line = dfks_with(&nats, &["dead", "list", "--limit", "1"]);
    assert!(line.out.contains("invalid  sip:user4@two.example Foo on dfks.command.set: unknown feature 'Foo'"), "{line:?}");
    assert!(line.err.contains("there may be older ones"), "{line:?}");

    for (args, code, says) in [
        (&["dead", "drop", "--all"][..], 64, "--all would take away 5 dead letters: say --yes"),
        (&["dead", "drop", "1", "--reason", "invalid"], 64, "--reason, --presentity and --domain go with --all"),
        (
            &["dead", "list", "--presentity", "alice"],
            64,
            "--presentity: Invalid presentity 'alice': a presentity is sip:user@host or tel:number",
        ),
        (&["dead", "show", "4711"], 1, "there is no dead letter 4711"),
        (&["dead", "drop", "4711"], 1, "there is no dead letter 4711"),
    ] {
        let refused = dfks_with(&nats, args);
        assert_eq!((refused.code, refused.err), (code, format!("dfks: {says}\n")), "{args:?}");
    }
    let dropped = dfks_with(&nats, &["dead", "drop", "--all", "--yes", "--domain", "one.example"]).ok();
    assert!(dropped.ends_with("2 dead letters taken away\n"), "{dropped}");
    assert_eq!(letters(&nats, &[]).len(), 3);

    // over MI
    let request = |method: &str, params: Value| call(product.mi(), &json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 1}));
    let listed = request("dfks_dead_list", json!([1]));
    assert_eq!((&listed["result"]["letters"][0]["msg_id"], &listed["result"]["more"]), (&json!("bad-4"), &json!(true)), "{listed}");
    let last = listed["result"]["letters"][0]["seq"].clone();
    assert_eq!(request("dfks_dead_drop", json!([last]))["result"], json!({"seq": last, "subject": "dfks.command.set"}));
    assert_eq!(request("dfks_dead_drop", json!([last]))["error"]["code"], 404);
    events.find("mi and its peer", |event| {
        event.json["what"] == "dead_dropped" && event.json["actor"].as_str().is_some_and(|who| who.starts_with("mi "))
    });
    let third = &letters(&nats, &[])[0]["seq"];
    assert_eq!(request("dfks_dead_replay", json!([third]))["result"]["seq"], *third);

    // whoever may write dead letters does not have the operator publish elsewhere
    service.store_with("dfks.dead.command", &json!({}), &[("Dfks-Dead-Subject", "$JS.API.STREAM.DELETE.DFKS_EVENTS")]);
    let foreign = wait_for("the letter", || letters(&nats, &[]).into_iter().find(|letter| letter["subject"] != "dfks.command.set"));
    let refused = dfks_with(&nats, &["dead", "replay", &foreign["seq"].to_string(), "--json"]);
    let error: Value = serde_json::from_str(&refused.err).unwrap();
    assert_eq!((refused.code, &error["error"]["code"]), (1, &json!(409)), "{refused:?}");
}
