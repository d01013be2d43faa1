//! All that is said on the bus names what led to it.

use serde_json::json;

use crate::ALICE;
use crate::common::Nats;
use crate::harness::{Phone, Product, Service, Setup, Taken, dfks_with, set_dnd};

/// ```text
/// phone ──SUBSCRIBE──▶ edge-a    phone ──press──▶ edge-a ──job──▶ edge-b    dfks set ──▶ mi ──jobs──▶ both
/// ```
#[test]
fn every_message_carries_its_cause() {
    let nats = Nats::start();
    let service = Service::on(&nats);
    // A tap on `dfks.>` would count as a responder for every feature, one that never answers.
    let others = ["set", "get", "route.>", "watchers", "command.>", "notify.>", "event.>", "dead.>", "responder.*.*.DoNotDisturb"];
    let wiretap = service.wiretap(&others.map(|subject| format!("dfks.{subject}")));
    service.respond("dfks.responder.*.*.DoNotDisturb", |_| Some(json!({})));
    let all = Product::start(&nats);
    let other = Setup::on(&nats).role("edge").with("sip.edge_id", "edge-b").start();
    let (phone, elsewhere) = (Phone::tcp(all.tcp()), Phone::tcp(other.tcp()));
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    let mut far = elsewhere.subscribe(ALICE);
    far.notify();
    dialog.press(set_dnd(true));
    far.until("DoNotDisturb on");
    dfks_with(&nats, &["set", ALICE, "CallForwardingBusy", "on", "--value", "forwardTo=sip:bob@10.0.0.11"]).ok();
    far.until("CallForwardingBusy on forwardTo=sip:bob@10.0.0.11");
    dialog.until("CallForwardingBusy on forwardTo=sip:bob@10.0.0.11");
    dialog.unsubscribe();
    let id = dialog.subscription();
    let of = |what: &'static str, id: String| move |taken: &Taken| taken.json["what"] == what && taken.json["subscription"] == id.as_str();
    wiretap.find("the last event", of("terminated", id.clone()));
    wiretap.find("the last NOTIFY's event", |taken| {
        taken.json["subscription"] == id.as_str()
            && taken.json["features"].as_array().is_some_and(|all| all.len() == 4)
            && taken.json["outcome"] == "delivered"
    });

    for taken in wiretap.all() {
        let trace_id = taken.trace_id().unwrap_or_else(|| panic!("no traceparent: {taken:?}")).to_owned();
        if let Some(cause) = taken.json.get("cause") {
            assert_eq!(cause, trace_id.as_str(), "{taken:?}");
        }
    }

    // what a SUBSCRIBE led to, and nothing else, has its cause
    let began = wiretap.find("the first event", of("active", id.clone()));
    let cause = began.json["cause"].as_str().unwrap();
    assert_eq!(
        followed(&wiretap.all(), cause),
        ["dfks.event.notify.127_0_0_1", "dfks.event.subscription.127_0_0_1", "dfks.get", "dfks.responder.get.127_0_0_1.DoNotDisturb"]
    );
    // so has a key press, on both edges
    let pressed = wiretap.find("the press", |taken| taken.subject == "dfks.route.set" && taken.json["origin"] == "phone");
    let subjects = [
        "dfks.event.feature.127_0_0_1.DoNotDisturb",
        "dfks.event.notify.127_0_0_1",
        "dfks.event.notify.127_0_0_1",
        "dfks.event.subscription.127_0_0_1",
        "dfks.notify.edge-b",
        "dfks.responder.set.127_0_0_1.DoNotDisturb",
        "dfks.route.set",
    ];
    assert_eq!(followed(&wiretap.all(), pressed.json["cause"].as_str().unwrap()), subjects);
    // and a command
    let command = wiretap.find("the command", |taken| taken.subject == "dfks.set");
    let subjects = [
        "dfks.event.feature.127_0_0_1.CallForwardingBusy",
        "dfks.event.notify.127_0_0_1",
        "dfks.event.notify.127_0_0_1",
        "dfks.notify.edge-a",
        "dfks.notify.edge-b",
        "dfks.route.set",
        "dfks.set",
    ];
    assert_eq!(followed(&wiretap.all(), command.trace_id().unwrap()), subjects);
}

/// The subjects of what has this cause, in order of the alphabet.
fn followed(all: &[Taken], cause: &str) -> Vec<String> {
    let mut subjects: Vec<_> = all.iter().filter(|taken| taken.trace_id() == Some(cause)).map(|taken| taken.subject.clone()).collect();
    subjects.sort();
    subjects
}
