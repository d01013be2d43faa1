//! Creates missing streams and buckets; existing ones keep their operator's settings.

use std::fmt;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};

use crate::bus::client::Bus;
use crate::bus::error::RequestError;
use crate::bus::kv;
use crate::bus::room::{Room, Sized};
use crate::bus::subject::Subjects;
use crate::bus::token::takes;
use crate::bus::widen;
use crate::config::{NatsConfig, NatsMaxBytes};
use crate::runtime::Backoff;

/// Publishing a message again with the same `Nats-Msg-Id` within this stores it once.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);
/// How long a NOTIFY job waits for its edge, and is worth doing.
pub(crate) const JOB_LIFETIME: Duration = Duration::from_hours(1);
/// Lifetime of the marker of an expired key, for watchers of the bucket that were away when it expired.
const EXPIRY_MARKER: Duration = Duration::from_mins(1);
/// Timeout of a call: creating a stream takes disk writes, or a vote of the cluster.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of the first attempt. While a cluster creates a stream, calls about it stay unanswered (nats-server 2.15), as when
/// several roles start at once.
const FIRST_CALL_TIMEOUT: Duration = Duration::from_millis(500);
/// Waits between attempts.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// Attempts where there is no room, before it counts as such: roles that start at once take it from each other for a moment.
const FULL_TRIES: usize = 4;

const DAY: Duration = Duration::from_hours(24);

/// Of the JetStream API: a subject belongs to another stream.
const SUBJECT_OVERLAP: u64 = 10065;

/// What the streams and buckets are to be.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// `nats.replicas`
    pub replicas: usize,
    /// `nats.max_bytes`
    pub max_bytes: NatsMaxBytes,
}

impl From<&NatsConfig> for Wanted {
    fn from(config: &NatsConfig) -> Self {
        Self { replicas: config.replicas, max_bytes: config.max_bytes }
    }
}

/// Of default sizes.
impl From<usize> for Wanted {
    fn from(replicas: usize) -> Self {
        Self { replicas, max_bytes: NatsMaxBytes::default() }
    }
}

/// Why a stream cannot be created; waiting does not help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error("stream {stream} cannot be made{hindrance}")]
pub struct SetupError {
    /// The stream; a bucket's is `KV_<bucket>`.
    pub stream: String,
    /// What the server said.
    #[source]
    pub source: RequestError,
    /// What somebody has to take out of the way.
    pub hindrance: Hindrance,
}

/// What stands in the way of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hindrance {
    /// The server's store is too small.
    NoRoom,
    /// Its subjects are taken by these streams; none where the server does not say which.
    Taken {
        /// One of ours, as configured.
        subject: String,
        /// Streams of others.
        by: Vec<String>,
    },
    /// Something else.
    Other,
}

impl Hindrance {
    /// Whether another attempt cannot help.
    pub(crate) fn stays(&self) -> bool {
        match self {
            Self::NoRoom => true,
            Self::Taken { by, .. } => !by.is_empty(),
            Self::Other => false,
        }
    }
}

/// What to do about it.
impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom => f.write_str(Room::REMEDY),
            Self::Taken { subject, by } => {
                let by = if by.is_empty() { "another".to_owned() } else { by.join(", ") };
                write!(f, ": {subject} belongs to stream {by}, and in an account no two streams have the same subject: narrow the ")?;
                f.write_str("subjects of that stream or remove it, and record what is sent with one that sources ours")
            }
            Self::Other => Ok(()),
        }
    }
}

/// Creates missing streams and buckets, and returns how many. Waits for a connection and for JetStream as long as it takes; safe
/// to run in several roles at once.
///
/// Streams that are made here and have no size of their own in `nats.max_bytes` are as large as the server has room for.
///
/// # Errors
///
/// [`SetupError`] where waiting cannot help: the server refuses what the configuration asks for, such as replicas
/// without a cluster, or an account without JetStream.
pub async fn ensure(bus: &Bus, wanted: impl Into<Wanted>) -> Result<usize, SetupError> {
    let wanted = wanted.into();
    let mut room = Room::new(wanted.max_bytes);
    let (mut made, mut sized) = (0, Vec::new());
    for at in 0..streams(bus.subjects(), wanted.replicas, room).len() {
        let (mut retry, mut said, mut timeout, mut full) = (RETRY, String::new(), FIRST_CALL_TIMEOUT, 0);
        while let Some((size, config)) = streams(bus.subjects(), wanted.replicas, room).into_iter().nth(at) {
            let source = match ensure_stream(bus, &config, timeout).await {
                Ok(is_new) => {
                    made += usize::from(is_new);
                    sized.extend(size.filter(|_| is_new));
                    break;
                }
                Err(error) => error,
            };
            timeout = CALL_TIMEOUT;
            let has_no_room = has_no_room(&source);
            if let (true, Some(size)) = (has_no_room, size)
                && room.shrink(bus, size, &sized, wanted.replicas, bus.timeout()).await
            {
                shrink_made(bus, wanted.replicas, room, &mut sized).await;
                continue;
            }
            full += usize::from(has_no_room);
            if full > FULL_TRIES || is_final(&source) {
                let hindrance = if has_no_room { Hindrance::NoRoom } else { hindrance(bus, &config, &source).await };
                return Err(SetupError { stream: config.name, source, hindrance });
            }
            // log each new reason once
            let reason = source.to_string();
            let is_surprise = !matches!(source, RequestError::Timeout(FIRST_CALL_TIMEOUT));
            if is_surprise && !has_no_room && said != reason && bus.is_connected() {
                tracing::warn!(stream = config.name, domain = bus.domain(), error = reason, "stream not there yet, trying again");
                said = reason;
            }
            bus.connected().await;
            tokio::time::sleep(retry.next(rand::random())).await;
        }
    }
    Ok(made)
}

/// Why the server does not make this stream, other than for room.
async fn hindrance(bus: &Bus, config: &Config, error: &RequestError) -> Hindrance {
    let RequestError::Stream { code: SUBJECT_OVERLAP, .. } = error else { return Hindrance::Other };
    let subject = config.subjects.concat();
    // not every user may ask
    let by = bus.streams_on(&subject).await.unwrap_or_default();
    Hindrance::Taken { by: by.into_iter().filter(|name| *name != config.name).collect(), subject }
}

/// Makes the streams that were created a moment ago, and are empty, as small as the next ones must be. Those that cannot be changed
/// (not permitted) keep their size.
async fn shrink_made(bus: &Bus, replicas: usize, room: Room, made: &mut Vec<Sized>) {
    for (size, config) in streams(bus.subjects(), replicas, room) {
        if !size.is_some_and(|size| made.contains(&size)) {
            continue;
        }
        let updated = bus.api_with::<_, Info>(&format!("STREAM.UPDATE.{}", config.name), &config, bus.timeout()).await;
        if let Err(error) = updated {
            tracing::debug!(stream = config.name, %error, "stream keeps its size");
            return made.clear();
        }
    }
}

/// Every stream, buckets included.
fn streams(subjects: &Subjects, replicas: usize, room: Room) -> Vec<(Option<Sized>, Config)> {
    let stream = |size: Sized, filter: String, retention: RetentionPolicy, max_age: Duration| {
        let config = Config {
            name: subjects.stream(size.name()),
            subjects: vec![filter],
            retention,
            max_bytes: room.bytes(size),
            max_age,
            storage: StorageType::File,
            num_replicas: replicas,
            duplicate_window: DUPLICATE_WINDOW,
            // a full work queue refuses what is new, it never loses what it took
            discard: if retention == RetentionPolicy::WorkQueue { DiscardPolicy::New } else { DiscardPolicy::Old },
            allow_direct: true,
            ..Config::default()
        };
        (Some(size), config)
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
    let with_ttl = |config| Config { allow_message_ttl: true, subject_delete_marker_ttl: Some(EXPIRY_MARKER), ..config };
    vec![
        // First: where the streams take all that there is, the server makes not even a bucket without a size.
        (None, with_ttl(bucket(subjects.subscription_bucket()))),
        (None, bucket(subjects.feature_bucket())),
        (None, with_ttl(bucket(subjects.edge_bucket()))),
        (None, bucket(subjects.responder_bucket())),
        stream(Sized::Commands, subjects.all_commands(), RetentionPolicy::WorkQueue, Duration::ZERO),
        stream(Sized::Notify, subjects.all_notify(), RetentionPolicy::WorkQueue, JOB_LIFETIME),
        stream(Sized::Events, subjects.all_events(), RetentionPolicy::Limits, 7 * DAY),
        stream(Sized::Dead, subjects.all_dead(), RetentionPolicy::Limits, 30 * DAY),
    ]
}

/// Creates the bucket of responders where it is gone. It asks for no size, so there is room wherever there is any.
///
/// # Errors
///
/// [`RequestError`] of the JetStream API.
pub(crate) async fn ensure_responders(bus: &Bus) -> Result<bool, RequestError> {
    let name = kv::stream(&bus.subjects().responder_bucket());
    let all = streams(bus.subjects(), bus.replicas(), Room::new(NatsMaxBytes::default()));
    match all.into_iter().find(|(_, config)| config.name == name) {
        Some((_, config)) => ensure_stream(bus, &config, bus.timeout()).await,
        None => Ok(false),
    }
}

/// Returns whether it was created here.
async fn ensure_stream(bus: &Bus, config: &Config, timeout: Duration) -> Result<bool, RequestError> {
    match bus.api::<Info>(&format!("STREAM.INFO.{}", config.name), timeout).await {
        Ok(found) => {
            respect(bus.subjects(), config, &found.config);
            if config.name == bus.subjects().stream(Sized::Commands.name()) {
                widen::take_in(bus, &config.name, &bus.subjects().commands_of_any_domain()).await?;
            }
            return Ok(false);
        }
        Err(RequestError::Stream { code: RequestError::STREAM_NOT_FOUND, .. }) => {}
        Err(error) => return Err(error),
    }
    match bus.api_with::<_, Info>(&format!("STREAM.CREATE.{}", config.name), config, timeout).await {
        Ok(_info) => {
            tracing::info!(stream = config.name, max_bytes = config.max_bytes, "stream made");
            Ok(true)
        }
        // another role or an operator was first
        Err(RequestError::Stream { code: RequestError::STREAM_NAME_IN_USE, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Warns of operator's settings that break something, and keeps them.
fn respect(subjects: &Subjects, want: &Config, found: &Config) {
    if let Some(consequence) = consequence(subjects, want, found) {
        tracing::warn!(stream = found.name, consequence, "stream was made by someone else, with other settings");
    }
}

fn consequence(subjects: &Subjects, want: &Config, found: &Config) -> Option<&'static str> {
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
    let is_covered = |subject: &String| found.subjects.iter().any(|filter| takes(filter, subject));
    if want.subjects == [subjects.all_commands()] && is_covered(&subjects.command_set()) {
        // those of tenants are added
        return None;
    }
    (!want.subjects.iter().all(is_covered)).then_some("what we publish is not stored: other subjects")
}

/// Whether the server has no room for a stream of this size.
///
/// Source: `server/errors.json` of nats-server.
fn has_no_room(error: &RequestError) -> bool {
    const ACCOUNT_RESOURCES_EXCEEDED: u64 = 10002;
    const NO_SUITABLE_PEERS: u64 = 10005;
    const INSUFFICIENT_RESOURCES: u64 = 10023;
    const INSUFFICIENT_STORAGE: u64 = 10047;
    const OVER_STREAM_LIMIT: u64 = 10122;
    let RequestError::Stream { code, description } = error else { return false };
    match *code {
        ACCOUNT_RESOURCES_EXCEEDED | INSUFFICIENT_RESOURCES | INSUFFICIENT_STORAGE | OVER_STREAM_LIMIT => true,
        NO_SUITABLE_PEERS => description.contains("storage"),
        _ => false,
    }
}

/// Whether only a change of configuration, ours or the server's, can fix this error.
///
/// Source: `server/errors.json` of nats-server.
const fn is_final(error: &RequestError) -> bool {
    const NOT_ENABLED_FOR_ACCOUNT: u64 = 10039;
    const INVALID_CONFIG: u64 = 10052;
    const REPLICAS_WITHOUT_CLUSTER: u64 = 10074;
    const BAD_REQUEST: u64 = 10003;
    matches!(
        error,
        RequestError::Stream {
            code: NOT_ENABLED_FOR_ACCOUNT | INVALID_CONFIG | SUBJECT_OVERLAP | REPLICAS_WITHOUT_CLUSTER | BAD_REQUEST,
            ..
        } | RequestError::Unwritable(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_retentions_are_those_of_the_contract() {
        let made = streams(&Subjects::new("dfks"), 3, Room::new(NatsMaxBytes::default())).into_iter();
        let made: Vec<_> = made.map(|(_, c)| (c.name, c.subjects.concat(), c.retention, c.num_replicas)).collect();
        let (queue, limits) = (RetentionPolicy::WorkQueue, RetentionPolicy::Limits);
        let want = [
            ("KV_dfks-subscriptions", "$KV.dfks-subscriptions.>", limits),
            ("KV_dfks-features", "$KV.dfks-features.>", limits),
            ("KV_dfks-edges", "$KV.dfks-edges.>", limits),
            ("KV_dfks-responders", "$KV.dfks-responders.>", limits),
            ("DFKS_COMMANDS", "dfks.command.>", queue),
            ("DFKS_NOTIFY", "dfks.notify.*", queue),
            ("DFKS_EVENTS", "dfks.event.>", limits),
            ("DFKS_DEAD", "dfks.dead.>", limits),
        ];
        assert_eq!(made, want.map(|(name, subject, retention)| (name.to_owned(), subject.to_owned(), retention, 3)));
    }

    #[test]
    fn says_what_other_settings_break() {
        let subjects = Subjects::new("dfks");
        let all = streams(&subjects, 1, Room::new(NatsMaxBytes::default()));
        let named = |name: &str| all.iter().map(|(_, config)| config).find(|config| config.name == name).expect("one of ours");
        let (commands, notify, subscriptions) = (named("DFKS_COMMANDS"), named("DFKS_NOTIFY"), named("KV_dfks-subscriptions"));
        assert_eq!(consequence(&subjects, subscriptions, subscriptions), None);
        assert_eq!(consequence(&subjects, commands, &Config { subjects: vec!["dfks.command.set".into()], ..commands.clone() }), None);
        assert_eq!(consequence(&subjects, notify, &Config { max_bytes: 1, num_replicas: 3, ..notify.clone() }), None);
        let cases = [
            (subscriptions, Config { allow_message_ttl: false, ..subscriptions.clone() }, "per-message TTL"),
            (subscriptions, Config { subject_delete_marker_ttl: None, ..subscriptions.clone() }, "delete markers"),
            (subscriptions, Config { max_messages_per_subject: 5, ..subscriptions.clone() }, "history"),
            (notify, Config { retention: RetentionPolicy::Limits, ..notify.clone() }, "retention"),
            (notify, Config { subjects: vec!["dfks.notify.a".into()], ..notify.clone() }, "subjects"),
            (commands, Config { subjects: vec!["dfks.command.other".into()], ..commands.clone() }, "subjects"),
        ];
        for (want, found, word) in cases {
            assert!(consequence(&subjects, want, &found).is_some_and(|text| text.contains(word)), "{word}");
        }
    }
}
