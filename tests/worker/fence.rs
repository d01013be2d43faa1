//! What a worker does not carry out: what nobody waits for any more, and durable commands whose time has passed.

use std::time::{Duration, SystemTime};

use dfks::bus::message::ErrorBody;
use dfks::bus::subject::Pattern;
use dfks::runtime::clock;
use serde_json::{Value, json};

use crate::fixture::{ALICE, Bench, routes};

/// A set of DND with these fields more.
async fn set(bench: &Bench, status: u8, more: Value) -> Result<Value, ErrorBody> {
    let mut request = json!({ "presentity": ALICE, "feature": "DoNotDisturb", "status": status, "origin": "mi" });
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    bench.ask(Pattern::RouteSet, "dfks.route.set", request).await
}

async fn stored(bench: &Bench) -> (Value, Value) {
    let state = bench.state(ALICE, "DoNotDisturb").await;
    (state["status"].clone(), state["version"].clone())
}

fn in_seconds(seconds: i64) -> String {
    let now: SystemTime = clock::utc_now();
    let by = Duration::from_secs(seconds.unsigned_abs());
    clock::rfc3339(if seconds < 0 { now - by } else { now + by })
}

#[tokio::test]
async fn what_comes_after_its_time_changes_nothing() {
    let bench = Bench::with(routes()).await;
    set(&bench, 1, json!({ "not_after": in_seconds(5) })).await.unwrap();
    let late = set(&bench, 0, json!({ "not_after": in_seconds(-1) })).await.unwrap_err();
    assert_eq!((late.code, late.description.as_str()), (503, "the request came after its time: nothing was changed"));
    assert_eq!(stored(&bench).await, (json!(1), json!(1)));
    set(&bench, 0, json!({})).await.unwrap();
    assert_eq!(stored(&bench).await, (json!(0), json!(2)), "one that says no time is carried out whenever it comes");
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_is_found_by_its_request_and_made_once() {
    let bench = Bench::with(routes()).await;
    let request = json!({ "request": "r1", "not_after": in_seconds(5) });
    let first = set(&bench, 1, request).await.unwrap();
    assert_eq!((&first["logged"], &first["state"]["version"]), (&json!(true), &json!(1)));
    bench.set(ALICE, "CallForwardingBusy", 1, "phone").await.unwrap();
    // past its time: whether it was made is still known
    for (asked, found) in [("r1", true), ("r2", false)] {
        let again = set(&bench, 1, json!({ "request": asked, "not_after": in_seconds(-1) })).await;
        assert_eq!(again.as_ref().ok().map(|again| &again["state"]["version"]), found.then_some(&json!(1)), "{again:?}");
    }
    assert_eq!(stored(&bench).await, (json!(1), json!(1)));
}

#[tokio::test]
async fn a_durable_command_is_not_carried_out_after_a_younger_one() {
    let bench = Bench::with(routes()).await;
    let command = |id: &str, sequence: u64, sender_id: Option<&str>| {
        let place = json!({ "sequence": sequence, "stored_at_nanos": 1_000 * sequence, "sender_id": sender_id });
        json!({ "command": id, "place": place })
    };
    set(&bench, 1, command("c4", 4, Some("order-4"))).await.unwrap();
    // name, status, command → version then, or the code of the refusal
    for (name, status, command, want) in [
        ("an older one of a bridge that stood still", 0, command("c2", 2, None), Err(409)),
        ("the same again has the same answer", 1, command("c4", 4, Some("order-4")), Ok(1)),
        ("sent again after NATS forgot its id", 1, command("c9", 9, Some("order-4")), Err(409)),
        ("a younger one", 0, command("c10", 10, None), Ok(2)),
        ("and now the one before it", 1, command("c4", 4, Some("order-4")), Err(409)),
    ] {
        let answer = set(&bench, status, command).await;
        let got = answer.as_ref().map(|answer| answer["state"]["version"].as_u64().unwrap()).map_err(|error| error.code);
        assert_eq!(got, want, "{name}: {answer:?}");
    }
    assert_eq!(stored(&bench).await, (json!(0), json!(2)));
}
