//! Creates missing streams and buckets; existing ones keep their operator's settings.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};

use crate::bus::client::Bus;
use crate::bus::error::RequestError;
use crate::bus::kv;
use crate::bus::subject::Subjects;
use crate::runtime::Backoff;

/// Publishing a message again with the same `Nats-Msg-Id` within this stores it once.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);
/// How long a NOTIFY job waits for its edge, and is worth doing.
pub const JOB_LIFETIME: Duration = Duration::from_hours(1);
/// Lifetime of the marker of an expired key, for watchers of the bucket that were away when it expired.
const EXPIRY_MARKER: Duration = Duration::from_mins(1);
/// Timeout of a call: creating a stream takes disk writes, or a vote of the cluster.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of the first attempt. While a cluster creates a stream, calls about it stay unanswered (nats-server 2.15), as when
/// several roles start at once.
const FIRST_CALL_TIMEOUT: Duration = Duration::from_millis(500);
/// Waits between attempts.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

const MIB: i64 = 1024 * 1024;
const DAY: Duration = Duration::from_hours(24);

/// Why a stream cannot be created; waiting does not help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error("stream {stream} cannot be made")]
pub struct SetupError {
    /// The stream; a bucket's is `KV_<bucket>`.
    pub stream: String,
    /// What the server said.
    #[source]
    pub source: RequestError,
}

/// Creates missing streams and buckets, and returns how many. Waits for a connection and for JetStream as long as it takes; safe
/// to run in several roles at once.
///
/// # Errors
///
/// [`SetupError`] where waiting cannot help: the server refuses what the configuration asks for, such as replicas
/// without a cluster, or an account without JetStream.
pub async fn ensure(bus: &Bus, replicas: usize) -> Result<usize, SetupError> {
    let mut made = 0;
    for config in streams(bus.subjects(), replicas) {
        let mut retry = RETRY;
        let mut said = String::new();
        let mut timeout = FIRST_CALL_TIMEOUT;
        loop {
            let source = match ensure_stream(bus, &config, timeout).await {
                Ok(is_new) => {
                    made += usize::from(is_new);
                    break;
                }
                Err(error) => error,
            };
            timeout = CALL_TIMEOUT;
            if is_final(&source) {
                return Err(SetupError { stream: config.name, source });
            }
            // log each new reason once
            let reason = source.to_string();
            let is_surprise = !matches!(source, RequestError::Timeout(FIRST_CALL_TIMEOUT));
            if is_surprise && said != reason && bus.is_connected() {
                tracing::warn!(stream = config.name, error = reason, "stream not there yet, trying again");
                said = reason;
            }
            bus.connected().await;
            tokio::time::sleep(retry.next(rand::random())).await;
        }
    }
    Ok(made)
}

/// Every stream, buckets included.
fn streams(subjects: &Subjects, replicas: usize) -> [Config; 6] {
    let stream = |name: &str, filter: String, retention: RetentionPolicy, max_bytes: i64, max_age: Duration| Config {
        name: subjects.stream(name),
        subjects: vec![filter],
        retention,
        max_bytes,
        max_age,
        storage: StorageType::File,
        num_replicas: replicas,
        duplicate_window: DUPLICATE_WINDOW,
        // a full work queue refuses what is new, it never loses what it took
        discard: if retention == RetentionPolicy::WorkQueue { DiscardPolicy::New } else { DiscardPolicy::Old },
        allow_direct: true,
        ..Config::default()
    };
    let bucket = |name: String| Config {
        name: kv::stream(&name),
        subjects: vec![kv::subject(&name, ">")],
        // with a longer history, keys with a marker never expire (nats-server 2.15)
        max_messages_per_subject: 1,
        max_bytes: -1,
        storage: StorageType::File,
        num_replicas: replicas,
        duplicate_window: DUPLICATE_WINDOW,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        ..Config::default()
    };
    [
        stream("COMMANDS", subjects.all_commands(), RetentionPolicy::WorkQueue, 256 * MIB, Duration::ZERO),
        stream("NOTIFY", subjects.all_notify(), RetentionPolicy::WorkQueue, 512 * MIB, JOB_LIFETIME),
        stream("EVENTS", subjects.all_events(), RetentionPolicy::Limits, 1024 * MIB, 7 * DAY),
        stream("DEAD", subjects.all_dead(), RetentionPolicy::Limits, 256 * MIB, 30 * DAY),
        Config { allow_message_ttl: true, subject_delete_marker_ttl: Some(EXPIRY_MARKER), ..bucket(subjects.subscription_bucket()) },
        bucket(subjects.feature_bucket()),
    ]
}

/// Returns whether it was created here.
async fn ensure_stream(bus: &Bus, config: &Config, timeout: Duration) -> Result<bool, RequestError> {
    match bus.api::<Info>(&format!("STREAM.INFO.{}", config.name), timeout).await {
        Ok(found) => {
            respect(config, &found.config);
            return Ok(false);
        }
        Err(RequestError::Stream { code: RequestError::STREAM_NOT_FOUND, .. }) => {}
        Err(error) => return Err(error),
    }
    match bus.api_with::<_, Info>(&format!("STREAM.CREATE.{}", config.name), config, timeout).await {
        Ok(_info) => {
            tracing::info!(stream = config.name, "stream made");
            Ok(true)
        }
        // another role or an operator was first
        Err(RequestError::Stream { code: RequestError::STREAM_NAME_IN_USE, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Warns of operator's settings that break something, and keeps them.
fn respect(want: &Config, found: &Config) {
    if let Some(consequence) = consequence(want, found) {
        tracing::warn!(stream = found.name, consequence, "stream was made by someone else, with other settings");
    }
}

fn consequence(want: &Config, found: &Config) -> Option<&'static str> {
    if want.allow_message_ttl && !found.allow_message_ttl {
        return Some("subscriptions cannot be stored: no per-message TTL");
    }
    if want.allow_message_ttl && found.subject_delete_marker_ttl.is_none_or(|ttl| ttl.is_zero()) {
        return Some("expired subscriptions are counted as watchers: no delete markers");
    }
    if want.max_messages_per_subject == 1 && found.max_messages_per_subject != 1 {
        return Some("keys may never expire: history is not 1");
    }
    if want.retention != found.retention {
        return Some("messages are not kept as they should be: other retention");
    }
    let is_covered = |subject: &String| found.subjects.iter().any(|filter| covers(filter, subject));
    (!want.subjects.iter().all(is_covered)).then_some("what we publish is not stored: other subjects")
}

/// Whether the filter takes in every subject that the other filter does.
fn covers(filter: &str, other: &str) -> bool {
    let mut others = other.split('.');
    for token in filter.split('.') {
        match (token, others.next()) {
            (">", Some(_)) => return true,
            ("*", Some(other)) if other != ">" => {}
            (token, Some(other)) if token == other => {}
            _ => return false,
        }
    }
    others.next().is_none()
}

/// Whether only a change of configuration, ours or the server's, can fix this error.
///
/// Source: `server/errors.json` of nats-server.
const fn is_final(error: &RequestError) -> bool {
    const NOT_ENABLED_FOR_ACCOUNT: u64 = 10039;
    const INSUFFICIENT_STORAGE: u64 = 10047;
    const INVALID_CONFIG: u64 = 10052;
    const SUBJECT_OVERLAP: u64 = 10065;
    const REPLICAS_WITHOUT_CLUSTER: u64 = 10074;
    const BAD_REQUEST: u64 = 10003;
    matches!(
        error,
        RequestError::Stream {
            code: NOT_ENABLED_FOR_ACCOUNT
                | INSUFFICIENT_STORAGE
                | INVALID_CONFIG
                | SUBJECT_OVERLAP
                | REPLICAS_WITHOUT_CLUSTER
                | BAD_REQUEST,
            ..
        } | RequestError::Unwritable(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_retentions_are_those_of_the_contract() {
        let made = streams(&Subjects::new("dfks"), 3).map(|c| (c.name, c.subjects.concat(), c.retention, c.num_replicas));
        let (queue, limits) = (RetentionPolicy::WorkQueue, RetentionPolicy::Limits);
        let want = [
            ("DFKS_COMMANDS", "dfks.command.>", queue),
            ("DFKS_NOTIFY", "dfks.notify.*", queue),
            ("DFKS_EVENTS", "dfks.event.>", limits),
            ("DFKS_DEAD", "dfks.dead.>", limits),
            ("KV_dfks-subscriptions", "$KV.dfks-subscriptions.>", limits),
            ("KV_dfks-features", "$KV.dfks-features.>", limits),
        ];
        assert_eq!(made, want.map(|(name, subject, retention)| (name.to_owned(), subject.to_owned(), retention, 3)));
    }

    #[test]
    fn says_what_other_settings_break() {
        let [_, notify, _, _, subscriptions, _] = streams(&Subjects::new("dfks"), 1);
        assert_eq!(consequence(&subscriptions, &subscriptions), None);
        assert_eq!(consequence(&notify, &Config { max_bytes: 1, num_replicas: 3, ..notify.clone() }), None);
        let cases = [
            (&subscriptions, Config { allow_message_ttl: false, ..subscriptions.clone() }, "per-message TTL"),
            (&subscriptions, Config { subject_delete_marker_ttl: None, ..subscriptions.clone() }, "delete markers"),
            (&subscriptions, Config { max_messages_per_subject: 5, ..subscriptions.clone() }, "history"),
            (&notify, Config { retention: RetentionPolicy::Limits, ..notify.clone() }, "retention"),
            (&notify, Config { subjects: vec!["dfks.notify.a".into()], ..notify.clone() }, "subjects"),
        ];
        for (want, found, word) in cases {
            assert!(consequence(want, &found).is_some_and(|text| text.contains(word)), "{word}");
        }
    }

    #[test]
    fn knows_which_filter_is_wider() {
        for (filter, other, want) in [
            ("dfks.event.>", "dfks.event.>", true),
            ("dfks.>", "dfks.event.>", true),
            ("dfks.*.x", "dfks.event.x", true),
            ("dfks.notify.*", "dfks.notify.>", false),
            ("dfks.notify.a", "dfks.notify.*", false),
            ("dfks.notify", "dfks.notify.*", false),
            ("dfks.notify.*", "dfks.notify", false),
        ] {
            assert_eq!(covers(filter, other), want, "{filter} over {other}");
        }
    }
}
