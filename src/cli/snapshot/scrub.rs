//! Takes secrets and the names of people out of what a maintainer is given. Pure.
//!
//! What is not known to be harmless is taken out: a text stays only under a key whose texts are words of the product. A user part becomes
//! a keyed hash of itself, so that the same one reads the same within a snapshot and nobody can try numbers out without the key.

use std::borrow::Cow;
use std::sync::LazyLock;

use hmac::{Hmac, KeyInit, Mac};
use regex::{Captures, Regex};
use serde_json::{Map, Value};
use sha2::Sha256;

/// Digits of a hash that are shown: enough to tell the users of a deployment apart.
const HASH_DIGITS: usize = 12;

/// Keys whose texts are words, ids and times of the product.
const WORDS: [&str; 41] = [
    "type",
    "id",
    "time",
    "at",
    "cause",
    "edge_id",
    "subscription",
    "package",
    "what",
    "reason",
    "outcome",
    "origin",
    "transport",
    "method",
    "feature",
    "source",
    "version",
    "stage",
    "subject",
    "expires_at",
    "since",
    "not_after",
    "kind",
    "domain",
    "breaker",
    "last_heard",
    "last_error_at",
    "level",
    "log_level",
    "log_until",
    "process",
    "roles",
    "host",
    "config",
    "started_at",
    "edges",
    "stream",
    "features",
    "until",
    "server",
    "request_id",
];
/// Keys whose texts hold a URI.
const URIS: [&str; 4] = ["presentity", "watcher", "contact", "pres_uri"];
/// Keys of sentences: of ours, and of whoever answered or denied something.
const PROSE: [&str; 4] = ["detail", "text", "error", "last_error"];
/// Keys of what phones say of their model.
const MODELS: [&str; 1] = ["user_agent"];
/// How our own sentences begin: so far they name nobody.
const OURS: [&str; 22] = [
    "unknown feature",
    "unknown field",
    "invalid ringCount",
    "invalid forwardTo",
    "invalid status",
    "invalid values",
    "Invalid presentity",
    "no io.dfks",
    "delivered too often",
    "no command comes on this subject",
    "no answer within",
    "nobody listens",
    "not connected to NATS",
    "no worker answers",
    "no edge answers",
    "no mi bridge answers",
    "the breaker of",
    "edge",
    "stream",
    "presentity is missing",
    "feature is missing",
    "status is missing",
];
/// Keys of a dead letter's payload, which anybody may have written, that are kept.
const OF_PAYLOAD: [&str; 3] = ["type", "feature", "status"];
/// Values of features that name nobody.
const HARMLESS_VALUES: [&str; 3] = ["ringCount", "state", "reason"];

/// A SIP or tel URI, or anything before an `@`.
static URI: LazyLock<Option<Regex>> = LazyLock::new(|| {
    // a user part may have a password: both go. The host stays
    Regex::new(r#"(?i)\b(sips?|tel):(?:([^@\s<>"';,]+)@)?([^\s<>"';,)]*)|([^\s<>"':/,;=(]+)@([A-Za-z0-9.\-\[\]:]+)"#).ok()
});
/// Login in a URL.
static LOGIN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"://[^/@\s]+@").ok());

/// Takes out, with one key for all of a snapshot.
pub(super) struct Scrubber {
    key: [u8; 32],
}

impl Scrubber {
    pub(super) const fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// A value of an event, a dead letter or a report, as it may be given away.
    pub(super) fn value(&self, value: &mut Value) {
        self.under("", value, false);
    }

    /// `is_foreign`: anybody may have written it.
    fn under(&self, key: &str, value: &mut Value, is_foreign: bool) {
        let is_foreign = is_foreign || key == "payload";
        match value {
            Value::String(text) if is_foreign && !OF_PAYLOAD.contains(&key) && !URIS.contains(&key) => *text = self.hash(text),
            Value::String(text) => *text = self.text(key, text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.under(key, value, is_foreign)),
            Value::Object(fields) => self.fields(key, fields, is_foreign),
            // a number may be one that is dialled
            Value::Number(_) if is_foreign && !OF_PAYLOAD.contains(&key) => *value = self.hash(&value.to_string()).into(),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn fields(&self, key: &str, fields: &mut Map<String, Value>, is_foreign: bool) {
        if key == "values" {
            for (_, value) in fields.iter_mut().filter(|(name, _)| !HARMLESS_VALUES.contains(&name.as_str())) {
                *value = self.hash(value.as_str().unwrap_or_default()).into();
            }
            return;
        }
        // a name may be anything where somebody else wrote the object
        let is_kept = |name: &str| OF_PAYLOAD.contains(&name) || URIS.contains(&name) || matches!(name, "states" | "values");
        let foreign: Vec<String> = fields.keys().filter(|name| is_foreign && !is_kept(name)).cloned().collect();
        for name in foreign {
            if let Some(value) = fields.remove(&name) {
                fields.insert(self.hash(&name), value);
            }
        }
        fields.iter_mut().for_each(|(name, value)| self.under(name, value, is_foreign));
    }

    fn text(&self, key: &str, text: &str) -> String {
        if URIS.contains(&key) {
            self.uri(text)
        } else if WORDS.contains(&key) || MODELS.contains(&key) {
            self.uris(text).into_owned()
        } else if PROSE.contains(&key) {
            self.prose(text)
        } else {
            self.hash(text)
        }
    }

    /// What stands under a key of URIs: the first one, without the name that may be shown before it. Where there is none, all of it is hashed.
    fn uri(&self, text: &str) -> String {
        let found = URI.as_ref().and_then(|uri| uri.find(text));
        found.map_or_else(|| self.hash(text), |found| self.uris(found.as_str()).into_owned())
    }

    /// A sentence: how ours begins is kept, what else it says may be of anybody.
    fn prose(&self, text: &str) -> String {
        let ours = OURS.into_iter().find(|ours| text.starts_with(ours));
        ours.map_or_else(|| self.hash(text), |ours| format!("{ours} {}", self.hash(text)))
    }

    /// A configuration as `dfks check` prints it: it has no secrets, but a URL may have a login.
    pub(super) fn settings(text: &str) -> String {
        LOGIN.as_ref().map_or_else(String::new, |login| login.replace_all(text, "://***@").into_owned())
    }

    /// Each user part in a text hashed, its host left.
    fn uris<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Some(uri) = URI.as_ref() else { return self.hash(text).into() };
        uri.replace_all(text, |found: &Captures<'_>| {
            let part = |at: usize| found.get(at).map(|part| part.as_str());
            match (part(1), part(2), part(3), part(4), part(5)) {
                (Some(scheme), None, Some(rest), ..) if scheme.eq_ignore_ascii_case("tel") => format!("tel:{}", self.hash(rest)),
                (Some(scheme), None, rest, ..) => format!("{scheme}:{}", rest.unwrap_or_default()),
                (Some(scheme), Some(user), host, ..) => format!("{scheme}:{}@{}", self.hash(user), host.unwrap_or_default()),
                (None, .., Some(user), host) => format!("{}@{}", self.hash(user), host.unwrap_or_default()),
                _ => String::new(),
            }
        })
    }

    /// `u-3f2a9c01b4de`
    pub(super) fn hash(&self, text: &str) -> String {
        // any length is a key of HMAC
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return "***".to_owned() };
        mac.update(text.as_bytes());
        let digest = mac.finalize().into_bytes();
        let number = digest.iter().take(HASH_DIGITS / 2).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        format!("u-{number:0HASH_DIGITS$x}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scrubber() -> Scrubber {
        Scrubber::new([7; 32])
    }

    #[test]
    fn no_user_part_password_token_or_nonce_is_left() {
        let mut all = json!([
            {"type": "io.dfks.event.v1.feature", "presentity": "sip:alice@example.com", "feature": "CallForwardingBusy", "actor": "alice's boss",
             "new": {"feature": "CallForwardingBusy", "status": 1, "values": {"forwardTo": "bob", "ringCount": "4", "nonce": "n0nce"}, "source": "store"}},
            {"what": "active", "watcher": "\"Alice\" <sips:alice:hunter2@example.com;x=y>", "call_id": "alice-1@192.0.2.7", "presentity": "tel:+31201234567"},
            {"detail": "Invalid presentity 'alice': it is carol@example.com, password=hunter2 token: t0ken", "status": 400, "presentity": "alice"},
            {"seq": 7, "payload": {"presentity": "sip:alice@example.com", "note": "call bob", "deep": {"pin": "1234", "sip:carol@x": true}}},
            {"payload": "alice said hunter2", "reason": "invalid"},
            {"payload": 31_201_234_567_u64},
            {"last_error": "{\"ha1\":\"deadbeef\",\"error\":\"alice is out\"} nonce=\"n0nce\"", "subject": "dfks.responder.auth.example_com"},
        ]);
        scrubber().value(&mut all);
        let text = all.to_string();
        for secret in ["alice", "Alice", "bob", "carol", "hunter2", "t0ken", "n0nce", "1234", "deadbeef", "boss", "31201234567"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert!(text.contains("Invalid presentity u-"), "{text}");
        for kept in
            ["CallForwardingBusy", "example.com", "io.dfks.event.v1.feature", "\"ringCount\":\"4\"", "dfks.responder.auth.example_com"]
        {
            assert!(text.contains(kept), "{kept} in {text}");
        }
    }

    #[test]
    fn the_same_user_reads_the_same_within_a_snapshot_and_otherwise_in_another() {
        let of = |scrubber: &Scrubber, text: &str| scrubber.uri(text);
        let (one, other) = (scrubber(), Scrubber::new([8; 32]));
        assert_eq!(of(&one, "sip:alice@h"), of(&one, "\"A\" <sip:alice@h>"));
        assert_ne!(of(&one, "sip:alice@h"), of(&one, "sip:bob@h"));
        assert_ne!(of(&one, "sip:alice@h"), of(&other, "sip:alice@h"));
        assert!(of(&one, "sip:alice@h").ends_with("@h"));
    }

    #[test]
    fn a_login_in_a_url_of_a_configuration_is_taken_out() {
        let text = "url = \"nats://user:secret@10.0.0.5:4222,nats://t0ken@10.0.0.6\"\notlp = \"http://a:b@c:4318\"";
        let shown = Scrubber::settings(text);
        assert!(!shown.contains("secret") && !shown.contains("t0ken") && !shown.contains("a:b") && shown.contains("10.0.0.5"), "{shown}");
    }
}
