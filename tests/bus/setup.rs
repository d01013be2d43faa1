//! Streams and buckets, and how long keys live.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream;
use dfks::bus::setup::{self, Hindrance, Wanted};
use dfks::bus::subject::Pattern;
use dfks::bus::{Bus, RequestError};
use dfks::config::{NatsConfig, NatsMaxBytes};
use dfks::runtime::clock;

use crate::common::{Nats, eventually};
use crate::connect;

#[tokio::test]
async fn makes_what_is_missing_once_whoever_comes_first() {
    let nats = Nats::start();
    let bus = connect(&nats.config()).await;
    let made = futures_util::future::join_all((0..5).map(|_| setup::ensure(&bus, 1))).await;
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    setup::ensure(&bus, 1).await.unwrap();
    for (name, retention) in [
        ("DFKS_COMMANDS", stream::RetentionPolicy::WorkQueue),
        ("DFKS_NOTIFY", stream::RetentionPolicy::WorkQueue),
        ("DFKS_EVENTS", stream::RetentionPolicy::Limits),
        ("DFKS_DEAD", stream::RetentionPolicy::Limits),
        ("KV_dfks-subscriptions", stream::RetentionPolicy::Limits),
        ("KV_dfks-features", stream::RetentionPolicy::Limits),
        ("KV_dfks-edges", stream::RetentionPolicy::Limits),
        ("KV_dfks-responders", stream::RetentionPolicy::Limits),
    ] {
        let stream = bus.jetstream().unwrap().get_stream(name).await.unwrap();
        assert_eq!(stream.cached_info().config.retention, retention, "{name}");
    }
    let features = bus.jetstream().unwrap().get_key_value("dfks-features").await.unwrap();
    let revision = features.create("sip=3Aalice", "{}".into()).await.unwrap();
    features.update("sip=3Aalice", "{}".into(), revision).await.unwrap();
}

#[tokio::test]
async fn leaves_an_operators_settings_alone() {
    let nats = Nats::start();
    let bus = connect(&nats.config()).await;
    let own = stream::Config {
        name: "DFKS_EVENTS".into(),
        subjects: vec!["dfks.event.>".into()],
        max_age: Duration::from_mins(5),
        storage: stream::StorageType::Memory,
        ..Default::default()
    };
    bus.jetstream().unwrap().create_stream(own).await.unwrap();
    setup::ensure(&bus, 1).await.unwrap();
    let kept = bus.jetstream().unwrap().get_stream("DFKS_EVENTS").await.unwrap();
    assert_eq!(kept.cached_info().config.max_age, Duration::from_mins(5));
    assert_eq!(kept.cached_info().config.storage, stream::StorageType::Memory);
}

/// An operator records a subject of ours before the first start.
#[tokio::test]
async fn a_stream_of_others_over_our_subjects_is_named_with_what_to_do() {
    let nats = Nats::start();
    let bus = connect(&nats.config()).await;
    let record = |name: &str, subject: &str| stream::Config { name: name.into(), subjects: vec![subject.into()], ..Default::default() };
    bus.jetstream().unwrap().create_stream(record("AUDIT", "dfks.event.>")).await.unwrap();
    bus.jetstream().unwrap().create_stream(record("BILLING", "dfks.command.set")).await.unwrap();
    for (stream, subject, by) in [("DFKS_COMMANDS", "dfks.command.>", "BILLING"), ("DFKS_EVENTS", "dfks.event.>", "AUDIT")] {
        let error = setup::ensure(&bus, 1).await.unwrap_err();
        assert_eq!(error.stream, stream);
        assert_eq!(error.hindrance, Hindrance::Taken { subject: subject.into(), by: vec![by.into()] });
        let want = format!("stream {stream} cannot be made: {subject} belongs to stream {by}, ");
        assert!(error.to_string().starts_with(&want), "{error}");
        bus.jetstream().unwrap().delete_stream(by).await.unwrap();
    }
    setup::ensure(&bus, 1).await.unwrap();
}

#[tokio::test]
async fn uses_the_prefix_for_every_name() {
    let nats = Nats::start();
    let bus = connect(&NatsConfig { prefix: "lab".into(), ..nats.config() }).await;
    setup::ensure(&bus, 1).await.unwrap();
    bus.jetstream().unwrap().get_stream("LAB_NOTIFY").await.unwrap();
    bus.jetstream().unwrap().get_key_value("lab-subscriptions").await.unwrap();
    assert!(bus.jetstream().unwrap().get_stream("DFKS_NOTIFY").await.is_err());
}

#[tokio::test]
async fn says_at_once_what_no_waiting_can_heal() {
    let nats = Nats::start();
    let bus = connect(&nats.config()).await;
    let error = tokio::time::timeout(Duration::from_secs(5), setup::ensure(&bus, 3)).await.expect("an answer").unwrap_err();
    assert_eq!(error.stream, "KV_dfks-subscriptions");
    assert!(matches!(error.source, RequestError::Stream { code: 10074, .. }), "{:?}", error.source);
}

/// The sizes of the streams of commands, jobs, events and dead letters, in MiB.
async fn sizes(bus: &Bus) -> [i64; 4] {
    let mut sizes = [0; 4];
    for (size, name) in sizes.iter_mut().zip(["COMMANDS", "NOTIFY", "EVENTS", "DEAD"]) {
        let stream = bus.jetstream().unwrap().get_stream(format!("DFKS_{name}")).await.unwrap();
        *size = stream.cached_info().config.max_bytes >> 20;
    }
    sizes
}

#[tokio::test]
async fn the_streams_are_as_large_as_there_is_room_for() {
    for (store, config, want) in [
        ("8GB", String::new(), [256, 512, 1024, 256]),
        // of a disk with 100 MB left the server takes three quarters
        ("75MB", String::new(), [8, 16, 32, 8]),
        ("2GB", String::new(), [256, 512, 1024, 256]),
        ("1GB", String::new(), [128, 256, 512, 128]),
        ("8GB", account("100MB"), [8, 16, 32, 8]),
        ("8GB", account("1500MB"), [128, 256, 512, 128]),
    ] {
        let (_nats, bus) = with_room(store, &config).await;
        // as the roles of a process do
        let made = futures_util::future::join_all((0..3).map(|_| setup::ensure(&bus, 1))).await;
        assert!(made.iter().all(Result::is_ok), "{config}: {made:?}");
        let found = sizes(&bus).await;
        // roles that begin at the same moment take room from each other for a while
        let is_about = found.iter().zip(want).all(|(found, want)| *found <= want * 2 && *found * 4 >= want);
        assert!(is_about && (store != "8GB" || !config.is_empty() || found == want), "{store} {config}: {found:?}");
    }
}

/// An account with so much room; its user is `a`.
fn account(room: &str) -> String {
    format!("accounts {{ A: {{ jetstream: {{ max_mem: 1MB, max_file: {room} }}, users: [{{user: a, password: a}}] }} }}")
}

/// A server with such a store, and a client of its account where the configuration has one.
async fn with_room(store: &str, config: &str) -> (Nats, Bus) {
    let nats = Nats::with_store(store, config);
    let url = nats.url().replace("nats://", if config.is_empty() { "nats://" } else { "nats://a:a@" });
    let bus = connect(&NatsConfig { url, ..nats.config() }).await;
    (nats, bus)
}

/// The streams take all of 2 GiB, to the byte: nothing is left for a bucket that comes after them.
#[tokio::test]
async fn streams_that_fill_the_store_to_the_byte_leave_room_for_the_buckets() {
    for (store, config) in [("2GB", ""), ("1GB", ""), ("512MB", ""), ("256MB", ""), ("8GB", &account("2GB"))] {
        let (_nats, bus) = with_room(store, config).await;
        assert_eq!(setup::ensure(&bus, 1).await.unwrap(), 8, "{store} {config}");
        assert_eq!(setup::ensure(&bus, 1).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_size_that_is_configured_is_kept_or_refused() {
    let nats = Nats::with_store("75MB", "");
    let bus = connect(&nats.config()).await;
    let max_bytes = NatsMaxBytes { events: 100 << 20, ..NatsMaxBytes::default() };
    let error = setup::ensure(&bus, Wanted { replicas: 1, max_bytes }).await.unwrap_err();
    assert!(
        error.hindrance == Hindrance::NoRoom && error.stream == "DFKS_EVENTS" && error.to_string().contains("nats.max_bytes"),
        "{error}"
    );
    let max_bytes = NatsMaxBytes { events: 20 << 20, notify: 10 << 20, commands: 3 << 20, dead: 2 << 20 };
    let nats = Nats::with_store("75MB", "");
    let bus = connect(&nats.config()).await;
    setup::ensure(&bus, Wanted { replicas: 1, max_bytes }).await.unwrap();
    assert_eq!(sizes(&bus).await, [3, 10, 20, 2]);
}

/// Stores a subscription as an edge does: with an expiry, and only over the revision it knows.
pub(crate) async fn store(bus: &Bus, key: &str, value: &str, ttl: &str, revision: Option<u64>) -> Result<u64, RequestError> {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-TTL", ttl);
    if let Some(revision) = revision {
        headers.insert("Nats-Expected-Last-Subject-Sequence", revision.to_string());
    }
    let subject = bus.subjects().subscription_key(key);
    bus.store(Pattern::SubscriptionBucket, subject, headers, value.to_owned().into()).await
}

#[tokio::test]
async fn a_key_expires_and_storing_it_again_moves_its_expiry() {
    let nats = Nats::start();
    let bus = connect(&nats.config()).await;
    setup::ensure(&bus, 1).await.unwrap();
    let bucket = bus.jetstream().unwrap().get_key_value("dfks-subscriptions").await.unwrap();
    let is_there = async |key: &str| bucket.get(key.to_owned()).await.unwrap().is_some();

    let started_at = clock::now();
    store(&bus, "short", "{}", "1s", Some(0)).await.unwrap();
    let revision = store(&bus, "moved", "{}", "2s", Some(0)).await.unwrap();
    let lost = store(&bus, "moved", "{}", "4s", Some(revision + 7)).await;
    assert!(matches!(lost, Err(RequestError::Stream { code: RequestError::WRONG_LAST_SEQUENCE, .. })), "{lost:?}");
    tokio::time::sleep(Duration::from_millis(700)).await;
    store(&bus, "moved", "{}", "4s", Some(revision)).await.unwrap();

    eventually("short has expired", async || !is_there("short").await).await;
    assert!(started_at.elapsed() >= Duration::from_millis(900));
    tokio::time::sleep(Duration::from_millis(3300).saturating_sub(started_at.elapsed())).await;
    assert!(is_there("moved").await, "it would have expired at 2 s");
    eventually("moved has expired", async || !is_there("moved").await).await;
    assert!(started_at.elapsed() >= Duration::from_millis(4500), "{:?}", started_at.elapsed());

    // the marker of an expired key does not keep it from being made again
    store(&bus, "short", "{}", "60s", None).await.unwrap();
    assert!(is_there("short").await);
}
