//! The messages: each refers to the file of its schema, and shows examples that the tests check against it.

use serde_json::{Map, Value, json};

use super::name::reference;
use super::shape::{Message, Ordered};
use crate::bus::message::{ERROR_CODE_HEADER, ERROR_HEADER};
use crate::bus::pull::{DEAD_DELIVERIES, DEAD_DETAIL, DEAD_MSG_ID, DEAD_REASON, DEAD_SUBJECT};
use crate::bus::schema;
use crate::bus::trace::TRACEPARENT;

const MESSAGE_ID: &str = "Nats-Msg-Id";

/// Which headers a message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Headers {
    /// Of a message that others send: it may name what led to it.
    Taken,
    /// Of a message that dfks sends: it names what led to it.
    Sent,
    Command,
    Job,
    Error,
    Dead,
}

struct Content {
    name: &'static str,
    /// File of the schema without `.json`; empty for a payload that may be anything.
    schema: &'static str,
    title: &'static str,
    headers: Headers,
    description: Option<&'static str>,
    examples: &'static [(&'static str, &'static str)],
}

/// An example of `schemas/examples`, by its file.
macro_rules! examples {
    ($schema:literal: $($file:literal),+) => {
        &[$(($file, include_str!(concat!("../../../schemas/examples/", $schema, "/valid-", $file, ".json")))),+]
    };
}

macro_rules! content {
    ($name:literal, $schema:literal, $title:literal, $headers:ident, [$($file:literal),+]) => {
        Content { name: $name, schema: $schema, title: $title, headers: Headers::$headers, description: None, examples: examples!($schema: $($file),+) }
    };
}

#[rustfmt::skip]
const CONTENTS: [Content; 39] = [
    content!("set_request", "set_request", "Command", Taken, ["object", "list", "minimal", "agent-state"]),
    content!("set_response", "set_response", "What became of a command", Sent, ["applied", "nobody-watches", "not-notified"]),
    content!("set_command", "set_request", "Durable command", Command, ["object", "list"]),
    content!("get_request", "get_request", "Question for features", Taken, ["one", "all"]),
    content!("get_response", "get_response", "Features", Sent, ["states", "suppressed"]),
    content!("route_set_request", "route_set_request", "Question for a change", Sent, ["phone", "mi", "durable"]),
    content!("route_set_response", "route_set_response", "What became of a change", Sent, ["changed", "denied"]),
    content!("responder_get_request", "responder_get_request", "Question for a responder", Sent, ["typed"]),
    content!("responder_set_request", "responder_set_request", "Change for a responder", Sent, ["phone", "mi"]),
    content!("responder_state", "responder_state", "Answer of a responder", Taken, ["status", "everything", "withdrawn", "empty"]),
    content!("auth_request", "auth_request", "Question for a password", Sent, ["sha-256"]),
    content!("auth_response", "auth_response", "What stands for a password", Taken, ["md5"]),
    content!("notify_job", "notify_job", "NOTIFY job", Job, ["from-mi", "from-phone", "empty-body"]),
    content!("edge_alive", "edge_alive", "Edge lives", Sent, ["beat", "tcp-only"]),
    content!("watchers_request", "watchers_request", "Question for watchers", Taken, ["all", "one"]),
    content!("watchers_response", "watchers_response", "Watchers", Sent, ["one", "more", "none"]),
    content!("resync_request", "resync_request", "Request to tell phones anew", Taken, ["presentity", "one", "domain"]),
    content!("resync_response", "resync_response", "How many are told anew", Sent, ["two"]),
    content!("end_request", "end_request", "Request to end a subscription", Taken, ["default", "rejected"]),
    content!("end_response", "end_response", "Subscription that was ended", Sent, ["ended"]),
    content!("why_request", "why_request", "Question why a lamp is as it is", Taken, ["all", "one"]),
    content!("why_response", "why_response", "Why a lamp is as it is", Sent, ["in-step", "behind"]),
    content!("status_request", "status_request", "Question for what runs", Taken, ["all"]),
    content!("status_response", "status_response", "What a process is", Sent, ["edge", "worker"]),
    content!("log_request", "log_request", "Request to log at another level", Taken, ["debug", "one-role"]),
    content!("sip_request", "sip_request", "Question for the SIP of a subscription", Taken, ["one"]),
    content!("sip_response", "sip_response", "Last SIP messages of a subscription", Sent, ["subscribe", "latin1"]),
    content!("responders_request", "responders_request", "Question for what workers know of responders", Taken, ["all"]),
    content!("responders_response", "responders_response", "What a worker knows of responders", Sent, ["one", "none"]),
    content!("forget_request", "forget_request", "Request to forget responders", Taken, ["subject", "domain"]),
    content!("forget_response", "forget_response", "Responders that were forgotten", Sent, ["one", "none"]),
    content!("event_subscription", "event_subscription", "Event: subscription", Sent, ["active", "refreshed", "terminated", "resynced", "ended-by-hand"]),
    content!("event_feature", "event_feature", "Event: feature", Sent, ["applied", "refused"]),
    content!("event_notify", "event_notify", "Event: NOTIFY", Sent, ["delivered", "failed", "expired"]),
    content!("event_raw", "event_raw", "Event: raw body", Sent, ["dictation", "untyped"]),
    content!("event_refused", "event_refused", "Event: refused", Sent, ["subscribe", "command", "rate-limited"]),
    content!("event_hand", "event_hand", "Event: by hand", Sent, ["replayed", "log-level"]),
    content!("error", "error", "Error", Error, ["field", "denied"]),
    Content {
        name: "dead_letter",
        schema: "",
        title: "Dead letter",
        headers: Headers::Dead,
        description: Some("The payload is as it came: a `set_request`, a `notify_job`, or bytes that were neither."),
        examples: examples!("set_request": "minimal"),
    },
];

/// Every message by its name in the document.
pub(super) fn all() -> Ordered<Message> {
    let schemas = schema::all();
    let described = |content: &Content| {
        let file = format!("{}.json", content.schema);
        let found = schemas
            .iter()
            .find(|(name, _)| *name == file)
            .and_then(|(_, schema)| Some((schema["title"].as_str()?, schema["description"].as_str()?)));
        found.map_or_else(
            || ("io.dfks.api.v1.dead_letter".to_owned(), "What was given up on.".to_owned()),
            |(title, text)| (title.to_owned(), first_sentence(text)),
        )
    };
    CONTENTS.iter().map(|content| (content.name, message(content, described(content)))).collect()
}

fn message(content: &Content, (name, summary): (String, String)) -> Message {
    let payload = match content.schema {
        "" => json!({ "description": "The payload as it came; it may be no JSON." }),
        schema => json!({ "$ref": format!("./{schema}.json") }),
    };
    let shown = |(name, text): &(&'static str, &'static str)| {
        let payload: Value = serde_json::from_str(text).unwrap_or_default();
        json!({ "name": name, "headers": content.headers.example(), "payload": payload })
    };
    Message {
        name,
        title: content.title,
        summary,
        description: content.description,
        content_type: "application/json",
        headers: reference(&format!("components/schemas/{}", content.headers.name())),
        payload,
        examples: content.examples.iter().map(shown).collect(),
    }
}

/// The headers of messages.
pub(super) fn headers() -> Ordered<Value> {
    [Headers::Taken, Headers::Sent, Headers::Command, Headers::Job, Headers::Error, Headers::Dead]
        .into_iter()
        .map(|headers| (headers.name(), headers.schema()))
        .collect()
}

impl Headers {
    const fn name(self) -> &'static str {
        match self {
            Self::Taken => "TakenHeaders",
            Self::Sent => "SentHeaders",
            Self::Command => "CommandHeaders",
            Self::Job => "JobHeaders",
            Self::Error => "ErrorHeaders",
            Self::Dead => "DeadHeaders",
        }
    }

    /// Each header: its name, whether it is always there, what it says, and an example.
    const fn fields(self) -> &'static [(&'static str, bool, &'static str, &'static str)] {
        const TRACE: &str = "W3C Trace Context. Its trace id is the `cause` of all that follows.";
        const PARENT: &str = "00-6ad8b5ce5fd14d09a6d2a3b0f7c4e911-b7ad6b7169203331-01";
        match self {
            Self::Taken => &[(TRACEPARENT, false, TRACE, PARENT)],
            Self::Sent => &[(TRACEPARENT, true, TRACE, PARENT)],
            Self::Command => &[
                (TRACEPARENT, false, TRACE, PARENT),
                (MESSAGE_ID, false, "Id of the command: the same one within 2 minutes is stored once.", "order-4711"),
            ],
            Self::Job => &[
                (TRACEPARENT, true, TRACE, PARENT),
                (MESSAGE_ID, true, "Id of the job: the same one within 2 minutes is stored once.", "8f14e45fceea167a5a36dedd4bea2543"),
            ],
            Self::Error => &[
                (TRACEPARENT, false, TRACE, PARENT),
                (
                    ERROR_CODE_HEADER,
                    false,
                    "`error.code` (NATS ADR-32). dfks always sends it; a responder may leave it to the payload.",
                    "403",
                ),
                (ERROR_HEADER, false, "`error.description` (NATS ADR-32).", "not on this tariff"),
            ],
            Self::Dead => &[
                (TRACEPARENT, true, TRACE, PARENT),
                (MESSAGE_ID, true, "Made of the stage and the sequence in its work queue.", "command-17"),
                (
                    DEAD_REASON,
                    true,
                    "Why it was given up, a word: `invalid`, `denied`, `failed`, `unavailable`, `max_deliver`, `unknown_subject`, …",
                    "denied",
                ),
                (DEAD_DETAIL, true, "What was wrong, for people.", "not on this tariff"),
                (DEAD_SUBJECT, true, "The subject it came on.", "dfks.command.set"),
                (DEAD_MSG_ID, false, "The `Nats-Msg-Id` that its sender gave it.", "order-4711"),
                (DEAD_DELIVERIES, true, "How often it was delivered.", "1"),
            ],
        }
    }

    fn schema(self) -> Value {
        let described = |(name, _, text, example): &(&str, bool, &str, &str)| {
            ((*name).to_owned(), json!({ "type": "string", "description": text, "examples": [example] }))
        };
        let properties: Map<_, _> = self.fields().iter().map(described).collect();
        let required: Vec<_> = self.fields().iter().filter(|(_, is_required, ..)| *is_required).map(|(name, ..)| *name).collect();
        let mut schema = json!({ "type": "object", "description": self.description(), "properties": properties });
        if let (false, Some(object)) = (required.is_empty(), schema.as_object_mut()) {
            object.insert("required".to_owned(), json!(required));
        }
        schema
    }

    const fn description(self) -> &'static str {
        match self {
            Self::Taken => "Headers of what any service sends.",
            Self::Sent => "Headers of what dfks sends.",
            Self::Command => "Headers of a durable command.",
            Self::Job => "Headers of a NOTIFY job.",
            Self::Error => "Headers of an error.",
            Self::Dead => "Headers of a dead letter.",
        }
    }

    fn example(self) -> Value {
        self.fields().iter().map(|(name, _, _, example)| ((*name).to_owned(), json!(example))).collect::<Map<_, _>>().into()
    }
}

/// `A command to set one feature: …`, without what follows.
fn first_sentence(text: &str) -> String {
    text.lines().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}
