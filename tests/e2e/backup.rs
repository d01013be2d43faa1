//! What is set, listed, taken to another NATS and stored again there.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Product, Service, dfks_with};
use crate::{ALICE, ALL_OFF};

const BOB: &str = "sip:bob@example.com";

fn put(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// ```text
/// dfks set --file ──▶ NATS A ──dfks export──▶ file ──dfks import──▶ NATS B (new) ──▶ NOTIFY ──▶ phone
/// ```
#[test]
fn an_export_restores_a_deployment_that_lost_its_store() {
    let (folder, nats) = (TempDir::new().unwrap(), Nats::start());
    let _product = Product::start(&nats);
    let commands = [
        json!({"presentity": ALICE, "feature": "DoNotDisturb", "status": 1}),
        json!({"presentity": ALICE, "feature": "DoNotDisturb", "status": 0}),
        json!({"presentity": ALICE, "feature": "DoNotDisturb", "status": 1}),
        json!({"presentity": BOB, "feature": "CallForwardingNoAnswer", "status": 1, "values": {"ringCount": "4", "forwardTo": "sip:c@h"}}),
        json!({"presentity": BOB, "feature": "AgentState", "values": {"state": "ready"}}),
    ];
    let file = put(&folder, "commands.ndjson", &commands.map(|command| command.to_string()).join("\n"));
    let said = dfks_with(&nats, &["set", "--file", &file, "--actor", "night batch", "--json"]).ok();
    assert_eq!(lines(&said).len(), 5, "{said}");
    let of_alice: Vec<_> = lines(&said).into_iter().filter(|line| line["response"]["presentity"] == ALICE).collect();
    assert_eq!(of_alice.iter().map(|line| line["line"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3], "in their order");

    let listed = dfks_with(&nats, &["list", "--on", "--feature", "cfna"]).ok();
    assert_eq!(listed, "sip:bob@example.com  CallForwardingNoAnswer  on   forwardTo=sip:c@h ringCount=4  (version 1, store)\n");
    assert_eq!(lines(&dfks_with(&nats, &["list", "--domain", "127.0.0.1", "--json"]).ok())[0]["state"]["version"], 3);
    let exported = dfks_with(&nats, &["export"]).ok();
    let file = put(&folder, "states.ndjson", &exported);
    assert_eq!(lines(&exported).iter().map(|line| line["presentity"].clone()).collect::<Vec<_>>(), [json!(ALICE), json!(BOB)]);

    let empty = Nats::start();
    let product = Product::start(&empty);
    let service = Service::on(&empty);
    let events = service.wiretap(&["dfks.event.feature.>"]);
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.notify().shows(), ALL_OFF);
    let check = dfks_with(&empty, &["import", &file, "--check"]);
    assert_eq!((check.code, check.err.trim()), (0, "dfks: 3 states of 2 presentities would be written, 0 are as they were"));
    assert_eq!(dfks_with(&empty, &["export"]).ok(), "", "a check writes nothing");

    let import = dfks_with(&empty, &["import", &file]);
    assert_eq!((import.code, import.err.trim()), (0, "dfks: 3 states of 2 presentities written, 0 are as they were"));
    assert_eq!(dialog.until("DoNotDisturb on").shows(), ["DoNotDisturb on"]);
    assert_eq!(dfks_with(&empty, &["export"]).ok(), exported, "versions included");
    let event = events.find("the event", |event| event.json["presentity"] == ALICE).json;
    assert_eq!((&event["actor"], &event["new"]["version"]), (&json!("dfks import"), &json!(3)));
    let again = dfks_with(&empty, &["import", &file]);
    assert_eq!((again.code, again.err.trim()), (0, "dfks: 0 states of 0 presentities written, 3 are as they were"));

    assert_eq!(service.set(ALICE, "DoNotDisturb", 0)["state"]["version"], 4, "versions go on");
    dialog.until("DoNotDisturb off");
    assert_eq!(dfks_with(&empty, &["import", &file]).code, 0);
    assert_eq!(dialog.until("DoNotDisturb on").shows(), ["DoNotDisturb on"]);
    assert_eq!(service.state(ALICE, "DoNotDisturb")["version"], 5, "over what the phone was told");
}

#[test]
fn invalid_lines_are_named_and_nothing_is_written() {
    let (folder, nats) = (TempDir::new().unwrap(), Nats::start());
    let _product = Product::start(&nats);
    let good = json!({"presentity": ALICE, "features": [{"feature": "DoNotDisturb", "status": 1, "version": 1}]}).to_string();
    let file = put(&folder, "states.ndjson", &format!("{good}\n{{\"presentity\":\"x\",\"features\":[]}}\n{good}\n"));
    let import = dfks_with(&nats, &["import", &file]);
    assert_eq!(import.code, 1);
    for text in ["line 2: a presentity is", "line 3: sip:alice@127.0.0.1 was on line 1 already", "2 lines are invalid: nothing was written"]
    {
        assert!(import.err.contains(text), "{text}: {}", import.err);
    }
    assert_eq!(dfks_with(&nats, &["export"]).ok(), "");

    let command = |feature: &str| json!({"presentity": ALICE, "feature": feature, "status": 1}).to_string();
    let text = format!("{}\nnonsense\n{}\n{}\n", command("DoNotDisturb"), command("Foo"), command("CallForwardingBusy"));
    let file = put(&folder, "commands.ndjson", &text);
    let set = dfks_with(&nats, &["set", "--file", &file]);
    assert_eq!(set.code, 1);
    assert!(set.err.contains("line 2: not JSON") && set.err.contains("line 3: unknown feature 'Foo'"), "{}", set.err);
    assert!(set.err.contains("2 commands were refused"), "{}", set.err);
    assert_eq!(set.out.lines().count(), 2, "{}", set.out);
}

/// ```text
/// dfks set --durable ──▶ DFKS_COMMANDS      no bridge … bridge ──▶ once for each id
/// ```
#[test]
fn a_durable_set_is_acknowledged_and_carried_out_once() {
    let (folder, nats) = (TempDir::new().unwrap(), Nats::start());
    let _product = Product::start(&nats);
    let service = Service::on(&nats);
    let set = ["set", ALICE, "dnd", "on", "--durable", "--id", "order-1", "--actor", "crm"];
    let stored: Value = serde_json::from_str(&dfks_with(&nats, &set).ok()).unwrap();
    assert_eq!((&stored["stream"], &stored["msg_id"]), (&json!("DFKS_COMMANDS"), &json!("order-1")));
    dfks_with(&nats, &set).ok();
    wait_for("it is carried out", || (service.state(ALICE, "DoNotDisturb")["status"] == 1).then_some(()));
    let command = json!({"presentity": ALICE, "feature": "DoNotDisturb", "status": 0}).to_string();
    let file = put(&folder, "commands.ndjson", &format!("{command}\n{command}\n"));
    let said = dfks_with(&nats, &["set", "--file", &file, "--durable", "--id", "batch", "--json"]).ok();
    assert_eq!(lines(&said).iter().map(|line| line["stored"]["msg_id"].clone()).collect::<Vec<_>>(), [json!("batch-1"), json!("batch-2")]);
    wait_for("both are carried out", || (service.state(ALICE, "DoNotDisturb")["version"] == 3).then_some(()));
}
