//! All that is said on the bus is where the AsyncAPI document says, and what it says: every subject, every answer, every header.
#![expect(clippy::panic, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dfks::bus::asyncapi;
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::ALICE;
use crate::auth::{User, ha1};
use crate::common::Nats;
use crate::harness::{Phone, Service, Setup, Subscribe, Taken, dfks_with, set_dnd};

/// The document, with the committed schemas that it refers to.
struct Document {
    json: Value,
    schemas: BTreeMap<String, (String, Validator)>,
}

impl Document {
    fn new() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        let json = serde_json::to_value(asyncapi::document()).unwrap();
        let messages = json["components"]["messages"].as_object().unwrap();
        let files = messages.values().filter_map(|message| message["payload"]["$ref"].as_str());
        let schemas = files.map(|file| {
            let schema: Value = serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap();
            (file.to_owned(), (schema["title"].as_str().unwrap().to_owned(), jsonschema::draft202012::new(&schema).unwrap()))
        });
        let schemas = schemas.collect();
        Self { json, schemas }
    }

    /// The channel of a subject.
    fn channel(&self, subject: &str) -> String {
        let tokens: Vec<_> = subject.split('.').collect();
        let fits = |address: &str| {
            let wanted: Vec<_> = address.split('.').collect();
            wanted.len() == tokens.len() && wanted.iter().zip(&tokens).all(|(wanted, token)| wanted.starts_with('{') || wanted == token)
        };
        let mut found = self.json["channels"].as_object().unwrap().iter();
        let found = found.find(|(_, channel)| channel["address"].as_str().is_some_and(fits));
        found.unwrap_or_else(|| panic!("{subject} is not in the document")).0.clone()
    }

    /// The channel of the answers to what is asked on a channel.
    fn reply(&self, channel: &str) -> Option<String> {
        let path = format!("#/channels/{channel}");
        let mut operations = self.json["operations"].as_object().unwrap().values();
        let reply = operations.find_map(|operation| {
            operation["reply"]["channel"]["$ref"].as_str().filter(|_| operation["channel"]["$ref"] == path.as_str())
        })?;
        Some(reply.trim_start_matches("#/channels/").to_owned())
    }

    /// Names of the messages of a channel that this one is.
    fn fitting(&self, channel: &str, taken: &Taken) -> Vec<String> {
        let names = self.json["channels"][channel]["messages"].as_object().unwrap().keys();
        names.filter(|name| self.faults(name, taken).is_empty()).cloned().collect()
    }

    /// What keeps it from being this message.
    fn faults(&self, name: &str, taken: &Taken) -> Vec<String> {
        let message = &self.json["components"]["messages"][name];
        let mut faults = Vec::new();
        if let Some(file) = message["payload"]["$ref"].as_str() {
            let (title, schema) = &self.schemas[file];
            faults.extend(schema.iter_errors(&taken.json).map(|fault| fault.to_string()));
            faults.extend(taken.json["type"].as_str().filter(|kind| kind != title).map(|kind| format!("type {kind}")));
        }
        let headers = message["headers"]["$ref"].as_str().unwrap().trim_start_matches('#');
        let required = self.json.pointer(headers).unwrap()["required"].as_array().cloned().unwrap_or_default();
        faults.extend(required.iter().filter(|name| taken.headers.get(name.as_str().unwrap()).is_none()).map(|name| format!("no {name}")));
        faults
    }
}

/// ```text
/// phone ──SUBSCRIBE, key──▶ edge-a ──job──▶ edge-b      dfks set ──▶ mi      service ──dfks.command.set──▶ mi ──▶ dead
/// phone ──SUBSCRIBE, digest──▶ edge-c ──dfks.responder.auth──▶ service      a tap on all of it, the answers included
/// ```
#[test]
fn every_message_is_where_and_what_the_document_says() {
    let nats = Nats::start();
    let service = Service::on(&nats);
    // there is a responder for every feature: so a tap on all subjects is not the only one, which would never answer
    service.respond("dfks.responder.*.*.*", |_| Some(json!({})));
    service.respond("dfks.responder.auth.127_0_0_1", |request| match request["username"].as_str() {
        Some("alice") => Some(json!({"type": "io.dfks.api.v1.auth_response", "ha1": ha1("alice", "secret")})),
        _ => Some(json!({"error": {"code": 404, "description": "no such user"}})),
    });
    let tap = service.wiretap(&["dfks.>", "_INBOX.>", "_INBOX_edge.>", "_INBOX_worker.>", "_INBOX_mi.>", "_INBOX_cli.>"]);
    // over NATS, where every message can be seen
    let all = Setup::on(&nats).with("run.local", "off").start();
    let other = Setup::on(&nats).role("edge").with("sip.edge_id", "edge-b").start();
    let strict = Setup::on(&nats).role("edge").with("sip.edge_id", "edge-c").with("sip.auth.mode", "digest").start();
    let (phone, elsewhere, third) = (Phone::tcp(all.tcp()), Phone::tcp(other.tcp()), Phone::tcp(strict.tcp()));
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    let mut far = elsewhere.subscribe(ALICE);
    far.notify();
    dialog.press(set_dnd(true));
    far.until("DoNotDisturb on");
    dfks_with(&nats, &["set", ALICE, "CallForwardingBusy", "on", "--value", "forwardTo=sip:bob@10.0.0.11"]).ok();
    far.until("CallForwardingBusy on forwardTo=sip:bob@10.0.0.11");
    assert_eq!(dfks_with(&nats, &["get", ALICE, "Foo"]).code, 1);
    assert_eq!(dfks_with(&nats, &["set", ALICE, "CallForwardingBusy", "on", "--value", "ringCount=1"]).code, 1);
    dfks_with(&nats, &["get", ALICE]).ok();
    dfks_with(&nats, &["watchers"]).ok();
    dfks_with(&nats, &["responders"]).ok();
    assert_eq!(dfks_with(&nats, &["responders", "forget", "dfks.responder.get.other_example.*"]).code, 1, "nobody was heard there");
    for (id, feature) in [("a", "DoNotDisturb"), ("b", "Foo")] {
        service.store("dfks.command.set", &json!({"presentity": ALICE, "feature": feature, "status": 0}), id);
    }
    let on_ours = json!({"presentity": ALICE, "feature": "DoNotDisturb", "status": 0});
    service.ask("dfks.set.127_0_0_1", &on_ours);
    service.ask("dfks.set.other_example", &on_ours);
    service.ask("dfks.get.127_0_0_1", &json!({"presentity": ALICE}));
    service.ask("dfks.get.other_example", &json!({"presentity": ALICE}));
    service.store("dfks.command.set.127_0_0_1", &on_ours, "c");
    let (mut alice, mut signed) = (User::new("alice", "secret"), third.dialog(ALICE));
    let challenge = alice.send(&third, &mut signed, &Subscribe::default());
    alice.take_challenge(&challenge);
    let (mut mallory, mut unknown) = (User::new("mallory", "x"), third.dialog(ALICE));
    let challenge = mallory.send(&third, &mut unknown, &Subscribe::default());
    mallory.take_challenge(&challenge);
    assert_eq!(alice.send(&third, &mut signed, &Subscribe::default()).status(), Some(200));
    assert_ne!(mallory.send(&third, &mut unknown, &Subscribe::default()).status(), Some(200));
    signed.notify();
    far.until("DoNotDisturb off");
    assert_eq!(dfks_with(&nats, &["why", "alice"]).code, 1);
    assert!([0, 1].contains(&dfks_with(&nats, &["why", ALICE]).code));
    dfks_with(&nats, &["resync", ALICE]).ok();
    dfks_with(&nats, &["end", &far.subscription()]).ok();
    let id = dialog.subscription();
    dfks_with(&nats, &["sip", &id]).ok();
    dialog.unsubscribe();
    tap.find("the dead letter", |taken| taken.subject == "dfks.dead.command");
    assert!([0, 1].contains(&dfks_with(&nats, &["status"]).code));
    dfks_with(&nats, &["log", "info", "--role", "edge"]).ok();
    assert_eq!(dfks_with(&nats, &["log", "loud"]).code, 1);
    dfks_with(&nats, &["dead", "drop", "--all", "--yes"]).ok();
    tap.find("the last event", |taken| taken.json["what"] == "terminated" && taken.json["subscription"] == id.as_str());

    let (document, mut taken) = (Document::new(), tap.all());
    // it is nobody's: who hears it, as this test does, looks on
    taken.retain(|taken| taken.subject != "dfks.responder.anybody");
    // nor is what a stream that records a request says to whoever asked
    taken.retain(|taken| !(taken.json["stream"].is_string() && taken.json["seq"].is_u64()));
    let asked = |taken: &Taken| Some((taken.reply.clone()?, document.reply(&document.channel(&taken.subject))?));
    let answers: BTreeMap<_, _> = taken.iter().filter(|taken| taken.subject.starts_with("dfks.")).filter_map(asked).collect();
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for taken in &taken {
        let channel = match answers.get(&taken.subject) {
            Some(channel) => channel.clone(),
            None if taken.subject.starts_with("dfks.") => document.channel(&taken.subject),
            // what NATS itself answers: acknowledgements of stores, messages out of streams
            None => continue,
        };
        let names = document.fitting(&channel, taken);
        let why: Vec<_> =
            document.json["channels"][&channel]["messages"].as_object().unwrap().keys().map(|name| document.faults(name, taken)).collect();
        assert!(!names.is_empty(), "{channel}: {why:?}: {taken:#?}");
        seen.entry(channel).or_default().extend(names);
    }
    let silent: Vec<_> = document.json["channels"].as_object().unwrap().keys().filter(|channel| !seen.contains_key(*channel)).collect();
    assert!(silent.iter().all(|channel| *channel == "eventRaw"), "nothing was said on {silent:?}; {seen:#?}");
    for (channel, name) in [
        ("setReply", "error"),
        ("setReply", "set_response"),
        ("getReply", "error"),
        ("responderAuthReply", "error"),
        ("responderAuthReply", "auth_response"),
    ] {
        assert!(seen[channel].contains(name), "{channel}: {:?}", seen[channel]);
    }
}
