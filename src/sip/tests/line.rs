//! Lines: names, folding, quoting, line ends, bytes of every kind.

use super::valid::{body, contact, event, from, start};
use super::*;
use crate::sip::name::Name;

fn subject(request: &Request) -> String {
    request.message().header(Name::Subject).unwrap_or("none").to_owned()
}

/// With raw bytes after the mandatory lines.
fn raw(bytes: &[u8]) -> Vec<u8> {
    let mut packet = with("");
    packet.extend_from_slice(bytes);
    packet
}

pub(super) fn valid() -> Vec<Case> {
    vec![
        (
            "every compact form that phones use",
            with("o:x\r\ns:hi\r\nk:\r\nu:x\r\nc:a/b\r\nm:<sip:a@h>\r\nl:0\r\n\r\n"),
            |r| format!("{} {} {}", event(r), subject(r), contact(r)),
            "x hi <sip:a@h>",
        ),
        ("a compact form in upper case", with("O: x\r\n\r\n"), event, "x"),
        ("a tab after the colon", with("Event:\tx\r\n\r\n"), event, "x"),
        ("tabs around a value", with("Event:\t\tx\t\r\n\r\n"), event, "x"),
        ("a value of three folds", with("Subject: a\r\n b\r\n\tc\r\n  d\r\n\r\n"), subject, "a   b   c    d"),
        ("a fold right after the colon, twice", with("Event:\r\n\r\n".replace("\r\n\r\n", "\r\n \r\n x\r\n\r\n").as_str()), event, "x"),
        ("a fold in the last line", with("Subject: a\r\n b\r\n\r\n"), subject, "a   b"),
        (
            "bare LF and CRLF mixed",
            with("Event: x\nSubject: s\r\n\nbody"),
            |r| format!("{} {} {}", event(r), subject(r), r.body().len()),
            "x s 4",
        ),
        ("bare LF with folds", with("Subject: a\n b\n\n"), subject, "a  b"),
        ("a lone CR in a value is no line end", with("Subject: a\rEvil: b\r\n\r\n"), subject, "a Evil: b"),
        ("CR twice before LF", with("Event: x\r\r\nSubject: s\r\n\r\n"), |r| format!("{} {}", event(r), subject(r)), "x s"),
        ("a zero byte in a value", raw(b"Subject: a\0b\r\n\r\n"), subject, "a b"),
        ("delete and escape in a value", raw(b"Subject: a\x7fb\x1bc\r\n\r\n"), subject, "a b c"),
        ("a name of token characters only", with("!%*_+`'~.-: 1\r\nEvent: x\r\n\r\n"), event, "x"),
        ("a name of one letter nobody knows", with("z: 1\r\nEvent: x\r\n\r\n"), event, "x"),
        ("a value of colons", with("Subject: :::\r\n\r\n"), subject, ":::"),
        ("a value of 4000 bytes", with(&format!("X: {}\r\nEvent: x\r\n\r\n", "v".repeat(4000))), event, "x"),
        ("two lines of the same unknown name", with("X-A: 1\r\nX-A: 2\r\nEvent: x\r\n\r\n"), event, "x"),
        (
            "the mandatory lines last",
            [b"SUBSCRIBE sip:a@h SIP/2.0\r\nEvent: x\r\n".as_slice(), MANDATORY.as_bytes(), b"\r\n"].concat(),
            event,
            "x",
        ),
        ("a byte order mark in a value", with("Subject: \u{feff}a\r\n\r\n"), subject, "\u{feff}a"),
        ("Latin-1 beside a quoted comma", raw(b"Contact: \"M\xfcller, A\" <sip:a@h>\r\n\r\n"), contact, "\"Müller, A\" <sip:a@h>"),
        ("overlong UTF-8 is read byte for byte", raw(b"Subject: \xc0\xaf\r\n\r\n"), subject, "\u{c0}\u{af}"),
        ("UTF-16 surrogates in UTF-8 are read byte for byte", raw(b"Subject: \xed\xa0\x80\r\n\r\n"), subject, "\u{ed}\u{a0}\u{80}"),
        (
            "a body with head-like lines",
            with("Content-Length: 16\r\n\r\nVia: x\r\nTo: y\r\n\r\n"),
            body,
            "[86, 105, 97, 58, 32, 120, 13, 10, 84, 111, 58, 32, 121, 13, 10, 13]",
        ),
        ("a body of line ends", with("l: 4\r\n\r\n\r\n\r\n"), body, "[13, 10, 13, 10]"),
        ("a body that begins with LF after a bare LF head", with("l: 1\n\n\n"), body, "[10]"),
        ("tabs between the parts of the start-line", started("SUBSCRIBE \t sip:a@h \t SIP/2.0"), start, "SUBSCRIBE sip:a@h"),
        ("two hundred line ends first", [b"\r\n".repeat(100).as_slice(), &with("Event: x\r\n\r\n")].concat(), event, "x"),
        ("a quoted pair at the end of a display name", instead("From", r#"From: "a\\" <sip:a@h>;tag=f"#), from, r#""a\\" <sip:a@h>;tag=f"#),
        (
            "a display name of separators",
            instead("From", "From: \"<>@,;:/[]?={}\" <sip:a@h>;tag=f"),
            from,
            "\"<>@,;:/[]?={}\" <sip:a@h>;tag=f",
        ),
        ("a display name of several tokens", instead("From", "From: The  Boss . <sip:a@h>;tag=f"), from, "\"The  Boss .\" <sip:a@h>;tag=f"),
        ("an escaped letter that needs none", instead("From", r#"From: "\A\l" <sip:a@h>;tag=f"#), from, "\"Al\" <sip:a@h>;tag=f"),
    ]
}

pub(super) fn invalid() -> Vec<Invalid> {
    vec![
        ("a line of one word", with("Event\r\n\r\n"), "400 Malformed Header Line"),
        ("a line of a colon and nothing", with(":\r\n\r\n"), "400 Malformed Header Line"),
        ("brackets in a name", with("X(1): 1\r\n\r\n"), "400 Malformed Header Line"),
        ("a quoted name", with("\"X\": 1\r\n\r\n"), "400 Malformed Header Line"),
        ("a name that is no ASCII", with("Sübject: 1\r\n\r\n"), "400 Malformed Header Line"),
        ("an at sign in a name", with("a@b: 1\r\n\r\n"), "400 Malformed Header Line"),
        ("a zero byte in a name", raw(b"X\0Y: 1\r\n\r\n"), "400 Malformed Header Line"),
        ("a message in a message's head", with("SUBSCRIBE sip:a@h SIP/2.0\r\n\r\n"), "400 Malformed Header Line"),
        ("a second start-line in a fold's place", with("SIP/2.0 200 OK\r\n\r\n"), "400 Malformed Header Line"),
        (
            "no blank line, bare LF",
            String::from_utf8(with("Event: x\r\n")).unwrap().replace('\r', "").into_bytes(),
            "400 Missing Blank Line",
        ),
        ("cut in the To", with("").split_inclusive(|byte| *byte == b'\n').take(3).collect::<Vec<_>>().concat(), "dropped"),
        ("only a start-line", b"SUBSCRIBE sip:a@h SIP/2.0\r\n\r\n".to_vec(), "dropped"),
        ("only a method", b"SUBSCRIBE\r\n\r\n".to_vec(), "dropped"),
        ("a start-line of blanks and a version", started("   SIP/2.0"), "dropped"),
        ("JSON", br#"{"method":"SUBSCRIBE"}"#.to_vec(), "dropped"),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), "dropped"),
        ("a TLS hello", vec![22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3], "dropped"),
        ("RTP", vec![0x80, 0, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4, 0xff, 0xff], "dropped"),
        ("a start-line in UTF-16", b"S\0U\0B\0S\0C\0R\0I\0B\0E\0 \0".to_vec(), "dropped"),
        ("a quoted method", started("\"SUBSCRIBE\" sip:a@h SIP/2.0"), "dropped"),
        ("a colon after the method", started("SUBSCRIBE: sip:a@h SIP/2.0"), "dropped"),
        ("a comma in the method", started("SUB,SCRIBE sip:a@h SIP/2.0"), "dropped"),
        ("more after the version", started("SUBSCRIBE sip:a@h SIP/2.0 x"), "400 Bad Request"),
        ("two URIs", started("SUBSCRIBE sip:a@h sip:b@h SIP/2.0"), "400 Bad Request"),
        ("quotes in the URI", started("SUBSCRIBE sip:\"a\"@h SIP/2.0"), "400 Bad Request"),
        ("an open bracket in the URI's place", started("SUBSCRIBE <sip:a@h SIP/2.0"), "400 Bad Request"),
        ("the version in the URI's place", started("SUBSCRIBE SIP/2.0 sip:a@h"), "400 Bad Request"),
        ("the version without a slash", started("SUBSCRIBE sip:a@h SIP2.0"), "400 Bad Request"),
        ("a version without a number", started("SUBSCRIBE sip:a@h SIP/"), "505 Version Not Supported"),
        ("version 1.0", started("SUBSCRIBE sip:a@h SIP/1.0"), "505 Version Not Supported"),
        ("a response without a number", started("SIP/2.0 OK"), "dropped"),
        ("a response that is nothing but its version", started("SIP/2.0"), "dropped"),
        ("a negative status", started("SIP/2.0 -200 OK"), "dropped"),
        ("an ACK of another version", started("ACK sip:a@h SIP/7.0"), "dropped"),
        ("an ACK with too long a URI", started(&format!("ACK sip:{}@h SIP/2.0", "a".repeat(2000))), "dropped"),
        ("an ACK with a bad line", [b"ACK sip:a@h SIP/2.0\r\n".as_slice(), MANDATORY.as_bytes(), b"bad line\r\n\r\n"].concat(), "dropped"),
        ("an ACK without its method in CSeq", started("ACK sip:a@h SIP/2.0"), "dropped"),
    ]
}
