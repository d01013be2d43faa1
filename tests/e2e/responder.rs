//! Services that own features: one in Python, one that denies, one that is late.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Product, Service, Setup, set_dnd, set_forwarding};

/// `responder.py`. Killed when dropped.
pub(crate) struct Python(Child);

impl Python {
    /// Starts it with the packages that `make tools` fetched, and waits until it listens.
    pub(crate) fn start(nats: &Nats) -> Self {
        let root = env!("CARGO_MANIFEST_DIR");
        let packages = format!("{root}/.tools/python:{}", std::env::var("PYTHONPATH").unwrap_or_default());
        let script = format!("{root}/tests/e2e/responder.py");
        let mut command = Command::new("python3");
        command.args([&script, &nats.url()]).env("PYTHONPATH", packages).stdout(Stdio::piped());
        let mut python = Self(command.spawn().expect("python3"));
        let mut said = String::new();
        BufReader::new(python.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "nats-py is not there: run `make tools`");
        python
    }

    pub(crate) fn stop(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// ```text
/// phone ──SUBSCRIBE──▶ edge ──dfks.get──▶ worker ──dfks.responder.get──▶ Python      stopped: the last known state
/// ```
#[test]
fn what_a_python_responder_says_shows_on_the_phone_and_stays_known_when_it_is_gone() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let service = Service::on(&nats);
    let python = Python::start(&nats);
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.notify().shows()[0], "DoNotDisturb on");
    assert_eq!(service.state(ALICE, "DoNotDisturb")["source"], "responder");
    dialog.press(set_dnd(false));
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb off"]);
    dialog.press(set_dnd(true));
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb on"]);
    dialog.refresh();
    assert_eq!(dialog.notify().shows()[0], "DoNotDisturb on", "the responder took it");

    python.stop();
    let refreshed_at = Instant::now();
    dialog.refresh();
    assert_eq!(dialog.notify().shows()[0], "DoNotDisturb on", "the last known state");
    assert!(refreshed_at.elapsed() < Duration::from_secs(3), "{:?}", refreshed_at.elapsed());
    assert_eq!(service.state(ALICE, "DoNotDisturb")["source"], "store");
    assert_eq!(service.state("sip:bob@127.0.0.1", "DoNotDisturb")["status"], 0);

    let _python = Python::start(&nats);
    wait_for("it is asked again", || (service.state(ALICE, "DoNotDisturb")["source"] == "responder").then_some(()));
}

/// ```text
/// phone ──refresh──▶ edge 1 ──dfks.get──▶ worker ──▶ responder: on        its answer to that phone
///                                           └─▶ bucket ──▶ bridge ──▶ jobs to the other phones, the event
/// ```
#[test]
fn what_one_get_learns_from_a_responder_every_other_phone_is_told() {
    let nats = Nats::start();
    let service = Service::on(&nats);
    let is_on = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let says = std::sync::Arc::clone(&is_on);
    let (product, elsewhere) = (Product::start(&nats), Setup::on(&nats).with("sip.edge_id", "edge-2").start());
    let events = service.wiretap(&["dfks.event.feature.>"]);
    let (phone, far) = (Phone::tcp(product.tcp()), Phone::tcp(elsewhere.tcp()));
    let (mut dialog, mut near, mut other) = (phone.subscribe(ALICE), phone.subscribe(ALICE), far.subscribe(ALICE));
    for dialog in [&mut dialog, &mut near, &mut other] {
        assert_eq!(dialog.notify().shows()[0], "DoNotDisturb off");
    }
    service.respond("dfks.responder.get.127_0_0_1.DoNotDisturb", move |_| {
        Some(json!({"status": says.load(std::sync::atomic::Ordering::Relaxed)}))
    });
    is_on.store(true, std::sync::atomic::Ordering::Relaxed);
    // Where nobody listened is asked again after 5 s.
    wait_for("the responder is asked", || (service.state(ALICE, "DoNotDisturb")["source"] == "responder").then_some(()));
    for dialog in [&mut dialog, &mut near, &mut other] {
        assert_eq!(dialog.notify().shows(), ["DoNotDisturb on"]);
    }
    let event = events.find("the event", |event| event.json["version"] == 1);
    let seen = (&event.json["origin"], &event.json["old"]["status"], &event.json["new"]["status"], &event.json["watchers"]);
    assert_eq!(seen, (&json!("responder"), &json!(0), &json!(1), &json!(3)), "{}", event.json);

    is_on.store(false, std::sync::atomic::Ordering::Relaxed);
    dialog.refresh();
    assert_eq!(dialog.notify().shows()[0], "DoNotDisturb off", "the phone that asked has the answer");
    for dialog in [&mut near, &mut other] {
        assert_eq!(dialog.notify().shows(), ["DoNotDisturb off"]);
    }
    let event = events.find("the event", |event| event.json["version"] == 2);
    assert_eq!((&event.json["origin"], &event.json["watchers"]), (&json!("responder"), &json!(2)), "{}", event.json);
    dialog.press(set_dnd(true));
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb on"], "and nothing else was told meanwhile");
    let learnt = events.all().into_iter().filter(|event| event.json["origin"] == "responder");
    assert_eq!(learnt.map(|event| event.json["id"].to_string()).collect::<std::collections::BTreeSet<_>>().len(), 2);
}

/// ```text
/// phone ──press──▶ edge ──dfks.route.set──▶ worker ──▶ responder: 403      NOTIFY: as it is, to that phone alone
/// ```
#[test]
fn a_change_that_a_responder_denies_is_refused_and_nobody_else_is_told() {
    let nats = Nats::start();
    let service = Service::on(&nats);
    service.respond("dfks.responder.set.*.CallForwardingAlways", |_| Some(json!({"error": {"code": 403, "description": "not abroad"}})));
    let product = Product::start(&nats);
    let events = service.wiretap(&["dfks.event.feature.>"]);
    let phone = Phone::tcp(product.tcp());
    let (mut dialog, mut other) = (phone.subscribe(ALICE), phone.subscribe(ALICE));
    dialog.notify();
    other.notify();
    dialog.press(set_forwarding("forwardImmediate", true, "<forwardDN>sip:bob@10.0.0.11</forwardDN>"));
    assert_eq!(dialog.notify().shows(), ["CallForwardingAlways off"]);
    let event = events.find("the refusal", |event| event.json["origin"] == "phone");
    assert_eq!((&event.json["outcome"], &event.json["reason"]), (&json!("refused"), &json!("not abroad")));

    let error = service.set(ALICE, "CallForwardingAlways", 1)["error"].clone();
    assert_eq!((&error["code"], &error["description"]), (&json!(403), &json!("not abroad")));
    let event = events.find("the refusal", |event| event.json["origin"] == "mi");
    assert_eq!((&event.json["outcome"], &event.json["watchers"]), (&json!("refused"), &json!(0)));
    dialog.press(set_dnd(true));
    assert_eq!((dialog.notify().shows(), other.notify().shows()), (vec!["DoNotDisturb on".to_owned()], vec!["DoNotDisturb on".to_owned()]));
    assert_eq!(service.state(ALICE, "CallForwardingAlways")["version"], 0);
}

/// Has the workers know that a responder was heard on a subject.
fn was_heard(service: &Service, key: &str) {
    service.publish(&format!("$KV.dfks-responders.{key}"), &json!({"last_heard": "2099-01-01T00:00:00.000Z"}));
    wait_for("the workers know it", || {
        let report = service.ask("dfks.responders", &json!({}));
        let known = report["responders"].as_array()?.iter().find(|known| known["subject"] == format!("dfks.responder.{key}"))?;
        known["last_heard"].is_string().then_some(())
    });
}

/// ```text
/// phone ──press──▶ edge ──dfks.route.set──▶ worker ──▶ responder: …      503; NOTIFY: as it is
/// ```
#[test]
fn a_responder_that_is_late_fails_the_change_and_the_phone_is_told_how_it_is() {
    let nats = Nats::start();
    let service = Service::on(&nats);
    service.respond("dfks.responder.*.*.CallForwardingBusy", |_| None);
    let product = Setup::on(&nats).with("routes.responder_timeout_ms", 300).start();
    for kind in ["get", "set"] {
        was_heard(&service, &format!("{kind}.127_0_0_1.CallForwardingBusy"));
    }
    let events = service.wiretap(&["dfks.event.feature.>"]);
    let phone = Phone::tcp(product.tcp());
    let subscribed_at = Instant::now();
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.notify().shows()[2], "CallForwardingBusy off", "a get falls back to what is stored");
    assert!(subscribed_at.elapsed() < Duration::from_millis(1500), "{:?}", subscribed_at.elapsed());

    let pressed_at = Instant::now();
    dialog.press(set_forwarding("forwardBusy", true, "<forwardDN>sip:bob@10.0.0.11</forwardDN>"));
    assert!(pressed_at.elapsed() < Duration::from_millis(250), "the 200 waits for no responder: {:?}", pressed_at.elapsed());
    assert_eq!(dialog.notify().shows(), ["CallForwardingBusy off"]);
    assert!(pressed_at.elapsed() < Duration::from_secs(2), "{:?}", pressed_at.elapsed());
    let event = events.find("the refusal", |event| event.json["origin"] == "phone");
    assert_eq!((&event.json["outcome"], &event.json["version"]), (&json!("refused"), &json!(0)));

    let asked_at = Instant::now();
    let error = service.set(ALICE, "CallForwardingBusy", 1)["error"].clone();
    assert_eq!(error["code"], 503, "{error}");
    assert!(asked_at.elapsed() < Duration::from_millis(1300), "{:?}", asked_at.elapsed());
    assert_eq!(service.set(ALICE, "DoNotDisturb", 1)["state"]["status"], 1, "and no other feature is held up");
}
