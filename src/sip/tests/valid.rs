use super::*;
use crate::sip::name::Name;

pub(super) fn event(request: &Request) -> String {
    request.event().map(|event| event.to_string()).unwrap_or_default()
}

pub(super) fn body(request: &Request) -> String {
    format!("{:?}", request.body())
}

pub(super) fn contact(request: &Request) -> String {
    request.contact().unwrap().unwrap().to_string()
}

pub(super) fn start(request: &Request) -> String {
    format!("{} {}", request.method(), request.uri())
}

pub(super) fn from(request: &Request) -> String {
    request.from().to_string()
}

pub(super) fn via(request: &Request) -> String {
    format!("{} of {}", request.top_via(), request.via_count())
}

/// The cases of this file.
pub(super) fn cases() -> Vec<Case> {
    [
        lines_in_every_spelling(),
        text_in_every_coding(),
        bodies_of_every_length(),
        start_lines_in_every_spelling(),
        values_in_every_spelling(),
    ]
    .concat()
}

fn lines_in_every_spelling() -> Vec<Case> {
    vec![
        ("lower case", with("event: as-feature-event\r\n\r\n"), event, "as-feature-event"),
        ("mixed case", with("eVeNt:as-feature-event\r\n\r\n"), event, "as-feature-event"),
        ("compact", with("o: as-feature-event\r\n\r\n"), event, "as-feature-event"),
        ("blanks before the colon", with("Event \t : as-feature-event\r\n\r\n"), event, "as-feature-event"),
        ("folded", with("Event:\r\n as-feature-event\r\n\t;id=1\r\n\r\n"), event, "as-feature-event;id=1"),
        ("a fold of blanks only", with("Event: as-feature-event\r\n   \r\n\r\n"), event, "as-feature-event"),
        ("bare LF", String::from_utf8(with("Event: x\r\n\r\nab")).unwrap().replace('\r', "").into_bytes(), body, "[97, 98]"),
        ("blank lines first", [b"\r\n\r\n\n".as_slice(), &with("Event: x\r\n\r\n")].concat(), event, "x"),
        ("zero bytes first", [b"\0\0\0\0".as_slice(), &with("Event: x\r\n\r\n")].concat(), event, "x"),
        ("blanks at the ends", with("Event:    x  \t \r\n\r\n"), event, "x"),
        ("a fold in a quoted string", instead("From", "From: \"A\r\n B\" <sip:a@h>;tag=f"), from, "\"A   B\" <sip:a@h>;tag=f"),
        ("every mandatory line compact", b"SUBSCRIBE sip:a@h SIP/2.0\r\nv:SIP/2.0/UDP h;branch=z9hG4bKx\r\nf:sip:a@h;tag=f\r\nt:sip:a@h\r\ni:c\r\nCSEQ:1 SUBSCRIBE\r\n\r\n".to_vec(), from, "<sip:a@h>;tag=f"),
        ("unknown lines", with("X-Foo: 1\r\nP-Asserted-Identity: <sip:a@h>\r\nEvent: x\r\n\r\n"), |r| r.message().all_lines().skip(5).flat_map(|(name, value)| [name, value]).collect::<Vec<_>>().join("|"), "X-Foo|1|P-Asserted-Identity|<sip:a@h>|Event|x"),
        ("an empty line of a known field", with("Supported:\r\nUser-Agent:\r\n\r\n"), |r| format!("{:?}", r.user_agent()), "None"),
        ("a colon in the value", with("Subject: a:b: c\r\n\r\n"), |r| r.message().header(Name::Subject).unwrap().to_owned(), "a:b: c"),
        ("a control character in a value", with("Subject: a\x01b\r\n\r\n"), |r| r.message().header(Name::Subject).unwrap().to_owned(), "a b"),
    ]
}

fn text_in_every_coding() -> Vec<Case> {
    let latin_1 = |line: &[u8]| {
        let mut packet = with("");
        packet.extend_from_slice(line);
        packet.extend_from_slice(b"\r\n\r\n");
        packet
    };
    vec![
        ("UTF-8 display name", instead("From", "From: \"Zoë 日本\" <sip:a@h>;tag=f"), from, "\"Zoë 日本\" <sip:a@h>;tag=f"),
        ("Latin-1 display name", latin_1(b"Contact: \"Zo\xeb\" <sip:a@h>"), contact, "\"Zoë\" <sip:a@h>"),
        ("a half character of UTF-8", latin_1(b"Subject: \xc3"), |r| r.message().header(Name::Subject).unwrap().to_owned(), "\u{c3}"),
        ("every line after Latin-1 counts", latin_1(b"Subject: \xff\r\nEvent: x"), event, "x"),
        ("a body that is no text", [with("l: 4\r\n\r\n").as_slice(), &[0, 255, 13, 10]].concat(), body, "[0, 255, 13, 10]"),
    ]
}

fn bodies_of_every_length() -> Vec<Case> {
    vec![
        ("no Content-Length: the rest", with("\r\nabc"), body, "[97, 98, 99]"),
        ("no Content-Length, no body", with("\r\n"), body, "[]"),
        ("less than came: cut", with("Content-Length: 2\r\n\r\nabc"), body, "[97, 98]"),
        ("zero, with garbage behind", with("l:0\r\n\r\nabc"), body, "[]"),
        ("leading zeros", with("Content-Length: 0003\r\n\r\nabc"), body, "[97, 98, 99]"),
        ("twice the same", with("Content-Length: 1\r\nl: 1\r\n\r\nabc"), body, "[97]"),
        ("folded", with("Content-Length:\r\n 1\r\n\r\nabc"), body, "[97]"),
    ]
}

fn start_lines_in_every_spelling() -> Vec<Case> {
    vec![
        ("several blanks", started("SUBSCRIBE   sip:a@h   SIP/2.0"), start, "SUBSCRIBE sip:a@h"),
        ("a blank at the end", started("SUBSCRIBE sip:a@h SIP/2.0  "), start, "SUBSCRIBE sip:a@h"),
        ("version in lower case", started("SUBSCRIBE sip:a@h sip/2.0"), start, "SUBSCRIBE sip:a@h"),
        ("a URI in angle brackets", started("SUBSCRIBE <sip:a@h;x> SIP/2.0"), start, "SUBSCRIBE sip:a@h;x"),
        (
            "IPv6",
            started("SUBSCRIBE sip:a@[2001:db8::1]:5060;transport=udp SIP/2.0"),
            start,
            "SUBSCRIBE sip:a@[2001:db8::1]:5060;transport=udp",
        ),
        ("tel:", started("SUBSCRIBE tel:+31201234567 SIP/2.0"), start, "SUBSCRIBE tel:+31201234567"),
        ("feature codes", started("SUBSCRIBE sip:*21*#100@h SIP/2.0"), start, "SUBSCRIBE sip:*21*#100@h"),
        (
            "escapes and odd parameters",
            started("SUBSCRIBE sip:sip%3Auser%40h@h;x=[1]:$&+/ SIP/2.0"),
            start,
            "SUBSCRIBE sip:sip%3Auser%40h@h;x=[1]:$&+/",
        ),
        ("a scheme nobody knows", started("SUBSCRIBE nobodyKnows:x SIP/2.0"), start, "SUBSCRIBE nobodyKnows:x"),
        (
            "a method nobody knows",
            String::from_utf8(started("!odd*Method+`.%~ sip:a@h SIP/2.0"))
                .unwrap()
                .replace("1 SUBSCRIBE", "1 !odd*Method+`.%~")
                .into_bytes(),
            start,
            "!odd*Method+`.%~ sip:a@h",
        ),
    ]
}

fn values_in_every_spelling() -> Vec<Case> {
    vec![
        (
            "several Vias in a line",
            instead("Via", "Via: SIP/2.0/UDP h;branch=1 ,SIP / 2.0 / TCP g;branch=2,"),
            via,
            "SIP/2.0/UDP h;branch=1 of 2",
        ),
        ("several Via lines", instead("Via", "Via: SIP/2.0/UDP h;branch=1\r\nv: SIP/2.0/UDP g"), via, "SIP/2.0/UDP h;branch=1 of 2"),
        (
            "blanks in a Via",
            instead("Via", "Via: SIP / 2.0 / UDP  [::1] : 5070 ; branch = z9hG4bKx ; rport"),
            via,
            "SIP/2.0/UDP [::1]:5070;branch=z9hG4bKx;rport of 1",
        ),
        (
            "a quoted comma in a Via",
            instead("Via", "Via: SIP/2.0/UDP h;x=\"a,b;c\";branch=1"),
            via,
            "SIP/2.0/UDP h;x=\"a,b;c\";branch=1 of 1",
        ),
        (
            "a display name full of separators",
            instead("From", "From: \"a, <sip:b>; \\\"c\\\\\" <sip:a@h>;tag=f"),
            from,
            "\"a, <sip:b>; \\\"c\\\\\" <sip:a@h>;tag=f",
        ),
        ("a display name with a comma, unquoted", instead("From", "From: Bell, A <sip:a@h>;tag=f"), from, "\"Bell, A\" <sip:a@h>;tag=f"),
        ("no blank after the display name", instead("From", "From:Alice<sip:a@h>;tag=f"), from, "\"Alice\" <sip:a@h>;tag=f"),
        ("an empty display name", instead("From", "From: \"\" <sip:a@h>;tag=f"), from, "<sip:a@h>;tag=f"),
        ("without brackets", instead("From", "From: sip:a@h ; tag = f"), from, "<sip:a@h>;tag=f"),
        ("without a tag (RFC 2543)", instead("From", "From: sip:a@h"), |r| format!("{:?}", r.from().tag()), "None"),
        ("the same Contact twice", with("m: <sip:a,b@h;x>;q=1 , <sip:a,b@h;x>;q=1\r\n\r\n"), contact, "<sip:a,b@h;x>;q=1"),
        ("the same Event twice", with("Event: x;id=1\r\no: x;id=1\r\n\r\n"), event, "x;id=1"),
        (
            "an instance id",
            with("Contact: <sip:a@h>;+sip.instance=\"<urn:uuid:1>\";reg-id=1\r\n\r\n"),
            contact,
            "<sip:a@h>;+sip.instance=\"<urn:uuid:1>\";reg-id=1",
        ),
        ("CSeq with zeros and blanks", instead("CSeq", "CSeq:  0009   SUBSCRIBE "), |r| r.cseq().to_string(), "9"),
        ("an odd Call-ID", instead("Call-ID", "Call-ID: %ZE*(&@[]{}<>?\"/\\.-!~"), |r| r.call_id().to_owned(), "%ZE*(&@[]{}<>?\"/\\.-!~"),
        (
            "routes in one line and two",
            with("Record-Route: <sip:p1;lr>,\"x\" <sip:p2;lr=on>;y=1\r\nRecord-Route: <sip:[::1];lr>\r\n\r\n"),
            |r| r.record_route().join(" "),
            "<sip:p1;lr> <sip:p2;lr=on>;y=1 <sip:[::1];lr>",
        ),
        (
            "Accept over lines",
            with("Accept: text/plain\r\nAccept: application/* ;q=0.3\r\n\r\n"),
            |r| r.accept().allows("application", "x-as-feature-event+xml").to_string(),
            "true",
        ),
        ("an empty Accept", with("Accept:\r\n\r\n"), |r| format!("{} {}", r.accept().is_sent(), r.accept().allows("a", "b")), "true false"),
        ("no Accept", with("User-Agent: x\r\n\r\n"), |r| r.accept().is_sent().to_string(), "false"),
        ("Expires beyond 32 bits", with("Expires: 99999999999999999999\r\n\r\n"), |r| format!("{:?}", r.expires()), "Ok(Some(4294967295))"),
        ("Max-Forwards zero", with("Max-Forwards: 0\r\n\r\n"), |r| format!("{:?}", r.max_forwards()), "Some(Ok(0))"),
        ("Require over lines", with("Require: a, b\r\nRequire: c\r\n\r\n"), |r| r.require().collect::<Vec<_>>().join(" "), "a b c"),
        (
            "identity is no coding",
            with("Content-Encoding: Identity\r\nContent-Encoding: gzip\r\n\r\n"),
            |r| r.content_encoding().collect::<String>(),
            "gzip",
        ),
        (
            "a content type with parameters",
            with("c: Application/X-AS-Feature-Event+XML ; charset=\"utf-8\"\r\n\r\n"),
            |r| r.content_type().unwrap().unwrap().is("application", "x-as-feature-event+xml").to_string(),
            "true",
        ),
    ]
}

#[test]
fn as_many_lines_and_as_long_a_uri_as_is_allowed() {
    let lines = "X: 1\r\n".repeat(crate::sip::message::MAX_HEADER_LINES - 5) + "\r\n";
    let uri = format!("sip:{}@h", "a".repeat(crate::sip::message::MAX_URI_BYTES - 6));
    for packet in [with(&lines), started(&format!("SUBSCRIBE {uri} SIP/2.0"))] {
        assert_eq!(verdict(&packet), "ok");
    }
}

#[test]
fn a_response_is_read_as_one() {
    for (text, status, reason) in [
        ("SIP/2.0 200 OK", 200, "OK"),
        ("sip/2.0   486   Busy Here ", 486, "Busy Here"),
        ("SIP/2.0 200", 200, ""),
        ("SIP/2.0 699 \u{43d}\u{435}\u{442}", 699, "\u{43d}\u{435}\u{442}"),
    ] {
        let message = parse(&started(text)).unwrap();
        assert_eq!(message.start(), crate::sip::Start::Response { status, reason }, "{text}");
        assert!(Request::from_message(message).is_err());
    }
}
