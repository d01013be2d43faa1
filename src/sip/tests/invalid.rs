use super::*;
use crate::sip::header::BadHeader;
use crate::sip::message::{Fault, MAX_HEADER_LINES, MAX_MESSAGE_BYTES, MAX_URI_BYTES};
use crate::sip::name::Name;
use crate::sip::request::{MAX_HOPS, MAX_ROUTES};

/// The cases of this file.
pub(super) fn cases() -> Vec<Invalid> {
    let long_uri = format!("SUBSCRIBE sip:{}@h SIP/2.0", "a".repeat(MAX_URI_BYTES));
    vec![
        // Start-lines
        ("no version", started("SUBSCRIBE sip:a@h"), "400 Bad Request"),
        ("a blank in the URI", started("SUBSCRIBE sip:a b@h SIP/2.0"), "400 Bad Request"),
        ("no URI", started("SUBSCRIBE SIP/2.0"), "400 Bad Request"),
        ("a display name in the URI's place", started("SUBSCRIBE \"A\" <sip:a@h> SIP/2.0"), "400 Bad Request"),
        ("an empty URI in brackets", started("SUBSCRIBE <> SIP/2.0"), "400 Bad Request"),
        ("another protocol", started("SUBSCRIBE sip:a@h HTTP/1.1"), "400 Bad Request"),
        ("another version", started("SUBSCRIBE sip:a@h SIP/7.0"), "505 Version Not Supported"),
        ("a version with more digits", started("SUBSCRIBE sip:a@h SIP/2.00"), "505 Version Not Supported"),
        ("a URI over the limit", started(&long_uri), "414 Request-URI Too Long"),
        ("a method that is no token", started("SUB(SCRIBE sip:a@h SIP/2.0"), "dropped"),
        ("a header line first", MANDATORY.as_bytes().to_vec(), "dropped"),
        ("the start-line goes on", started("SUBSCRIBE sip:a@h SIP/2.0\r\n x"), "400 Bad Request"),
        ("XML", b"<?xml version=\"1.0\"?><a/>".to_vec(), "dropped"),
        ("STUN", vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], "dropped"),
        ("nothing", vec![], "dropped"),
        ("line ends", b"\r\n\r\n".to_vec(), "dropped"),
        // Responses and ACK are never answered
        ("a response", started("SIP/2.0 200 OK"), "dropped"),
        ("a status of four digits", started("SIP/2.0 4294967301 OK"), "dropped"),
        ("a status below 100", started("SIP/2.0 099 OK"), "dropped"),
        ("a status above 699", started("SIP/2.0 700 OK"), "dropped"),
        ("a response of another version", started("SIP/1.0 200 OK"), "dropped"),
        ("a bad ACK", started("ACK sip:a b@h SIP/2.0"), "dropped"),
        // Header lines
        ("a line without a colon", with("garbage\r\n\r\n"), "400 Malformed Header Line"),
        ("a name that is no token", with("Sub ject: x\r\n\r\n"), "400 Malformed Header Line"),
        ("no name", with(": x\r\n\r\n"), "400 Malformed Header Line"),
        ("too many lines", with(&("X: 1\r\n".repeat(MAX_HEADER_LINES) + "\r\n")), "400 Too Many Header Lines"),
        ("no blank line", with("Event: x\r\n"), "400 Missing Blank Line"),
        ("cut in a line", with("Eve"), "400 Missing Blank Line"),
        // Content-Length
        ("more than came", with("Content-Length: 4\r\n\r\nabc"), "400 Body Shorter Than Content-Length"),
        ("vast", with("Content-Length: 18446744073709551616\r\n\r\nabc"), "400 Body Shorter Than Content-Length"),
        ("negative", with("Content-Length: -3\r\n\r\nabc"), "400 Malformed Content-Length"),
        ("a word", with("Content-Length: three\r\n\r\nabc"), "400 Malformed Content-Length"),
        ("two that differ", with("Content-Length: 3\r\nl: 2\r\n\r\nabc"), "400 Malformed Content-Length"),
        // Mandatory fields
        ("no Via", instead("Via", "X: 1"), "dropped"),
        ("an unreadable Via", instead("Via", "Via: SIP/2.0/UDP"), "dropped"),
        ("a Via with a port out of range", instead("Via", "Via: SIP/2.0/UDP h:99999;branch=z9hG4bKx"), "dropped"),
        ("a Via of another version", instead("Via", "Via: SIP/3.0/UDP h;branch=z9hG4bKx"), "dropped"),
        ("no From", instead("From", "X: 1"), "dropped"),
        ("From twice", instead("From", "From: <sip:a@h>;tag=1\r\nf: <sip:b@h>;tag=2"), "400 Missing Or Repeated From"),
        ("From without a URI", instead("From", "From: \"Alice\""), "400 Malformed From"),
        ("From never closed", instead("From", "From: <sip:a@h;tag=1"), "400 Malformed From"),
        ("From with a quote that never ends", instead("From", "From: \"Alice <sip:a@h>;tag=1"), "400 Malformed From"),
        ("From with a parameter that never ends", instead("From", "From: <sip:a@h>;tag=1;x=\"a"), "400 Malformed From"),
        ("From with two tags", instead("From", "From: <sip:a@h>;tag=1;tag=2"), "400 Malformed From"),
        ("To with two tags", instead("To", "To: <sip:a@h>;tag=1;Tag=1"), "400 Malformed To"),
        ("a Via with two branches", instead("Via", "Via: SIP/2.0/UDP h;branch=z9hG4bKx;branch=z9hG4bKy"), "400 Malformed Via"),
        ("two Event", with("Event: as-feature-event\r\no: dialog\r\n\r\n"), "400 Repeated Event"),
        ("Event with a quote that never ends", with("Event: as-feature-event;x=\"a\r\n\r\n"), "400 Malformed Event"),
        ("two Expires", with("Expires: 60\r\nExpires: 0\r\n\r\n"), "400 Repeated Expires"),
        ("two Max-Forwards", with("Max-Forwards: 70\r\nMax-Forwards: 0\r\n\r\n"), "400 Repeated Max-Forwards"),
        ("two Content-Type", with("Content-Type: a/b\r\nc: c/d\r\n\r\n"), "400 Repeated Content-Type"),
        ("two Contact in two lines", with("Contact: <sip:a@h>\r\nm: <sip:b@h>\r\n\r\n"), "400 Repeated Contact"),
        ("two Contact in one line", with("Contact: <sip:a@h>, <sip:b@h>\r\n\r\n"), "400 Repeated Contact"),
        ("From with junk behind", instead("From", "From: <sip:a@h> x;tag=1"), "400 Malformed From"),
        ("no To", instead("To", "X: 1"), "dropped"),
        ("an empty To", instead("To", "To:"), "dropped"),
        ("To of blanks and a name", instead("To", "To: Alice"), "400 Malformed To"),
        ("To twice", instead("To", "To: <sip:a@h>\r\nTo: <sip:a@h>"), "400 Missing Or Repeated To"),
        ("no Call-ID", instead("Call-ID", "X: 1"), "dropped"),
        ("Call-ID with a blank", instead("Call-ID", "Call-ID: a b"), "400 Malformed Call-ID"),
        ("Call-ID twice", instead("Call-ID", "Call-ID: a\r\ni: b"), "400 Missing Or Repeated Call-ID"),
        ("no CSeq", instead("CSeq", "X: 1"), "dropped"),
        ("CSeq of another method", instead("CSeq", "CSeq: 1 INVITE"), "400 CSeq Of Another Method"),
        ("CSeq of another case", instead("CSeq", "CSeq: 1 subscribe"), "400 CSeq Of Another Method"),
        ("CSeq over 31 bits", instead("CSeq", "CSeq: 36893488147419103232 SUBSCRIBE"), "400 Malformed CSeq"),
        ("CSeq without a number", instead("CSeq", "CSeq: SUBSCRIBE"), "400 Malformed CSeq"),
        ("CSeq negative", instead("CSeq", "CSeq: -1 SUBSCRIBE"), "400 Malformed CSeq"),
        ("CSeq twice", instead("CSeq", "CSeq: 1 SUBSCRIBE\r\nCSeq: 2 SUBSCRIBE"), "400 Missing Or Repeated CSeq"),
        (
            "more hops than Max-Forwards allows",
            instead("Via", &format!("Via: {}SIP/2.0/UDP h;branch=z9hG4bKx", "SIP/2.0/UDP h,".repeat(MAX_HOPS))),
            "dropped",
        ),
        ("commas for hops", instead("Via", &format!("Via: SIP/2.0/UDP h;branch=z9hG4bKx{}", ",x".repeat(2000))), "dropped"),
        (
            "a longer route than hops",
            with(&format!("Record-Route: <sip:p;lr>{}\r\n\r\n", ",<sip:p>".repeat(MAX_ROUTES))),
            "400 Too Many Record-Route",
        ),
        ("an unreadable Record-Route", with("Record-Route: <sip:p;lr>, nonsense\r\n\r\n"), "400 Malformed Record-Route"),
    ]
}

#[test]
fn optional_fields_are_refused_where_they_are_used() {
    let request = |lines: &str| Request::from_message(parse(&with(&format!("{lines}\r\n\r\n"))).unwrap()).unwrap();
    for value in ["soon", "-1", "", "1 2"] {
        assert_eq!(request(&format!("Expires: {value}")).expires(), Err(BadHeader(Name::Expires)), "{value}");
    }
    for value in ["*", "alice", "<sip:a@h", "\"x\""] {
        assert_eq!(request(&format!("Contact: {value}")).contact(), Err(BadHeader(Name::Contact)), "{value}");
    }
    for value in ["256", "-1", "x", ""] {
        assert_eq!(request(&format!("Max-Forwards: {value}")).max_forwards(), Some(Err(BadHeader(Name::MaxForwards))), "{value}");
    }
    for value in ["", ";id=1", "a b"] {
        assert_eq!(request(&format!("Event: {value}")).event(), None, "{value}");
    }
    for value in ["", "text", "/", "a/b c"] {
        assert_eq!(request(&format!("Content-Type: {value}")).content_type(), Some(Err(BadHeader(Name::ContentType))), "{value}");
    }
}

#[test]
fn a_message_over_the_limit_is_refused_and_one_at_it_is_not() {
    let mut packet = with("\r\n");
    packet.resize(MAX_MESSAGE_BYTES, b'x');
    assert_eq!(verdict(&packet), "ok");
    packet.push(b'x');
    assert_eq!(parse(&packet).unwrap_err().fault(), Fault::TooLarge);
}

#[test]
fn an_error_tells_nothing_of_the_message() {
    let error = parse(&with("Authorization: Digest response=\"secret\"\r\ngarbage secret\r\n\r\n")).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"));
    assert!(error.answerable().is_some());
}
