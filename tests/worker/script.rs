//! The route script: what it changes, its errors, its reload.

use std::time::Duration;

use dfks::bus::subject::Pattern;
use dfks::runtime::clock;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::common::eventually;
use crate::fixture::{ALICE, Bench, script};

#[tokio::test]
async fn a_script_changes_denies_fails_and_is_reloaded() {
    let mut bench = Bench::new().await;
    let config = script(
        &bench,
        r#"
fn dfks_get(dfks) {
    if dfks.feature == "CallForwardingNoAnswer" { dfks.status = 1; dfks.value.forwardTo = "sip:bob@h"; dfks.value.ringCount = "3"; }
    if dfks.feature == "CallForwardingAlways" { dfks.assigned = 0; }
    if dfks.feature == "CallForwardingBusy" { dfks.notify = 0; }
    if dfks.feature == "DoNotDisturb" { dfks.status = 1; dfks.feature = "x"; }
}
fn dfks_set(dfks) {
    if dfks.feature == "CallForwardingAlways" { deny("not allowed"); }
    if dfks.feature == "CallForwardingBusy" { dfks.assigned = 0; also("DoNotDisturb", #{status: 1}); }
    if dfks.feature == "CallForwardingNoAnswer" {
        dfks.presentity = "x";
    }
    if dfks.param != () { dfks.status = 0; }
}
"#,
    );
    bench.start_worker(config.clone()).await;
    let get = bench.get(ALICE, Value::Null).await.unwrap();
    let state = |index: usize| get["features"][index].clone();
    assert_eq!((&state(3)["source"], &state(3)["values"]["ringCount"], &state(3)["version"]), (&json!("script"), &json!("3"), &json!(0)));
    assert_eq!((&state(1)["assigned"], &state(2)["notify"]), (&json!(false), &json!(false)));
    assert_eq!((&state(0)["status"], &state(0)["source"]), (&json!(0), &json!("default")), "a failed route changes nothing");

    let denied = bench.set(ALICE, "CallForwardingAlways", 1, "phone").await.unwrap();
    assert_eq!((&denied["denied"], &denied["changed"]), (&json!("not allowed"), &json!(false)));
    let error = bench.set(ALICE, "CallForwardingNoAnswer", 1, "phone").await.unwrap_err();
    assert_eq!((error.code, error.field.as_deref()), (500, Some("presentity")));
    assert_eq!(error.description, "script error in dfks_set, line 12: dfks.presentity is read-only");
    let set = bench.set(ALICE, "CallForwardingBusy", 1, "phone").await.unwrap();
    assert_eq!((&set["state"]["assigned"], &set["also"][0]["feature"]), (&json!(false), &json!("DoNotDisturb")));
    let request = json!({"presentity": ALICE, "feature": "DoNotDisturb", "status": 1, "origin": "mi", "param": "1"});
    let set = bench.ask(Pattern::RouteSet, "dfks.route.set", request).await.unwrap();
    assert_eq!((&set["state"]["status"], &set["state"]["source"], &set["previous"]["status"]), (&json!(0), &json!("script"), &json!(1)));

    std::fs::write(&config.script, "fn dfks_get(dfks) { oops").unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(bench.state(ALICE, "CallForwardingNoAnswer").await["source"], "script", "the old one stays");
    // a route is not taken away by a name mistyped
    std::fs::write(&config.script, "fn dfks_get(dfks) { dfks.notify = 0; } fn dfks_sett(dfks) { deny(\"not allowed\"); }").unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let denied = bench.set(ALICE, "CallForwardingAlways", 1, "phone").await.unwrap();
    assert_eq!((&denied["denied"], &denied["changed"]), (&json!("not allowed"), &json!(false)), "the old one stays");
    let started_at = clock::now();
    std::fs::write(&config.script, "fn dfks_get(dfks) { dfks.notify = 0; } fn dfks_set(dfks) {}").unwrap();
    eventually("the new script runs", async || bench.state(ALICE, "DoNotDisturb").await["notify"] == false).await;
    assert!(clock::now() - started_at < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_script_of_one_tenant_moves_aside() {
    let mut bench = Bench::new().await;
    let text = r#"fn dfks_get(dfks) { if dfks.presentity.contains("slow") { let a = []; for i in 0..900 { a.push(i); } loop { a.sort(); a.reverse(); } } }"#;
    let config = script(&bench, text);
    bench.start_worker(config).await;
    bench.state("sip:x@slow.example", "DoNotDisturb").await;
    let slow = join_all((0..20).map(|_| bench.state("sip:x@slow.example", "DoNotDisturb")));
    let fast = async {
        let started_at = clock::now();
        for _ in 0..20 {
            bench.state("sip:x@fast.example", "DoNotDisturb").await;
        }
        clock::now() - started_at
    };
    let started_at = clock::now();
    let (slow, fast) = tokio::join!(async { (slow.await.len(), clock::now() - started_at) }, fast);
    assert_eq!(slow.0, 20);
    assert!(fast < slow.1, "fast {fast:?}, slow {:?}", slow.1);
}
