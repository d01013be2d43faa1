//! The teller: what is committed is told, whoever dies in between. Records as workers write them, edges as in the other tests.

use std::sync::Arc;
use std::time::Duration;

use dfks::bus::{Bus, RequestError, setup};
use dfks::config::NatsConfig;
use dfks::feature::FeatureTable;
use dfks::mi::{Bridge, teller};
use dfks::runtime::clock;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::common::{Nats, eventually};
use crate::{Edges, TIMEOUT, two_edges};

/// A nats-server with the bucket, and any number of tellers.
struct Bucket {
    nats: Nats,
    bus: Bus,
}

struct Teller {
    edges: Edges,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Bucket {
    async fn new() -> Self {
        let nats = Nats::start();
        let bus = connect(&nats).await;
        setup::ensure(&bus, 1).await.unwrap();
        Self { nats, bus }
    }

    async fn teller(&self, edges: Edges) -> Teller {
        let bridge = Arc::new(Bridge::new(connect(&self.nats).await, edges.clone(), Arc::default()));
        let stop = CancellationToken::new();
        let task = tokio::spawn(teller::run(bridge, Arc::new(FeatureTable::built_in()), stop.clone()));
        Teller { edges, stop, task }
    }

    async fn put(&self, record: &Value) {
        self.put_bytes(record.to_string().into()).await;
    }

    async fn put_bytes(&self, value: bytes::Bytes) {
        let bucket = self.bus.jetstream().unwrap().get_key_value("dfks-features").await.unwrap();
        bucket.put("sip=3Aalice=40h", value).await.unwrap();
    }

    /// Changes that no teller has acknowledged.
    async fn waiting(&self) -> u64 {
        let stream = self.bus.jetstream().unwrap().get_stream("KV_dfks-features").await.unwrap();
        let Ok(info) = stream.consumer_info("tell").await else { return u64::MAX };
        info.num_pending + info.num_ack_pending as u64
    }
}

impl Teller {
    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.task).await.expect("it stops").unwrap();
    }

    /// Each job: edge, features with versions, whether its NOTIFY has a body, whom it skips.
    fn jobs(&self) -> Vec<String> {
        let job = |(edge_id, job): &(String, dfks::bus::message::NotifyJob)| {
            let states: Vec<_> = job.states.iter().map(|state| format!("{} {}", state.feature, state.version)).collect();
            let body = if job.assigned { "" } else { " empty" };
            format!("{edge_id}: {}{body}{}", states.join(", "), job.skip.as_deref().map(|skip| format!(" but {skip}")).unwrap_or_default())
        };
        self.edges.jobs().iter().map(job).collect()
    }
}

async fn connect(nats: &Nats) -> Bus {
    let timeout_ms = u64::try_from(TIMEOUT.as_millis()).unwrap();
    let bus = Bus::connect(&NatsConfig { timeout_ms, ..nats.config() }, "dfks-mi").await.unwrap();
    bus.connected().await;
    bus
}

fn duty(request: &str, features: &[&str]) -> Value {
    json!({ "features": features, "request": request, "cause": "c", "at": clock::rfc3339(clock::utc_now()) })
}

fn record(version: u64, duties: &[Value]) -> Value {
    let state = json!({ "assigned": true, "status": 1, "values": {}, "version": version });
    json!({ "presentity": "sip:alice@h", "features": { "DoNotDisturb": state, "CallForwardingBusy": state }, "duties": duties })
}

#[tokio::test]
async fn what_is_committed_is_told_to_every_edge_once() {
    let bucket = Bucket::new().await;
    let teller = bucket.teller(two_edges()).await;
    let mut asked_by_a_phone = duty("r1", &["DoNotDisturb"]);
    asked_by_a_phone["skip"] = json!("s1");
    asked_by_a_phone["assigned"] = json!(false);
    bucket.put(&record(7, &[asked_by_a_phone])).await;
    eventually("the change is told", async || teller.jobs().len() == 2 && bucket.waiting().await == 0).await;
    assert_eq!(teller.jobs(), ["edge-0: DoNotDisturb 7 empty but s1", "edge-1: DoNotDisturb 7 empty but s1"]);
    bucket.put(&record(8, &[])).await;
    bucket.put_bytes("not ours".into()).await;
    eventually("nothing else waits", async || bucket.waiting().await == 0).await;
    assert_eq!(teller.jobs().len(), 2, "no duty, nobody is told; an unreadable record stops nothing");
    teller.stop().await;
}

/// What a get has learnt from a responder: nobody but the teller publishes its event.
#[tokio::test]
async fn what_a_get_has_learnt_is_told_and_is_one_event_however_often_it_is_told() {
    let bucket = Bucket::new().await;
    let state =
        |status: u8, version: u64| json!({ "feature": "DoNotDisturb", "status": status, "version": version, "source": "responder" });
    let mut learnt = duty("r1", &["DoNotDisturb"]);
    learnt["skip"] = json!("s1");
    learnt["learnt"] = json!([{ "event": "e1", "old": state(0, 6), "new": state(1, 7) }]);
    for _ in 0..2 {
        // Each teller knows nothing of what another has told.
        let teller = bucket.teller(two_edges()).await;
        bucket.put(&record(7, &[learnt.clone()])).await;
        eventually("the change is told", async || teller.jobs().len() == 2 && bucket.waiting().await == 0).await;
        assert_eq!(teller.jobs(), ["edge-0: DoNotDisturb 7 but s1", "edge-1: DoNotDisturb 7 but s1"]);
        teller.stop().await;
    }
    let events = bucket.bus.jetstream().unwrap().get_stream("DFKS_EVENTS").await.unwrap();
    eventually("the event is stored", async || events.get_info().await.unwrap().state.messages > 0).await;
    let event = events.get_last_raw_message_by_subject("dfks.event.feature.h.DoNotDisturb").await.unwrap();
    let event: Value = serde_json::from_slice(&event.payload).unwrap();
    for (field, want) in [("id", json!("e1")), ("origin", json!("responder")), ("outcome", json!("applied")), ("watchers", json!(3))] {
        assert_eq!(event[field], want, "{event}");
    }
    assert_eq!((&event["old"]["status"], &event["new"]["status"], &event["version"]), (&json!(0), &json!(1), &json!(7)), "{event}");
    assert_eq!(events.get_info().await.unwrap().state.messages, 1);

    // Covered up long after it was told: a bridge that knows nothing of that publishes no second one, not even to who follows live.
    let mut live = bucket.bus.client().subscribe("dfks.event.feature.>").await.unwrap();
    learnt["at"] = json!(clock::rfc3339(clock::utc_now() - Duration::from_mins(1)));
    let teller = bucket.teller(two_edges()).await;
    bucket.put(&record(8, &[learnt.clone(), duty("r2", &["CallForwardingBusy"])])).await;
    eventually("the change is told", async || !teller.jobs().is_empty() && bucket.waiting().await == 0).await;
    teller.stop().await;
    // Covered up while no bridge was there: told by the next.
    learnt["learnt"][0]["event"] = json!("e2");
    learnt["at"] = json!(clock::rfc3339(clock::utc_now()));
    learnt["features"] = json!([]);
    bucket.put(&record(9, &[learnt, duty("r3", &["DoNotDisturb"])])).await;
    let teller = bucket.teller(two_edges()).await;
    let event = tokio::time::timeout(TIMEOUT, futures_util::StreamExt::next(&mut live)).await.expect("an event").unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&event.payload).unwrap()["id"], "e2");
    teller.stop().await;
}

/// All bridges are away: changes are committed, then covered up by later ones. Whoever comes tells all of them.
#[tokio::test]
async fn what_nobody_was_there_to_tell_is_told_by_the_next_one() {
    let bucket = Bucket::new().await;
    bucket.teller(two_edges()).await.stop().await;
    bucket.put(&record(1, &[duty("r1", &["DoNotDisturb"])])).await;
    bucket.put(&record(2, &[duty("r1", &["DoNotDisturb"]), duty("r2", &["CallForwardingBusy"])])).await;
    let teller = bucket.teller(Edges { watchers: vec![("edge-0", 1)], ..Edges::default() }).await;
    eventually("all is told", async || teller.jobs().len() == 2 && bucket.waiting().await == 0).await;
    assert_eq!(teller.jobs(), ["edge-0: DoNotDisturb 2", "edge-0: CallForwardingBusy 2"]);
    teller.stop().await;
}

/// A bridge that takes a change and then does nothing more, as one that is stopped (SIGSTOP) or crashes.
#[tokio::test]
async fn what_a_bridge_had_in_hand_when_it_fell_silent_is_told_by_another_within_5_s() {
    let bucket = Bucket::new().await;
    let silent = bucket.teller(Edges { is_stuck: true, ..two_edges() }).await;
    eventually("its consumer is there", async || bucket.waiting().await == 0).await;
    bucket.put(&record(1, &[duty("r1", &["DoNotDisturb"])])).await;
    eventually("it has the change in hand", async || silent.edges.asked() > 0).await;
    silent.task.abort();
    let fell_silent_at = clock::now();
    let teller = bucket.teller(two_edges()).await;
    eventually("another tells it", async || !teller.jobs().is_empty()).await;
    let took = clock::now().duration_since(fell_silent_at);
    assert!(took < Duration::from_secs(5), "{took:?}");
    eventually("and it is done", async || bucket.waiting().await == 0).await;
    teller.stop().await;
}

/// The work queue of jobs is full, then has room again.
#[tokio::test]
async fn jobs_that_cannot_be_stored_are_stored_when_they_can() {
    let bucket = Bucket::new().await;
    let full = RequestError::Stream { code: 10077, description: "maximum messages exceeded".into() };
    let edges = two_edges();
    edges.fail(full);
    let teller = bucket.teller(edges).await;
    bucket.put(&record(1, &[duty("r1", &["DoNotDisturb"])])).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(teller.jobs().is_empty() && bucket.waiting().await == 1);
    *teller.edges.failure.lock().unwrap() = None;
    eventually("it is told", async || teller.jobs().len() == 2 && bucket.waiting().await == 0).await;
    teller.stop().await;
}
