//! The operations, and the parameters, headers and responses that they share. Pure.

use serde_json::{Map, Value, json};

use crate::bus::asyncapi::Ordered;

/// An example of `schemas/examples`.
macro_rules! example {
    ($path:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!("../../../schemas/examples/", $path, ".json"))).unwrap_or_default()
    };
}

/// What is said of one operation.
struct Operation {
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    description: &'static str,
    parameters: &'static [&'static str],
    /// The schema of its body, whether it must be there, and an example.
    body: Option<(&'static str, bool, Value)>,
    answer: Answer,
    /// Statuses beside those that every operation may have.
    faults: &'static [(u16, &'static str)],
}

/// A response that has something to say.
struct Answer {
    description: &'static str,
    content: Value,
    headers: &'static [(&'static str, &'static str)],
}

/// The paths with their operations.
pub(super) fn all() -> Ordered<Value> {
    let paths: [(&str, Vec<(&str, Operation)>); 6] = [
        ("/v1/features/{presentity}", vec![("get", features())]),
        ("/v1/features/{presentity}/{feature}", vec![("get", feature()), ("put", set())]),
        ("/v1/watchers", vec![("get", watchers())]),
        ("/v1/watchers/{presentity}", vec![("get", watchers_of())]),
        ("/v1/resync/{presentity}", vec![("post", resync())]),
        ("/openapi.json", vec![("get", document())]),
    ];
    let item = |operations: Vec<(&str, Operation)>| {
        operations.into_iter().map(|(method, operation)| (method.to_owned(), operation.written())).collect::<Map<_, _>>()
    };
    paths.into_iter().map(|(path, operations)| (path, Value::Object(item(operations)))).collect()
}

const STATES: [(&str, &str); 2] = [("ETag", "ETag"), ("Cache-Control", "NoCache")];
const CAUSED: [(&str, &str); 1] = [("Dfks-Cause", "Cause")];
const NO_PRESENTITY: (u16, &str) = (400, "BadRequest");
const UNCHANGED: (u16, &str) = (304, "NotModified");

fn features() -> Operation {
    Operation {
        id: "readFeatures",
        tag: "features",
        summary: "Every feature of a presentity",
        description: "In the order of the feature table. A presentity that nobody has set anything for has every feature off.",
        parameters: &["Presentity", "IfNoneMatch"],
        body: None,
        answer: Answer {
            description: "The states.",
            content: referred("GetResponse", &example!("get_response/valid-states")),
            headers: &STATES,
        },
        faults: &[UNCHANGED, NO_PRESENTITY],
    }
}

fn feature() -> Operation {
    Operation {
        id: "readFeature",
        tag: "features",
        summary: "One feature of a presentity",
        description: "What a PBX asks for each call. With `If-None-Match` the answer is 304 while nothing has changed.",
        parameters: &["Presentity", "Feature", "IfNoneMatch"],
        body: None,
        answer: Answer { description: "The state, in a list of one.", content: referred("GetResponse", &one_state()), headers: &STATES },
        faults: &[UNCHANGED, NO_PRESENTITY, (404, "NotFound")],
    }
}

fn set() -> Operation {
    Operation {
        id: "setFeature",
        tag: "features",
        summary: "Sets a feature, and has the phones told",
        description: "As `dfks.set` on the bus: the set route runs, the feature's owner is asked. What is done is stored when the answer comes.",
        parameters: &["Presentity", "Feature", "IfMatch"],
        body: Some(("FeatureChange", true, json!({ "status": 1, "values": { "forwardTo": "sip:bob@10.0.0.11" }, "actor": "portal" }))),
        answer: Answer {
            description: "It is set.",
            content: referred("SetResponse", &example!("set_response/valid-applied")),
            headers: &CAUSED,
        },
        faults: &[
            NO_PRESENTITY,
            (403, "Forbidden"),
            (404, "NotFound"),
            (412, "Changed"),
            (413, "TooLarge"),
            (415, "NotJson"),
            (500, "Failed"),
        ],
    }
}

fn watchers() -> Operation {
    Operation {
        id: "listWatchers",
        tag: "phones",
        summary: "Every live subscription",
        description: "Asks every edge, which takes 300 ms or more.",
        parameters: &[],
        body: None,
        answer: Answer { description: "The subscriptions.", content: referred("WatcherList", &watcher_list()), headers: &[] },
        faults: &[],
    }
}

fn watchers_of() -> Operation {
    Operation {
        id: "listWatchersOf",
        summary: "The live subscriptions to a presentity",
        parameters: &["Presentity"],
        faults: &[NO_PRESENTITY],
        ..watchers()
    }
}

fn resync() -> Operation {
    Operation {
        id: "resync",
        tag: "phones",
        summary: "Has the phones of a presentity told the full state again",
        description: "One after another, from now on.",
        parameters: &["Presentity"],
        body: Some(("Resync", false, json!({ "actor": "helpdesk" }))),
        answer: Answer {
            description: "How many phones are told.",
            content: referred("ResyncResponse", &example!("resync_response/valid-two")),
            headers: &CAUSED,
        },
        faults: &[NO_PRESENTITY, (404, "NotFound"), (413, "TooLarge"), (415, "NotJson"), (500, "Failed")],
    }
}

fn document() -> Operation {
    Operation {
        id: "readDocument",
        tag: "document",
        summary: "This document",
        description: "As OpenAPI 3.1 in JSON.",
        parameters: &[],
        body: None,
        answer: Answer {
            description: "The document.",
            content: json!({ "application/json": { "schema": { "type": "object", "required": ["openapi"] } } }),
            headers: &[],
        },
        faults: &[],
    }
}

fn referred(schema: &str, example: &Value) -> Value {
    json!({ "application/json": { "schema": to("schemas", schema), "example": example } })
}

/// The same object with one more member.
pub(super) fn with(mut object: Value, name: &str, value: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
    object
}

fn to(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

fn one_state() -> Value {
    let states = example!("get_response/valid-states");
    let first = states.pointer("/features/0").cloned().unwrap_or_default();
    with(states, "features", json!([first]))
}

fn watcher_list() -> Value {
    let list = example!("watchers_response/valid-one");
    let part = |pointer: &str| list.pointer(pointer).cloned().unwrap_or_default();
    let watcher = with(part("/watchers/0"), "edge_id", part("/edge_id"));
    json!({ "type": "io.dfks.api.v1.watcher_list", "watchers": [watcher], "more": false })
}

impl Operation {
    fn written(self) -> Value {
        let headers = self.answer.headers.iter().map(|(name, of)| ((*name).to_owned(), to("headers", of)));
        let mut answer = json!({ "description": self.answer.description, "content": self.answer.content });
        if !self.answer.headers.is_empty() {
            answer = with(answer, "headers", Value::Object(headers.collect()));
        }
        let always = [(401, "Unauthorized"), (403, "Forbidden"), (503, "Unavailable")];
        let faults = self.faults.iter().copied().chain(always).map(|(status, name)| (status.to_string(), to("responses", name)));
        let responses: Map<_, _> = [("200".to_owned(), answer)].into_iter().chain(faults).collect();
        let mut written = json!({
            "operationId": self.id,
            "tags": [self.tag],
            "summary": self.summary,
            "description": self.description,
            "responses": responses,
        });
        if !self.parameters.is_empty() {
            written = with(written, "parameters", self.parameters.iter().map(|name| to("parameters", name)).collect());
        }
        if let Some((schema, required, example)) = self.body {
            written = with(written, "requestBody", json!({ "required": required, "content": referred(schema, &example) }));
        }
        written
    }
}

/// The parameters by name.
pub(super) fn parameters() -> Ordered<Value> {
    let text = json!({ "type": "string", "minLength": 1 });
    [
        (
            "Presentity",
            json!({
                "name": "presentity", "in": "path", "required": true, "example": "sip:alice@10.0.0.11",
                "schema": { "type": "string", "pattern": "^([sS][iI][pP][sS]?:[^@]+@.+|[tT][eE][lL]:.*[0-9].*)$" },
                "description": "Whose features: `sip:user@host` or `tel:number`, percent-encoded.",
            }),
        ),
        (
            "Feature",
            json!({
                "name": "feature", "in": "path", "required": true, "schema": text, "example": "DoNotDisturb",
                "description": "Which feature: its name, in any case, or `DND`, `CFA`, `CFB`, `CFNA`.",
            }),
        ),
        (
            "IfNoneMatch",
            json!({
                "name": "If-None-Match", "in": "header", "schema": { "type": "string" }, "example": "\"7-5d41402abc4b2a76\"",
                "description": "The `ETag` of what is known already.",
            }),
        ),
        (
            "IfMatch",
            json!({
                "name": "If-Match", "in": "header", "schema": { "type": "string" }, "example": "\"7-5d41402abc4b2a76\"",
                "description": "The `ETag` of the feature as it was read: it is set only while it has that version.",
            }),
        ),
    ]
    .into_iter()
    .collect()
}

/// The headers by name.
pub(super) fn headers() -> Ordered<Value> {
    let text = json!({ "type": "string" });
    [
        ("ETag", json!({ "description": "Another with each version, and with whatever a route shows.", "schema": text })),
        ("NoCache", json!({ "description": "`no-cache`: a copy may be kept, and is asked for before it is used.", "schema": text })),
        ("Cause", json!({ "description": "The id of what follows from the request: its events and NOTIFYs carry it on.", "schema": text })),
        ("RetryAfter", json!({ "description": "Seconds to wait.", "schema": { "type": "integer", "minimum": 0 } })),
    ]
    .into_iter()
    .collect()
}

/// The responses that say why nothing was done, by name.
pub(super) fn responses() -> Ordered<Value> {
    let fault = |description: &str, status: u16, title: &str, detail: &str| {
        let example = json!({ "type": "about:blank", "title": title, "status": status, "detail": detail });
        let content = json!({ "application/problem+json": { "schema": to("schemas", "Problem"), "example": example } });
        json!({ "description": description, "content": content })
    };
    let unavailable = fault(
        "A worker, an edge, the owner of the feature or NATS is away or late, or too much is in hand. Nothing is changed, unless `detail` says that this is not known.",
        503,
        "Service Unavailable",
        "no worker answers: the change was not made",
    );
    let unavailable = with(unavailable, "headers", json!({ "Retry-After": to("headers", "RetryAfter") }));
    [
        ("NotModified", json!({ "description": "It is as it was.", "headers": { "ETag": to("headers", "ETag") } })),
        (
            "BadRequest",
            fault(
                "Something in the request cannot be what it is.",
                400,
                "Bad Request",
                "Invalid presentity 'alice': a presentity is sip:user@host or tel:number",
            ),
        ),
        ("Unauthorized", fault("The token is missing or wrong.", 401, "Unauthorized", "a bearer token is needed")),
        (
            "Forbidden",
            fault(
                "The change was denied; or a page in a browser asks, where no token is.",
                403,
                "Forbidden",
                "not allowed to forward abroad",
            ),
        ),
        (
            "NotFound",
            fault(
                "There is no such feature, or no phone.",
                404,
                "Not Found",
                "unknown feature 'Foo': expected DoNotDisturb, CallForwardingAlways",
            ),
        ),
        (
            "Changed",
            fault(
                "The feature has another version than `If-Match` names.",
                412,
                "Precondition Failed",
                "the feature has changed meanwhile: nothing was changed",
            ),
        ),
        ("TooLarge", fault("The body has more than 64 KiB.", 413, "Payload Too Large", "length limit exceeded")),
        ("NotJson", fault("The body is no JSON by its headers.", 415, "Unsupported Media Type", "expected a body in JSON")),
        ("Failed", fault("It failed here, or in a route script.", 500, "Internal Server Error", "the route script failed")),
        ("Unavailable", unavailable),
    ]
    .into_iter()
    .collect()
}
