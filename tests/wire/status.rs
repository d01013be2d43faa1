//! Every status code, with the headers that it owes.

use crate::ALL_OFF;
use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Setup, Subscribe};
use crate::row::{Add, Body, Line, Row, Start, Text, Told, Without, row, run};
use crate::site::{Site, TRANSPORTS};

const OURS: &str = "application/x-as-feature-event+xml";
const DND_ON: &str = "<SetDoNotDisturb xmlns=\"http://www.ecma-international.org/standards/ecma-323/csta/ed3\">\
    <device/><doNotDisturbOn>true</doNotDisturbOn></SetDoNotDisturb>";

fn accepted() -> Vec<Row> {
    let full = Told::Just(&ALL_OFF);
    vec![
        row("200: SUBSCRIBE", vec![], 200, &["expires: 3600", "contact", "allow-events: as-feature-event, x-broadworks-hoteling"])
            .told(full.clone()),
        row("200: Expires absent is the default", vec![Without("Expires")], 200, &["expires: 3600"]).told(full.clone()),
        row("200: Expires over the maximum is cut", vec![Line("Expires: 999999999999")], 200, &["expires: 7200"]).told(full.clone()),
        row("200: a fetch", vec![Line("Expires: 0")], 200, &["expires: 0"]).told(full.clone()),
        row(
            "200: OPTIONS",
            options(vec![]),
            200,
            &[
                "allow: SUBSCRIBE, OPTIONS",
                "allow-events: as-feature-event, x-broadworks-hoteling",
                "accept: application/x-as-feature-event+xml, application/x-broadworks-hoteling+xml",
            ],
        ),
        row("200: a refresh tells everything", vec![], 200, &["expires: 3600", "contact"]).in_dialog().told(full.clone()),
        row("200: unsubscribe", vec![Line("Expires: 0")], 200, &["expires: 0"])
            .in_dialog()
            .told(Told::Just(&[]))
            .notify(&["subscription-state: terminated;reason=timeout"])
            .only(&["udp"]),
        row("200: unsubscribe where the full state fits", vec![Line("Expires: 0")], 200, &["expires: 0"])
            .in_dialog()
            .told(full.clone())
            .notify(&["subscription-state: terminated;reason=timeout"])
            .only(&["tcp", "tls", "ws", "wss"]),
    ]
}

/// OPTIONS in place of SUBSCRIBE.
fn options(mut more: Vec<crate::row::Edit>) -> Vec<crate::row::Edit> {
    more.extend([Start("OPTIONS sip:{edge} SIP/2.0"), Text(|text| text.replace(" SUBSCRIBE\r\n", " OPTIONS\r\n"))]);
    more
}

fn bad() -> Vec<Row> {
    vec![
        row("400: no Contact", vec![Without("Contact")], 400, &["warning"]),
        row("400: Contact is a star", vec![Line("Contact: *")], 400, &["warning"]),
        row("400: Contact leads nowhere", vec![Line("Contact: <https://h/>")], 400, &["warning"]),
        row("400: Expires is no number", vec![Line("Expires: soon")], 400, &["warning"]),
        row("400: Max-Forwards is no number", vec![Line("Max-Forwards: 256")], 400, &["warning"]),
        row("400: CSeq of another method", vec![Line("CSeq: 1 NOTIFY")], 400, &[]),
        row("400: From twice", vec![Add("From: <sip:x@h>;tag=2")], 400, &[]),
        row("400: a line without a name", vec![Add("garbage")], 400, &["start SIP/2.0 400 Malformed Header Line"]),
        row(
            "400: 129 header lines",
            vec![Text(|text| text.replacen("Event:", &("X: 1\r\n".repeat(120) + "Event:"), 1))],
            400,
            &["start SIP/2.0 400 Too Many Header Lines"],
        ),
        row("400: an unreadable body tells how things are", vec![Body(OURS, "<SetDoNotDisturb>")], 400, &["warning"])
            .in_dialog()
            .told(Told::Just(&["DoNotDisturb off"])),
        row("400: a body of another root", vec![Body(OURS, "<SetFoo/>")], 400, &["warning"]).in_dialog().told(Told::Just(&ALL_OFF)),
        row(
            "414: a Request-URI over the limit",
            vec![Text(|text| text.replacen("SUBSCRIBE sip:", &format!("SUBSCRIBE sip:{}", "x".repeat(1024)), 1))],
            414,
            &[],
        ),
        row("505: another version", vec![Start("SUBSCRIBE sip:{user}@127.0.0.1 SIP/3.0")], 505, &[]),
    ]
}

fn refused() -> Vec<Row> {
    const LONG: &[&str] = &["retry-after: 3600", "warning"];
    const ALLOW: &[&str] = &["allow: SUBSCRIBE, OPTIONS"];
    const EVENTS: &[&str] = &["allow-events: as-feature-event, x-broadworks-hoteling", "retry-after: 3600"];
    vec![
        row("404: a domain that is not served", vec![Start("SUBSCRIBE sip:{user}@elsewhere.example SIP/2.0")], 404, LONG),
        row("404: nobody named", vec![Start("SUBSCRIBE sip:127.0.0.1 SIP/2.0"), Line("To: <sip:127.0.0.1>")], 404, LONG),
        row("405: REGISTER", method("REGISTER"), 405, ALLOW),
        row("405: INVITE", method("INVITE"), 405, ALLOW),
        row("405: NOTIFY", method("NOTIFY"), 405, ALLOW),
        row("405: BYE", method("BYE"), 405, ALLOW),
        row("405: a method nobody knows", method("!ODD*"), 405, ALLOW),
        row(
            "406: Accept excludes all that we send",
            vec![Line("Accept: application/pidf+xml")],
            406,
            &["accept: application/x-as-feature-event+xml", "warning"],
        ),
        row("406: an empty Accept", vec![Line("Accept:")], 406, &["accept: application/x-as-feature-event+xml"]),
        row(
            "415: a body of another type",
            vec![Body("application/pidf+xml", "<x/>")],
            415,
            &["accept: application/x-as-feature-event+xml"],
        ),
        row(
            "415: a body without a type",
            vec![Body(OURS, DND_ON), Without("Content-Type")],
            415,
            &["accept: application/x-as-feature-event+xml"],
        ),
        row("415: nothing is told after it", vec![Body("text/plain", "x")], 415, &["accept: application/x-as-feature-event+xml"])
            .in_dialog(),
        row(
            "415: a coding",
            vec![Body(OURS, DND_ON), Add("Content-Encoding: gzip")],
            415,
            &["accept: application/x-as-feature-event+xml", "accept-encoding: identity"],
        ),
        row("416: a scheme nobody knows", vec![Start("SUBSCRIBE nobody:{user} SIP/2.0")], 416, &["warning"]),
        row("416: a Request-URI of the web", vec![Start("SUBSCRIBE https://127.0.0.1/{user} SIP/2.0")], 416, &["warning"]),
        row("420: Require", vec![Add("Require: 100rel, x")], 420, &["unsupported: 100rel, x"]),
        row("420: Require of OPTIONS", options(vec![Add("Require: x")]), 420, &["unsupported: x"]),
        row("420: Require in a dialog", vec![Add("Require: x"), Add("Require: y")], 420, &["unsupported: x, y"]).in_dialog(),
        row("423: too brief", vec![Line("Expires: 59")], 423, &["min-expires: 60"]),
        row("423: too brief a refresh", vec![Line("Expires: 1")], 423, &["min-expires: 60"]).in_dialog(),
        row("481: a dialog that nobody has", vec![Line("To: <sip:{user}@127.0.0.1>;tag=nobody")], 481, &["!retry-after"]),
        row("481: a tag of our own form", vec![Line("To: <sip:{user}@127.0.0.1>;tag=0123456789abcdef0123456789abcdef")], 481, &[]),
        row(
            "482: our own address in an older Via",
            vec![Line("Via: SIP/2.0/{token} {local};branch={branch};rport, SIP/2.0/{token} {edge};branch=z9hG4bKloop")],
            482,
            &["warning"],
        ),
        row("483: no hop left", vec![Line("Max-Forwards: 0")], 483, &[]),
        row("483: OPTIONS too", options(vec![Line("Max-Forwards: 0")]), 483, &[]),
        row("489: another package", vec![Line("Event: presence")], 489, EVENTS),
        row("489: no Event", vec![Without("Event")], 489, EVENTS),
        row("489: another package in a dialog", vec![Line("Event: dialog")], 489, EVENTS).in_dialog(),
        row("500: CSeq is not above the last", vec![Line("CSeq: 1 SUBSCRIBE")], 500, &["retry-after: 1", "warning"]).in_dialog(),
    ]
}

fn method(method: &'static str) -> Vec<crate::row::Edit> {
    let change: fn(&str) -> String = match method {
        "REGISTER" => |text| text.replace("SUBSCRIBE", "REGISTER"),
        "INVITE" => |text| text.replace("SUBSCRIBE", "INVITE"),
        "NOTIFY" => |text| text.replace("SUBSCRIBE", "NOTIFY"),
        "BYE" => |text| text.replace("SUBSCRIBE", "BYE"),
        _ => |text| text.replace("SUBSCRIBE", "!ODD*"),
    };
    vec![Text(change)]
}

#[test]
fn every_status_code_comes_with_what_it_owes_over_every_transport() {
    let mut nats = Nats::start();
    let site = Site::start(Setup::on(&nats).with("sip.domains", vec!["127.0.0.1"]).with("nats.timeout_ms", 700));
    run(&site, "accepted", &accepted());
    run(&site, "bad requests", &bad());
    run(&site, "refused", &refused());
    for transport in TRANSPORTS {
        nothing_answers_an_ack_or_a_response(&site.phone(transport));
    }
    a_copy_on_another_way_is_merged(&site.phone(TRANSPORTS[0]));
    nats.kill();
    wait_for("NATS to be missed", || (site.product.get("/readyz").0 == 503).then_some(()));
    run(&site, "away", &[row("503: NATS is away", vec![], 503, &["retry-after: 5"])]);
}

/// RFC 3261 §8.2.2.2: the same request by another branch, while the first one's transaction lives. A retransmission gets what its
/// first got. Over UDP: a transaction on a stream ends with its response (Timer J is 0).
fn a_copy_on_another_way_is_merged(phone: &Phone) {
    let mut dialog = phone.dialog("sip:merged@127.0.0.1");
    let (text, branch) = dialog.request(&Subscribe::default());
    phone.send(text.as_bytes());
    let first = dialog.response(&branch);
    assert_eq!(first.status(), Some(200));
    let copy = format!("{branch}copy");
    phone.send(text.replace(&branch, &copy).as_bytes());
    assert_eq!(phone.responses(&copy, 1).remove(0).status(), Some(482), "482: merged request");
    phone.send(text.as_bytes());
    assert_eq!(phone.responses(&branch, 2).remove(1).raw, first.raw, "200: a retransmission gets the same");
    assert_eq!(dialog.shows(4), ALL_OFF);
    let once = dialog.notify_count();
    dialog.refresh();
    assert_eq!((dialog.shows(4), dialog.notify_count()), (ALL_OFF.map(str::to_owned).to_vec(), 2 * once), "and has no second effect");
}

fn nothing_answers_an_ack_or_a_response(phone: &Phone) {
    let (text, branch) = phone.dialog("sip:ack@127.0.0.1").request(&Subscribe::default());
    let (head, _) = text.split_once("\r\n").unwrap();
    let never = [
        text.replace("SUBSCRIBE", "ACK"),
        text.replace("SUBSCRIBE", "ACK").replace("Max-Forwards: 70", "Max-Forwards: 0"),
        text.replace("SUBSCRIBE", "ACK").replace("From:", "garbage\r\nFrom:"),
        text.replace(head, "SIP/2.0 200 OK"),
        text.replace(head, "SIP/2.0 481 Gone"),
        text.replace(head, "SIP/2.0 999 Odd"),
        text.replace(head, "SIP/3.0 200 OK"),
    ];
    for text in never {
        phone.send(text.as_bytes());
    }
    let (after, after_branch) = phone.dialog("sip:ack@127.0.0.1").request(&Subscribe { expires: Some(0), ..Subscribe::default() });
    phone.send(after.as_bytes());
    phone.responses(&after_branch, 1);
    assert_eq!(phone.response_count(&branch), 0, "an ACK or a response was answered");
}

#[test]
fn a_challenge_or_a_refusal_by_source_comes_with_what_it_owes() {
    let nats = Nats::start();
    let folder = tempfile::TempDir::new().unwrap();
    let users = folder.path().join("users");
    std::fs::write(&users, format!("bob:127.0.0.1:{}\n", "0".repeat(32))).unwrap();
    let digest = Site::start(Setup::on(&nats).with("sip.auth.mode", "digest").with("sip.auth.users", users.to_str().unwrap()));
    let challenged = |name, edits| row(name, edits, 401, &["www-authenticate", "!retry-after"]);
    run(
        &digest,
        "challenged",
        &[
            challenged("401: no Authorization", vec![]),
            challenged("401: another scheme", vec![Add("Authorization: Basic YWxpY2U6c2VjcmV0")]),
            challenged("401: a line that cannot be read", vec![Add("Authorization: Digest username=\"a")]),
            challenged(
                "401: a nonce that was never given",
                vec![Add("Authorization: Digest username=\"x\", realm=\"127.0.0.1\", nonce=\"n\", uri=\"sip:{user}@127.0.0.1\", \
                 response=\"00000000000000000000000000000000\", algorithm=MD5, cnonce=\"c\", qop=auth, nc=00000001")],
            ),
            row("200: OPTIONS is not challenged", options(vec![]), 200, &["allow"]),
        ],
    );
    drop(digest);
    let trusted = Setup::on(&nats).with("sip.auth.mode", "trusted").with("sip.auth.trusted", vec!["192.0.2.0/24"]);
    run(&Site::start(trusted), "by source", &[row("403: a source that is not trusted", vec![], 403, &["retry-after: 3600", "warning"])]);
}

#[test]
fn over_a_cap_the_phone_is_told_when_to_come_again() {
    let nats = Nats::start();
    let caps = Setup::on(&nats).with("sip.max_subscriptions_per_presentity", 1).with("sip.max_subscriptions", 5);
    let site = Site::start(caps);
    let phones: Vec<_> = TRANSPORTS.into_iter().map(|transport| (transport.0, site.phone(transport))).collect();
    let subscribe = |(name, phone): &(&str, Phone)| phone.dialog(&format!("sip:{name}@127.0.0.1")).send(&Subscribe::default());
    let mut dialogs = Vec::new();
    for place in &phones {
        let mut dialog = place.1.subscribe(&format!("sip:{}@127.0.0.1", place.0));
        dialog.shows(4);
        let is_last = dialogs.len() == 4;
        let again = subscribe(place);
        assert_eq!(again.status(), Some(if is_last { 503 } else { 403 }), "403: as many as this presentity may have, over {}", place.0);
        assert!(again.header("retry-after").is_some());
        dialogs.push(dialog);
    }
    for ((name, phone), dialog) in phones.iter().zip(&mut dialogs) {
        let over = phone.dialog("sip:more@127.0.0.1").send(&Subscribe::default());
        assert_eq!((over.status(), over.must("retry-after")), (Some(503), "5"), "503: overloaded, over {name}");
        dialog.refresh();
        assert_eq!(dialog.shows(4), ALL_OFF, "who is in stays in");
    }
}
