//! The protocol of a bucket: headers of a write and a removal, markers, direct gets. No I/O.
//!
//! A bucket is a stream of one subject a key. A write names the revision that it replaces (compare-and-set), a removal leaves a
//! marker, and so does a key that expires. Sources: ADR-8 (buckets), ADR-31 (direct get), ADR-43 (TTL and markers).
//!
//! **What has ended stays ended.** A server that starts after a crash reads its files again: what a write or marker has covered
//! up comes back where that is gone by its own TTL, and then has none any more (nats-server 2.15). So whatever takes the place of
//! a value lives as long as that value could, and whoever reads a value looks at the time itself ([`has_outlived`]).

use std::time::{Duration, SystemTime};

use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::{HeaderMap, HeaderValue, Message};
use bytes::Bytes;

use crate::bus::answer;
use crate::bus::error::RequestError;
use crate::bus::trace::{Cause, headers};
use crate::runtime::clock;

/// Operation of a message; a value has none.
const OPERATION: &str = "KV-Operation";
/// Why the server wrote a marker in place of a value.
const MARKER_REASON: &str = "Nats-Marker-Reason";
/// Whose last sequence a write names, where it is not its own subject.
const EXPECTED_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
/// Lifetime of a message.
const TTL: &str = "Nats-TTL";
/// Removes what is stored under the same subject.
const ROLLUP: &str = "Nats-Rollup";
/// Sequence of a message that a direct get returns: the key's revision.
const SEQUENCE: &str = "Nats-Sequence";
/// When the stream took a message that a direct get returns.
const STORED_AT: &str = "Nats-Time-Stamp";
/// Subject of a message that a direct get returns.
const SUBJECT: &str = "Nats-Subject";

/// Status of a direct get that finds no message.
const NO_MESSAGE: u16 = 404;

/// How much longer than what it covers the marker of a removed key lives: long enough for every index to see it.
const REMOVED_MARKER: Duration = Duration::from_mins(1);
/// A value that should have been gone for so long is no value. Less than [`REMOVED_MARKER`]: it is none when it comes back.
const OUTLIVED_AFTER: Duration = Duration::from_secs(10);

pub(crate) fn stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}

pub(crate) fn subject(bucket: &str, key: &str) -> String {
    format!("$KV.{bucket}.{key}")
}

/// Key of a subject, if the subject belongs to this bucket.
pub(crate) fn key<'a>(bucket: &str, subject: &'a str) -> Option<&'a str> {
    subject.strip_prefix("$KV.")?.strip_prefix(bucket)?.strip_prefix('.')
}

/// Subject of a direct get by sequence; its body is `{"seq":7}`.
pub(crate) fn direct_get(bucket: &str) -> String {
    format!("$JS.API.DIRECT.GET.{}", stream(bucket))
}

/// Subject of a direct get of a key's last message; it has no body.
pub(crate) fn direct_get_of(bucket: &str, key: &str) -> String {
    format!("{}.{}", direct_get(bucket), subject(bucket, key))
}

/// Headers of a write over `revision`; 0: the key must not be there.
pub(crate) fn put_headers(revision: u64, ttl: Option<Duration>, cause: &Cause) -> HeaderMap {
    let mut headers = headers(cause);
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(revision));
    if let Some(ttl) = ttl {
        headers.insert(TTL, format!("{}s", ttl_seconds(ttl)));
    }
    headers
}

/// Headers of a write over whatever is there, which is gone after `ttl`.
pub(crate) fn ttl_headers(ttl: Duration, cause: &Cause) -> HeaderMap {
    let mut headers = headers(cause);
    headers.insert(TTL, format!("{}s", ttl_seconds(ttl)));
    headers
}

/// Headers of a marker under a key that nothing is stored under, for as long as any index may take to see it.
pub(crate) fn marker_headers(cause: &Cause) -> HeaderMap {
    let mut headers = ttl_headers(REMOVED_MARKER, cause);
    headers.insert(OPERATION, "DEL");
    headers
}

/// Headers of a marker that is written only while the key of `subject` has this revision: a quorum has said so then.
pub(crate) fn fence_headers(subject: &str, revision: u64, cause: &Cause) -> HeaderMap {
    let mut headers = put_headers(revision, None, cause);
    headers.insert(OPERATION, "DEL");
    headers.insert(EXPECTED_SUBJECT, subject);
    headers
}

/// Headers that remove a key which has this revision, and leave a marker for longer than what it `covers` would have lived.
pub(crate) fn removal_headers(revision: u64, covers: Duration, cause: &Cause) -> HeaderMap {
    let mut headers = put_headers(revision, Some(covers + REMOVED_MARKER), cause);
    headers.insert(OPERATION, "PURGE");
    headers.insert(ROLLUP, "sub");
    headers
}

/// Headers that take a key away for good, whatever its revision: the marker stays.
pub(crate) fn forget_headers(cause: &Cause) -> HeaderMap {
    let mut headers = headers(cause);
    headers.insert(OPERATION, "PURGE");
    headers.insert(ROLLUP, "sub");
    headers
}

/// Whole seconds, rounded up, at least one: the server takes no less.
fn ttl_seconds(ttl: Duration) -> u64 {
    (ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0)).max(1)
}

/// Whether a message takes its key away: a deletion, a purge, or the marker of an expired key.
pub(crate) fn is_marker(headers: &HeaderMap) -> bool {
    let operation = headers.get(OPERATION).map(HeaderValue::as_str);
    matches!(operation, Some("DEL" | "PURGE")) || headers.get(MARKER_REASON).is_some()
}

/// The revision that a removal took away: whoever made it had seen that one.
pub(crate) fn removed_over(headers: &HeaderMap) -> Option<u64> {
    let over = headers.get(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE).filter(|_| is_marker(headers))?;
    over.as_str().parse().ok()
}

/// Whether a value has outlived its TTL: the server brought it back, and will keep it.
pub(crate) fn has_outlived(headers: &HeaderMap, stored_at: Option<SystemTime>, now: SystemTime) -> bool {
    let ttl = headers.get(TTL).and_then(|ttl| ttl.as_str().trim_end_matches('s').parse().ok()).map(Duration::from_secs);
    let gone_at = stored_at.zip(ttl).and_then(|(stored_at, ttl)| stored_at.checked_add(ttl + OUTLIVED_AFTER));
    gone_at.is_some_and(|gone_at| gone_at < now)
}

/// Whether a message that a direct get returned is no value: a marker, or one that has outlived its TTL.
pub(crate) fn is_gone(headers: &HeaderMap, now: SystemTime) -> bool {
    let stored_at = headers.get(STORED_AT).and_then(|at| clock::parse_rfc3339(at.as_str()));
    is_marker(headers) || has_outlived(headers, stored_at, now)
}

/// The revision in the answer to a direct get.
pub(crate) fn revision(headers: &HeaderMap) -> Option<u64> {
    headers.get(SEQUENCE)?.as_str().parse().ok()
}

/// What stands under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A value, and its revision.
    Value(u64, Bytes),
    /// Nothing. The next write must name this revision: that of a marker, or 0.
    Absent(u64),
}

/// Why the answer to a direct get cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// The server did not look the key up.
    #[error("the direct get ended with status {0}")]
    Status(u16),
    /// A message without its sequence.
    #[error("the answer to a direct get has no {SEQUENCE}")]
    NoRevision,
}

/// The answer to a direct get, from its parts. `is_gone`: it is no value.
///
/// # Errors
///
/// [`ReadError`]
pub(crate) fn entry(status: Option<u16>, revision: Option<u64>, is_gone: bool, value: Bytes) -> Result<Entry, ReadError> {
    match (status, revision) {
        (Some(NO_MESSAGE), _) => Ok(Entry::Absent(0)),
        (Some(status), _) => Err(ReadError::Status(status)),
        (None, None) => Err(ReadError::NoRevision),
        (None, Some(revision)) if is_gone => Ok(Entry::Absent(revision)),
        (None, Some(revision)) => Ok(Entry::Value(revision, value)),
    }
}

/// The answer to a direct get.
///
/// # Errors
///
/// [`ReadError`]
pub(crate) fn read(answer: Message, now: SystemTime) -> Result<Entry, ReadError> {
    let headers = answer.headers.unwrap_or_default();
    entry(answer.status.map(|status| status.as_u16()), revision(&headers), is_gone(&headers, now), answer.payload)
}

/// The subject of the message in the answer to a direct get by sequence.
pub(crate) fn subject_of(answer: &Message) -> Option<&str> {
    answer.headers.as_ref()?.get(SUBJECT).map(HeaderValue::as_str)
}

/// What became of a write or removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// Done: the key's new revision.
    Stored(u64),
    /// The key has another revision than the write named; nothing changed.
    Conflict,
}

impl Written {
    /// A lost compare-and-set is an outcome, any other error stays one.
    ///
    /// # Errors
    ///
    /// [`RequestError`]
    pub(crate) fn of(stored: Result<u64, RequestError>) -> Result<Self, RequestError> {
        match stored {
            Ok(revision) => Ok(Self::Stored(revision)),
            Err(error) if error.is_conflict() => Ok(Self::Conflict),
            Err(error) => Err(error),
        }
    }

    /// Reads the server's acknowledgement: `{"stream":"KV_…","seq":7}` or `{"error":{"err_code":10071,…}}`.
    ///
    /// # Errors
    ///
    /// [`RequestError::Stream`] or [`RequestError::Unreadable`]
    pub(crate) fn read(acknowledgement: &[u8]) -> Result<Self, RequestError> {
        Self::of(answer::read_store(acknowledgement))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(headers: &HeaderMap) -> Vec<(String, &str)> {
        let mut text: Vec<_> = headers.iter().filter_map(|(name, values)| Some((name.to_string(), values.first()?.as_str()))).collect();
        text.retain(|(name, _)| name != "traceparent");
        text.sort();
        text
    }

    #[test]
    fn a_write_names_its_revision_and_lifetime() {
        let cause = Cause::new();
        let revision = ("Nats-Expected-Last-Subject-Sequence".to_owned(), "7");
        assert_eq!(text(&put_headers(7, None, &cause)), std::slice::from_ref(&revision));
        for (ttl, want) in [
            (Duration::ZERO, "1s"),
            (Duration::from_millis(1), "1s"),
            (Duration::from_mins(1), "60s"),
            (Duration::from_millis(60_001), "61s"),
        ] {
            assert_eq!(text(&put_headers(7, Some(ttl), &cause)), [revision.clone(), ("Nats-TTL".to_owned(), want)]);
        }
        assert_eq!(Cause::of_headers(Some(&put_headers(7, None, &cause))), cause);
    }

    #[test]
    fn a_removal_is_a_purge_with_a_marker_that_outlives_what_it_covers() {
        let cause = Cause::new();
        let headers = removal_headers(7, Duration::from_hours(1), &cause);
        let want = [("KV-Operation", "PURGE"), ("Nats-Expected-Last-Subject-Sequence", "7"), ("Nats-Rollup", "sub"), ("Nats-TTL", "3660s")];
        assert_eq!(text(&headers), want.map(|(name, value)| (name.to_owned(), value)));
        assert!(is_marker(&headers));
        assert_eq!(Cause::of_headers(Some(&headers)), cause);
    }

    #[test]
    fn tells_markers_from_values() {
        for (name, value, want) in [
            ("KV-Operation", "DEL", true),
            ("KV-Operation", "PURGE", true),
            ("KV-Operation", "PUT", false),
            ("Nats-Marker-Reason", "MaxAge", true),
            ("Nats-TTL", "60s", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value);
            assert_eq!(is_marker(&headers), want, "{name}: {value}");
        }
        assert!(!is_marker(&HeaderMap::new()));
    }

    #[test]
    fn a_value_past_its_time_is_none() {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds);
        for (name, ttl, stored_at, now, want) in [
            ("young", Some("60s"), Some(at(0)), at(59), false),
            ("the server is a moment behind", Some("60s"), Some(at(0)), at(70), false),
            ("it came back", Some("60s"), Some(at(0)), at(71), true),
            ("in seconds, as others may write it", Some("60"), Some(at(0)), at(71), true),
            ("in another form", Some("1h0m0s"), Some(at(0)), at(71), false),
            ("for ever", None, Some(at(0)), at(1_000_000), false),
            ("stored nobody knows when", Some("60s"), None, at(1_000_000), false),
            ("our clock is behind", Some("60s"), Some(at(100)), at(0), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(ttl) = ttl {
                headers.insert("Nats-TTL", ttl);
            }
            assert_eq!(has_outlived(&headers, stored_at, now), want, "{name}");
            if let Some(stored_at) = stored_at {
                headers.insert("Nats-Time-Stamp", clock::rfc3339(stored_at));
            }
            assert_eq!(is_gone(&headers, now), want, "{name}");
        }
    }

    #[test]
    fn reads_a_direct_get() {
        let value = Bytes::from_static(b"{}");
        for (name, status, revision, is_marker, want) in [
            ("value", None, Some(7), false, Ok(Entry::Value(7, value.clone()))),
            ("marker", None, Some(7), true, Ok(Entry::Absent(7))),
            ("no such key", Some(404), None, false, Ok(Entry::Absent(0))),
            ("bad request", Some(408), None, false, Err(ReadError::Status(408))),
            ("no sequence", None, None, false, Err(ReadError::NoRevision)),
        ] {
            assert_eq!(entry(status, revision, is_marker, value.clone()), want, "{name}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Sequence", "42");
        assert_eq!(revision(&headers), Some(42));
        headers.insert("Nats-Sequence", "x");
        assert_eq!(revision(&headers), None);
    }

    #[test]
    fn tells_a_write_that_was_late_from_one_that_failed() {
        let refused = |code: u64| format!(r#"{{"error":{{"code":400,"err_code":{code},"description":"no"}},"stream":"s","seq":0}}"#);
        assert_eq!(Written::read(br#"{"stream":"KV_dfks-features","seq":7}"#).unwrap(), Written::Stored(7));
        for code in [10071, 10164] {
            assert_eq!(Written::read(refused(code).as_bytes()).unwrap(), Written::Conflict, "{code}");
        }
        assert!(matches!(Written::read(refused(10077).as_bytes()), Err(RequestError::Stream { code: 10077, .. })));
        assert!(matches!(Written::read(b"garbage"), Err(RequestError::Unreadable(_))));
    }

    #[test]
    fn names_are_those_of_the_server() {
        assert_eq!(stream("dfks-features"), "KV_dfks-features");
        assert_eq!(subject("dfks-features", "a"), "$KV.dfks-features.a");
        assert_eq!(direct_get_of("b", "a.c"), "$JS.API.DIRECT.GET.KV_b.$KV.b.a.c");
        for (subject, want) in [("$KV.b.a.c", Some("a.c")), ("$KV.bb.a", None), ("b.a", None)] {
            assert_eq!(key("b", subject), want, "{subject}");
        }
    }
}
