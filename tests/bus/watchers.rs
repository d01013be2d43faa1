//! The watcher index: it never misses a subscription that was stored before it is asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::HeaderMap;
use dfks::bus::{Bus, IndexEvent, RequestError, SharedIndex, WatcherIndex};
use dfks::config::NatsConfig;
use dfks::feature::Presentity;
use dfks::feature::package::AS_FEATURE_EVENT;
use dfks::runtime::{Tasks, clock};
use futures_util::StreamExt;
use futures_util::future::join_all;

use crate::common::eventually;
use crate::setup::store;
use crate::{connect, server};

fn presentity(name: &str) -> Presentity {
    Presentity::parse(&format!("sip:{name}@10.0.0.11")).unwrap()
}

fn record(name: &str, edge_id: &str) -> String {
    format!(r#"{{"presentity":"sip:{name}@10.0.0.11","edge_id":"{edge_id}","call_id":"x"}}"#)
}

async fn count(index: &WatcherIndex, name: &str) -> Result<Vec<(String, u64)>, RequestError> {
    let mut counts: Vec<_> =
        index.watchers(&presentity(name), &[&AS_FEATURE_EVENT]).await?.into_iter().map(|w| (w.edge_id.to_string(), w.count)).collect();
    counts.sort();
    Ok(counts)
}

/// A server with its streams, and a bus to it.
async fn index(bus: &Bus) -> (WatcherIndex, Tasks) {
    let tasks = Tasks::new();
    let index = WatcherIndex::start(bus, &tasks, Vec::new());
    tokio::time::timeout(Duration::from_secs(20), index.loaded()).await.expect("loaded");
    (index, tasks)
}

async fn remove(bus: &Bus, key: &str) {
    bus.jetstream().unwrap().get_key_value("dfks-subscriptions").await.unwrap().purge(key).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sees_every_store_that_was_acknowledged_before() {
    let (nats, bus) = server().await;
    let writer = connect(&nats.config()).await;
    let (index, tasks) = index(&bus).await;
    // 20 writers, 100 stores each; after each acknowledgement the index is asked, on another connection
    join_all((0..20).map(|n| {
        let (index, writer) = (index.clone(), writer.clone());
        async move {
            let name = format!("p{n}");
            for stored in 1..=100 {
                store(&writer, &format!("{name}-{stored}"), &record(&name, "edge-0"), "60s", Some(0)).await.unwrap();
                assert_eq!(count(&index, &name).await.unwrap(), [("edge-0".to_owned(), stored)]);
            }
        }
    }))
    .await;
    assert_eq!(index.len(), 2000);
    assert_eq!(tasks.failure(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sees_removals_and_moves_at_once_too() {
    let (_nats, bus) = server().await;
    let (index, _tasks) = index(&bus).await;
    for round in 0..50 {
        let revision = store(&bus, "k", &record("alice", "edge-0"), "60s", None).await.unwrap();
        assert_eq!(count(&index, "alice").await.unwrap(), [("edge-0".to_owned(), 1)], "round {round}");
        assert_eq!(index.last_seen("k"), Some((revision, "edge-0".into())));
        store(&bus, "k", &record("alice", "edge-1"), "60s", Some(revision)).await.unwrap();
        assert_eq!(count(&index, "alice").await.unwrap(), [("edge-1".to_owned(), 1)], "round {round}");
        remove(&bus, "k").await;
        assert_eq!(count(&index, "alice").await.unwrap(), [], "round {round}");
        assert_eq!(index.last_seen("k"), None);
    }
}

#[tokio::test]
async fn does_not_wait_for_messages_that_are_gone() {
    let (_nats, bus) = server().await;
    let stream = bus.jetstream().unwrap().get_stream("KV_dfks-subscriptions").await.unwrap();
    let bucket = bus.jetstream().unwrap().get_key_value("dfks-subscriptions").await.unwrap();

    for n in 0..10 {
        store(&bus, &format!("k{n}"), &record("alice", "edge-0"), "60s", None).await.unwrap();
    }
    stream.purge().await.unwrap();
    let (after_purge, _tasks) = index(&bus).await;
    assert_eq!(count(&after_purge, "alice").await.unwrap(), []);

    // the newest message is a marker that is gone, and there are older ones
    store(&bus, "stays", &record("alice", "edge-0"), "60s", None).await.unwrap();
    store(&bus, "goes", &record("alice", "edge-0"), "60s", None).await.unwrap();
    bucket.purge_with_ttl("goes", Duration::from_secs(1)).await.unwrap();
    eventually("the marker is gone", async || stream.get_info().await.unwrap().state.messages == 1).await;
    let (after_marker, _tasks) = index(&bus).await;
    for index in [&after_marker, &after_purge] {
        let started_at = clock::now();
        assert_eq!(count(index, "alice").await.unwrap(), [("edge-0".to_owned(), 1)]);
        assert!(started_at.elapsed() < Duration::from_millis(500), "{:?}", started_at.elapsed());
    }

    // gone while the index follows: purged below its position, and at it
    store(&bus, "last", &record("alice", "edge-0"), "60s", None).await.unwrap();
    assert_eq!(count(&after_marker, "alice").await.unwrap(), [("edge-0".to_owned(), 2)]);
    stream.purge().await.unwrap();
    for n in 0..200 {
        // stored and gone again before the index may have seen it
        store(&bus, &format!("x{n}"), &record("bob", "edge-0"), "60s", None).await.unwrap();
        stream.purge().filter(format!("$KV.dfks-subscriptions.x{n}")).await.unwrap();
        index_answers(&after_marker).await;
    }
}

async fn index_answers(index: &WatcherIndex) {
    let started_at = clock::now();
    index.watchers(&presentity("bob"), &[&AS_FEATURE_EVENT]).await.unwrap();
    assert!(started_at.elapsed() < Duration::from_millis(500), "{:?}", started_at.elapsed());
}

#[tokio::test]
async fn an_expired_subscription_is_gone() {
    let (_nats, bus) = server().await;
    let (index, _tasks) = index(&bus).await;
    store(&bus, "short", &record("alice", "edge-0"), "1s", None).await.unwrap();
    store(&bus, "long", &record("alice", "edge-1"), "60s", None).await.unwrap();
    assert_eq!(count(&index, "alice").await.unwrap().len(), 2);
    eventually("only the long one is left", async || count(&index, "alice").await.unwrap() == [("edge-1".to_owned(), 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loads_right_while_keys_come_and_go() {
    let (nats, bus) = server().await;
    let writer = connect(&nats.config()).await;
    join_all((0..3000).map(|n| {
        let writer = writer.clone();
        async move { store(&writer, &format!("k{n}"), &record("alice", "edge-0"), "60s", None).await.unwrap() }
    }))
    .await;
    let churn = async {
        for n in 0..1000 {
            remove(&writer, &format!("k{}", n * 3)).await;
            store(&writer, &format!("k{}", n * 3 + 1), &record("alice", "edge-1"), "60s", None).await.unwrap();
        }
    };
    let load = async {
        let started_at = clock::now();
        let (index, tasks) = index(&bus).await;
        (index, tasks, started_at.elapsed())
    };
    let ((), (index, _tasks, took)) = tokio::join!(churn, load);
    assert_eq!(count(&index, "alice").await.unwrap(), [("edge-0".to_owned(), 1000), ("edge-1".to_owned(), 1000)]);
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_all_again_after_an_outage() {
    let (mut nats, bus) = server().await;
    let (index, tasks) = index(&bus).await;
    store(&bus, "kept", &record("alice", "edge-0"), "60s", None).await.unwrap();
    store(&bus, "expires", &record("alice", "edge-1"), "1s", None).await.unwrap();
    assert_eq!(count(&index, "alice").await.unwrap().len(), 2);

    nats.kill();
    eventually("the index says that the bus is away", async || count(&index, "alice").await.is_err()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    nats.restart();
    let writer = connect(&nats.config()).await;
    eventually("stored after the outage", async || store(&writer, "new", &record("alice", "edge-2"), "60s", None).await.is_ok()).await;
    // the first answer after the outage, whenever it comes, has to be right
    let mut answer = count(&index, "alice").await;
    while answer.is_err() {
        answer = count(&index, "alice").await;
    }
    let want = [("edge-0".to_owned(), 1), ("edge-2".to_owned(), 1)];
    let answer: Vec<_> = answer.unwrap().into_iter().filter(|(edge, _)| edge != "edge-1").collect();
    assert_eq!(answer, want);
    // the server itself may take a moment to expire what expired while it was down
    eventually("the expired one is gone", async || count(&index, "alice").await.is_ok_and(|counts| counts == want)).await;
    assert_eq!(tasks.failure(), None);
}

#[tokio::test]
async fn gives_up_in_time_when_the_server_stands_still() {
    let (nats, bus) = server().await;
    let (index, _tasks) = index(&bus).await;
    nats.pause();
    let started_at = clock::now();
    let alice = presentity("alice");
    let answers =
        join_all((0..100).map(async |_| index.watchers(&alice, &[&AS_FEATURE_EVENT]).await.map_err(|error| error.reason()))).await;
    let took = started_at.elapsed();
    nats.resume();
    assert!(answers.iter().all(|answer| *answer == Err("timeout")), "{answers:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    eventually("answers again", async || index.watchers(&presentity("alice"), &[&AS_FEATURE_EVENT]).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tells_each_change_once_in_order_even_over_an_outage() {
    let (mut nats, bus) = server().await;
    store(&bus, "before", &record("alice", "edge-0"), "60s", None).await.unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tasks = Tasks::new();
    let hook = {
        let told = Arc::clone(&told);
        Box::new(move |event| {
            let line = match event {
                IndexEvent::Changed(change) => {
                    let edge = change.edge_id.as_deref().unwrap_or("?").to_owned();
                    format!("{} {} {edge}", change.key, if change.value.is_some() { "stored" } else { "removed" })
                }
                IndexEvent::Loaded => "loaded".to_owned(),
            };
            told.lock().unwrap().push(line);
        })
    };
    let index = WatcherIndex::start(&bus, &tasks, vec![hook]);
    tokio::time::timeout(Duration::from_secs(20), index.loaded()).await.expect("loaded");
    let revision = store(&bus, "after", &record("alice", "edge-0"), "60s", None).await.unwrap();
    store(&bus, "after", &record("alice", "edge-1"), "60s", Some(revision)).await.unwrap();
    remove(&bus, "before").await;
    index.watchers(&presentity("alice"), &[&AS_FEATURE_EVENT]).await.unwrap();
    let want = ["before stored edge-0", "loaded", "after stored edge-0", "after stored edge-1", "before removed edge-0"];
    assert_eq!(*told.lock().unwrap(), want);

    nats.restart();
    let told_again = || told.lock().unwrap().iter().skip(want.len()).cloned().collect::<Vec<_>>();
    eventually("loaded again", async || told_again().contains(&"loaded".to_owned())).await;
    // the marker of a removed key may be told again, a live key that did not change is not
    assert_eq!(told_again().into_iter().filter(|line| !line.contains("removed")).collect::<Vec<_>>(), ["loaded"]);
}

/// ```text
/// edge ─follow─┐
/// edge ─follow─┼─▶ one index: each hears of every record; mi looks up
/// mi ──look up─┘
/// ```
#[tokio::test]
async fn a_process_has_one_index_that_starts_when_all_who_follow_it_are_there() {
    let (_nats, bus) = server().await;
    store(&bus, "k1", &record("alice", "edge-0"), "60s", None).await.unwrap();
    let tasks = Tasks::new();
    let shared = SharedIndex::new(bus.clone(), tasks.clone(), 2);
    let hears = || {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let keys = Arc::clone(&heard);
        let hook = move |event| {
            if let IndexEvent::Changed(change) = event {
                keys.lock().unwrap().push(change.key);
            }
        };
        (heard, Box::new(hook))
    };
    let ((first, hook), (second, other)) = (hears(), hears());
    let alone = tokio::time::timeout(Duration::from_millis(100), shared.follow(hook)).await;
    assert!(alone.is_err() && first.lock().unwrap().is_empty(), "one of two followers is missing");
    let (index, looked_up) = futures_util::future::join(shared.follow(other), shared.look_up()).await;
    index.loaded().await;
    assert_eq!(count(&looked_up, "alice").await.unwrap(), [("edge-0".to_owned(), 1)]);
    store(&bus, "k2", &record("alice", "edge-1"), "60s", None).await.unwrap();
    assert_eq!(count(&index, "alice").await.unwrap().len(), 2);
    for heard in [first, second] {
        assert_eq!(*heard.lock().unwrap(), ["k1", "k2"]);
    }
    tasks.stop(Duration::from_secs(2)).await.unwrap();
}

/// A cluster that has no leader drops what is asked of it. The first that is asked afterwards is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_loaded_soon_after_there_is_a_leader_again() {
    let (nats, bus) = server().await;
    let client = bus.client().clone();
    let mut calls = client.subscribe("$JS.far.API.>").await.unwrap();
    client.flush().await.unwrap();
    let leader_at = clock::now() + Duration::from_millis(3600);
    let api = async {
        while let Some(call) = calls.next().await {
            let subject = call.subject.replacen("$JS.far.", "$JS.", 1);
            match call.reply {
                _ if subject.contains(".CONSUMER.CREATE.") && clock::now() < leader_at => {}
                Some(reply) => client.send(subject, Some(reply), HeaderMap::new(), call.payload).await.unwrap(),
                None => client.publish(subject, call.payload).await.unwrap(),
            }
        }
    };
    let far = connect(&NatsConfig { domain: "far".into(), ..nats.config() }).await;
    let load = async {
        let _kept = index(&far).await;
        clock::now()
    };
    let loaded_at = tokio::select! {
        () = api => panic!("the subscription has ended"),
        loaded_at = load => loaded_at,
    };
    assert!(loaded_at > leader_at && loaded_at - leader_at < Duration::from_millis(2500), "{:?}", loaded_at - leader_at);
}

/// alice changes, then bob; alice again while that is read. Her first change is gone by then, and her second lies beyond bob's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_not_missed_where_another_takes_its_place_while_it_is_read() {
    let (nats, bus) = server().await;
    let client = bus.client().clone();
    let change = async |name: &str| {
        let subject = format!("$KV.dfks-features.sip=3A{name}=4010=2E0=2E0=2E11");
        bus.jetstream().unwrap().publish(subject, "{}".into()).await.unwrap().await.unwrap().sequence
    };
    let since = change("carol").await;
    change("alice").await;
    change("bob").await;
    let mut calls = client.subscribe("$JS.far.API.>").await.unwrap();
    client.flush().await.unwrap();
    let api = async {
        while let Some(call) = calls.next().await {
            let subject = call.subject.replacen("$JS.far.", "$JS.", 1);
            if subject.contains(".CONSUMER.CREATE.") {
                change("alice").await;
            }
            client.send(subject, call.reply, HeaderMap::new(), call.payload).await.unwrap();
        }
    };
    let far = connect(&NatsConfig { domain: "far".into(), ..nats.config() }).await;
    let changed = tokio::select! {
        () = api => panic!("the subscription has ended"),
        changed = far.features_changed_since(since) => changed.unwrap(),
    };
    assert_eq!(changed, ["bob", "alice"].map(presentity));
}
