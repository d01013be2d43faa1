//! Writes that nobody confirms: what may have been changed is never called unchanged, and is not made twice.

use async_nats::{HeaderMap, Message};
use dfks::bus::message::ErrorBody;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::fixture::{ALICE, Bench, routes};

const STREAM: &str = "KV_dfks-features";
pub(crate) const CONFLICT: &str = r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence"},"stream":"x","seq":0}"#;
const FULL: &str = r#"{"error":{"code":400,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"x","seq":0}"#;

/// Has the bucket take these subjects alone: what is written under others goes to whoever subscribes.
pub(crate) async fn takes(bench: &Bench, subject: &str) {
    let jetstream = bench.bus.jetstream().unwrap();
    let mut config = jetstream.get_stream(STREAM).await.unwrap().cached_info().config.clone();
    config.subjects = vec![subject.to_owned()];
    jetstream.update_stream(config).await.unwrap();
}

/// What DND becomes in front of a bucket that reads as the real one does, and whose writes get what `answer` makes of each, by its
/// number. The real one takes no writes until `answer` says so.
async fn set(bench: &Bench, mut answer: impl AsyncFnMut(usize, Message) -> Option<&'static str>) -> Result<Value, ErrorBody> {
    let client = bench.bus.client().clone();
    let mut writes = client.subscribe("$KV.dfks-features.>").await.unwrap();
    client.flush().await.unwrap();
    takes(bench, "$KV.dfks-features.nothing").await;
    let bucket = async {
        let mut number = 0;
        while let Some(write) = writes.next().await {
            let Some(reply) = write.reply.clone() else { continue };
            number += 1;
            if let Some(text) = answer(number, write).await {
                client.publish(reply, text.into()).await.unwrap();
            }
        }
    };
    tokio::select! {
        set = bench.set(ALICE, "DoNotDisturb", 1, "mi") => set,
        () = bucket => panic!("the subscription of the writes has ended"),
    }
}

#[tokio::test]
async fn a_write_in_doubt_stays_in_doubt_whatever_the_next_attempt_ends_with() {
    let bench = Bench::with(routes()).await;
    let refused = set(&bench, async |number, _| (number > 1).then_some(FULL)).await.unwrap_err();
    assert_eq!(refused.code, 503);
    assert!(refused.description.contains("should it be made all the same, its phones are told"), "{}", refused.description);
    // nothing was in doubt
    let bench = Bench::with(routes()).await;
    let refused = set(&bench, async |_, _| Some(FULL)).await.unwrap_err();
    assert_eq!((refused.code, refused.description.contains("all the same")), (503, false), "{}", refused.description);
}

#[tokio::test]
async fn a_write_that_was_made_late_is_found_before_the_next_one_counts_as_beaten() {
    let bench = Bench::with(routes()).await;
    let mut first = None;
    let made = set(&bench, async |number, write| {
        if number == 1 {
            first = Some((write.subject, write.headers.unwrap_or_else(HeaderMap::new), write.payload));
            return None;
        }
        // the first one comes through, and is what beats the second
        if let Some((subject, headers, payload)) = first.take() {
            takes(&bench, "$KV.dfks-features.>").await;
            bench.bus.jetstream().unwrap().publish_with_headers(subject, headers, payload).await.unwrap().await.unwrap();
            return Some(CONFLICT);
        }
        None
    })
    .await
    .unwrap();
    assert_eq!((&made["changed"], &made["state"]["version"]), (&json!(true), &json!(1)));
    assert_eq!(bench.state(ALICE, "DoNotDisturb").await["version"], 1, "made once");
}
