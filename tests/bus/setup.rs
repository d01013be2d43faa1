//! Streams and buckets, and how long keys live.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream;
use dfks::bus::subject::Pattern;
use dfks::bus::{Bus, RequestError, setup};
use dfks::config::NatsConfig;
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
    ] {
        let stream = bus.jetstream().get_stream(name).await.unwrap();
        assert_eq!(stream.cached_info().config.retention, retention, "{name}");
    }
    let features = bus.jetstream().get_key_value("dfks-features").await.unwrap();
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
    bus.jetstream().create_stream(own).await.unwrap();
    setup::ensure(&bus, 1).await.unwrap();
    let kept = bus.jetstream().get_stream("DFKS_EVENTS").await.unwrap();
    assert_eq!(kept.cached_info().config.max_age, Duration::from_mins(5));
    assert_eq!(kept.cached_info().config.storage, stream::StorageType::Memory);
}

#[tokio::test]
async fn uses_the_prefix_for_every_name() {
    let nats = Nats::start();
    let bus = connect(&NatsConfig { prefix: "lab".into(), ..nats.config() }).await;
    setup::ensure(&bus, 1).await.unwrap();
    bus.jetstream().get_stream("LAB_NOTIFY").await.unwrap();
    bus.jetstream().get_key_value("lab-subscriptions").await.unwrap();
    assert!(bus.jetstream().get_stream("DFKS_NOTIFY").await.is_err());
}

#[tokio::test]
async fn says_at_once_what_no_waiting_can_heal() {
    let nats = Nats::start();
    let bus = connect(&nats.config()).await;
    let error = tokio::time::timeout(Duration::from_secs(5), setup::ensure(&bus, 3)).await.expect("an answer").unwrap_err();
    assert_eq!(error.stream, "DFKS_COMMANDS");
    assert!(matches!(error.source, RequestError::Stream { code: 10074, .. }), "{:?}", error.source);
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
    let bucket = bus.jetstream().get_key_value("dfks-subscriptions").await.unwrap();
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
