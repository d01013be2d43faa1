//! `dfks responders`: who answers for what, as an operator asks it.

use serde_json::{Value, json};

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Product, Service, dfks_with};

const GET: &str = "dfks.responder.get.127_0_0_1.DoNotDisturb";
const SET: &str = "dfks.responder.set.127_0_0_1.DoNotDisturb";
const WRONG: &str = "dfks.responder.get.127_0_0_1.CallForwardingBusy";

fn listed(nats: &Nats, subject: &str) -> Option<Value> {
    let lines = dfks_with(nats, &["responders", "--json"]).ok();
    lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).find(|line| line["subject"] == subject)
}

#[test]
fn who_answers_is_listed_tried_and_forgotten() {
    let nats = Nats::start();
    let service = Service::on(&nats);
    service.respond(GET, |_| Some(json!({"status": 1})));
    service.respond(SET, |_| Some(json!({"error": {"code": 500, "description": "database is down"}})));
    service.respond(WRONG, |_| Some(json!({"status": 7})));
    let endpoint = json!({ "name": "dnd", "subject": "dfks.responder.*.127_0_0_1.DoNotDisturb" });
    let info =
        json!({ "name": "billing", "id": "1", "version": "1.4.0", "type": "io.nats.micro.v1.info_response", "endpoints": [endpoint] });
    service.respond("$SRV.INFO", move |_| Some(info.clone()));
    let _product = Product::start(&nats);
    wait_for("the responder is heard", || (service.state(ALICE, "DoNotDisturb")["source"] == "responder").then_some(()));
    assert_eq!(service.set(ALICE, "DoNotDisturb", 1)["error"]["code"], 503);

    let line = listed(&nats, GET).unwrap();
    assert_eq!((&line["kind"], &line["domain"], &line["feature"]), (&json!("get"), &json!("127_0_0_1"), &json!("DoNotDisturb")));
    assert_eq!((&line["listening"], &line["services"], &line["breaker"]), (&json!(true), &json!(["billing 1.4.0"]), &json!("closed")));
    assert!(line["last_heard"].is_string() && line["latency_ms"].is_u64() && line["last_error"].is_null(), "{line}");
    let line = listed(&nats, SET).unwrap();
    assert!(line["last_error"].as_str().unwrap().contains("database is down"), "{line}");
    let text = dfks_with(&nats, &["responders"]).ok();
    assert!(text.contains("billing 1.4.0, heard ") && text.contains("last bad reply") && text.contains("database is down"), "{text}");

    let tried = |args: &[&str]| dfks_with(&nats, &[&["responders", "test"], args].concat());
    let usable = tried(&[GET]).ok();
    assert!(usable.starts_with("usable, after ") && usable.contains("DoNotDisturb            on"), "{usable}");
    for (args, code, text) in [
        (&[WRONG][..], 1, "not usable"),
        (&[SET], 64, "cannot know that it is a test"),
        (&[SET, "--set", "on"], 1, "database is down"),
        (&[GET, "--set", "on"], 64, "--set goes with"),
        (&["dfks.responder.get.b_example.DoNotDisturb"], 69, "nobody listens"),
        (&["dfks.responder.get.*.DoNotDisturb"], 64, "expected dfks.responder.get."),
        (&[GET, "--presentity", "sip:bob@b.example"], 64, "127_0_0_1"),
        (&["dfks.responder.get.127_0_0_1.Foo"], 1, "unknown feature"),
    ] {
        let done = tried(args);
        assert_eq!(done.code, code, "{args:?}: {}{}", done.out, done.err);
        assert!(done.err.contains(text), "{args:?}: {}", done.err);
    }
    let line: Value = serde_json::from_str(&tried(&[GET, "--json"]).ok()).unwrap();
    assert_eq!((&line["usable"], &line["outcome"], &line["presentity"]), (&json!(true), &json!("ok"), &json!("sip:dfks-test@127.0.0.1")));

    let forget = |subject: &str| dfks_with(&nats, &["responders", "forget", subject]);
    assert!(forget(SET).ok().contains("is forgotten"));
    wait_for("it is forgotten", || listed(&nats, SET).is_none_or(|line| line["last_heard"].is_null()).then_some(()));
    assert_eq!(forget(SET).code, 1, "nobody was heard there");
    assert_eq!(forget("a b").code, 1);
    assert!(forget("127.0.0.1").ok().contains(GET));
}
