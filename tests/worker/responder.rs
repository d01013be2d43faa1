//! Responders: what they decide, and what happens when they do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use dfks::bus::subject::Pattern;
use dfks::config::RoutesConfig;
use dfks::feature::table::FeatureTable;
use dfks::runtime::clock;
use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::common::eventually;
use crate::fixture::{ALICE, Bench, routes};

#[tokio::test]
async fn a_responder_decides_and_its_last_word_outlives_it() {
    let mut bench = Bench::with(routes()).await;
    let asked = bench
        .responder("dfks.responder.get.a_example.DoNotDisturb", Duration::ZERO, |request| {
            assert_eq!(request, json!({"type": "io.dfks.api.v1.responder_get_request", "presentity": ALICE, "feature": "DoNotDisturb"}));
            json!({"status": 1})
        })
        .await;
    for _ in 0..2 {
        let state = bench.state(ALICE, "DoNotDisturb").await;
        assert_eq!((&state["status"], &state["version"], &state["source"]), (&json!(1), &json!(1), &json!("responder")));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    bench.responder("dfks.responder.get.b_example.DoNotDisturb", Duration::from_secs(9), |_| json!({})).await;
    bench.responder("dfks.responder.get.c_example.DoNotDisturb", Duration::ZERO, |_| json!({"status": 7})).await;
    bench
        .responder("dfks.responder.get.d_example.DoNotDisturb", Duration::ZERO, |_| json!({"error": {"code": 500, "description": "no"}}))
        .await;
    for domain in ["b", "c", "d"] {
        let presentity = format!("sip:alice@{domain}.example");
        bench.set(&presentity, "DoNotDisturb", 1, "mi").await.unwrap();
        let state = bench.state(&presentity, "DoNotDisturb").await;
        assert_eq!((&state["status"], &state["version"], &state["source"]), (&json!(1), &json!(1), &json!("store")), "{domain}");
    }
}

#[tokio::test]
async fn a_responder_changes_denies_and_fails_a_set() {
    let mut bench = Bench::with(routes()).await;
    let answer = |request: Value| match request["presentity"].as_str().unwrap() {
        "sip:changes@a.example" => {
            assert_eq!(request["type"], "io.dfks.api.v1.responder_set_request");
            assert_eq!((&request["status"], &request["origin"], &request["param"]), (&json!(1), &json!("mi"), &json!("7")));
            json!({"status": 0, "notify": false, "also": [{"feature": "CallForwardingAlways", "status": 1, "values": {"forwardTo": "x"}}]})
        }
        "sip:unassigns@a.example" => json!({"assigned": false}),
        "sip:denied@a.example" => json!({"error": {"code": 403, "description": "not\nyours"}}),
        "sip:fails@a.example" => json!({"error": {"code": 500, "description": "out of order"}}),
        "sip:wrong@a.example" => json!({"values": {"colour": "red"}}),
        _ => json!([]),
    };
    bench.responder("dfks.responder.set.a_example.DoNotDisturb", Duration::ZERO, answer).await;
    bench.responder("dfks.responder.set.b_example.DoNotDisturb", Duration::from_secs(9), answer).await;
    let request = |user: &str| json!({"presentity": format!("sip:{user}@a.example"), "feature": "DoNotDisturb", "status": 1, "origin": "mi", "param": "7"});

    let set = bench.ask(Pattern::RouteSet, "dfks.route.set", request("changes")).await.unwrap();
    let seen = (&set["state"]["status"], &set["state"]["version"], &set["state"]["source"], &set["notify"], &set["changed"]);
    assert_eq!(seen, (&json!(0), &json!(1), &json!("responder"), &json!(false), &json!(true)), "{set}");
    assert_eq!((&set["also"][0]["feature"], &set["also"][0]["version"]), (&json!("CallForwardingAlways"), &json!(1)), "{set}");
    assert_eq!(bench.state("sip:changes@a.example", "CallForwardingAlways").await["values"], json!({"forwardTo": "x"}));

    bench.ask(Pattern::RouteSet, "dfks.route.set", request("unassigns")).await.unwrap();
    let state = bench.state("sip:unassigns@a.example", "DoNotDisturb").await;
    assert_eq!((&state["assigned"], &state["status"]), (&json!(false), &json!(1)));

    let set = bench.ask(Pattern::RouteSet, "dfks.route.set", request("denied")).await.unwrap();
    let seen = (&set["denied"], &set["changed"], &set["state"]["status"], &set["state"]["version"]);
    assert_eq!(seen, (&json!("not yours"), &json!(false), &json!(0), &json!(0)), "{set}");

    for user in ["fails", "wrong", "list"] {
        let error = bench.ask(Pattern::RouteSet, "dfks.route.set", request(user)).await.unwrap_err();
        assert_eq!(error.code, 503, "{user}: {error:?}");
        assert_eq!(bench.state(&format!("sip:{user}@a.example"), "DoNotDisturb").await["version"], 0, "{user}");
    }
    bench.was_heard("set.b_example.DoNotDisturb").await;
    let error = bench.set("sip:late@b.example", "DoNotDisturb", 1, "phone").await.unwrap_err();
    assert_eq!((error.code, error.description.contains("timeout")), (503, true), "{error:?}");
}

#[tokio::test]
async fn where_nobody_listens_is_asked_again_after_five_seconds() {
    let mut bench = Bench::with(routes()).await;
    assert_eq!(bench.state(ALICE, "DoNotDisturb").await["source"], "default");
    let asked = bench.responder("dfks.responder.get.a_example.DoNotDisturb", Duration::ZERO, |_| json!({"status": 1})).await;
    assert_eq!(bench.state(ALICE, "DoNotDisturb").await["source"], "default");
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    eventually("the responder is asked", async || bench.state(ALICE, "DoNotDisturb").await["source"] == "responder").await;
    let off = RoutesConfig { responders: dfks::config::Responders::Off, ..routes() };
    let mut bench = Bench::with(off).await;
    let asked = bench.responder("dfks.responder.>", Duration::ZERO, |_| json!({"status": 1})).await;
    bench.set(ALICE, "DoNotDisturb", 0, "mi").await.unwrap();
    assert_eq!(bench.state(ALICE, "DoNotDisturb").await["status"], 0);
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

/// ```text
/// get of four ──▶ four requests, then only ──▶ four answers
/// ```
#[tokio::test]
async fn the_features_of_a_get_are_asked_for_at_the_same_time() {
    let bench = Bench::with(RoutesConfig { responder_timeout_ms: 4000, ..routes() }).await;
    let client = bench.bus.client();
    let requests = client.subscribe("dfks.responder.get.a_example.*").await.unwrap();
    client.flush().await.unwrap();
    let names = ["DoNotDisturb", "CallForwardingAlways", "CallForwardingBusy", "CallForwardingNoAnswer"];
    let responder = async {
        for request in requests.take(names.len()).collect::<Vec<_>>().await {
            client.publish(request.reply.unwrap(), r#"{"status":1}"#.into()).await.unwrap();
        }
    };
    let (got, ()) = tokio::join!(bench.get(ALICE, json!(names)), responder);
    for (state, name) in got.unwrap()["features"].as_array().unwrap().iter().zip(names) {
        assert_eq!((&state["feature"], &state["status"], &state["source"]), (&json!(name), &json!(1), &json!("responder")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_responder_delays_only_its_own_tenant() {
    let mut bench = Bench::with(RoutesConfig { responder_timeout_ms: 2000, ..routes() }).await;
    let asked = bench.responder("dfks.responder.*.slow_example.*", Duration::from_secs(9), |_| json!({})).await;
    for feature in FeatureTable::built_in().names() {
        bench.was_heard(&format!("get.slow_example.{feature}")).await;
    }
    bench.was_heard("set.slow_example.DoNotDisturb").await;
    let presentities: Vec<_> = (0..200).map(|i| format!("sip:u{i}@slow.example")).collect();
    let gets = join_all(presentities.iter().map(|presentity| bench.get(presentity, Value::Null)));
    let sets = join_all(presentities.iter().map(|presentity| bench.set(presentity, "DoNotDisturb", 1, "phone")));
    let fast = async {
        eventually("the slow responder is asked", async || asked.load(Ordering::Relaxed) >= 128 * 5).await;
        for i in 0..50 {
            let started_at = clock::now();
            bench.set(&format!("sip:u{i}@fast.example"), "DoNotDisturb", 1, "phone").await.unwrap();
            assert_eq!(bench.get(&format!("sip:u{i}@fast.example"), Value::Null).await.unwrap()["features"][0]["status"], 1);
            assert!(clock::now() - started_at < Duration::from_millis(500), "{:?}", clock::now() - started_at);
        }
    };
    let (gets, sets, ()) = tokio::join!(gets, sets, fast);
    assert!(gets.iter().all(Result::is_ok) && sets.iter().all(Result::is_err), "gets fall back, sets are refused");
    // a get of each feature, and the set
    let subjects = FeatureTable::built_in().names().count() + 1;
    assert!(asked.load(Ordering::Relaxed) <= 128 * subjects, "no more than 128 wait for one subject");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_responder_delays_no_other_feature_of_its_tenant() {
    let mut bench = Bench::with(RoutesConfig { responder_timeout_ms: 2000, ..routes() }).await;
    let asked = bench.responder("dfks.responder.set.slow_example.DoNotDisturb", Duration::from_secs(9), |_| json!({})).await;
    bench.was_heard("set.slow_example.DoNotDisturb").await;
    let presentities: Vec<_> = (0..200).map(|i| format!("sip:u{i}@slow.example")).collect();
    let slow = join_all(presentities.iter().map(|presentity| bench.set(presentity, "DoNotDisturb", 1, "phone")));
    let fast = async {
        eventually("the slow responder is asked", async || asked.load(Ordering::Relaxed) >= 128).await;
        for presentity in &presentities[..50] {
            let started_at = clock::now();
            bench.set(presentity, "CallForwardingAlways", 1, "phone").await.unwrap();
            assert!(clock::now() - started_at < Duration::from_millis(500), "{:?}", clock::now() - started_at);
        }
    };
    let (slow, ()) = tokio::join!(slow, fast);
    assert!(slow.iter().all(Result::is_err), "what its responder does not answer is refused");
}

/// ```text
/// get ──▶ 5 late answers … open: last known state at once, set 503 at once … 1 s … one probe ──▶ it answers: closed
/// ```
#[tokio::test(flavor = "multi_thread")]
async fn a_responder_that_is_late_again_and_again_is_not_waited_for_until_a_probe_finds_it_well() {
    let mut bench = Bench::with(RoutesConfig { responder_timeout_ms: 400, ..routes() }).await;
    let is_well = Arc::new(AtomicBool::new(false));
    let (well, client) = (Arc::clone(&is_well), bench.bus.client().clone());
    let (asked, count) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut requests = client.subscribe("dfks.responder.*.dead_example.DoNotDisturb").await.unwrap();
    client.flush().await.unwrap();
    let counter = Arc::clone(&asked);
    bench.tasks.spawn(async move {
        while let Some(request) = requests.next().await {
            counter.fetch_add(1, Ordering::Relaxed);
            if well.load(Ordering::Relaxed) {
                client.publish(request.reply.unwrap(), r#"{"status":1}"#.into()).await.unwrap();
            }
        }
        Ok(())
    });
    let other = Arc::clone(&count);
    bench
        .responder("dfks.responder.*.alive_example.DoNotDisturb", Duration::ZERO, move |_| {
            other.fetch_add(1, Ordering::Relaxed);
            json!({"status": 1})
        })
        .await;
    for kind in ["get", "set"] {
        bench.was_heard(&format!("{kind}.dead_example.DoNotDisturb")).await;
    }
    let dead = |user: u32| format!("sip:u{user}@dead.example");
    let late: Vec<_> = (0..5).map(dead).collect();
    join_all(late.iter().map(|presentity| bench.state(presentity, "DoNotDisturb"))).await;
    join_all(late.iter().map(|presentity| bench.set(presentity, "DoNotDisturb", 1, "mi"))).await;
    let before = asked.load(Ordering::Relaxed);
    assert_eq!(before, 10, "five of each kind");

    // Less than one timeout for all of them: nothing is waited for. Whoever was probed meanwhile waits, hence so few.
    let (mut fastest_get, mut fastest_set) = (Duration::MAX, Duration::MAX);
    for user in 0..5 {
        let started_at = clock::now();
        assert_eq!(bench.state(&dead(user), "DoNotDisturb").await["source"], "default");
        fastest_get = fastest_get.min(clock::now() - started_at);
        let started_at = clock::now();
        let error = bench.set(&dead(user), "DoNotDisturb", 1, "mi").await.unwrap_err();
        assert_eq!(error.code, 503, "{error:?}");
        fastest_set = fastest_set.min(clock::now() - started_at);
        assert_eq!(bench.state("sip:u@alive.example", "DoNotDisturb").await["source"], "responder");
    }
    assert!(fastest_get < Duration::from_millis(200) && fastest_set < Duration::from_millis(200), "{fastest_get:?} {fastest_set:?}");
    assert!(asked.load(Ordering::Relaxed) < before + 5, "most were not asked");
    assert_eq!(count.load(Ordering::Relaxed), 5, "another tenant's is asked each time");

    is_well.store(true, Ordering::Relaxed);
    eventually("get is answered again", async || bench.state(&dead(0), "DoNotDisturb").await["source"] == "responder").await;
    eventually("set is made again", async || bench.set(&dead(0), "DoNotDisturb", 1, "mi").await.is_ok()).await;
}

/// Errors about a request (4xx) do not stop the others: the responder is well.
#[tokio::test]
async fn a_responder_that_refuses_one_presentity_goes_on_to_be_asked() {
    let mut bench = Bench::with(routes()).await;
    let answer = |request: Value| match request["presentity"].as_str().unwrap() {
        "sip:nobody@a.example" => json!({"error": {"code": 404, "description": "no such user"}}),
        _ => json!({"status": 1}),
    };
    bench.responder("dfks.responder.get.a_example.DoNotDisturb", Duration::ZERO, answer).await;
    for _ in 0..7 {
        assert_eq!(bench.state("sip:nobody@a.example", "DoNotDisturb").await["source"], "default");
    }
    assert_eq!(bench.state(ALICE, "DoNotDisturb").await["source"], "responder");
}
