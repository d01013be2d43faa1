//! Reads replies.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use async_nats::{HeaderValue, Message};
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::bus::error::RequestError;
use crate::bus::message::{ERROR_CODE_HEADER, ERROR_HEADER, ErrorBody};

/// Code of an error reply that has none.
const UNKNOWN_CODE: u16 = 500;

/// The reply, or the error in its place.
///
/// The error is looked for first: a message with only optional fields would be read from an error as well.
///
/// # Errors
///
/// [`RequestError::Refused`] or [`RequestError::Unreadable`].
pub(crate) fn read<R: DeserializeOwned>(reply: &Message) -> Result<R, RequestError> {
    let header = |name: &str| reply.headers.as_ref().and_then(|headers| headers.get(name)).map(HeaderValue::as_str);
    let code = header(ERROR_CODE_HEADER);
    if let Some(error) = refusal(&reply.payload, code, header(ERROR_HEADER)) {
        return Err(RequestError::Refused(error));
    }
    serde_json::from_slice(&reply.payload).map_err(unreadable)
}

/// What is said on the inbox of a request and is no answer: a stream that keeps the requests acknowledges each.
///
/// Of our own services everything else is one.
pub(crate) fn is_answer(reply: &Message) -> bool {
    if is_service_error(reply) {
        return true;
    }
    let is_object = reply.payload.trim_ascii_start().first() == Some(&b'{');
    // only few replies have the word: most are told apart without being parsed twice
    is_object && (memchr::memmem::find(&reply.payload, b"\"seq\"").is_none() || !Keys::of(&reply.payload).is_acknowledgement())
}

/// Whether a responder says this, or something else that listens on its subject.
///
/// It is `{}`, or an object with `error`, a field of a responder's state or one of our types; never an acknowledgement.
pub(crate) fn is_responder_answer(reply: &Message) -> bool {
    if is_service_error(reply) {
        return true;
    }
    let keys = Keys::of(&reply.payload);
    keys.is_object && !keys.is_acknowledgement() && (keys.is_empty || keys.is_known)
}

/// Whether a stream says that it has kept the request, or could not.
pub(crate) fn is_acknowledgement(payload: &[u8]) -> bool {
    Keys::of(payload).is_acknowledgement()
}

/// An error of a NATS service (ADR-32): a stream has no such header.
fn is_service_error(reply: &Message) -> bool {
    reply.headers.as_ref().is_some_and(|headers| headers.get(ERROR_CODE_HEADER).is_some())
}

/// What a JSON object says of itself by its keys.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each says whether a key is there, whatever the others say")]
struct Keys {
    is_object: bool,
    is_empty: bool,
    has_stream: bool,
    has_seq: bool,
    /// It has a key of a responder's answer.
    is_known: bool,
}

impl Keys {
    fn of(payload: &[u8]) -> Self {
        serde_json::from_slice(payload).unwrap_or_default()
    }

    /// `{"stream":"AUDIT","seq":7}`, also `{"error":{…},"stream":"AUDIT","seq":0}`
    const fn is_acknowledgement(&self) -> bool {
        self.has_stream && self.has_seq
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Keys { is_object: true, is_empty: true, ..Keys::default() };
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    keys.is_empty = false;
                    match &*key {
                        "type" => {
                            let kind = map.next_value::<Value>()?;
                            keys.is_known |= kind.as_str().is_some_and(|kind| kind.starts_with("io.dfks."));
                            continue;
                        }
                        "stream" => keys.has_stream = true,
                        "seq" => keys.has_seq = true,
                        "error" | "status" | "values" | "assigned" | "notify" | "also" => keys.is_known = true,
                        _ => {}
                    }
                    map.next_value::<IgnoredAny>()?;
                }
                Ok(keys)
            }
        }
        deserializer.deserialize_map(Look)
    }
}

/// The sequence that a stream acknowledged: `{"stream":"DFKS_NOTIFY","seq":7}`.
///
/// # Errors
///
/// [`RequestError::Stream`] or [`RequestError::Unreadable`].
pub(crate) fn read_store(payload: &[u8]) -> Result<u64, RequestError> {
    #[derive(Deserialize)]
    struct Stored {
        seq: u64,
    }
    read_api(payload).map(|stored: Stored| stored.seq)
}

/// What the JetStream API answered.
///
/// # Errors
///
/// [`RequestError::Stream`] for `{"error":{"code":400,"err_code":10071,"description":"…"}}`, else [`RequestError::Unreadable`].
pub(crate) fn read_api<R: DeserializeOwned>(payload: &[u8]) -> Result<R, RequestError> {
    #[derive(Deserialize)]
    struct ApiError {
        #[serde(default)]
        err_code: u64,
        #[serde(default)]
        description: String,
    }
    #[derive(Deserialize)]
    struct MaybeError {
        error: Option<ApiError>,
    }
    match serde_json::from_slice(payload).map_err(unreadable)? {
        MaybeError { error: Some(error) } => Err(RequestError::Stream { code: error.err_code, description: error.description.into() }),
        MaybeError { error: None } => serde_json::from_slice(payload).map_err(unreadable),
    }
}

/// What the client could not make of a stored message.
pub(crate) fn unreadable_message(error: async_nats::Error) -> RequestError {
    unreadable(serde::de::Error::custom(error))
}

fn unreadable(error: serde_json::Error) -> RequestError {
    RequestError::Unreadable(Arc::new(error))
}

pub(crate) fn unwritable(error: serde_json::Error) -> RequestError {
    RequestError::Unwritable(Arc::new(error))
}

/// Of the delivery of a message of a bucket, from its reply subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) stream_seq: u64,
    pub(crate) consumer_seq: u64,
    /// When the stream took it: nanoseconds since 1970.
    pub(crate) stored_at: u64,
    /// Messages that the consumer had not delivered yet.
    pub(crate) left: u64,
}

pub(crate) fn delivered(reply: &str) -> Option<Delivered> {
    let [_deliveries, stream_seq, consumer_seq, stored_at, left] = delivery_numbers(reply)?;
    Some(Delivered { stream_seq, consumer_seq, stored_at, left })
}

/// How often a message was delivered, its stream sequence and when the stream took it (nanoseconds since 1970), in the reply
/// subject of its delivery.
pub(crate) fn delivery(reply: &str) -> Option<(u64, u64, u64)> {
    let [deliveries, stream_seq, _consumer_seq, stored_at, _left] = delivery_numbers(reply)?;
    Some((deliveries, stream_seq, stored_at))
}

/// Both forms of ADR-15: `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>`, and with
/// domain and account before the stream.
fn delivery_numbers(reply: &str) -> Option<[u64; 5]> {
    let tokens = reply.strip_prefix("$JS.ACK.")?.split('.');
    let at = if tokens.clone().count() > 7 { 4 } else { 2 };
    let mut numbers = tokens.skip(at).map(|token| token.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??, numbers.next()??, numbers.next()??])
}

/// The error in a reply: told by the headers of ADR-32, by an `error` in the payload, or by both.
///
/// Responders are written by others, so a code in quotes or a bare text is taken for what it means.
fn refusal(payload: &[u8], code: Option<&str>, description: Option<&str>) -> Option<ErrorBody> {
    #[derive(Deserialize)]
    struct MaybeError {
        #[serde(default)]
        error: Value,
    }
    // only few replies are errors: most are told apart without being parsed twice
    let has_word = memchr::memmem::find(payload, br#""error""#).is_some();
    let error = if has_word { serde_json::from_slice(payload).map_or(Value::Null, |reply: MaybeError| reply.error) } else { Value::Null };
    if code.is_none() && error.is_null() {
        return None;
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let in_body = error.get("code").and_then(|value| value.as_u64().or_else(|| value.as_str()?.trim().parse().ok()));
    let code = in_body.and_then(|code| u16::try_from(code).ok()).or_else(|| code?.trim().parse().ok());
    let told = error.get("description").and_then(text).or_else(|| text(&error)).or_else(|| description.map(str::to_owned));
    Some(ErrorBody {
        code: code.unwrap_or(UNKNOWN_CODE),
        description: told.unwrap_or_else(|| "refused".to_owned()),
        field: error.get("field").and_then(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::message::ResponderState;

    fn message(payload: &str, headers: &[(&'static str, &'static str)]) -> Message {
        let mut map = async_nats::HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        Message {
            subject: "_INBOX_edge.x.1".into(),
            reply: None,
            payload: payload.to_owned().into(),
            headers: Some(map),
            status: None,
            description: None,
            length: 0,
        }
    }

    #[test]
    fn tells_an_error_in_every_spelling() {
        let code = (ERROR_CODE_HEADER, "403");
        let cases = [
            (r#"{"error":{"code":403,"description":"not allowed","field":"feature"}}"#, &[][..], (403, "not allowed", Some("feature"))),
            (r#"{"error":{"code":"403","description":"no"}}"#, &[], (403, "no", None)),
            (r#"{"error":"out of order"}"#, &[], (500, "out of order", None)),
            (r#"{"error":{}}"#, &[code], (403, "refused", None)),
            ("", &[code, (ERROR_HEADER, "denied")], (403, "denied", None)),
            ("not json", &[code], (403, "refused", None)),
        ];
        for (payload, headers, (code, description, field)) in cases {
            let want = ErrorBody { code, description: description.into(), field: field.map(str::to_owned) };
            match read::<ResponderState>(&message(payload, headers)) {
                Err(RequestError::Refused(error)) => assert_eq!(error, want, "{payload}"),
                other => panic!("{payload}: {other:?}"),
            }
        }
    }

    #[test]
    fn tells_a_responder_from_whoever_else_listens() {
        let code = [(ERROR_CODE_HEADER, "403")];
        for (payload, headers, is_responder, is_ours) in [
            ("{}", &[][..], true, true),
            (r#" {"status":1}"#, &[], true, true),
            (r#"{"also":[]}"#, &[], true, true),
            (r#"{"error":"no"}"#, &[], true, true),
            (r#"{"type":"io.dfks.api.v1.responder_state"}"#, &[], true, true),
            (r#"{"type":"io.nats.other"}"#, &[], false, true),
            (r#"{"type":7,"colour":"red"}"#, &[], false, true),
            (r#"{"seq":7,"status":1}"#, &[], true, true),
            (r#"{"stream":"AUDIT","seq":7}"#, &[], false, false),
            (r#"{"stream":"AUDIT","seq":7,"status":1,"duplicate":true}"#, &[], false, false),
            (
                r#"{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"AUDIT","seq":0}"#,
                &[],
                false,
                false,
            ),
            ("[]", &[], false, false),
            ("1", &[], false, false),
            ("+OK", &[], false, false),
            ("", &[], false, false),
            ("", &code, true, true),
            (r#"{"status":1"#, &[], false, true),
        ] {
            let message = message(payload, headers);
            assert_eq!((is_responder_answer(&message), is_answer(&message)), (is_responder, is_ours), "{payload}");
        }
    }

    #[test]
    fn reads_an_answer_that_only_mentions_the_word() {
        let state: ResponderState = read(&message(r#"{"status":1,"values":{"forwardTo":"\"error\""},"error":null}"#, &[])).unwrap();
        assert!(state.status.unwrap().is_on());
        assert!(matches!(read::<ResponderState>(&message("[", &[])), Err(RequestError::Unreadable(_))));
    }

    #[test]
    fn reads_both_forms_of_the_reply_subject() {
        for (reply, want) in [
            ("$JS.ACK.KV_b.cons.2.42.7.1700000000000000000.3", Some([2, 42, 7, 1_700_000_000_000_000_000, 3])),
            ("$JS.ACK.hub.acct.KV_b.cons.2.42.7.1700000000000000000.3.rnd", Some([2, 42, 7, 1_700_000_000_000_000_000, 3])),
            ("$JS.ACK._.acct.KV_b.cons.2.42.7.1700000000000000000.3", Some([2, 42, 7, 1_700_000_000_000_000_000, 3])),
            ("$JS.ACK.KV_b.cons.2.x.7.1.3", None),
            ("$JS.FC.KV_b.cons.1", None),
        ] {
            assert_eq!(delivery_numbers(reply), want, "{reply}");
        }
    }

    #[test]
    fn reads_what_a_stream_says() {
        assert_eq!(read_store(br#"{"stream":"DFKS_NOTIFY","seq":7,"duplicate":true}"#).unwrap(), 7);
        let lost = br#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 4"},"stream":"S","seq":0}"#;
        let error = read_store(lost).unwrap_err();
        assert!(matches!(error, RequestError::Stream { code: RequestError::WRONG_LAST_SEQUENCE, .. }), "{error}");
    }
}
