//! Authorization lines in whole messages: what is read out of them, and those that prove nothing.

use super::*;
use crate::sip::digest::Credentials;

const GOOD: &str = r#"Digest username="alice", realm="h", nonce="n", uri="sip:a@h", response="0f", cnonce="c", qop=auth, nc=00000001"#;

fn carrying(line: &str) -> Vec<u8> {
    with(&format!("Authorization: {line}\r\n\r\n"))
}

fn without(part: &str) -> Vec<u8> {
    carrying(&GOOD.replace(part, ""))
}

/// User, realm and URI of the first line that is read; else why not.
fn who(request: &Request) -> String {
    let line = request.authorization().next().unwrap();
    Credentials::parse(line).map_or_else(|error| error.to_string(), |read| format!("{} {} {}", read.username, read.realm, read.uri))
}

pub(super) fn valid() -> Vec<Case> {
    const READ: &str = "alice h sip:a@h";
    vec![
        ("the usual line", carrying(GOOD), who, READ),
        ("blanks nowhere", carrying(&GOOD.replace(", ", ",")), who, READ),
        ("every parameter on a line of its own", carrying(&GOOD.replace(", ", ",\r\n  ")), who, READ),
        ("names in capitals", carrying(&GOOD.replace("username", "USERNAME").replace("realm", "Realm")), who, READ),
        ("qop in quotes, nc too", carrying(&GOOD.replace("qop=auth", "qop=\"auth\"").replace("nc=00000001", "nc=\"00000001\"")), who, READ),
        ("a comma and an equals sign in the URI", carrying(&GOOD.replace("sip:a@h", "sip:a,b@h;x=1")), who, "alice h sip:a,b@h;x=1"),
        ("a quote in the user", carrying(&GOOD.replace("alice", r#"al\"ice"#)), who, "al\"ice h sip:a@h"),
        ("a user that is no ASCII", carrying(&GOOD.replace("alice", "zoë")), who, "zoë h sip:a@h"),
        ("parameters nobody knows", carrying(&format!("{GOOD}, opaque=\"\", x=\"y,z\", auth-param")), who, READ),
        ("no qop (RFC 2069)", without(r#", cnonce="c", qop=auth, nc=00000001"#), who, READ),
        ("the scheme in lower case", carrying(&GOOD.replace("Digest", "digest")), who, READ),
        (
            "a line for another server behind it",
            with(&format!("Authorization: {GOOD}\r\nAuthorization: Basic eDp5\r\n\r\n")),
            |r| r.authorization().count().to_string(),
            "2",
        ),
    ]
}

pub(super) fn unusable() -> Vec<Unusable> {
    vec![
        ("Basic", carrying("Basic YWxpY2U6c2VjcmV0"), who, "the scheme is not Digest"),
        ("a bearer token", carrying("Bearer abc"), who, "the scheme is not Digest"),
        ("nothing but the scheme", carrying("Digest"), who, "the scheme is not Digest"),
        ("no user", without("username=\"alice\", "), who, "no username"),
        ("no nonce", without("nonce=\"n\", "), who, "no nonce"),
        ("no URI", without("uri=\"sip:a@h\", "), who, "no uri"),
        ("no response", without("response=\"0f\", "), who, "no response"),
        ("a quote that never ends", carrying(&GOOD.replace("realm=\"h\", ", "realm=\"h, ")), who, "unreadable realm"),
        ("the realm twice", carrying(&format!("{GOOD}, realm=\"g\"")), who, "unreadable realm"),
        ("a count of letters", carrying(&GOOD.replace("00000001", "first")), who, "unreadable nc"),
        ("a count over 32 bits", carrying(&GOOD.replace("00000001", "100000000")), who, "unreadable nc"),
        ("qop=auth-int", carrying(&GOOD.replace("qop=auth", "qop=auth-int")), who, "qop is none that was offered"),
        ("an algorithm of sessions", carrying(&format!("{GOOD}, algorithm=MD5-sess")), who, "algorithm is none that was offered"),
        ("an algorithm nobody knows", carrying(&format!("{GOOD}, algorithm=ROT13")), who, "algorithm is none that was offered"),
        ("a user of 300 letters", carrying(&GOOD.replace("alice", &"a".repeat(300))), who, "unreadable username"),
    ]
}
