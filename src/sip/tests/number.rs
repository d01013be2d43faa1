//! Numbers and lists: `CSeq`, Content-Length, Expires, Max-Forwards, Event, Accept, Require.

use super::valid::{body, event};
use super::*;

fn expires(request: &Request) -> String {
    format!("{:?}", request.expires())
}

fn hops(request: &Request) -> String {
    format!("{:?}", request.max_forwards())
}

fn takes_ours(request: &Request) -> String {
    request.accept().allows("application", "x-as-feature-event+xml").to_string()
}

fn is_ours(request: &Request) -> String {
    request.content_type().map_or_else(
        || "none".to_owned(),
        |media| media.map_or_else(|bad| format!("{bad:?}"), |media| media.is("application", "x-as-feature-event+xml").to_string()),
    )
}

pub(super) fn valid() -> Vec<Case> {
    vec![
        ("CSeq zero", instead("CSeq", "CSeq: 0 SUBSCRIBE"), |r| r.cseq().to_string(), "0"),
        ("the largest CSeq", instead("CSeq", "CSeq: 2147483647 SUBSCRIBE"), |r| r.cseq().to_string(), "2147483647"),
        ("CSeq with a fold", instead("CSeq", "CSeq: 7\r\n SUBSCRIBE"), |r| r.cseq().to_string(), "7"),
        ("CSeq with a tab", instead("CSeq", "CSeq: 7\tSUBSCRIBE"), |r| r.cseq().to_string(), "7"),
        ("Content-Length of one byte less", with("Content-Length: 3\r\n\r\nabcd"), body, "[97, 98, 99]"),
        ("Content-Length with a tab", with("Content-Length:\t3\r\n\r\nabc"), body, "[97, 98, 99]"),
        ("a hundred zeros before the length", with(&format!("l: {}3\r\n\r\nabc", "0".repeat(100))), body, "[97, 98, 99]"),
        ("Expires of zeros", with("Expires: 00000\r\n\r\n"), expires, "Ok(Some(0))"),
        ("Expires at 32 bits", with("Expires: 4294967295\r\n\r\n"), expires, "Ok(Some(4294967295))"),
        ("Expires one beyond", with("Expires: 4294967296\r\n\r\n"), expires, "Ok(Some(4294967295))"),
        ("no Expires", with("X: 1\r\n\r\n"), expires, "Ok(None)"),
        ("Max-Forwards 255", with("Max-Forwards: 255\r\n\r\n"), hops, "Some(Ok(255))"),
        ("Max-Forwards with zeros", with("Max-Forwards: 0070\r\n\r\n"), hops, "Some(Ok(70))"),
        ("Event in capitals", with("Event: AS-FEATURE-EVENT\r\n\r\n"), |r| r.event().unwrap().is("as-feature-event").to_string(), "true"),
        ("Event with other parameters", with("Event: as-feature-event ; x=y ; id=a.b ;z\r\n\r\n"), event, "as-feature-event;id=a.b"),
        ("Event with a package and a template", with("Event: presence.winfo\r\n\r\n"), event, "presence.winfo"),
        ("Accept everything", with("Accept: */*\r\n\r\n"), takes_ours, "true"),
        ("Accept ours in capitals", with("Accept: APPLICATION/X-AS-FEATURE-EVENT+XML\r\n\r\n"), takes_ours, "true"),
        (
            "Accept ours with q and a fold",
            with("Accept: text/plain;q=1,\r\n application/x-as-feature-event+xml ; q=0.1\r\n\r\n"),
            takes_ours,
            "true",
        ),
        ("Accept ours with q=0 excludes it", with("Accept: application/x-as-feature-event+xml;q=0\r\n\r\n"), takes_ours, "false"),
        ("Accept something else", with("Accept: application/pidf+xml\r\n\r\n"), takes_ours, "false"),
        (
            "a body type with a tab and a parameter",
            with("Content-Type: application/x-as-feature-event+xml\t;charset=x\r\n\r\n"),
            is_ours,
            "true",
        ),
        ("Require of commas", with("Require: ,a,,b,\r\n\r\n"), |r| r.require().collect::<Vec<_>>().join(" "), "a b"),
        ("a Call-ID of one letter", instead("Call-ID", "i:c"), |r| r.call_id().to_owned(), "c"),
        ("a Call-ID of two at signs", instead("Call-ID", "Call-ID: a@b@c"), |r| r.call_id().to_owned(), "a@b@c"),
    ]
}

pub(super) fn invalid() -> Vec<Invalid> {
    const LENGTH: &str = "400 Malformed Content-Length";
    const CSEQ: &str = "400 Malformed CSeq";
    vec![
        ("CSeq at 31 bits", instead("CSeq", "CSeq: 2147483648 SUBSCRIBE"), CSEQ),
        ("CSeq with a sign", instead("CSeq", "CSeq: +1 SUBSCRIBE"), CSEQ),
        ("CSeq in hexadecimal", instead("CSeq", "CSeq: 0x1 SUBSCRIBE"), CSEQ),
        ("CSeq with a dot", instead("CSeq", "CSeq: 1.0 SUBSCRIBE"), CSEQ),
        ("CSeq without a blank", instead("CSeq", "CSeq: 1SUBSCRIBE"), CSEQ),
        ("CSeq without a method", instead("CSeq", "CSeq: 1"), CSEQ),
        ("CSeq with two methods", instead("CSeq", "CSeq: 1 SUBSCRIBE NOTIFY"), CSEQ),
        ("CSeq of a quoted method", instead("CSeq", "CSeq: 1 \"SUBSCRIBE\""), CSEQ),
        ("CSeq in other digits", instead("CSeq", "CSeq: \u{661} SUBSCRIBE"), CSEQ),
        ("Content-Length with a sign", with("Content-Length: +3\r\n\r\nabc"), LENGTH),
        ("Content-Length with a blank inside", with("Content-Length: 1 2\r\n\r\nabc"), LENGTH),
        ("Content-Length in hexadecimal", with("Content-Length: 0x3\r\n\r\nabc"), LENGTH),
        ("Content-Length with a fraction", with("Content-Length: 3.0\r\n\r\nabc"), LENGTH),
        ("Content-Length of a list", with("Content-Length: 3, 3\r\n\r\nabc"), LENGTH),
        ("an empty Content-Length", with("Content-Length:\r\n\r\nabc"), LENGTH),
        ("three lengths, the last differs", with("l: 3\r\nl: 3\r\nl: 4\r\n\r\nabcd"), LENGTH),
        ("a length without a body", with("Content-Length: 1\r\n\r\n"), "400 Body Shorter Than Content-Length"),
        ("Call-ID with a blank at a fold", instead("Call-ID", "Call-ID: a\r\n b"), "400 Malformed Call-ID"),
    ]
}

pub(super) fn unusable() -> Vec<Unusable> {
    const EXPIRES: &str = "Err(BadHeader(Expires))";
    const HOPS: &str = "Some(Err(BadHeader(MaxForwards)))";
    const TYPE: &str = "BadHeader(ContentType)";
    vec![
        ("Expires of a word", with("Expires: soon\r\n\r\n"), expires, EXPIRES),
        ("a negative Expires", with("Expires: -1\r\n\r\n"), expires, EXPIRES),
        ("an empty Expires", with("Expires:\r\n\r\n"), expires, EXPIRES),
        ("Expires of two numbers", with("Expires: 1 2\r\n\r\n"), expires, EXPIRES),
        ("Expires of a date", with("Expires: Thu, 01 Dec 1994 16:00:00 GMT\r\n\r\n"), expires, EXPIRES),
        ("Expires with a fraction", with("Expires: 3600.5\r\n\r\n"), expires, EXPIRES),
        ("Max-Forwards 256", with("Max-Forwards: 256\r\n\r\n"), hops, HOPS),
        ("a negative Max-Forwards", with("Max-Forwards: -1\r\n\r\n"), hops, HOPS),
        ("Max-Forwards of a word", with("Max-Forwards: many\r\n\r\n"), hops, HOPS),
        ("an empty Max-Forwards", with("Max-Forwards:\r\n\r\n"), hops, HOPS),
        ("an empty Event", with("Event:\r\n\r\n"), |r| format!("{:?}", r.event()), "None"),
        ("an Event of its id alone", with("Event: ;id=1\r\n\r\n"), |r| format!("{:?}", r.event()), "None"),
        ("an Event of two words", with("Event: a b\r\n\r\n"), |r| format!("{:?}", r.event()), "None"),
        ("an empty Content-Type", with("Content-Type:\r\n\r\n"), is_ours, TYPE),
        ("a Content-Type without a slash", with("Content-Type: text\r\n\r\n"), is_ours, TYPE),
        ("a Content-Type of a slash", with("Content-Type: /\r\n\r\n"), is_ours, TYPE),
        ("a Content-Type of two words", with("Content-Type: a/b c\r\n\r\n"), is_ours, TYPE),
    ]
}
