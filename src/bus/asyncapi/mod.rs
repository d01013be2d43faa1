//! The AsyncAPI document over the schemas: what `schemas/asyncapi.yaml` holds and `dfks schemas` writes. Pure.
//!
//! [`shape`](self) holds what such a document looks like, `channel` what goes over each subject, `operation` who asks whom, `message`
//! the messages with their headers and examples. A subject comes from [`Pattern`](crate::bus::subject::Pattern), a message's name from its Rust type, so that
//! the document cannot speak of others.
//!
//! Source: AsyncAPI 3.0.0; its NATS bindings 0.1.0, which know the queue of an operation and nothing else.

mod channel;
mod message;
mod name;
mod operation;
mod shape;

use serde_json::json;

pub use shape::{Channel, Document, Operation, Ordered};
use shape::{Components, Info, Server, Tag};

/// Name of the file, beside those of the schemas that it refers to.
pub const FILE_NAME: &str = "asyncapi.yaml";

const DESCRIPTION: &str = "\
Keeps the feature keys of SIP phones (Do Not Disturb, call forwarding, …) in step with the services that own those features. \
A SIP edge speaks SUBSCRIBE/NOTIFY with the phones, NATS carries everything else, and any service takes part by answering or publishing plain JSON.

The document is written from the side of `dfks`: it **receives** what others ask or command, and **sends** what it asks responders and what happened.

* Every message is one JSON object in UTF-8 with a `type`, written always and optional on the way in. Fields that are not known are ignored.
* In place of any reply there may be an `error`, with the same in the headers `Nats-Service-Error-Code` and `Nats-Service-Error` (NATS ADR-32).
* A presentity is `sip:user@host` or `tel:+31201234567`. `domain` in a subject is its host in lower case with `_` for `.` and `-` for `:`.
* The first token is `dfks` unless `nats.prefix` says otherwise; queue groups, streams and buckets follow it.
* To look on, follow `dfks.event.>`. Whoever subscribes to `dfks.responder.>` is a responder, and changes fail while it does not answer.";

/// The document of this version.
#[must_use]
pub fn document() -> Document {
    Document {
        asyncapi: "3.0.0",
        id: "urn:io:dfks:api:v1",
        info: Info {
            title: "dfks",
            version: env!("CARGO_PKG_VERSION"),
            description: DESCRIPTION,
            contact: json!({ "name": "dfks", "url": env!("CARGO_PKG_REPOSITORY") }),
            license: json!({ "name": env!("CARGO_PKG_LICENSE"), "url": "https://www.apache.org/licenses/LICENSE-2.0" }),
            tags: TAGS.map(|(name, description)| Tag { name, description: Some(description) }).into(),
        },
        default_content_type: "application/json",
        servers: [(
            "embedded",
            Server {
                host: "127.0.0.1:4222",
                protocol: "nats",
                description: "The NATS server that `dfks run` starts where `nats.url` is empty; else whichever that names.",
                tags: vec![Tag { name: "nats", description: None }],
            },
        )]
        .into_iter()
        .collect(),
        channels: channel::all(),
        operations: operation::all(),
        components: Components { messages: message::all(), schemas: message::headers() },
    }
}

/// The document as YAML.
///
/// # Errors
///
/// None in practice: every value in it can be written.
pub fn to_yaml() -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(&document())
}

const TAGS: [(&str, &str); 5] = [
    ("events", "What happened."),
    ("inside", "Between the roles of dfks; stable, but nobody else needs them."),
    ("nats", "Servers."),
    ("responders", "What a service answers that owns features, or passwords."),
    ("services", "What any service asks, commands or follows."),
];

#[cfg(test)]
mod tests;
