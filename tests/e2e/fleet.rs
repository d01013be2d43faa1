//! What concerns every process: `dfks status`, the log level at run time.

use std::time::Duration;

use serde_json::{Value, json};

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Product, Service, Setup, dfks_with, started};
use crate::mi::call;

fn status(nats: &Nats) -> (i32, Value) {
    let done = dfks_with(nats, &["status", "--json"]);
    (done.code, serde_json::from_str(&done.out).unwrap())
}

fn words(status: &Value) -> Vec<&str> {
    status["wrong"].as_array().unwrap().iter().map(|wrong| wrong["what"].as_str().unwrap()).collect()
}

fn logs_debug(product: &Product) -> usize {
    product.log_lines().iter().filter(|line| line["level"] == "DEBUG").count()
}

/// ```text
/// nobody: 69 ─▶ worker alone: 1, says what is missing ─▶ all: 0 ─▶ an edge is killed: 1, and how many phones it held
/// ```
#[test]
fn status_says_what_runs_and_what_is_wrong() {
    let nats = Nats::start();
    let nobody = dfks_with(&nats, &["status", "--timeout", "1"]);
    assert_eq!(nobody.code, 69, "{nobody:?}");
    let worker = Setup::on(&nats).role("worker").start();
    let (code, alone) = status(&nats);
    assert_eq!((code, words(&alone)), (1, vec!["no_edge", "no_mi"]));
    let others = Setup::on(&nats).role("edge").role("mi").start();
    let mut second = Setup::on(&nats).role("edge").with("sip.edge_id", "edge-b").with("sip.threads", 2).start();
    let phones = [Phone::tcp(others.tcp()), Phone::tcp(second.tcp())];
    let _dialogs: Vec<_> = phones.iter().map(|phone| phone.subscribe(ALICE)).collect();

    let fine = wait_for("all is counted", || {
        let (code, fine) = status(&nats);
        let held: u64 = fine["edges"].as_array()?.iter().filter_map(|edge| edge["subscriptions"].as_u64()).sum();
        (code == 0 && held == 2).then_some(fine)
    });
    let edges: Vec<_> = fine["edges"].as_array().unwrap().iter().map(|edge| edge["edge_id"].as_str().unwrap()).collect();
    assert_eq!((edges, fine["processes"].as_array().unwrap().len()), (vec!["edge-a", "edge-b", "edge-b.2"], 3));
    assert_eq!(fine["processes"][0]["version"], env!("CARGO_PKG_VERSION"));
    let streams: Vec<_> = fine["streams"].as_array().unwrap().iter().map(|stream| stream["stream"].as_str().unwrap()).collect();
    assert_eq!(streams, ["commands", "notify", "events", "dead", "subscriptions", "features"]);
    let screen = dfks_with(&nats, &["status"]).ok();
    assert!(screen.starts_with("all is fine") && screen.contains("edge-b.2"), "{screen}");

    second.kill();
    let silent = dfks_with(&nats, &["status"]);
    assert_eq!(silent.code, 1, "{silent:?}");
    assert!(silent.err.contains("is silent and holds 1 subscription"), "{silent:?}");
    let watch = started(&["status", "--watch", "--nats", &nats.url()]);
    watch.until("something is wrong");
    watch.until("something is wrong");
    assert_eq!(watch.stop().0, 0);
    drop(worker);
}

#[test]
fn a_breaker_that_is_open_is_named_with_its_tenant_and_feature() {
    let nats = Nats::start();
    let _product = Setup::on(&nats).with("routes.responder_timeout_ms", 50).start();
    let service = Service::on(&nats);
    service.respond("dfks.responder.get.127_0_0_1.DoNotDisturb", |_| Some(json!({"error": {"code": 500, "description": "out of order"}})));
    let open = wait_for("it opens", || {
        service.ask("dfks.get", &json!({"presentity": ALICE, "features": ["DoNotDisturb"]}));
        let (_, status) = status(&nats);
        words(&status).contains(&"breaker_open").then_some(status)
    });
    let breaker = &open["breakers"][0];
    assert_eq!((&breaker["domain"], &breaker["feature"], &breaker["kind"]), (&json!("127_0_0_1"), &json!("DoNotDisturb"), &json!("get")));
}

/// ```text
/// dfks log debug --role worker --for 2s ──▶ the worker's process alone ──▶ DEBUG lines ──▶ none after 2 s
/// ```
#[test]
fn the_log_level_is_set_for_a_while_for_a_role_and_the_event_says_by_whom() {
    let nats = Nats::start();
    let worker = Setup::on(&nats).role("worker").start();
    let others = Setup::on(&nats).role("edge").role("mi").with("mi.http", "127.0.0.1:0").start();
    let service = Service::on(&nats);
    let events = service.wiretap(&["dfks.event.hand.>"]);
    let ask = || service.ask("dfks.get", &json!({"presentity": ALICE}));
    ask();
    assert_eq!((logs_debug(&worker), logs_debug(&others)), (0, 0));

    let set = dfks_with(&nats, &["log", "debug", "--role", "worker", "--for", "3s", "--actor", "helpdesk"]).ok();
    assert!(set.starts_with("worker on ") && set.contains("logs at debug until ") && set.lines().count() == 1, "{set}");
    let event = events.find("who did it", |event| event.json["what"] == "log_level");
    assert_eq!(
        (&event.json["actor"], &event.json["level"], &event.json["for_seconds"], event.subject.as_str()),
        (&json!("helpdesk"), &json!("debug"), &json!(3), "dfks.event.hand.unknown")
    );
    wait_for("the worker says more", || {
        ask();
        (logs_debug(&worker) > 0).then_some(())
    });
    assert_eq!(logs_debug(&others), 0);
    let levels = || -> Vec<String> {
        let shown = dfks_with(&nats, &["log", "--json"]).ok();
        shown.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["log_level"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(levels(), ["info", "debug"]);
    wait_for("it goes back", || (levels() == ["info", "info"]).then_some(()));
    std::thread::sleep(Duration::from_millis(100));
    let before = logs_debug(&worker);
    ask();
    assert_eq!(logs_debug(&worker), before);

    for (args, code, says) in [
        (&["log", "loud"][..], 1, "invalid level 'loud': expected error, warn, info"),
        (&["log", "debug", "--for", "soon"], 64, "expected a span of time"),
        (&["log", "debug", "--for", "8d"], 1, "for_seconds: expected 1 to 604800"),
        (&["log", "--for", "1m"], 64, "required"),
    ] {
        let refused = dfks_with(&nats, args);
        assert!(refused.code == code && refused.err.contains(says), "{args:?}: {refused:?}");
    }
    assert_eq!(levels(), ["info", "info"]);

    // as OpenSIPS has it
    let request = |params: Value| call(others.mi(), &json!({"jsonrpc": "2.0", "method": "log_level", "params": params, "id": 1}));
    let shown = request(json!([]));
    let processes = shown["result"]["Processes"].as_array().unwrap();
    assert_eq!((processes.len(), &processes[0]["Log level"]), (2, &json!(3)));
    assert_eq!(request(json!([4]))["result"], json!({"New global log level": 4}));
    assert_eq!(levels(), ["debug", "debug"]);
    let pid = processes.iter().find(|process| process["Type"] == "worker").unwrap()["PID"].clone();
    assert_eq!(request(json!([1, pid]))["result"], json!({"New log level": 1}));
    assert_eq!(levels(), ["debug", "warn"]);
    assert_eq!(request(json!([1, 1]))["error"]["code"], 404);
    assert_eq!(request(json!([9]))["error"]["code"], 400);
    dfks_with(&nats, &["log", "configured"]).ok();
    assert_eq!(levels(), ["info", "info"]);
}

#[test]
fn nobody_to_log_at_another_level_is_said() {
    let nats = Nats::start();
    let nobody = dfks_with(&nats, &["log", "debug", "--timeout", "1"]);
    assert_eq!(nobody.code, 69, "{nobody:?}");
    let _worker = Setup::on(&nats).role("worker").start();
    let nobody = dfks_with(&nats, &["log", "debug", "--role", "mi"]);
    assert_eq!((nobody.code, nobody.err.as_str()), (69, "dfks: no process with the role mi answered on dfks.log\n"));
}

/// A phone, a command with a name in it, a responder that talks, a dead letter: what a maintainer gets has none of it.
#[test]
fn a_snapshot_has_what_a_maintainer_needs_and_no_name_or_secret() {
    let nats = Nats::with_config("");
    let product = Setup::on(&nats).with("mi.http", "127.0.0.1:0").with("routes.responder_timeout_ms", 100).start();
    let service = Service::on(&nats);
    let (user, target) = ("sip:henrietta@127.0.0.1", "wilhelmina");
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(user);
    dialog.shows(4);
    let command = json!({"presentity": user, "feature": "CallForwardingBusy", "status": 1, "values": {"forwardTo": target}, "actor": "mr. Bartholomew"});
    service.ask("dfks.set", &command);
    dialog.until(&format!("CallForwardingBusy on forwardTo={target}"));
    let bad = json!({"presentity": user, "feature": "Foo", "status": 1, "password": "hunter2", "values": {"nonce": "0cafe0"}, "route_param": "t0ken"});
    service.store("dfks.command.set", &bad, "order-henrietta");
    service.respond("dfks.responder.get.127_0_0_1.DoNotDisturb", |_| Some(json!({"error": "henrietta has the password hunter2"})));
    service.ask("dfks.get", &json!({"presentity": user}));
    wait_for("the dead letter", || dfks_with(&nats, &["dead", "list"]).out.contains("invalid").then_some(()));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("snapshot.json");
    let told = dfks_with(&nats, &["snapshot", "--out", file.to_str().unwrap()]);
    assert!(told.code == 0 && told.err.contains("read it before you give it away"), "{told:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    for secret in ["henrietta", target, "Bartholomew", "hunter2", "0cafe0", "t0ken"] {
        assert!(!text.to_lowercase().contains(&secret.to_lowercase()), "{secret} is in the snapshot");
    }
    let snapshot: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&snapshot["status"]["processes"][0]["version"], &snapshot["dead"][0]["reason"]),
        (&json!(env!("CARGO_PKG_VERSION")), &json!("invalid"))
    );
    let process = &snapshot["processes"][0];
    assert!(process["config"].as_str().unwrap().contains("responder_timeout_ms = 100"), "{process}");
    assert!(process["metrics"].as_str().unwrap().contains("dfks_edge_subscriptions{state=\"active\"} 1"), "{process}");
    let events = snapshot["events"].as_array().unwrap();
    let of = |kind: &str| events.iter().find(|event| event["type"] == format!("io.dfks.event.v1.{kind}")).unwrap();
    assert_eq!(of("feature")["presentity"], of("subscription")["presentity"], "the same user reads the same");
    assert!(of("feature")["presentity"].as_str().unwrap().ends_with("@127.0.0.1"));

    let again = dfks_with(&nats, &["snapshot", "--out", file.to_str().unwrap()]);
    assert_eq!(again.code, 1, "a file that is there stays: {again:?}");
}
