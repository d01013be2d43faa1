//! What is refused, told on the bus and in the log, and what of it is held back.

use std::time::Duration;

use serde_json::{Value, json};

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Answer, Phone, Product, Service, Setup, Subscribe, Taken, Wiretap, set_dnd, set_forwarding};

/// From and To of a request outside any dialog.
const WHO: &str = "From: <sip:alice@127.0.0.1>;tag=1\r\nTo: <sip:alice@127.0.0.1>\r\n";

/// The refusals that were told so far, by how many each stands for.
fn count(told: &Wiretap, fits: impl Fn(&Value) -> bool) -> u64 {
    told.all().iter().filter(|event| fits(&event.json)).map(|event| event.json["count"].as_u64().unwrap()).sum()
}

fn is(reason: &'static str) -> impl Fn(&Taken) -> bool {
    move |event| event.json["reason"] == reason
}

/// ```text
/// phone ──SUBSCRIBE──▶ edge ──404, 489, 405──▶ phone      dfks.event.refused.<domain>: whose, who, from where, why
/// ```
#[test]
fn a_refused_request_says_whose_from_where_and_why_and_a_second_one_waits_for_its_second() {
    let nats = Nats::start();
    let product = Setup::on(&nats).with("sip.domains", vec!["127.0.0.1".to_owned()]).start();
    let service = Service::on(&nats);
    let events = service.wiretap(&["dfks.event.refused.>"]);
    let phone = Phone::tcp(product.tcp());
    let mut elsewhere = phone.dialog("sip:alice@example.net");
    for _ in 0..5 {
        assert_eq!(elsewhere.send(&Subscribe::default()).status(), Some(404));
    }
    let first = events.find("the first", is("not_found"));
    let (event, source) = (&first.json, phone.local().to_string());
    assert_eq!(first.subject, "dfks.event.refused.example_net");
    assert_eq!(
        (&event["presentity"], &event["source"], &event["transport"]),
        (&json!("sip:alice@example.net"), &json!(source), &json!("tcp"))
    );
    assert_eq!((&event["status"], &event["method"], &event["count"]), (&json!(404), &json!("SUBSCRIBE"), &json!(1)));
    assert_eq!(event["detail"], "this domain is not served here");
    assert!(event["call_id"].is_string() && event["edge_id"].is_string() && event["watcher"].is_string(), "{event}");
    wait_for("the rest", || (count(&events, |event| event["status"] == 404) == 5).then_some(()));
    assert!(events.all().len() <= 3, "what a second held back is told together: {:#?}", events.all());
    assert_eq!(product.metric("dfks_events_refused_total{reason=\"not_found\"}"), Some(5.0));

    let (text, _) = phone.request("REGISTER", WHO, "", "");
    phone.send(text.as_bytes());
    let event = events.find("another method", is("method")).json;
    assert_eq!((&event["status"], &event["method"], &event["presentity"]), (&json!(405), &json!("REGISTER"), &json!(ALICE)));
    phone.send(b"SUBSCRIBE sip:alice@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:alice@127.0.0.1>\r\nCall-ID: c\r\nCSeq: nonsense\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(events.find("what cannot be read", is("malformed")).json["status"], 400);
}

/// ```text
/// dfks.set, dfks.command.set, POST /mi ──▶ 400, 403      dfks.event.refused: source null, status as in the reply
/// ```
#[test]
fn a_refused_command_is_told_whichever_way_it_came() {
    let nats = Nats::start();
    let script = r#"fn dfks_set(dfks) { if dfks.param == "deny" { deny("not on this tariff"); } }"#;
    let product = Setup::on(&nats).with("mi.http", "127.0.0.1:0").script(script).start();
    let service = Service::on(&nats);
    let events = service.wiretap(&["dfks.event.refused.>", "dfks.dead.>"]);
    let by = |actor: &str| {
        let actor = actor.to_owned();
        move |event: &Taken| {
            event.subject.starts_with("dfks.event.") && event.json["actor"].as_str().is_some_and(|given| given.starts_with(&actor))
        }
    };
    let unknown = json!({"presentity": ALICE, "feature": "Foo", "status": 1, "actor": "crm"});
    assert_eq!(service.ask("dfks.set", &unknown)["error"]["code"], 400);
    let event = events.find("the unknown feature", by("crm"));
    assert_eq!(
        (event.subject.as_str(), &event.json["reason"], &event.json["source"]),
        ("dfks.event.refused.127_0_0_1", &json!("bad_request"), &Value::Null)
    );
    assert!(event.json["detail"].as_str().unwrap().starts_with("unknown feature 'Foo'"), "{event:?}");

    let denied = json!({"presentity": ALICE, "feature": "DoNotDisturb", "status": 1, "route_param": "deny", "actor": "portal"});
    assert_eq!(service.ask("dfks.set", &denied)["error"]["code"], 403);
    let event = events.find("the denial", by("portal")).json;
    assert_eq!((&event["status"], &event["reason"], &event["detail"]), (&json!(403), &json!("denied"), &json!("not on this tariff")));

    service.ask_raw("dfks.set", "no JSON");
    assert_eq!(events.find("no presentity", |event| event.subject.ends_with(".unknown")).json["presentity"], Value::Null);

    // an invalid durable command: a dead letter that keeps its sender's id, and an event
    let unknown = json!({"presentity": "sip:bob@10.0.0.12", "feature": "Foo", "status": 1, "actor": "nightly"});
    service.store("dfks.command.set", &unknown, "order-4711");
    let dead = events.find("the dead letter", |letter| letter.subject == "dfks.dead.command");
    assert_eq!(dead.headers.get("Dfks-Msg-Id").map(|id| id.as_str().to_owned()), Some("order-4711".to_owned()));
    let event = events.find("the durable command", by("nightly"));
    assert_eq!((event.subject.as_str(), &event.json["status"]), ("dfks.event.refused.10_0_0_12", &json!(400)));

    let request = json!({"jsonrpc": "2.0", "method": "dfks_set_feature", "params": ["sip:carol@10.0.0.13", "Foo", 1], "id": 1});
    assert_eq!(crate::mi::call(product.mi(), &request)["error"]["code"], 400);
    let event = events.find("the command over HTTP", by("mi 127.0.0.1:")).json;
    assert_eq!((&event["presentity"], &event["source"]), (&json!("sip:carol@10.0.0.13"), &Value::Null));
}

/// ```text
/// 3000 SUBSCRIBEs of one source at once ──▶ edge: 503, dropped      a few events, which count them all
/// ```
#[test]
fn a_flood_is_a_few_events_that_count_it() {
    let nats = Nats::start();
    let product = Setup::on(&nats).with("sip.rate_limit_per_source", 5).with("sip.rate_limit_exempt", Vec::<String>::new()).start();
    let service = Service::on(&nats);
    let events = service.wiretap(&["dfks.event.refused.>"]);
    let phone = Phone::tcp(product.tcp());
    let mut sent = 0;
    for _ in 0..600 {
        let (text, _) = phone.request("REGISTER", WHO, "", "");
        phone.send(text.as_bytes());
        sent += 1;
        std::thread::sleep(Duration::from_micros(200));
    }
    let reasons = |event: &Value| event["reason"] == "rate_limited" || event["reason"] == "method";
    wait_for("all are counted", || (count(&events, reasons) == sent).then_some(()));
    assert!(events.all().len() <= 12, "{:#?}", events.all());
    let limited =
        events.find("one that counts many", |event| event.json["reason"] == "rate_limited" && event.json["count"].as_u64() > Some(10));
    assert_eq!((&limited.json["status"], &limited.json["presentity"]), (&json!(503), &json!(ALICE)));
}

/// ```text
/// log.level = "debug": whose, from where, Call-ID      "info": nobody
/// ```
#[test]
fn the_log_names_whom_it_concerns_at_debug_and_nobody_at_info() {
    for (level, is_named) in [("debug", true), ("info", false)] {
        let nats = Nats::start();
        let product = Setup::on(&nats).with("log.level", level).with("sip.domains", vec!["127.0.0.1".to_owned()]).start();
        let (log, source, call_id) = lived(&nats, &product);
        for (message, more) in [
            ("subscription changed", "\"what\":\"active\""),
            ("request refused", "this domain is not served here"),
            ("change ended", "applied"),
            ("command refused", "unknown feature"),
            ("notify not delivered", "failed"),
        ] {
            let line = log.lines().find(|line| line.contains(message) && line.contains(more));
            assert_eq!(line.is_some(), is_named, "{level}: {message}\n{log}");
            if let Some(line) = line.filter(|_| message != "command refused") {
                assert!(line.contains("sip:alice@") && line.contains(&source) && line.contains("\"call_id\":"), "{line}");
            }
        }
        assert_eq!(log.contains("sip:alice@"), is_named, "{level}: {log}");
        assert_eq!(log.contains(&call_id), is_named, "{level}: {log}");
    }
}

/// A subscription, a refusal, a change, a bad command and a NOTIFY that a phone does not take; the log of it, the phone and its Call-ID.
fn lived(nats: &Nats, product: &Product) -> (String, String, String) {
    let service = Service::on(nats);
    let events = service.wiretap(&["dfks.event.>"]);
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    let call_id = dialog.notify().must("call-id").to_owned();
    assert_eq!(phone.dialog("sip:alice@example.net").send(&Subscribe::default()).status(), Some(404));
    dialog.press(set_dnd(true));
    dialog.until("DoNotDisturb on");
    service.ask("dfks.set", &json!({"presentity": ALICE, "feature": "Foo", "status": 1}));
    phone.answers(|_| Answer::Status(486, ""));
    dialog.press(set_forwarding("forwardBusy", true, "<forwardDN>sip:bob@10.0.0.11</forwardDN>"));
    events.find("a NOTIFY that is not taken", |event| event.json["outcome"] == "failed");
    (product.log(), phone.local().to_string(), call_id)
}
