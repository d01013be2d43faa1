//! What a get learns from a responder: stored once, with the duty to tell it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::fixture::{ALICE, Bench, routes, script};

const SUBJECT: &str = "dfks.responder.get.a_example.DoNotDisturb";

/// Alice's record as the bucket has it, and how often it was written.
async fn stored(bench: &Bench) -> Option<(Value, u64)> {
    let bucket = bench.bus.jetstream().unwrap().get_key_value("dfks-features").await.unwrap();
    let entry = bucket.entry("sip=3Aalice=40a=2Eexample").await.unwrap()?;
    Some((serde_json::from_slice(&entry.value).unwrap(), entry.revision))
}

/// A responder that says what the switch says.
async fn switched(bench: &mut Bench, delay: Duration) -> Arc<AtomicU8> {
    let switch = Arc::new(AtomicU8::new(0));
    let says = Arc::clone(&switch);
    bench.responder(SUBJECT, delay, move |_| json!({"status": says.load(Ordering::Relaxed)})).await;
    switch
}

#[tokio::test]
async fn what_the_responder_says_and_nobody_knew_is_stored_with_its_duty() {
    let mut bench = Bench::with(routes()).await;
    let switch = switched(&mut bench, Duration::ZERO).await;
    assert_eq!(bench.state(ALICE, "DoNotDisturb").await["source"], "responder");
    assert_eq!(stored(&bench).await, None, "the default is no news");
    switch.store(1, Ordering::Relaxed);
    let request = json!({"presentity": ALICE, "features": ["DoNotDisturb"], "subscription": "s1"});
    let reply = bench.ask(dfks::bus::subject::Pattern::Get, "dfks.get", request).await.unwrap();
    assert_eq!((&reply["features"][0]["status"], &reply["features"][0]["version"]), (&json!(1), &json!(1)));
    let (record, revision) = stored(&bench).await.unwrap();
    let duty = &record["duties"][0];
    assert_eq!((&duty["features"], &duty["skip"]), (&json!(["DoNotDisturb"]), &json!("s1")), "{record}");
    let learnt = &duty["learnt"][0];
    assert_eq!((&learnt["old"]["version"], &learnt["new"]["version"], &learnt["new"]["status"]), (&json!(0), &json!(1), &json!(1)));
    bench.state(ALICE, "DoNotDisturb").await;
    assert_eq!(stored(&bench).await.unwrap().1, revision, "the same again is no news");
}

#[tokio::test]
async fn workers_that_learn_the_same_at_once_make_one_change() {
    let mut bench = Bench::with(routes()).await;
    bench.start_worker(routes()).await;
    let switch = switched(&mut bench, Duration::from_millis(100)).await;
    for round in 1..=8 {
        switch.store(round % 2, Ordering::Relaxed);
        let states = join_all((0..8).map(|_| bench.state(ALICE, "DoNotDisturb"))).await;
        for state in &states {
            assert_eq!((&state["status"], &state["version"]), (&json!(round % 2), &json!(round)), "round {round}: {states:?}");
        }
        let (record, _) = stored(&bench).await.unwrap();
        let events: usize = record["duties"].as_array().unwrap().iter().map(|duty| duty["learnt"].as_array().unwrap().len()).sum();
        assert_eq!(events, usize::from(round), "{record}");
    }
}

#[tokio::test]
async fn a_responder_that_says_something_else_each_time_is_learnt_ten_times_a_minute() {
    let mut bench = Bench::with(routes()).await;
    let switch = switched(&mut bench, Duration::ZERO).await;
    for round in 1..=30_u8 {
        switch.store(round % 2, Ordering::Relaxed);
        let state = bench.state(ALICE, "DoNotDisturb").await;
        let version = round.min(10);
        assert_eq!((&state["version"], &state["status"]), (&json!(version), &json!(version % 2)), "round {round}: the last known state");
    }
    let (record, _) = stored(&bench).await.unwrap();
    assert_eq!(record["features"]["DoNotDisturb"]["version"], 10);
    let set = bench.set(ALICE, "DoNotDisturb", 1, "mi").await.unwrap();
    assert_eq!(set["state"]["version"], 11, "a command is carried out as ever");
}

#[tokio::test]
async fn phones_are_told_what_the_script_makes_of_it() {
    let mut bench = Bench::new().await;
    let routes = script(&bench, "fn dfks_get(dfks) { if dfks.feature == \"DoNotDisturb\" { dfks.assigned = 0; } }");
    bench.start_worker(routes).await;
    switched(&mut bench, Duration::ZERO).await.store(1, Ordering::Relaxed);
    assert_eq!(bench.state(ALICE, "DoNotDisturb").await["assigned"], false);
    let (record, _) = stored(&bench).await.unwrap();
    assert_eq!((&record["features"]["DoNotDisturb"]["assigned"], &record["features"]["DoNotDisturb"]["status"]), (&json!(true), &json!(1)));
    assert_eq!(record["duties"][0]["learnt"][0]["shown"]["assigned"], false, "{record}");
}
