//! Reads of a bucket that has replicas: a node that was cut off may still answer for its leader.

use dfks::bus::Subscriber;
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};

use crate::doubt::{CONFLICT, takes};
use crate::fixture::{ALICE, Bench};

const FENCES: &str = "$KV.dfks-features.*";
const READS: &str = "$JS.API.STREAM.MSG.GET.KV_dfks-features";

async fn listen(bench: &Bench, subject: &'static str) -> Subscriber {
    let heard = bench.bus.client().subscribe(subject).await.unwrap();
    bench.bus.client().flush().await.unwrap();
    heard
}

/// How many of its messages were of this kind, of those that have come.
fn count(heard: &mut Subscriber, what: &str) -> usize {
    std::iter::from_fn(|| heard.next().now_or_never().flatten()).filter(|message| message.subject.contains(what)).count()
}

async fn dnd(bench: &Bench, strict: bool) -> Value {
    let request = json!({"presentity": ALICE, "features": ["DoNotDisturb"], "strict": strict});
    bench.ask(dfks::bus::subject::Pattern::Get, "dfks.get", request).await.unwrap()["features"][0].clone()
}

#[tokio::test]
async fn writes_confirm_reads_until_they_were_confirmed_for_two_seconds_and_strict_ones_always() {
    let mut bench = Bench::new().await;
    bench.start_worker_of_a_cluster().await;
    let mut writes = listen(&bench, FENCES).await;
    bench.set(ALICE, "DoNotDisturb", 1, "mi").await.unwrap();
    assert_eq!(count(&mut writes, "fence"), 1, "what is to be changed is read, too");
    for _ in 0..30 {
        assert_eq!(dnd(&bench, false).await["status"], 1);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let confirming = count(&mut writes, "fence");
    assert!((15..30).contains(&confirming), "{confirming}");
    let _renewed = dnd(&bench, true).await;
    for strict in [false, true, false, true] {
        count(&mut writes, "fence");
        assert_eq!(dnd(&bench, strict).await["status"], 1);
        assert_eq!(count(&mut writes, "fence"), usize::from(strict), "strict: {strict}");
    }
    // what changes nothing is said of what is there now
    count(&mut writes, "fence");
    assert_eq!(bench.set(ALICE, "DoNotDisturb", 1, "phone").await.unwrap()["changed"], false);
    assert_eq!(count(&mut writes, "fence"), 1);
    let keys = bench.bus.jetstream().unwrap().get_key_value("dfks-features").await.unwrap().keys().await.unwrap();
    assert_eq!(keys.count().await, 1, "a fence is no key");
}

#[tokio::test]
async fn a_single_server_needs_no_confirmation() {
    let bench = Bench::with(crate::fixture::routes()).await;
    let mut writes = listen(&bench, FENCES).await;
    assert_eq!(dnd(&bench, true).await["status"], 0);
    assert_eq!(count(&mut writes, ""), 0);
}

#[tokio::test]
async fn what_no_quorum_confirms_is_read_again_or_not_answered() {
    let mut bench = Bench::new().await;
    bench.start_worker_of_a_cluster().await;
    takes(&bench, "$KV.dfks-features.sip=3Aalice=40a=2Eexample").await;
    let (mut fences, mut reads) = (listen(&bench, FENCES).await, listen(&bench, READS).await);
    let client = bench.bus.client().clone();
    let answer = async {
        for text in [CONFLICT, r#"{"stream":"KV_dfks-features","seq":9}"#] {
            let fence = fences.next().await.unwrap();
            client.publish(fence.reply.unwrap(), text.into()).await.unwrap();
        }
    };
    let (state, ()) = tokio::join!(dnd(&bench, false), answer);
    assert_eq!((&state["status"], count(&mut reads, "")), (&json!(0), 2));
    let refused = bench.get(ALICE, Value::Null).await.unwrap_err();
    assert_eq!(refused.code, 503, "{refused:?}");
}
