//! Hops: Via and Record-Route.

use super::valid::via;
use super::*;

fn routes(request: &Request) -> String {
    request.record_route().join(" ")
}

pub(super) fn valid() -> Vec<Case> {
    vec![
        (
            "an IPv6 sent-by without a port",
            instead("Via", "Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKx"),
            via,
            "SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKx of 1",
        ),
        (
            "an IPv6 sent-by without its brackets",
            instead("Via", "Via: SIP/2.0/UDP 2001:db8::9:1;branch=z9hG4bKx"),
            via,
            "SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKx of 1",
        ),
        (
            "received as IPv6, bare and in brackets",
            instead("Via", "Via: SIP/2.0/UDP h;received=2001:db8::1;branch=1\r\nVia: SIP/2.0/UDP g;received=[2001:db8::1];branch=2"),
            |r| format!("{:?} {}", r.top_via().received(), r.via_count()),
            "Some(2001:db8::1) 2",
        ),
        (
            "an IPv4 address mapped into IPv6",
            instead("Via", "Via: SIP/2.0/UDP [::ffff:10.0.0.1]:5060;branch=z9hG4bKx"),
            via,
            "SIP/2.0/UDP [::ffff:10.0.0.1]:5060;branch=z9hG4bKx of 1",
        ),
        (
            "a branch without the cookie (RFC 2543)",
            instead("Via", "Via: SIP/2.0/UDP h;branch=1"),
            |r| r.top_via().branch().unwrap().to_owned(),
            "1",
        ),
        ("no branch at all (RFC 2543)", instead("Via", "Via: SIP/2.0/UDP h"), |r| format!("{:?}", r.top_via().branch()), "None"),
        ("the cookie in another case", instead("Via", "Via: SIP/2.0/UDP h;branch=Z9HG4BKx"), via, "SIP/2.0/UDP h;branch=Z9HG4BKx of 1"),
        ("a transport nobody knows", instead("Via", "Via: SIP/2.0/PIGEON h;branch=z9hG4bKx"), via, "SIP/2.0/PIGEON h;branch=z9hG4bKx of 1"),
        ("a transport in lower case", instead("Via", "Via: sip/2.0/tcp h;branch=z9hG4bKx"), via, "SIP/2.0/TCP h;branch=z9hG4bKx of 1"),
        (
            "an extension parameter in quotes",
            instead("Via", "Via: SIP/2.0/UDP h;x=\"a\\\"b\";branch=z9hG4bKx"),
            via,
            "SIP/2.0/UDP h;x=\"a\\\"b\";branch=z9hG4bKx of 1",
        ),
        ("semicolons in a row", instead("Via", "Via: SIP/2.0/UDP h;;branch=z9hG4bKx;"), via, "SIP/2.0/UDP h;branch=z9hG4bKx of 1"),
        (
            "a host name with an underscore",
            instead("Via", "Via: SIP/2.0/UDP my_phone.local;branch=z9hG4bKx"),
            via,
            "SIP/2.0/UDP my_phone.local;branch=z9hG4bKx of 1",
        ),
        ("a fold in a Via", instead("Via", "Via: SIP/2.0/UDP h\r\n ;branch=z9hG4bKx"), via, "SIP/2.0/UDP h;branch=z9hG4bKx of 1"),
        (
            "compact and long, mixed, and commas",
            instead("Via", "v: SIP/2.0/UDP a;branch=1, SIP/2.0/UDP b\r\nVIA: SIP/2.0/TCP c"),
            via,
            "SIP/2.0/UDP a;branch=1 of 3",
        ),
        (
            "seventy hops",
            instead("Via", &format!("Via: SIP/2.0/UDP h;branch=1{}", ",SIP/2.0/UDP g".repeat(69))),
            via,
            "SIP/2.0/UDP h;branch=1 of 70",
        ),
        (
            "rport with a value of the sender's",
            instead("Via", "Via: SIP/2.0/UDP h;rport=1;branch=2"),
            |r| format!("{:?}", r.top_via().rport()),
            "Some(1)",
        ),
        ("a comma at the start of a line", instead("Via", "Via: , SIP/2.0/UDP h;branch=1"), via, "SIP/2.0/UDP h;branch=1 of 1"),
        ("a route with a comma in its URI", with("Record-Route: <sip:a,b@p;lr>\r\n\r\n"), routes, "<sip:a,b@p;lr>"),
        ("a route with a display name and a parameter", with("Record-Route: \"P, 1\" <sip:p;lr>;x=y\r\n\r\n"), routes, "<sip:p;lr>;x=y"),
        ("a strict route", with("Record-Route: <sip:p>\r\n\r\n"), routes, "<sip:p>"),
        ("a route without brackets", with("Record-Route: sip:p;lr\r\n\r\n"), routes, "<sip:p>;lr"),
        ("a sips route over IPv6", with("Record-Route: <sips:[2001:db8::1]:5061;lr>\r\n\r\n"), routes, "<sips:[2001:db8::1]:5061;lr>"),
        ("routes folded", with("Record-Route: <sip:p1;lr>,\r\n <sip:p2;lr>\r\n\r\n"), routes, "<sip:p1;lr> <sip:p2;lr>"),
    ]
}

pub(super) fn invalid() -> Vec<Invalid> {
    vec![
        ("an empty Via", instead("Via", "Via:"), "dropped"),
        ("a Via of commas", instead("Via", "Via: ,,,"), "dropped"),
        ("a Via without a sent-by", instead("Via", "Via: SIP/2.0/UDP ;branch=z9hG4bKx"), "dropped"),
        ("a Via of port 0", instead("Via", "Via: SIP/2.0/UDP h:0;branch=z9hG4bKx"), "dropped"),
        ("a Via with a port of letters", instead("Via", "Via: SIP/2.0/UDP h:sip;branch=z9hG4bKx"), "dropped"),
        ("a Via with half an IPv6 address", instead("Via", "Via: SIP/2.0/UDP [2001:db8::;branch=z9hG4bKx"), "dropped"),
        ("a Via with a URI for a host", instead("Via", "Via: SIP/2.0/UDP sip:h;branch=z9hG4bKx"), "dropped"),
        ("a Via with two hosts", instead("Via", "Via: SIP/2.0/UDP h g;branch=z9hG4bKx"), "dropped"),
        ("a Via of HTTP", instead("Via", "Via: HTTP/2.0/TCP h;branch=z9hG4bKx"), "dropped"),
        ("a Via without a transport", instead("Via", "Via: SIP/2.0 h;branch=z9hG4bKx"), "dropped"),
        ("a parameter that has no name", instead("Via", "Via: SIP/2.0/UDP h;=1;branch=z9hG4bKx"), "dropped"),
        ("a route without a scheme", with("Record-Route: <p.example.com;lr>\r\n\r\n"), "400 Malformed Record-Route"),
        ("a route that never closes", with("Record-Route: <sip:p;lr\r\n\r\n"), "400 Malformed Record-Route"),
        ("an empty route in brackets", with("Record-Route: <>\r\n\r\n"), "400 Malformed Record-Route"),
        ("a route with a blank in its URI", with("Record-Route: <sip:p ;lr>\r\n\r\n"), "400 Malformed Record-Route"),
        ("a good route and a bad line", with("Record-Route: <sip:p;lr>\r\nRecord-Route: *\r\n\r\n"), "400 Malformed Record-Route"),
    ]
}
