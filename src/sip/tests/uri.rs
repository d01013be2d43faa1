use proptest::prelude::*;

use super::*;

#[test]
fn reads_what_phones_send_and_writes_it_strictly() {
    for (text, want) in [
        ("sip:alice@example.com", Ok("sip:alice@example.com")),
        ("SIPS:alice@Example.com:5061", Ok("sips:alice@Example.com:5061")),
        ("sip:example.com", Ok("sip:example.com")),
        ("sip:alice:secret@h", Ok("sip:alice:secret@h")),
        ("sip:*78@h", Ok("sip:*78@h")),
        ("sip:*21*100#@h", Ok("sip:*21*100%23@h")),
        ("sip:a@[2001:db8::1]:5060;transport=TCP", Ok("sip:a@[2001:db8::1]:5060;transport=tcp")),
        ("sip:a@2001:db8::1", Ok("sip:a@[2001:db8::1]")),
        ("sip:a@10.0.0.1:5060;lr;ob;x=[1]/:&+$", Ok("sip:a@10.0.0.1:5060;lr;ob;x=[1]/:&+$")),
        ("sip:a@h;lr=on;maddr=10.0.0.9;ttl=1;user=phone", Ok("sip:a@h;lr=on;maddr=10.0.0.9;ttl=1;user=phone")),
        ("sip:a@h;;method=SUBSCRIBE;", Ok("sip:a@h;method=SUBSCRIBE")),
        ("sip:a@h?Replaces=1", Ok("sip:a@h")),
        ("sip:user;par=u%40example.net@h", Ok("sip:user;par=u%40example.net@h")),
        ("sip:a@h;line=8x{1}", Ok("sip:a@h;line=8x%7B1%7D")),
        ("sip:a@h;transport=sctp", Ok("sip:a@h;transport=sctp")),
        ("tel:+31201234567", Ok("tel:+31201234567")),
        ("tel:7042;phone-context=example.com", Ok("tel:7042;phone-context=example.com")),
        ("http://h", Err(UriError::Scheme)),
        ("alice", Err(UriError::Scheme)),
        ("", Err(UriError::Scheme)),
        ("sip:@h", Err(UriError::User)),
        ("sip:a b@h", Err(UriError::User)),
        ("sip:\u{e9}@h", Err(UriError::User)),
        ("tel:", Err(UriError::User)),
        ("tel:alice", Err(UriError::User)),
        ("sip:", Err(UriError::Host)),
        ("sip:a@", Err(UriError::Host)),
        ("sip:a@h:0", Err(UriError::Host)),
        ("sip:a@h:65536", Err(UriError::Host)),
        ("sip:a@h :5060", Err(UriError::Host)),
        ("sip:a@b@h", Err(UriError::Host)),
        ("sip:a@[::g]", Err(UriError::Host)),
        ("sip:a@h/x", Err(UriError::Host)),
        ("sip:a@h;=1", Err(UriError::Param)),
        ("sip:a@h;x=\"1\"", Err(UriError::Param)),
    ] {
        assert_eq!(parse(text).map(|uri| to_string(&uri)), want.map(str::to_owned), "{text}");
    }
    assert_eq!(parse(&format!("sip:{}@h", "a".repeat(MAX_URI_BYTES))), Err(UriError::TooLong));
    // what is kept is written escaped, and has to be readable again
    assert!(parse(&format!("sip:{}@h", "^".repeat(MAX_URI_BYTES / 3 - 2))).is_ok());
    assert_eq!(parse(&format!("sip:{}@h", "^".repeat(MAX_URI_BYTES / 3))), Err(UriError::TooLong));
}

#[test]
fn an_ob_parameter_is_told_from_a_user_of_that_name() {
    for (text, want) in [
        ("sip:a@10.0.0.1:5060;ob", true),
        ("sip:a@h;transport=tcp;OB", true),
        ("sip:a@h;obx", false),
        ("sip:a;ob@h", false),
        ("sip:ob@h", false),
        ("tel:+1", false),
        ("not a uri;ob", false),
    ] {
        assert_eq!(is_outbound(text), want, "{text}");
    }
}

#[test]
fn tells_where_a_uri_leads() {
    let name = |name: &str| TargetHost::Name(name.into());
    let ip = |address: &str| TargetHost::Ip(address.parse().unwrap());
    for (text, host, port, transport, is_sips, is_loose_routing) in [
        ("sip:a@example.com", name("example.com"), None, None, false, false),
        ("sips:a@10.0.0.1:5061;lr", ip("10.0.0.1"), Some(5061), None, true, true),
        ("sip:[2001:db8::1];transport=TLS;lr=on", ip("2001:db8::1"), None, Some(Transport::Tls), false, true),
        ("sip:h;maddr=10.0.0.9;transport=sctp", name("h"), None, None, false, false),
    ] {
        assert_eq!(target(&parse(text).unwrap()), Some(Target { host, port, transport, is_sips, is_loose_routing }), "{text}");
    }
    assert_eq!(target(&parse("tel:+1").unwrap()), None);
}

#[test]
fn sips_is_always_secure_and_ws_stands_for_both() {
    use Transport::{Tcp, Tls, Udp, Ws, Wss};
    for (text, known, want) in [
        ("sip:h", Udp, Udp),
        ("sip:h", Wss, Wss),
        ("sip:h;transport=tcp", Udp, Tcp),
        ("sip:h;transport=tls", Udp, Tls),
        ("sip:h;transport=tcp", Wss, Tcp),
        ("sip:h;transport=ws", Ws, Ws),
        ("sip:h;transport=ws", Wss, Wss),
        ("sips:h", Udp, Tls),
        ("sips:h", Tls, Tls),
        ("sips:h", Wss, Wss),
        ("sips:h;transport=tcp", Tcp, Tls),
        ("sips:h;transport=ws", Tls, Wss),
    ] {
        assert_eq!(target(&parse(text).unwrap()).unwrap().transport_after(known), want, "{text} after {known}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_the_same(
        scheme in "sips?",
        user in prop::option::of("[a-zA-Z0-9_.!~*'()&=+$,;?/-]{1,12}(:[a-z0-9]{0,6})?"),
        host in "[a-z0-9][a-z0-9._-]{0,20}|\\[2001:db8::[0-9a-f]{1,4}\\]|[1-9][0-9]?\\.0\\.0\\.1",
        port in prop::option::of(1_u16..),
        params in "(;([a-z]{1,6}|lr|user|maddr|transport)(=([a-zA-Z0-9.:/\\[\\]-]{1,8}|tcp|WS))?){0,3}",
    ) {
        let user = user.map_or_else(String::new, |user| format!("{user}@"));
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        let uri = parse(&format!("{scheme}:{user}{host}{port}{params}")).unwrap();
        prop_assert_eq!(parse(&to_string(&uri)), Ok(uri));
    }

    #[test]
    fn what_is_read_is_written_readably(text in "(sip|tel):.{0,40}") {
        if let Ok(uri) = parse(&text) {
            let strict = to_string(&uri);
            prop_assert_eq!(parse(&strict).map(|uri| to_string(&uri)), Ok(strict));
        }
    }
}
