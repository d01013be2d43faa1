//! The feature table: agents, hoteling, and a feature that a configuration adds, each both ways over real sockets.

use serde_json::json;

use crate::ALICE;
use crate::auth::md5;
use crate::common::{Nats, wait_for};
use crate::harness::{Dialog, Phone, Product, Service, Setup, Subscribe, dfks_with, started};

/// ```text
/// host ──x-broadworks-hoteling──▶ edge ◀── dfks set alice Hoteling on
///      ◀──────── HotelingEvent ──      ──(nothing)──▶ desk: as-feature-event
/// ```
#[test]
fn hoteling_reaches_the_phones_of_its_package_alone() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let service = Service::on(&nats);
    let server = product.udp().to_string();
    let desk = started(&["phone", ALICE, "--server", &server]);
    desk.until("CallForwardingNoAnswer");
    let host = started(&["phone", ALICE, "--server", &server, "--package", "x-broadworks-hoteling"]);
    host.until("no feature");

    let said = dfks_with(&nats, &["set", ALICE, "Hoteling", "on", "--value", "guestAddress=2001", "--value", "expires=600"]).ok();
    assert!(said.contains("1 phone is notified"), "{said}");
    host.until("guestAddress=2001");
    let args = ["phone", ALICE, "--server", &server, "--package", "x-broadworks-hoteling", "--press", "Hoteling=off"];
    let other = started(&args);
    other.until("Hoteling=off confirmed");
    host.until("off");
    assert_eq!(other.ended().0, 0);
    assert_eq!(service.state(ALICE, "Hoteling")["status"], json!(0));

    service.set(ALICE, "DoNotDisturb", 1);
    desk.until("DoNotDisturb            on");
    let (_, of_host) = host.stop();
    let (_, of_desk) = desk.stop();
    assert!(!of_host.join("\n").contains("DoNotDisturb") && !of_desk.join("\n").contains("Hoteling"), "{of_host:?} {of_desk:?}");
}

fn set_hoteling(guest: &str, proof: &str) -> String {
    format!("<SetHoteling xmlns=\"http://schema.broadsoft.com/hoteling\"><guestAddress>{guest}</guestAddress>{proof}</SetHoteling>")
}

/// Sends a SUBSCRIBE of the package of hoteling.
fn hoteling(phone: &Phone, dialog: &mut Dialog<'_>, body: String) {
    let (text, branch) = dialog.request(&Subscribe { body, ..Subscribe::default() });
    let text = text
        .replace("Event: as-feature-event", "Event: x-broadworks-hoteling")
        .replace("application/x-as-feature-event+xml", "application/x-broadworks-hoteling+xml");
    phone.send(text.as_bytes());
    assert_eq!(dialog.response(&branch).status(), Some(200));
}

/// ```text
/// phone ──SetHoteling──▶ edge ──▶ worker ──▶ responder      phone: nobody in, nonce ◀── status 0, nonce
///       ──nonce, MD5(nonce:password)──▶ …  ──▶ right: in · wrong: nobody in, no nonce
/// ```
#[test]
fn a_guest_proves_a_password_where_the_responder_asks_for_it() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let service = Service::on(&nats);
    let events = service.wiretap(&["dfks.event.feature.>"]);
    let nonces = std::sync::atomic::AtomicU32::new(0);
    let right = md5("n0:4711");
    service.respond("dfks.responder.get.127_0_0_1.Hoteling", |_| Some(json!({"status": 0, "values": {"nonce": "initial"}})));
    service.respond("dfks.responder.set.127_0_0_1.Hoteling", move |asked| {
        let values = asked["values"].clone();
        Some(match values["response"].as_str() {
            _ if asked["status"] == 0 => json!({"status": 0, "values": {"guestAddress": ""}}),
            None => {
                let nonce = nonces.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                json!({"status": 0, "values": {"guestAddress": "", "nonce": format!("n{nonce}")}})
            }
            Some(response) if response == right && values["nonce"] == "n0" && values["algorithm"] == "MD5" => json!({}),
            Some(_) => json!({"error": {"code": 403, "description": "wrong password"}}),
        })
    });
    wait_for("its responder is asked", || (service.state(ALICE, "Hoteling")["values"]["nonce"] == "initial").then_some(()));
    for transport in ["udp", "tcp"] {
        let phone = if transport == "udp" { Phone::udp(product.udp()) } else { Phone::tcp(product.tcp()) };
        let mut dialog = phone.dialog(ALICE);
        hoteling(&phone, &mut dialog, String::new());
        let challenge =
            |nonce: &str| format!("<guestAddress/><authenticationData><nonce>{nonce}</nonce></authenticationData></HotelingEvent>");
        let first = dialog.notify().body;
        assert!(first.ends_with(&challenge("initial")), "{transport}: {first}");
    }

    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.dialog(ALICE);
    hoteling(&phone, &mut dialog, String::new());
    dialog.notify();
    hoteling(&phone, &mut dialog, set_hoteling("2001", ""));
    let asked = dialog.notify().body;
    assert!(asked.ends_with("<guestAddress/><authenticationData><nonce>n0</nonce></authenticationData></HotelingEvent>"), "{asked}");

    let proof = |response: &str| {
        format!("<authenticationData><nonce>n0</nonce><algorithm>MD5</algorithm><response>{response}</response></authenticationData>")
    };
    let wrong = md5("n0:0000");
    hoteling(&phone, &mut dialog, set_hoteling("2001", &proof(&wrong)));
    let refused = dialog.notify().body;
    assert!(refused.ends_with("<guestAddress/></HotelingEvent>"), "no guest, and no challenge that would be answered again: {refused}");
    let response = md5("n0:4711");
    hoteling(&phone, &mut dialog, set_hoteling("2001", &proof(&response)));
    let taken = dialog.notify().body;
    assert!(taken.ends_with("<guestAddress>2001</guestAddress><expires>43200</expires></HotelingEvent>"), "{taken}");

    // what proves the password is for the responder alone
    let made = events.find("the guest", |event| event.json["outcome"] == "applied" && event.json["new"]["status"] == 1);
    assert_eq!(made.json["asked"]["values"], json!({"guestAddress": "2001"}));
    let text = format!("{:?}", events.all().iter().map(|event| event.json.to_string()).collect::<Vec<_>>());
    assert!(!text.contains(&response) && !text.contains(&wrong), "{text}");
    let stored = dfks_with(&nats, &["export"]).ok();
    assert!(stored.contains("2001") && !stored.contains(&response) && !stored.contains("nonce"), "{stored}");
}

#[test]
fn an_agent_state_goes_both_ways_with_its_reason() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let service = Service::on(&nats);
    let server = product.tcp().to_string();
    let agent = started(&["phone", ALICE, "--server", &server, "--transport", "tcp"]);
    agent.until("CallForwardingNoAnswer");
    let args = ["phone", ALICE, "--server", &server, "--transport", "tcp", "--press", "AgentState=on,state=notReady,reason=7"];
    let key = started(&args);
    key.until("AgentState=on confirmed");
    agent.until("reason=7");
    let state = service.state(ALICE, "AgentState");
    assert_eq!((&state["status"], &state["values"]), (&json!(1), &json!({"state": "notReady", "reason": "7"})));
    dfks_with(&nats, &["set", ALICE, "AgentState", "on", "--value", "state=ready"]).ok();
    agent.until("state=ready");
    assert_eq!(key.ended().0, 0);
}

/// A feature that no code knows: by the configuration alone it is a phone's key, a responder's subject and a command's name.
#[test]
fn a_feature_by_configuration_is_a_feature_like_any_other() {
    let nats = Nats::start();
    let row: toml::Table = toml::from_str(
        r#"
        request_root = "SetNightMode"
        event_root = "NightModeEvent"
        status_request = "nightModeOn"
        status_event = "nightModeStatus"
        values = { ends = ["endTime", "endTime"] }
        "#,
    )
    .unwrap();
    let script = r#"fn dfks_set(dfks) { if dfks.feature == "NightMode" && dfks.value.ends == "never" { deny("not for ever"); } }"#;
    let product = Setup::on(&nats).with("features.NightMode", row).script(script).start();
    let service = Service::on(&nats);
    let config = product.dir().join("dfks.toml");
    let phone = ["phone", ALICE, "--server", &product.udp().to_string(), "--config", config.to_str().unwrap()].map(str::to_owned);
    let phone: Vec<&str> = phone.iter().map(String::as_str).collect();
    let first = started(&phone);
    first.until("NightMode");

    service.respond("dfks.responder.set.*.NightMode", |request| {
        let ends = request["values"]["ends"].as_str().unwrap_or("06:00").to_owned();
        Some(json!({"values": {"ends": ends}}))
    });
    dfks_with(&nats, &["set", ALICE, "NightMode", "on"]).ok();
    first.until("ends=06:00");
    let second = started(&[&phone[..], &["--press", "NightMode=on,ends=07:30"]].concat());
    second.until("NightMode=on confirmed");
    first.until("ends=07:30");
    let denied = dfks_with(&nats, &["set", ALICE, "NightMode", "on", "--value", "ends=never"]);
    assert!(denied.code == 1 && denied.err.contains("not for ever"), "{denied:?}");
    let unknown = dfks_with(&nats, &["set", ALICE, "NightMod", "on"]);
    assert!(unknown.err.contains("unknown feature 'NightMod': did you mean NightMode? expected DoNotDisturb, "), "{unknown:?}");
    assert_eq!(second.ended().0, 0);
}

/// ```text
/// phone ──SUBSCRIBE, <SetDictation>──▶ edge ──dfks.event.raw.<domain>──▶ whoever follows
///       ◀──200, NOTIFY as it is─────
/// ```
#[test]
fn xml_that_nobody_registered_is_passed_on_where_it_is_allowed() {
    const BODY: &str =
        "<?xml version=\"1.0\"?><d:SetDictation xmlns:d=\"urn:example:dictation\"><d:on>\u{e9} &amp; \"</d:on></d:SetDictation>";
    let nats = Nats::start();
    let product = Setup::on(&nats).with("features.passthrough", true).start();
    let service = Service::on(&nats);
    let raw = service.wiretap(&["dfks.event.raw.>"]);
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    dialog.press(BODY);
    assert_eq!(dialog.notify().shows(), crate::ALL_OFF);
    let event = raw.find("the body", |_| true);
    assert_eq!(event.subject, "dfks.event.raw.127_0_0_1");
    assert_eq!(
        (&event.json["type"], &event.json["root"], &event.json["body"]),
        (&json!("io.dfks.event.v1.raw"), &json!("SetDictation"), &json!(BODY))
    );
    assert_eq!((&event.json["presentity"], &event.json["subscription"]), (&json!(ALICE), &json!(dialog.subscription())));

    // what is no XML, or too much, is still refused
    for bad in ["<a", "<!DOCTYPE a><a/>", &format!("<a>{}</a>", "x".repeat(8192))] {
        assert_eq!(dialog.send(&Subscribe { body: bad.to_owned(), ..Subscribe::default() }).status(), Some(400), "{bad:.20}");
        dialog.notify();
    }
    assert_eq!(raw.all().len(), 1);
}
