//! A set begins from what its worker knew last, and never ends with it.

use std::time::Duration;

use dfks::bus::subject::Pattern;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::fixture::{ALICE, Bench, routes, script};

const KEY: &str = "sip=3Aalice=40a=2Eexample";
const CFA: &str = "CallForwardingAlways";

/// Changes the stored record as another worker does.
async fn changed_elsewhere(bench: &Bench, change: impl FnOnce(&mut Value)) {
    let bucket = bench.bus.jetstream().unwrap().get_key_value("dfks-features").await.unwrap();
    let mut record: Value = serde_json::from_slice(&bucket.get(KEY).await.unwrap().unwrap()).unwrap();
    change(&mut record["features"]);
    bucket.put(KEY, serde_json::to_vec(&record).unwrap().into()).await.unwrap();
}

async fn forward(bench: &Bench, target: Option<&str>, origin: &str) -> Value {
    let values = target.map_or(json!({}), |target| json!({"forwardTo": target}));
    let request = json!({"presentity": ALICE, "feature": CFA, "status": 1, "values": values, "origin": origin});
    bench.ask(Pattern::RouteSet, "dfks.route.set", request).await.unwrap()
}

#[tokio::test]
async fn a_record_that_it_wrote_itself_is_not_read_again() {
    let bench = Bench::with(routes()).await;
    bench.set(ALICE, "DoNotDisturb", 1, "mi").await.unwrap();
    let mut reads = bench.bus.client().subscribe("$JS.API.DIRECT.GET.KV_dfks-features.>").await.unwrap();
    bench.bus.client().flush().await.unwrap();
    for version in 2..10 {
        assert_eq!(bench.set(ALICE, "DoNotDisturb", u8::from(version % 2 == 1), "mi").await.unwrap()["state"]["version"], version);
    }
    assert!(tokio::time::timeout(Duration::from_millis(200), reads.next()).await.is_err(), "nothing was read");
    assert_eq!(bench.state(ALICE, "DoNotDisturb").await["version"], 9);
    assert!(reads.next().await.is_some(), "a get reads");
}

#[tokio::test]
async fn a_change_by_another_worker_is_not_lost() {
    let bench = Bench::with(routes()).await;
    bench.set(ALICE, "DoNotDisturb", 1, "mi").await.unwrap();
    changed_elsewhere(&bench, |features| {
        features["DoNotDisturb"] = json!({"assigned": true, "status": 0, "values": {}, "version": 7});
    })
    .await;
    let set = bench.set(ALICE, "DoNotDisturb", 1, "phone").await.unwrap();
    assert_eq!((&set["changed"], &set["previous"]["status"], &set["state"]["version"]), (&json!(true), &json!(0), &json!(8)));
    changed_elsewhere(&bench, |features| {
        features["CallForwardingBusy"] = json!({"assigned": true, "status": 1, "values": {}, "version": 3});
    })
    .await;
    assert_eq!(bench.set(ALICE, "DoNotDisturb", 0, "mi").await.unwrap()["state"]["version"], 9);
    assert_eq!(bench.state(ALICE, "CallForwardingBusy").await["version"], 3);
}

#[tokio::test]
async fn what_changes_nothing_is_said_of_the_record_as_it_is() {
    let bench = Bench::with(routes()).await;
    bench.set(ALICE, "DoNotDisturb", 1, "mi").await.unwrap();
    let again = bench.set(ALICE, "DoNotDisturb", 1, "phone").await.unwrap();
    assert_eq!((&again["changed"], &again["state"]["version"]), (&json!(false), &json!(1)));
    changed_elsewhere(&bench, |features| features["DoNotDisturb"]["version"] = json!(5)).await;
    let again = bench.set(ALICE, "DoNotDisturb", 1, "phone").await.unwrap();
    assert_eq!((&again["changed"], &again["state"]["version"]), (&json!(false), &json!(5)));
}

#[tokio::test]
async fn a_script_has_the_last_word_about_the_record_as_it_is() {
    let mut bench = Bench::new().await;
    let text = r#"fn dfks_set(dfks) { if dfks.value.forwardTo == "sip:abroad@a.example" { deny("not abroad"); } }"#;
    let routes = script(&bench, text);
    bench.start_worker(routes).await;
    // the target that is stored counts, not the one that the worker knew
    for (known, stored, is_denied) in [("home", "abroad", true), ("home", "office", false)] {
        forward(&bench, Some(&format!("sip:{known}@a.example")), "mi").await;
        changed_elsewhere(&bench, |features| features[CFA]["values"]["forwardTo"] = json!(format!("sip:{stored}@a.example"))).await;
        let set = forward(&bench, None, "mi").await;
        assert_eq!(set["denied"].is_string(), is_denied, "{set}");
        assert_eq!(set["state"]["values"]["forwardTo"], format!("sip:{stored}@a.example"), "{set}");
    }
    changed_elsewhere(&bench, |features| features[CFA]["values"]["forwardTo"] = json!("sip:abroad@a.example")).await;
    assert!(forward(&bench, None, "mi").await["denied"].is_string());
    changed_elsewhere(&bench, |features| features[CFA]["values"]["forwardTo"] = json!("sip:office@a.example")).await;
    let set = forward(&bench, None, "mi").await;
    assert!(set["denied"].is_null(), "what was denied of the record of before: {set}");
}

/// A responder is never asked about a record that the worker only knew.
#[tokio::test]
async fn a_responder_is_told_the_record_as_it_is() {
    let bench = Bench::with(routes()).await;
    let owner = bench.owner(&format!("dfks.responder.set.a_example.{CFA}"), |_| json!({})).await;
    forward(&bench, Some("sip:home@a.example"), "mi").await;
    changed_elsewhere(&bench, |features| features[CFA]["values"]["forwardTo"] = json!("sip:office@a.example")).await;
    forward(&bench, None, "mi").await;
    let asked = owner.asked.lock().unwrap();
    let targets: Vec<_> = asked.iter().map(|question| question["values"]["forwardTo"].as_str().unwrap()).collect();
    assert_eq!(targets, ["sip:home@a.example", "sip:office@a.example"], "each once, the second with what is stored");
}
