//! `schemas/` against the Rust types: the committed schemas are the generated ones, and the examples are what they say.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may panic, and says what it skips"
)]

mod asyncapi;
mod compat;
mod openapi;
mod records;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use dfks::bus::message::{
    AuthRequest, AuthResponse, EdgeAlive, EndRequest, EndResponse, ErrorReply, FeatureEvent, ForgetRequest, ForgetResponse, GetRequest,
    GetResponse, HandEvent, LogRequest, NotifyEvent, NotifyJob, RawEvent, RefusedEvent, ResponderGetRequest, ResponderSetRequest,
    ResponderState, RespondersRequest, RespondersResponse, ResyncRequest, ResyncResponse, RouteSetRequest, RouteSetResponse, SetRequest,
    SetResponse, SipRequest, SipResponse, StatusRequest, StatusResponse, SubscriptionEvent, WatchersRequest, WatchersResponse, WhyRequest,
    WhyResponse,
};
use dfks::bus::schema;
use dfks::feature::FeatureTable;
use dfks::mi::command;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Reads a message into its Rust type and writes it again.
fn round_trip<M: Serialize + DeserializeOwned>(json: &Value) -> serde_json::Result<Value> {
    serde_json::to_value(serde_json::from_value::<M>(json.clone())?)
}

type RoundTrip = fn(&Value) -> serde_json::Result<Value>;

const TYPES: [(&str, RoundTrip); 37] = [
    ("set_request", round_trip::<SetRequest>),
    ("set_response", round_trip::<SetResponse>),
    ("get_request", round_trip::<GetRequest>),
    ("get_response", round_trip::<GetResponse>),
    ("route_set_request", round_trip::<RouteSetRequest>),
    ("route_set_response", round_trip::<RouteSetResponse>),
    ("responder_get_request", round_trip::<ResponderGetRequest>),
    ("responder_set_request", round_trip::<ResponderSetRequest>),
    ("responder_state", round_trip::<ResponderState>),
    ("auth_request", round_trip::<AuthRequest>),
    ("auth_response", round_trip::<AuthResponse>),
    ("notify_job", round_trip::<NotifyJob>),
    ("edge_alive", round_trip::<EdgeAlive>),
    ("responders_request", round_trip::<RespondersRequest>),
    ("responders_response", round_trip::<RespondersResponse>),
    ("forget_request", round_trip::<ForgetRequest>),
    ("forget_response", round_trip::<ForgetResponse>),
    ("watchers_request", round_trip::<WatchersRequest>),
    ("watchers_response", round_trip::<WatchersResponse>),
    ("resync_request", round_trip::<ResyncRequest>),
    ("resync_response", round_trip::<ResyncResponse>),
    ("end_request", round_trip::<EndRequest>),
    ("end_response", round_trip::<EndResponse>),
    ("why_request", round_trip::<WhyRequest>),
    ("why_response", round_trip::<WhyResponse>),
    ("status_request", round_trip::<StatusRequest>),
    ("status_response", round_trip::<StatusResponse>),
    ("log_request", round_trip::<LogRequest>),
    ("sip_request", round_trip::<SipRequest>),
    ("sip_response", round_trip::<SipResponse>),
    ("event_subscription", round_trip::<SubscriptionEvent>),
    ("event_feature", round_trip::<FeatureEvent>),
    ("event_notify", round_trip::<NotifyEvent>),
    ("event_raw", round_trip::<RawEvent>),
    ("event_refused", round_trip::<RefusedEvent>),
    ("event_hand", round_trip::<HandEvent>),
    ("error", round_trip::<ErrorReply>),
];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn read_json(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json_files(directory: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect()
}

#[test]
fn the_committed_schemas_are_the_generated_ones() {
    let generated = schema::all();
    for (name, schema) in &generated {
        assert_eq!(&read_json(&directory().join(name)), schema, "{name}: write it again with `dfks schemas --out schemas`");
    }
    let names: BTreeSet<_> = generated.iter().map(|(name, _)| directory().join(name)).collect();
    assert_eq!(json_files(&directory()), names, "a schema that nothing generates");
}

#[test]
fn every_schema_has_a_type_here_and_examples() {
    let names: BTreeSet<_> = schema::all().into_iter().map(|(name, _)| name.trim_end_matches(".json").to_owned()).collect();
    assert_eq!(TYPES.iter().map(|(name, _)| (*name).to_owned()).collect::<BTreeSet<_>>(), names);
    let examples = fs::read_dir(directory().join("examples")).unwrap();
    assert_eq!(examples.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<BTreeSet<_>>(), names);
}

#[test]
fn examples_are_valid_or_not_as_their_name_says_and_survive_the_rust_type() {
    for (name, round_trip) in TYPES {
        let schema = read_json(&directory().join(format!("{name}.json")));
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let (mut valid, mut invalid) = (0, 0);
        for path in json_files(&directory().join("examples").join(name)) {
            let file = path.file_stem().unwrap().to_str().unwrap();
            let example = read_json(&path);
            if file.starts_with("valid") {
                valid += 1;
                let faults: Vec<_> = validator.iter_errors(&example).map(|error| error.to_string()).collect();
                assert!(faults.is_empty(), "{name}/{file}: {faults:?}");
                let written = round_trip(&example).unwrap_or_else(|error| panic!("{name}/{file}: {error}"));
                assert!(validator.is_valid(&written), "{name}/{file} is written as {written}");
                assert_eq!(round_trip(&written).unwrap(), written, "{name}/{file}");
            } else {
                assert!(file.starts_with("invalid"), "{name}/{file}: neither valid nor invalid");
                invalid += 1;
                assert!(!validator.is_valid(&example), "{name}/{file} is valid");
                // the type's name is the one thing that is not looked at on the way in
                assert!(round_trip(&example).is_err() || file == "invalid-type", "{name}/{file} is read");
            }
        }
        assert!(valid >= 2 && invalid >= 2, "{name}: {valid} valid and {invalid} invalid examples");
    }
}

#[test]
fn commands_are_read_and_refused_as_the_schema_says() {
    let table = FeatureTable::built_in();
    for path in json_files(&directory().join("examples/set_request")) {
        let file = path.file_stem().unwrap().to_str().unwrap();
        let command = command::read(&table, &fs::read(&path).unwrap());
        assert_eq!(command.is_ok(), file.starts_with("valid") || file == "invalid-type", "{file}: {command:?}");
    }
}

#[test]
fn a_command_without_status_is_valid_where_the_agents_state_decides_it() {
    let (table, schema) = (FeatureTable::built_in(), read_json(&directory().join("set_request.json")));
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let (agent, dnd) = ("AgentState", "DoNotDisturb");
    for (feature, more, is_valid) in [
        (agent, json!({"values": {"state": "ready"}}), true),
        (agent, json!({"status": null, "values": ["reason/lunch", "state/notReady"]}), true),
        (agent, json!({"values": {"reason": "lunch"}}), false),
        (agent, json!({}), false),
        (agent, json!({"status": 1}), true),
        (dnd, json!({"status": 1}), true),
        (dnd, json!({"values": {"state": "ready"}}), false),
        (dnd, json!({"status": null}), false),
    ] {
        let mut command = json!({"presentity": "sip:alice@10.0.0.11", "feature": feature});
        command.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let read = command::read(&table, command.to_string().as_bytes());
        assert_eq!((validator.is_valid(&command), read.is_ok()), (is_valid, is_valid), "{command}: {read:?}");
    }
}
