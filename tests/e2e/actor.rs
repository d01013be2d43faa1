//! Who asked for a change, and for what: in its event, whichever way it came.

use serde_json::{Value, json};

use crate::ALICE;
use crate::common::Nats;
use crate::harness::{Phone, Service, Setup, Taken, set_forwarding};

const FEATURE: &str = "CallForwardingBusy";

fn of(actor: &str) -> impl Fn(&Taken) -> bool {
    move |event| event.json["actor"].as_str().is_some_and(|given| given.starts_with(actor))
}

/// ```text
/// phone, dfks.set, dfks.command.set, POST /mi ──▶ script: another target, `also` ──▶ dfks.event.feature: who, asked, new
/// ```
#[test]
fn an_event_says_who_asked_what_they_asked_for_and_what_became_of_it() {
    let nats = Nats::start();
    let script = r#"fn dfks_set(dfks) {
        if dfks.feature != "CallForwardingBusy" { return; }
        if dfks.param == "deny" { deny("not now"); }
        dfks.value.forwardTo = "sip:desk@10.0.0.11";
        also("DoNotDisturb", #{status: if dfks.status == 1 { 0 } else { 1 }});
    }"#;
    let product = Setup::on(&nats).with("mi.http", "127.0.0.1:0").script(script).start();
    let service = Service::on(&nats);
    let events = service.wiretap(&["dfks.event.feature.>"]);
    let asked = |status: u8, target: &str| json!({"status": status, "values": {"forwardTo": target}});
    let new = |event: &Value| (event["new"]["status"].clone(), event["new"]["values"]["forwardTo"].clone());

    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    dialog.press(set_forwarding("forwardBusy", true, "<forwardDN>sip:bob@10.0.0.11</forwardDN>"));
    let event = events.find("the press", |event| event.json["origin"] == "phone" && event.json["feature"] == FEATURE).json;
    assert_eq!((&event["actor"], &event["asked"]), (&json!(ALICE), &asked(1, "sip:bob@10.0.0.11")), "{event}");
    assert_eq!(new(&event), (json!(1), json!("sip:desk@10.0.0.11")));

    let mut command = json!({"presentity": ALICE, "feature": FEATURE, "status": 0, "values": {"forwardTo": "sip:eve@10.0.0.11"}});
    command["actor"] = json!("crm, order 4711");
    assert!(service.ask("dfks.set", &command)["error"].is_null());
    let event = events.find("the command", |event| of("crm, order 4711")(event) && event.json["feature"] == FEATURE).json;
    assert_eq!((&event["origin"], &event["asked"]), (&json!("mi"), &asked(0, "sip:eve@10.0.0.11")), "{event}");
    let also = events.find("what came along", |event| of("crm, order 4711")(event) && event.json["feature"] == "DoNotDisturb").json;
    assert_eq!((&also["asked"], &also["new"]["status"]), (&Value::Null, &json!(1)), "nobody asked for it: {also}");

    command["actor"] = json!("nightly batch");
    service.store("dfks.command.set", &command, "batch-1");
    let event = events.find("the durable command", |event| of("nightly batch")(event) && event.json["feature"] == FEATURE).json;
    assert_eq!(event["asked"], asked(0, "sip:eve@10.0.0.11"));

    command["actor"] = json!("fraud desk");
    command["route_param"] = json!("deny");
    assert_eq!(service.ask("dfks.set", &command)["error"]["code"], 403);
    let event = events.find("the denial", of("fraud desk")).json;
    assert_eq!((&event["outcome"], &event["asked"]), (&json!("refused"), &asked(0, "sip:eve@10.0.0.11")));

    let request = json!({"jsonrpc": "2.0", "method": "dfks_set_feature", "params": [ALICE, FEATURE, 1], "id": 1});
    assert_eq!(crate::mi::call(product.mi(), &request)["result"], "OK");
    let event = events.find("the command over HTTP", of("mi 127.0.0.1:")).json;
    assert_eq!((&event["origin"], &event["asked"]), (&json!("mi"), &json!({"status": 1, "values": {}})));

    command["actor"] = json!("x".repeat(129));
    let error = service.ask("dfks.set", &command)["error"].clone();
    assert_eq!((&error["code"], &error["field"]), (&json!(400), &json!("actor")), "{error}");
}
