//! Documents that no code knows: raw features, beside the others and in an event package of their own.

use serde_json::{Value, json};

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Dialog, Packet, Phone, Service, Setup, Subscribe, dfks, dfks_with, started};

/// Sets a document.
fn set(service: &Service, who: &str, feature: &str, document: &str) -> Value {
    service.ask("dfks.set", &json!({"presentity": who, "feature": feature, "status": 1, "values": {"document": document}}))
}

/// ```text
/// responder ──document──▶ worker ──▶ edge ──NOTIFY, the document as it is──▶ phone     dfks.set: another; what is no document: 400
/// ```
#[test]
fn a_raw_feature_goes_out_as_it_came() {
    let document = |line: &str| format!("<?xml version=\"1.0\"?>\r\n<b:board xmlns:b='urn:board'><b:line>{line} \u{e9}</b:line></b:board>");
    let nats = Nats::start();
    let product = Setup::on(&nats).with("features.Whiteboard.kind", "raw").start();
    let service = Service::on(&nats);
    let phone = Phone::udp(product.udp());
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.shows(4), crate::ALL_OFF, "nobody has brought a document");

    let set = |text: &str| set(&service, ALICE, "Whiteboard", text);
    let state = set(&document("one"))["state"].clone();
    assert_eq!((&state["version"], &state["values"]["document"]), (&json!(1), &json!(document("one"))));
    let notify = dialog.notify();
    assert_eq!((notify.body.as_str(), notify.must("content-type")), (document("one").as_str(), "application/x-as-feature-event+xml"));
    for bad in ["<board>", "<a/><b/>", "<!DOCTYPE a><a/>", &format!("<a>{}</a>", "x".repeat(8192))] {
        let error = set(bad)["error"].clone();
        assert_eq!((&error["code"], &error["field"]), (&json!(400), &json!("values.document")), "{bad:.20}");
    }
    assert_eq!(service.state(ALICE, "Whiteboard")["version"], 1, "nothing has changed");

    let two = document("two");
    service.respond("dfks.responder.get.127_0_0_1.Whiteboard", move |_| Some(json!({"status": 1, "values": {"document": two}})));
    wait_for("its responder is asked", || (service.state(ALICE, "Whiteboard")["version"] == 2).then_some(()));
    let other = Phone::tcp(product.tcp());
    let full = other.subscribe(ALICE).notify();
    assert!(full.body.contains(&document("two")), "{}", full.body);
    assert!(full.documents().len() == 5, "beside the others");
    assert_eq!(dialog.notify().body, document("two"), "the other phone is told what was learnt");
}

const EVENT: &str = "x-acme-board";
const TYPE: &str = "application/x-acme-board+xml";

/// Sends a SUBSCRIBE of the invented package, with the type of its body in place of that of CSTA; without an Accept.
fn send(phone: &Phone, dialog: &mut Dialog<'_>, what: &Subscribe, content_type: &str) -> Packet {
    let (text, branch) = dialog.request(what);
    let text = text
        .replace("Event: as-feature-event", &format!("Event: {EVENT}"))
        .replace("Accept: application/x-as-feature-event+xml, multipart/mixed\r\n", "")
        .replace("Content-Type: application/x-as-feature-event+xml", &format!("Content-Type: {content_type}"));
    phone.send(text.as_bytes());
    dialog.response(&branch)
}

/// ```text
/// [packages.board] + [features.Whiteboard], [features.Notice]: kind = "raw"
/// phone ──SUBSCRIBE, Event: x-acme-board──▶ edge ──NOTIFY, one document each──▶ phone     desk: as-feature-event, hears nothing of it
/// ```
#[test]
fn an_event_package_is_there_by_configuration_alone() {
    let nats = Nats::start();
    let mut product = Setup::on(&nats)
        .with("packages.board.event", EVENT)
        .with("packages.board.content_type", TYPE)
        .with("features.Whiteboard.kind", "raw")
        .with("features.Whiteboard.package", "board")
        .with("features.Notice.kind", "raw")
        .with("features.Notice.package", "board")
        .start();
    let service = Service::on(&nats);
    let (whiteboard, notice) = ("<?xml version='1.0' encoding=\"UTF-8\"?>\n<w:board xmlns:w='urn:w'>\u{20ac} &lt;</w:board>", "<n/>");
    for transport in ["udp", "tcp"] {
        let who = format!("sip:{transport}@127.0.0.1");
        let phone = || if transport == "udp" { Phone::udp(product.udp()) } else { Phone::tcp(product.tcp()) };
        let (phone, other, desk) = (phone(), phone(), phone());
        let mut of_desk = desk.subscribe(&who);
        of_desk.shows(4);
        let shown = of_desk.notify_count();
        let mut dialog = phone.dialog(&who);
        let accepted = send(&phone, &mut dialog, &Subscribe::default(), TYPE);
        assert_eq!(accepted.status(), Some(200), "{}", accepted.start);
        assert_eq!(accepted.must("allow-events"), "as-feature-event, x-broadworks-hoteling, x-acme-board");
        let first = dialog.notify();
        assert_eq!((first.must("event"), first.body.as_str(), first.header("content-type")), (EVENT, "", None), "{transport}: nothing yet");

        let answer = set(&service, &who, "Whiteboard", whiteboard);
        assert_eq!(answer["watchers"], 1, "{transport}: of the package's phones: {answer}");
        let told = dialog.notify();
        assert_eq!((told.body.as_str(), told.must("content-type"), told.must("event")), (whiteboard, TYPE, EVENT), "{transport}");
        set(&service, &who, "Notice", notice);
        assert_eq!(dialog.notify().body, notice);
        let mut second = other.dialog(&who);
        send(&other, &mut second, &Subscribe::default(), TYPE);
        let mut both = [second.notify().body, second.notify().body];
        both.sort();
        assert_eq!(both, [whiteboard, notice], "{transport}: one document each");

        // a phone only hears
        let asked = send(&phone, &mut dialog, &Subscribe { body: "<mine/>".to_owned(), ..Subscribe::default() }, TYPE);
        assert_eq!(asked.status(), Some(400));
        assert!(asked.must("warning").contains("'mine' changes nothing: phones only hear in x-acme-board"), "{}", asked.must("warning"));
        assert_eq!((dialog.notify().body.as_str(), dialog.notify().body.as_str()), (notice, whiteboard), "{transport}: the state as it is");
        let asked = send(&phone, &mut dialog, &Subscribe { body: "<mine/>".to_owned(), ..Subscribe::default() }, "text/plain");
        assert_eq!((asked.status(), asked.must("accept")), (Some(415), TYPE));

        for feature in ["Whiteboard", "Notice"] {
            let count = dialog.notify_count();
            set(&service, &who, feature, "");
            assert_eq!(dialog.notify().body, "", "{transport}: no document any more, {count}");
        }
        assert_eq!(of_desk.notify_count(), shown, "{transport}: nothing else");
        drop((phone, other, desk));
    }

    // what is stored finds its package again
    let phone = Phone::udp(product.udp());
    let mut dialog = phone.dialog(ALICE);
    send(&phone, &mut dialog, &Subscribe::default(), TYPE);
    dialog.notify();
    product.kill();
    product.restart();
    set(&service, ALICE, "Whiteboard", whiteboard);
    assert_eq!(dialog.notify().body, whiteboard, "after a restart");
    let watchers = dfks_with(&nats, &["watchers", ALICE, "--json"]).ok();
    assert!(watchers.contains(EVENT), "{watchers}");
}

/// `dfks phone` knows the package from the configuration, and shows what it is told.
#[test]
fn the_phone_of_the_command_line_shows_raw_documents() {
    let nats = Nats::start();
    let product = Setup::on(&nats)
        .with("packages.board.event", EVENT)
        .with("packages.board.content_type", TYPE)
        .with("features.Whiteboard.kind", "raw")
        .with("features.Whiteboard.package", "board")
        .start();
    let config = product.dir().join("phone.toml");
    let text = format!(
        "[packages.board]\nevent = \"{EVENT}\"\ncontent_type = \"{TYPE}\"\n[features.Whiteboard]\nkind = \"raw\"\npackage = \"board\"\n"
    );
    std::fs::write(&config, text).unwrap();
    let server = product.udp().to_string();
    let args = ["phone", ALICE, "--server", &server, "--package", EVENT, "--config", config.to_str().unwrap()];
    let phone = started(&args);
    phone.until("no feature");
    dfks_with(&nats, &["set", ALICE, "Whiteboard", "on", "--value", "document=<b>hello</b>"]).ok();
    phone.until("document=<b>hello</b>");
    let refused = dfks(&[&args[..], &["--press", "Whiteboard=on"]].concat());
    assert!(refused.code == 1 && refused.err.contains("Whiteboard is raw: a command or a responder sets it, no phone does"), "{refused:?}");
    phone.stop();
}
