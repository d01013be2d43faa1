//! Why is this lamp dark? Each verdict made to happen, said by `dfks why`, and mended by the step that it names.
#![expect(clippy::panic, reason = "a test may panic")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Answer, Phone, Product, Service, Setup, Subscribe, dfks_with, set_dnd};

/// `dfks why ALICE …`: its exit code and what it says.
fn why(nats: &Nats, features: &[&str]) -> (i32, Value) {
    let done = dfks_with(nats, &[&["why", ALICE, "--json"], features].concat());
    let answer: Value = serde_json::from_str(&done.out).unwrap_or_else(|_| panic!("{}{}", done.out, done.err));
    assert_eq!(answer["in_step"], done.code == 0, "{answer:#}");
    (done.code, answer)
}

fn verdicts(answer: &Value) -> Vec<String> {
    let mut verdicts: Vec<_> =
        answer["findings"].as_array().unwrap().iter().map(|finding| finding["verdict"].as_str().unwrap().to_owned()).collect();
    verdicts.dedup();
    verdicts
}

/// The one finding of this kind, once there is one.
fn found(nats: &Nats, verdict: &str, features: &[&str]) -> Value {
    wait_for(verdict, || {
        let (code, answer) = why(nats, features);
        let finding = answer["findings"].as_array().unwrap().iter().find(|finding| finding["verdict"] == verdict).cloned();
        assert!(finding.is_none() || code == 1 || verdict == "in_step", "{answer:#}");
        finding
    })
}

fn in_step(nats: &Nats, features: &[&str]) {
    wait_for("all in step", || (why(nats, features).0 == 0).then_some(()));
}

/// The command that a finding names as the next step, done.
fn done(nats: &Nats, finding: &Value) {
    let next = finding["next"].as_str().unwrap();
    let command = next.split("dfks ").nth(1).unwrap_or_else(|| panic!("{next}"));
    let args: Vec<_> = command.split(' ').collect();
    dfks_with(nats, &args).ok();
}

fn start(nats: &Nats) -> Product {
    Setup::on(nats).with("subscription.min_expires_seconds", 1).with("subscription.grace_seconds", 1).start()
}

#[test]
fn who_never_came_who_left_and_who_did_not_come_back() {
    let nats = Nats::start();
    let product = start(&nats);
    let never = found(&nats, "never_subscribed", &[]);
    assert!(never["text"].as_str().unwrap().starts_with(&format!("no phone has subscribed to {ALICE} since ")), "{never}");
    let text = dfks_with(&nats, &["why", ALICE]);
    assert_eq!((text.code, text.err.as_str()), (1, "dfks: not in step: never_subscribed\n"));
    assert!(text.out.contains("\nnever_subscribed  no phone has") && text.out.contains("\n  next: switch feature key"), "{}", text.out);

    let phone = Phone::udp(product.udp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.shows(4);
    in_step(&nats, &[]);
    let (_, answer) = why(&nats, &["DoNotDisturb"]);
    let watcher = &answer["watchers"][0];
    assert_eq!((verdicts(&answer), &watcher["subscription"]), (vec!["in_step".to_owned()], &json!(dialog.subscription())));
    assert_eq!((&watcher["edge_id"], &watcher["ended"], &watcher["pending"]), (&json!("edge-a"), &Value::Null, &json!([])));
    let told = &watcher["told"][0];
    assert_eq!(
        (&told["feature"], &told["version"], &told["outcome"], &told["status"]),
        (&json!("DoNotDisturb"), &json!(0), &json!("delivered"), &json!(200))
    );
    assert_eq!((&answer["features"][0]["owner"]["kind"], answer["features"].as_array().unwrap().len()), (&json!("default"), 1));

    dialog.unsubscribe();
    let left = found(&nats, "unsubscribed", &[]);
    assert_eq!(left["subscription"], dialog.subscription());
    let mut back = phone.dialog(ALICE);
    assert_eq!(back.send(&Subscribe { expires: Some(1), ..Subscribe::default() }).status(), Some(200));
    back.shows(4);
    let late = found(&nats, "expired", &[]);
    assert!(late["text"].as_str().unwrap().contains("did not refresh its subscription"), "{late}");
    let mut again = phone.subscribe(ALICE);
    again.shows(4);
    in_step(&nats, &[]);
    assert_eq!(why(&nats, &[]).1["watchers"].as_array().unwrap().len(), 3, "those that ended are shown");
    dfks_with(&nats, &["end", &again.subscription(), "--reason", "rejected", "--actor", "fraud desk"]).ok();
    let refused = found(&nats, "refused", &[]);
    assert!(refused["text"].as_str().unwrap().contains("was ended by fraud desk as rejected"), "{refused}");
    assert_eq!(dfks_with(&nats, &["why", ALICE, "Foo"]).code, 1);
}

#[test]
fn one_phone_too_many() {
    let nats = Nats::start();
    let product = Setup::on(&nats).with("sip.max_subscriptions_per_presentity", 1).start();
    let phone = Phone::udp(product.udp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.shows(4);
    assert_eq!(Phone::udp(product.udp()).dialog(ALICE).send(&Subscribe::default()).status(), Some(403));
    let refused = found(&nats, "refused", &[]);
    let next = refused["next"].as_str().unwrap();
    assert!(next.starts_with(&format!("dfks watchers {ALICE}: ")) && next.contains("sip.max_subscriptions_per_presentity"), "{next}");
}

#[test]
fn what_a_phone_was_told_and_what_not() {
    let nats = Nats::start();
    let script = r#"
        fn dfks_set(dfks) { if dfks.param == "quiet" { dfks.notify = 0; } if dfks.param == "deny" { deny("not now"); } }
        fn dfks_get(dfks) { if dfks.feature == "CallForwardingBusy" { dfks.notify = 0; } if dfks.feature == "CallForwardingAlways" { dfks.assigned = 0; } }"#;
    let product = Setup::on(&nats).script(script).start();
    let service = Service::on(&nats);
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    in_step(&nats, &["DoNotDisturb"]);

    assert!(found(&nats, "suppressed", &[])["text"].as_str().unwrap().contains("the route script keeps CallForwardingBusy out"));
    assert!(found(&nats, "not_assigned", &[])["text"].as_str().unwrap().contains("takes CallForwardingAlways away"));
    let agent = found(&nats, "not_assigned", &["AgentState"]);
    done(&nats, &agent);
    dialog.notify();
    in_step(&nats, &["AgentState"]);

    // nobody was told of this change
    dfks_with(&nats, &["set", ALICE, "DND", "on", "--param", "quiet"]).ok();
    let behind = found(&nats, "behind", &["DND"]);
    assert!(behind["text"].as_str().unwrap().starts_with("DoNotDisturb is on, version 1; the phone of"), "{behind}");
    done(&nats, &behind);
    dialog.until("DoNotDisturb on");
    in_step(&nats, &["DND"]);

    phone.answers(|_| Answer::Status(500, ""));
    service.set(ALICE, "DoNotDisturb", 0);
    let failed = found(&nats, "notify_failed", &["DND"]);
    assert!(failed["text"].as_str().unwrap().contains("answered 500 when it was told DoNotDisturb"), "{failed}");
    phone.answers(|_| Answer::Status(200, ""));
    done(&nats, &failed);
    in_step(&nats, &["DND"]);

    phone.answers(|_| Answer::Status(503, "Retry-After: 30\r\n"));
    service.set(ALICE, "DoNotDisturb", 1);
    let put_off = wait_for("it is put off", || {
        let finding = found(&nats, "pending", &["DND"]);
        finding["text"].as_str().unwrap().contains("is put off until").then_some(finding)
    });
    assert!(put_off["text"].as_str().unwrap().contains(": the phone answered 503"), "{put_off}");
    phone.answers(|_| Answer::Status(200, ""));
    done(&nats, &put_off);
    wait_for("its end", || (dialog.notify().must("subscription-state") == "terminated;reason=deactivated").then_some(()));
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    in_step(&nats, &["DND"]);

    assert_eq!(dfks_with(&nats, &["set", ALICE, "DND", "off", "--param", "deny", "--actor", "crm"]).code, 1);
    let refused = found(&nats, "refused", &["DND"]);
    assert!(refused["text"].as_str().unwrap().contains("the last change of DoNotDisturb by crm was refused"), "{refused}");
    assert!(refused["text"].as_str().unwrap().ends_with(": not now"), "{refused}");
    done(&nats, &refused);
    in_step(&nats, &["DND"]);
}

#[test]
fn a_phone_that_cannot_be_reached() {
    let nats = Nats::start();
    let product = start(&nats);
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    in_step(&nats, &[]);
    let id = dialog.subscription();
    drop(dialog);
    drop(phone);
    let gone = found(&nats, "unreachable", &[]);
    assert!(gone["text"].as_str().unwrap().ends_with("came over tcp, and that connection is gone"), "{gone}");
    let again = Phone::tcp(product.tcp());
    again.subscribe(ALICE).notify();
    done(&nats, &gone);
    in_step(&nats, &[]);
    assert!(why(&nats, &[]).1["watchers"].as_array().unwrap().iter().any(|watcher| watcher["subscription"] == id.as_str()));

    let silent = Phone::udp(product.udp());
    let mut pressed = silent.subscribe(ALICE);
    pressed.shows(4);
    silent.answers(|_| Answer::Silence);
    pressed.press(set_dnd(true));
    let pending = found(&nats, "pending", &[]);
    assert!(pending["text"].as_str().unwrap().starts_with("a NOTIFY about DoNotDisturb is on its way to the phone of"), "{pending}");
    silent.answers(|_| Answer::Status(200, ""));
    in_step(&nats, &["DND"]);
}

#[test]
fn somebody_else_does_not_answer() {
    let nats = Nats::start();
    let mut edge = Setup::on(&nats).role("edge").with("sip.domains", vec!["127.0.0.1"]).start();
    let _bridge = Setup::on(&nats).role("mi").start();
    assert!(found(&nats, "no_worker", &[])["next"].as_str().unwrap().ends_with("dfks run --role worker"));
    let service = Service::on(&nats);
    let _worker = Setup::on(&nats).role("worker").with("routes.responder_timeout_ms", 200).start();
    let phone = Phone::tcp(edge.tcp());
    phone.subscribe(ALICE).shows(4);
    in_step(&nats, &[]);

    // it answers once, and then with an error
    let answers = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let asked = std::sync::Arc::clone(&answers);
    service.respond("dfks.responder.get.127_0_0_1.DoNotDisturb", move |_| {
        let is_well = asked.load(std::sync::atomic::Ordering::Relaxed);
        Some(if is_well { json!({"status": 0}) } else { json!({"error": {"code": 500, "description": "out of order"}}) })
    });
    wait_for("the responder is heard", || (service.state(ALICE, "DoNotDisturb")["source"] == "responder").then_some(()));
    answers.store(false, std::sync::atomic::Ordering::Relaxed);
    service.state(ALICE, "DoNotDisturb");
    let failing = found(&nats, "responder_failing", &[]);
    assert!(
        failing["text"].as_str().unwrap().contains("dfks.responder.get.127_0_0_1.DoNotDisturb")
            && failing["text"].as_str().unwrap().contains("out of order"),
        "{failing}"
    );
    let (_, answer) = why(&nats, &["DND"]);
    assert_eq!(answer["features"][0]["owner"]["subject"], "dfks.responder.get.127_0_0_1.DoNotDisturb", "{answer:#}");
    answers.store(true, std::sync::atomic::Ordering::Relaxed);
    in_step(&nats, &[]);

    edge.kill();
    let silent = found(&nats, "edge_silent", &[]);
    assert!(silent["text"].as_str().unwrap().starts_with("the edge edge-a, which holds 1 subscription of it, does not answer"), "{silent}");
    edge.restart();
    assert!(
        found(&nats, "unreachable", &[])["text"].as_str().unwrap().contains("that connection is gone"),
        "a phone over TCP has to come back"
    );

    service.try_ask("$JS.API.STREAM.DELETE.DFKS_EVENTS", &json!({}));
    let away = found(&nats, "bus_away", &[]);
    assert!(away["next"].as_str().unwrap().contains("nats stream info DFKS_EVENTS"), "{away}");
}

/// A domain with more events than are looked at: the answer comes in time, and says how far it goes.
#[test]
fn a_busy_domain_is_answered_for_within_a_second() {
    let nats = Nats::start();
    let product = start(&nats);
    let service = Service::on(&nats);
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    let filler = json!({"type": "io.dfks.event.v1.notify", "id": "x", "time": "2026-11-23T02:48:40.123Z", "cause": "4bf92f3577b34da6a3ce929d0e0e4736",
        "edge_id": "edge-a", "subscription": "s", "presentity": "sip:somebody@127.0.0.1", "features": ["DoNotDisturb"], "outcome": "delivered", "took_ms": 3});
    let before = why(&nats, &[]).1;
    service.publish_many("dfks.event.notify.127_0_0_1", &filler, 60_000);
    dialog.unsubscribe();
    found(&nats, "unsubscribed", &[]);
    let began = Instant::now();
    let answer = service.ask("dfks.why", &json!({"presentity": ALICE}));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}: a second, on a machine that does nothing else");
    let (began, since) = (before["at"].as_str().unwrap(), answer["events_since"].as_str().unwrap());
    assert!(since > began && before["events_since"].as_str().unwrap() < began, "not all of 24 hours: {answer:#}");
    assert_eq!(verdicts(&answer), ["unsubscribed"]);
}
