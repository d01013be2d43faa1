//! The service: what it refuses, how it shows itself, how it stops.

use std::time::Duration;

use dfks::bus::subject::Pattern;
use dfks::config::RoutesConfig;
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
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
    let reply = bench.bus.jetstream().unwrap().client().request("dfks.get", "no json".into()).await.unwrap();
    let headers = reply.headers.unwrap();
    assert_eq!(headers.get("Nats-Service-Error-Code").unwrap().as_str(), "400");
    assert!(headers.get("Nats-Service-Error").unwrap().as_str().starts_with("unreadable request"));
    assert!(headers.get("traceparent").is_some());
    assert_eq!(serde_json::from_slice::<Value>(&reply.payload).unwrap()["error"]["code"], 400);
}

#[tokio::test]
async fn on_a_tenants_subject_it_tells_features_of_that_domain_alone() {
    let bench = Bench::with(routes()).await;
    let dnd = |presentity: &str| json!({"presentity": presentity, "features": ["DoNotDisturb"]});
    // in any spelling
    for presentity in [ALICE, "SIPS:alice@A.Example:5061;transport=tls"] {
        let answer: Value = bench.ask(Pattern::GetDomain, "dfks.get.a_example", dnd(presentity)).await.unwrap();
        assert_eq!((&answer["presentity"], &answer["features"][0]["status"]), (&json!(ALICE), &json!(0)), "{answer}");
    }
    bench.ask(Pattern::GetDomain, "dfks.get.tel", dnd("tel:+31201234567")).await.unwrap();
    for (subject, presentity, code) in [
        ("dfks.get.b_example", ALICE, 403),
        ("dfks.get.A_EXAMPLE", ALICE, 403),
        ("dfks.get.a_example", "sip:alice@sub.a.example", 403),
        ("dfks.get.a_example", "tel:+31201234567", 403),
        ("dfks.get.a_example", "alice", 400),
    ] {
        let error = bench.ask(Pattern::GetDomain, subject, dnd(presentity)).await.unwrap_err();
        assert_eq!((error.code, error.field.as_deref()), (code, Some("presentity")), "{subject} {presentity}: {error:?}");
        let token = subject.rsplit('.').next().unwrap();
        assert!(code == 400 || error.description.contains(&format!("for presentities of {token} alone")), "{error:?}");
    }
    let error = bench.ask(Pattern::GetDomain, "dfks.get.a_example", json!([])).await.unwrap_err();
    assert_eq!(error.code, 400, "{error:?}");
    let stats: Value = bench.ask(Pattern::Get, "$SRV.STATS.dfks-worker", json!({})).await.unwrap();
    let found = stats["endpoints"].as_array().unwrap().iter().find(|endpoint| endpoint["name"] == "get_domain").unwrap();
    assert_eq!((&found["num_requests"], &found["num_errors"]), (&json!(9), &json!(6)), "{stats}");
}

#[tokio::test]
async fn an_answer_goes_to_no_subject_where_streams_and_services_listen() {
    let bench = Bench::with(routes()).await;
    bench.set(ALICE, "DoNotDisturb", 1, "phone").await.unwrap();
    let client = bench.bus.client();
    let mut heard = client.subscribe("dfks.command.>").await.unwrap();
    let request = json!({"presentity": "sip:eve@a.example"}).to_string();
    for reply in ["$KV.dfks-features.sip=3Aalice=40a=2Eexample", "dfks.command.set"] {
        client.send("dfks.get", Some(reply), async_nats::HeaderMap::new(), request.clone().into()).await.unwrap();
    }
    assert_eq!(bench.state(ALICE, "DoNotDisturb").await["status"], 1, "the record is as it was");
    // what came before is answered by now
    for _ in 0..3 {
        bench.get("sip:eve@a.example", Value::Null).await.unwrap();
    }
    assert!(heard.next().now_or_never().is_none());
    let record = bench.bus.jetstream().unwrap().get_key_value("dfks-features").await.unwrap();
    let record = record.get("sip=3Aalice=40a=2Eexample").await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&record).contains("get_response"));
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
    assert_eq!(
        endpoints,
        [["get", "dfks.get", "dfks-worker"], ["get_domain", "dfks.get.*", "dfks-worker"], ["route_set", "dfks.route.set", "dfks-worker"]]
    );
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
