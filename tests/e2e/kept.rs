//! What every version has stored, as `schemas/records` and `schemas/compat` keep it: roles of today go on with it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Service, Setup, dfks_with};

/// Whose records they are.
const ALICE: &str = "sip:alice@10.0.0.11";

/// The records of this version, and of each that was released.
fn folders() -> Vec<PathBuf> {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let releases = fs::read_dir(schemas.join("compat")).unwrap().map(|entry| entry.unwrap().path());
    std::iter::once(schemas.clone()).chain(releases).map(|of| of.join("records")).collect()
}

/// The stored messages of a kind.
fn kept(folder: &Path, kind: &str) -> Vec<Value> {
    let entries = fs::read_dir(folder.join(kind)).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).collect()
}

/// Every time in it is later by so much, in headers too.
fn shifted(message: &Value, by: time::Duration) -> Value {
    match message {
        Value::String(text) => {
            let (before, at) = text.split_at(text.strip_prefix("@at ").map_or(0, |_| "@at ".len()));
            let later = OffsetDateTime::parse(at, &Rfc3339).map(|at| (at + by).format(&Rfc3339).unwrap());
            later.map_or_else(|_| message.clone(), |later| json!(format!("{before}{later}")))
        }
        Value::Array(all) => all.iter().map(|one| shifted(one, by)).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shifted(value, by))).collect(),
        _ => message.clone(),
    }
}

/// Stores a message as it was stored.
fn store(service: &Service, message: &Value) {
    let headers = message["headers"].as_object().unwrap();
    let headers: Vec<(&'static str, &str)> = headers.iter().map(|(name, value)| (&*name.clone().leak(), value.as_str().unwrap())).collect();
    service.store_with(message["subject"].as_str().unwrap(), &message["payload"], &headers);
}

fn waiting(service: &Service, stream: &str) -> u64 {
    service.ask(&format!("$JS.API.STREAM.INFO.{stream}"), &json!({}))["state"]["messages"].as_u64().unwrap()
}

/// ```text
/// what a version has stored ──▶ NATS ──▶ roles of today: the dialog goes on, states and times stay, what waits is done, once
/// ```
#[test]
fn roles_go_on_with_what_every_version_has_stored() {
    for folder in folders() {
        go_on_with(&folder);
    }
}

fn go_on_with(folder: &Path) {
    let at = folder.display();
    let nats = Nats::start();
    let mut product = Setup::on(&nats).with("sip.edge_id", "edge1").start();
    product.kill();
    let (service, phone) = (Service::on(&nats), Phone::udp(product.udp()));
    let subscriptions = kept(folder, "subscription");
    let over_udp = subscriptions.iter().find(|one| one["payload"]["transport"] == "udp").unwrap();
    let kept_at = OffsetDateTime::parse(over_udp["payload"]["asked_at"].as_str().unwrap(), &Rfc3339).unwrap();
    let by = OffsetDateTime::now_utc() - kept_at;
    let all_of = |kind: &str| -> Vec<Value> { kept(folder, kind).iter().map(|message| shifted(message, by)).collect() };
    for message in ["edge", "feature", "responder", "timer", "dead", "job", "command"].map(all_of).iter().flatten() {
        store(&service, message);
    }
    for mut message in all_of("subscription") {
        if message["payload"]["transport"] == "udp" {
            message["payload"]["peer"] = json!(phone.local());
            message["payload"]["target"] = json!(format!("sip:phone@{}", phone.local()));
        }
        store(&service, &message);
    }
    product.restart();

    // the dialog goes on, with a CSeq that was not used before
    let id = over_udp["subject"].as_str().unwrap().rsplit('.').next().unwrap();
    let mut dialog = phone.dialog_of(id, &over_udp["payload"]);
    dialog.refresh();
    let notify = dialog.notify();
    assert!(u64::from(notify.cseq()) > over_udp["payload"]["local_cseq"].as_u64().unwrap(), "{at}: {}", notify.start);
    let watchers = dfks_with(&nats, &["watchers", ALICE, "--json"]).ok();
    assert_eq!(watchers.lines().count(), subscriptions.len(), "{at}: {watchers}");

    // states are those that were stored; the command that waited was done, and the job told
    let features = &all_of("feature")[0]["payload"]["features"];
    wait_for("the command to be carried out", || {
        (service.state(ALICE, "DoNotDisturb")["version"].as_u64() > features["DoNotDisturb"]["version"].as_u64()).then_some(())
    });
    for (feature, stored) in features.as_object().unwrap().iter().filter(|(feature, _)| *feature != "DoNotDisturb") {
        let state = service.state(ALICE, feature);
        for field in ["status", "values", "version"] {
            assert_eq!(state[field], stored[field], "{at}: {feature}: {field}");
        }
        assert_eq!(time_of(&state["until"]), time_of(&stored["until"]), "{at}: {feature}");
    }
    wait_for("the queues to be empty", || ["DFKS_COMMANDS", "DFKS_NOTIFY"].iter().all(|queue| waiting(&service, queue) == 0).then_some(()));
    // the first one may have shown it already, where the command was carried out before the full state was asked for
    if !notify.shows().iter().any(|line| line == "DoNotDisturb off") {
        dialog.until("DoNotDisturb off");
    }

    // what is looked at by hand
    let letters = dfks_with(&nats, &["dead", "list", "--json"]).ok();
    let letters: Vec<Value> = letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let dead = all_of("dead");
    assert_eq!(letters.len(), dead.len(), "{at}: {letters:#?}");
    for (letter, stored) in letters.iter().zip(&dead) {
        assert_eq!((&letter["payload"], &letter["reason"]), (&stored["payload"], &stored["headers"]["Dfks-Dead-Reason"]), "{at}");
    }
    let responders = dfks_with(&nats, &["responders", "--json"]).ok();
    for responder in all_of("responder") {
        let heard = time_of(&responder["payload"]["last_heard"]);
        let mut lines = responders.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        assert!(lines.any(|line| time_of(&line["last_heard"]) == heard), "{at}: {responders}");
    }
    let timers = kept(folder, "timer").len() as u64;
    if timers > 0 {
        assert_eq!(waiting(&service, "DFKS_TIMERS"), timers, "{at}");
    }
}

/// A time to the millisecond, which is what is kept of it.
fn time_of(text: &Value) -> Option<i128> {
    let at = OffsetDateTime::parse(text.as_str()?, &Rfc3339).unwrap();
    Some(at.unix_timestamp_nanos() / 1_000_000)
}
