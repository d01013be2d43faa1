//! The service: what it refuses, how it shows itself, how it stops.

use std::time::Duration;

use dfks::bus::subject::Pattern;
use dfks::config::RoutesConfig;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::common::eventually;
use crate::fixture::{ALICE, Bench, PATIENCE, routes};

#[tokio::test]
async fn refuses_what_it_cannot_read_and_says_which_field() {
    let bench = Bench::with(routes()).await;
    let base = json!({"presentity": ALICE, "feature": "CallForwardingNoAnswer", "status": 1, "origin": "mi"});
    let with = |field: &str, value: Value| {
        let mut request = base.clone();
        request[field] = value;
        request
    };
    for (subject, request, field, text) in [
        ("dfks.get", json!([]), None, "unreadable request"),
        ("dfks.get", json!({}), Some("presentity"), "presentity is missing: expected sip:user@host or tel:number"),
        ("dfks.get", json!({"presentity": 7}), Some("presentity"), "invalid presentity '7': expected "),
        ("dfks.get", json!({"presentity": "alice"}), Some("presentity"), "Invalid presentity"),
        ("dfks.get", json!({"presentity": ALICE, "features": ["Foo"]}), Some("features"), "unknown feature 'Foo': expected DoNotDisturb, "),
        ("dfks.route.set", with("status", json!(2)), None, "unreadable request"),
        ("dfks.route.set", with("feature", json!("Foo")), Some("feature"), "unknown feature 'Foo'"),
        ("dfks.route.set", with("presentity", json!("x")), Some("presentity"), "Invalid presentity"),
        ("dfks.route.set", with("values", json!({"ringCount": "101"})), Some("values.ringCount"), "invalid ringCount '101'"),
        ("dfks.route.set", with("values", json!({"x": "y"})), Some("values.x"), "unknown field 'x'"),
    ] {
        let error = bench.ask(Pattern::Get, subject, request.clone()).await.unwrap_err();
        assert_eq!((error.code, error.field.as_deref()), (400, field), "{request}: {error:?}");
        assert!(error.description.contains(text), "{request}: {error:?}");
    }
    let reply = bench.bus.client().request("dfks.get", "no json".into()).await.unwrap();
    let headers = reply.headers.unwrap();
    assert_eq!(headers.get("Nats-Service-Error-Code").unwrap().as_str(), "400");
    assert!(headers.get("Nats-Service-Error").unwrap().as_str().starts_with("unreadable request"));
    assert!(headers.get("traceparent").is_some());
    assert_eq!(serde_json::from_slice::<Value>(&reply.payload).unwrap()["error"]["code"], 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_bound_it_answers_503_at_once() {
    let mut bench = Bench::with(RoutesConfig { responder_timeout_ms: 3000, ..routes() }).await;
    bench.responder("dfks.responder.get.*.DoNotDisturb", Duration::from_secs(1), |_| json!({"status": 1})).await;
    let presentities: Vec<_> = (0..1100).map(|i| format!("sip:alice@t{i}.example")).collect();
    let outcomes = join_all(presentities.iter().map(|presentity| bench.get(presentity, json!(["DoNotDisturb"])))).await;
    let refused: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert_eq!(refused.len(), 1100 - 1024);
    assert!(refused.iter().all(|error| error.code == 503 && error.description.contains("1024")), "{refused:?}");
    assert_eq!(bench.state(ALICE, "DoNotDisturb").await["source"], "responder", "it goes on");
}

#[tokio::test]
async fn shows_itself_as_a_service_and_finishes_what_is_in_hand() {
    let mut bench = Bench::with(routes()).await;
    bench.responder("dfks.responder.set.a_example.DoNotDisturb", Duration::from_millis(200), |_| json!({})).await;
    bench.get("nobody", Value::Null).await.unwrap_err();
    let info: Value = bench.ask(Pattern::Get, "$SRV.INFO.dfks-worker", json!({})).await.unwrap();
    let mut endpoints: Vec<_> = info["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|endpoint| ["name", "subject", "queue_group"].map(|field| endpoint[field].as_str().unwrap().to_owned()))
        .collect();
    endpoints.sort();
    assert_eq!(endpoints, [["get", "dfks.get", "dfks-worker"], ["route_set", "dfks.route.set", "dfks-worker"]]);
    let stats: Value = bench.ask(Pattern::Get, "$SRV.STATS.dfks-worker", json!({})).await.unwrap();
    let get = stats["endpoints"].as_array().unwrap().iter().find(|endpoint| endpoint["name"] == "get").unwrap();
    assert_eq!((&get["num_requests"], &get["num_errors"]), (&json!(1), &json!(1)), "{stats}");
    assert!(get["last_error"].as_str().unwrap().starts_with("400:Invalid presentity"), "{stats}");

    let shutdown = bench.shutdown.clone();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        shutdown.cancel();
    };
    let (set, ()) = tokio::join!(bench.set(ALICE, "DoNotDisturb", 1, "phone"), stop);
    assert_eq!(set.unwrap()["changed"], true);
    let ended = tokio::time::timeout(PATIENCE, bench.tasks.join_next()).await.unwrap().unwrap().unwrap();
    assert!(ended.is_ok(), "{ended:?}");
    eventually("nobody answers", async || bench.instances().await == 0).await;
}

#[tokio::test]
async fn it_stops_in_time_while_nats_is_away() {
    let mut bench = Bench::with(routes()).await;
    bench.nats.kill();
    eventually("the connection is lost", async || !bench.bus.is_connected()).await;
    bench.shutdown.cancel();
    let ended = tokio::time::timeout(PATIENCE, bench.tasks.join_next()).await.expect("in time").unwrap().unwrap();
    assert!(ended.is_ok(), "{ended:?}");
}
