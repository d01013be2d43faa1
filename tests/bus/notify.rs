//! NOTIFY jobs: stored for each edge, delivered until acknowledged, put aside when given up.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::HeaderMap;
use dfks::bus::pull::{DEAD_DELIVERIES, DEAD_REASON, DEAD_SUBJECT, Delivery, EXPIRES, Pull, PullConfig};
use dfks::bus::subject::Pattern;
use dfks::bus::trace::Cause;
use dfks::bus::{Bus, WatcherIndex};
use dfks::feature::{FeatureState, Presentity, Source, Status, Values};
use dfks::notify::{FanOut, Jobs, Notice, Queue};
use dfks::runtime::Tasks;

use crate::common::eventually;
use crate::server;
use crate::setup::store;

const SECOND: Duration = Duration::from_secs(1);

fn alice() -> Presentity {
    Presentity::parse("sip:alice@10.0.0.11").unwrap()
}

fn state() -> FeatureState {
    FeatureState {
        feature: "DoNotDisturb".into(),
        assigned: true,
        status: Status::ON,
        values: Values::new(),
        version: 7,
        source: Source::Store,
        notify: true,
        until: None,
    }
}

fn notice<'a>(presentity: &'a Presentity, states: &'a [FeatureState], cause: &'a Cause) -> Notice<'a> {
    Notice { presentity, states, assigned: true, skip_edge: None, skip_subscription: None, cause }
}

async fn subscribe(bus: &Bus, key: &str, edge_id: &str) {
    let record = format!(r#"{{"presentity":"sip:alice@10.0.0.11","edge_id":"{edge_id}"}}"#);
    store(bus, key, &record, "60s", None).await.unwrap();
}

async fn waiting(bus: &Bus, stream: &str) -> u64 {
    bus.jetstream().unwrap().get_stream(stream).await.unwrap().cached_info().state.messages
}

/// Stores what `dfks.notify.edge-0` takes, whatever it is.
async fn put(bus: &Bus, payload: &str) {
    bus.store(Pattern::Notify, "dfks.notify.edge-0".into(), HeaderMap::new(), payload.to_owned().into()).await.unwrap();
}

#[tokio::test]
async fn every_edge_with_a_watcher_gets_one_job_once() {
    let ((_nats, bus), tasks) = (server().await, Tasks::new());
    let queue = Queue::new(bus.clone(), WatcherIndex::start(&bus, &tasks, Vec::new()), std::sync::Arc::default());
    for (key, edge) in [("a", "edge-0"), ("b", "edge-0"), ("c", "edge-1.lab")] {
        subscribe(&bus, key, edge).await;
    }
    let (alice, states, cause) = (alice(), [state()], Cause::new());
    let notice = notice(&alice, &states, &cause);
    assert_eq!(queue.fan_out(&notice).await.unwrap(), FanOut { jobs: 2, watchers: 3 });
    // carried out again after a crash, it is the same
    assert_eq!(queue.fan_out(&notice).await.unwrap(), FanOut { jobs: 2, watchers: 3 });
    assert_eq!(waiting(&bus, "DFKS_NOTIFY").await, 2);
    let bob = Presentity::parse("sip:bob@10.0.0.11").unwrap();
    assert_eq!(queue.fan_out(&Notice { presentity: &bob, ..notice }).await.unwrap(), FanOut::default());

    for edge in ["edge-0", "edge-1.lab"] {
        let mut jobs = Jobs::open(&bus, &tasks, edge, Box::new(|_| {}));
        let (job, delivery) = tokio::time::timeout(5 * SECOND, jobs.recv()).await.expect("a job").unwrap();
        assert_eq!((job.presentity.as_str(), job.states.as_slice(), &job.cause), ("sip:alice@10.0.0.11", &states[..], &cause));
        let traceparent = delivery.headers().unwrap().get("traceparent").unwrap().to_string();
        assert!(traceparent.contains(&*cause.0), "{traceparent}");
        delivery.ack().unwrap();
        assert!(tokio::time::timeout(SECOND / 5, jobs.recv()).await.is_err(), "one job alone");
    }
    eventually("the work queue is empty", async || waiting(&bus, "DFKS_NOTIFY").await == 0).await;
    assert_eq!(tasks.failure(), None);
}

#[tokio::test]
async fn jobs_come_again_until_they_are_acknowledged() {
    let ((mut nats, bus), tasks) = (server().await, Tasks::new());
    let queue = Queue::new(bus.clone(), WatcherIndex::start(&bus, &tasks, Vec::new()), std::sync::Arc::default());
    subscribe(&bus, "a", "edge-0").await;
    let (alice, states, cause) = (alice(), [state()], Cause::new());
    queue.fan_out(&notice(&alice, &states, &cause)).await.unwrap();

    let mut jobs = Jobs::open(&bus, &tasks, "edge-0", Box::new(|_| {}));
    let (first, delivery) = jobs.recv().await.unwrap();
    assert_eq!(delivery.deliveries, 1);
    delivery.nak_after(SECOND / 5).unwrap();
    assert!(tokio::time::timeout(SECOND / 10, jobs.recv()).await.is_err(), "not before the delay is over");
    let (again, delivery) = tokio::time::timeout(5 * SECOND, jobs.recv()).await.expect("the job again").unwrap();
    assert_eq!((again.id, delivery.deliveries), (first.id.clone(), 2));

    delivery.ack().unwrap();
    eventually("the work queue is empty", async || waiting(&bus, "DFKS_NOTIFY").await == 0).await;

    // goes on after an outage
    nats.kill();
    eventually("disconnected", async || !bus.is_connected()).await;
    nats.restart();
    bus.connected().await;
    let cause = Cause::new();
    eventually("stored", async || queue.fan_out(&notice(&alice, &states, &cause)).await.is_ok()).await;
    let (job, delivery) = tokio::time::timeout(5 * SECOND, jobs.recv()).await.expect("a job after the outage").unwrap();
    assert_eq!((job.cause, delivery.deliveries), (cause, 1));
    delivery.ack().unwrap();
    assert_eq!(tasks.failure(), None);
}

#[tokio::test]
async fn another_edge_process_gets_what_the_last_one_gave_back() {
    let ((_nats, bus), tasks) = (server().await, Tasks::new());
    for n in 0..20 {
        let job = format!(r#"{{"id":"{n}","presentity":"sip:alice@10.0.0.11","states":[],"not_after":"x"}}"#);
        put(&bus, &job).await;
    }
    let mut jobs = Jobs::open(&bus, &tasks, "edge-0", Box::new(|_| {}));
    let (held, _not_acknowledged) = jobs.recv().await.unwrap();
    tasks.stop(SECOND).await.unwrap();
    jobs.give_back();
    assert!(jobs.recv().await.is_none());

    let tasks = Tasks::new();
    let mut jobs = Jobs::open(&bus, &tasks, "edge-0", Box::new(|_| {}));
    let mut got = BTreeSet::new();
    while got.len() < 19 {
        let (job, delivery) = tokio::time::timeout(10 * SECOND, jobs.recv()).await.expect("what was given back").unwrap();
        delivery.ack().unwrap();
        got.insert(job.id);
    }
    assert!(!got.contains(&held.id), "the one that is held is not delivered before its time");
}

#[tokio::test]
async fn what_cannot_be_read_is_put_aside() {
    let ((_nats, bus), tasks) = (server().await, Tasks::new());
    put(&bus, "<xml/>").await;
    put(&bus, r#"{"id":"good","presentity":"sip:alice@10.0.0.11","states":[],"not_after":"x"}"#).await;
    let mut jobs = Jobs::open(&bus, &tasks, "edge-0", Box::new(|_| {}));
    let (job, delivery) = tokio::time::timeout(5 * SECOND, jobs.recv()).await.expect("the good one").unwrap();
    assert_eq!(job.id, "good");
    delivery.ack().unwrap();
    eventually("the work queue is empty", async || waiting(&bus, "DFKS_NOTIFY").await == 0).await;
    let dead = bus.jetstream().unwrap().get_stream("DFKS_DEAD").await.unwrap();
    let letter = dead.get_last_raw_message_by_subject("dfks.dead.notify").await.unwrap();
    assert_eq!(letter.payload.as_ref(), b"<xml/>");
    for (name, want) in [(DEAD_REASON, "unreadable"), (DEAD_SUBJECT, "dfks.notify.edge-0"), (DEAD_DELIVERIES, "1")] {
        assert_eq!(letter.headers.get(name).unwrap().as_str(), want);
    }
}

#[tokio::test]
async fn a_job_that_came_too_late_is_put_aside_and_told() {
    let ((_nats, bus), tasks) = (server().await, Tasks::new());
    put(&bus, r#"{"id":"late","presentity":"sip:alice@10.0.0.11","states":[],"not_after":"2020-01-01T00:00:00Z"}"#).await;
    let (told, mut given_up) = tokio::sync::mpsc::channel(1);
    let _jobs = Jobs::open(&bus, &tasks, "edge-0", Box::new(move |why| told.try_send(why).unwrap()));
    assert_eq!(tokio::time::timeout(5 * SECOND, given_up.recv()).await.expect("told"), Some(dfks::notify::GivenUp::Expired));
    let dead = bus.jetstream().unwrap().get_stream("DFKS_DEAD").await.unwrap();
    let letter = dead.get_last_raw_message_by_subject("dfks.dead.notify").await.unwrap();
    assert_eq!(letter.headers.get(DEAD_REASON).unwrap().as_str(), "expired");
}

#[tokio::test]
async fn a_job_that_is_never_done_is_given_up() {
    let ((_nats, bus), tasks) = (server().await, Tasks::new());
    put(&bus, r#"{"id":"stuck","presentity":"sip:alice@10.0.0.11","states":[],"not_after":"x"}"#).await;
    let mut jobs = Jobs::open(&bus, &tasks, "edge-0", Box::new(|_| {}));
    for delivered in 1..=10 {
        let (_job, delivery) = tokio::time::timeout(5 * SECOND, jobs.recv()).await.expect("again").unwrap();
        assert_eq!(delivery.deliveries, delivered);
        delivery.nak_after(Duration::ZERO).unwrap();
    }
    eventually("it is put aside", async || waiting(&bus, "DFKS_DEAD").await == 1).await;
    eventually("and out of the work queue", async || waiting(&bus, "DFKS_NOTIFY").await == 0).await;
    let dead = bus.jetstream().unwrap().get_stream("DFKS_DEAD").await.unwrap();
    let letter = dead.get_last_raw_message_by_subject("dfks.dead.notify").await.unwrap();
    assert_eq!(letter.headers.get(DEAD_REASON).unwrap().as_str(), "max_deliver");
}

#[tokio::test]
async fn what_is_not_acknowledged_in_time_comes_again() {
    let (_nats, bus) = server().await;
    put(&bus, "x").await;
    let config = PullConfig {
        stream: "DFKS_NOTIFY".into(),
        durable: "edge-0".into(),
        filter: "dfks.notify.edge-0".into(),
        ack_wait: SECOND,
        max_ack_pending: 10,
        max_deliver: -1,
        inactive_threshold: Duration::ZERO,
        expires: EXPIRES,
        exclusive: None,
    };
    let next = async |pull: &mut Pull| -> Delivery { tokio::time::timeout(5 * SECOND, pull.next(1)).await.expect("a message").unwrap() };
    let mut pull = Pull::open(&bus, config.clone()).await.unwrap();
    let lost = next(&mut pull).await;
    // the process that took it is gone
    drop((lost, pull));
    let mut pull = Pull::open(&bus, config).await.unwrap();
    let again = next(&mut pull).await;
    assert_eq!(again.deliveries, 2);
    tokio::time::sleep(SECOND * 7 / 10).await;
    again.working().unwrap();
    let none = tokio::time::timeout(SECOND * 7 / 10, pull.next(1)).await;
    assert!(none.is_err(), "who says that it works on it has more time");
    again.ack().unwrap();
    eventually("the work queue is empty", async || waiting(&bus, "DFKS_NOTIFY").await == 0).await;
}
