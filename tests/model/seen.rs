//! What comes to a client, without what is of the moment: times, random names, what the server says of itself.

use std::collections::BTreeMap;

use async_nats::Message;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// A message that came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    /// Where it was listened.
    pub(crate) slot: usize,
    pub(crate) subject: String,
    reply: String,
    status: Option<u16>,
    description: Option<String>,
    headers: Vec<(String, String)>,
    payload: String,
}

const NEVER: &str = "0001-01-01T00:00:00Z";

impl Seen {
    pub(crate) fn of(slot: usize, message: &Message) -> Self {
        let mut headers = Vec::new();
        for (name, values) in message.headers.iter().flat_map(async_nats::HeaderMap::iter) {
            for value in values {
                let value = match name.to_string().as_str() {
                    "Nats-Time-Stamp" => "TIME".to_owned(),
                    "Nats-Pin-Id" => "PIN".to_owned(),
                    "Nats-Subject" => ack_without_time(value.as_str()),
                    _ => value.as_str().to_owned(),
                };
                headers.push((name.to_string(), value));
            }
        }
        headers.sort();
        Self {
            slot,
            subject: message.subject.to_string(),
            reply: message.reply.as_deref().map(ack_without_time).unwrap_or_default(),
            status: message.status.map(|status| status.as_u16()),
            description: message.description.as_deref().map(description),
            headers,
            payload: payload(&message.payload),
        }
    }
}

impl Seen {
    /// With a name in place of another.
    pub(crate) fn renamed(mut self, from: &str, to: &str) -> Self {
        let texts = [&mut self.subject, &mut self.reply, &mut self.payload];
        for text in texts.into_iter().chain(self.headers.iter_mut().map(|(_, value)| value)) {
            *text = text.replace(from, to);
        }
        self
    }
}

/// What the decoder of JSON says is its own.
fn description(text: &str) -> String {
    if text.starts_with("Bad Request - ") && !text.contains("Group") && !text.contains("heartbeat") {
        return "Bad Request".to_owned();
    }
    text.to_owned()
}

/// `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.TIME.<pending>`
fn ack_without_time(reply: &str) -> String {
    let mut tokens: Vec<&str> = reply.split('.').collect();
    if tokens.len() == 9
        && let Some(time) = tokens.get_mut(7)
    {
        *time = "TIME";
    }
    tokens.join(".")
}

fn payload(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload).into_owned();
    match serde_json::from_str::<Value>(&text) {
        Ok(Value::Object(fields)) => normal(Value::Object(fields)).to_string(),
        _ => text,
    }
}

fn normal(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> = fields.into_iter().filter_map(|(name, value)| field(name, value)).collect();
            fields.into_iter().collect()
        }
        Value::Array(all) => all.into_iter().map(normal).collect(),
        other => other,
    }
}

fn field(name: String, value: Value) -> Option<(String, Value)> {
    let value = match (name.as_str(), value) {
        ("metadata" | "cluster" | "api" | "_nats" | "last_active", _) => return None,
        ("created" | "ts" | "time" | "first_ts" | "last_ts" | "pinned_ts", Value::String(at)) if at != NEVER => "TIME".into(),
        ("pinned_client_id", _) => "PIN".into(),
        ("description", Value::String(text)) if text.starts_with("invalid JSON") => "invalid JSON".into(),
        ("hdrs", Value::String(text)) => {
            let text = String::from_utf8(STANDARD.decode(text).unwrap_or_default()).unwrap_or_default();
            let mut lines: Vec<&str> = text.split("\r\n").collect();
            lines.sort_unstable();
            lines.join("|").into()
        }
        (_, other) => normal(other),
    };
    Some((name, value))
}

/// By where they came, in their order there; consumers that push to the same inbox have none among each other.
pub(crate) fn in_order(mut all: Vec<Seen>) -> Vec<Seen> {
    let mut consumers: Vec<(usize, String)> = all.iter().filter_map(|seen| Some((seen.slot, consumer(seen)?))).collect();
    consumers.sort();
    consumers.dedup();
    let is_shared = |slot| consumers.iter().filter(|(of, _)| *of == slot).count() > 1;
    all.sort_by_cached_key(|seen| (seen.slot, consumer(seen).filter(|_| is_shared(seen.slot))));
    all
}

fn consumer(seen: &Seen) -> Option<String> {
    let mut tokens = seen.reply.strip_prefix("$JS.ACK.")?.split('.');
    Some(format!("{}.{}", tokens.next()?, tokens.next()?))
}

pub(crate) fn show(all: &[Seen]) -> String {
    let line = |seen: &Seen| {
        let Seen { slot, subject, reply, status, description, headers, payload } = seen;
        let status = status.map(|status| format!(" {status} {}", description.as_deref().unwrap_or_default())).unwrap_or_default();
        format!("    [{slot}] {subject}{status} {headers:?} {payload} ({reply})")
    };
    if all.is_empty() { "    nothing".to_owned() } else { all.iter().map(line).collect::<Vec<_>>().join("\n") }
}
