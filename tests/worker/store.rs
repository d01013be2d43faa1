//! Gets and sets over the store: defaults, versions, compare-and-set, foreign records.

use dfks::bus::subject::Pattern;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::fixture::{ALICE, Bench, routes};

#[tokio::test]
async fn answers_the_default_then_what_was_set() {
    let bench = Bench::with(routes()).await;
    let all = bench.get("sips:alice@A.example:5061;x=y", Value::Null).await.unwrap();
    assert_eq!((all["type"].as_str(), all["presentity"].as_str()), (Some("io.dfks.api.v1.get_response"), Some(ALICE)));
    let names: Vec<_> = all["features"].as_array().unwrap().iter().map(|state| state["feature"].as_str().unwrap()).collect();
    assert_eq!(names, ["DoNotDisturb", "CallForwardingAlways", "CallForwardingBusy", "CallForwardingNoAnswer", "AgentState", "Hoteling"]);
    let want = json!({"feature": "DoNotDisturb", "assigned": true, "status": 0, "values": {}, "version": 0, "source": "default"});
    assert_eq!(all["features"][0], want);
    assert_eq!(all["features"][4]["assigned"], false);

    // each step: origin, status → changed, version
    for (origin, status, changed, version) in [
        ("phone", 1, true, 1),
        ("phone", 1, false, 1),
        ("mi", 1, true, 2),
        ("mi", 0, true, 3),
        ("phone", 0, false, 3),
        ("phone", 1, true, 4),
    ] {
        let set = bench.set("sip:alice@A.EXAMPLE", "DoNotDisturb", status, origin).await.unwrap();
        assert_eq!((&set["type"], &set["presentity"]), (&json!("io.dfks.api.v1.route_set_response"), &json!(ALICE)));
        let seen = (&set["changed"], &set["state"]["version"], &set["state"]["status"], &set["denied"], &set["notify"]);
        assert_eq!(seen, (&json!(changed), &json!(version), &json!(status), &Value::Null, &json!(true)), "{set}");
        let state = bench.state(ALICE, "DoNotDisturb").await;
        assert_eq!((&state["status"], &state["version"], &state["source"]), (&json!(status), &json!(version), &json!("store")));
    }
    assert_eq!(bench.state("sip:bob@a.example", "DoNotDisturb").await["version"], 0, "another presentity");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_sets_at_two_workers_lose_no_version() {
    let mut bench = Bench::with(routes()).await;
    bench.start_worker(routes()).await;
    let sets = join_all((0..50).map(|i| bench.set(ALICE, if i % 5 == 0 { "DoNotDisturb" } else { "CallForwardingBusy" }, 1, "mi"))).await;
    for (feature, count) in [("DoNotDisturb", 10), ("CallForwardingBusy", 40)] {
        let mut versions: Vec<_> = sets
            .iter()
            .map(|set| &set.as_ref().unwrap()["state"])
            .filter(|state| state["feature"] == feature)
            .map(|state| state["version"].as_u64().unwrap())
            .collect();
        versions.sort_unstable();
        assert_eq!(versions, (1..=count).collect::<Vec<_>>(), "{feature}");
        assert_eq!(bench.state(ALICE, feature).await["version"], count, "{feature}");
    }
}

/// A bridge that crashes after the store and before its acknowledgement has the command carried out again.
#[tokio::test]
async fn a_durable_command_that_comes_again_makes_no_second_change_and_gets_the_same_answer() {
    let bench = Bench::with(routes()).await;
    let set = async |command: Option<&str>, status: u8| {
        let request = json!({"presentity": ALICE, "feature": "DoNotDisturb", "status": status, "origin": "mi", "command": command});
        let mut answer = bench.ask(Pattern::RouteSet, "dfks.route.set", request).await.unwrap();
        // what was done for this request alone
        answer.as_object_mut().unwrap().remove("work");
        answer
    };
    let first = set(Some("a"), 1).await;
    assert_eq!((&first["state"]["version"], &first["previous"]["version"]), (&json!(1), &json!(0)));
    assert_eq!(set(Some("a"), 1).await, first);
    bench.set(ALICE, "DoNotDisturb", 0, "phone").await.unwrap();
    assert_eq!(set(Some("a"), 1).await, first, "nor does it undo what a phone did meanwhile");
    let state = bench.state(ALICE, "DoNotDisturb").await;
    assert_eq!((&state["status"], &state["version"]), (&json!(0), &json!(2)));
    assert_eq!(set(Some("b"), 1).await["state"]["version"], 3);
    assert_eq!(set(None, 1).await["state"]["version"], 4);
    assert_eq!(set(None, 1).await["state"]["version"], 5, "one that is not durable is a new one each time");
}

#[tokio::test]
async fn deleted_and_foreign_records() {
    let bench = Bench::with(routes()).await;
    let bucket = bench.bus.jetstream().unwrap().get_key_value("dfks-features").await.unwrap();
    bench.set(ALICE, "DoNotDisturb", 1, "mi").await.unwrap();
    let key = "sip=3Aalice=40a=2Eexample";
    let value: Value = serde_json::from_slice(&bucket.get(key).await.unwrap().unwrap()).unwrap();
    let want = json!({"DoNotDisturb": {"assigned": true, "status": 1, "values": {}, "version": 1}});
    assert_eq!((&value["presentity"], &value["features"]), (&json!(ALICE), &want));
    for purge in [false, true] {
        if purge {
            bucket.purge(key).await.unwrap();
        } else {
            bucket.delete(key).await.unwrap();
        }
        assert_eq!(bench.state(ALICE, "DoNotDisturb").await["source"], "default");
        assert_eq!(bench.set(ALICE, "DoNotDisturb", 1, "mi").await.unwrap()["state"]["version"], 1);
    }
    bucket.put(key, "not ours".into()).await.unwrap();
    assert_eq!(bench.get(ALICE, Value::Null).await.unwrap_err().code, 500);
    assert_eq!(bench.set(ALICE, "DoNotDisturb", 1, "mi").await.unwrap_err().code, 500);
    assert_eq!(bucket.get(key).await.unwrap().unwrap(), "not ours", "left as it is");
}

#[tokio::test]
async fn a_bucket_without_direct_gets_will_do_and_without_a_bucket_it_says_503() {
    let mut bench = Bench::new().await;
    let jetstream = bench.bus.jetstream().unwrap().clone();
    let mut config = jetstream.get_stream("KV_dfks-features").await.unwrap().cached_info().config.clone();
    jetstream.delete_stream("KV_dfks-features").await.unwrap();
    config.allow_direct = false;
    jetstream.create_stream(config).await.unwrap();
    bench.start_worker(routes()).await;
    assert_eq!(bench.state(ALICE, "DoNotDisturb").await["source"], "default");
    bench.set(ALICE, "DoNotDisturb", 1, "mi").await.unwrap();
    assert_eq!(bench.state(ALICE, "DoNotDisturb").await["version"], 1);
    jetstream.delete_stream("KV_dfks-features").await.unwrap();
    assert_eq!(bench.get(ALICE, Value::Null).await.unwrap_err().code, 503);
    assert_eq!(bench.set(ALICE, "DoNotDisturb", 1, "mi").await.unwrap_err().code, 503);
}
