//! `dfks.set`: every way to get it wrong, and what the sender is told.

use serde_json::{Value, json};

use crate::common::Nats;
use crate::harness::{Phone, Product, Service, Setup, dfks_with};
use crate::{ALICE, ALL_OFF};

const NAMES: &str = "expected DoNotDisturb, CallForwardingAlways, CallForwardingBusy, CallForwardingNoAnswer, AgentState, Hoteling";

#[test]
fn every_bad_command_is_told_what_was_expected_and_changes_nothing() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let service = Service::on(&nats);
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.notify().shows(), ALL_OFF);
    let events = service.wiretap(&["dfks.event.feature.>"]);

    let with = |field: &str, value: Value| {
        let mut command = json!({"presentity": ALICE, "feature": "CallForwardingNoAnswer", "status": 1});
        command[field] = value;
        command.to_string()
    };
    let too_many: Vec<_> = (0..9).map(|at| format!("ringCount/{at}")).collect();
    let cases = [
        (with("feature", json!("Foo")), Some("feature"), NAMES),
        (with("feature", Value::Null), Some("feature"), NAMES),
        (with("status", json!(2)), Some("status"), "invalid status '2': expected 0, 1, true, false"),
        (with("status", json!("on")), Some("status"), "invalid status 'on': expected 0, 1, true, false"),
        (with("presentity", json!("alice")), Some("presentity"), "a presentity is sip:user@host or tel:number"),
        (with("presentity", json!(7)), Some("presentity"), "expected sip:user@host or tel:number"),
        ("hello".to_owned(), None, "not JSON"),
        ("[]".to_owned(), None, "expected a JSON object"),
        (with("values", json!(["ringCount/400"])), Some("values.ringCount"), "expected a whole number from 0 to 100"),
        (with("values", json!(["ringCount"])), Some("values"), "expected \"forwardTo/…\" or \"ringCount/…\""),
        (with("values", json!({"colour": "red"})), Some("values.colour"), "expected forwardTo, ringCount"),
        (with("values", json!(too_many)), Some("values"), "expected at most 8"),
        (with("route_param", json!(1)), Some("route_param"), "expected a string"),
    ];
    let count = cases.len();
    for (command, field, expected) in cases {
        let reply = service.ask_raw("dfks.set", command.as_str());
        let error = serde_json::from_slice::<Value>(&reply.payload).unwrap()["error"].clone();
        assert_eq!((&error["code"], error["field"].as_str()), (&json!(400), field), "{command}");
        let description = error["description"].as_str().unwrap();
        assert!(description.contains(expected), "{command}: {description}");
        let headers = reply.headers.unwrap();
        assert_eq!(headers.get("Nats-Service-Error-Code").unwrap().as_str(), "400");
        assert!(headers.get("Nats-Service-Error").is_some());
    }

    let reply = service.set(ALICE, "DoNotDisturb", 1);
    assert_eq!((&reply["state"]["version"], &reply["watchers"]), (&json!(1), &json!(1)));
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb on"], "the first that the phone hears of");
    let event = events.find("the one event", |_| true);
    assert_eq!((&event.json["feature"], events.all().len()), (&json!("DoNotDisturb"), 1));
    for state in service.ask("dfks.get", &json!({"presentity": ALICE}))["features"].as_array().unwrap() {
        let is_dnd = state["feature"] == "DoNotDisturb";
        assert_eq!(state["version"], u8::from(is_dnd), "{state}");
    }
    let refused: f64 = product.get("/metrics").1.lines().filter_map(refused_commands).sum();
    assert!((refused - f64::from(u32::try_from(count).unwrap())).abs() < 0.5, "{refused} of {count}");
}

/// The value of a series of `dfks_mi_commands_total` that did not end well.
fn refused_commands(line: &str) -> Option<f64> {
    let labels = line.strip_prefix("dfks_mi_commands_total{")?;
    (!labels.contains("outcome=\"applied\"")).then(|| labels.rsplit(' ').next().unwrap().parse().unwrap())
}

#[test]
fn the_command_line_shows_a_refusal_and_ends_with_1() {
    let nats = Nats::start();
    let _product = Product::start(&nats);
    let done = dfks_with(&nats, &["set", ALICE, "Foo", "on"]);
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    assert!(done.err.contains("unknown feature 'Foo'") && done.err.contains(NAMES) && done.err.lines().count() == 1, "{}", done.err);
    let done = dfks_with(&nats, &["set", ALICE, "CallForwardingBusy", "on", "--value", "ringCount=4"]);
    assert_eq!(done.code, 1);
    assert!(done.err.contains("expected forwardTo"), "{}", done.err);
    let done = dfks_with(&nats, &["get", ALICE, "Foo"]);
    assert_eq!(done.code, 1);
    assert!(done.err.contains(NAMES), "{}", done.err);
}

#[test]
fn the_command_line_ends_with_69_when_nobody_answers() {
    let nats = Nats::start();
    for args in [&["set", ALICE, "DoNotDisturb", "on"][..], &["get", ALICE], &["watchers"]] {
        let done = dfks_with(&nats, args);
        assert_eq!((done.code, done.out.as_str()), (69, ""), "{args:?}: {}", done.err);
        assert_eq!(done.err.lines().count(), 1, "{}", done.err);
    }
}

#[test]
fn what_changes_along_with_it_is_told_to_whoever_asked() {
    let nats = Nats::start();
    let script = r#"fn dfks_set(dfks) { if dfks.feature == "CallForwardingAlways" { also("DoNotDisturb", #{status: 1}); } }"#;
    let _product = Setup::on(&nats).script(script).start();
    let set = |whose: &'static str| ["set", whose, "CallForwardingAlways", "on", "--value", "forwardTo=sip:bob@h"];
    let told = dfks_with(&nats, &set(ALICE)).ok();
    assert!(told.contains("DoNotDisturb            on  (version 1, store), along with it\n"), "{told}");
    let reply: Value = serde_json::from_str(&dfks_with(&nats, &[&set("sip:carol@h")[..], &["--json"]].concat()).ok()).unwrap();
    assert_eq!((&reply["also"][0]["feature"], &reply["also"][0]["status"]), (&json!("DoNotDisturb"), &json!(1)));
    let alone = Service::on(&nats).set(ALICE, "CallForwardingBusy", 0);
    assert!(alone["also"].is_null(), "{alone}");
}
