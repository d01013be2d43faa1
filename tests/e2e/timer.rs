//! Features that go off by themselves: `until` and `for_seconds`, on the message schedules of nats-server.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Product, Service, Setup, dfks_with, set_dnd};

const DND: &str = "DoNotDisturb";

/// Has DND on for so long; the answer.
fn set_for(service: &Service, seconds: u64) -> Value {
    service.ask("dfks.set", &json!({"presentity": ALICE, "feature": DND, "status": 1, "for_seconds": seconds}))
}

/// The events of timers, as the stream of events has them.
fn ended(nats: &Nats) -> Vec<Value> {
    let done = dfks_with(nats, &["export"]);
    assert_eq!(done.code, 0, "{}", done.err);
    stored_events(nats).into_iter().filter(|event| event["origin"] == "timer").collect()
}

fn stored_events(nats: &Nats) -> Vec<Value> {
    let service = Service::on(nats);
    let mut found = Vec::new();
    for seq in 1.. {
        let body = json!({ "seq": seq });
        let answer = service.ask("$JS.API.STREAM.MSG.GET.DFKS_EVENTS", &body);
        let Some(data) = answer["message"]["data"].as_str() else { break };
        if answer["message"]["subject"].as_str().is_some_and(|subject| subject.starts_with("dfks.event.feature.")) {
            found.push(serde_json::from_slice(&base64(data)).unwrap());
        }
    }
    found
}

/// RFC 4648, as the JetStream API writes payloads.
fn base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        bits = bits << 6 | u32::from(value(byte));
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    bytes
}

/// ```text
/// dfks.set for_seconds ──▶ phone: on … at that time ──▶ phone: off, once
/// ```
#[test]
fn a_feature_goes_off_at_its_time_and_phones_are_told_once() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let service = Service::on(&nats);
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    let began_at = Instant::now();
    let state = set_for(&service, 2)["state"].clone();
    let until = state["until"].as_str().unwrap().to_owned();
    assert_eq!((&service.state(ALICE, DND)["until"], until.ends_with('Z')), (&json!(until), true));
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb on"]);
    let shown = dfks_with(&nats, &["get", ALICE, "dnd"]).ok();
    assert!(shown.contains(&format!("DoNotDisturb            on  until {until}, in ")), "{shown}");
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb off"]);
    let took = began_at.elapsed();
    assert!((Duration::from_millis(1900)..Duration::from_secs(5)).contains(&took), "{took:?}");
    let after = service.state(ALICE, DND);
    assert_eq!((&after["status"], &after["version"], after.get("until")), (&json!(0), &json!(2), None));
    // the next NOTIFY is that of the next change: nothing came between
    service.set(ALICE, "CallForwardingAlways", 1);
    assert_eq!(dialog.notify().shows(), ["CallForwardingAlways on"]);
    let events = ended(&nats);
    assert_eq!(events.len(), 1, "{events:#?}");
    let event = &events[0];
    assert_eq!((&event["outcome"], &event["old"]["until"], &event["watchers"]), (&json!("applied"), &json!(until), &json!(1)));
    assert_eq!((&event["actor"], &event["asked"]["status"], &event["version"]), (&Value::Null, &json!(0), &json!(2)));
    assert_eq!(product.metric("dfks_mi_timers_total{outcome=\"ended\"}"), Some(1.0));
}

#[test]
fn any_change_before_cancels_it_and_another_time_takes_its_place() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let service = Service::on(&nats);
    let phone = Phone::udp(product.udp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.shows(4);
    // set again without a time
    set_for(&service, 1);
    assert_eq!(service.set(ALICE, DND, 1)["state"].get("until"), None);
    // off and on again by a key
    let bob = "sip:bob@127.0.0.1";
    service.ask("dfks.set", &json!({"presentity": bob, "feature": DND, "status": 1, "for_seconds": 1}));
    let bobs = Phone::udp(product.udp());
    let mut bobs = bobs.subscribe(bob);
    bobs.shows(4);
    bobs.press(set_dnd(false));
    bobs.until("DoNotDisturb off");
    bobs.press(set_dnd(true));
    bobs.until("DoNotDisturb on");
    // and again, for longer; a key that changes nothing leaves the time as it is
    let carol = "sip:carol@127.0.0.1";
    let of_carol = |seconds: u64| json!({"presentity": carol, "feature": DND, "status": 1, "for_seconds": seconds});
    service.ask("dfks.set", &of_carol(1));
    let until = service.ask("dfks.set", &of_carol(3))["state"]["until"].clone();
    let carols = Phone::udp(product.udp());
    let mut carols = carols.subscribe(carol);
    carols.shows(4);
    carols.press(set_dnd(true));
    carols.until("DoNotDisturb on");
    assert_eq!(service.state(carol, DND)["until"], until);
    carols.until("DoNotDisturb off");
    assert_eq!(service.state(carol, DND)["version"], 3);
    for (presentity, version) in [(ALICE, 2), (bob, 3)] {
        let state = service.state(presentity, DND);
        assert_eq!((&state["status"], &state["version"], state.get("until")), (&json!(1), &json!(version), None), "{presentity}");
    }
    let events: Vec<_> = ended(&nats).iter().map(|event| event["presentity"].clone()).collect();
    assert_eq!(events, [json!(carol)]);
}

/// ```text
/// dfks.set ──▶ committed │ kill -9 of dfks and nats-server … the time passes … both again ──▶ phone: off, once
/// ```
#[test]
fn when_everything_was_down_at_that_moment_it_goes_off_afterwards_once() {
    let mut nats = Nats::start();
    let mut product = Product::start(&nats);
    let service = Service::on(&nats);
    let phone = Phone::udp(product.udp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.shows(4);
    // of one the timer is stored for long, of the other it may not be: the processes die with the answer
    let bob = "sip:bob@127.0.0.1";
    set_for(&service, 3);
    dialog.until("DoNotDisturb on");
    service.ask("dfks.set", &json!({"presentity": bob, "feature": DND, "status": 1, "for_seconds": 2}));
    product.kill();
    nats.kill();
    std::thread::sleep(Duration::from_secs(4));
    nats.restart();
    product.restart();
    dialog.until("DoNotDisturb off");
    let service = Service::on(&nats);
    wait_for("the other one is off", || (service.state(bob, DND)["status"] == 0).then_some(()));
    for presentity in [ALICE, bob] {
        let state = service.state(presentity, DND);
        assert_eq!((&state["version"], state.get("until")), (&json!(2), None), "{presentity}");
    }
    service.set(ALICE, "CallForwardingAlways", 1);
    let next = dialog.until("CallForwardingAlways on");
    assert!(!next.shows().iter().any(|line| line == "DoNotDisturb off"), "told once");
    assert_eq!(ended(&nats).len(), 2);
}

#[test]
fn of_two_bridges_one_ends_it() {
    let nats = Nats::start();
    let first = Product::start(&nats);
    let second = Setup::on(&nats).with("sip.edge_id", "edge-b").start();
    let service = Service::on(&nats);
    for number in 0..20 {
        let presentity = format!("sip:u{number}@127.0.0.1");
        service.ask("dfks.set", &json!({"presentity": presentity, "feature": DND, "status": 1, "for_seconds": 1}));
    }
    let count = |outcome: &str| {
        let of = |product: &Product| product.metric(&format!("dfks_mi_timers_total{{outcome=\"{outcome}\"}}")).unwrap();
        of(&first) + of(&second)
    };
    wait_for("all are off", || (count("ended") >= 20.0).then_some(()));
    assert_eq!((count("ended"), count("passed"), ended(&nats).len()), (20.0, 0.0, 20));
    for number in 0..20 {
        assert_eq!(service.state(&format!("sip:u{number}@127.0.0.1"), DND)["version"], 2);
    }
}

/// ```text
/// at its time ──▶ the route: denied ──▶ event, shown as overdue, a timer for the next attempt
/// ```
#[test]
fn one_that_is_denied_is_overdue_and_tried_again() {
    let nats = Nats::start();
    let script = r#"fn dfks_set(dfks) { if dfks.status == 0 { deny("locked"); } }"#;
    let product = Setup::on(&nats).script(script).start();
    let service = Service::on(&nats);
    let until = set_for(&service, 1)["state"]["until"].clone();
    wait_for("it is refused", || (product.metric("dfks_mi_timers_total{outcome=\"refused\"}") == Some(1.0)).then_some(()));
    let state = service.state(ALICE, DND);
    assert_eq!((&state["status"], &state["version"], &state["until"]), (&json!(1), &json!(1), &until));
    for command in ["get", "why"] {
        let shown = dfks_with(&nats, &[command, ALICE, "DND"]);
        assert!(shown.out.contains("overdue by "), "{command}: {} {}", shown.out, shown.err);
    }
    let events = ended(&nats);
    assert_eq!((events.len(), &events[0]["outcome"], &events[0]["reason"]), (1, &json!("refused"), &json!("locked")));
    let waiting = wait_for("the next attempt", || {
        let stream = service.ask("$JS.API.STREAM.INFO.DFKS_TIMERS", &json!({"subjects_filter": ">"}));
        stream["state"]["subjects"].as_object().filter(|all| all.keys().all(|subject| subject.starts_with("dfks.timer.at."))).cloned()
    });
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    let standing = || {
        let subject = waiting.keys().next().unwrap();
        let last = service.ask("$JS.API.STREAM.MSG.GET.DFKS_TIMERS", &json!({"last_by_subj": subject}));
        serde_json::from_slice::<Value>(&base64(last["message"]["data"].as_str().unwrap())).unwrap()
    };
    assert_eq!((&standing()["version"], &standing()["attempt"]), (&json!(1), &json!(1)));
    // set again, the next time takes the place of the attempt
    set_for(&service, 60);
    wait_for("the new time", || (standing()["version"] == 2).then_some(()));
    assert_eq!(standing()["attempt"], 0);
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let service = Service::on(&nats);
    for (more, field) in [
        (json!({"until": "2020-01-01T00:00:00Z"}), "until"),
        (json!({"until": "17:00"}), "until"),
        (json!({"for_seconds": 0}), "for_seconds"),
        (json!({"for_seconds": 60, "until": "2099-01-01T00:00:00Z"}), "until"),
        (json!({"until": "2099-01-01T00:00:00Z"}), "until"),
        (json!({"for_seconds": 60, "status": 0}), "for_seconds"),
    ] {
        let mut request = json!({"presentity": ALICE, "feature": DND, "status": 1});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let error = service.ask("dfks.set", &request)["error"].clone();
        assert_eq!((&error["code"], &error["field"]), (&json!(400), &json!(field)), "{more}: {error}");
    }
    assert_eq!(service.state(ALICE, DND)["version"], 0);
    assert_eq!(product.metric("dfks_mi_commands_total{origin=\"mi\",outcome=\"invalid\"}"), Some(6.0));
}

#[test]
fn a_durable_command_and_the_command_line_set_a_time_too() {
    let nats = Nats::start();
    let _product = Product::start(&nats);
    let service = Service::on(&nats);
    service.store("dfks.command.set", &json!({"presentity": ALICE, "feature": DND, "status": 1, "for_seconds": 2}), "one");
    wait_for("it is on", || (service.state(ALICE, DND)["status"] == 1).then_some(()));
    wait_for("it is off", || (service.state(ALICE, DND)["status"] == 0).then_some(()));
    let said = dfks_with(&nats, &["set", ALICE, "DND", "on", "--for", "2h"]).ok();
    assert!(said.contains("DoNotDisturb            on  until 20") && said.contains(", in "), "{said}");
    let said = dfks_with(&nats, &["set", ALICE, "DND", "on", "--until", "17:00", "--json"]).ok();
    let until = serde_json::from_str::<Value>(&said).unwrap()["state"]["until"].as_str().unwrap().to_owned();
    assert!(until.ends_with(":00.000Z"), "{until}");
    for (args, text) in [
        (&["--for", "2x"][..], "expected a span of time"),
        (&["--until", "soon"], "--until 'soon': expected a time, e.g. 17:00"),
        (&["--until", "17:00", "--for", "2h"], "cannot be used with"),
    ] {
        let refused = dfks_with(&nats, &[&["set", ALICE, "DND", "on"], args].concat());
        assert!(refused.code == 64 && refused.err.contains(text), "{args:?}: {} {}", refused.code, refused.err);
    }
    let off = dfks_with(&nats, &["set", ALICE, "DND", "off", "--for", "2h"]);
    assert!(off.code == 1 && off.err.contains("for_seconds goes with status 1"), "{}", off.err);
}

#[test]
fn a_guests_visit_ends_where_it_is_configured() {
    let nats = Nats::start();
    let _product = Setup::on(&nats).with("features.hoteling_ends", true).start();
    let service = Service::on(&nats);
    let visit = json!({"presentity": ALICE, "feature": "Hoteling", "status": 1, "values": {"guestAddress": "sip:guest@h", "expires": "2"}});
    let state = service.ask("dfks.set", &visit)["state"].clone();
    assert!(state["until"].is_string(), "{state}");
    wait_for("the guest is out", || (service.state(ALICE, "Hoteling")["status"] == 0).then_some(()));
    assert_eq!(service.state(ALICE, "Hoteling")["version"], 2);
}

/// The server that `make tools` fetches for this test: 2.11 holds no messages back.
#[test]
fn an_older_server_is_named() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/nats-server-2.11");
    assert!(program.is_file(), "run `make tools`");
    let nats = Nats::of(&program);
    let _product = Product::start(&nats);
    let service = Service::on(&nats);
    let error = set_for(&service, 60)["error"].clone();
    let said = "a feature cannot be set for a time here: nats-server 2.11.4 holds no messages back: that needs 2.12 or newer";
    assert_eq!((&error["code"], &error["description"]), (&json!(400), &json!(said)));
    assert_eq!(service.set(ALICE, DND, 1)["state"]["version"], 1, "everything else works");
}
