//! Who is believed: a responder that was heard, not whoever else listens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::stream;
use dfks::bus::subject::Pattern;
use dfks::config::RoutesConfig;
use dfks::runtime::clock;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::common::eventually;
use crate::fixture::{ALICE, Bench, PATIENCE, routes};

const GET: &str = "dfks.responder.get.a_example.DoNotDisturb";
const SET: &str = "dfks.responder.set.a_example.DoNotDisturb";

fn deny(_request: &Value) -> Value {
    json!({"error": {"code": 403, "description": "not yours"}})
}

/// A stream that keeps what is said on these subjects, and acknowledges it.
async fn audit(bench: &Bench, subjects: &[&str]) {
    let subjects = subjects.iter().map(|subject| (*subject).to_owned()).collect();
    let config = stream::Config { name: "AUDIT".into(), subjects, storage: stream::StorageType::Memory, ..Default::default() };
    bench.bus.jetstream().unwrap().create_stream(config).await.unwrap();
}

/// The worker that there is stops, and another one starts.
async fn restart(bench: &mut Bench, config: RoutesConfig) {
    bench.shutdown.cancel();
    eventually("the worker is gone", async || bench.instances().await == 0).await;
    bench.shutdown = CancellationToken::new();
    bench.start_worker(config).await;
}

async fn forget(bench: &Bench, subject: &str) -> Value {
    bench.ask(Pattern::RespondersForget, "dfks.responders.forget", json!({ "subject": subject })).await.unwrap()["forgotten"].clone()
}

/// ```text
/// worker ──set──▶ responder ── 30 ms ──▶ 403          set ──▶ stream AUDIT ──▶ {"stream":"AUDIT","seq":1}, at once
/// ```
#[tokio::test]
async fn an_audit_stream_approves_nothing() {
    let mut bench = Bench::with(routes()).await;
    audit(&bench, &["dfks.responder.>", "dfks.get", "dfks.route.set"]).await;
    bench.responder(SET, Duration::from_millis(30), |request| deny(&request)).await;
    for attempt in 0..5 {
        let set = bench.set(ALICE, "DoNotDisturb", 1, "phone").await.unwrap();
        assert_eq!((&set["denied"], &set["changed"]), (&json!("not yours"), &json!(false)), "{attempt}: {set}");
    }
    assert_eq!(bench.state(ALICE, "DoNotDisturb").await["version"], 0, "whoever asks is not answered by the stream either");
    let full = r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"AUDIT","seq":0}"#;
    let bad: Value = serde_json::from_str(full).unwrap();
    bench.responder("dfks.responder.set.b_example.DoNotDisturb", Duration::ZERO, move |_| bad.clone()).await;
    let set = bench.set("sip:bob@b.example", "DoNotDisturb", 1, "phone").await.unwrap();
    assert_eq!(set["changed"], true, "neither acknowledgement is a responder's: {set}");
}

/// ```text
/// nats sub '>'        get: 150 ms once, then at once        set: 300 ms once a minute, then at once
/// ```
#[tokio::test]
async fn whoever_looks_on_costs_one_wait_and_hides_no_responder() {
    let mut bench = Bench::with(RoutesConfig { responder_timeout_ms: 1500, ..routes() }).await;
    let mut looking = bench.bus.client().subscribe(">").await.unwrap();
    bench.bus.client().flush().await.unwrap();
    bench.tasks.spawn(async move {
        while looking.next().await.is_some() {}
        Ok(())
    });
    let started_at = clock::now();
    bench.get(ALICE, Value::Null).await.unwrap();
    assert!(clock::now() - started_at < Duration::from_millis(700), "a get does not wait to the end: {:?}", clock::now() - started_at);
    assert_eq!(bench.set(ALICE, "DoNotDisturb", 1, "phone").await.unwrap()["changed"], true, "waited for, and made");
    let started_at = clock::now();
    for status in [0, 1, 0] {
        assert_eq!(bench.set(ALICE, "DoNotDisturb", status, "phone").await.unwrap()["changed"], true);
        bench.get(ALICE, Value::Null).await.unwrap();
    }
    assert!(clock::now() - started_at < Duration::from_millis(700), "nothing waits any more: {:?}", clock::now() - started_at);
    let known = bench.known(SET).await.unwrap();
    assert_eq!((&known["observer"], &known["listening"], &known["last_heard"]), (&json!(true), &json!(true), &Value::Null), "{known}");

    let asked = bench.responder(GET, Duration::ZERO, |_| json!({"status": 1})).await;
    eventually("a responder is heard beside whoever looks on", async || bench.state(ALICE, "DoNotDisturb").await["source"] == "responder")
        .await;
    assert!(asked.load(Ordering::Relaxed) >= 1);
    let known = bench.known(GET).await.unwrap();
    assert_eq!(
        (&known["observer"], &known["breaker"], known["last_heard"].is_string()),
        (&json!(false), &json!("closed"), true),
        "{known}"
    );
}

/// ```text
/// heard once, a denial ─▶ gone ─▶ set: 503 ─▶ another worker, one that starts later: 503 ─▶ forgotten ─▶ set is made
/// ```
#[tokio::test]
async fn whoever_was_heard_owns_its_subject_until_it_is_forgotten() {
    let mut bench = Bench::with(routes()).await;
    bench.start_worker(routes()).await;
    let owner = bench.owner(SET, deny).await;
    assert_eq!(bench.set(ALICE, "DoNotDisturb", 1, "phone").await.unwrap()["denied"], "not yours");
    drop(owner);
    let refused = async |bench: &Bench| {
        let error = bench.set(ALICE, "DoNotDisturb", 1, "mi").await.unwrap_err();
        assert_eq!(error.code, 503, "{error:?}");
        error.description
    };
    eventually("nobody listens", async || refused(&bench).await.starts_with(&format!("nobody listens on {SET}"))).await;
    for _ in 0..8 {
        let said = refused(&bench).await;
        assert!(said.contains(&format!("{SET} was last heard 20")) && said.contains(&format!("dfks responders forget {SET}")), "{said}");
    }
    assert_eq!(bench.state(ALICE, "DoNotDisturb").await["version"], 0, "nothing was changed");
    bench.set(ALICE, "CallForwardingAlways", 1, "mi").await.unwrap();
    bench.set("sip:bob@b.example", "DoNotDisturb", 1, "mi").await.unwrap();

    restart(&mut bench, routes()).await;
    refused(&bench).await;
    let known = bench.known(SET).await.unwrap();
    assert_eq!((&known["kind"], &known["domain"], &known["listening"]), (&json!("set"), &json!("a_example"), &json!(false)), "{known}");

    assert_eq!(forget(&bench, "elsewhere.example").await, json!([]));
    assert_eq!(forget(&bench, "a.example").await, json!([SET]));
    assert_eq!(bench.set(ALICE, "DoNotDisturb", 1, "mi").await.unwrap()["state"]["status"], 1);
    restart(&mut bench, routes()).await;
    bench.set(ALICE, "DoNotDisturb", 0, "mi").await.unwrap();
    let error = bench.ask(Pattern::RespondersForget, "dfks.responders.forget", json!({"subject": "dfks.responder.x"})).await.unwrap_err();
    assert_eq!((error.code, error.field.as_deref()), (400, Some("subject")), "{error:?}");
}

#[tokio::test]
async fn what_one_worker_hears_or_forgets_all_know_at_once() {
    let mut bench = Bench::with(routes()).await;
    for _ in 0..2 {
        bench.start_worker(routes()).await;
    }
    let owner = bench.owner("dfks.responder.*.a_example.DoNotDisturb", |_| json!({})).await;
    bench.set(ALICE, "DoNotDisturb", 1, "mi").await.unwrap();
    drop(owner);
    // each of the three is asked at some time: none lets one pass
    for at in 0..30 {
        assert!(bench.set(ALICE, "DoNotDisturb", 0, "mi").await.is_err(), "{at}");
    }
    assert_eq!(forget(&bench, "dfks.responder.set.*.DoNotDisturb").await, json!([SET]));
    eventually("all have forgotten it", async || {
        let mut made = 0;
        for _ in 0..30 {
            made += usize::from(bench.set(ALICE, "DoNotDisturb", 0, "mi").await.is_ok());
        }
        made == 30
    })
    .await;
}

#[tokio::test]
async fn a_bucket_that_is_lost_is_made_anew_from_what_the_workers_know() {
    let mut bench = Bench::with(routes()).await;
    let owner = bench.owner(SET, |_| json!({})).await;
    bench.set(ALICE, "DoNotDisturb", 1, "mi").await.unwrap();
    bench.bus.jetstream().unwrap().delete_key_value("dfks-responders").await.unwrap();
    let other = bench.owner("dfks.responder.set.b_example.DoNotDisturb", |_| json!({})).await;
    bench.set("sip:bob@b.example", "DoNotDisturb", 1, "mi").await.unwrap();
    drop((owner, other));
    assert!(bench.set(ALICE, "DoNotDisturb", 0, "mi").await.is_err(), "it is known all the same");
    let keys = async || {
        let Ok(bucket) = bench.bus.jetstream().unwrap().get_key_value("dfks-responders").await else { return 0 };
        let Ok(keys) = bucket.keys().await else { return 0 };
        keys.count().await
    };
    eventually("both are written down", async || keys().await == 2).await;
    restart(&mut bench, routes()).await;
    assert!(bench.set(ALICE, "DoNotDisturb", 0, "mi").await.is_err());
    assert!(bench.set("sip:bob@b.example", "DoNotDisturb", 0, "mi").await.is_err());
}

#[tokio::test]
async fn answers_are_rarely_written_down() {
    let mut bench = Bench::with(routes()).await;
    bench.responder("dfks.responder.*.a_example.DoNotDisturb", Duration::ZERO, |_| json!({"status": 1})).await;
    for _ in 0..50 {
        bench.state(ALICE, "DoNotDisturb").await;
        bench.set(ALICE, "DoNotDisturb", 1, "mi").await.unwrap();
    }
    let mut stream = bench.bus.jetstream().unwrap().get_stream("KV_dfks-responders").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.last_sequence, 2, "one of each kind");
}

#[tokio::test]
async fn what_is_required_is_refused_before_anybody_was_heard() {
    let config = RoutesConfig { required: vec!["a_example.*".into(), "*.CallForwardingBusy".into()], ..routes() };
    let mut bench = Bench::with(config).await;
    for (presentity, feature) in [(ALICE, "DoNotDisturb"), ("sip:bob@b.example", "CallForwardingBusy")] {
        let error = bench.set(presentity, feature, 1, "phone").await.unwrap_err();
        assert_eq!((error.code, error.description.contains("routes.required")), (503, true), "{error:?}");
    }
    bench.set("sip:bob@b.example", "DoNotDisturb", 1, "phone").await.unwrap();
    bench.responder(SET, Duration::ZERO, |_| json!({})).await;
    assert_eq!(bench.set(ALICE, "DoNotDisturb", 1, "phone").await.unwrap()["changed"], true, "as soon as one approves");
    let mut looking = bench.bus.client().subscribe("dfks.>").await.unwrap();
    bench.bus.client().flush().await.unwrap();
    bench.tasks.spawn(async move {
        while looking.next().await.is_some() {}
        Ok(())
    });
    assert!(bench.set(ALICE, "CallForwardingAlways", 1, "phone").await.is_err(), "whoever looks on approves nothing");
}

/// Whatever a responder says wrong is told: in the refusal, and in what the workers know.
#[tokio::test]
async fn what_a_responder_said_wrong_is_told() {
    let mut bench = Bench::with(routes()).await;
    let answers = [
        (json!({"error": {"code": 500, "description": "database is\ndown"}}), "failed", "answered with error 500: database is\\ndown"),
        (json!({"error": {"code": 404, "description": "no such user"}}), "failed", "answered with error 404: no such user"),
        (json!({"values": {"colour": "red"}}), "failed", "unknown field 'colour'"),
        (json!({"status": 7}), "failed", r#"{"status":7}"#),
        (json!([1, 2]), "timeout", "what came is none: [1,2]"),
        (json!({"ok": true}), "timeout", r#"{"ok":true}"#),
    ];
    for (at, (answer, outcome, told)) in answers.into_iter().enumerate() {
        let subject = format!("dfks.responder.set.d{at}_example.DoNotDisturb");
        bench.responder(&subject, Duration::ZERO, move |_| answer.clone()).await;
        bench.was_heard(&format!("set.d{at}_example.DoNotDisturb")).await;
        let error = bench.set(&format!("sip:alice@d{at}.example"), "DoNotDisturb", 1, "mi").await.unwrap_err();
        assert!(error.code == 503 && error.description.contains(&format!("({outcome}: ")) && error.description.contains(told), "{error:?}");
        let known = bench.known(&subject).await.unwrap();
        assert!(known["last_error"].as_str().is_some_and(|said| said.contains(told)), "{told}: {known}");
    }
    let subject = "dfks.responder.set.d0_example.DoNotDisturb";
    for _ in 0..5 {
        drop(bench.set("sip:alice@d0.example", "DoNotDisturb", 1, "mi").await);
    }
    let error = bench.set("sip:alice@d0.example", "DoNotDisturb", 1, "mi").await.unwrap_err();
    assert!(error.description.contains("(open: its circuit breaker is open, last: answered with error 500"), "{error:?}");
    assert_eq!(bench.known(subject).await.unwrap()["breaker"], "open");
}

/// A responder that is always late is heard all the same, and owns its subject then.
#[tokio::test]
async fn an_answer_that_comes_too_late_makes_an_owner() {
    let mut bench = Bench::with(routes()).await;
    bench.responder(SET, Duration::from_millis(900), |request| deny(&request)).await;
    assert_eq!(bench.set(ALICE, "DoNotDisturb", 1, "mi").await.unwrap()["changed"], true, "nobody was ever heard");
    eventually("it is heard", async || bench.known(SET).await.is_some_and(|known| known["last_heard"].is_string())).await;
    let error = bench.set(ALICE, "DoNotDisturb", 0, "mi").await.unwrap_err();
    assert!(error.code == 503 && error.description.contains("(timeout: no answer within 300ms)"), "{error:?}");
}

/// ```text
/// owner gone ─▶ asked for one state each 5 s ─▶ it answers ─▶ edges list the watchers of its domain ─▶ each is compared
/// ```
#[tokio::test]
async fn an_owner_that_is_back_is_asked_for_what_phones_watch() {
    let mut bench = Bench::with(routes()).await;
    let owner = bench.owner(GET, |_| json!({"status": 0})).await;
    bench.state(ALICE, "DoNotDisturb").await;
    drop(owner);
    let is_asked = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&is_asked);
    let watcher = |user: &str, package: &str| {
        json!({"subscription": user, "presentity": format!("sip:{user}@a.example"), "package": package, "watcher": "sip:x@a.example", "call_id": "c",
            "contact": "sip:x", "transport": "udp", "user_agent": "", "expires_at": "2099-01-01T00:00:00Z", "versions": {}})
    };
    let watchers = json!({"type": "io.dfks.api.v1.watchers_response", "edge_id": "e", "more": false,
        "watchers": [watcher("bob", "as-feature-event"), watcher("carol", "as-feature-event"), watcher("dave", "X-BroadWorks-Hoteling")]});
    bench
        .responder("dfks.watchers", Duration::ZERO, move |request| {
            assert_eq!(request["domain"], "a_example");
            asked.store(true, Ordering::Relaxed);
            watchers.clone()
        })
        .await;
    eventually("it is missed", async || {
        bench.state(ALICE, "DoNotDisturb").await;
        bench.known(GET).await.unwrap()["listening"] == false
    })
    .await;
    let owner = bench.owner(GET, |request| json!({"status": u8::from(request["presentity"] == "sip:bob@a.example")})).await;
    let is_compared = async || {
        let asked = owner.asked.lock().unwrap();
        ["alice", "bob", "carol"].iter().all(|user| asked.iter().any(|question| question["presentity"] == format!("sip:{user}@a.example")))
    };
    let deadline = clock::now() + PATIENCE * 4;
    while !is_compared().await && clock::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(is_compared().await && is_asked.load(Ordering::Relaxed), "{:?}", owner.asked.lock().unwrap());
    let asked = owner.asked.lock().unwrap().clone();
    assert!(!asked.iter().any(|question| question["presentity"] == "sip:dave@a.example"), "of another package");
    eventually("what it says is known", async || bench.state("sip:bob@a.example", "DoNotDisturb").await["version"] == 1).await;
}
