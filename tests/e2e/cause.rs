//! All that is said on the bus names what led to it.

use serde_json::json;

use crate::ALICE;
use crate::common::Nats;
use crate::harness::{Phone, Service, Setup, Taken, dfks_with, set_dnd};

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
    // over NATS, where every message can be seen
    let all = Setup::on(&nats).with("run.local", "off").start();
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

/// ```text
/// dfks.set, traceparent …-00, tracestate ─▶ mi ─▶ worker, responder, jobs ─▶ edge ─▶ events: flags and state are the caller's
/// ```
#[test]
fn flags_and_state_of_the_caller_go_all_the_way() {
    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e473";
    const SPAN: &str = "00f067aa0ba902b7";
    let nats = Nats::start();
    let service = Service::on(&nats);
    let others = ["route.>", "notify.>", "event.>", "dead.>", "responder.set.*.DoNotDisturb"];
    let wiretap = service.wiretap(&others.map(|subject| format!("dfks.{subject}")));
    service.respond("dfks.responder.*.*.DoNotDisturb", |_| Some(json!({})));
    // over NATS, where every message can be seen
    let all = Setup::on(&nats).with("run.local", "off").start();
    let phone = Phone::tcp(all.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    for (at, flags) in ["00", "01"].into_iter().enumerate() {
        let id = format!("{ID}{at}");
        let change = json!({"presentity": ALICE, "feature": "DoNotDisturb", "status": 1});
        let trace = [("traceparent", format!("00-{id}-{SPAN}-{flags}")), ("tracestate", "vendor=opaque".to_owned())];
        let reply = service.ask_with("dfks.set", &trace, &change);
        dialog.until("DoNotDisturb on");
        wiretap.find("the last event", |taken| taken.subject.starts_with("dfks.event.notify") && taken.trace_id() == Some(&id));
        let of_trace: Vec<_> = wiretap.all().into_iter().filter(|taken| taken.trace_id() == Some(&id)).collect();
        let subjects = [
            "dfks.event.feature.127_0_0_1.DoNotDisturb",
            "dfks.event.notify.127_0_0_1",
            "dfks.notify.edge-a",
            "dfks.responder.set.127_0_0_1.DoNotDisturb",
            "dfks.route.set",
        ];
        assert_eq!(followed(&of_trace, &id), subjects);
        for (subject, headers) in of_trace.iter().map(|taken| (taken.subject.as_str(), &taken.headers)).chain([("reply", &reply)]) {
            let header = |name: &str| headers.get(name).map(async_nats::HeaderValue::as_str).unwrap_or_default();
            let traceparent = header("traceparent");
            assert!(
                traceparent.starts_with(&format!("00-{id}-")) && traceparent.ends_with(&format!("-{flags}")),
                "{subject}: {traceparent}"
            );
            // nobody here records spans: the caller's is the last that is known
            assert!(traceparent.contains(SPAN), "{subject}: {traceparent}");
            assert_eq!(header("tracestate"), "vendor=opaque", "{subject}");
        }
    }
}

/// The subjects of what has this cause, in order of the alphabet.
fn followed(all: &[Taken], cause: &str) -> Vec<String> {
    let mut subjects: Vec<_> = all.iter().filter(|taken| taken.trace_id() == Some(cause)).map(|taken| taken.subject.clone()).collect();
    subjects.sort();
    subjects
}
