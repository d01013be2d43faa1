//! Odd heads that are taken, and what is written for them.

use crate::ALL_OFF;
use crate::common::Nats;
use crate::row::{Add, Latin1, Line, Row, Start, Text, Told, Without, row, run};
use crate::site::Site;

const OK: u16 = 200;
const DATAGRAM: &[&str] = &["udp"];
const FULL: Told = Told::Just(&ALL_OFF);

fn taken(name: &'static str, edits: Vec<crate::row::Edit>) -> Row {
    row(name, edits, OK, &["contact", "expires: 3600"]).told(FULL)
}

/// The headers that are echoed and those that decide.
fn envelope() -> Vec<Row> {
    vec![
        taken("Event with an id: echoed", vec![Line("Event: as-feature-event;id=a1")]).notify(&["event: as-feature-event;id=a1"]),
        taken("Event without an id: none", vec![]).notify(&["event: as-feature-event"]),
        taken("Event in capitals", vec![Line("Event: AS-Feature-Event")]).notify(&["event: AS-Feature-Event"]),
        taken("no Accept", vec![Without("Accept")]),
        taken("Accept everything", vec![Line("Accept: */*")]),
        row("Accept ours alone: one feature a NOTIFY", vec![Line("Accept: application/x-as-feature-event+xml")], OK, &[])
            .told(FULL)
            .notify(&["content-type: application/x-as-feature-event+xml"]),
        row("several features over a stream: multipart", vec![], OK, &[])
            .told(FULL)
            .notify(&["content-type"])
            .only(&["tcp", "tls", "ws", "wss"]),
        taken("Subscription-State says what is left", vec![]).notify(&["subscription-state"]),
        taken("the watcher is another than the presentity", vec![Line("From: <sip:assistant@127.0.0.1>;tag=w1")])
            .notify(&["to: <sip:assistant@127.0.0.1>;tag=w1", "from"]),
        taken("Allow-Events of the phone makes nothing", vec![Add("Allow-Events: as-feature-event, dialog")]),
    ]
}

/// What is tolerated in a head.
fn tolerated() -> Vec<Row> {
    vec![
        taken(
            "compact names",
            vec![Text(|text| {
                text.replace("Event:", "o:").replace("Via:", "v:").replace("Contact:", "m:").replace("Content-Length:", "l:")
            })],
        ),
        taken("any case", vec![Text(|text| text.replace("Event:", "eVENT:").replace("Call-ID:", "CALL-id:").replace("CSeq:", "cseq:"))]),
        taken("blanks before the colon", vec![Text(|text| text.replace("Event:", "Event \t :").replace("To:", "To :"))]),
        taken("no blank after the colon", vec![Text(|text| text.replace(": ", ":"))]),
        taken("folded lines", vec![Text(|text| text.replace("Event: ", "Event:\r\n ").replace(";tag=", "\r\n\t;tag="))]),
        taken("bare LF", vec![Text(|text| text.replace("\r\n", "\n"))]),
        taken("CRLF and LF mixed", vec![Text(|text| text.replacen("\r\n", "\n", 3))]),
        taken("line ends first", vec![Text(|text| format!("\r\n\r\n\r\n{text}"))]).only(&["udp", "ws", "wss"]),
        taken("several values in a line", vec![Line("Accept: text/plain,,application/x-as-feature-event+xml , multipart/mixed")]),
        taken(
            "several lines of a list",
            vec![Line("Accept: text/plain"), Add("Accept: application/x-as-feature-event+xml;q=0.5"), Add("Accept: multipart/*")],
        ),
        taken("a quoted string with anything in it", vec![Line("From: \"a\\\"b, <sip:x@y>;tag=evil\" <sip:a@127.0.0.1>;tag=q1")])
            .notify(&["to: <sip:a@127.0.0.1>;tag=q1"]),
        taken("a display name that is no UTF-8", vec![Line("From: \"Zo\u{eb}\" <sip:zoe@127.0.0.1>;tag=l1"), Latin1])
            .notify(&["to: <sip:zoe@127.0.0.1>;tag=l1"]),
        taken("a display name in UTF-8", vec![Line("From: \"日本\" <sip:jp@127.0.0.1>;tag=u1")]).notify(&["to: <sip:jp@127.0.0.1>;tag=u1"]),
        row("a quote that never ends", vec![Line("From: \"Alice <sip:a@127.0.0.1>;tag=n1")], 400, &["start SIP/2.0 400 Malformed From"]),
        row(
            "a display name without quotes",
            vec![Line("From: Alice von Test <sip:a@127.0.0.1>;tag=n2")],
            OK,
            &["from: Alice von Test <sip:a@127.0.0.1>;tag=n2"],
        )
        .told(FULL),
        row("an empty display name", vec![Line("From: \"\" <sip:a@127.0.0.1>;tag=n3")], OK, &["from: \"\" <sip:a@127.0.0.1>;tag=n3"])
            .told(FULL),
        row("no brackets, and blanks", vec![Line("From: sip:a@127.0.0.1 ; tag = n4")], OK, &["from: sip:a@127.0.0.1 ; tag = n4"])
            .told(FULL),
        row("a CSeq with zeros", vec![Line("CSeq: 0001 SUBSCRIBE")], OK, &["cseq: 0001 SUBSCRIBE"]).told(FULL),
        row(
            "two Event",
            vec![Text(|text| text.replacen("Event:", "Event: dialog\r\nEvent:", 1))],
            400,
            &["start SIP/2.0 400 Repeated Event"],
        ),
        taken("From without brackets", vec![Line("From: sip:a@127.0.0.1 ; tag=b1")]).notify(&["to: <sip:a@127.0.0.1>;tag=b1"]),
        taken("a tel: watcher", vec![Line("From: <tel:+31201234567>;tag=t1")]).notify(&["to: <tel:+31201234567>;tag=t1"]),
        taken("a watcher over IPv6", vec![Line("From: <sip:a@[2001:db8::1]>;tag=v6")]).notify(&["to: <sip:a@[2001:db8::1]>;tag=v6"]),
        taken("a tel: presentity", vec![Start("SUBSCRIBE tel:+31201234567 SIP/2.0"), Line("To: <tel:+31201234567>")]),
        taken("an IPv6 presentity", vec![Start("SUBSCRIBE sip:{user}@[2001:DB8::1]:5060 SIP/2.0")]),
        taken("escaped characters", vec![Start("SUBSCRIBE sip:%7B{user}%40x@127.0.0.1 SIP/2.0")]),
        taken("port and parameters of the presentity", vec![Start("SUBSCRIBE sip:{user}@127.0.0.1:5060;transport=udp;x=y SIP/2.0")]),
        taken("a sips presentity", vec![Start("SUBSCRIBE sips:{user}@127.0.0.1 SIP/2.0")]),
        taken("Content-Length absent", vec![Without("Content-Length")]).only(&["udp", "ws", "wss"]),
        taken("Content-Length too short: the rest is not there", vec![Text(|text| format!("{text}junk"))]).only(DATAGRAM),
        row("Content-Length too long", vec![Line("Content-Length: 5")], 400, &["start SIP/2.0 400 Body Shorter Than Content-Length"])
            .only(DATAGRAM),
        taken("control characters in a value", vec![Line("User-Agent: a\u{1}b\u{7f}c\0d")]),
        taken("a hundred lines nobody knows", vec![Text(|text| text.replacen("Event:", &("X-Any: \u{e9}\r\n".repeat(100) + "Event:"), 1))]),
        taken("no Max-Forwards", vec![Without("Max-Forwards")]),
    ]
}

/// What is written for an odd Contact: it is the Request-URI of every NOTIFY, character for character, and nothing besides.
fn odd_contacts() -> Vec<Row> {
    vec![
        taken("Contact over IPv6", vec![Line("Contact: <sip:p@[2001:db8::9]:5066>")])
            .notify(&["start NOTIFY sip:p@[2001:db8::9]:5066 SIP/2.0"]),
        taken("Contact of a number", vec![Line("Contact: <tel:+31201234567>")]).notify(&["start NOTIFY tel:+31201234567 SIP/2.0"]),
        taken("Contact with a display name", vec![Line("Contact: \"A, <b>\" <sip:p@192.0.2.1>;q=1")])
            .notify(&["start NOTIFY sip:p@192.0.2.1 SIP/2.0"]),
        taken("Contact without brackets", vec![Line("Contact: sip:p@192.0.2.1;expires=60")])
            .notify(&["start NOTIFY sip:p@192.0.2.1 SIP/2.0"]),
        taken("Contact with parameters", vec![Line("Contact: <sip:p@192.0.2.1;ob;x=%20>")])
            .notify(&["start NOTIFY sip:p@192.0.2.1;ob;x=%20 SIP/2.0"]),
        row("two Contacts", vec![Line("Contact: <sip:p@192.0.2.1>, <sip:q@192.0.2.2>")], 400, &["start SIP/2.0 400 Repeated Contact"]),
        taken("Contact with headers", vec![Line("Contact: <sip:p@192.0.2.1?Subject=x>")]).notify(&["start NOTIFY sip:p@192.0.2.1 SIP/2.0"]),
        row("Contact that is no UTF-8", vec![Line("Contact: <sip:zo\u{eb}@192.0.2.1>"), Latin1], 400, &["warning"]),
        row("Contact with a blank", vec![Line("Contact: <sip:p q@192.0.2.1>")], 400, &["warning"]),
        row("Contact with quotes", vec![Line("Contact: <sip:\"p\"@192.0.2.1>")], 400, &["warning"]),
    ]
}

#[test]
fn odd_heads_are_taken_and_answered_strictly_over_every_transport() {
    let nats = Nats::start();
    let site = Site::on(&nats);
    run(&site, "envelope", &envelope());
    run(&site, "odd but taken", &tolerated());
    run(&site, "strict out", &odd_contacts());
}
